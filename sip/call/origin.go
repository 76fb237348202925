package call

import (
	"crypto/rand"
	"log/slog"

	"github.com/emiago/sipgo/sip"

	"linehall/internal/observe"
	"linehall/internal/site"
	"linehall/sip/dialog"
	"linehall/sip/stack"
)

// origin is the caller's side of a call until it is answered: whoever wants to reach somebody.
// That is an INVITE that we received (invited), or a party that is on the phone already
// (connected). Its methods are called by the call's owner.
type origin interface {
	// begin is called once, before anybody rings.
	begin(c *call)
	// flow is where the caller is reached.
	flow() stack.Flow
	// offer is the caller's session description; empty when the other side shall make the offer.
	offer() []byte
	// impart gives an INVITE of ours what crosses the call from the caller's request.
	impart(c *call, inv *sip.Request)
	// open is the caller's side of a new fork: a caller that sent an INVITE sees a dialog for
	// each To-tag of a phone (RFC 3261 §12.1, §13.2.2.4).
	open(c *call) (*leg, error)
	// provisional passes a provisional response of a branch on; f is nil without To-tag. It
	// reports whether the caller has it.
	provisional(c *call, b *branchLeg, f *fork, res *sip.Response, body []byte) bool
	// refuse ends a call that nobody answered, in our words; fail in those of the phone's
	// response, with a code that the caller may see.
	refuse(c *call, r refusal)
	fail(c *call, code int, res *sip.Response)
	// answer gives the caller what the phone answered, whose 2xx is res: body is the answer to
	// its offer, or an offer. It ends in call.answered, or in an event for the machine.
	answer(c *call, f *fork, res *sip.Response, body []byte)
	// keep writes the origin into the state of a ringing call; restored is called with that state
	// before the owner starts, resume when it has started, and reports whether the caller is still
	// there.
	keep(r *savedRinging)
	restored(c *call, r *savedRinging)
	resume(c *call, r *savedRinging) bool
}

// invited is the origin of an ordinary call: an INVITE.
type invited struct {
	req *stack.Request
	rel map[string]*reliable // provisional responses that need a PRACK, by our tag
}

func (o *invited) begin(c *call) {
	c.s.know(c, c.rec.CallID, o.req.Tx.Tag())
	c.watchCancel(o.req)
}

func (o *invited) flow() stack.Flow { return o.req.Flow }

func (o *invited) offer() []byte { return description(o.req.Request) }

func (o *invited) impart(_ *call, inv *sip.Request) {
	hops := sip.MaxForwardsHeader(69) // RFC 3261 §8.1.1.6: 70, of which one is ours
	if h := o.req.MaxForwards(); h != nil && h.Val() > 0 {
		hops = sip.MaxForwardsHeader(min(h.Val()-1, 255))
	}
	inv.AppendHeader(&hops)
	copyHeaders(o.req.Request, inv, throughInvite)
}

func (o *invited) open(c *call) (*leg, error) {
	local := o.req.Tx.Tag()
	if len(c.forks) > 0 {
		local = rand.Text()[:16]
		c.s.know(c, c.rec.CallID, local)
	}
	d, err := dialog.Accept(o.req.Request, local)
	if err != nil {
		return nil, err
	}
	if body := o.offer(); len(body) > 0 {
		if _, err := d.Session.Receive(body); err != nil {
			return nil, err
		}
	}
	l := &leg{
		Side: caller, Dialog: d, Flow: o.req.Flow, Extension: c.rec.From, Display: c.fromName,
		Site: site.ID(c.rec.FromSite), User: c.dialled(),
	}
	if in := c.incoming; in != nil {
		l.Trunk, l.Gateway, l.TrunkSRTP = in.Trunk, in.Gateway, in.SRTP
	}
	l.learn(o.req.Request)
	l.Private = c.callerIdentity().Private
	l.agreed(o.offer())
	return l, nil
}

func (o *invited) provisional(c *call, b *branchLeg, f *fork, res *sip.Response, body []byte) bool {
	out := c.s.stack.NewResponse(o.req, res.StatusCode, res.Reason)
	if f != nil {
		setToTag(out, f.caller.Dialog.ID.LocalTag)
	}
	c.decorate(out, b, f)
	setBody(out, body)
	if o.reliably() {
		return o.respondReliably(c, out)
	}
	if err := o.req.Tx.Respond(out); err != nil {
		c.log.Debug("provisional response not sent", slog.Any(observe.Err, err))
		return false
	}
	return true
}

// forwarded says that the call rings somebody else now (RFC 3261 §21.1.3). A caller that wants every
// provisional response acknowledged (RFC 3262 §3) is spared: there may be no dialog yet to do it in.
func (o *invited) forwarded(c *call) {
	if stack.HasToken(o.req.Request, "Require", reliableTag) {
		return
	}
	out := c.s.stack.NewResponse(o.req, 181, "Call Is Being Forwarded")
	out.AppendHeader(&sip.ContactHeader{Address: c.s.stack.ContactURI(o.req.Flow, c.dialled())})
	out.AppendHeader(sip.NewHeader("Allow", allowValue))
	if err := o.req.Tx.Respond(out); err != nil {
		c.log.Debug("provisional response not sent", slog.Any(observe.Err, err))
	}
}

func (o *invited) refuse(c *call, r refusal) { c.s.respond(o.req, r) }

func (o *invited) fail(c *call, code int, res *sip.Response) {
	reason := res.Reason
	if res.StatusCode != code {
		reason = phrase(code)
	}
	out := c.s.stack.NewResponse(o.req, code, reason)
	copyHeaders(res, out, throughResponse)
	if code < 400 { // a phone's own forwarding; the caller decides (RFC 3261 §8.1.3.4)
		copyHeaders(res, out, []string{"Contact"})
	}
	setBody(out, res.Body())
	_ = o.req.Tx.Respond(out) // cancelled meanwhile: the caller has its 487
}

// answer relays the 2xx. The phone's 2xx is acknowledged at once, unless it carries the offer:
// then its answer comes in the caller's ACK.
func (o *invited) answer(c *call, f *fork, res *sip.Response, body []byte) {
	seq := res.CSeq().SeqNo
	out := c.s.stack.NewResponse(o.req, res.StatusCode, res.Reason)
	setToTag(out, f.caller.Dialog.ID.LocalTag)
	c.decorate(out, f.branch, f)
	c.grantTimer(f.caller, o.req.Request, out)
	setBody(out, body)
	f.caller.Dialog.Confirmed = true
	c.answer = o.saveAnswer(c, f, out, seq)
	c.save()
	if !c.late || f.settled() {
		c.sendAck(f.callee, seq, nil)
	}
	err := c.accept(f.caller, o.req, out, func(ack *sip.Request) { c.firstAck(ack, seq) }, func() {
		c.step(evHangup{"system", "no ACK"})
	})
	if err != nil { // cancelled meanwhile
		if c.late && !f.settled() {
			c.sendAck(f.callee, seq, c.answerToRefused(res))
		}
		c.rec.AnsweredAt = nil
		c.step(evCallerGone{"cancelled"})
		return
	}
	c.answered(f)
}

// hangsUp reports whether a BYE comes from a caller who has heard from no phone yet and so
// knows no dialog but the one with our own tag.
func (o *invited) hangsUp(req *stack.Request) bool {
	return req.Method == sip.BYE && req.CallID().Value() == o.req.CallID().Value() &&
		paramTag(req.From().Params) == paramTag(o.req.From().Params) && req.Flow.Remote.Addr() == o.req.Flow.Remote.Addr()
}
