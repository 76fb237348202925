package call

import (
	"context"
	"errors"
	"log/slog"
	"slices"
	"strings"

	"github.com/emiago/sipgo/sip"

	"linehall/internal/observe"
	"linehall/sip/dialog"
	"linehall/sip/stack"
)

// ServeInDialog takes a request that belongs to one of our dialogs, of any method but CANCEL.
func (s *Service) ServeInDialog(_ context.Context, req *stack.Request) {
	c := s.find(req.CallID().Value(), paramTag(req.To().Params))
	if c == nil && s.noticed(req) {
		return
	}
	if c == nil {
		if !req.IsAck() { // an ACK has no response; a late one belongs to a call that has ended
			s.respond(req, refusal{code: 481})
		}
		return
	}
	switch {
	case c.offer(msgRequest{req}) || req.IsAck():
	case c.box.over():
		s.respond(req, refusal{code: 481})
	default:
		s.o.Dropped.Count("sip_call", "mailbox_full")
		s.respond(req, refusal{code: 500, text: "the call is busy"})
	}
}

// take is ServeInDialog on the goroutine that has read the request, where the dialog is known and its call has room.
func (s *Service) take(req *stack.Request) bool {
	c := s.find(req.CallID().Value(), paramTag(req.To().Params))
	return c != nil && c.offerHere(msgRequest{req}, req.Reading())
}

// stray takes a response without a transaction. It runs on the reading goroutine.
func (s *Service) stray(res *sip.Response, _ stack.Flow, r *stack.Reading) {
	seq := res.CSeq()
	if seq == nil || seq.MethodName != sip.INVITE || !res.IsSuccess() || res.From() == nil || res.To() == nil || res.CallID() == nil {
		return
	}
	if c := s.find(res.CallID().Value(), paramTag(res.From().Params)); c != nil && !c.offerHere(msgStray{res}, r) {
		s.o.Dropped.Count("sip_call", "mailbox_full") // a 2xx is repeated until it gets its ACK
	}
}

// onStray repeats our ACK, or gives up the dialog of a fork that answered too late.
func (c *call) onStray(res *sip.Response) {
	tag, seq := paramTag(res.To().Params), res.CSeq().SeqNo
	for _, f := range c.forks {
		if f.tag == tag && f.callee.Dialog.ID.CallID == res.CallID().Value() && c.repeatAck(f.callee, seq) {
			return
		}
		if f.caller.Dialog.ID.RemoteTag == tag && f.caller.Dialog.ID.CallID == res.CallID().Value() && c.repeatAck(f.caller, seq) {
			return
		}
	}
	if c.ackForgotten(tag, res) {
		return
	}
	for _, b := range c.branches { // another phone behind the same contact
		if b.invite != nil && c.m.Winner == b.index && c.pair != nil && c.pair.tag != tag && seq == b.invite.CSeq().SeqNo {
			c.current = res
			c.step(evAnswer{b.index, tag})
			c.current = nil
			return
		}
	}
}

// dialogOf finds the fork and the side that a request belongs to.
func (c *call) dialogOf(req *sip.Request) (*fork, *leg) {
	local, remote, id := paramTag(req.To().Params), paramTag(req.From().Params), req.CallID().Value()
	forks := c.forks
	if o, ok := c.origin.(*connected); ok && o.seat != nil {
		forks = append(slices.Clip(forks), o.seat)
	}
	for _, f := range forks {
		for _, l := range []*leg{f.caller, f.callee} {
			if l.Dialog.ID == (dialog.ID{CallID: id, LocalTag: local, RemoteTag: remote}) {
				return f, l
			}
		}
	}
	return nil, nil
}

// onRequest takes a request in a dialog.
func (c *call) onRequest(req *stack.Request) {
	f, l := c.dialogOf(req.Request)
	if l == nil {
		if g := c.guestOf(req.Request); g != nil {
			c.onGuestRequest(g, req)
			return
		}
		c.onUnmatched(req)
		return
	}
	if n := l.successor; n != nil { // it arrived while the party was handed over
		if !n.offer(msgRequest{req}) && !req.IsAck() {
			c.s.respond(req, refusal{code: 481})
		}
		return
	}
	l.hides(req)
	if !c.comesFrom(l, req.Flow) && !c.sameTrunk(l, req) {
		c.log.Warn("request from elsewhere", slog.String(observe.Method, string(req.Method)), slog.Any(observe.Remote, req.Flow.Remote))
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
	c.impliedAck(l)
	switch {
	case req.Method == sip.BYE:
		c.onBye(f, l, req)
	case c.m.Phase == phaseEnded || l.ended:
		c.s.respond(req, refusal{code: 481})
	case c.seated(f):
		c.onSeated(req)
	case c.pair != nil && f != c.pair:
		c.s.respond(req, refusal{code: 481}) // an early dialog that lost
	case req.Method == sip.PRACK:
		c.onPrack(f, l, req)
	case (req.Method == sip.INVITE || req.Method == sip.UPDATE) && c.s.badTimer(req):
	case req.Method == sip.INVITE, req.Method == sip.UPDATE && len(req.Body()) > 0:
		c.onReoffer(f, l, req)
	case req.Method == sip.UPDATE:
		c.refresh(l, req)
	case req.Method == sip.REFER:
		c.onRefer(f, l, req)
	case req.Method == sip.SUBSCRIBE:
		c.onSubscribe(l, req)
	case c.recordKey(l, req):
	default:
		c.infoKey(l, req)
		c.forward(f, l, req)
	}
}

// refresh answers an UPDATE without an offer: it refreshes our dialog with this phone and
// concerns nobody else. The other phone may not even know the method.
func (c *call) refresh(l *leg, req *stack.Request) {
	l.Dialog.Refresh(req.Contact())
	c.dirty()
	res := c.s.stack.NewResponse(req, 200, "OK")
	res.AppendHeader(&sip.ContactHeader{Address: c.s.stack.ContactURI(req.Flow, l.User)})
	res.AppendHeader(sip.NewHeader("Allow", allowValue))
	res.AppendHeader(sip.NewHeader("Supported", supportedValue))
	c.grantTimer(l, req.Request, res)
	_ = req.Tx.Respond(res) // the peer repeats an UPDATE whose response is lost
}

func outOfOrder(err error) refusal {
	if errors.Is(err, dialog.ErrOutOfOrder) {
		return refusal{code: 500, text: "CSeq out of order"}
	}
	return refusal{code: 400, reason: "Bad Request", text: err.Error()}
}

// onUnmatched takes a request with our tag but a peer tag we do not know: the caller may hang
// up before any phone has sent a tag of its own.
func (c *call) onUnmatched(req *stack.Request) {
	o, ok := c.origin.(*invited)
	switch {
	case ok && c.m.Phase == phaseRinging && o.hangsUp(req):
		_ = req.Tx.Respond(c.s.stack.NewResponse(req, 200, "OK")) // repeated when lost
		c.because = reasons(req.Request)
		c.step(evBye{caller})
	case !req.IsAck():
		c.s.respond(req, refusal{code: 481})
	}
}

// onCancelled takes a CANCEL of the call's INVITE or of a re-INVITE.
func (c *call) onCancelled(req *stack.Request) {
	if o, ok := c.origin.(*invited); ok && o.req == req {
		c.because = reasons(req.Tx.Cancellation())
		c.step(evCallerGone{"cancelled"})
		return
	}
	if p := c.picker; p != nil && p.req == req {
		c.picker, p.leg.ended = nil, true
		c.step(evHangup{"system", "the pickup was cancelled"})
		return
	}
	c.cancelReoffer(req)
}

// onBye answers at once, whatever becomes of the other side (design 3.1).
func (c *call) onBye(f *fork, l *leg, req *stack.Request) {
	_ = req.Tx.Respond(c.s.stack.NewResponse(req, 200, "OK")) // a lost 200 brings the BYE again
	l.ended, l.accept = true, nil
	c.disarm(timerName{"2xx", l.place()})
	if c.pair != nil && f != c.pair || c.pair == nil && l.Side == callee {
		return // an early dialog ends alone; its branch's INVITE still gets a final response
	}
	if c.leaveTransferor(l) {
		return
	}
	if t := c.transfer; t != nil && t.party == l {
		c.abandonTransfer() // the transferor hears why before it is hung up
	}
	if text := reasonText(req.Request); text != "" {
		c.rec.Reason = text
	}
	c.because = reasons(req.Request)
	if !c.carryOn(l) {
		c.step(evBye{l.Side})
	}
}

// forward proxies a request that changes no session across to the other side and its final
// response back: INFO, OPTIONS, MESSAGE, NOTIFY.
func (c *call) forward(f *fork, from *leg, req *stack.Request) {
	to := f.leg(from.Side.Other())
	if to.ended {
		c.s.respond(req, refusal{code: 481})
		return
	}
	out := to.Dialog.Request(req.Method)
	copyHeaders(req.Request, out, throughRequest)
	setBodyVerbatim(out, req.Body())
	c.dirty()
	c.send(to, out, func(res *sip.Response) {
		if res.IsProvisional() {
			return
		}
		back := c.s.stack.NewResponse(req, relayedCode(res.StatusCode), res.Reason)
		copyHeaders(res, back, throughResponse)
		if req.Method == sip.OPTIONS {
			back.AppendHeader(&sip.ContactHeader{Address: c.s.stack.ContactURI(req.Flow, from.User)})
			back.AppendHeader(sip.NewHeader("Allow", allowValue))
		}
		setBodyVerbatim(back, res.Body())
		_ = req.Tx.Respond(back)   // the peer repeats a request whose response is lost
		if res.StatusCode == 481 { // some phones say so to a method they do not know: ask first
			c.suspect(to, nil)
		}
	}, func(err error) {
		c.s.respond(req, refusal{code: transportCode(err)})
		c.suspect(to, err)
	})
}

// transportCode is what a request that got no answer is answered with. RFC 4320 §4.2 forbids
// 408 to a non-INVITE; 480 says the same.
func transportCode(error) int { return 480 }

// gone ends the call when a phone says that it knows nothing of it (RFC 3261 §12.2.1.2).
func (c *call) gone(l *leg, code int) {
	if code != 481 || c.pair == nil || c.m.Phase == phaseEnded || c.pair.leg(l.Side) != l {
		return
	}
	l.ended = true
	c.s.metrics.dead.Inc()
	c.step(evHangup{"system", "the phone of the " + l.Side.String() + " does not know the call any more"})
}

func setBodyVerbatim(msg sip.Message, body []byte) {
	if len(body) == 0 {
		setBody(msg, nil)
		return
	}
	msg.SetBody(body)
}

// reasonText reads the text of a Reason header (RFC 3326) for the record.
func reasonText(req *sip.Request) string {
	h := req.GetHeader("Reason")
	if h == nil {
		return ""
	}
	value := h.Value()
	if len(value) > 200 {
		value = value[:200]
	}
	return strings.ToValidUTF8(value, "")
}
