package call

import (
	"log/slog"
	"time"

	"github.com/emiago/sipgo/sip"

	"linehall/internal/observe"
	"linehall/media/anchor"
	"linehall/sip/cdr"
)

// storeTime bounds a write of a record or of the call's state.
const storeTime = 5 * time.Second

// byeLeg ends the dialog with one party. While our 2xx to it waits for its ACK, the BYE has to
// wait as well (RFC 3261 §15).
func (c *call) byeLeg(s side, reason string) {
	if c.pair == nil {
		return
	}
	if s == callee {
		c.dropHeld()
	}
	l := c.pair.leg(s)
	if p := c.picker; p != nil && p.leg == l {
		c.dropPicker()
		return
	}
	if c.lent != nil && l == c.lent.leg { // finish gives it back
		return
	}
	if l.accept != nil {
		l.asked, l.reason = true, reason
		return
	}
	c.sendBye(l, reason)
}

func (c *call) byeWhenAcked(l *leg) {
	if l.asked {
		c.sendBye(l, l.reason)
	}
}

func (c *call) sendBye(l *leg, reason string) {
	if l.ended {
		return
	}
	l.ended = true
	bye := l.Dialog.Request(sip.BYE)
	for _, h := range reasonHeaders(c.endReasons(reason)) {
		bye.AppendHeader(h)
	}
	bye.SetBody(nil)
	c.send(l, bye, func(*sip.Response) {}, func(err error) {
		c.log.Info("bye not delivered", slog.String(observe.Leg, l.Side.String()), slog.Any(observe.Err, err))
	})
}

// finish closes the books of a call: media, record, state. Transactions that are still under
// way end behind it.
func (c *call) finish(end cause) {
	c.abandonTransfer()
	c.giveBack()
	c.dropPicker()
	c.dismissGuests("the call has ended")
	c.timers = map[timerName]*timer{}
	c.rearmAcceptances()
	if r := c.re; r != nil { // its asker gets an answer even now
		c.re = nil
		c.s.respond(r.req, refusal{code: 487})
	}
	if req := c.deferred; req != nil {
		c.deferred = nil
		c.s.respond(req, refusal{code: 481})
	}
	c.closeTape("the call ended")
	c.close(end, c.media.Close())
}

// rearmAcceptances: a 2xx without its ACK is repeated even though the call is over; only then
// may the BYE go out.
func (c *call) rearmAcceptances() {
	for l := range c.answering() {
		c.arm(timerName{"2xx", l.place()}, l.accept.wait, func() { c.repeatAnswer(l) })
	}
}

// close writes the record, exactly once, then forgets the state: both soon, in this order. A crash between the two finds a
// finished record and drops the state; one before them finds a call whose phones have hung up, and asks them.
func (c *call) close(end cause, stats [2]anchor.LegStats) {
	if c.rec.EndedAt != nil {
		return
	}
	now := time.Now().UTC()
	c.rec.EndedAt, c.rec.Code, c.rec.EndedBy, c.rec.Recoverable = &now, end.Code, end.By, c.recoverable
	if c.rec.Reason == "" {
		c.rec.Reason = end.Reason
	}
	c.rec.Result = result(end, c.rec.AnsweredAt != nil)
	if c.rec.AnsweredAt != nil {
		c.rec.Seconds = int64(now.Sub(*c.rec.AnsweredAt) / time.Second)
		if c.pair != nil {
			c.rec.Path, c.rec.Codec = string(c.pair.branch.path.Kind()), c.pair.branch.path.Codec()
		}
		c.quality(stats, now)
	}
	c.s.metrics.total.WithLabelValues(c.rec.Result).Inc()
	c.s.hungUp(c) // a phone that dials again at once must not meet its last call
	c.s.o.Records.FinishSoon(c.rec, func(err error) {
		if err != nil {
			c.log.Error("call record not written", slog.Any(observe.Err, err))
		}
	})
	c.unstore()
	c.s.release(c)
	c.s.o.Trace.End(c.id)
	c.publish()
	c.log.Info("call ended", slog.String("result", c.rec.Result), slog.Int(observe.Code, end.Code), slog.String("by", end.By),
		slog.String(observe.Reason, c.rec.Reason), slog.Int64("seconds", c.rec.Seconds))
}

// unstore forgets the state.
func (c *call) unstore() {
	if c.stored {
		c.s.forgetState(c.id)
	}
}

func result(end cause, answered bool) string {
	switch {
	case answered:
		return cdr.Answered
	case end.Code == 487:
		return cdr.Cancelled
	case end.Code == 486, end.Code == 600, end.Code == 603:
		return cdr.Busy
	case end.Code == 480:
		return cdr.NoAnswer
	case end.Code == 488, end.Code == 403:
		return cdr.Refused
	}
	return cdr.Failed
}

// abandon cleans up behind a panic: everybody is told, the record is written, nothing is kept.
func (c *call) abandon() {
	defer observe.Recover(c.log, c.s.o.Panics, "call clean-up")
	if c.m != nil {
		c.m.Phase = phaseEnded
	} else {
		c.m = &machine{Phase: phaseEnded}
	}
	if c.origin != nil {
		c.origin.refuse(c, refusal{code: 500})
	}
	for _, b := range c.branches {
		c.cancelBranch(b)
	}
	for l := range c.legs() {
		if l.Dialog.Confirmed && !l.ended {
			_, _ = c.s.stack.Request(c.ctx, l.Dialog.Request(sip.BYE), l.Flow) //nolint:contextcheck // nobody is left to hear of a failure; the call's own context
		}
	}
	var stats [2]anchor.LegStats
	c.closeTape("internal error") //nolint:contextcheck // what is left has to be written
	if c.media != nil {
		stats = c.media.Close()
	}
	c.close(cause{500, "system", "internal error"}, stats) //nolint:contextcheck // the call's own context
}
