package capture_test

import (
	"bytes"
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"testing"
	"time"

	"linehall/media/capture"
)

// described is a session with keys under a number of its own.
func described(event int) []byte {
	return []byte(fmt.Sprintf("v=0\r\no=- 1 1 IN IP4 127.0.0.1\r\ns=-\r\nc=IN IP4 127.0.0.1\r\nt=0 0\r\nm=audio 4000 RTP/AVP 8 %[1]d\r\na=rtpmap:%[1]d telephone-event/8000\r\n", event))
}

func rtp(t byte, payload ...byte) []byte {
	return append([]byte{0x80, t, 0, 1, 0, 0, 0, 2, 0, 0, 0, 3}, payload...)
}

func ends() (caller, callee capture.Ends) {
	return capture.Ends{Party: netip.MustParseAddrPort("10.0.0.1:4000"), Local: netip.MustParseAddrPort("10.0.0.9:10000")},
		capture.Ends{Party: netip.MustParseAddrPort("10.0.1.2:4002"), Local: netip.MustParseAddrPort("10.0.0.9:10002")}
}

// What came is there in its order, with the times and addresses; keys are masked in both numbers, unless they are kept, and
// what the relay carries is not changed.
func TestPacketsAreKept(t *testing.T) {
	for _, keys := range []bool{false, true} {
		config := capture.DefaultConfig()
		config.Keys = keys
		book := capture.NewBook(config, func() int64 { return int64(time.Minute) })
		before := time.Now()
		c, err := book.Begin("1")
		if err != nil {
			t.Fatal(err)
		}
		c.Describe(described(101), described(96))
		a, b := ends()
		c.Locate(0, a)
		c.Locate(1, b)
		key := rtp(96, 7, 0x80, 0, 160)
		c.Packet(0, int64(time.Minute+time.Second), rtp(8, 1, 2, 3))
		c.Packet(0, int64(time.Minute+2*time.Second), key)
		c.Packet(1, int64(time.Minute+2*time.Second), rtp(101, 9, 0x80, 0, 160))
		if key[12] != 7 {
			t.Error("the packet on its way was changed")
		}
		var got []capture.Packet
		for p := range book.Of("1").Packets() {
			got = append(got, p)
		}
		want := [][]byte{rtp(8, 1, 2, 3), rtp(96, 0, 0x80, 0, 160), rtp(101, 0, 0x80, 0, 160)}
		if keys {
			want[1][12], want[2][12] = 7, 9
		}
		if len(got) != len(want) {
			t.Fatalf("%d packets", len(got))
		}
		for i, p := range got {
			if !bytes.Equal(p.Contents, want[i]) {
				t.Errorf("packet %d: %x, want %x", i, p.Contents, want[i])
			}
		}
		if after := got[0].At.Sub(before); after < time.Second || after > 11*time.Second {
			t.Errorf("the first one came after %v", after)
		}
		if got[0].Party != a.Party || got[0].Local != a.Local || got[2].Party != b.Party || !got[0].FromTheCaller || got[2].FromTheCaller {
			t.Errorf("%+v", got)
		}
	}
}

// A capture takes no more than it may, a book no more calls than it may, and old ones go.
func TestCapturesAreBounded(t *testing.T) {
	config := capture.DefaultConfig()
	config.MaxSize, config.MaxCalls = 1, 2
	book := capture.NewBook(config, func() int64 { return 0 })
	c, err := book.Begin("1")
	if err != nil {
		t.Fatal(err)
	}
	a, b := ends()
	c.Locate(0, a)
	c.Locate(1, b)
	large := rtp(8, make([]byte, 1000)...)
	for range 2000 {
		c.Packet(0, 1, large)
	}
	n := 0
	for range c.Packets() {
		n++
	}
	if n == 0 || n*len(large) > 1<<20 || uint64(n)+c.Missing() != 2000 {
		t.Errorf("%d packets kept, %d missing", n, c.Missing())
	}
	c.Close()
	if _, err = book.Begin("2"); err != nil {
		t.Error(err)
	}
	if _, err = book.Begin("3"); !errors.Is(err, capture.ErrFull) {
		t.Errorf("a third one: %v", err)
	}
	if _, err = book.Begin("1"); err != nil {
		t.Errorf("the same again: %v", err)
	}
	book.Expire(time.Now().Add(2 * time.Hour))
	if book.Of("1") != nil || book.Of("2") != nil {
		t.Error("old captures are still there")
	}
}

func TestCapturingDoesNotAllocate(t *testing.T) {
	book := capture.NewBook(capture.DefaultConfig(), func() int64 { return 0 })
	c, err := book.Begin("1")
	if err != nil {
		t.Fatal(err)
	}
	c.Describe(described(101), described(101))
	voice, key := rtp(8, make([]byte, 160)...), rtp(101, 7, 0x80, 0, 160)
	if n := testing.AllocsPerRun(500, func() {
		c.Packet(0, 1, voice)
		c.Packet(1, 1, key)
	}); n != 0 {
		t.Errorf("%.1f allocations", n)
	}
}

func TestSettings(t *testing.T) {
	if err := capture.DefaultConfig().Validate(); err != nil {
		t.Error(err)
	}
	err := capture.Config{MaxSize: 0, MaxCalls: 33, Keep: time.Second}.Validate()
	for _, key := range []string{"max_size", "max_calls", "keep"} {
		if err == nil || !strings.Contains(err.Error(), key) {
			t.Errorf("%s: %v", key, err)
		}
	}
}
