package voice_test

import (
	"context"
	"net"
	"net/netip"
	"strings"
	"testing"
	"time"

	"linehall/cmd/linesim/tone"
	"linehall/cmd/linesim/voice"
)

func startEngine(t *testing.T) *voice.Engine {
	t.Helper()
	e := voice.NewEngine(voice.DefaultTick)
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- e.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	return e
}

func open(t *testing.T, e *voice.Engine, address string) *voice.Stream {
	t.Helper()
	s, err := e.Open(netip.MustParseAddr(address))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	return s
}

// waitFor polls a stream until it satisfies a condition: the sound travels in real time.
func waitFor(t *testing.T, s *voice.Stream, what string, ok func(voice.Stats) bool) voice.Stats {
	t.Helper()
	deadline := time.Now().Add(10 * time.Second)
	for time.Now().Before(deadline) {
		if stats := s.Stats(); ok(stats) {
			return stats
		}
		time.Sleep(5 * time.Millisecond)
	}
	t.Fatalf("%s: never within 10 s; last figures %+v", what, s.Stats())
	return voice.Stats{}
}

func TestTwoPhonesHearEachOthersTone(t *testing.T) {
	e := startEngine(t)
	a, b := open(t, e, "127.0.0.41"), open(t, e, "127.0.1.41")
	a.Start(voice.Target{Remote: b.Local(), Law: tone.ALaw, Send: 440, Expect: 600})
	b.Start(voice.Target{Remote: a.Local(), Law: tone.ALaw, Send: 600, Expect: 440})
	for _, s := range []*voice.Stream{a, b} {
		stats := waitFor(t, s, "five windows", func(s voice.Stats) bool { return s.Windows >= 5 })
		if !stats.Heard || stats.Lost != 0 || stats.Delay.Count() == 0 || stats.MOS < 4 {
			t.Errorf("heard %v in %d of %d windows, lost %d, delays %d, MOS %.2f",
				stats.Heard, stats.HeardParts, stats.Windows, stats.Lost, stats.Delay.Count(), stats.MOS)
		}
	}
	if a.Local().Port()%2 != 0 {
		t.Errorf("RTP port %d is odd", a.Local().Port())
	}
}

func TestAWrongToneIsReported(t *testing.T) {
	e := startEngine(t)
	a, b := open(t, e, "127.0.0.1"), open(t, e, "127.0.0.1")
	a.Start(voice.Target{Remote: b.Local(), Law: tone.MuLaw, Send: 440, Expect: 600})
	b.Start(voice.Target{Remote: a.Local(), Law: tone.MuLaw, Send: 700, Expect: 440, Mute: true})
	if stats := waitFor(t, b, "five windows", func(s voice.Stats) bool { return s.Windows >= 5 }); !stats.Heard {
		t.Error("the right tone was not heard")
	}
	if stats := a.Stats(); stats.Heard || stats.Received != 0 {
		t.Errorf("a muted peer was heard: %+v", stats)
	}
	b.Start(voice.Target{Remote: a.Local(), Law: tone.MuLaw, Send: 700, Expect: 440})
	if stats := waitFor(t, a, "five windows", func(s voice.Stats) bool { return s.Windows >= 5 }); stats.Heard {
		t.Error("another tone passed for the expected one")
	}
}

func TestLossReorderingAndDuplicatesAreTold(t *testing.T) {
	e := startEngine(t)
	s := open(t, e, "127.0.0.1")
	s.Start(voice.Target{Remote: netip.MustParseAddrPort("127.0.0.1:9"), Law: tone.ALaw, Expect: 440, Mute: true})
	conn, err := net.DialUDP("udp", nil, net.UDPAddrFromAddrPort(s.Local()))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	packet := make([]byte, 172)
	packet[0], packet[1], packet[11] = 0x80, 8, 1
	for _, seq := range []uint16{65533, 65534, 65535, 1, 0, 1, 4, 5} { // 2 and 3 never come, 1 twice, 0 late
		packet[2], packet[3] = byte(seq>>8), byte(seq)
		if _, err := conn.Write(packet); err != nil {
			t.Fatal(err)
		}
	}
	stats := waitFor(t, s, "seven packets", func(s voice.Stats) bool { return s.Received == 7 })
	if stats.Lost != 2 || stats.Duplicates != 1 || stats.Reordered != 1 {
		t.Errorf("lost %d, duplicates %d, reordered %d; want 2, 1, 1", stats.Lost, stats.Duplicates, stats.Reordered)
	}
}

func TestOpinionScoreFollowsTheEModel(t *testing.T) {
	tests := []struct {
		name     string
		delay    time.Duration
		loss     float64
		low, top float64
	}{
		{"perfect", 0, 0, 4.40, 4.42},
		{"a good line", 60 * time.Millisecond, 0, 4.36, 4.39},
		{"one percent lost", 60 * time.Millisecond, 1, 4.2, 4.35},
		{"three percent lost", 60 * time.Millisecond, 3, 3.9, 4.1},
		{"a satellite", 600 * time.Millisecond, 0, 1.5, 2.5},
		{"nothing left", time.Second, 60, 1, 1},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			if got := voice.MOS(test.delay, test.loss); got < test.low || got > test.top {
				t.Errorf("MOS = %.3f, want %.2f to %.2f", got, test.low, test.top)
			}
		})
	}
}

// Two phones with keys hear each other; who has other keys hears nothing, and a new source under the right key is followed.
func TestProtectedPhonesHearEachOther(t *testing.T) {
	e := startEngine(t)
	a, b := open(t, e, "127.0.0.43"), open(t, e, "127.0.1.43")
	own, theirs := strings.Repeat("a", voice.KeyLength), strings.Repeat("b", voice.KeyLength)
	a.Start(voice.Target{Remote: b.Local(), Law: tone.ALaw, Send: 440, Expect: 600, Own: own, Theirs: theirs})
	b.Start(voice.Target{Remote: a.Local(), Law: tone.ALaw, Send: 600, Expect: 440, Own: theirs, Theirs: own})
	for _, s := range []*voice.Stream{a, b} {
		stats := waitFor(t, s, "five windows", func(s voice.Stats) bool { return s.Windows >= 5 })
		if !stats.Heard || stats.Lost != 0 || stats.Foreign != 0 {
			t.Errorf("%+v", stats)
		}
	}
	c := open(t, e, "127.0.0.44") // another source with a's key, as after a restart of a relay
	a.Stop()
	before := b.Stats().Received
	c.Start(voice.Target{Remote: b.Local(), Law: tone.ALaw, Send: 440, Expect: 600, Own: own, Theirs: theirs})
	if s := waitFor(t, b, "the new source", func(s voice.Stats) bool { return s.Received > before+10 }); s.Foreign != 0 || s.Lost != 0 {
		t.Errorf("%+v", s)
	}
	c.Start(voice.Target{Remote: b.Local(), Law: tone.ALaw, Send: 440, Expect: 600, Own: theirs, Theirs: theirs})
	waitFor(t, b, "a wrong key", func(s voice.Stats) bool { return s.Foreign > 0 })
}
