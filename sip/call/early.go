package call

import (
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
