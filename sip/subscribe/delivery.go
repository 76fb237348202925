package subscribe

import "time"

// delivery decides when the next NOTIFY of one subscription leaves, and what its answer means.
// It is pure: (state, event, now) → state. There is never more than one NOTIFY under way, and
// what has changed meanwhile is not queued: the next one carries the newest state (RFC 6665
// §4.2.2 asks for no more than the final state).
//
//	       changed                 sent                   2xx, clean
//	idle ───────────► dirty ───────────────► in flight ───────────────► idle
//	                    ▲  not before hold       │  │
//	                    └────────────────────────┘  └─► over: 481 and the like, the last NOTIFY
//	                      2xx but dirty again,          answered, or too many failures
//	                      408, 5xx, time-out: back-off
//	                      flow gone: parked until the phone is back
type delivery struct {
	dirty    bool   // the watcher has not been told of the newest state
	flight   bool   // a NOTIFY waits for its answer
	parked   bool   // the phone's connection is gone; its return ends the wait
	heard    bool   // the phone was heard of while a NOTIFY was in flight
	over     bool   // nothing more will be sent
	ending   reason // not empty: the next NOTIFY is the last one
	retry    int    // Retry-After told with the end; 0: none
	last     bool   // the NOTIFY in flight is the last one
	failures int    // in a row
	hold     time.Time
	since    time.Time // when it became dirty, for the metric
}

// reason of RFC 6665 §4.1.3, why a subscription ended.
type reason string

const (
	reasonTimeout    reason = "timeout"    // expired or unsubscribed
	reasonNoResource reason = "noresource" // what was watched does not exist any more
	reasonRejected   reason = "rejected"   // the watcher may not watch it any more
)

// verdict is what the answer of a NOTIFY says.
type verdict uint8

const (
	delivered  verdict = iota // 2xx
	unknown                   // the phone knows nothing of the subscription: 481 and the like
	busy                      // no answer in time, 408, 5xx: it may take the next one
	gone                      // the flow is closed
	challenged                // 401, 407: again at once, with credentials
)

// pace is how fast one subscription may be notified.
type pace struct {
	interval    time.Duration // between two NOTIFYs
	backoff     time.Duration // after the first failure; doubled after each further one
	longest     time.Duration // back-off
	maxFailures int           // in a row; then the subscription ends
}

// changed notes that there is something new to tell.
func (d *delivery) changed(now time.Time) {
	if d.over {
		return
	}
	if !d.dirty {
		d.dirty, d.since = true, now
	}
}

// end asks for a last NOTIFY.
func (d *delivery) end(r reason, now time.Time) {
	if d.over || d.last {
		return
	}
	d.ending = r
	d.changed(now)
}

// wake ends waiting for the phone: it was heard of.
func (d *delivery) wake(now time.Time) {
	if (d.parked || d.failures > 0) && d.hold.After(now) {
		d.hold = now
	}
	d.parked, d.heard = false, d.flight
}

// due is when the next NOTIFY may leave; ok is false while there is none to send.
func (d *delivery) due() (at time.Time, ok bool) {
	if !d.dirty || d.flight || d.over {
		return time.Time{}, false
	}
	return d.hold, true
}

// sent notes that a NOTIFY with the newest state has left.
func (d *delivery) sent(now time.Time, p pace) {
	d.dirty, d.flight, d.heard, d.last = false, true, false, d.ending != ""
	d.hold = now.Add(p.interval)
}

// answered takes the fate of the NOTIFY in flight; after is the phone's Retry-After, or zero.
func (d *delivery) answered(v verdict, after time.Duration, now time.Time, p pace) {
	d.flight = false
	last := d.last
	d.last = false
	switch v {
	case delivered:
		d.failures = 0
		d.over = last
	case unknown:
		d.over = true
	case challenged:
		d.changed(now)
	case gone:
		// Nobody can be told; the phone comes back and wakes us, or the subscription expires.
		// If it came back before we knew that the old connection is gone, it will not wake us again.
		if d.over = last; !last {
			d.changed(now)
			if !d.heard {
				d.parked, d.hold = true, now.Add(p.longest)
			}
		}
	case busy:
		d.failures++
		if last || d.failures >= p.maxFailures {
			// Whoever does not hear of the end finds out at its next refresh: 481.
			d.over = true
			return
		}
		wait := p.backoff << (d.failures - 1)
		if wait > p.longest || wait <= 0 {
			wait = p.longest
		}
		d.changed(now)
		if !d.heard || after > 0 { // it may have failed on the way to where the phone was before
			d.hold = now.Add(max(wait, after))
		}
	}
}

// counter is a number that a watcher must never see fall, also not after a crash: the store
// knows a ceiling that no number used so far has passed, and a restart goes on from there.
type counter struct {
	Value   uint32
	Ceiling uint32 // in the store
}

// block is how many numbers are reserved at a time: a lamp that changes each second needs one
// write in a quarter of an hour.
const block = 1024

// next takes a number; ok is false when the store has to raise the ceiling first.
func (c *counter) next() (value uint32, ok bool) {
	if c.Value >= c.Ceiling {
		return c.Value, false
	}
	c.Value++
	return c.Value, true
}

// low reports whether the ceiling should be raised soon.
func (c *counter) low() bool { return c.Ceiling-c.Value < block/2 }
