package forward

import (
	"encoding/binary"
	"time"

	"github.com/pion/rtp"
	"github.com/pion/webrtc/v4"
)

// How telephones take part: what one says comes in by Uplink.Voice, in the codec of telephones, and goes to browsers as it
// is; what venues say comes out of a Tap, for whoever decodes it.

// Voice takes an RTP packet of the microphone from a publisher without a connection. It is borrowed; one goroutine calls it.
// Another source or another codec begins a new stream.
func (u *Uplink) Voice(c Codec, datagram []byte, now time.Time) {
	h := &u.header
	if !h.parse(datagram) {
		u.dropped.Count("media", "malformed_rtp")
		return
	}
	l := u.tracks[Microphone].layer("")
	if l.ssrc != h.ssrc {
		l.restart(h.ssrc)
	}
	l.receive(h, c, datagram[h.start:h.end], len(datagram)+phoneOverhead, now)
}

// phoneOverhead is IPv4 and UDP: telephones send without the tag, or it was taken off and counted where it ended.
const phoneOverhead = 20 + 8

// Pass takes an RTP packet that carries no voice (a key, comfort noise): there will be no gap where it was.
func (u *Uplink) Pass(datagram []byte, now time.Time) {
	h := &u.header
	l := u.tracks[Microphone].layer("")
	if !h.parse(datagram) || h.ssrc != l.ssrc || !l.started {
		return
	}
	l.pass(h, now)
}

// pass takes note of a packet that nobody is to have.
func (l *Layer) pass(h *header, now time.Time) {
	if !l.admit(h, now) {
		return
	}
	p := &l.packet
	p.payload, p.timestamp, p.marker, p.arrival = nil, h.timestamp, false, now
	for _, s := range *l.slots.Load() {
		s.skip(l, p)
	}
}

// NewTap returns a slot that gives the Opus packets of the layer it follows to take, as one endless stream of RTP. A packet is
// borrowed; it is called by the goroutine of the publisher, for one publisher after the other.
func NewTap(take func(datagram []byte)) *Slot {
	s := NewSlot("tap", webrtc.RTPCodecTypeAudio, nil)
	b := &binding{slot: s, id: "tap", writer: &tapWriter{take: take}, ssrc: tapSSRC}
	b.payloads[Opus] = payload{media: TapPayload, taken: true}
	s.bound.Store(b)
	return s
}

// TapPayload is the payload type of a tap's packets.
const TapPayload = 111

const tapSSRC = 2

// tapWriter writes packets whole. The slot's lock is held while it does.
type tapWriter struct {
	take   func([]byte)
	buffer [12 + receiveBufferMax]byte
}

func (w *tapWriter) WriteRTP(h *rtp.Header, payload []byte) (int, error) {
	b := w.buffer[:12+min(len(payload), receiveBufferMax)]
	b[0], b[1] = 2<<6, h.PayloadType
	if h.Marker {
		b[1] |= 0x80
	}
	binary.BigEndian.PutUint16(b[2:], h.SequenceNumber)
	binary.BigEndian.PutUint32(b[4:], h.Timestamp)
	binary.BigEndian.PutUint32(b[8:], h.SSRC)
	copy(b[12:], payload)
	w.take(b)
	return len(b), nil
}

// Write is part of webrtc.TrackLocalWriter; slots write headers and payloads.
func (w *tapWriter) Write(b []byte) (int, error) { w.take(b); return len(b), nil }
