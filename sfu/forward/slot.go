package forward

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/pion/rtp"
	"github.com/pion/webrtc/v4"

	"linehall/sfu/pace"
)

// AllTemporal is the limit that drops no temporal layer.
const AllTemporal = 3

// How many packets a slot can still find for a NACK: two seconds of voice, two seconds of the highest layer. Powers of two.
const (
	slotHistoryAudio = 128
	slotHistoryVideo = 512
)

// Slot is one m-line of a subscriber's connection: a webrtc.TrackLocal for as long as the connection lives, that follows one
// track at a time. To the receiver it is one endless stream: numbers and times run on over every switch.
type Slot struct {
	id      string
	video   bool
	metrics *Metrics

	bound  atomic.Pointer[binding]
	meter  atomic.Pointer[meterBox]
	octets atomic.Uint64
	// transport numbers the packets.
	transport atomic.Pointer[transportBox]

	// mu guards everything below against a hand-over between two publishers, reports and retransmissions. A packet's forwarding
	// holds it while the packet is encrypted and collected.
	mu       sync.Mutex
	track    *Track
	current  *Layer // whose packets are forwarded
	target   *Layer // to switch to at its next keyframe; equal to current when settled
	epoch    uint64 // of the current layer's stream
	codec    Codec  // of the current layer
	rewrite  rewrite
	view     *Layer         // what it was told to follow: target, or a spatial layer of it
	spatial  uint8          // highest spatial layer that is forwarded
	below    uint8          // highest spatial layer to forward, see cut
	temporal uint8          // highest temporal layer that is forwarded
	wanted   uint8          // highest temporal layer to forward, see begin
	pacer    Pacer          // nil: nothing is held back
	starved  bool           // frames are left out until a keyframe has room
	keyless  bool           // a keyframe is needed, and asked for when the pacer lets it
	sent     []sentPacket   // by outgoing sequence number
	sources  []sourcePacket // by the layer's sequence number
	header   rtp.Header
	counters slotCounters
	repair   repair
}

type meterBox struct{ Meter }

// Pacer is the slot's place in the queue of its subscriber's line. *pace.Flow is one.
type Pacer interface {
	// Admit says at the first packet of a frame whether there is time for all frames, or for those of the base.
	Admit() (all, base bool)
	// Claim asks for the right to ask for a keyframe.
	Claim(now time.Time) bool
	// Send and Repair take a packet, or say that the caller has to send it. Header and payload are borrowed; octets is the
	// length of the IP packet.
	Send(to pace.Writer, h *rtp.Header, payload []byte, octets int, keyframe bool) bool
	Repair(to pace.Writer, h *rtp.Header, payload []byte, octets int) bool
}

// binding is what the negotiation gave.
type binding struct {
	slot      *Slot
	id        string // of the connection's sender
	writer    webrtc.TrackLocalWriter
	ssrc, rtx uint32
	payloads  [codecCount]payload // by codec
	numbering numbering
}

// payload is how a codec is sent.
type payload struct {
	media, repair uint8 // payload types; repair 0: none
	taken         bool  // by the receiver; PCMU has the payload type 0
}

// rewrite is how the current layer's numbers become the slot's.
type rewrite struct {
	started      bool
	sequence     uint64 // added to the layer's extended sequence number
	timestamp    uint32 // added
	picture      uint16 // added
	tl0          uint8  // added
	from         uint64 // first forwarded extended number of the layer
	newest       uint64 // newest extended number seen of the layer
	outSequence  uint64 // newest written
	outTimestamp uint32
	outAt        time.Time
	outPicture   uint16
	outTL0       uint8
	dropping     uint32 // timestamp of the frame whose packets are dropped
	dropped      bool
	keyframe     uint32 // timestamp of the newest keyframe
}

// sentPacket finds the source of a sequence number that was written.
type sentPacket struct {
	out     uint64 // extended, 0: empty
	source  uint64
	layer   *Layer
	stamp   uint32 // added to the timestamp
	picture uint16
	tl0     uint8
	codec   Codec
	marker  bool
	resent  uint8
	at      int64 // unix nanoseconds of the last retransmission
}

// sourcePacket says what became of a source sequence number: written, to be written when it comes, or dropped on purpose.
type sourcePacket struct {
	source   uint64
	sequence uint64 // what to add
	picture  uint16
	dropped  bool
}

type slotCounters struct {
	packets, octets uint64 // as RFC 3550 §6.4.1 counts them
}

// NewSlot makes an m-line of the given kind. The id becomes the msid of the m-line.
func NewSlot(id string, kind webrtc.RTPCodecType, m *Metrics) *Slot {
	s := &Slot{id: id, video: kind == webrtc.RTPCodecTypeVideo, metrics: m, temporal: AllTemporal, wanted: AllTemporal}
	if m == nil {
		s.metrics = NewMetrics(nil)
	}
	s.rewrite.outSequence = 1<<16 + uint64(rand.Uint32N(1<<15)) //nolint:gosec // not a secret; RFC 3550 wants it unpredictable for plain RTP
	s.rewrite.outTimestamp = rand.Uint32()                      //nolint:gosec // as above
	s.repair.sequence = uint16(rand.Uint32N(1 << 15))           //nolint:gosec // as above
	return s
}

// memory is how many packets the slot remembers.
func (s *Slot) memory() int {
	if s.video {
		return slotHistoryVideo
	}
	return slotHistoryAudio
}

// Bind takes what was negotiated. It is part of webrtc.TrackLocal.
func (s *Slot) Bind(c webrtc.TrackLocalContext) (webrtc.RTPCodecParameters, error) {
	b := &binding{slot: s, id: c.ID(), writer: c.WriteStream(), ssrc: uint32(c.SSRC()), rtx: uint32(c.SSRCRetransmission())}
	var first webrtc.RTPCodecParameters
	for _, p := range c.CodecParameters() {
		codec := CodecOf(p.MimeType)
		if codec == NoCodec || codec.video() != s.video || b.payloads[codec].taken {
			continue
		}
		b.payloads[codec] = payload{media: uint8(p.PayloadType), taken: true}
		if first.PayloadType == 0 {
			first = p
		}
	}
	if first.PayloadType == 0 {
		return first, fmt.Errorf("slot %s: %w", s.id, webrtc.ErrUnsupportedCodec)
	}
	repaired := false
	for _, p := range c.CodecParameters() {
		for codec := range b.payloads {
			if n := &b.payloads[codec]; n.taken && strings.EqualFold(p.MimeType, webrtc.MimeTypeRTX) && p.SDPFmtpLine == fmt.Sprintf("apt=%d", n.media) {
				n.repair, repaired = uint8(p.PayloadType), true
			}
		}
	}
	if !repaired {
		b.rtx = 0
	}
	b.numbering.negotiate(c, b.rtx != 0, s.memory())
	s.bound.Store(b)
	return first, nil
}

// Negotiated says whether the receiver has answered.
func (s *Slot) Negotiated() bool { return s.bound.Load() != nil }

// Accepts says whether the receiver can decode a codec; before it has answered nobody knows, and it says no.
func (s *Slot) Accepts(c Codec) bool {
	b := s.bound.Load()
	return b != nil && b.payloads[c].taken
}

// Unbind ends writing. It is part of webrtc.TrackLocal.
func (s *Slot) Unbind(c webrtc.TrackLocalContext) error {
	// A slot that went over to a new connection is unbound from the old one afterwards.
	if b := s.bound.Load(); b != nil && b.id == c.ID() {
		s.bound.CompareAndSwap(b, nil)
	}
	return nil
}

// ID names the track. Like RID, StreamID and Kind it is part of webrtc.TrackLocal.
func (s *Slot) ID() string { return s.id }

// RID is empty: a slot is one stream.
func (s *Slot) RID() string { return "" }

// StreamID is the slot's own: a browser synchronises the tracks of one stream, and the owners of two slots change on their own.
func (s *Slot) StreamID() string { return s.id }

// Kind is audio or video.
func (s *Slot) Kind() webrtc.RTPCodecType {
	if s.video {
		return webrtc.RTPCodecTypeVideo
	}
	return webrtc.RTPCodecTypeAudio
}

// SSRC is the slot's stream, 0 before the negotiation.
func (s *Slot) SSRC() uint32 {
	if b := s.bound.Load(); b != nil {
		return b.ssrc
	}
	return 0
}

// SetMeter tells where to count sent traffic; nil: nowhere.
func (s *Slot) SetMeter(m Meter) {
	if m == nil {
		s.meter.Store(nil)
		return
	}
	s.meter.Store(&meterBox{m})
}

// SetPacer puts the slot's packets into the queue of its subscriber's line; nil: they leave at once.
func (s *Slot) SetPacer(p Pacer) {
	s.mu.Lock()
	s.pacer = p
	s.mu.Unlock()
}

// SetTemporal limits the temporal layers that are forwarded: 0 the base only, AllTemporal all. Fewer takes effect with the next
// frame, more with the next one that a receiver can decode without having seen the layers left out (RFC 7741 §4.2, the bit Y).
func (s *Slot) SetTemporal(limit uint8) {
	s.mu.Lock()
	s.wanted = limit
	s.mu.Unlock()
}

// Follow makes the slot forward a layer from its next keyframe on; until then the layer before goes on, if it is of the same
// track. nil: forward nothing.
func (s *Slot) Follow(view *Layer) {
	s.mu.Lock()
	if s.view == view {
		s.mu.Unlock()
		return
	}
	oldTarget, oldCurrent := s.target, s.current
	var l *Layer
	var track *Track
	rises := false
	if view != nil {
		l, track = view.root(), view.track
		rises = view.spatial > s.spatial
		s.below = view.spatial
	}
	s.view, s.target = view, l
	if l != nil && s.sent == nil { // most m-lines of a small meeting never show anything
		s.sent, s.sources = make([]sentPacket, s.memory()), make([]sourcePacket, s.memory())
	}
	if s.track != track || l == nil {
		s.current, s.track = nil, track
		s.starved, s.keyless = false, false
		clear(s.sent) // nobody asks again for another's packets, and they keep their publisher's history in memory
	}
	keep, pacer := s.current, s.pacer
	s.mu.Unlock()
	for _, o := range []*Layer{oldTarget, oldCurrent} {
		if o != nil && o != l && o != keep {
			o.remove(s)
		}
	}
	if l == nil {
		return
	}
	l.add(s)
	if l.video && (keep != l || rises) && (pacer == nil || pacer.Claim(time.Now())) {
		l.RequestKeyframe() // otherwise take asks when it may
	}
}

// Following is the layer forwarded now and the one waited for; either may be nil.
func (s *Slot) Following() (current, target *Layer) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.current == s.target {
		return s.view, s.view
	}
	return s.current, s.view
}

// RequestKeyframe passes a receiver's wish on to the publisher.
func (s *Slot) RequestKeyframe() {
	s.mu.Lock()
	l := s.current
	if l == nil || s.target != l {
		l = s.target
	}
	if l != nil && s.pacer != nil && !s.pacer.Claim(time.Now()) {
		s.keyless, l = true, nil // another keyframe is on the line
	}
	s.mu.Unlock()
	if l != nil {
		l.RequestKeyframe()
	}
}
