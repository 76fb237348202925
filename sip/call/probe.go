package call

import (
	"errors"
	"math/rand/v2"
	"time"

	"github.com/emiago/sipgo/sip"

	"linehall/sip/stack"
)

// A call whose phones have vanished must not live for ever, and a healthy or held one must
// never be ended. So each phone is asked (OPTIONS inside its dialog, RFC 3261 §11) every few
// minutes; any answer but 481 and 408 is life, whatever it says. Twice in a row without life,
// and no media from that phone in between, ends the call. A phone that cannot even be asked,
// because its connection is gone, has longer: it may come back only to register again.

// health is what is known of one phone.
type health struct {
	fails   int
	since   time.Time // of the first failure
	packets uint64    // received from it at the first failure
}

// suspectAfter is when a phone that failed once is asked again: long enough for a re-boot of
// a switch, short enough that a line is not kept for nothing.
const suspectAfter = 30 * time.Second

// unreachableLimit is how many probes' time a phone may be without a connection.
const unreachableLimit = 4

func (c *call) armProbes(first time.Duration) {
	c.armRollover()
	for _, l := range []*leg{c.pair.caller, c.pair.callee} {
		c.armProbe(l, first)
	}
}

// armProbe spreads probes by a quarter, so that a hundred calls do not ask at once.
func (c *call) armProbe(l *leg, after time.Duration) {
	spread := time.Duration(rand.Int64N(int64(after)/4 + 1)) //nolint:gosec // not a secret
	c.arm(timerName{"probe", int(l.Side)}, after-spread, func() { c.probe(l) })
}

func (c *call) probe(l *leg) {
	if c.m.Phase == phaseEnded || l.ended {
		return
	}
	if l.accept != nil || c.ex.Busy { // it is being talked to
		c.armProbe(l, c.s.limits.Probe)
		return
	}
	req := l.Dialog.Request(sip.OPTIONS)
	req.AppendHeader(sip.NewHeader("Accept", sdpType))
	req.AppendHeader(sip.NewHeader("User-Agent", agent))
	req.SetBody(nil)
	c.dirty()
	c.send(l, req, func(res *sip.Response) {
		if res.IsProvisional() {
			return
		}
		if res.StatusCode == 481 || res.StatusCode == 408 {
			c.suspect(l, nil)
			return
		}
		c.health[l.Side] = health{}
		c.armProbe(l, c.s.limits.Probe)
	}, func(err error) { c.suspect(l, err) })
}

// suspect notes that a phone gave no sign of life; err is nil when it said itself that it does
// not know the call.
func (c *call) suspect(l *leg, err error) {
	if c.m.Phase == phaseEnded || l.ended || c.pair == nil {
		return
	}
	h := &c.health[l.Side]
	packets := c.pair.branch.path.Stats()[l.Side].Packets
	if h.fails > 0 && packets > h.packets {
		*h = health{} // it talks
	}
	if h.fails == 0 {
		h.packets, h.since = packets, time.Now()
	}
	h.fails++
	unreachable := errors.Is(err, stack.ErrFlowGone) && time.Since(h.since) < unreachableLimit*c.s.limits.Probe
	if h.fails < 2 || unreachable {
		c.armProbe(l, min(suspectAfter, c.s.limits.Probe))
		return
	}
	c.s.metrics.dead.Inc()
	c.step(evHangup{"system", "the phone of the " + l.Side.String() + " has vanished"})
}
