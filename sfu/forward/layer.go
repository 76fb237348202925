package forward

import (
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/pion/rtcp"
)

const (
	historyPackets = 512
	// keyframeInterval bounds requests for keyframes per layer: more than two a second ruin the picture at equal rate.
	keyframeInterval = 500 * time.Millisecond
	// keyframePatience is how long beyond a round trip a keyframe may take: then the request, or the start of the keyframe, was
	// lost.
	keyframePatience = 150 * time.Millisecond
	// staleAfter is how long a layer without packets counts as being sent.
	staleAfter = 1500 * time.Millisecond
)

// packet is a received packet on its way through the fan-out. The payload is borrowed from the receive buffer.
type packet struct {
	sequence  uint64 // extended
	epoch     uint64 // of the stream; another one means another encoder
	timestamp uint32
	marker    bool
	late      bool // older than the newest, by reordering or retransmission
	codec     Codec
	frame     frame // of video
	payload   []byte
	arrival   time.Time
}

// Layer is one received RTP stream: the microphone, the content, or one resolution of the camera.
type Layer struct {
	track *Track
	rid   string
	video bool
	slots atomic.Pointer[[]*Slot]
	// Of a view: the stream that it is a spatial layer of, and which.
	of      *Layer
	spatial uint8
	upper   atomic.Int32 // how many spatial layers the stream has above its lowest

	// Owned by the goroutine that receives.
	packet     packet
	burst      burst
	stamp      uint32 // H.264, AV1: of the newest picture
	parameters bool   // H.264: parameter sets come in the stream, and a decoder begins with them
	pending    []uint16
	nacks      nacker

	mu sync.Mutex // guards the counters below between receiver and reports
	receiveState

	history *history

	codec          atomic.Uint32 // of the newest packet
	lastArrival    atomic.Int64  // unix nanoseconds of the newest packet
	lastKeyRequest atomic.Int64  // unix nanoseconds
	lastKeyframe   atomic.Int64  // unix nanoseconds
	wantsKeyframe  atomic.Bool   // a slot waits for one
	size           atomic.Uint64
	received       atomic.Uint64                  // octets on the wire, IP included
	temporal       [AllTemporal + 1]atomic.Uint64 // octets on the wire of each temporal layer
}

// receiveState is what RFC 3550 A.1, A.3 and A.8 keep per source.
type receiveState struct {
	ssrc, rtx       uint32
	started         bool
	epoch           uint64 // the extended numbers of this stream begin here
	base, highest   uint64 // extended sequence numbers
	packets         uint64
	expectedBefore  uint64
	packetsBefore   uint64
	jitter          float64 // in timestamp units
	transit         int64
	report          senderInfo
	recovered       uint64
	recoveredBefore uint64
	nacked          uint64
	keyframes       uint64
	keyRequests     uint64
	octetsAtReport  uint64
	reportedAt      time.Time
	bitrate         int64
	lossFraction    float64
	lostTotal       uint64
	highestTemporal uint8
	temporalBefore  [AllTemporal + 1]uint64
	temporalBps     [AllTemporal + 1]float64 // smoothed; see TemporalShares
}

func newLayer(t *Track, rid string, octets int) *Layer {
	l := &Layer{track: t, rid: rid, video: t.kind != Microphone, history: newHistory(historyPackets, octets)}
	l.epoch = 1 << 16 // so that the number before the first is not below zero
	l.slots.Store(&[]*Slot{})
	return l
}

// clockRate is that of the newest packets' codec.
func (l *Layer) clockRate() uint32 {
	if l.video {
		return videoClock
	}
	return l.Codec().clockRate()
}

// RID is the layer's restriction identifier; empty for a track with one layer.
func (l *Layer) RID() string { return l.rid }

// Height is that of the last keyframe, 0 before the first.
func (l *Layer) Height() int { return int(l.size.Load() & 0xffff) } //nolint:gosec // 16 bits

// Live says whether packets are coming.
func (l *Layer) Live(now time.Time) bool {
	if l.of != nil {
		return int32(l.spatial) <= l.of.upper.Load() && l.of.Live(now)
	}
	return now.UnixNano()-l.lastArrival.Load() < int64(staleAfter)
}

// Codec is the format of the newest packet.
func (l *Layer) Codec() Codec { return Codec(l.root().codec.Load()) } //nolint:gosec // a Codec was stored

// receive takes one packet of the stream. The payload may be changed until it returns.
func (l *Layer) receive(h *header, codec Codec, payload []byte, wire int, now time.Time) {
	l.received.Add(uint64(wire)) //nolint:gosec // a length
	if l.video && len(payload) == 0 {
		l.skip(h, now) // padding for the publisher's bandwidth estimation: no gap at the subscriber either
		return
	}
	p := &l.packet
	if !l.admit(h, now) {
		return
	}
	if l.video && !l.look(&p.frame, codec, h.timestamp, payload) {
		return
	}
	p.payload, p.codec, p.timestamp, p.marker, p.arrival = payload, codec, h.timestamp, h.marker, now
	if !p.late {
		l.codec.Store(uint32(codec))
	}
	if l.video {
		l.temporal[p.frame.temporal].Add(uint64(wire)) //nolint:gosec // a length
	}
	l.history.put(p.sequence, p.marker, p.timestamp, payload)
	l.fanOut(p)
	l.ask(now)
}

// look reads what a packet of video says of its frame; false: nothing that can be understood.
func (l *Layer) look(f *frame, codec Codec, timestamp uint32, payload []byte) bool {
	if !f.parse(codec, payload) {
		return false
	}
	if codec == H264 || codec == AV1 { // their packets do not say it
		f.start, l.stamp = l.stamp != timestamp, timestamp
	}
	if codec == H264 {
		// An IDR picture behind its parameter sets is not the place to begin; the sets are.
		l.parameters = l.parameters || f.parameters
		f.keyframe = f.keyframe && (f.parameters || !l.parameters)
	}
	f.temporal = min(f.temporal, AllTemporal)
	if f.keyframe {
		l.noteKeyframe(f)
	}
	if f.temporal > l.highestTemporal {
		l.noteTemporal(f.temporal)
	}
	return true
}

// fanOut writes the packet to every slot of the snapshot, in one system call if the plane collects.
func (l *Layer) fanOut(p *packet) {
	slots := *l.slots.Load()
	if len(slots) == 0 {
		return
	}
	u := l.track.uplink
	more := l.video && l.burst.more(p)
	u.batch.Begin()
	written := 0
	for _, s := range slots {
		if s.forward(l, p) {
			written++
		}
	}
	if more {
		u.batch.Hold()
	} else {
		u.batch.End()
	}
	u.metrics.forwarded(l.track.kind, written, p.arrival)
}

// admit updates the sequence state; false: a duplicate, or too old.
func (l *Layer) admit(h *header, now time.Time) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	p := &l.packet
	if !l.started {
		l.start(h)
	}
	p.sequence, p.epoch = extend(l.highest, h.sequence), l.epoch
	p.late = p.sequence < l.highest
	if p.late && (l.highest-p.sequence >= historyPackets || p.sequence < l.base) {
		return false
	}
	if p.sequence <= l.highest && l.packets > 0 && l.history.has(p.sequence) {
		return false
	}
	if p.late && l.nacks.came(p.sequence) {
		l.recovered++
	}
	if p.sequence > l.highest+1 && l.video {
		if !l.nacks.gap(l.highest+1, p.sequence, now) {
			l.wantsKeyframe.Store(true)
		}
	}
	if p.sequence > l.highest {
		l.highest = p.sequence
		l.updateJitter(h.timestamp, now)
	}
	l.packets++
	l.lastArrival.Store(now.UnixNano())
	return true
}

func (l *Layer) start(h *header) {
	l.started = true
	l.base = l.epoch + uint64(h.sequence)
	l.highest = l.base
}

// extend finds the extended sequence number nearest to the newest one.
func extend(newest uint64, sequence uint16) uint64 {
	return newest + uint64(int64(int16(sequence-uint16(newest)))) //nolint:gosec // two's complement on purpose
}

func (l *Layer) updateJitter(timestamp uint32, now time.Time) {
	clock := int64(l.clockRate())
	arrival := now.UnixMicro() * clock / 1e6
	transit := arrival - int64(timestamp)
	d := int64(int32(uint32(transit - l.transit))) //nolint:gosec // modulo the timestamp's 32 bits
	if l.transit != 0 && l.packets > 0 {
		l.jitter += (float64(max(d, -d)) - l.jitter) / 16
	}
	l.transit = transit
}

// skip takes note of a packet without media.
func (l *Layer) skip(h *header, now time.Time) {
	if !l.admit(h, now) {
		return
	}
	p := &l.packet
	p.payload, p.timestamp, p.marker, p.arrival, p.frame = nil, h.timestamp, false, now, frame{}
	for _, s := range *l.slots.Load() {
		s.skip(l, p)
	}
	l.history.put(p.sequence, false, p.timestamp, nil)
	l.ask(now)
}

func (l *Layer) noteKeyframe(f *frame) {
	if f.width > 0 {
		l.size.Store(uint64(f.width)<<16 | uint64(f.height)) //nolint:gosec // 16 bits each
	}
	l.noteSpatial(f)
	l.mu.Lock()
	l.keyframes++
	l.mu.Unlock()
	l.lastKeyframe.Store(l.lastArrival.Load())
	l.wantsKeyframe.Store(false)
}

func (l *Layer) noteTemporal(t uint8) {
	l.mu.Lock()
	l.highestTemporal = t
	l.mu.Unlock()
}

// ask requests lost packets and keyframes when they are due. Called on the receiving goroutine.
func (l *Layer) ask(now time.Time) {
	if len(l.nacks.list) > 0 && l.track.uplink.recovery {
		var lost bool
		l.pending, lost = l.nacks.due(now, l.track.uplink.RTT(), l.pending[:0])
		if len(l.pending) > 0 {
			l.mu.Lock()
			l.nacked += uint64(len(l.pending))
			ssrc := l.ssrc
			l.mu.Unlock()
			l.track.uplink.send(nackPacket(ssrc, l.pending))
		}
		if lost {
			l.wantsKeyframe.Store(true)
		}
	}
	if l.wantsKeyframe.Load() {
		l.requestKeyframe(now)
	}
}

// RequestKeyframe asks the publisher for one, now or as soon as the last request is old enough.
func (l *Layer) RequestKeyframe() {
	l = l.root()
	l.wantsKeyframe.Store(true)
	l.requestKeyframe(time.Now())
}

func (l *Layer) requestKeyframe(now time.Time) {
	if !l.video || !l.track.uplink.recovery && l.lastKeyRequest.Load() != 0 {
		return // with recovery off the first request still goes out: a picture has to begin somehow
	}
	last, pause := l.lastKeyRequest.Load(), keyframeInterval
	if l.lastKeyframe.Load() < last {
		pause = min(pause, l.track.uplink.RTT()+keyframePatience)
	}
	if now.UnixNano()-last < int64(pause) || !l.lastKeyRequest.CompareAndSwap(last, now.UnixNano()) {
		return
	}
	l.mu.Lock()
	ssrc := l.ssrc
	if ssrc != 0 {
		l.keyRequests++
	}
	l.mu.Unlock()
	if ssrc == 0 {
		l.lastKeyRequest.Store(last)
		return
	}
	l.track.uplink.send(&rtcp.PictureLossIndication{SenderSSRC: senderSSRC, MediaSSRC: ssrc})
}

// add puts a slot into the snapshot.
func (l *Layer) add(s *Slot) {
	l.track.mu.Lock()
	defer l.track.mu.Unlock()
	old := *l.slots.Load()
	if slices.Contains(old, s) {
		return
	}
	next := append(slices.Clone(old), s)
	l.slots.Store(&next)
}

// remove takes a slot out of the snapshot. A fan-out under way may still offer it packets, which it refuses.
func (l *Layer) remove(s *Slot) {
	l.track.mu.Lock()
	defer l.track.mu.Unlock()
	next := slices.DeleteFunc(slices.Clone(*l.slots.Load()), func(o *Slot) bool { return o == s })
	l.slots.Store(&next)
}
