package call

import (
	"bytes"
	"errors"
	"log/slog"
	"strconv"
	"strings"
	"time"

	"github.com/emiago/sipgo/sip"

	"linehall/internal/observe"
	"linehall/media/sdp"
	"linehall/sip/stack"
)

// Session timers, the shell: terms on what we send and get, the refreshes, and what follows
// when one is missed. A call is ended only when a peer that had agreed to refresh did not, and
// then does not answer our own question either: a refresh may come from either end (RFC 4028
// §7.4), so asking heals the call of a phone that only forgot.

var errNothingAgreed = errors.New("nothing was agreed yet")

// mostRaises bounds how often one request is repeated with a longer interval.
const mostRaises = 2

// postponed is when a refresh is tried again that an exchange of the parties has to pass first.
const postponed = 2 * time.Second

func (s *Service) timerPolicy() timerPolicy {
	return timerPolicy{Default: s.limits.SessionExpires, Min: s.limits.MinSE}
}

// badTimer refuses a request whose session interval cannot be read (400) or is too small (422);
// it reports whether it did.
func (s *Service) badTimer(req *stack.Request) bool {
	terms, err := readTimer(req.Request)
	switch {
	case err != nil:
		s.respond(req, refusal{code: 400, reason: "Bad Session-Expires", text: err.Error()})
		return true
	case s.timerPolicy().tooSmall(terms):
		res := s.stack.NewResponse(req, 422, phrase(422))
		res.AppendHeader(sip.NewHeader("Min-SE", seconds(s.limits.MinSE)))
		_ = req.Tx.Respond(res) // the peer repeats its request when this is lost
		return true
	}
	return false
}

// grantTimer writes the session timer of a leg into our 2xx to its INVITE or UPDATE.
func (c *call) grantTimer(l *leg, req *sip.Request, res *sip.Response) {
	terms, err := readTimer(req)
	if err != nil { // refused before; a stored request cannot change
		terms = timerTerms{}
	}
	l.Timer = c.s.timerPolicy().grant(terms, l.Timer, time.Now())
	l.Timer.response(res, terms)
	c.armSession(l)
}

// takeTimer takes over the session timer from a leg's 2xx to our INVITE or UPDATE.
func (c *call) takeTimer(l *leg, res *sip.Response) {
	terms, err := readTimer(res)
	if err != nil {
		terms = timerTerms{} // unreadable: nothing was agreed
	}
	l.Timer = c.s.timerPolicy().taken(terms, l.Timer, time.Now())
	c.armSession(l)
}

// raiseTimer prepares the repetition of a request that got 422.
func (l *leg) raiseTimer(res *sip.Response) bool {
	terms, err := readTimer(res)
	if err != nil || l.raises >= mostRaises {
		return false
	}
	t, ok := l.Timer.raised(terms)
	if ok {
		l.Timer, l.raises = t, l.raises+1
	}
	return ok
}

func sessionTimerName(l *leg) timerName { return timerName{"session", int(l.Side)} }
func sessionEndName(l *leg) timerName   { return timerName{"session end", int(l.Side)} }

// armSession waits for a leg's refresh, ours or the peer's. Only the legs of the pair that
// talks have one.
func (c *call) armSession(l *leg) {
	c.disarm(sessionTimerName(l))
	c.disarm(sessionEndName(l))
	if l.Timer.Interval == 0 || l.ended || c.m.Phase == phaseEnded || c.pair == nil || c.pair.leg(l.Side) != l {
		return
	}
	c.arm(sessionTimerName(l), time.Until(l.Timer.due(c.s.timerPolicy())), func() { c.sessionDue(l) })
}

// armSessions is armSession for a call that came back after a restart.
func (c *call) armSessions() {
	c.armSession(c.pair.caller)
	c.armSession(c.pair.callee)
}

// sessionDue refreshes; when that was the peer's part, it has until the expiry to answer.
func (c *call) sessionDue(l *leg) {
	if !l.Timer.Ours {
		c.log.Info("session not refreshed, asking", slog.String(observe.Leg, l.Side.String()))
		c.arm(sessionEndName(l), l.Timer.lead(), func() { c.sessionExpired(l) })
	}
	l.raises = 0
	c.refreshSession(l)
}

func (c *call) sessionExpired(l *leg) {
	if c.m.Phase == phaseEnded || l.ended {
		return
	}
	c.s.metrics.dead.Inc()
	c.step(evHangup{"system", "session timer expired: the phone of the " + l.Side.String() + " is silent"})
}

// refreshSession sends an UPDATE without a body where the phone allows that (RFC 4028 §7.4), else a
// re-INVITE with what it was told last.
func (c *call) refreshSession(l *leg) {
	if c.m.Phase == phaseEnded || l.ended || c.pair == nil || c.pair.leg(l.Side) != l {
		return
	}
	other := c.pair.leg(l.Side.Other())
	if l.allows(sip.UPDATE) {
		req := l.Dialog.Request(sip.UPDATE)
		c.decorateRequest(l, other, req)
		req.SetBody(nil)
		c.dirty()
		c.send(l, req, func(res *sip.Response) {
			if !res.IsProvisional() {
				c.refreshed(l, res)
			}
		}, func(err error) { c.refreshFailed(l, err) })
		return
	}
	if l.accept != nil || other.accept != nil || len(other.Agreed) == 0 || c.ex.admit(other.Side) != 0 {
		c.arm(sessionTimerName(l), postponed, func() { c.refreshSession(l) })
		return
	}
	c.offerAgain(l, true, func(res *sip.Response, err error) {
		if err != nil {
			c.refreshFailed(l, err)
			return
		}
		c.refreshed(l, res)
	})
}

// refreshed takes the final response to a refresh.
func (c *call) refreshed(l *leg, res *sip.Response) {
	l.learn(res)
	switch code := res.StatusCode; {
	case res.IsSuccess():
		l.Dialog.Refresh(res.Contact())
		c.takeTimer(l, res)
	case code == 422 && l.raiseTimer(res):
		c.refreshSession(l)
	case code == 491:
		c.later(l, glareDelay(l))
	case (code == 405 || code == 501) && l.allows(sip.UPDATE):
		l.Allow = "" // its word was wrong
		c.refreshSession(l)
	case code == 500 && len(res.GetHeaders("Retry-After")) > 0:
		c.later(l, retryAfter(res))
	case code == 481 || code == 408:
		c.refreshFailed(l, nil)
	default:
		// It will not refresh, but it is there and knows the call: nothing to end it for.
		c.log.Info("session refresh refused", slog.String(observe.Leg, l.Side.String()), slog.Int(observe.Code, code))
		l.Timer.Expires = time.Now().Add(l.Timer.Interval)
		c.armSession(l)
	}
	c.dirty()
}

// later repeats a refresh that met another exchange. The phone is alive: nothing expires.
func (c *call) later(l *leg, after time.Duration) {
	c.disarm(sessionEndName(l))
	c.arm(sessionTimerName(l), after, func() { c.refreshSession(l) })
}

// refreshFailed: the phone did not answer, or does not know the call (err is nil then).
func (c *call) refreshFailed(l *leg, err error) {
	if c.m.Phase == phaseEnded || l.ended || c.pair == nil || c.pair.leg(l.Side) != l {
		return
	}
	if !l.Timer.Ours { // it has missed its own turn as well
		if err == nil {
			c.sessionExpired(l)
		}
		return // silent: sessionExpired comes at its time
	}
	l.Timer.Expires = time.Now().Add(l.Timer.Interval)
	c.armSession(l)
	c.suspect(l, err)
}

// retryAfter is the pause that a response asks for, within reason.
func retryAfter(res *sip.Response) time.Duration {
	value, _, _ := strings.Cut(res.GetHeaders("Retry-After")[0].Value(), ";")
	n, err := strconv.ParseUint(strings.TrimSpace(value), 10, 16)
	if err != nil {
		return postponed
	}
	return min(max(time.Duration(n)*time.Second, time.Second), 10*time.Second)
}

// offerAgain makes an exchange of our own: it offers l what the other phone last agreed to. The
// turn must have been taken (exchange.admit, on behalf of the other side); it is given back
// before done is called, with the final response or the reason why there is none. With tell the
// other phone hears of an answer that changes something.
func (c *call) offerAgain(l *leg, tell bool, done func(res *sip.Response, err error)) {
	f := c.pair
	other := f.leg(l.Side.Other())
	body, err := c.passOffer(f, other.Side, other.Agreed)
	if err == nil && len(body) == 0 {
		err = errNothingAgreed
	}
	if err != nil {
		f.branch.path.Rollback()
		c.exchangeDone()
		done(nil, err)
		return
	}
	req := l.Dialog.Request(sip.INVITE)
	c.decorateRequest(l, other, req)
	setBody(req, body)
	c.dirty()
	c.own = l
	c.send(l, req, func(res *sip.Response) {
		switch {
		case res.IsProvisional():
			return
		case !res.IsSuccess():
			f.branch.path.Rollback()
			c.exchangeDone()
			done(res, nil)
			return
		}
		c.sendAck(l, res.CSeq().SeqNo, nil)
		answer := description(res)
		if _, err := c.passAnswer(f, l.Side, answer); err != nil || len(answer) == 0 {
			f.branch.path.Rollback()
			c.exchangeDone()
			done(res, err)
			return
		}
		changed := tell && !sameSession(l.Agreed, answer)
		l.agreed(answer)
		c.exchangeDone()
		done(res, nil)
		if changed {
			c.tellOther(l)
		}
	}, func(err error) {
		f.branch.path.Rollback()
		c.exchangeDone()
		done(nil, err)
	})
}

// tellOther offers the other phone what l has just changed in its answer to an offer of ours.
func (c *call) tellOther(l *leg) {
	if c.m.Phase == phaseEnded || c.pair == nil || c.pair.leg(l.Side) != l {
		return
	}
	other := c.pair.leg(l.Side.Other())
	if other.ended || c.ex.admit(l.Side) != 0 {
		return // an offer of a party is under way: it brings both up to date
	}
	c.offerAgain(other, false, func(res *sip.Response, err error) {
		switch {
		case err != nil:
			c.log.Info("changed session not passed on", slog.Any(observe.Err, err))
		case res.StatusCode == 491:
			c.arm(timerName{"tell", int(other.Side)}, glareDelay(other), func() { c.tellOther(l) })
		case !res.IsSuccess():
			c.log.Info("changed session refused", slog.Int(observe.Code, res.StatusCode))
		}
	})
}

// sameSession compares two descriptions but for the identity of their o= lines.
func sameSession(a, b []byte) bool {
	strip := func(body []byte) []byte {
		doc, err := sdp.Parse(body)
		if err != nil {
			return body
		}
		doc.SetOrigin(sdp.Origin{Host: "0.0.0.0"})
		return doc.Marshal()
	}
	return bytes.Equal(strip(a), strip(b))
}
