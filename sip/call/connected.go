package call

import (
	"context"
	"log/slog"
	"strconv"
	"time"

	"github.com/emiago/sipgo/sip"

	"linehall/internal/directory"
	"linehall/internal/observe"
	"linehall/media/line"
	"linehall/media/sdp"
	"linehall/sip/cdr"
	"linehall/sip/dialog"
	"linehall/sip/stack"
)

type dialogID = dialog.ID

// emptyDialog is that of a leg which stands for nobody.
func emptyDialog() *dialog.Dialog { return &dialog.Dialog{} }

// connected is the origin of a call whose caller is on the phone already: a party that another
// call hands over when the target answers (transfer), or one that we called ourselves. Its
// dialog is confirmed, so it hears of nothing before the answer; then a re-INVITE brings it
// together with whoever answered.
type connected struct {
	holder *call // the call that has the party; nil: this one
	by     string
	shadow *leg // the party before we have it
	late   bool // the target shall make the offer

	seat    *fork // with the party, once it is ours and before somebody has answered
	waiting func(l *leg, ok bool)
}

// connectedCall is a call with such an origin that nobody owns yet.
func (s *Service) connectedCall(o *connected, party *leg) *call {
	now := time.Now()
	id := newID(now)
	c := &call{
		s: s, id: id, log: s.log.With(observe.CallID, id), class: line.Voice, origin: o,
		done:   make(chan struct{}),
		timers: map[timerName]*timer{}, fromName: party.Display,
	}
	c.late = len(o.offer()) == 0
	c.rec = cdr.Record{
		ID: id, CallID: party.Dialog.ID.CallID, StartedAt: now.UTC(), Class: c.class.String(),
		From: party.Extension, FromSite: string(party.Site),
	}
	return c
}

// seek finds whom to ring for a decided call and starts its owner, or tells its origin why not.
func (s *Service) seek(ctx context.Context, c *call, party directory.Terminal) {
	c.rec.Dialled, c.rec.To = c.decision.Number, c.decision.Number
	c.terminal, c.ctx = party, ctx
	r := refusal{code: 503, text: "shutting down"}
	if !s.draining.Load() {
		r = s.aim(ctx, c)
	}
	if r.code == 0 {
		code := s.admit(c) //nolint:contextcheck // a call lives with the service
		if code == 0 {
			return
		}
		r = refusal{code: code, warn: 399, text: "Too many calls"}
	}
	s.refuseCall(c, r)
}

func (o *connected) begin(*call) {}

func (o *connected) flow() stack.Flow { return o.shadow.Flow }

// offer is what the party last agreed to, taken out of hold: it was on hold towards whoever
// transfers it.
func (o *connected) offer() []byte {
	if o.late {
		return nil
	}
	doc, err := sdp.Parse(o.shadow.Agreed)
	if err != nil || doc.Resume() != nil {
		return nil
	}
	return doc.Marshal()
}

func (o *connected) impart(c *call, inv *sip.Request) {
	hops := sip.MaxForwardsHeader(69)
	inv.AppendHeader(&hops)
	if o.by != "" { // RFC 3892, in our words: the phone's own cannot be checked
		inv.AppendHeader(sip.NewHeader("Referred-By", "<sip:"+o.by+"@"+c.s.stack.Domain()+">"))
	}
}

func (o *connected) open(*call) (*leg, error) {
	l := *o.shadow
	l.Dialog = o.shadow.Dialog.Clone()
	if body := o.offer(); len(body) > 0 {
		if _, err := l.Dialog.Session.Receive(body); err != nil {
			return nil, err
		}
	}
	return &l, nil
}

func (o *connected) provisional(c *call, _ *branchLeg, _ *fork, res *sip.Response, _ []byte) bool {
	o.report(c, res.StatusCode, res.Reason)
	return true
}

func (o *connected) refuse(c *call, r refusal) {
	if r.reason == "" {
		r.reason = phrase(r.code)
	}
	o.over(c, r.code, r.reason)
}

func (o *connected) fail(c *call, code int, res *sip.Response) {
	reason := res.Reason
	if code != res.StatusCode {
		reason = phrase(code)
	}
	o.over(c, code, reason)
}

// over tells the transferor, or ends the party's call when we have it already.
func (o *connected) over(c *call, code int, reason string) {
	if o.seat == nil {
		o.report(c, code, reason)
		return
	}
	if l := o.seat.caller; !l.ended {
		l.ended = true
		bye := l.Dialog.Request(sip.BYE)
		bye.AppendHeader(sip.NewHeader("Reason", "SIP;cause="+strconv.Itoa(code)+`;text="`+display(reason)+`"`))
		bye.SetBody(nil)
		c.send(l, bye, func(*sip.Response) {}, func(error) {})
	}
}

func (o *connected) report(c *call, code int, reason string) {
	if o.holder != nil {
		o.holder.offer(msgProgress{c, code, reason})
	}
}

// answer brings the party together with whoever answered; first it has to be ours.
func (o *connected) answer(c *call, f *fork, res *sip.Response, _ []byte) {
	seq := res.CSeq().SeqNo
	if !c.late {
		c.sendAck(f.callee, seq, nil)
	}
	answer := f.callee.Agreed // of this 2xx, or of a provisional response before it
	lost := func() {
		if c.m.Phase != phaseAnswering {
			return
		}
		if c.late {
			c.sendAck(f.callee, seq, c.answerToRefused(res))
		}
		c.rec.AnsweredAt = nil
		c.step(evCallerGone{"gone"})
	}
	lateOffer := description(res)
	o.waiting = func(l *leg, ok bool) {
		if !ok {
			lost()
			return
		}
		c.disarm(timerName{kind: "take"})
		f.caller = l
		o.seat = nil
		c.link = &savedLink{Late: c.late}
		c.save() // before the call that had the party forgets it
		c.answered(f)
		c.armSession(l)
		if c.m.Phase != phaseAccepted {
			return
		}
		if c.stale {
			c.startAfresh(f)
		}
		if c.late {
			c.linkLate(f, lateOffer, seq, 0)
			return
		}
		if c.stale {
			c.linkAfresh(c.newLink(f))
			return
		}
		body, err := c.passAnswer(f, callee, answer)
		if err != nil {
			c.step(evHangup{"system", "no common media"})
			return
		}
		c.confirmWith(c.newLink(f), caller, body)
	}
	o.fetch(c)
}

// fetch has the party handed over, if we do not have it yet.
func (o *connected) fetch(c *call) {
	if o.seat != nil {
		o.take(o.seat.caller, true)
		return
	}
	if !o.holder.offer(msgTake{c}) {
		o.take(nil, false)
		return
	}
	c.arm(timerName{kind: "take"}, handOverTime, func() { o.take(nil, false) })
}

func (o *connected) take(l *leg, ok bool) {
	if w := o.waiting; w != nil {
		o.waiting = nil
		w(l, ok)
	}
}

// onHanded takes the party, or gives it back when nothing became of the call.
func (c *call) onHanded(m msgHanded) {
	if b := c.lent; b != nil && m.from == b.lender {
		c.onPeer(m)
		return
	}
	o, ok := c.origin.(*connected)
	switch {
	case !ok || o.holder != m.from:
		m.refuse(c)
		return
	case m.leg == nil:
		o.take(nil, false)
		return
	case c.m.Phase != phaseRinging && o.waiting == nil || c.m.Phase == phaseEnded:
		m.refuse(c)
		return
	}
	l, holder := m.leg, o.holder
	l.Side = caller
	c.s.carryOver(holder, c, l)
	o.shadow.Flow = l.Flow
	c.seatParty(l)
	c.log.Info("party taken over", slog.String(observe.Extension, l.Extension))
	o.holder = nil
	o.take(l, true)
	if o.seat != nil { // nobody has answered
		c.saveRinging()
	}
	holder.offer(msgTaken{by: c})
	c.publish()
}

// seated reports whether f is the place of a party that waits for somebody to answer.
func (c *call) seated(f *fork) bool {
	o, ok := c.origin.(*connected)
	return ok && o.seat != nil && o.seat == f
}

// onSeated answers requests of such a party: it is alone in its dialog, and BYE is all that it
// can bring about.
func (c *call) onSeated(req *stack.Request) {
	switch req.Method {
	case sip.OPTIONS:
		res := c.s.stack.NewResponse(req, 200, "OK")
		res.AppendHeader(sip.NewHeader("Allow", allowValue))
		_ = req.Tx.Respond(res) // the peer repeats a request whose response is lost
	case sip.INVITE, sip.UPDATE, sip.REFER:
		c.s.respond(req, refusal{code: 491})
	default:
		c.s.respond(req, refusal{code: 480})
	}
}
