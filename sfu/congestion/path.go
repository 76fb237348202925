package congestion

import (
	"math"
	"time"
)

const (
	slotTime = 100 * time.Millisecond
	slots    = 32
	// standingSlots is how long a queue must stand to count. A keyframe's burst is gone by then, and of several packets with
	// 20 ms of jitter one comes without.
	standingSlots = 3
	standingLeast = 5 // packets in that time
	growthSlots   = 5 // apart, the two delays that tell how a queue grows
	// lossSlots is two seconds: 3 % at random never looks like lossMost then.
	lossSlots = 20
	lossLeast = 40 // packets in that time
	// recentSlots is what a probe is judged by.
	recentSlots = 8
	recentLeast = 20
	// The least delay of the last minute is what the path itself takes; clocks drift apart by a few milliseconds meanwhile.
	baseTime  = 5 * time.Second
	baseSlots = 12
)

// none marks a slot without packets.
const none = time.Duration(math.MaxInt64)

// path is what one receiver says about one direction of the line, or what one publisher shows of it.
type path struct {
	slots [slots]pathSlot
	bases [baseSlots]baseSlot
	heard time.Time // the newest sign of life
}

type pathSlot struct {
	number        int64
	least         time.Duration // transit time
	arrived, lost int
	timed         int // of the arrived ones: those whose transit time is known
}

type baseSlot struct {
	number int64
	least  time.Duration
}

func (p *path) slot(now time.Time) *pathSlot {
	n := now.UnixNano() / int64(slotTime)
	s := &p.slots[n%slots]
	if s.number != n {
		*s = pathSlot{number: n, least: none}
	}
	return s
}

// arrive notes a packet that came through. The transit time is the difference of two clocks: only its changes mean something.
func (p *path) arrive(now time.Time, transit time.Duration) {
	s := p.slot(now)
	s.timed++
	s.least = min(s.least, transit)
	n := now.UnixNano() / int64(baseTime)
	b := &p.bases[n%baseSlots]
	if b.number != n {
		*b = baseSlot{n, transit}
	}
	b.least = min(b.least, transit)
}

// count notes what came through and what did not.
func (p *path) count(now time.Time, arrived, lost int) {
	p.heard = now
	s := p.slot(now)
	s.arrived += arrived
	s.lost += lost
}

// rebase takes the delay of now for the path's own.
func (p *path) rebase() { p.bases = [baseSlots]baseSlot{} }

// base is the least transit time of the last minute.
func (p *path) base(now time.Time) time.Duration {
	n, least := now.UnixNano()/int64(baseTime), none
	for _, b := range p.bases {
		if b.number > n-baseSlots && b.number <= n && b.number != 0 {
			least = min(least, b.least)
		}
	}
	return least
}

// least is the least transit time of standingSlots slots that end before so many; ok: there were enough packets.
func (p *path) least(now time.Time, before int64) (least time.Duration, ok bool) {
	least, timed := none, 0
	n := now.UnixNano()/int64(slotTime) - before
	for i := range int64(standingSlots) {
		if s := &p.slots[(n-i)%slots]; s.number == n-i {
			least, timed = min(least, s.least), timed+s.timed
		}
	}
	return least, timed >= standingLeast
}

// standing is the queue that every packet of the last moments met.
func (p *path) standing(now time.Time) (queue time.Duration, ok bool) {
	least, ok := p.least(now, 0)
	base := p.base(now)
	if !ok || base == none {
		return 0, false
	}
	return max(0, least-base), true
}

// growth is how much the queue grew per time.
func (p *path) growth(now time.Time) float64 {
	newest, ok := p.least(now, 0)
	older, known := p.least(now, growthSlots)
	if !ok || !known {
		return 0
	}
	return float64(newest-older) / float64(growthSlots*slotTime)
}

// loss is the share of packets that did not come, of the last so many slots.
func (p *path) loss(now time.Time, last int64, least int) (share float64, ok bool) {
	arrived, lost := 0, 0
	n := now.UnixNano() / int64(slotTime)
	for i := range last {
		if s := &p.slots[(n-i)%slots]; s.number == n-i {
			arrived, lost = arrived+s.arrived, lost+s.lost
		}
	}
	if arrived+lost < least {
		return 0, false
	}
	return float64(lost) / float64(arrived+lost), true
}
