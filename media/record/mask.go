package record

import (
	"time"

	"linehall/media/codec"
	"linehall/media/dtmf"
	"linehall/media/packet"
)

// Keys may be the numbers of cards. Where they are omitted, neither their events (RFC 4733) nor their tones reach the disk:
// packets wait for holdBack before they are written, and a tone that is found takes along what came shortly before it,
// because it takes two blocks of the detector until it is one.

const (
	holdBack   = 400 * time.Millisecond
	beforeTone = 120 * time.Millisecond
	afterEvent = 100 * time.Millisecond
)

// held is a packet that waits to be written.
type held struct {
	leg     int
	at      time.Duration
	packet  []byte
	omitted bool
}

// mask finds keys in what one party says.
type mask struct {
	use      use
	decoder  codec.Decoder
	detector *dtmf.Detector
	samples  []int16
	keys     []byte
	event    time.Duration // until then an event counts as going on
}

// judge reports whether a packet is part of a key, and whether those before it may be.
func (m *mask) judge(what use, at time.Duration, payload []byte) (omit, before bool) {
	switch what {
	case useEvent:
		m.event = at + afterEvent
		return true, false
	case useALaw, useMuLaw, useG722:
	default:
		return false, false
	}
	if m.decoder == nil || m.use != what {
		f := map[use]codec.Format{useALaw: codec.PCMA, useMuLaw: codec.PCMU, useG722: codec.G722}[what]
		m.use, m.decoder, m.detector = what, f.NewDecoder(), dtmf.NewDetector(f.Rate)
	}
	was := m.detector.Held()
	var err error
	if m.samples, err = m.decoder.Decode(m.samples[:0], payload); err == nil {
		m.keys = m.detector.Samples(m.keys[:0], m.samples)
	}
	found := len(m.keys) > 0
	clear(m.keys)
	clear(m.samples)
	return found || was || m.detector.Held() || at < m.event, found
}

// omit marks the packets of keys among those that wait; the last one is new.
func (r *run) omit(uses *table) {
	last := &r.pending[len(r.pending)-1]
	if r.masks[last.leg] == nil {
		r.masks[last.leg] = &mask{}
	}
	h, ok := packet.Parse(last.packet)
	if !ok {
		last.omitted = true
		return
	}
	omit, before := r.masks[last.leg].judge(uses[last.leg][h.Type], last.at, last.packet[h.Payload:h.End])
	last.omitted = omit
	if !before {
		return
	}
	for i := range r.pending {
		p := &r.pending[i]
		if p.leg == last.leg && last.at-p.at <= beforeTone {
			p.omitted = true
		}
	}
}
