package forward

import (
	"encoding/binary"
	"time"

	"github.com/pion/rtcp"
)

const (
	// A lost packet may be asked for again when the answer had time to arrive; more often is a waste of the line.
	resendInterval = 30 * time.Millisecond
	resendLimit    = 5
	// Retransmissions are limited to a quarter of what the slot sends, or to this much where it sends little.
	resendFloorBps   = 100_000
	resendBurst      = 24 << 10
	receiveBufferMax = 1600
)

// repair is a slot's side of retransmission (RFC 4588): its own sequence numbers and allowance.
type repair struct {
	sequence  uint16
	allowance float64 // octets
	filledAt  time.Time
	octetsAt  uint64
	buffer    [receiveBufferMax]byte
	resent    uint64
	lossSeen  float64
	rtt       time.Duration
	jitter    uint32
	reportAt  time.Time
	reported  int64 // the extended sequence number of the newest report
}

// SlotReceiver sorts the reports of one subscriber's connection to its slots.
type SlotReceiver struct {
	Slots func(ssrc uint32) *Slot // may be called from two goroutines
	// Transport takes the reports about the connection as a whole; nil: nobody does.
	Transport Transport
	// WithoutRecovery ignores NACK and PLI: to measure what they are worth.
	WithoutRecovery bool
}

// RTP is not expected: the connection only sends.
func (r *SlotReceiver) RTP(uint32) func([]byte) { return func([]byte) {} }

// RTCP returns the function for the reports about one stream.
func (r *SlotReceiver) RTCP(ssrc uint32) func([]byte) {
	return func(b []byte) {
		packets, err := rtcp.Unmarshal(b)
		if err != nil {
			return
		}
		now, s := time.Now(), r.Slots(ssrc)
		for _, p := range packets {
			r.feedback(p, now) // about whichever stream of the connection, a retransmission's too
			if s != nil {
				r.handle(s, ssrc, p, now)
			}
		}
	}
}

func (r *SlotReceiver) handle(s *Slot, ssrc uint32, p rtcp.Packet, now time.Time) {
	switch p := p.(type) {
	case *rtcp.TransportLayerNack:
		if p.MediaSSRC == ssrc && !r.WithoutRecovery {
			s.resend(p.Nacks, now)
		}
	case *rtcp.PictureLossIndication:
		if p.MediaSSRC == ssrc && !r.WithoutRecovery {
			s.RequestKeyframe()
		}
	case *rtcp.FullIntraRequest:
		if !r.WithoutRecovery {
			s.RequestKeyframe()
		}
	case *rtcp.ReceiverReport:
		for i := range p.Reports {
			if p.Reports[i].SSRC == ssrc {
				arrived, lost := s.noteReport(&p.Reports[i], now)
				if r.Transport != nil {
					r.Transport.Report(arrived, lost, now)
				}
			}
		}
	}
}

// noteReport returns what arrived and what did not since the report before.
func (s *Slot) noteReport(b *rtcp.ReceptionReport, now time.Time) (arrived, lost int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.repair.lossSeen = float64(b.FractionLost) / 256
	s.repair.jitter, s.repair.reportAt = b.Jitter, now
	if b.LastSenderReport != 0 {
		// RFC 3550 §6.4.1: A - LSR - DLSR, in 1/65536 s
		units := uint32(toNTP(now)>>16) - b.LastSenderReport - b.Delay //nolint:gosec // the middle 32 bits are the wire's
		if int32(units) >= 0 {                                         //nolint:gosec // two's complement on purpose
			s.repair.rtt = time.Duration(units) * time.Second / 65536
		}
	}
	passed := int64(b.LastSequenceNumber) - s.repair.reported
	s.repair.reported = int64(b.LastSequenceNumber)
	if passed <= 0 || passed > int64(len(s.sent)) {
		return 0, 0
	}
	lost = int(passed) * int(b.FractionLost) / 256
	return int(passed) - lost, lost
}

// resend answers a NACK.
func (s *Slot) resend(pairs []rtcp.NackPair, now time.Time) {
	b := s.bound.Load()
	if b == nil {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.refill(now)
	for i := range pairs {
		pairs[i].Range(func(sequence uint16) bool {
			if !s.resendOne(b, extend(s.rewrite.outSequence, sequence), now) {
				s.metrics.refused.Inc()
			}
			return true
		})
	}
}

// refill gives the allowance of the time passed: a quarter of the media sent, at least the floor. The caller holds mu.
func (s *Slot) refill(now time.Time) {
	r := &s.repair
	passed := now.Sub(r.filledAt).Seconds()
	if r.filledAt.IsZero() {
		r.allowance, passed = resendBurst, 0
	}
	media := float64(s.counters.octets - r.octetsAt)
	r.allowance = min(resendBurst, r.allowance+max(media/4, passed*resendFloorBps/8))
	r.filledAt, r.octetsAt = now, s.counters.octets
}

// resendOne sends a packet again, as RTX where negotiated; false: refused. The caller holds mu.
func (s *Slot) resendOne(b *binding, out uint64, now time.Time) bool {
	if s.sent == nil {
		return false // nothing was ever sent
	}
	e := &s.sent[out%uint64(len(s.sent))]
	if e.out != out || e.resent >= resendLimit || now.UnixNano()-e.at < int64(resendInterval) {
		return false
	}
	r := &s.repair
	stored, ok := e.layer.history.get(e.source, r.buffer[2:])
	if !ok || float64(stored.length) > r.allowance {
		return false
	}
	payload := r.buffer[2 : 2+int(stored.length)]
	if s.video {
		var f frame
		if f.parse(e.codec, payload) {
			f.rewrite(payload, e.picture, e.tl0)
		}
	}
	r.allowance -= float64(stored.length)
	e.resent++
	e.at = now.UnixNano()
	h := &s.header
	h.Version, h.Marker, h.Timestamp = 2, e.marker, stored.timestamp+e.stamp
	format := b.payloads[e.codec]
	if b.rtx == 0 || format.repair == 0 {
		// Without RTX the same packet goes out again, octet by octet: the same nonce is used for the same text only (see stamp).
		h.PayloadType, h.SSRC, h.SequenceNumber = format.media, b.ssrc, uint16(out) //nolint:gosec // the low 16 bits are the wire's
	} else {
		binary.BigEndian.PutUint16(r.buffer[:], uint16(out)) //nolint:gosec // the low 16 bits are the wire's
		payload = r.buffer[:2+len(payload)]
		h.PayloadType, h.SSRC, h.SequenceNumber = format.repair, b.rtx, r.sequence
		r.sequence++
	}
	if s.pacer == nil || !s.pacer.Repair(b, h, payload, b.octets(payload)) {
		if _, err := b.WriteRTP(h, payload); err != nil {
			return false
		}
	}
	r.resent++
	s.metrics.retransmitted.Inc()
	return true
}

// SlotStats is what a slot did.
type SlotStats struct {
	Octets       uint64 // on the wire, IP included, retransmissions too
	Packets      uint64
	Resent       uint64
	LossFraction float64 // as the receiver reported
	RTT          time.Duration
	JitterMs     float64
}

// Stats returns the slot's figures.
func (s *Slot) Stats(now time.Time) SlotStats {
	s.mu.Lock()
	defer s.mu.Unlock()
	clock := 48.0
	if s.video {
		clock = 90
	}
	st := SlotStats{Octets: s.octets.Load(), Packets: s.counters.packets, Resent: s.repair.resent}
	if now.Sub(s.repair.reportAt) < 10*time.Second {
		st.LossFraction, st.RTT, st.JitterMs = s.repair.lossSeen, s.repair.rtt, float64(s.repair.jitter)/clock
	}
	return st
}

// Report makes the slot's sender report; nil: nothing was sent yet. The wall clock in it is the publisher's capture time moved
// to our clock, so that picture and voice of one venue stay together at the receiver.
func (s *Slot) Report(now time.Time) rtcp.Packet {
	b := s.bound.Load()
	s.mu.Lock()
	defer s.mu.Unlock()
	if b == nil || s.current == nil || s.counters.packets == 0 {
		return nil
	}
	info := s.current.senderInfo()
	sr := &rtcp.SenderReport{
		SSRC: b.ssrc, NTPTime: toNTP(now),
		PacketCount: uint32(s.counters.packets), OctetCount: uint32(s.counters.octets), //nolint:gosec // the low 32 bits are the wire's
	}
	clock := time.Duration(s.current.clockRate())
	if info.at.IsZero() {
		sr.RTPTime = s.rewrite.outTimestamp + uint32(now.Sub(s.rewrite.outAt)*clock/time.Second) //nolint:gosec // wraps like the timestamp
		return sr
	}
	// At info.at the publisher's clock showed info.ntp plus the way here; the same shift applies to all its tracks.
	shift := s.current.track.uplink.clockShift(info)
	captured := now.Add(-shift)
	elapsed := ntpDistance(toNTP(captured), info.ntp)
	sr.RTPTime = info.rtp + uint32(elapsed*clock/time.Second) + s.rewrite.timestamp //nolint:gosec // wraps like the timestamp
	return sr
}
