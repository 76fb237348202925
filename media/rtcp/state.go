package rtcp

import (
	"time"

	"linehall/media/packet"
)

// State is all that a Reception knows of its stream, so that another can go on counting where it stopped, in the kernel
// or in the next process.
type State struct {
	Started  bool
	SSRC     packet.SSRC
	MaxSeq   uint16
	Cycles   uint32
	BaseSeq  uint32
	BadSeq   uint32
	Received uint64 // of this source, since BaseSeq
	LostOld  uint64 // of sources before it
	Clock    uint32 // Hz of the last timestamp
	Type     packet.PayloadType
	LastTS   uint32
	LastAt   int64 // arrival of LastTS, nanoseconds
	Jitter   int64 // nanoseconds, scaled by 16

	Packets, Bytes uint64
	Sources        uint32
	LastSeq        uint16
	Arrival        int64 // of the last packet, nanoseconds
}

// Stats are the sums of a state.
func (s State) Stats() Stats {
	var r Reception
	r.Resume(s)
	return r.Snapshot()
}

// State returns where the counting stands. Only the writer may call it.
func (r *Reception) State() State {
	return State{
		Started: r.started, SSRC: r.ssrc, MaxSeq: r.maxSeq, Cycles: r.cycles, BaseSeq: r.baseSeq, BadSeq: r.badSeq,
		Received: r.received, LostOld: r.lostOld, Clock: r.clock, Type: r.kind, LastTS: r.lastTS, LastAt: r.lastAt, Jitter: r.jitter,
		Packets: r.packets.Load(), Bytes: r.bytes.Load(), Sources: r.sources.Load(),
		LastSeq: uint16(r.lastSeq.Load()), Arrival: r.lastArrival.Load(), //nolint:gosec // stored from 16 bits
	}
}

// Resume goes on from s. Only the writer may call it.
func (r *Reception) Resume(s State) {
	r.started, r.ssrc, r.maxSeq, r.cycles, r.baseSeq, r.badSeq = s.Started, s.SSRC, s.MaxSeq, s.Cycles, s.BaseSeq, s.BadSeq
	r.received, r.lostOld, r.clock, r.kind, r.lastTS, r.lastAt, r.jitter = s.Received, s.LostOld, s.Clock, s.Type, s.LastTS, s.LastAt, s.Jitter
	r.packets.Store(s.Packets)
	r.bytes.Store(s.Bytes)
	r.lost.Store(r.lostOld + r.missing())
	r.jitterNanos.Store(r.jitter >> 4)
	r.lastSSRC.Store(uint32(s.SSRC))
	r.lastSeq.Store(uint32(s.LastSeq))
	r.lastArrival.Store(s.Arrival)
	r.sources.Store(s.Sources)
}

// Shift moves the times of a state to another clock.
func (s State) Shift(by time.Duration) State {
	s.LastAt += int64(by)
	s.Arrival += int64(by)
	return s
}

// Beside adds a packet of the stream that somebody else saw while the state was counted elsewhere: it counts as
// received, and as the newest one if its number says so. Of jitter it says nothing.
func (s *State) Beside(h packet.Header, bytes int) {
	s.Packets++
	s.Bytes += uint64(bytes) //nolint:gosec // a length
	if !s.Started || h.SSRC != s.SSRC {
		return
	}
	s.Received++
	if delta := h.Sequence - s.MaxSeq; delta > 0 && delta < maxDropout {
		if h.Sequence < s.MaxSeq {
			s.Cycles += seqMod
		}
		s.MaxSeq, s.LastSeq = h.Sequence, h.Sequence
	}
}
