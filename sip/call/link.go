package call

import (
	"log/slog"

	"github.com/emiago/sipgo/sip"

	"linehall/internal/observe"
	"linehall/media/sdp"
)

// Two confirmed legs are brought together by re-INVITEs of ours (RFC 3725, RFC 5589 §6): what
// one side wrote is offered to the other, its answer to the first, and what differs in that
// answer goes back, until both have seen the same. Each step is one exchange of the media path:
//
//	present      the path has an offer of one side; the other one answers it
//	confirmWith  the path has an answer; the side that it is for has not seen it and is offered it.
//	             Its answer is its new description: an offer to the path
//
// A side that refuses is asked for an offer of its own, once: a phone describes everything that
// it can do only when nobody asks for less.

// link is such a negotiation.
type link struct {
	f      *fork
	rounds int
	asked  bool      // a side was asked for its own offer
	shown  [2][]byte // what each side wrote last, and the other one has seen
	// dressed is how each side's SRTP was offered, see redress.
	dressed [2]int
	done    func()
}

const (
	// linkRounds bounds the re-INVITEs of a link: two phones that change their mind with each
	// answer must stop somewhere, and then either answer is as good.
	linkRounds = 6
	// glareTries is how often a re-INVITE of ours is repeated after 491 or 500.
	glareTries = 4
)

// newLink starts a negotiation; nobody else may make an offer meanwhile.
func (c *call) newLink(f *fork) *link {
	c.ex.Busy, c.ex.Ours = true, true
	k := &link{f: f, done: func() {
		c.ex.Ours, c.link = false, nil
		f.branch.path.Meet()
		c.exchangeDone()
		c.step(evAck{})
		c.save()
		c.publish()
	}}
	k.shown[caller] = c.origin.offer()
	return k
}

// reinvite sends a re-INVITE of ours, with an offer or asking for one, and repeats it after
// glare (RFC 3261 §14.1). then gets the final response, which is not acknowledged yet when it
// is a 2xx, or the error. A call that ended meanwhile acknowledges and forgets it.
func (c *call) reinvite(to, other *leg, body []byte, then func(res *sip.Response, err error)) {
	to.raises = 0
	c.reinviteAgain(to, other, body, then, 0)
}

func (c *call) reinviteAgain(to, other *leg, body []byte, then func(res *sip.Response, err error), tries int) {
	req := to.Dialog.Request(sip.INVITE)
	req.AppendHeader(sip.NewHeader("User-Agent", agent))
	c.decorateRequest(to, other, req)
	setBody(req, body)
	c.dirty()
	again := func() {
		if c.m.Phase != phaseEnded && !to.ended {
			c.reinviteAgain(to, other, body, then, tries+1)
		}
	}
	c.send(to, req, func(res *sip.Response) {
		to.learn(res)
		switch {
		case res.IsProvisional():
		case c.m.Phase == phaseEnded || to.ended:
			if res.IsSuccess() {
				c.sendAck(to, res.CSeq().SeqNo, nil)
			}
		case res.StatusCode == 422 && to.raiseTimer(res):
			again()
		case res.StatusCode == 491 && tries < glareTries:
			c.arm(timerName{"glare", int(to.Side)}, glareDelay(to), again)
		case res.StatusCode == 500 && len(res.GetHeaders("Retry-After")) > 0 && tries < glareTries:
			c.arm(timerName{"glare", int(to.Side)}, retryAfter(res), again)
		default:
			if res.IsSuccess() {
				to.Dialog.Refresh(res.Contact())
				c.takeTimer(to, res)
			}
			then(res, nil)
		}
	}, func(err error) {
		if c.m.Phase != phaseEnded {
			then(nil, err)
		}
	})
}

// present offers a side what the other one wrote, body being the path's word for it.
func (c *call) present(k *link, to side, body []byte) {
	l, other := k.f.leg(to), k.f.leg(to.Other())
	k.rounds++
	c.reinvite(l, other, body, func(res *sip.Response, err error) {
		if err != nil || !res.IsSuccess() {
			k.f.branch.path.Rollback()
			if next, ok := c.redressLink(k, to, res, k.shown[to.Other()]); ok {
				c.present(k, to, next)
				return
			}
			c.linkRefused(k, to, res, err)
			return
		}
		c.sendAck(l, res.CSeq().SeqNo, nil)
		before := other.Dialog.Session.Version
		back, err := c.passAnswer(k.f, to, description(res))
		if err != nil || len(back) == 0 {
			c.linkFailed(k, "no usable answer")
			return
		}
		l.agreed(description(res))
		k.shown[to] = description(res)
		if other.Dialog.Session.Version == before || k.rounds >= linkRounds {
			k.done()
			return
		}
		c.confirmWith(k, to.Other(), back)
	})
}

// confirmWith offers a side the answer that was meant for it.
func (c *call) confirmWith(k *link, to side, body []byte) {
	l, other := k.f.leg(to), k.f.leg(to.Other())
	k.rounds++
	c.reinvite(l, other, body, func(res *sip.Response, err error) {
		if err != nil || !res.IsSuccess() {
			c.linkRefused(k, to, res, err)
			return
		}
		c.sendAck(l, res.CSeq().SeqNo, nil)
		answer := description(res)
		if sameDescription(k.shown[to], answer) {
			l.agreed(answer)
			k.done()
			return
		}
		k.shown[to] = answer
		before := other.Dialog.Session.Version
		next, err := c.passOffer(k.f, to, answer)
		if err != nil || len(next) == 0 {
			c.linkFailed(k, "no usable answer")
			return
		}
		l.agreed(answer)
		if other.Dialog.Session.Version == before || k.rounds >= linkRounds {
			// The other side would see nothing new: its description stands.
			if _, err := c.passAnswer(k.f, to.Other(), other.Agreed); err != nil {
				c.linkFailed(k, "no usable answer")
				return
			}
			k.done()
			return
		}
		c.present(k, to.Other(), next)
	})
}

// linkLate goes on from an offer in the target's 2xx: the party answers it in a re-INVITE, and
// that answer is the target's ACK.
func (c *call) linkLate(f *fork, offer []byte, seq uint32, dressed int) {
	k := c.newLink(f)
	k.dressed[caller] = dressed
	refuse := func(why string) {
		c.sendAck(f.callee, seq, rejectAll(offer))
		c.linkFailed(k, why)
	}
	c.fit(f, callee, offer)
	body, err := c.passOffer(f, callee, offer)
	if err != nil || len(body) == 0 {
		refuse("no usable offer")
		return
	}
	c.offerLinked(k, caller, offer, body, refuse, func(answer, back []byte) {
		c.sendAck(f.callee, seq, back)
		f.caller.agreed(answer)
		k.done()
	})
}

// offerLinked offers a side what the other one wrote, which waits for the answer in our ACK; back is that answer as the
// other side gets it.
func (c *call) offerLinked(k *link, to side, offer, body []byte, refuse func(why string), done func(answer, back []byte)) {
	l, other := k.f.leg(to), k.f.leg(to.Other())
	c.reinvite(l, other, body, func(res *sip.Response, err error) {
		if err == nil && res.IsSuccess() {
			c.sendAck(l, res.CSeq().SeqNo, nil)
			answer := description(res)
			if protectionOf(answer).Media || !protectionOf(offer).Media {
				if back, err := c.passAnswer(k.f, to, answer); err == nil && len(back) > 0 {
					done(answer, back)
					return
				}
			}
		}
		if next, ok := c.redressLink(k, to, res, offer); ok {
			c.offerLinked(k, to, offer, next, refuse, done)
			return
		}
		refuse("the " + to.String() + " cannot use the offer")
	})
}

// linkRefused asks the side that cannot use what it was offered for an offer of its own.
func (c *call) linkRefused(k *link, by side, res *sip.Response, err error) {
	if res == nil || res.StatusCode == 481 || res.StatusCode == 408 || k.asked {
		c.log.Info("party does not follow", slog.String(observe.Leg, by.String()), slog.Any(observe.Err, err))
		c.linkFailed(k, "the "+by.String()+" cannot be connected")
		return
	}
	c.askFirst(k, by)
}

// askFirst asks a side for an offer and takes it to the other one.
func (c *call) askFirst(k *link, by side) {
	l, other := k.f.leg(by), k.f.leg(by.Other())
	k.asked = true
	c.reinvite(l, other, nil, func(res *sip.Response, err error) {
		if err != nil || !res.IsSuccess() {
			c.linkFailed(k, "the "+by.String()+" cannot be connected")
			return
		}
		seq, offer := res.CSeq().SeqNo, description(res)
		refuse := func(string) {
			c.sendAck(l, seq, rejectAll(offer))
			c.linkFailed(k, "no common media")
		}
		c.fit(k.f, by, offer)
		body, err := c.passOffer(k.f, by, offer)
		if err != nil || len(body) == 0 {
			refuse("")
			return
		}
		c.offerLinked(k, by.Other(), offer, body, refuse, func(answer, back []byte) {
			c.sendAck(l, seq, back)
			l.agreed(offer)
			other.agreed(answer)
			k.done()
		})
	})
}

// linkFailed ends a call whose parties cannot talk.
func (c *call) linkFailed(k *link, why string) {
	c.ex.Ours = false
	c.exchangeDone()
	c.step(evHangup{"system", why})
}

// sameDescription compares two descriptions of one phone.
func sameDescription(a, b []byte) bool {
	was, err := sdp.Parse(a)
	if err != nil {
		return false
	}
	is, err := sdp.Parse(b)
	return err == nil && sdp.Same(was, is)
}
