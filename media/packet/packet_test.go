package packet_test

import (
	"bytes"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/pion/rtp"

	"linehall/media/packet"
)

func TestClassify(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		name string
		in   []byte
		want packet.Kind
	}{
		{"empty", nil, packet.Unknown},
		{"one byte", []byte{0x80}, packet.Unknown},
		{"stun binding request", []byte{0, 1}, packet.STUN},
		{"last stun", []byte{3, 1}, packet.STUN},
		{"between", []byte{4, 1}, packet.Unknown},
		{"zrtp", []byte{16, 0}, packet.ZRTP},
		{"dtls handshake", []byte{22, 254}, packet.DTLS},
		{"last dtls", []byte{63, 254}, packet.DTLS},
		{"turn channel", []byte{64, 0}, packet.TURN},
		{"rtp", []byte{0x80, 8}, packet.RTP},
		{"rtp with marker", []byte{0x80, 0x80 | 8}, packet.RTP},
		{"rtp with marker, highest type below rtcp", []byte{0x80, 0x80 | 63}, packet.RTP},
		{"rtcp sender report", []byte{0x80, 200}, packet.RTCP},
		{"rtcp with padding", []byte{0xa1, 201}, packet.RTCP},
		{"rtcp transport feedback", []byte{0x8f, 205}, packet.RTCP},
		{"dynamic type with marker", []byte{0x80, 0x80 | 96}, packet.RTP},
		{"version 3", []byte{0xc0, 8}, packet.Unknown},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			if got := packet.Classify(tc.in); got != tc.want {
				t.Errorf("Classify(%x) = %v, want %v", tc.in, got, tc.want)
			}
		})
	}
}

func TestParse(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		name string
		in   []byte
		want packet.Header
		ok   bool
	}{
		{
			"plain",
			[]byte{0x80, 0x88, 0, 1, 0, 0, 0, 2, 0, 0, 0, 3, 'x'},
			packet.Header{Marker: true, Type: 8, Sequence: 1, Timestamp: 2, SSRC: 3, Payload: 12, End: 13},
			true,
		},
		{
			"without payload",
			[]byte{0x80, 13, 0, 1, 0, 0, 0, 2, 0, 0, 0, 3},
			packet.Header{Type: 13, Sequence: 1, Timestamp: 2, SSRC: 3, Payload: 12, End: 12},
			true,
		},
		{
			"two sources",
			[]byte{0x82, 8, 0, 1, 0, 0, 0, 2, 0, 0, 0, 3, 1, 1, 1, 1, 2, 2, 2, 2, 'x'},
			packet.Header{Type: 8, Sequence: 1, Timestamp: 2, SSRC: 3, Payload: 20, End: 21},
			true,
		},
		{
			"extension",
			[]byte{0x90, 8, 0, 1, 0, 0, 0, 2, 0, 0, 0, 3, 0xbe, 0xde, 0, 1, 0x10, 7, 0, 0, 'x'},
			packet.Header{
				Type: 8, Sequence: 1, Timestamp: 2, SSRC: 3, Profile: 0xbede, Extension: 16, ExtensionEnd: 20,
				Payload: 20, End: 21,
			},
			true,
		},
		{
			"padding",
			[]byte{0xa0, 8, 0, 1, 0, 0, 0, 2, 0, 0, 0, 3, 'x', 0, 2},
			packet.Header{Type: 8, Sequence: 1, Timestamp: 2, SSRC: 3, Payload: 12, End: 13},
			true,
		},
		{"padding of nothing", []byte{0xa0, 8, 0, 1, 0, 0, 0, 2, 0, 0, 0, 3, 'x', 0}, packet.Header{}, false},
		{"padding longer than the payload", []byte{0xa0, 8, 0, 1, 0, 0, 0, 2, 0, 0, 0, 3, 'x', 3}, packet.Header{}, false},
		{"short", []byte{0x80, 8, 0, 1, 0, 0, 0, 2, 0, 0, 0}, packet.Header{}, false},
		{"sources cut off", []byte{0x81, 8, 0, 1, 0, 0, 0, 2, 0, 0, 0, 3, 1, 1, 1}, packet.Header{}, false},
		{"extension cut off", []byte{0x90, 8, 0, 1, 0, 0, 0, 2, 0, 0, 0, 3, 0xbe, 0xde, 0, 2, 0, 0, 0, 0}, packet.Header{}, false},
		{"version 1", []byte{0x40, 8, 0, 1, 0, 0, 0, 2, 0, 0, 0, 3}, packet.Header{}, false},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			got, ok := packet.Parse(tc.in)
			if diff := cmp.Diff(tc.want, got); diff != "" || ok != tc.ok {
				t.Errorf("Parse(%x) = %v, want %v; header (-want +got):\n%s", tc.in, ok, tc.ok, diff)
			}
		})
	}
}

func TestSettersChangeOnlyTheirField(t *testing.T) {
	t.Parallel()
	b := []byte{0x80, 0x88, 0, 1, 0, 0, 0, 2, 0, 0, 0, 3, 'x'}
	packet.SetSequence(b, 0xfffe)
	packet.SetTimestamp(b, 0xfffffffd)
	packet.SetSSRC(b, 0xfffffffc)
	packet.SetType(b, 9)
	want := packet.Header{
		Marker: true, Type: 9, Sequence: 0xfffe, Timestamp: 0xfffffffd, SSRC: 0xfffffffc, Payload: 12, End: 13,
	}
	got, _ := packet.Parse(b)
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("header (-want +got):\n%s", diff)
	}
}

func TestNewerWrapsAround(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		a, b uint16
		want bool
	}{{1, 0, true}, {0, 1, false}, {0, 0, false}, {0, 65535, true}, {65535, 0, false}, {100, 65500, true}} {
		if got := packet.Newer(tc.a, tc.b); got != tc.want {
			t.Errorf("Newer(%d, %d) = %v", tc.a, tc.b, got)
		}
	}
}

func TestParseDoesNotAllocate(t *testing.T) {
	b := []byte{0x90, 8, 0, 1, 0, 0, 0, 2, 0, 0, 0, 3, 0xbe, 0xde, 0, 1, 0x10, 7, 0, 0, 'x'}
	found := 0
	n := testing.AllocsPerRun(100, func() {
		if packet.Classify(b) != packet.RTP {
			return
		}
		h, _ := packet.Parse(b)
		found += len(h.Find(b, 1))
	})
	if n != 0 || found == 0 {
		t.Errorf("%v allocations, %d bytes found", n, found)
	}
}

// FuzzParse compares with pion/rtp: what we accept, it must read the same way.
func FuzzParse(f *testing.F) {
	f.Add([]byte{0x80, 0x88, 0, 1, 0, 0, 0, 2, 0, 0, 0, 3, 'x'})
	f.Add([]byte{0x90, 8, 0, 1, 0, 0, 0, 2, 0, 0, 0, 3, 0xbe, 0xde, 0, 1, 0x10, 7, 0, 0, 'x'})
	f.Add([]byte{0xb1, 8, 0, 1, 0, 0, 0, 2, 0, 0, 0, 3, 9, 9, 9, 9, 0x10, 0, 0, 1, 3, 1, 7, 0, 'x', 1})
	f.Fuzz(func(t *testing.T, b []byte) {
		before := bytes.Clone(b)
		h, ok := packet.Parse(b)
		if !bytes.Equal(before, b) {
			t.Fatal("the input changed")
		}
		if !ok {
			return
		}
		if h.Payload < packet.HeaderSize || h.Payload > h.End || h.End > len(b) {
			t.Fatalf("payload %d..%d of %d bytes", h.Payload, h.End, len(b))
		}
		var want rtp.Packet
		if err := want.Unmarshal(b); err != nil {
			return // pion checks the elements of extensions too
		}
		if uint32(h.SSRC) != want.SSRC || h.Sequence != want.SequenceNumber || h.Timestamp != want.Timestamp ||
			uint8(h.Type) != want.PayloadType || h.Marker != want.Marker {
			t.Fatalf("header %+v, pion reads %+v", h, want.Header)
		}
		if !bytes.Equal(b[h.Payload:h.End], want.Payload) {
			t.Fatalf("payload %x, pion reads %x", b[h.Payload:h.End], want.Payload)
		}
		for _, id := range want.GetExtensionIDs() {
			if id == 0 || h.Profile != 0xbede && h.Profile&0xfff0 != 0x1000 {
				continue
			}
			if got := h.Find(b, id); !bytes.Equal(got, want.GetExtension(id)) {
				t.Fatalf("extension %d is %x, pion reads %x", id, got, want.GetExtension(id))
			}
		}
	})
}
