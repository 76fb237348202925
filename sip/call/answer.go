package call

import (
	"errors"
	"iter"
	"log/slog"
	"time"

	"github.com/emiago/sipgo/sip"

	"linehall/internal/observe"
	"linehall/media/sdp"
	"linehall/sip/stack"
)

// The life of a 2xx:
//
//	phone's 2xx → media agreed → state committed → ACK to the phone (unless it made the offer)
//	→ our 2xx to the caller, repeated until its ACK → (phone's offer: its answer in our ACK)

// acceptance is a 2xx of ours that waits for its ACK. The transaction does not repeat it, we
// do (RFC 3261 §13.3.1.4): T1, doubling to T2, for 64*T1, over any transport.
type acceptance struct {
	repeat func()
	seq    uint32
	wait   time.Duration
	until  time.Time
	acked  func(ack *sip.Request)
	lost   func()
}

// In terms of Limits.T1 (RFC 3261 §17.1.1.1, §13.3.1.4): the longest pause between two
// repetitions (T2 is 8*T1 there), and how long to go on.
const (
	longestPause = 8
	ackLimit     = 64
)

// ackedAfter is how long the ACK of our 2xx may wait to be written, together with others for another ackedLag. A crash
// meanwhile has us repeat the 2xx, and its caller repeats the ACK for 64*T1 (RFC 3261 §13.2.2.4).
const (
	ackedAfter = 400 * time.Millisecond
	ackedLag   = 100 * time.Millisecond
)

// takeAnswer makes the call out of the first 2xx.
func (c *call) takeAnswer(a acAnswer) {
	b, res := c.branches[a.Branch], c.current
	f, err := c.forkOf(b, res)
	if err != nil {
		c.log.Warn("answer not usable", slog.Any(observe.Err, err))
		c.step(evAnswerRefused{500})
		return
	}
	c.pair = f
	c.disarmStage()
	c.disarm(timerName{kind: "setup"})
	if f.callee.ended { // its BYE was faster than its 2xx
		c.sendAck(f.callee, res.CSeq().SeqNo, c.answerToRefused(res))
		c.step(evBye{callee})
		return
	}
	if c.mustHold(f) {
		c.waits = &heldAnswer{a, res.Clone()}
		return
	}
	c.noteAnswer(f)
	seq := res.CSeq().SeqNo
	body, err := c.answerBody(f, res)
	if err != nil {
		r := mediaRefusal(err)
		b.refuse = r
		c.log.Info("answer refused", slog.Any(observe.Err, err))
		c.rec.AnsweredAt = nil
		c.sendAck(f.callee, seq, c.answerToRefused(res))
		c.step(evAnswerRefused{r.code})
		return
	}
	c.media.Keep(b.path)
	if !f.calleeDone {
		f.callee.agreed(description(res))
	}
	c.takeTimer(f.callee, res)
	if c.lent != nil {
		c.lent.tried = true
	}
	c.origin.answer(c, f, res, body)
}

// answered is the end of takeAnswer: the caller has been told.
func (c *call) answered(f *fork) {
	c.kept()
	c.disarm(timerName{kind: "ringing"})
	c.signOfLife()
	c.markMedia(false)
	c.step(evAnswerTaken{})
	c.armProbes(c.s.limits.Probe)
	c.log.Info("call answered", slog.String("to", c.rec.To), slog.String(observe.Path, string(f.branch.path.Kind())))
	c.publish()
}

// noteAnswer writes into the record who answered.
func (c *call) noteAnswer(f *fork) {
	now := time.Now().UTC()
	c.rec.AnsweredAt = &now
	c.rec.To, c.rec.ToSite = f.callee.Extension, string(f.callee.Site)
	c.toName = f.callee.Display
	c.s.vacate(c, c.callerExtension(), f.callee.Extension)
}

// answerBody is what the caller gets: the answer to its offer, or the phone's offer. A caller
// that has its answer for good gets none; one that had it in an unreliable response gets it
// again, also when the phone does not repeat it (RFC 3261 §13.2.1).
func (c *call) answerBody(f *fork, res *sip.Response) ([]byte, error) {
	if c.stale { // nobody is left who could take it
		return nil, nil
	}
	body := description(res)
	if len(body) == 0 || f.calleeDone {
		if f.callerDone {
			return nil, nil
		}
		return f.given, nil
	}
	if c.late {
		return c.lateOffer(f, callee, body)
	}
	f.changed = f.callerDone && !sameSession(body, f.callee.Agreed)
	out, err := c.passAnswer(f, callee, body)
	if f.callerDone {
		return nil, err
	}
	return out, err
}

func (c *call) saveAcked() {
	if c.m.Phase == phaseUp {
		c.saveSoon(ackedLag)
	}
}

// firstAck ends the set-up: the caller has our 2xx.
func (c *call) firstAck(ack *sip.Request, seq uint32) {
	c.answer = nil
	late := c.late && !c.pair.settled()
	if late && c.m.Phase == phaseAccepted && c.secondOffer(ack, seq) {
		return
	}
	agreed := !late || c.answerInAck(c.pair.callee, c.pair.caller, ack, seq)
	c.exchangeDone() // a party that is wanted elsewhere goes now, and takes along what its dialog has seen
	if !agreed {
		return
	}
	c.step(evAck{})
	if c.late { // the session is known only now
		c.save()
	} else {
		c.arm(timerName{kind: "save"}, ackedAfter, c.saveAcked)
	}
	c.publish()
	if c.pair.changed { // the caller could only be told after its ACK
		c.pair.changed = false
		c.tellOther(c.pair.callee)
	}
}

// answerInAck forwards the answer to a late offer. Without a usable one there is no session:
// the ACK must be sent, but the call ends (RFC 3261 §13.2.2.4).
func (c *call) answerInAck(to, from *leg, ack *sip.Request, seq uint32) bool {
	body, err := c.passAnswer(c.pair, from.Side, description(ack))
	if err == nil && len(body) > 0 {
		from.agreed(description(ack))
		c.sendAck(to, seq, body)
		return true
	}
	c.log.Warn("no usable answer to the offer", slog.Any(observe.Err, err))
	c.sendAck(to, seq, nil)
	c.step(evHangup{"system", "no usable answer to the offer"})
	return false
}

// accept sends a 2xx to an INVITE and repeats it until the ACK.
func (c *call) accept(l *leg, req *stack.Request, res *sip.Response, acked func(*sip.Request), lost func()) error {
	if err := req.Tx.Respond(res); err != nil && (errors.Is(err, stack.ErrCancelled) || errors.Is(err, stack.ErrAnswered)) {
		return err
	}
	// A 2xx that could not leave is repeated like one that was lost: the phone may be back soon.
	repeat := func() { _ = req.Tx.Respond(res) } // until the ACK comes
	c.awaitAck(l, &acceptance{repeat: repeat, seq: req.CSeq().SeqNo, until: time.Now().Add(ackLimit * c.s.limits.T1), acked: acked, lost: lost})
	return nil
}

// awaitAck repeats a 2xx from now on.
func (c *call) awaitAck(l *leg, a *acceptance) {
	a.wait = c.s.limits.T1
	l.accept = a
	c.arm(timerName{"2xx", l.place()}, a.wait, func() { c.repeatAnswer(l) })
}

func (c *call) repeatAnswer(l *leg) {
	a := l.accept
	if a == nil {
		return
	}
	if time.Now().After(a.until) {
		l.accept = nil
		a.lost()
		c.byeWhenAcked(l)
		return
	}
	a.repeat()
	a.wait = min(2*a.wait, longestPause*c.s.limits.T1)
	c.arm(timerName{"2xx", l.place()}, a.wait, func() { c.repeatAnswer(l) })
}

// onAck takes the ACK of a 2xx; repeated ones find nothing to do.
func (c *call) onAck(l *leg, ack *sip.Request) {
	a := l.accept
	if a == nil || ack.CSeq().SeqNo != a.seq {
		return
	}
	l.accept = nil
	c.disarm(timerName{"2xx", l.place()})
	a.acked(ack)
	c.byeWhenAcked(l)
}

func (c *call) awaitingAck() bool {
	for range c.answering() {
		return true
	}
	return false
}

// answering are the legs whose ACK is missing.
func (c *call) answering() iter.Seq[*leg] {
	return func(yield func(*leg) bool) {
		for l := range c.legs() {
			if l.accept != nil && !yield(l) {
				return
			}
		}
	}
}

// legs are all that the call has, or has had.
func (c *call) legs() iter.Seq[*leg] {
	return func(yield func(*leg) bool) {
		for _, f := range c.forks {
			if !yield(f.caller) || !yield(f.callee) {
				return
			}
		}
		for _, g := range c.guests {
			if !yield(g.leg) {
				return
			}
		}
	}
}

// dropAnswer ends a dialog that a 2xx opened and nobody wants: the lost race of a CANCEL, or
// the slower of two phones (RFC 3261 §16.7 step 10 keeps a proxy from this; we must).
func (c *call) dropAnswer(a acDrop) {
	b, res := c.branches[a.Branch], c.current
	f, err := c.forkOf(b, res)
	if err != nil {
		c.log.Warn("unwanted answer not usable", slog.Any(observe.Err, err))
		return
	}
	seq := res.CSeq().SeqNo
	if c.repeatAck(f.callee, seq) {
		return // dropped before
	}
	c.sendAck(f.callee, seq, c.answerToRefused(res))
	if c.lender != nil { // the peer has been given back: its own call goes on
		c.lender.offer(msgRelink{f.callee.Dialog.ID})
		return
	}
	c.sendBye(f.callee, "answered elsewhere or given up")
}

// answerToRefused is the answer that an ACK must carry when the phone made the offer and the
// call will not be: every medium rejected.
func (c *call) answerToRefused(res *sip.Response) []byte {
	body := description(res)
	if !c.late || len(body) == 0 {
		return nil
	}
	return rejectAll(body)
}

func rejectAll(offer []byte) []byte {
	doc, err := sdp.Parse(offer)
	if err != nil {
		return nil
	}
	for _, m := range doc.Media() {
		m.Reject()
	}
	return doc.Marshal()
}

// passOffer takes an offer from one side through the media plane to the other side's dialog.
func (c *call) passOffer(f *fork, from side, body []byte) ([]byte, error) {
	return c.pass(f, from, body, c.guardOffer, f.branch.path.Offer)
}

// passAnswer does the same with an answer.
func (c *call) passAnswer(f *fork, from side, body []byte) ([]byte, error) {
	return c.pass(f, from, body, c.guardAnswer, f.branch.path.Answer)
}

func (c *call) pass(f *fork, from side, body []byte, guard func(*fork, side, []byte) error, media func(side, []byte) ([]byte, error)) ([]byte, error) {
	if len(body) == 0 {
		return nil, nil
	}
	if err := guard(f, from, body); err != nil {
		return nil, err
	}
	here, there := f.leg(from), f.leg(from.Other())
	in, err := here.Dialog.Session.Receive(body)
	if err != nil {
		return nil, err
	}
	out, err := media(from, in)
	if err != nil {
		return nil, err
	}
	return there.Dialog.Session.Send(out, c.localAddr(there.Flow))
}
