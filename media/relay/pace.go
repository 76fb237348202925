package relay

import "time"

// pace decides how a worker waits. A packet that comes alone costs a wake-up, several times what it costs to carry it; at
// many of them a second it is cheaper to look at a clock's tick, at the price of up to one tick of delay.
//
//	           more than tickAbove wake-ups/s for a window
//	wakes  ───────────────────────────────────────────────▶  ticks
//	       ◀───────────────────────────────────────────────
//	           fewer than tickBelow packets/s for calm
//
// The distance between both and the time of calm keep it from swinging.
type pace struct {
	adaptive bool
	ticking  bool

	since   int64 // begin of the window
	wakes   uint64
	packets uint64
	quiet   int64 // since when there have been few packets; 0: there are not
}

const (
	// tick is the longest that a packet waits; it is hardly heard: a fortieth of what a phone's playout buffer holds.
	tick = time.Millisecond
	// tickAbove is where a tick of 1 ms halves the CPU on the machine of docs/performance: eight packets share a wake-up.
	tickAbove = 8000
	tickBelow = 5000
	window    = int64(100 * time.Millisecond)
	calm      = int64(2 * time.Second)
)

// step counts one wait that gave so many packets, and reports whether ticking has changed.
func (p *pace) step(now int64, packets uint64) (changed bool) {
	if !p.adaptive {
		return false
	}
	p.wakes++
	p.packets += packets
	elapsed := now - p.since
	if elapsed < window {
		return false
	}
	// Packets per second in the window, and how many waits they took.
	perSecond := int64(p.packets) * int64(time.Second) / elapsed //nolint:gosec // a count
	wakes := int64(p.wakes) * int64(time.Second) / elapsed       //nolint:gosec // a count
	p.since, p.wakes, p.packets = now, 0, 0
	switch {
	case !p.ticking:
		p.ticking = wakes >= tickAbove && perSecond >= tickAbove
		p.quiet = 0
		return p.ticking
	case perSecond >= tickBelow:
		p.quiet = 0
	case p.quiet == 0:
		p.quiet = now
	case now-p.quiet >= calm:
		p.ticking = false
		return true
	}
	return false
}
