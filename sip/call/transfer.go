package call

import (
	"log/slog"
	"maps"
	"slices"
	"time"

	"linehall/internal/directory"
	"linehall/internal/observe"
	"linehall/sip/dialplan"
)

// A transfer as the call that is transferred sees it. The attempt is a call of its own, with
// its own routing, admission and record; its origin (connected) is the party that stays. Owners
// talk by messages only:
//
//	this call                                     the next call
//	REFER ──► 202, NOTIFY 100
//	          begins the next call ─────────────► rings
//	          NOTIFY 180 ◄──────────── msgProgress
//	                                              2xx of the target
//	          ◄─────────────────────────── msgTake
//	          msgHanded, with the party ────────► saves itself, re-INVITEs the party
//	          ◄────────────────────────── msgTaken
//	NOTIFY 200, BYE to the transferor, end
//
// Until msgHanded a failure leaves this call as it was. When the transferor hangs up before,
// the party is handed over at once.

// transfer is a REFER that is carried out.
type transfer struct {
	by, party *leg
	number    string
	decision  dialplan.Decision
	from      directory.Terminal // the transferor
	refer     *referral          // nil: nobody wants to hear (RFC 4488)
	next      *call              // the attempt
	named     *replaces          // an attended transfer: the dialog of the transferor that is joined
	reason    string             // of the end of this call; "": transferred
	late      bool               // it asks the target for an offer
	wanted    bool               // the party is to be handed over as soon as the exchange has ended
	handed    bool               // it is; the confirmation is missing
	told      bool               // the transferor knows of its success
}

// Messages between the call that is transferred and the next one.
type (
	msgProgress struct { // of the attempt, for the transferor
		from   *call
		code   int
		reason string
	}
	msgTake   struct{ by *call } // the target has answered: the party is wanted
	msgHanded struct {           // the party; without leg it cannot be had
		from *call
		leg  *leg
	}
	msgTaken struct { // the attempt has the party and is saved; leg is set when it comes back
		by    *call
		leg   *leg
		tried bool // it has answered an offer since
	}
	msgGone struct{ reason string } // the party, or the call that had it, is no more
)

func (msgProgress) isMessage() {}
func (msgTake) isMessage()     {}
func (msgHanded) isMessage()   {}
func (msgTaken) isMessage()    {}
func (msgGone) isMessage()     {}

// handOverTime bounds every answer that one owner waits for from another: they are goroutines
// of one process, and the longest step is a write to the database.
const handOverTime = 10 * time.Second

// farewellTime is how long the BYE to a transferor waits for the answer to the last NOTIFY, so
// that the phone hears of its success first (RFC 5589 §6.1).
const farewellTime = 2 * time.Second

// aim decides the number of a transfer with the transferor's rights.
func (c *call) aim(t *transfer) refusal {
	var known bool
	if t.from, known = c.s.o.Directory.ByExtension(t.by.Extension); !known || t.by.Trunk != "" {
		return refusal{code: 403, warn: 399, text: "Only terminals of this exchange transfer calls"}
	}
	if t.number == "" {
		return refusal{code: 404, text: "no number"}
	}
	who := dialplan.Caller{Extension: t.from.Extension, Class: t.from.Class, Site: t.by.Site}
	t.decision = c.s.o.Plan.Decide(who, t.number, time.Now())
	if r := c.s.tooDear(c.id, t.decision, t.from); r.code != 0 {
		return r
	}
	return c.s.acceptable(t.decision)
}

// tryTransfer makes an attempt of either kind.
func (c *call) tryTransfer(t *transfer) {
	if t.named != nil {
		c.attemptJoin(t)
		return
	}
	c.attemptTransfer(t)
}

func (c *call) beginTransfer(t *transfer) {
	c.transfer = t
	c.log.Info("transfer", slog.String("by", t.by.Extension), slog.String("party", t.party.Extension), slog.String("to", t.decision.Number))
	t.refer.notify(attemptState{code: 100, reason: "Trying"})
	c.tryTransfer(t)
}

// attemptTransfer starts the next call. Whom to ring is looked up beside the owner: a router
// may ask a database.
func (c *call) attemptTransfer(t *transfer) {
	o := &connected{holder: c, by: t.by.Extension, late: t.late, shadow: c.shadow(t.party)}
	n := c.s.connectedCall(o, t.party)
	n.decision = t.decision
	n.ranksLike(c)
	n.rec.Linked, n.rec.TransferredBy = []string{c.id}, t.by.Extension
	c.rec.Linked = appendNew(c.rec.Linked, n.id)
	t.next = n
	ctx, party := c.ctx, t.party.terminal(c.s)
	c.s.work.Go(func() { c.s.seek(ctx, n, party) })
}

// ranksLike gives a call the class and precedence of the one that it goes on with.
func (c *call) ranksLike(o *call) {
	c.class, c.precedence, c.priorities = o.class, o.precedence, o.priorities
	c.rec.Class, c.rec.Precedence = o.rec.Class, o.rec.Precedence
}

func appendNew(list []string, s string) []string {
	if slices.Contains(list, s) {
		return list
	}
	return append(list, s)
}

// onProgress tells the transferor. An attempt that failed ends the transfer; the call goes on.
func (c *call) onProgress(m msgProgress) {
	t := c.transfer
	if t == nil || t.next != m.from || t.handed {
		return
	}
	if m.code < 200 {
		t.refer.notify(attemptState{code: m.code, reason: m.reason})
		return
	}
	if m.code == 488 && !t.late && t.reason == "" && c.talks() {
		// What the party last agreed to need not be all that it can do: let the target say what
		// it wants, and ask the party for that.
		t.late = true
		c.tryTransfer(t)
		return
	}
	c.log.Info("transfer failed", slog.Int(observe.Code, m.code))
	c.transfer = nil
	t.refer.notify(attemptState{code: m.code, reason: m.reason})
	c.dirty()
	if t.by.ended && !t.party.ended { // nobody is left to go back to
		c.step(evBye{t.by.Side})
	}
	c.settle()
}

// onTake hands the party over, now or when the exchange under way has ended.
func (c *call) onTake(m msgTake) {
	t := c.transfer
	if t == nil || t.next != m.by || t.party.ended || !c.talks() {
		m.by.offer(msgHanded{from: c})
		return
	}
	c.giveAway(t)
}

// giveAway hands the party over, or notes that it shall be.
func (c *call) giveAway(t *transfer) {
	if t.handed {
		return
	}
	if c.ex.Busy {
		t.wanted = true
		return
	}
	c.nameBrowser(t.party)
	moved := t.party.move()
	if !t.next.offer(msgHanded{c, moved}) {
		t.party.ended = false
		c.transfer = nil
		t.refer.notify(attemptState{code: 500, reason: phrase(500)})
		t.next.offer(msgGone{"the transfer failed"})
		return
	}
	t.party.successor = t.next
	t.handed, t.wanted = true, false
	c.dirty()
	c.arm(timerName{kind: "handed"}, handOverTime, func() { c.step(evHangup{"system", "the transfer was lost"}) })
}

// refuse gives a party back.
func (m msgHanded) refuse(by *call) {
	if m.leg != nil && !m.from.offer(msgTaken{by: by, leg: m.leg}) {
		by.log.Warn("party lost: both calls have ended")
	}
}

// onTaken ends a call whose party has gone; or takes the party back.
func (c *call) onTaken(m msgTaken) {
	t := c.transfer
	if t == nil || t.next != m.by || !t.handed {
		if m.leg != nil && !m.leg.ended { // the call has ended meanwhile: so must the party's
			c.sendBye(m.leg, "the call has ended")
		}
		return
	}
	if m.leg != nil {
		c.takeBack(t, m)
		return
	}
	c.handedOver(t)
}

// takeBack goes on with a party that was handed over in vain.
func (c *call) takeBack(t *transfer, m msgTaken) {
	c.disarm(timerName{kind: "handed"})
	user := t.party.User
	*t.party = *m.leg // its Moves count both ways: of two stored copies the newest is known
	t.party.successor, t.party.User, t.party.Side = nil, user, t.by.Side.Other()
	c.transfer, c.rejoin = nil, nil
	t.refer.notify(attemptState{code: 480, reason: phrase(480)}) // the target answered and left
	c.s.know(c, t.party.Dialog.ID.CallID, t.party.Dialog.ID.LocalTag)
	c.dirty()
	switch {
	case t.party.ended:
		c.step(evBye{t.party.Side})
	case t.by.ended:
		c.step(evBye{t.by.Side})
	case m.tried:
		c.onRelink(t.party.Side)
	}
}

// talks: the call is answered. That the caller's ACK may still be under way is an exchange like
// any other to wait for.
func (c *call) talks() bool { return c.m.Phase == phaseAccepted || c.m.Phase == phaseUp }

// handedOver tells the transferor of its success and lets it go.
func (c *call) handedOver(t *transfer) {
	c.disarm(timerName{kind: "handed"})
	if c.m.Phase != phaseUp {
		return
	}
	t.told = true
	end := func() { c.step(evHandedOver{t.by.Side, t.reason}) }
	if t.by.ended || t.refer == nil {
		t.refer.notify(attemptState{code: 200, reason: "OK"})
		end()
		return
	}
	c.arm(timerName{kind: "farewell"}, farewellTime, end)
	t.refer.finished = func() {
		c.disarm(timerName{kind: "farewell"})
		end()
	}
	t.refer.notify(attemptState{code: 200, reason: "OK"})
}

// abandonTransfer is the end of the call before that of its transfer.
func (c *call) abandonTransfer() {
	t := c.transfer
	if t == nil {
		return
	}
	c.transfer = nil
	if t.handed {
		return
	}
	t.next.offer(msgGone{"the call has ended"})
	t.refer.notify(attemptState{code: 487, reason: phrase(487)})
}

// leaveTransferor takes the BYE of a transferor that does not wait for the outcome. The party
// goes to the attempt, which has it ring on.
func (c *call) leaveTransferor(l *leg) bool {
	t := c.transfer
	if t == nil || t.by != l {
		return false
	}
	if t.told {
		c.step(evHandedOver{t.by.Side, t.reason})
		return true
	}
	t.refer.close()
	c.giveAway(t)
	return true
}

// move takes a leg out of its call; what is returned belongs to another owner.
func (l *leg) move() *leg {
	moved := *l
	moved.Dialog, moved.Agreed, moved.acks = l.Dialog.Clone(), slices.Clone(l.Agreed), maps.Clone(l.acks)
	moved.accept, moved.asked = nil, false
	moved.Moves++
	l.ended = true
	return &moved
}

// shadow of a party of this call.
func (c *call) shadow(l *leg) *leg {
	c.nameBrowser(l)
	return l.shadow()
}

// shadow is what an attempt may know of a party before it has it: who and where it is, and how
// its session descriptions are numbered.
func (l *leg) shadow() *leg {
	s := &leg{
		Side: caller, Flow: l.Flow, Extension: l.Extension, Display: l.Display, Site: l.Site, User: l.User,
		Trunk: l.Trunk, Gateway: l.Gateway, Asserted: l.Asserted, TrunkSRTP: l.TrunkSRTP, Private: l.Private, RemoteParty: l.RemoteParty, Agreed: slices.Clone(l.Agreed),
		Browser: l.Browser,
	}
	s.Dialog = l.Dialog.Clone()
	s.Dialog.ID, s.Dialog.Confirmed = dialogID{}, false
	return s
}

// terminal is the directory's entry for a leg, or one that only has a number.
func (l *leg) terminal(s *Service) directory.Terminal {
	if t, ok := s.o.Directory.ByExtension(l.Extension); ok && l.Trunk == "" {
		return t
	}
	return directory.Terminal{Extension: l.Extension, DisplayName: l.Display, Site: l.Site}
}
