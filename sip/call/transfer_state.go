package call

import (
	"time"

	"linehall/sip/dialplan"
)

// A transfer across a restart. The call that is transferred and the next one are stored each for
// itself, so a crash may leave them at different moments:
//
//	the party is stored with both       the one that it came to last has it (leg.Moves), and the
//	                                    other one ends as it would have
//	the next call was not stored        the transfer has failed, the transferor is told so
//	the call of the transferor was not  the next call ends, if it does not have the party yet
//	the next call of an attended one    it is begun anew: whoever is asked to talk to somebody else may have
//	was not stored                      agreed to that already, or not heard of it
//
// What the next call has not brought together, it brings together again.

// savedTransfer is a REFER that is carried out.
type savedTransfer struct {
	By       side              `json:"by"`
	Number   string            `json:"number,omitempty"`
	Decision dialplan.Decision `json:"decision"`
	Refer    *savedReferral    `json:"refer,omitempty"`
	Next     string            `json:"next"`
	Named    *replaces         `json:"named,omitempty"`
	Reason   string            `json:"reason,omitempty"`
	Late     bool              `json:"late,omitempty"`
	Handed   bool              `json:"handed,omitempty"`
	Left     bool              `json:"left,omitempty"` // the transferor has hung up
}

type savedReferral struct {
	Event  string    `json:"event"`
	ID     string    `json:"id,omitempty"`
	Until  time.Time `json:"until"`
	Code   int       `json:"code"`
	Reason string    `json:"reason"`
	Over   bool      `json:"over,omitempty"`
}

// savedLink says that the parties have not been brought together yet.
type savedLink struct {
	Late bool `json:"late,omitempty"` // the offer in the callee's 2xx has no answer
}

func (t *transfer) saved() *savedTransfer {
	if t == nil {
		return nil
	}
	s := &savedTransfer{
		By: t.by.Side, Number: t.number, Decision: t.decision, Named: t.named, Reason: t.reason, Late: t.late, Handed: t.handed, Left: t.by.ended,
	}
	if t.next != nil {
		s.Next = t.next.id
	}
	if r := t.refer; r != nil {
		s.Refer = &savedReferral{Event: r.event, ID: r.id, Until: r.until, Code: r.last.code, Reason: r.last.reason, Over: r.over}
	}
	return s
}

// restored is the transfer without its next call, which reunite finds.
func (s *savedTransfer) restored(c *call) *transfer {
	if s == nil {
		return nil
	}
	t := &transfer{
		by: c.pair.leg(s.By), party: c.pair.leg(s.By.Other()), number: s.Number, decision: s.Decision, named: s.Named, reason: s.Reason, late: s.Late,
	}
	t.by.ended = s.Left
	if r := s.Refer; r != nil {
		t.refer = &referral{c: c, leg: t.by, event: r.Event, id: r.ID, until: r.Until, last: attemptState{r.Code, r.Reason}, over: r.Over}
	}
	if s.Handed {
		t.party.leap()
	}
	return t
}

// leaps is more than what a call sends to a party that it gives back.
const leaps = 64

// leap goes on behind what another call may have sent in the leg's dialog: numbers may be left
// out, but not be used again (RFC 3261 §12.2.1.1, RFC 3264 §8).
func (l *leg) leap() {
	l.Dialog.LocalSeq += leaps
	l.Dialog.Session.Version += leaps
}

// reunite joins calls that knew each other before the restart; nobody owns them yet.
func reunite(back []revived) {
	calls := map[string]revived{}
	for _, r := range back {
		calls[r.call.id] = r
	}
	for _, r := range back {
		t, next := r.state.Transfer, revived{}
		if t != nil {
			next = calls[t.Next]
		}
		if next.call == nil {
			continue
		}
		o, ok := next.call.origin.(*connected)
		if ring := next.state.Ringing; ok && ring != nil && ring.Connected.Holder == r.call.id {
			o.holder, r.call.transfer.next = r.call, next.call
		}
	}
	for _, r := range back {
		if lender := r.lender(calls); lender != nil {
			lender.rejoin, lender.transfer = lender.transfer, nil
		}
	}
	type place struct {
		of *call
		l  *leg
	}
	has := map[dialogID]place{}
	for _, r := range back {
		for _, l := range r.call.settledLegs() {
			now := place{r.call, l}
			was, twice := has[l.Dialog.ID]
			if twice {
				if was.l.Moves > l.Moves {
					was, now = now, was
				}
				was.l.ended, was.l.successor = true, now.of
				now.of.s.know(now.of, l.Dialog.ID.CallID, l.Dialog.ID.LocalTag)
			}
			has[l.Dialog.ID] = now
		}
	}
}

// lender is the other call of an attended transfer, if that was about to be carried out and can be again.
func (r revived) lender(calls map[string]revived) *call {
	t := r.state.Transfer
	if t == nil || t.Named == nil || calls[t.Next].call != nil && calls[t.Next].state.Transfer == nil {
		return nil
	}
	for id, other := range calls {
		if o := other.state.Transfer; o != nil && o.Named == nil && o.Reason != "" && !o.Left && (o.Next == t.Next || id == t.Next) && calls[o.Next].call == nil {
			return other.call
		}
	}
	return nil
}

// settledLegs are the parties that a call of before the restart has.
func (c *call) settledLegs() []*leg {
	if c.pair != nil {
		return []*leg{c.pair.caller, c.pair.callee}
	}
	if o, ok := c.origin.(*connected); ok && o.seat != nil {
		return []*leg{o.seat.caller}
	}
	return nil
}

// goOn carries on with what a restart has interrupted in an established call.
func (c *call) goOn() {
	for _, l := range c.settledLegs() {
		if l.successor != nil {
			c.handedBefore(l)
			return
		}
	}
	switch t := c.transfer; {
	case c.rejoin != nil:
		c.arm(timerName{kind: "rejoin"}, handOverTime, c.settle)
	case t != nil && t.next == nil && t.named != nil:
		c.log.Info("attended transfer begun anew after the restart")
		c.attemptJoin(t)
	case t != nil && t.next == nil:
		c.transferLost(t)
	case t != nil && t.by.ended: // the party waits for whom the other call rings
		c.giveAway(t)
	case c.link != nil:
		c.linkAfresh(c.newLink(c.pair))
	}
}

// handedBefore ends a call whose party was stored with another one.
func (c *call) handedBefore(l *leg) {
	if t := c.transfer; t != nil && t.party == l {
		t.next, t.handed = l.successor, true
		c.handedOver(t)
		return
	}
	c.step(evHandedOver{l.Side.Other(), ""})
}

// settle gives the peer that was lent when the process died its session with the other party back: the transfer that was
// begun anew, or was to be, came to nothing.
func (c *call) settle() {
	if t := c.rejoin; t != nil && c.transfer == nil {
		c.rejoin = nil
		c.onRelink(t.party.Side)
	}
}

// transferLost tells a transferor that its attempt did not survive; the call goes on. A peer that
// was lent may have answered somebody else meanwhile.
func (c *call) transferLost(t *transfer) {
	c.log.Info("transfer lost by the restart")
	c.transfer = nil
	t.refer.notify(attemptState{code: 503, reason: phrase(503)})
	c.dirty()
	switch {
	case t.by.ended:
		c.step(evBye{t.by.Side})
	case t.reason != "":
		c.onRelink(t.party.Side)
	}
}
