package venue

import (
	"testing"
	"time"

	"github.com/pion/rtp"
	"github.com/pion/rtp/codecs"

	"linehall/cmd/linesim/media"
)

func TestOurDescriptorIsReadByOthersAndByUs(t *testing.T) {
	for _, temporal := range []uint8{0, 1} {
		b := make([]byte, descriptorSize+1)
		writeDescriptor(b, true, 0x1234, 77, temporal)
		var other codecs.VP8Packet
		if _, err := other.Unmarshal(b); err != nil {
			t.Fatal(err)
		}
		if other.S != 1 || other.PictureID != 0x1234 || other.TL0PICIDX != 77 || other.TID != temporal || other.N != temporal || other.Y != temporal {
			t.Errorf("pion reads %+v", other)
		}
		d, err := parseDescriptor(b)
		want := descriptor{start: true, picture: 0x1234, hasTL0: true, tl0: 77, temporal: temporal, sync: temporal == 1, size: descriptorSize}
		if err != nil || d != want {
			t.Errorf("we read %+v, %v", d, err)
		}
	}
}

// film makes the packets of some frames of a loop.
func film(frames int) []*rtp.Packet {
	var packets []*rtp.Packet
	seq, tl0 := uint16(65530), uint8(0)
	for n := range frames {
		frame := media.Camera(1, media.Low).Frames[n]
		if frame.Temporal == 0 {
			tl0++
		}
		rest := frame.Data
		for start := true; len(rest) > 0; start = false {
			size := min(len(rest), 500)
			payload := make([]byte, descriptorSize+size)
			writeDescriptor(payload, start, uint16(n), tl0, frame.Temporal)
			copy(payload[descriptorSize:], rest[:size])
			rest = rest[size:]
			packets = append(packets, &rtp.Packet{Header: rtp.Header{SequenceNumber: seq, Marker: len(rest) == 0, Timestamp: uint32(n) * 3000}, Payload: payload})
			seq++
		}
	}
	return packets
}

func shown(packets []*rtp.Packet) (*TileStats, int) {
	asked := 0
	tile := &tile{owner: "branch1", stats: &TileStats{}, askPicture: func() { asked++ }}
	now := time.Unix(1000, 0)
	for _, p := range packets {
		now = now.Add(20 * time.Millisecond)
		tile.packet(p, now)
	}
	return tile.stats, asked
}

func TestADecoderShowsWhatItHasReferencesFor(t *testing.T) {
	all := film(90)
	key := 0
	for all[key].Timestamp == 0 {
		key++
	}
	without := func(drop func(i int, p *rtp.Packet) bool) []*rtp.Packet {
		var kept []*rtp.Packet
		for i, p := range all {
			if !drop(i, p) {
				kept = append(kept, p)
			}
		}
		return kept
	}
	swapped := append([]*rtp.Packet(nil), all...)
	swapped[key+3], swapped[key+4] = swapped[key+4], swapped[key+3]
	tests := []struct {
		name    string
		packets []*rtp.Packet
		frames  uint64
		asked   bool
	}{
		{"everything", all, 90, false},
		{"two packets swapped", swapped, 90, false},
		{"no keyframe", all[key:], 0, true},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			stats, asked := shown(test.packets)
			if stats.Frames != test.frames || (asked > 0) != test.asked {
				t.Errorf("%d frames shown, asked %d times: %+v", stats.Frames, asked, stats)
			}
		})
	}
	// A server that drops the upper temporal layer closes the gaps in the sequence numbers.
	base := without(func(_ int, p *rtp.Packet) bool { return p.Payload[0]&0x20 != 0 })
	for i, p := range base {
		p.SequenceNumber = uint16(i)
	}
	if stats, asked := shown(base); stats.Frames != 45 || asked != 0 {
		t.Errorf("base layer: %d frames, asked %d times", stats.Frames, asked)
	}
}

func TestALostFrameStopsThePictureUntilTheNextKeyframe(t *testing.T) {
	packets := film(90)
	lost := -1
	for i, p := range packets {
		if p.Timestamp == 30*3000 && lost < 0 {
			lost = i
		}
	}
	stats, asked := shown(append(append([]*rtp.Packet(nil), packets[:lost]...), packets[lost+1:]...))
	if stats.Frames >= 90 || stats.Frames < 30 || asked == 0 || stats.LostPackets != 1 {
		t.Errorf("%d frames shown, asked %d times, %d packets lost", stats.Frames, asked, stats.LostPackets)
	}
}

func FuzzDescriptor(f *testing.F) {
	b := make([]byte, descriptorSize)
	writeDescriptor(b, true, 1, 2, 1)
	f.Add(b)
	f.Fuzz(func(t *testing.T, data []byte) {
		d, err := parseDescriptor(data)
		if err == nil && d.size > len(data) {
			t.Errorf("descriptor of %d bytes in %d", d.size, len(data))
		}
		keyframeSize(data)
	})
}
