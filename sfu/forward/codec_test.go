package forward

import (
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/pion/rtp"
	"github.com/pion/rtp/codecs"
	"github.com/pion/webrtc/v4"
)

func unhex(tb testing.TB, text string) []byte {
	tb.Helper()
	b, err := hex.DecodeString(text)
	if err != nil {
		tb.Fatal(err)
	}
	return b
}

// Parameter sets and a sequence header as x264 and libaom write them.
const (
	baseline720 = "6742c01fd9005005bb011000000300100000030140f18324800000"
	high360     = "67640016acd940a02ff97011000003000100000300140f162d96"
	sequence360 = "0a0d2000000cc4ff6736be48086801"
)

// what is compared of a frame.
type seen struct {
	Keyframe        bool
	Width, Height   int
	Temporal, Layer uint8
}

func TestFramesOfEachCodec(t *testing.T) {
	sps, idr := unhex(t, baseline720), []byte{0x65, 0x88, 0x80, 0x10}
	aggregate := append([]byte{0x78, 0, byte(len(sps))}, sps...)
	aggregate = append(aggregate, 0, 4, 0x68, 0xcb, 0x83, 0xcb)
	sequence := unhex(t, sequence360)
	for name, c := range map[string]struct {
		codec   Codec
		payload []byte
		want    seen
	}{
		"vp8 keyframe":                  {VP8, []byte{0x90, 0xe0, 0x80, 5, 1, 0x40, 0, 0, 0, 0x9d, 1, 0x2a, 0x40, 1, 0xb4, 0}, seen{true, 320, 180, 1, 0}},
		"vp9 keyframe with sizes":       {VP9, []byte{0xaa, 0x80, 1, 0, 0, 0x30, 0x02, 0x80, 0x01, 0x68, 0x05, 0x00, 0x02, 0xd0, 0x82}, seen{true, 1280, 720, 0, 0}},
		"vp9 upper layer of a keyframe": {VP9, []byte{0xac, 0x80, 1, 0x03, 0, 0x82}, seen{false, 0, 0, 0, 1}},
		"vp9 delta, temporal layer 2":   {VP9, []byte{0xec, 0x80, 1, 0x40, 9, 0x86}, seen{false, 0, 0, 2, 0}},
		"vp9 flexible mode":             {VP9, []byte{0xf8, 0x80, 1, 0x40, 0x03, 0x02, 0x86}, seen{false, 0, 0, 2, 0}},
		"h264 parameter sets together":  {H264, aggregate, seen{Keyframe: true, Width: 1280, Height: 720}},
		"h264 parameter set alone":      {H264, unhex(t, high360), seen{Keyframe: true, Width: 640, Height: 360}},
		"h264 idr":                      {H264, idr, seen{Keyframe: true}},
		"h264 first fragment of an idr": {H264, []byte{0x7c, 0x85, 0x88, 0x80}, seen{Keyframe: true}},
		"h264 later fragment of an idr": {H264, []byte{0x7c, 0x05, 0x88, 0x80}, seen{}},
		"h264 delta":                    {H264, []byte{0x41, 0x9a, 0x24}, seen{}},
		"av1 new sequence":              {AV1, append([]byte{0x18}, sequence...), seen{Keyframe: true, Width: 640, Height: 360}},
		"av1 new sequence with lengths": {AV1, append(append([]byte{0x28, byte(len(sequence))}, sequence...), 0x30, 0), seen{Keyframe: true, Width: 640, Height: 360}},
		"av1 delta":                     {AV1, []byte{0x10, 0x30, 0x12, 0x34}, seen{}},
		"av1 delta of temporal layer 1": {AV1, []byte{0x10, 0x34, 0x20, 0x34}, seen{Temporal: 1}},
		"av1 continued":                 {AV1, []byte{0x90, 0x30, 0x12}, seen{}},
	} {
		t.Run(name, func(t *testing.T) {
			var f frame
			if !f.parse(c.codec, c.payload) {
				t.Fatal("not understood")
			}
			if d := cmp.Diff(c.want, seen{f.keyframe, f.width, f.height, f.temporal, f.spatial}); d != "" {
				t.Errorf("(-want +got):\n%s", d)
			}
		})
	}
}

func TestMalformedFramesAreRefused(t *testing.T) {
	for name, c := range map[string]struct {
		codec   Codec
		payload []byte
	}{
		"vp9 without a frame":           {VP9, []byte{0x8c, 0x80, 1}},
		"vp9 picture id cut off":        {VP9, []byte{0x80, 0x80}},
		"vp9 endless references":        {VP9, []byte{0x50, 3, 3, 3, 3, 3, 1}},
		"vp9 structure cut off":         {VP9, []byte{0x0a, 0xf8, 1, 2, 3, 4}},
		"vp9 group cut off":             {VP9, []byte{0x0a, 0x08, 200, 1, 1, 1}},
		"h264 aggregate cut off":        {H264, []byte{0x78, 0, 200, 0x67}},
		"h264 empty unit":               {H264, []byte{0x78, 0, 0, 0, 0}},
		"h264 interleaved":              {H264, []byte{0x7d, 0, 1, 0x67}},
		"h264 fragment without content": {H264, []byte{0x7c, 0x85}},
		"av1 unit cut off":              {AV1, []byte{0x20, 0x7f, 0x0a}},
		"av1 both begun and continued":  {AV1, []byte{0x98, 0x0a, 0}},
		"av1 forbidden bit":             {AV1, []byte{0x10, 0x80, 0}},
		"an unknown codec":              {NoCodec, []byte{1, 2, 3}},
	} {
		t.Run(name, func(t *testing.T) {
			var f frame
			if f.parse(c.codec, c.payload) {
				t.Errorf("taken as %+v", f)
			}
		})
	}
}

// Whatever comes, the payload is not touched by reading it, what is rewritten reads back, and where package codecs understands
// VP9 as well, it says the same.
func FuzzFrame(f *testing.F) {
	for codec := VP8; codec < codecCount; codec++ {
		f.Add(uint8(codec), []byte{0xaa, 0x80, 1, 0, 0, 0x30, 0x02, 0x80, 0x01, 0x68, 0x05, 0x00, 0x02, 0xd0, 0x82}, uint16(1), uint8(1))
		f.Add(uint8(codec), unhex(f, baseline720), uint16(1), uint8(1))
		f.Add(uint8(codec), append([]byte{0x18}, unhex(f, sequence360)...), uint16(1), uint8(1))
		f.Add(uint8(codec), []byte{0xfa, 0x80, 1, 0x40, 0x03, 0x02, 0x38, 1, 2, 3, 4, 5, 6, 7, 8, 1, 4, 9, 0x86}, uint16(9), uint8(1))
	}
	f.Fuzz(func(t *testing.T, codec uint8, b []byte, picture uint16, tl0 uint8) {
		c := Codec(codec) % codecCount
		before := bytes.Clone(b)
		var d frame
		ok := d.parse(c, b)
		if !bytes.Equal(before, b) {
			t.Fatal("the payload was changed")
		}
		if !ok {
			return
		}
		if d.pictureOffset >= len(b) || d.tl0Offset >= len(b) || d.width < 0 || d.height < 0 || d.width > 1<<16 || d.height > 1<<16 {
			t.Fatalf("%+v of %d octets", d, len(b))
		}
		var p codecs.VP9Packet
		if c == VP9 {
			if _, err := p.Unmarshal(b); err == nil && (p.I && d.picture != p.PictureID || p.L && (d.temporal != p.TID || d.spatial != p.SID) || d.start != (p.B && p.SID == 0) || d.end != p.E) {
				t.Fatalf("%+v is not %+v", d, p)
			}
		}
		d.rewrite(b, picture, tl0)
		var again frame
		if !again.parse(c, b) {
			t.Fatal("the rewritten payload does not parse")
		}
		mask := uint16(0x7f)
		if d.longPicture {
			mask = 0x7fff
		}
		if d.pictureOffset > 0 && again.picture != (d.picture+picture)&mask || d.tl0Offset > 0 && again.tl0 != d.tl0+tl0 || again.keyframe != d.keyframe {
			t.Fatalf("%+v plus %d and %d is %+v", d, picture, tl0, again)
		}
	})
}

// only is a negotiation in which the receiver took these codecs.
type only struct {
	negotiated
	list []webrtc.RTPCodecParameters
}

func (o only) CodecParameters() []webrtc.RTPCodecParameters { return o.list }

func codecParameters(list ...Codec) []webrtc.RTPCodecParameters {
	types := map[Codec]webrtc.PayloadType{VP8: 96, VP9: 98, H264: 102, AV1: 45}
	var out []webrtc.RTPCodecParameters
	for _, c := range list {
		out = append(out, webrtc.RTPCodecParameters{RTPCodecCapability: webrtc.RTPCodecCapability{MimeType: mimeTypes[c]}, PayloadType: types[c]})
	}
	return out
}

// packetOf makes one packet of a stream that is bound to the lowest layer of the camera.
func packetOf(tb testing.TB, payloadType uint8, sequence uint16, stamp uint32, payload []byte) []byte {
	tb.Helper()
	p := rtp.Packet{Header: rtp.Header{Version: 2, PayloadType: payloadType, SSRC: 20, SequenceNumber: sequence, Timestamp: stamp, Marker: true}, Payload: payload}
	_ = p.SetExtension(1, []byte("1"))
	_ = p.SetExtension(2, []byte("l"))
	b, err := p.Marshal()
	if err != nil {
		tb.Fatal(err)
	}
	return b
}

// A publisher changes its codec while it sends: who can decode the new one goes on at its keyframe without a gap, who cannot
// gets nothing that it could not understand.
func TestAChangeOfTheCodec(t *testing.T) {
	b := newBench()
	s := b.uplink.stream(20)
	now := time.Unix(1000, 0)
	old := &encoder{ssrc: 20, rid: "l", sequence: 100, height: 180}
	feed := func(p []byte) { b.uplink.receive(s, p, now) }
	feed(old.frame(true, 0, 1)[0])
	var both, plain edge
	both.keep, plain.keep = true, true
	able, unable := NewSlot("able", webrtc.RTPCodecTypeVideo, nil), NewSlot("unable", webrtc.RTPCodecTypeVideo, nil)
	for slot, n := range map[*Slot]only{
		able: {negotiated{edge: &both, video: true}, codecParameters(VP8, VP9)}, unable: {negotiated{edge: &plain, video: true}, codecParameters(VP8)},
	} {
		if _, err := slot.Bind(n); err != nil {
			t.Fatal(err)
		}
		slot.Follow(b.uplink.Track(Camera).Layer("l"))
	}
	if able.Accepts(H264) || !able.Accepts(VP9) || unable.Accepts(VP9) {
		t.Error("what a slot accepts is not what was negotiated")
	}
	feed(old.frame(true, 0, 1)[0])
	delta, key := []byte{0xcc, 0x80, 7, 0x86}, []byte{0x8c, 0x80, 8, 0x82}
	feed(packetOf(t, 98, old.sequence, old.stamp+3000, delta))
	feed(packetOf(t, 98, old.sequence+1, old.stamp+6000, key))
	feed(packetOf(t, 98, old.sequence+2, old.stamp+9000, []byte{0xcc, 0x80, 9, 0x86}))
	if got := b.uplink.Track(Camera).Layer("l").Codec(); got != VP9 {
		t.Errorf("the layer is %v", got)
	}
	var types []uint8
	for i := range both.packets {
		types = append(types, both.packets[i].PayloadType)
		if i > 0 && both.packets[i].SequenceNumber != both.packets[i-1].SequenceNumber+1 {
			t.Errorf("packet %d has number %d after %d", i, both.packets[i].SequenceNumber, both.packets[i-1].SequenceNumber)
		}
	}
	if d := cmp.Diff([]uint8{96, 98, 98}, types); d != "" {
		t.Errorf("payload types (-want +got):\n%s", d)
	}
	if len(plain.packets) != 1 || plain.packets[0].PayloadType != 96 {
		t.Errorf("who cannot decode VP9 got %d packets", len(plain.packets))
	}
	last := both.packets[len(both.packets)-1].Payload
	if first := both.packets[0].Payload; binary.BigEndian.Uint16(last[1:])&0x7fff <= binary.BigEndian.Uint16(first[2:])&0x7fff {
		t.Error("picture ids went back")
	}
}

// The IDR picture of a stream whose parameter sets were lost is not the place to begin.
func TestH264BeginsWithItsParameterSets(t *testing.T) {
	b := newBench()
	s := b.uplink.stream(20)
	now := time.Unix(1000, 0)
	feed := func(n uint16, payload []byte) { b.uplink.receive(s, packetOf(t, 102, n, uint32(n), payload), now) }
	sps, idr := unhex(t, baseline720), []byte{0x65, 0x88, 0x80}
	feed(1, sps)
	slot, out := NewSlot("test", webrtc.RTPCodecTypeVideo, nil), &edge{keep: true}
	if _, err := slot.Bind(only{negotiated{edge: out, video: true}, codecParameters(VP8, H264)}); err != nil {
		t.Fatal(err)
	}
	slot.Follow(b.uplink.Track(Camera).Layer("l"))
	feed(2, idr)
	feed(3, []byte{0x41, 0x9a, 0x24})
	if len(out.packets) != 0 {
		t.Fatalf("%d packets before the parameter sets", len(out.packets))
	}
	feed(4, sps)
	feed(5, idr)
	if len(out.packets) != 2 || b.uplink.Track(Camera).Layer("l").Height() != 720 {
		t.Errorf("%d packets, height %d", len(out.packets), b.uplink.Track(Camera).Layer("l").Height())
	}
}

// superframe makes the packets of a picture in three spatial layers, one packet each.
func superframe(picture uint16, key bool) [][]byte {
	var list [][]byte
	for spatial := range uint8(3) {
		head := byte(0xac) // I, L, B, E
		if !key {
			head |= 0x40
		}
		b := []byte{head, byte(picture>>8) | 0x80, byte(picture), spatial << 1, 1}
		if key && spatial == 0 {
			b[0] |= 0x02
			b = append(b, 0x50)
			for _, height := range []uint16{180, 360, 720} {
				b = binary.BigEndian.AppendUint16(b, height*16/9)
				b = binary.BigEndian.AppendUint16(b, height)
			}
		}
		list = append(list, append(b, 0x82, spatial))
	}
	return list
}

// The spatial layers of one stream can be chosen like simulcast layers, and what is left out leaves no gap.
func TestSpatialLayersOfOneStream(t *testing.T) {
	b := newBench()
	s := b.uplink.stream(20)
	now := time.Unix(1000, 0)
	sequence, picture := uint16(50), uint16(7)
	feed := func(key bool) {
		picture++
		for i, payload := range superframe(picture, key) {
			p := packetOf(t, 98, sequence, uint32(picture)*3000, payload)
			if i < 2 {
				p[1] &= 0x7f // the marker ends the whole picture
			}
			sequence++
			b.uplink.receive(s, p, now)
		}
	}
	feed(true)
	camera := b.uplink.Track(Camera)
	var heights []int
	for _, l := range camera.Layers() {
		if !l.Live(now) || l.Codec() != VP9 {
			t.Errorf("layer %s is not live", l.RID())
		}
		heights = append(heights, l.Height())
	}
	if d := cmp.Diff([]int{180, 360, 720}, heights); d != "" {
		t.Fatalf("heights of the layers (-want +got):\n%s", d)
	}
	slot, out := NewSlot("test", webrtc.RTPCodecTypeVideo, nil), &edge{keep: true}
	if _, err := slot.Bind(only{negotiated{edge: out, video: true}, codecParameters(VP8, VP9)}); err != nil {
		t.Fatal(err)
	}
	var shown []int
	step := func(key bool) {
		before := len(out.packets)
		feed(key)
		shown = append(shown, len(out.packets)-before)
	}
	slot.Follow(camera.Layer(Medium))
	step(false) // nothing before a keyframe
	step(true)
	step(false)
	slot.Follow(camera.Layer(High))
	step(false) // up only at a keyframe
	b.asked = nil
	step(true)
	slot.Follow(camera.Layer(Low))
	step(false) // down at once
	if current, target := slot.Following(); current != camera.Layer(Low) || target != current {
		t.Errorf("it follows %v and waits for %v", current, target)
	}
	if d := cmp.Diff([]int{0, 2, 2, 2, 3, 1}, shown); d != "" {
		t.Errorf("packets per picture (-want +got):\n%s", d)
	}
	ends := 0
	for i := range out.packets {
		if i > 0 && out.packets[i].SequenceNumber != out.packets[i-1].SequenceNumber+1 {
			t.Errorf("packet %d leaves a gap", i)
		}
		if out.packets[i].Marker {
			ends++
		}
	}
	if ends != 5 || !out.packets[len(out.packets)-1].Marker {
		t.Errorf("%d ends of 5 pictures are marked", ends)
	}
}
