package program

import (
	"time"

	"linehall/sfu/forward"
)

// arrival is a packet on its way from a publisher's goroutine to the recording's.
type arrival struct {
	forward.Taken

	sequence uint64 // extended
	came     time.Time
}

const (
	// patience is how long a lost packet is waited for: it is asked for again from the publisher meanwhile.
	patience = 400 * time.Millisecond
	// maxHeld bounds what waits for a lost packet.
	maxHeld = 2048
)

// order puts packets in the order in which they were sent.
type order struct {
	started bool
	next    uint64
	highest uint64
	held    map[uint64]arrival
}

// push takes a packet.
func (o *order) push(a arrival) {
	if !o.started {
		o.started, o.held = true, map[uint64]arrival{}
		o.next = 1<<16 + uint64(a.Sequence)
		o.highest = o.next
	}
	a.sequence = o.highest + uint64(int64(int16(a.Sequence-uint16(o.highest)))) //nolint:gosec // two's complement on purpose
	if a.sequence < o.next || len(o.held) >= maxHeld {
		return
	}
	o.highest = max(o.highest, a.sequence)
	o.held[a.sequence] = a
}

// pop returns the next packet; lost: at least one before it will not come any more.
func (o *order) pop(now time.Time) (a arrival, lost, ok bool) {
	if len(o.held) == 0 {
		return arrival{}, false, false
	}
	if a, ok = o.held[o.next]; !ok {
		oldest := arrival{sequence: o.highest + 1}
		overdue := len(o.held) >= maxHeld
		for _, h := range o.held {
			if h.sequence < oldest.sequence {
				oldest = h
			}
			overdue = overdue || now.Sub(h.came) > patience
		}
		if !overdue {
			return arrival{}, false, false
		}
		a, lost = oldest, true
	}
	delete(o.held, a.sequence)
	o.next = a.sequence + 1
	return a, lost, true
}

// clock places a slot's timestamps in real time.
type clock struct {
	started   bool
	track     *forward.Track
	timestamp uint32
	at        time.Time // of timestamp
}

const (
	// A picture and a voice may be apart by so much before a sender report moves them; below it is noise of the clocks.
	exactTolerance = 40 * time.Millisecond
	looseTolerance = 500 * time.Millisecond
)

// place says when a packet was captured, on our clock.
func (c *clock) place(a *arrival) time.Time {
	expected := c.at.Add(time.Duration(int32(a.Timestamp-c.timestamp)) * time.Second / time.Duration(max(a.Clock, 1))) //nolint:gosec // two's complement on purpose
	off := a.Captured.Sub(expected).Abs()
	if !c.started || a.Track != c.track || a.Exact && off > exactTolerance || off > looseTolerance {
		expected = a.Captured
	}
	c.started, c.track, c.timestamp, c.at = true, a.Track, a.Timestamp, expected
	return expected
}
