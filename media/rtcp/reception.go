package rtcp

import (
	"sync/atomic"
	"time"

	"linehall/media/packet"
)

// Limits of RFC 3550 appendix A.1.
const (
	maxDropout  = 3000 // a forward jump up to this is loss
	maxMisorder = 100  // a backward jump up to this is reordering
	seqMod      = 1 << 16
	noBadSeq    = seqMod + 1 // no sequence number
)

// Reception counts what arrives of one stream. Its zero value is ready. Packet has one caller at a time; Snapshot may be
// called by anybody.
//
// Unlike A.1 there is no probation: the relay counts only packets of a source it accepted by address. After a new SSRC,
// or a jump that a second packet confirms, counting starts anew and what was lost before stays lost.
type Reception struct {
	// the writer's own
	started  bool
	ssrc     packet.SSRC
	maxSeq   uint16
	cycles   uint32 // wraps times 2^16
	baseSeq  uint32
	badSeq   uint32
	received uint64 // since baseSeq
	lostOld  uint64 // of sources before this one
	clock    uint32
	kind     packet.PayloadType
	lastTS   uint32
	lastAt   int64 // nanoseconds
	jitter   int64 // nanoseconds, scaled by 16 as in A.8

	// published
	packets, bytes, lost atomic.Uint64
	jitterNanos          atomic.Int64
	lastSSRC             atomic.Uint32
	lastSeq              atomic.Uint32
	lastArrival          atomic.Int64
	sources              atomic.Uint32
	gaps, gapSum         atomic.Uint64
}

// Stats is what a Reception saw.
type Stats struct {
	Packets uint64 // all that came, also twice or late
	Bytes   uint64
	Lost    uint64 // never came (RFC 3550 A.3), 0 when duplicates outweigh it
	Jitter  time.Duration
	SSRC    packet.SSRC // of the last packet
	Sources uint32      // how many times a stream began: 1 for one source without a jump
	Gaps    uint64      // how many times packets were missing when the next one came
	Missing uint64      // how many were missing then; late ones are among them
}

// Since returns what came after before; jitter, source and the number of sources are those of now.
func (s Stats) Since(before Stats) Stats {
	s.Packets -= min(s.Packets, before.Packets)
	s.Bytes -= min(s.Bytes, before.Bytes)
	s.Lost -= min(s.Lost, before.Lost) // a late packet lowers it
	s.Gaps -= min(s.Gaps, before.Gaps)
	s.Missing -= min(s.Missing, before.Missing)
	return s
}

// LossRatio returns the lost share of what was sent, 0..1.
func (s Stats) LossRatio() float64 {
	if s.Packets+s.Lost == 0 {
		return 0
	}
	return float64(s.Lost) / float64(s.Packets+s.Lost)
}

// BurstRatio returns how much longer the gaps are than random loss of the same share would make them (BurstR of ITU-T
// G.107): 1 for random loss and for none.
func (s Stats) BurstRatio() float64 {
	if s.Gaps == 0 {
		return 1
	}
	return max(1, float64(s.Missing)/float64(s.Gaps)*(1-s.LossRatio()))
}

// Packet counts one packet that arrived at now (nanoseconds of any steady clock). clock is the format's clock rate in
// Hz, 0 if it is not known: then jitter is not touched. bytes is what the packet counts in Stats.Bytes.
func (r *Reception) Packet(now int64, h packet.Header, clock uint32, bytes int) {
	if !r.started || h.SSRC != r.ssrc {
		r.restart(h)
		r.received++
	} else if r.sequence(h) {
		r.received++
	}
	r.transit(now, h, clock)

	r.packets.Store(r.packets.Load() + 1)
	r.bytes.Store(r.bytes.Load() + uint64(bytes)) //nolint:gosec // a length
	r.lost.Store(r.lostOld + r.missing())
	r.lastSSRC.Store(uint32(h.SSRC))
	r.lastSeq.Store(uint32(h.Sequence))
	r.lastArrival.Store(now)
}

func (r *Reception) restart(h packet.Header) {
	r.lostOld += r.missing()
	r.started, r.ssrc = true, h.SSRC
	r.maxSeq, r.cycles, r.baseSeq = h.Sequence, 0, uint32(h.Sequence)
	r.badSeq, r.received, r.clock = noBadSeq, 0, 0
	r.sources.Store(r.sources.Load() + 1)
}

// sequence is update_seq of A.1; it returns false for a packet that no count of expected packets covers.
func (r *Reception) sequence(h packet.Header) bool {
	switch delta := h.Sequence - r.maxSeq; {
	case delta < maxDropout: // in order, with a permissible gap
		if delta > 1 {
			r.gaps.Store(r.gaps.Load() + 1)
			r.gapSum.Store(r.gapSum.Load() + uint64(delta-1))
		}
		if h.Sequence < r.maxSeq {
			r.cycles += seqMod
		}
		r.maxSeq = h.Sequence
		r.badSeq = noBadSeq
	case delta <= seqMod-maxMisorder: // a very large jump
		if uint32(h.Sequence) == r.badSeq { // two in a row: the sender started anew
			r.restart(h)
			return true
		}
		r.badSeq = (uint32(h.Sequence) + 1) & (seqMod - 1)
		return false
	default: // duplicate or reordered
	}
	return true
}

// missing is A.3: expected minus received.
func (r *Reception) missing() uint64 {
	if !r.started {
		return 0
	}
	expected := uint64(r.cycles+uint32(r.maxSeq)-r.baseSeq) + 1
	if expected <= r.received {
		return 0
	}
	return expected - r.received
}

// transit is A.8: the interarrival jitter, kept in nanoseconds so that a change of the clock rate needs no conversion.
// Packets of another payload type (DTMF, comfort noise) and of the same timestamp (frames) do not count.
func (r *Reception) transit(now int64, h packet.Header, clock uint32) {
	if clock == 0 {
		return
	}
	comparable := r.clock == clock && r.kind == h.Type
	if comparable && h.Timestamp != r.lastTS {
		ticks := int64(int32(h.Timestamp - r.lastTS)) //nolint:gosec // modular difference
		d := now - r.lastAt - ticks*int64(time.Second)/int64(clock)
		if d < 0 {
			d = -d
		}
		if d < int64(time.Minute) { // a jump of the sender's clock is no jitter
			r.jitter += d - (r.jitter+8)>>4
			r.jitterNanos.Store(r.jitter >> 4)
		}
	}
	if !comparable || h.Timestamp != r.lastTS {
		r.clock, r.kind, r.lastTS, r.lastAt = clock, h.Type, h.Timestamp, now
	}
}

// Highest is the extended highest sequence number (RFC 3550 §6.4.1), for who keeps Packet from being called meanwhile.
func (r *Reception) Highest() uint32 { return r.cycles + uint32(r.maxSeq) }

// Snapshot returns the sums up to now. Fields may be one packet apart.
func (r *Reception) Snapshot() Stats {
	return Stats{
		Packets: r.packets.Load(), Bytes: r.bytes.Load(), Lost: r.lost.Load(),
		Jitter: time.Duration(r.jitterNanos.Load()), SSRC: packet.SSRC(r.lastSSRC.Load()), Sources: r.sources.Load(),
		Gaps: r.gaps.Load(), Missing: r.gapSum.Load(),
	}
}

// Continues reports whether h carries on the stream that was counted last: the same source, and a sequence number
// shortly after the last one.
func (r *Reception) Continues(h packet.Header) bool {
	if r.sources.Load() == 0 || uint32(h.SSRC) != r.lastSSRC.Load() {
		return false
	}
	delta := h.Sequence - uint16(r.lastSeq.Load()) //nolint:gosec // stored from 16 bits
	return delta > 0 && delta < maxDropout
}

// LastArrival returns the time of the last packet as Packet was told, 0 before the first.
func (r *Reception) LastArrival() int64 { return r.lastArrival.Load() }
