package call

import (
	"github.com/emiago/sipgo/sip"

	"linehall/sip/stack"
)

// guestAllow is our Allow towards guests: they cannot transfer, and no session of theirs is refreshed by us.
const guestAllow = "INVITE, ACK, CANCEL, BYE, OPTIONS, UPDATE, INFO"

// guestOf finds the guest that a request belongs to.
func (c *call) guestOf(req *sip.Request) *guest {
	if len(c.guests) == 0 {
		return nil
	}
	id := dialogID{CallID: req.CallID().Value(), LocalTag: paramTag(req.To().Params), RemoteTag: paramTag(req.From().Params)}
	for _, g := range c.guests {
		if g.leg.Dialog.ID == id {
			return g
		}
	}
	return nil
}

// onGuestRequest takes a request in a guest's dialog.
func (c *call) onGuestRequest(g *guest, req *stack.Request) {
	l := g.leg
	if n := l.successor; n != nil {
		if !n.offer(msgRequest{req}) && !req.IsAck() {
			c.s.respond(req, refusal{code: 481})
		}
		return
	}
	if !c.comesFrom(l, req.Flow) {
		c.s.o.Dropped.Count("sip_call", "wrong_source")
		if !req.IsAck() {
			c.s.respond(req, refusal{code: 403})
		}
		return
	}
	if req.IsAck() {
		c.onAck(l, req.Request)
		return
	}
	if err := l.Dialog.Receive(req.Request); err != nil {
		c.s.respond(req, outOfOrder(err))
		return
	}
	l.learn(req.Request)
	switch {
	case req.Method == sip.BYE:
		_ = req.Tx.Respond(c.s.stack.NewResponse(req, 200, "OK")) // a lost 200 brings the BYE again
		l.ended, l.accept = true, nil
		c.disarm(timerName{"2xx", l.place()})
		c.part(g, caller.String(), reasonText(req.Request))
	case l.ended || g.parted:
		c.s.respond(req, refusal{code: 481})
	case req.Method == sip.INVITE, req.Method == sip.UPDATE:
		c.onGuestOffer(g, req)
	case req.Method == sip.INFO, req.Method == sip.OPTIONS: // its keys go nowhere
		res := c.s.stack.NewResponse(req, 200, "OK")
		res.AppendHeader(sip.NewHeader("Allow", guestAllow))
		_ = req.Tx.Respond(res) // the peer repeats a request whose response is lost
	case req.Method == sip.REFER:
		c.s.respond(req, refusal{code: 403, warn: 399, text: "Who joined a call cannot transfer it"})
	default:
		res := c.s.stack.NewResponse(req, sip.StatusMethodNotAllowed, "Method Not Allowed")
		res.AppendHeader(sip.NewHeader("Allow", guestAllow))
		_ = req.Tx.Respond(res) // as above
	}
}

// onGuestOffer answers a re-INVITE or UPDATE of a guest: hold, resume, another address. One without an offer gets ours.
func (c *call) onGuestOffer(g *guest, req *stack.Request) {
	l, offer := g.leg, description(req.Request)
	if l.accept != nil || g.asked != nil {
		c.s.respond(req, refusal{code: 491})
		return
	}
	var body []byte
	var err error
	switch {
	case len(offer) > 0:
		if err = secureOffer(stricter(c.s.srtpOfLeg(l), c.srtpPolicy(c.pair)), l.Secure, protectionOf(offer), l.Flow); err == nil {
			body, err = g.answer(offer)
		}
		if err == nil {
			err = g.way.Describe(l.Agreed, g.ours)
		}
	case req.Method == sip.INVITE:
		if body, err = g.path.Offer(callee, g.ours); err == nil {
			g.asked = g.ours
			body, err = l.Dialog.Session.Send(body, c.localAddr(l.Flow))
		}
	}
	if err != nil {
		g.path.Rollback()
		g.asked = nil
		c.s.respond(req, g.mediaRefusal(err))
		return
	}
	g.speak()
	l.Dialog.Refresh(req.Contact())
	res := c.s.stack.NewResponse(req, 200, "OK")
	res.AppendHeader(&sip.ContactHeader{Address: c.s.stack.ContactURI(req.Flow, l.User)})
	res.AppendHeader(sip.NewHeader("Allow", guestAllow))
	setBody(res, body)
	c.dirty()
	if req.Method == sip.UPDATE {
		_ = req.Tx.Respond(res) // the peer repeats a request whose response is lost
		return
	}
	if err := c.accept(l, req, res, func(ack *sip.Request) { g.acked(description(ack)) }, func() { c.part(g, "system", "no ACK") }); err != nil {
		g.path.Rollback() // cancelled: what was agreed holds
		g.asked = nil
	}
}

// acked takes the ACK of a 2xx of ours, with an answer if that made an offer.
func (g *guest) acked(answer []byte) {
	if g.asked == nil {
		return
	}
	g.asked = nil
	in, err := g.leg.Dialog.Session.Receive(answer)
	if err == nil {
		_, err = g.path.Answer(caller, in)
	}
	if err == nil {
		g.leg.agreed(answer)
		err = g.way.Describe(g.leg.Agreed, g.ours)
	}
	if err != nil {
		g.c.part(g, "system", "no usable answer to the offer")
		return
	}
	g.speak()
}

func guestProbeName(g *guest) timerName { return timerName{"guest probe", g.leg.guest} }

// armGuestProbe asks a guest's phone now and then whether it still lives, as those of the two (probe.go).
func (c *call) armGuestProbe(g *guest) {
	c.arm(guestProbeName(g), c.s.limits.Probe, func() {
		req := g.leg.Dialog.Request(sip.OPTIONS)
		req.AppendHeader(sip.NewHeader("User-Agent", agent))
		req.SetBody(nil)
		c.dirty()
		silent := func() {
			if g.fails++; g.fails >= 2 {
				c.s.metrics.dead.Inc()
				c.part(g, "system", "the phone has vanished")
				return
			}
			c.armGuestProbe(g)
		}
		c.send(g.leg, req, func(res *sip.Response) {
			switch {
			case res.IsProvisional() || g.parted:
			case res.StatusCode == 481 || res.StatusCode == 408:
				silent()
			default:
				g.fails = 0
				c.armGuestProbe(g)
			}
		}, func(error) {
			if !g.parted {
				silent()
			}
		})
	})
}
