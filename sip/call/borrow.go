package call

import (
	"log/slog"
	"strings"

	"github.com/emiago/sipgo/sip"

	"linehall/internal/directory"
	"linehall/internal/observe"
	"linehall/internal/site"
	"linehall/sip/cdr"
	"linehall/sip/dialog"
	"linehall/sip/dialplan"
	"linehall/sip/location"
	"linehall/sip/route"
	"linehall/sip/stack"
)

// Replaces (RFC 3891): a dialog of an established call is replaced by another party, and its
// peer stays on the phone. That is a call of its own as well, from whoever comes in to the peer:
//
//	a third phone's INVITE with Replaces       origin: the INVITE
//	REFER to ...?Replaces= (attended transfer) origin: the party of the REFER (connected)
//
// The peer is its only target, rung by a re-INVITE, and only borrowed until the new call stands:
// whatever fails before gives it back to its call, the lender.

// borrowed is the peer while it belongs to both calls.
type borrowed struct {
	lender *call
	leg    *leg // nil before it was handed over
	tried  bool // it has answered an offer of ours: its session is not what it was
	again  bool // it was lent before a restart already: what it was asked then may be open still
	glares int  // how often it refused for that
}

// Messages to the owner of a call that a Replaces names.
type (
	msgJoin struct { // REFER with Replaces in another call
		holder *call
		by     string
		named  replaces
		shadow *leg // the party that shall come in
		party  *leg // who it is, for the record
		late   bool
	}
	msgNext    struct{ from, next *call } // to the call of the REFER: who carries it out
	msgReplace struct {                   // INVITE with Replaces
		next  *call // of the INVITE; nobody owns it yet
		req   *stack.Request
		from  directory.Terminal
		named replaces
	}
	msgRelink struct{ id dialogID } // the peer answered after it was given back
)

func (msgJoin) isMessage()    {}
func (msgNext) isMessage()    {}
func (msgReplace) isMessage() {}
func (msgRelink) isMessage()  {}

// referToDialog begins an attended transfer: the transferor names another dialog of its own.
func (c *call) referToDialog(t *transfer, named replaces) refusal {
	target, named := c.s.named(named)
	if target == nil || target == c {
		return refusal{code: 404, warn: 399, text: "The call to be joined does not exist"}
	}
	t.next, t.named = target, &named
	return refusal{}
}

// attemptJoin asks the owner of the other call.
func (c *call) attemptJoin(t *transfer) {
	target, named := c.s.named(*t.named)
	if target == nil || !target.offer(msgJoin{holder: c, by: t.by.Extension, named: named, shadow: c.shadow(t.party), party: t.party.id(), late: t.late}) {
		c.onProgress(msgProgress{t.next, 481, phrase(481)})
		return
	}
	t.next = target
}

// id is a copy of a leg that names it, for other owners.
func (l *leg) id() *leg {
	return &leg{Dialog: &dialog.Dialog{ID: l.Dialog.ID}, Flow: l.Flow, Extension: l.Extension, Display: l.Display, Site: l.Site}
}

// onNext notes which call carries the transfer out.
func (c *call) onNext(m msgNext) {
	if t := c.transfer; t != nil && t.next == m.from && !t.handed {
		t.next = m.next
		c.rec.Linked = appendNew(c.rec.Linked, m.next.id)
		c.dirty()
		return
	}
	m.next.offer(msgGone{"the call has ended"})
}

// onJoin takes the request of an attended transfer. What may come in is decided by who asks: the
// transferor must be the party of the dialog that it names.
func (c *call) onJoin(m msgJoin) {
	f, near := c.legNamed(m.named)
	code := 0
	switch {
	case near == nil || near.ended || c.m.Phase == phaseEnded:
		code = 481
	case near.Extension != m.by:
		code = 403
	case c.transfer != nil:
		code = 491
	}
	if code != 0 {
		m.holder.offer(msgProgress{c, code, phrase(code)})
		return
	}
	o := &connected{holder: m.holder, by: m.by, late: m.late, shadow: m.shadow}
	switch {
	case c.talks() && f == c.pair:
		n := c.s.connectedCall(o, m.party)
		n.rec.Linked, n.rec.TransferredBy = []string{m.holder.id, c.id}, m.by
		m.holder.offer(msgNext{c, n})
		if code := c.lend(n, f, near, "transferred"); code != 0 {
			m.holder.offer(msgProgress{n, code, phrase(code)})
		}
	case c.m.Phase == phaseRinging && near.Side == caller && c.adopt(o, m):
		m.holder.offer(msgNext{c, c})
	default:
		m.holder.offer(msgProgress{c, 491, phrase(491)})
	}
}

// lend starts a call to the peer of a leg, which that call will fetch from us.
func (c *call) lend(n *call, f *fork, near *leg, reason string) (code int) {
	far := f.leg(near.Side.Other())
	c.transfer = &transfer{by: near, party: far, next: n, reason: reason}
	c.rec.Linked = appendNew(c.rec.Linked, n.id)
	c.dirty()
	n.lent = &borrowed{lender: c, tried: c.rejoin != nil, again: c.rejoin != nil}
	n.ranksLike(c)
	n.decision = dialplan.Decision{Kind: dialplan.Extension, Number: far.Extension, Targets: []string{far.Extension}}
	n.rec.Dialled, n.rec.To, n.rec.ToSite, n.toName = far.Extension, far.Extension, string(far.Site), far.Display
	if far.Trunk == "" {
		c.s.occupy(n, far.Extension, 0)
	}
	if code = c.s.admit(n); code != 0 {
		c.transfer = nil
		c.settle()
	}
	return code
}

// adopt changes the origin of a call that rings (semi-attended transfer): it rings on, and who
// answers will talk to the party that comes in. The transferor's INVITE is over.
func (c *call) adopt(o *connected, m msgJoin) bool {
	old, ok := c.origin.(*invited)
	if !ok {
		return false
	}
	c.origin, c.stale = o, true
	for name := range c.timers {
		if strings.HasPrefix(name.kind, "1xx ") { // provisional responses that wait for a PRACK
			delete(c.timers, name)
		}
	}
	old.refuse(c, refusal{code: 487})
	for _, f := range c.forks {
		if l, err := o.open(c); err == nil {
			f.caller = l
		}
	}
	was := c.rec.From
	c.rec.From, c.rec.FromSite, c.fromName = m.party.Extension, string(m.party.Site), m.party.Display
	c.rec.Linked, c.rec.TransferredBy = appendNew(c.rec.Linked, m.holder.id), m.by
	c.s.exchangeParty(c, was, c.rec.From)
	if len(c.forks) > 0 {
		o.report(c, 180, "Ringing")
	}
	c.log.Info("caller replaced while ringing", slog.String("from", c.rec.From))
	c.saveRinging() // its INVITE has its answer: it must not come back
	c.publish()
	return true
}

// exchangeParty counts a call for another extension than before.
func (s *Service) exchangeParty(c *call, was, is string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for i, p := range c.parties {
		if p == was {
			if s.busy[was]--; s.busy[was] <= 0 {
				delete(s.busy, was)
			}
			c.parties[i] = is
			s.busy[is]++
			return
		}
	}
}

// fetchPeer begins a call whose target is on the phone in another call.
func (c *call) fetchPeer() {
	stage := &route.Stage{Extensions: []string{c.rec.To}}
	c.m = &machine{Winner: -1, Stage: stage, Stages: 1, Branches: []branch{{Group: c.rec.To, Stage: 1}}}
	c.s.o.Records.Begin(c.rec)
	c.ex.admit(caller)
	c.openMedia()
	c.origin.begin(c)
	c.branches = []*branchLeg{{of: &begun{stage: stage}, forks: map[string]*fork{}, target: target{terminal: directory.Terminal{Extension: c.rec.To}}}}
	c.rec.Legs = []cdr.Leg{{Extension: c.rec.To}}
	c.arm(timerName{kind: "ring"}, handOverTime, func() { c.peerFailed(refusal{code: 480}) })
	c.publish()
	if !c.lent.lender.offer(msgTake{c}) {
		c.peerFailed(refusal{code: 481})
	}
}

// behindTrunk: the caller is, in this call or in the one that it comes from.
func (c *call) behindTrunk() bool {
	o, ok := c.origin.(*connected)
	return c.incoming != nil || ok && o.shadow.Trunk != ""
}

// comesFromOutside: the caller is behind a trunk, and the trunk in another network.
func (c *call) comesFromOutside(flow stack.Flow) bool { return c.behindTrunk() && c.s.foreign(flow) }

func (c *call) openMedia() {
	flow := c.origin.flow()
	c.media = c.s.o.Anchor.Open(c.holder(), partyAt(site.ID(c.rec.FromSite), flow, c.comesFromOutside(flow)))
	if o, ok := c.origin.(*connected); ok {
		c.media.Adopt(o.shadow.Browser)
	}
}

func (c *call) peerFailed(r refusal) {
	b := c.branches[0]
	b.refuse = r
	c.branchFailed(b, r.code)
}

// offerToPeer sends the peer the origin's offer.
func (c *call) offerToPeer(l *leg) {
	b := c.branches[0]
	c.lent.leg = l
	l.Side, l.User = callee, c.rec.From
	b.target = target{terminal: l.terminal(c.s), binding: location.Binding{Contact: l.Dialog.Target, Flow: l.Flow}}
	b.site = l.Site
	c.rec.Legs[0].Contact = l.Dialog.Target
	b.path = c.media.Branch(l.Extension+" "+l.Dialog.Target, l.party())
	_, _ = c.leadRecorded(b.path, l) // nothing has to end here for a party of another call
	b.path.Adopt(l.Browser)
	near, err := c.origin.open(c)
	if err != nil {
		c.peerFailed(refusal{code: 500})
		return
	}
	f := &fork{branch: b, tag: l.Dialog.ID.RemoteTag, caller: near, callee: l}
	b.forks[f.tag] = f
	c.forks = append(c.forks, f)
	c.s.know(c, l.Dialog.ID.CallID, l.Dialog.ID.LocalTag)
	var body []byte
	if !c.late {
		c.fit(f, caller, c.origin.offer())
		if body, err = c.passOffer(f, caller, c.origin.offer()); err != nil {
			c.peerFailed(mediaRefusal(err))
			return
		}
	}
	c.disarm(timerName{kind: "ring"})
	c.arm(timerName{kind: "setup"}, c.s.limits.Ring, func() { c.step(evRingTimeout{}) })
	c.invitePeer(f, body)
}

func (c *call) invitePeer(f *fork, body []byte) {
	b, l := f.branch, f.callee
	req := l.Dialog.Request(sip.INVITE)
	req.AppendHeader(sip.NewHeader("User-Agent", agent))
	c.decorateRequest(l, f.caller, req)
	setBody(req, body)
	b.invite = req
	b.out = c.send(l, req, func(res *sip.Response) {
		l.learn(res)
		if !c.peerGlares(f, res, body) {
			c.onBranch(b, res)
		}
	}, func(err error) { c.onBranchEnd(b, err) })
}

// peerGlares asks a peer again that refuses because of what it was asked before a restart: its answer to that comes again
// until it has its ACK (RFC 3261 §14.1, §14.2).
func (c *call) peerGlares(f *fork, res *sip.Response, body []byte) bool {
	l := c.lent
	if l == nil || !l.again || l.glares >= glareTries || c.m.Phase != phaseRinging {
		return false
	}
	delay := glareDelay(f.callee)
	switch {
	case res.StatusCode == 491:
	case res.StatusCode == 500 && len(res.GetHeaders("Retry-After")) > 0:
		delay = retryAfter(res)
	default:
		return false
	}
	l.glares++
	c.arm(timerName{"glare", int(callee)}, delay, func() {
		if c.m.Phase == phaseRinging && c.lent == l && !f.callee.ended {
			c.invitePeer(f, body)
		}
	})
	return true
}

// kept ends the loan: the new call stands.
func (c *call) kept() {
	if b := c.lent; b != nil {
		c.lent = nil
		b.lender.offer(msgTaken{by: c})
	}
}

// giveBack returns the peer of a call that came to nothing.
func (c *call) giveBack() {
	b := c.lent
	if b == nil {
		return
	}
	c.lent = nil
	if b.leg == nil {
		b.lender.offer(msgProgress{c, 480, phrase(480)})
		return
	}
	gone := b.leg.ended
	back := b.leg.move()
	back.ended = gone
	c.s.carryOver(c, b.lender, back)
	if !b.lender.offer(msgTaken{by: c, leg: back, tried: b.tried}) && !gone {
		b.leg.ended = false
		c.sendBye(b.leg, "the call has ended")
	}
	c.lender = b.lender
}

// onRelink brings the parties of a call together again after one of them answered somebody else.
func (c *call) onRelink(side side) {
	if !c.talks() || c.pair == nil || c.transfer != nil || c.ex.admit(side.Other()) != 0 {
		return
	}
	c.offerAgain(c.pair.leg(side), true, func(res *sip.Response, err error) {
		if err != nil || !res.IsSuccess() {
			c.log.Warn("session not restored", slog.Any(observe.Err, err))
		}
	})
}

// onPeer takes the peer of another call, or hears that it cannot be had.
func (c *call) onPeer(m msgHanded) {
	switch {
	case m.leg == nil:
		c.lent = nil
		c.peerFailed(refusal{code: 480})
	case c.m.Phase != phaseRinging:
		c.lent = nil
		m.refuse(c)
	default:
		c.s.carryOver(m.from, c, m.leg)
		c.offerToPeer(m.leg)
	}
}

// relink serves a peer's late answer to a call that gave it back.
func (c *call) relink(m msgRelink) {
	if c.pair == nil {
		return
	}
	for _, l := range []*leg{c.pair.caller, c.pair.callee} {
		if l.Dialog.ID == m.id {
			c.onRelink(l.Side)
		}
	}
}

// startAfresh gives a call that was adopted a media path between those who will talk.
func (c *call) startAfresh(f *fork) {
	before, browser := c.media, f.branch.path.Browser(callee)
	c.openMedia()
	f.branch.path = c.media.Branch(f.branch.path.Key(), f.callee.party())
	_, _ = c.leadRecorded(f.branch.path, f.callee) // as above
	f.branch.path.Adopt(browser)
	c.media.Keep(f.branch.path)
	before.Close()
}

// linkAfresh offers who answered what the party last agreed to, or asks the party.
func (c *call) linkAfresh(k *link) {
	o, ok := c.origin.(*connected)
	if !ok {
		return
	}
	c.fit(k.f, caller, o.offer())
	body, err := c.passOffer(k.f, caller, o.offer())
	if err != nil || len(body) == 0 {
		c.askFirst(k, caller)
		return
	}
	c.present(k, callee, body)
}
