package forward

import (
	"encoding/binary"
	"errors"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/pion/interceptor"
	"github.com/pion/rtcp"
	"github.com/pion/rtp"
	"github.com/pion/webrtc/v4"
	"pgregory.net/rapid"
)

// edge stands where pion would encrypt and send. It keeps copies only when asked to.
type edge struct {
	keep    bool
	packets []rtp.Packet
	count   int
}

func (e *edge) WriteRTP(h *rtp.Header, payload []byte) (int, error) {
	e.count++
	if e.keep {
		e.packets = append(e.packets, rtp.Packet{Header: *h, Payload: append([]byte(nil), payload...)})
	}
	return len(payload), nil
}

func (e *edge) Write([]byte) (int, error) { return 0, errors.New("not used") }

// negotiated is what a slot sees of a finished negotiation.
type negotiated struct {
	edge  *edge
	video bool
}

func (n negotiated) CodecParameters() []webrtc.RTPCodecParameters {
	if !n.video {
		return []webrtc.RTPCodecParameters{{RTPCodecCapability: webrtc.RTPCodecCapability{MimeType: webrtc.MimeTypeOpus}, PayloadType: 111}}
	}
	return []webrtc.RTPCodecParameters{
		{RTPCodecCapability: webrtc.RTPCodecCapability{MimeType: webrtc.MimeTypeVP8}, PayloadType: 96},
		{RTPCodecCapability: webrtc.RTPCodecCapability{MimeType: webrtc.MimeTypeRTX, SDPFmtpLine: "apt=96"}, PayloadType: 97},
	}
}
func (n negotiated) HeaderExtensions() []webrtc.RTPHeaderExtensionParameter { return nil }
func (n negotiated) SSRC() webrtc.SSRC                                      { return 1000 }
func (n negotiated) SSRCRetransmission() webrtc.SSRC                        { return 1001 }
func (n negotiated) SSRCForwardErrorCorrection() webrtc.SSRC                { return 0 }
func (n negotiated) WriteStream() webrtc.TrackLocalWriter                   { return n.edge }
func (n negotiated) ID() string                                             { return "test" }
func (n negotiated) RTCPReader() interceptor.RTCPReader                     { return nil }

type noBatch struct{}

func (noBatch) Begin() {}
func (noBatch) Hold()  {}
func (noBatch) End()   {}

// bench is a publisher with SSRCs in its offer, and what was sent back to it.
type bench struct {
	uplink *Uplink
	asked  []rtcp.Packet
}

func newBench() *bench {
	b := &bench{}
	b.uplink = NewUplink(UplinkOptions{Batch: noBatch{}, Send: func(p []rtcp.Packet) error {
		b.asked = append(b.asked, p...)
		return nil
	}})
	b.uplink.Describe(&Description{
		formats: [128]format{96: {codec: VP8}, 97: {repair: true, of: 96}, 98: {codec: VP9}, 102: {codec: H264}, 45: {codec: AV1}, 111: {codec: Opus}},
		mids:    map[string]Kind{"0": Microphone, "1": Camera}, midID: 1, ridID: 2, repairedRIDID: 3,
		ssrcs: map[uint32]declared{10: {kind: Microphone}, 30: {kind: Content}, 31: {kind: Content, repair: true}},
	})
	return b
}

func (b *bench) slot(tb testing.TB, video, keep bool) (*Slot, *edge) {
	tb.Helper()
	kind := webrtc.RTPCodecTypeAudio
	if video {
		kind = webrtc.RTPCodecTypeVideo
	}
	s, e := NewSlot("test", kind, nil), &edge{keep: keep}
	if _, err := s.Bind(negotiated{edge: e, video: video}); err != nil {
		tb.Fatal(err)
	}
	return s, e
}

// encoder makes the packets of one VP8 layer.
type encoder struct {
	ssrc     uint32
	rid      string
	sequence uint16
	stamp    uint32
	picture  uint16
	tl0      uint8
	height   int
}

// frame makes a frame of n packets.
func (e *encoder) frame(key bool, temporal uint8, n int) [][]byte {
	e.picture = (e.picture + 1) & 0x7fff
	e.stamp += 3000
	if temporal == 0 {
		e.tl0++
	}
	var list [][]byte
	for i := range n {
		payload := make([]byte, 40)
		payload[0], payload[1] = 0x80, 0xe0
		if i == 0 {
			payload[0] |= 0x10
		}
		binary.BigEndian.PutUint16(payload[2:], e.picture|0x8000)
		payload[4], payload[5] = e.tl0, temporal<<6
		payload[6] = 1
		if key && i == 0 {
			payload[6] = 0
			copy(payload[9:], []byte{0x9d, 0x01, 0x2a})
			binary.LittleEndian.PutUint16(payload[12:], uint16(e.height*16/9))
			binary.LittleEndian.PutUint16(payload[14:], uint16(e.height))
		}
		p := rtp.Packet{Header: rtp.Header{Version: 2, PayloadType: 96, SSRC: e.ssrc, SequenceNumber: e.sequence, Timestamp: e.stamp, Marker: i == n-1}, Payload: payload}
		if e.rid != "" {
			_ = p.SetExtension(1, []byte("1"))
			_ = p.SetExtension(2, []byte(e.rid))
		}
		e.sequence++
		b, err := p.Marshal()
		if err != nil {
			panic(err)
		}
		list = append(list, b)
	}
	return list
}

func TestASwitchOfLayersIsOneStreamForTheReceiver(t *testing.T) {
	b := newBench()
	low := &encoder{ssrc: 20, rid: "l", sequence: 65530, stamp: 4_000_000_000, picture: 0x7ffe, tl0: 250, height: 180}
	high := &encoder{ssrc: 22, rid: "h", sequence: 100, stamp: 77, picture: 5, tl0: 9, height: 720}
	now := time.Unix(1000, 0)
	feed := func(e *encoder, key bool, n int) {
		s := b.uplink.stream(e.ssrc)
		for _, p := range e.frame(key, 0, n) {
			b.uplink.receive(s, p, now)
		}
	}
	feed(low, true, 2)
	feed(high, true, 2)
	camera := b.uplink.Track(Camera)
	slot, out := b.slot(t, true, true)
	slot.Follow(camera.Layer("l"))
	step := func(lowKey, highKey bool) {
		now = now.Add(time.Second / 30)
		feed(low, lowKey, 2)
		feed(high, highKey, 3)
	}
	step(false, true) // not from a delta frame
	step(true, false)
	step(false, false)
	slot.Follow(camera.Layer("h"))
	step(false, false) // the low layer goes on until the high one has a keyframe
	step(false, true)
	step(false, false)
	slot.Follow(camera.Layer("l"))
	step(false, false)
	step(true, false)
	var lengths []int
	for i := range out.packets {
		p := &out.packets[i]
		if p.SSRC != 1000 || p.PayloadType != 96 || len(p.Extensions) > 0 {
			t.Errorf("packet %d: ssrc %d, payload type %d, %d extensions", i, p.SSRC, p.PayloadType, len(p.Extensions))
		}
		if i == 0 {
			continue
		}
		last := &out.packets[i-1]
		if p.SequenceNumber != last.SequenceNumber+1 {
			t.Errorf("packet %d: sequence number %d after %d", i, p.SequenceNumber, last.SequenceNumber)
		}
		var d, before frame
		d.parse(VP8, p.Payload)
		before.parse(VP8, last.Payload)
		if last.Marker {
			// Without sender reports the layers' clocks are compared by arrival, and both layers of a frame arrive at once.
			if step := p.Timestamp - last.Timestamp; step < 1 || step > 3000 {
				t.Errorf("packet %d: timestamp moved by %d", i, step)
			}
			if d.picture != (before.picture+1)&0x7fff || d.tl0 != before.tl0+1 {
				t.Errorf("packet %d: picture %d after %d, tl0 %d after %d", i, d.picture, before.picture, d.tl0, before.tl0)
			}
		}
	}
	for _, p := range out.packets {
		var d frame
		if d.parse(VP8, p.Payload); d.keyframe {
			lengths = append(lengths, d.height)
		}
	}
	if d := cmp.Diff([]int{180, 720, 180}, lengths); d != "" {
		t.Errorf("heights of keyframes (-want +got):\n%s", d)
	}
	if want := 4*2 + 3*3 + 2; len(out.packets) != want {
		t.Errorf("%d packets, want %d", len(out.packets), want)
	}
}

func TestDroppedTemporalLayersLeaveNoGap(t *testing.T) {
	b := newBench()
	e := &encoder{ssrc: 20, rid: "l", height: 180}
	now := time.Unix(1000, 0)
	s := b.uplink.stream(20)
	slot, out := b.slot(t, true, true)
	for _, p := range e.frame(true, 0, 1) {
		b.uplink.receive(s, p, now)
	}
	slot.SetTemporal(1)
	slot.Follow(b.uplink.Track(Camera).Layer("l"))
	var late [][]byte
	for i, temporal := range []uint8{0, 2, 1, 2, 0, 2, 1, 2, 0} {
		for j, p := range e.frame(i == 0, temporal, 2) {
			if i == 2 && j == 0 || i == 3 && j == 1 {
				late = append(late, p) // lost on the way, comes later
				continue
			}
			b.uplink.receive(s, p, now)
		}
	}
	for _, p := range late {
		b.uplink.receive(s, p, now)
	}
	if len(out.packets) != 10 {
		t.Fatalf("%d packets, want 5 frames of 2", len(out.packets))
	}
	seen := map[uint16]uint16{}
	first := out.packets[0].SequenceNumber
	for _, p := range out.packets {
		var d frame
		d.parse(VP8, p.Payload)
		if d.temporal > 1 {
			t.Error("a packet of the highest temporal layer was forwarded")
		}
		seen[p.SequenceNumber-first] = d.picture
	}
	if len(seen) < 10 {
		t.Errorf("sequence numbers are used twice: %v", seen)
	}
}

func TestRetransmissionComesFromTheSharedHistory(t *testing.T) {
	b := newBench()
	e := &encoder{ssrc: 20, rid: "l", sequence: 65000, height: 180}
	s := b.uplink.stream(20)
	now := time.Now()
	for _, p := range e.frame(true, 0, 1) {
		b.uplink.receive(s, p, now)
	}
	slots := make([]*Slot, 2)
	edges := make([]*edge, 2)
	for i := range slots {
		slots[i], edges[i] = b.slot(t, true, true)
		slots[i].Follow(b.uplink.Track(Camera).Layer("l"))
	}
	for range 10 {
		for _, p := range e.frame(true, 0, 3) {
			b.uplink.receive(s, p, now)
		}
	}
	receiver := &SlotReceiver{Slots: func(uint32) *Slot { return slots[1] }}
	wanted := edges[1].packets[7]
	nack, err := (&rtcp.TransportLayerNack{MediaSSRC: 1000, Nacks: rtcp.NackPairsFromSequenceNumbers([]uint16{wanted.SequenceNumber})}).Marshal()
	if err != nil {
		t.Fatal(err)
	}
	ask := receiver.RTCP(1000)
	ask(nack)
	ask(nack) // at once again: the first answer is still on its way
	if n := len(edges[1].packets); n != 31 {
		t.Fatalf("%d packets written, want 30 and one retransmission", n)
	}
	got := edges[1].packets[30]
	if got.SSRC != 1001 || got.PayloadType != 97 || got.Timestamp != wanted.Timestamp || got.Marker != wanted.Marker {
		t.Errorf("retransmission header: %+v", got.Header)
	}
	want := binary.BigEndian.AppendUint16(nil, wanted.SequenceNumber)
	if d := cmp.Diff(append(want, wanted.Payload...), got.Payload); d != "" {
		t.Errorf("payload (-want +got):\n%s", d)
	}
	if len(edges[0].packets) != 30 {
		t.Error("the other subscriber got something")
	}
}

func TestLostPacketsAreAskedForAndRTXIsUnwrapped(t *testing.T) {
	b := newBench()
	e := &encoder{ssrc: 30, height: 720}
	s, rtx := b.uplink.stream(30), b.uplink.stream(31)
	now := time.Unix(1000, 0)
	first := e.frame(true, 0, 1)
	b.uplink.receive(s, first[0], now)
	slot, out := b.slot(t, true, true)
	slot.Follow(b.uplink.Track(Content).Layer(""))
	frames := e.frame(true, 0, 4)
	lost := append([]byte(nil), frames[1]...)
	for i, p := range frames {
		if i != 1 {
			b.uplink.receive(s, p, now)
		}
	}
	b.asked = nil
	now = now.Add(10 * time.Millisecond)
	for _, p := range e.frame(false, 0, 1) {
		b.uplink.receive(s, p, now)
	}
	if len(b.asked) != 1 {
		t.Fatalf("asked for: %v", b.asked)
	}
	if d := cmp.Diff([]rtcp.NackPair{{PacketID: 2}}, b.asked[0].(*rtcp.TransportLayerNack).Nacks); d != "" {
		t.Errorf("NACK (-want +got):\n%s", d)
	}
	var p rtp.Packet
	if err := p.Unmarshal(lost); err != nil {
		t.Fatal(err)
	}
	p.Payload = append(binary.BigEndian.AppendUint16(nil, p.SequenceNumber), p.Payload...)
	p.SSRC, p.PayloadType, p.SequenceNumber = 31, 97, 7777
	repaired, err := p.Marshal()
	if err != nil {
		t.Fatal(err)
	}
	b.uplink.receive(rtx, repaired, now)
	b.uplink.receive(rtx, append([]byte(nil), repaired...), now) // a duplicate
	if len(out.packets) != 5 {
		t.Fatalf("%d packets, want 5", len(out.packets))
	}
	if got, want := out.packets[4].SequenceNumber, out.packets[0].SequenceNumber+1; got != want {
		t.Errorf("the repaired packet has number %d, want %d", got, want)
	}
}

// The forward path allocates nothing, from the decrypted packet to pion's writer, however many watch.
func TestForwardingAllocatesNothing(t *testing.T) {
	b := newBench()
	camera := &encoder{ssrc: 20, rid: "l", height: 180}
	s := b.uplink.stream(20)
	now := time.Now()
	for _, p := range camera.frame(true, 0, 1) {
		b.uplink.receive(s, p, now)
	}
	for range 20 {
		slot, e := b.slot(t, true, false)
		if _, err := slot.Bind(numbered{negotiated{edge: e, video: true}}); err != nil {
			t.Fatal(err)
		}
		slot.SetTransport(&counter{})
		slot.Follow(b.uplink.Track(Camera).Layer("l"))
	}
	for _, p := range camera.frame(true, 0, 1) {
		b.uplink.receive(s, p, now)
	}
	packets := camera.frame(false, 0, 2000)
	i := 0
	if n := testing.AllocsPerRun(1500, func() {
		b.uplink.receive(s, packets[i], now)
		i++
	}); n != 0 {
		t.Errorf("%v allocations per packet for 20 subscribers", n)
	}
}

func BenchmarkForward(bm *testing.B) {
	for _, subscribers := range []int{1, 10, 50} {
		bm.Run(string(rune('0'+subscribers/10))+"x10", func(bm *testing.B) {
			b := newBench()
			camera := &encoder{ssrc: 20, rid: "l", height: 180}
			s := b.uplink.stream(20)
			for _, p := range camera.frame(true, 0, 1) {
				b.uplink.receive(s, p, time.Now())
			}
			for range subscribers {
				slot, _ := b.slot(bm, true, false)
				slot.Follow(b.uplink.Track(Camera).Layer("l"))
			}
			packets := camera.frame(true, 0, 1<<16)
			i := 0
			bm.ReportAllocs()
			for bm.Loop() {
				b.uplink.receive(s, packets[i&0xffff], time.Now())
				i++
			}
			bm.ReportMetric(float64(bm.N*subscribers)/bm.Elapsed().Seconds(), "packets/s")
		})
	}
}

// Whatever is lost, reordered and dropped on purpose, no sequence number is written twice with different contents: under
// AES-GCM that would betray both.
// More temporal layers begin with a frame that needs none of those left out (the bit Y); a switch to a smaller layer leaves out
// all but the base until it has happened.
func TestTemporalLayersComeBackWithASyncFrame(t *testing.T) {
	b := newBench()
	low, high := &encoder{ssrc: 20, rid: "l", height: 180}, &encoder{ssrc: 22, rid: "h", height: 720}
	now := time.Unix(1000, 0)
	slot, out := b.slot(t, true, true)
	feed := func(e *encoder, key bool, temporal uint8, sync bool) (forwarded bool) {
		before := len(out.packets)
		for _, p := range e.frame(key, temporal, 1) {
			if sync {
				var h header
				h.parse(p)
				p[h.start+5] |= 0x20
			}
			b.uplink.receive(b.uplink.stream(e.ssrc), p, now)
		}
		return len(out.packets) > before
	}
	feed(low, true, 0, false)
	feed(high, true, 0, false)
	camera := b.uplink.Track(Camera)
	slot.SetTemporal(0)
	slot.Follow(camera.Layer("h"))
	for i, step := range []struct {
		act      func()
		of       *encoder
		key      bool
		temporal uint8
		sync     bool
		want     bool
	}{
		{func() {}, high, true, 0, false, true},
		{func() {}, high, false, 1, true, false},
		{func() { slot.SetTemporal(AllTemporal) }, high, false, 1, false, false},
		{func() {}, high, false, 1, true, true},
		{func() {}, high, false, 2, false, false},
		{func() {}, high, false, 2, true, true},
		{func() { slot.Follow(camera.Layer("l")) }, high, false, 2, true, false},
		{func() {}, high, false, 0, false, true},
		{func() {}, low, true, 0, false, true},
		{func() {}, low, false, 2, false, true},
	} {
		step.act()
		if got := feed(step.of, step.key, step.temporal, step.sync); got != step.want {
			t.Errorf("frame %d: forwarded %v, want %v", i, got, step.want)
		}
	}
}

func TestNoSequenceNumberIsUsedTwice(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		b := newBench()
		layers := map[string]*encoder{
			"l": {ssrc: 20, rid: "l", sequence: rapid.Uint16().Draw(t, "sequence"), height: 180},
			"h": {ssrc: 22, rid: "h", sequence: 7, height: 720},
		}
		slot, out := NewSlot("x", webrtc.RTPCodecTypeVideo, nil), &edge{keep: true}
		if _, err := slot.Bind(negotiated{edge: out, video: true}); err != nil {
			t.Fatal(err)
		}
		now := time.Unix(1000, 0)
		for _, e := range layers {
			for _, p := range e.frame(true, 0, 1) {
				b.uplink.receive(b.uplink.stream(e.ssrc), p, now)
			}
		}
		var held [][]byte
		for range rapid.IntRange(1, 60).Draw(t, "frames") {
			now = now.Add(33 * time.Millisecond)
			switch rapid.IntRange(0, 9).Draw(t, "act") {
			case 0:
				slot.Follow(b.uplink.Track(Camera).Layer("l"))
			case 1:
				slot.Follow(b.uplink.Track(Camera).Layer("h"))
			case 2:
				slot.Follow(nil)
			case 3:
				slot.SetTemporal(uint8(rapid.IntRange(0, 3).Draw(t, "limit")))
			}
			e := layers[rapid.SampledFrom([]string{"l", "h"}).Draw(t, "layer")]
			for _, p := range e.frame(rapid.Bool().Draw(t, "key"), uint8(rapid.IntRange(0, 2).Draw(t, "temporal")), rapid.IntRange(1, 4).Draw(t, "packets")) {
				switch rapid.IntRange(0, 5).Draw(t, "fate") {
				case 0: // lost
				case 1:
					held = append(held, p)
				default:
					b.uplink.receive(b.uplink.stream(e.ssrc), p, now)
				}
			}
			if len(held) > 0 && rapid.Bool().Draw(t, "release") {
				var h header
				h.parse(held[0])
				b.uplink.receive(b.uplink.stream(h.ssrc), held[0], now)
				held = held[1:]
			}
		}
		seen := map[uint16]bool{}
		for _, p := range out.packets {
			if seen[p.SequenceNumber] {
				t.Fatalf("sequence number %d is used twice", p.SequenceNumber)
			}
			seen[p.SequenceNumber] = true
		}
	})
}
