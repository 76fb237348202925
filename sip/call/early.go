package call

import (
	"fmt"
	"log/slog"

	"github.com/emiago/sipgo/sip"

	"linehall/internal/observe"
	"linehall/sip/stack"
)

// onEarlyOffer takes a new offer before the 2xx (RFC 3311 §5.2, RFC 3262 §5), in UPDATE or in the
// PRACK of an answer. It goes on as UPDATE. That takes a session that is complete on both legs,
// and a phone that knows UPDATE.
func (c *call) onEarlyOffer(f *fork, from *leg, req *stack.Request) {
	to := f.leg(from.Side.Other())
	refuse := func(code int, text string) {
		c.s.respond(req, refusal{code: code, warn: 399, text: text})
	}
	mine := 491 // somebody else's offer is in its way, or the sender's own (RFC 3311 §5.2)
	if from.Side == caller {
		mine = 500
	}
	switch {
	case req.IsInvite(): // RFC 3261 §14.2
		refuse(mine, "the first INVITE is not answered yet")
		return
	case to.ended:
		c.s.respond(req, refusal{code: 481})
		return
	case !isSDP(req.Request):
		c.s.respond(req, refusal{code: 415, reason: "Unsupported Media Type"})
		return
	case c.re != nil && c.re.from == from:
		refuse(500, "an offer is being answered")
		return
	case c.re != nil:
		refuse(491, "an offer is being answered")
		return
	case !f.settled() && req.Method != sip.PRACK:
		refuse(mine, "the first offer is not answered for good yet")
		return
	case !f.settled(), !to.allows(sip.UPDATE):
		refuse(488, "the other phone cannot change the session before it answers")
		return
	}
	r := &reoffer{fork: f, from: from, to: to, req: req, offer: description(req.Request), early: true}
	body, err := c.passOffer(f, from.Side, r.offer)
	if err != nil {
		c.log.Info("early offer refused", slog.String(observe.Leg, from.Side.String()), slog.Any(observe.Err, err))
		f.branch.path.Rollback()
		c.s.respond(req, mediaRefusal(err))
		return
	}
	c.re = r
	r.body, to.raises = body, 0
	c.sendReoffer(r)
}

// reofferDone gives the turn back.
func (c *call) reofferDone(r *reoffer) {
	if c.re == r {
		c.re = nil
	}
	if r.early {
		c.answerHeld()
		return
	}
	c.exchangeDone()
}

// undoEarly puts a session back that the callee's or the caller's phone has changed and the other one cannot have: with an
// UPDATE of what that one last agreed to. The set-up goes on meanwhile; the 2xx waits, as for every early exchange.
func (c *call) undoEarly(r *reoffer) {
	r.fork.branch.path.Rollback()
	back := &reoffer{fork: r.fork, from: r.from, to: r.to, req: r.req, offer: r.from.Agreed, early: true}
	failed := func(err error) {
		c.log.Warn("early session not restored", slog.Any(observe.Err, err))
		r.fork.branch.path.Rollback()
		c.re = nil
		c.step(evGiveUp{488, "the session could not be restored"})
	}
	body, err := c.passOffer(r.fork, r.from.Side, back.offer)
	if err == nil && len(body) == 0 {
		err = errNothingAgreed
	}
	if err != nil {
		failed(err)
		return
	}
	c.re = back
	req := r.to.Dialog.Request(sip.UPDATE)
	c.decorateRequest(r.to, r.from, req)
	setBody(req, body)
	c.dirty()
	back.out = c.send(r.to, req, func(res *sip.Response) {
		switch {
		case res.IsProvisional():
			return
		case c.pair != nil && c.pair != r.fork || c.m.Phase == phaseEnded: // another phone has answered
			c.reofferDone(back)
			return
		case res.StatusCode == 491:
			r.fork.branch.path.Rollback()
			c.arm(timerName{"restore", int(r.to.Side)}, glareDelay(r.to), func() {
				if c.re == back {
					c.undoEarly(back)
				}
			})
			return
		case !res.IsSuccess():
			failed(fmt.Errorf("UPDATE answered with %d", res.StatusCode))
			return
		}
		if _, err := c.passAnswer(r.fork, r.to.Side, description(res)); err != nil {
			failed(err)
			return
		}
		r.to.agreed(description(res))
		c.reofferDone(back)
		c.publish()
	}, failed)
}
