package forward

import (
	"encoding/binary"
	"sync"
	"time"

	"github.com/pion/rtcp"
	"github.com/pion/rtp"
	"github.com/pion/sdp/v3"
	"github.com/pion/webrtc/v4"
)

const (
	// transportOctets is what a transport-wide number adds to a packet: the extension header and one element (RFC 8285 §4.2).
	transportOctets = 8
	paddingMost     = 255 // octets of one packet (RFC 3550 §5.1)
)

// Transport numbers the packets of a subscriber's connection when they leave, and takes its reports: *congestion.Sender is one.
type Transport interface {
	Stamp(now time.Time, octets int) uint16
	Feedback(report *rtcp.TransportLayerCC, now time.Time)
	Estimate(bps int64, now time.Time)
	Report(arrived, lost int, now time.Time)
}

type transportBox struct{ Transport }

// SetTransport tells who numbers the packets; nil: nobody, and they carry no number.
func (s *Slot) SetTransport(t Transport) {
	if t == nil {
		s.transport.Store(nil)
		return
	}
	s.transport.Store(&transportBox{t})
}

// numbering writes transport-wide numbers into the packets of one stream and its retransmissions.
type numbering struct {
	id uint8 // of the header extension; 0: not negotiated

	mu     sync.Mutex // guards all below, while the packet is encrypted
	header rtp.Header
	wide   [2]byte
	// extensions is the one element that carries wide.
	extensions []rtp.Extension
	// given is what packets got that may have to be sent again as they were: without RTX only.
	given []givenNumber
}

type givenNumber struct {
	sequence  uint16
	number    uint16
	id        uint8 // 0: the packet had none
	remembers bool
}

func (n *numbering) negotiate(c webrtc.TrackLocalContext, rtx bool, history int) {
	for _, e := range c.HeaderExtensions() {
		if e.URI == sdp.TransportCCURI && e.ID > 0 && e.ID < 15 {
			n.id = uint8(e.ID)
		}
	}
	var h rtp.Header
	_ = h.SetExtension(max(n.id, 1), n.wide[:]) // fails for more than 16 octets only
	n.extensions = h.Extensions
	if !rtx {
		n.given = make([]givenNumber, history)
	}
}

// WriteRTP numbers a packet, writes it to the connection and counts it. The pacer calls it from its own goroutine.
func (b *binding) WriteRTP(h *rtp.Header, payload []byte) (int, error) {
	n := &b.numbering
	n.mu.Lock()
	n.header = *h
	added := b.stamp(len(payload) + int(h.PaddingSize))
	written, err := b.writer.WriteRTP(&n.header, payload)
	n.mu.Unlock()
	if err == nil {
		b.slot.countWire(octetsOf(payload) + int(h.PaddingSize) + added)
	}
	return written, err //nolint:wrapcheck // of pion's, as it is
}

// stamp puts a number into the header and returns the octets that it adds. A packet that goes out again under its sequence
// number has its number of then, or none: under AES-GCM the same nonce must be used for the same header only. The caller holds
// the numbering's mu.
func (b *binding) stamp(payload int) int {
	n, t := &b.numbering, b.slot.transport.Load()
	given := givenNumber{sequence: n.header.SequenceNumber, remembers: true}
	again := false
	if len(n.given) > 0 && n.header.SSRC == b.ssrc {
		old := &n.given[int(given.sequence)%len(n.given)]
		if again = old.remembers && old.sequence == given.sequence; again {
			given = *old
		}
		defer func() { *old = given }()
	}
	if !again && t != nil && n.id != 0 {
		given.id, given.number = n.id, t.Stamp(time.Now(), 12+payload+wireOverhead+transportOctets)
	}
	if given.id == 0 {
		return 0
	}
	binary.BigEndian.PutUint16(n.wide[:], given.number)
	n.header.Extension, n.header.ExtensionProfile, n.header.Extensions = true, rtp.ExtensionProfileOneByte, n.extensions
	return transportOctets
}

// octets is the length of the IP packet that will carry a payload.
func (b *binding) octets(payload []byte) int {
	if b.numbering.id != 0 && b.slot.transport.Load() != nil {
		return octetsOf(payload) + transportOctets
	}
	return octetsOf(payload)
}

// Pad sends padding as a retransmission of nothing, as libwebrtc does to probe: receivers report it and throw it away. It returns
// the octets on the wire; none where RTX was not negotiated, or nothing is shown.
func (s *Slot) Pad() int {
	b := s.bound.Load()
	s.mu.Lock()
	defer s.mu.Unlock()
	if b == nil || !s.video || b.rtx == 0 || b.payloads[s.codec].repair == 0 || s.current == nil || s.transport.Load() == nil {
		return 0
	}
	h := rtp.Header{
		Version: 2, PayloadType: b.payloads[s.codec].repair, SSRC: b.rtx, SequenceNumber: s.repair.sequence, Timestamp: s.rewrite.outTimestamp,
		Padding: true, PaddingSize: paddingMost,
	}
	s.repair.sequence++
	if _, err := b.WriteRTP(&h, nil); err != nil {
		return 0
	}
	return b.octets(nil) + paddingMost
}

// feedback takes what a report says of the connection as a whole.
func (r *SlotReceiver) feedback(p rtcp.Packet, now time.Time) {
	if r.Transport == nil {
		return
	}
	switch p := p.(type) {
	case *rtcp.TransportLayerCC:
		r.Transport.Feedback(p, now)
	case *rtcp.ReceiverEstimatedMaximumBitrate:
		r.Transport.Estimate(int64(p.Bitrate), now)
	}
}
