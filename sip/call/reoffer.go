package call

import (
	"errors"
	"log/slog"
	"unsafe"

	"github.com/emiago/sipgo/sip"

	"linehall/internal/observe"
	"linehall/media/sdp"
	"linehall/sip/stack"
)

// reoffer is a re-INVITE or an UPDATE with an offer on its way from one party to the other
// (RFC 3261 §14, RFC 3311). There is at most one per call, see exchange. Its offer and answer
// pass through the media plane; whatever goes wrong leaves the session as it was.
type reoffer struct {
	fork      *fork
	from, to  *leg
	req       *stack.Request
	offer     []byte // as from sent it; empty when the other side shall make it
	body      []byte // as to gets it
	out       *outgoing
	cancelled bool
	early     bool // in an early dialog, beside the exchange of the INVITE
}

// onReoffer takes a new offer, or a request for one.
func (c *call) onReoffer(f *fork, from *leg, req *stack.Request) {
	to := f.leg(from.Side.Other())
	switch {
	case c.pair == nil || c.m.Phase < phaseAccepted:
		c.onEarlyOffer(f, from, req)
		return
	case to.ended:
		c.s.respond(req, refusal{code: 481})
		return
	case len(req.Body()) > 0 && !isSDP(req.Request):
		c.s.respond(req, refusal{code: 415, reason: "Unsupported Media Type"})
		return
	}
	if t := c.transfer; t != nil && (t.wanted || t.handed) { // the party is about to move
		c.s.respond(req, refusal{code: 491})
		return
	}
	if c.deferred == nil && c.ex.Busy && (to.accept != nil && c.ex.From == to.Side || c.own == to) {
		// The exchange is over but for the other side's ACK, which may be a moment behind this
		// offer, or it is one of our own with the other phone alone. We must not pass this one on
		// before (RFC 3261 §14.1); refusing it would cost the phone seconds.
		c.deferred = req
		return
	}
	if code := c.ex.admit(from.Side); code != 0 {
		c.s.respond(req, refusal{code: code, text: "an offer is being answered"})
		return
	}
	r := &reoffer{fork: f, from: from, to: to, req: req, offer: description(req.Request)}
	body, err := c.passOffer(f, from.Side, r.offer)
	if err != nil {
		c.log.Info("new offer refused", slog.String(observe.Leg, from.Side.String()), slog.Any(observe.Err, err))
		f.branch.path.Rollback()
		c.exchangeDone()
		c.s.respond(req, mediaRefusal(err))
		return
	}
	if req.Method == sip.INVITE {
		_ = req.Tx.Respond(c.s.stack.NewResponse(req, 100, "Trying")) // a lost 100 costs a repeated INVITE
		c.watchCancel(req)
	}
	c.re = r
	r.body, to.raises = body, 0
	c.sendReoffer(r)
}

func (c *call) sendReoffer(r *reoffer) {
	r.out = c.send(r.to, c.offerRequest(r, r.body), func(res *sip.Response) { c.onReanswer(r, res) }, func(err error) { c.reofferFailed(r, nil, err) })
}

// exchangeDone gives the turn to an offer that has waited for an ACK.
func (c *call) exchangeDone() {
	c.ex.done()
	c.own = nil
	if t := c.transfer; t != nil && t.wanted {
		c.giveAway(t)
	}
	req := c.deferred
	c.deferred = nil
	if req == nil {
		return
	}
	if f, l := c.dialogOf(req.Request); l != nil && c.m.Phase != phaseEnded {
		c.onReoffer(f, l, req)
		return
	}
	c.s.respond(req, refusal{code: 481})
}

func (c *call) offerRequest(r *reoffer, body []byte) *sip.Request {
	out := r.to.Dialog.Request(r.method())
	copyHeaders(r.req.Request, out, throughInvite)
	c.identityOf(r.from).anonymise(out)
	c.decorateRequest(r.to, r.from, out)
	setBody(out, body)
	c.dirty()
	return out
}

// method is how the offer goes on: an UPDATE becomes a re-INVITE towards a phone that does not
// know it.
func (r *reoffer) method() sip.RequestMethod {
	switch {
	case r.early:
		return sip.UPDATE
	case r.req.Method == sip.UPDATE && !r.to.allows(sip.UPDATE):
		return sip.INVITE
	}
	return r.req.Method
}

// decorateRequest adds what our INVITE or UPDATE in a dialog carries besides its body.
func (c *call) decorateRequest(l, other *leg, req *sip.Request) {
	req.AppendHeader(sip.NewHeader("Allow", allowValue))
	req.AppendHeader(sip.NewHeader("Supported", supportedInside))
	l.Timer.request(req)
	c.identify(req, l, c.identityOf(other), other.Side)
}

// onReanswer takes a response to the forwarded offer.
func (c *call) onReanswer(r *reoffer, res *sip.Response) {
	r.to.learn(res)
	switch {
	case res.IsProvisional():
	case r.early && (c.pair != nil && c.pair != r.fork || c.m.Phase == phaseEnded):
		c.reofferDone(r)
		c.s.respond(r.req, refusal{code: 481}) // another phone has answered
	case res.StatusCode == 422 && !r.cancelled && r.to.raiseTimer(res):
		c.sendReoffer(r)
	case !res.IsSuccess():
		c.reofferFailed(r, res, nil)
	case r.cancelled || c.m.Phase == phaseEnded:
		c.undo(r, res)
	default:
		c.reofferAnswered(r, res)
	}
}

func (c *call) reofferAnswered(r *reoffer, res *sip.Response) {
	seq, late, answer := res.CSeq().SeqNo, len(r.offer) == 0, description(res)
	pass := c.passAnswer
	if late {
		pass = c.passOffer
	}
	body, err := pass(r.fork, r.to.Side, answer)
	if err != nil {
		// The other phone has a session that this one cannot have: put it back.
		c.log.Info("new answer refused", slog.Any(observe.Err, err))
		why := mediaRefusal(err)
		if why.code == 400 { // it is not the asker who wrote it
			why.code, why.reason = 488, ""
		}
		c.s.respond(r.req, why)
		c.undo(r, res)
		return
	}
	r.from.Dialog.Refresh(r.req.Contact())
	r.to.Dialog.Refresh(res.Contact())
	out := c.s.stack.NewResponse(r.req, res.StatusCode, res.Reason)
	c.takeTimer(r.to, res)
	if r.req.Method != sip.PRACK {
		out.AppendHeader(&sip.ContactHeader{Address: c.s.stack.ContactURI(r.from.Flow, r.from.User)})
		out.AppendHeader(sip.NewHeader("Allow", allowValue))
		out.AppendHeader(sip.NewHeader("Supported", supportedInside))
		c.identify(out, r.from, c.identityOf(r.to), r.to.Side)
		c.grantTimer(r.from, r.req.Request, out)
	}
	setBody(out, body)
	if !late && r.out.req.IsInvite() {
		c.sendAck(r.to, seq, nil)
	}
	if !r.req.IsInvite() {
		_ = r.req.Tx.Respond(out) // the peer repeats a request whose response is lost
		c.agree(r, r.offer, answer)
		return
	}
	c.reanswer = r.saveAnswer(out, seq, answer)
	c.dirty()
	err = c.accept(r.from, r.req, out, func(ack *sip.Request) {
		if !late {
			c.agree(r, r.offer, answer)
			return
		}
		if c.answerInAck(r.to, r.from, ack, seq) {
			c.agree(r, description(ack), answer)
		}
	}, func() { c.step(evHangup{"system", "no ACK"}) })
	if errors.Is(err, stack.ErrCancelled) {
		c.undo(r, res)
	}
}

// agree ends an exchange that worked.
func (c *call) agree(r *reoffer, from, to []byte) {
	c.reanswer = nil
	r.from.agreed(from)
	r.to.agreed(to)
	if c.pair != nil && c.pair == r.fork {
		c.markMedia(true)
	}
	c.reofferDone(r)
	c.dirty()
	c.publish()
}

// reofferFailed keeps the old session (RFC 3261 §14.1) and tells who asked.
func (c *call) reofferFailed(r *reoffer, res *sip.Response, err error) {
	r.fork.branch.path.Rollback()
	defer c.reofferDone(r)
	c.dirty()
	if res == nil {
		c.log.Info("new offer got no answer", slog.Any(observe.Err, err))
		c.s.respond(r.req, refusal{code: transportCode(err)})
		c.suspect(r.to, err)
		return
	}
	code := relayedCode(res.StatusCode)
	if code == 481 && r.req.Method == sip.PRACK {
		code = 488 // it did match; its offer failed
	}
	out := c.s.stack.NewResponse(r.req, code, res.Reason)
	copyHeaders(res, out, throughResponse)
	setBody(out, res.Body())
	_ = r.req.Tx.Respond(out) // cancelled meanwhile: the peer has its 487
	c.gone(r.to, res.StatusCode)
}

// cancelReoffer passes a CANCEL of a re-INVITE on.
func (c *call) cancelReoffer(req *stack.Request) {
	if r := c.re; r != nil && r.req == req {
		r.cancelled = true
		r.out.because = reasonHeaders(reasons(req.Tx.Cancellation()))
		c.cancelOutgoing(r.out)
	}
}

// undo is the lost race of a cancelled (or unusable) re-offer: one phone has accepted what the
// other will never see. It gets its old session back with an offer of our own: what the other
// phone last agreed to.
func (c *call) undo(r *reoffer, res *sip.Response) {
	c.re, c.reanswer = nil, nil
	if r.early {
		c.undoEarly(r)
		return
	}
	if r.out.req.IsInvite() {
		var body []byte
		if len(r.offer) == 0 {
			body = rejectAll(description(res))
		}
		c.sendAck(r.to, res.CSeq().SeqNo, body)
	}
	r.fork.branch.path.Rollback()
	if c.m.Phase == phaseEnded {
		c.exchangeDone()
		return
	}
	c.restoreSession(r.to)
}

// restoreSession gives a phone its old session back; the turn has been taken.
func (c *call) restoreSession(l *leg) {
	c.offerAgain(l, false, func(res *sip.Response, err error) {
		switch {
		case err == nil && res.IsSuccess():
		case err == nil && res.StatusCode == 491:
			c.arm(timerName{"restore", int(l.Side)}, glareDelay(l), func() {
				if c.ex.admit(l.Side.Other()) == 0 { // else a party's own offer brings both up to date
					c.restoreSession(l)
				}
			})
		default:
			c.step(evHangup{"system", "the session could not be restored"})
		}
	})
}

// agreed remembers what a leg last agreed to.
func (l *leg) agreed(body []byte) {
	if len(body) > 0 {
		l.Agreed = append([]byte(nil), body...)
	}
}

// held reports whether a party has put the other on hold.
func (c *call) held() bool {
	if c.pair == nil {
		return false
	}
	return c.pair.caller.holds() || c.pair.callee.holds()
}

// holds reports whether the party has the other on hold. It is asked after each change of a call, and a description is
// read once: Agreed is replaced, never written to.
func (l *leg) holds() bool {
	if len(l.judged) != len(l.Agreed) || unsafe.SliceData(l.judged) != unsafe.SliceData(l.Agreed) { //nolint:gosec // compared only
		l.judged, l.holding = l.Agreed, onHold(l.Agreed)
	}
	return l.holding
}

func onHold(body []byte) bool {
	doc, err := sdp.Parse(body)
	if err != nil {
		return false
	}
	for _, m := range doc.Media() {
		if m.Port() != 0 {
			return m.OnHold()
		}
	}
	return false
}
