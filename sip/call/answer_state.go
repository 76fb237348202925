package call

import (
	"bytes"
	"time"

	"github.com/emiago/sipgo/sip"

	"linehall/sip/stack"
)

// savedAnswer is our 2xx that waits for the caller's ACK.
type savedAnswer struct {
	Invite   []byte     `json:"invite"`
	Flow     stack.Flow `json:"flow"`
	Tag      string     `json:"tag"`
	Response []byte     `json:"response"`
	Seq      uint32     `json:"seq"` // of our INVITE to the phone
	Late     bool       `json:"late,omitempty"`
	Settled  bool       `json:"settled,omitempty"`
}

// savedReanswer is our 2xx to a re-INVITE that waits for its ACK, and what both sides agree to with it. A late one has the
// other phone's offer as Answer: the ACK brings the answer, which that phone waits for.
type savedReanswer struct {
	savedAnswer
	From   side   `json:"from"`
	Offer  []byte `json:"offer"`
	Answer []byte `json:"answer"`
}

// saveAnswer is what brings our 2xx back after a crash, until its ACK.
func (o *invited) saveAnswer(c *call, f *fork, out *sip.Response, seq uint32) *savedAnswer {
	return &savedAnswer{
		Invite: plain(o.req.Request), Flow: o.req.Flow, Tag: o.req.Tx.Tag(), Response: []byte(out.String()),
		Seq: seq, Late: c.late, Settled: f.settled(),
	}
}

// repeatStoredAnswer goes on repeating a 2xx that may never have left. The phone that answered has its ACK, or repeats its
// own 2xx and gets one then, see ackForgotten.
func (c *call) repeatStoredAnswer() {
	a := c.answer
	req, err := c.s.stack.ParseRequest(a.Invite)
	var res *sip.Response
	if err == nil {
		res, err = c.s.stack.ParseResponse(a.Response)
	}
	if err != nil || a.Flow.Stream() { // the phone hears of the call from its next request
		c.answer = nil
		return
	}
	o := &invited{req: c.s.stack.ResumeInvite(req, a.Flow, a.Tag)}
	if c.pair.caller.Trunk != "" {
		o.req.Tx.Alter(hideResponse)
	}
	c.repeated = true
	c.late, c.pair.callerDone, c.pair.calleeDone = a.Late, a.Settled, a.Settled
	c.m.Phase = phaseAccepted
	c.ex.admit(caller)
	err = c.accept(c.pair.caller, o.req, res, func(ack *sip.Request) { c.firstAck(ack, a.Seq) }, func() {
		c.step(evHangup{"system", "no ACK"})
	})
	if err != nil {
		c.step(evHangup{"system", "the answer could not be repeated"})
	}
}

// impliedAck: a phone that goes on in its dialog has acknowledged the 2xx that we repeat after a
// restart; its ACK came while nobody was there. One that had to carry an answer is needed.
func (c *call) impliedAck(l *leg) {
	a := l.accept
	if a == nil || !c.repeated || c.reanswer != nil && c.reanswer.Late || c.reanswer == nil && (l.Side != caller || c.late && !c.pair.settled()) {
		return
	}
	l.accept = nil
	c.disarm(timerName{"2xx", l.place()})
	a.acked(nil)
	c.byeWhenAcked(l)
}

// ackForgotten acknowledges a 2xx that was taken before a restart: its ACK was lost with the process.
func (c *call) ackForgotten(tag string, res *sip.Response) bool {
	if b := c.lent; b != nil && b.again && b.leg != nil && b.leg.Dialog.ID.RemoteTag == tag && res.CSeq().SeqNo < c.branches[0].invite.CSeq().SeqNo {
		var body []byte
		if c.late {
			body = rejectAll(description(res))
		}
		c.sendAck(b.leg, res.CSeq().SeqNo, body)
		return true
	}
	if !c.revived || c.pair == nil {
		return false
	}
	for _, l := range []*leg{c.pair.callee, c.pair.caller} {
		if id := l.Dialog.ID; id.RemoteTag != tag || id.CallID != res.CallID().Value() || l.ended {
			continue
		}
		if a := c.reanswer; a != nil && a.Late && l.Side == a.From.Other() && res.CSeq().SeqNo == a.Seq {
			return true // its ACK needs the answer that we wait for
		}
		var body []byte
		if c.link != nil && c.link.Late && l.Side == callee { // it made an offer, and is asked again
			body = rejectAll(description(res))
		}
		c.sendAck(l, res.CSeq().SeqNo, body)
		return true
	}
	return false
}

func (r *reoffer) saveAnswer(out *sip.Response, seq uint32, answer []byte) *savedReanswer {
	return &savedReanswer{
		savedAnswer: savedAnswer{
			Invite: plain(r.req.Request), Flow: r.req.Flow, Tag: r.req.Tx.Tag(), Response: []byte(out.String()), Seq: seq, Late: len(r.offer) == 0,
		},
		From: r.from.Side, Offer: r.offer, Answer: answer,
	}
}

// returns is how long, in terms of Limits.T1, a phone may take to connect again for an offer that it has asked for: part of the
// 64 of them after which the other phone, which made the offer, gives up its call (RFC 3261 §13.3.1.4).
const returns = 40

// repeatReanswer goes on repeating a 2xx to a re-INVITE. The media are those of the new session already, but for a late
// offer, which is made anew. A connection is gone with the process: its phone knows by itself what it has heard, but an offer
// needs its answer, so that one is said again over its next connection.
func (c *call) repeatReanswer() {
	a := c.reanswer
	l, other := c.pair.leg(a.From), c.pair.leg(a.From.Other())
	agree := func(from []byte) {
		c.reanswer = nil
		l.agreed(from)
		other.agreed(a.Answer)
		c.dirty()
		c.publish()
	}
	settle := func() {
		if !a.Late {
			agree(a.Offer)
			return
		}
		c.reanswer = nil
		c.sendAck(other, a.Seq, rejectAll(a.Answer)) // it makes do with the old session
	}
	req, err := c.s.stack.ParseRequest(a.Invite)
	var res *sip.Response
	if err == nil {
		res, err = c.s.stack.ParseResponse(a.Response)
	}
	if err != nil || a.Flow.Stream() && (!a.Late || l.Trunk != "") || c.ex.admit(a.From) != 0 {
		settle()
		return
	}
	if a.Late {
		if body, err := c.passOffer(c.pair, other.Side, a.Answer); err != nil || !bytes.Equal(body, res.Body()) {
			c.pair.branch.path.Rollback()
			settle()
			c.exchangeDone()
			return
		}
	}
	resumed := c.s.stack.ResumeInvite(req, a.Flow, a.Tag)
	if l.Trunk != "" {
		resumed.Tx.Alter(hideResponse)
	}
	c.repeated = true
	done := func(from []byte) {
		c.repeated = false
		agree(from)
		c.exchangeDone()
	}
	acked := func(ack *sip.Request) { // nil: implied
		switch {
		case !a.Late:
			done(a.Offer)
		case c.answerInAck(other, l, ack, a.Seq):
			done(description(ack))
		}
	}
	if a.Flow.Stream() {
		c.awaitAck(l, &acceptance{
			repeat: func() { _ = c.s.stack.Repeat(res, c.flowOf(l)) }, seq: req.CSeq().SeqNo, until: time.Now().Add(returns * c.s.limits.T1), acked: acked,
			lost: func() {
				c.repeated = false
				c.pair.branch.path.Rollback()
				settle()
				c.exchangeDone()
			},
		})
		return
	}
	// A phone that had our 2xx long ago does not acknowledge it again: that is no reason to hang up.
	lost := func() { done(a.Offer) }
	if a.Late { // its answer never came
		lost = func() { c.step(evHangup{"system", "no ACK"}) }
	}
	if err := c.accept(l, resumed, res, acked, lost); err != nil {
		lost()
	}
}
