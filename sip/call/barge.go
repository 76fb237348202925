package call

import (
	"slices"
	"time"

	"github.com/emiago/sipgo/sip"

	"linehall/internal/directory"
	"linehall/sip/cdr"
	"linehall/sip/dialog"
	"linehall/sip/dialplan"
	"linehall/sip/stack"
)

// Somebody joins a call that is going on: by INVITE with Join (RFC 3911), as a lamp's key sends it, or by a feature code
// (barge, listen, whisper). The INVITE becomes a guest of that call (guest.go): a leg of ours with the one who joined, owned
// by the call, with a record of its own. The two go on as they were; their sound is led through a mixer (media/bridge) as
// long as there is a guest.
//
//	INVITE ─► permitted? (number plan) ─► mixable? ─► room on the line? ─► 200, guest
//	          403                         488          488, Warning 370
//
// Of a dialog that does not exist Join is answered with 481, of one that has ended with 603. An early dialog cannot be
// joined: §4 leaves it as it is, and the answer is 488.

// joinTag is the option tag of RFC 3911 §7.2.
const joinTag = "join"

// mostGuests bounds who joins one call: they all talk at once.
const mostGuests = 4

// Barging says who may join whose calls (sip/dialplan).
type Barging interface {
	Barge(from dialplan.Caller, into, other string, mode dialplan.Barge) dialplan.Joining
	// Joinable reports whether somebody may join calls of an extension, which have to pass us then.
	Joinable(extension string) bool
}

// msgBarge is an INVITE that joins this call.
type msgBarge struct {
	next  *call // of the INVITE; nobody owns it
	req   *stack.Request
	from  directory.Terminal
	mode  dialplan.Barge
	named *replaces // the dialog that is joined; nil: that of
	into  string    // this extension
}

func (msgBarge) isMessage() {}

// gone is the answer when the call has ended meanwhile.
func (m msgBarge) gone() refusal {
	if m.named != nil {
		return refusal{code: 603, text: "the dialog has ended"}
	}
	return refusal{code: 480, warn: 399, text: "The call has ended"}
}

// serveJoin takes an INVITE with Join.
func (s *Service) serveJoin(c *call, req *stack.Request, from directory.Terminal, headers []sip.Header) {
	c.rec.Dialled, c.rec.To = unescape(req.Recipient.User), unescape(req.Recipient.User)
	r := s.startable(req)
	named, err := parseReplaces(headers[0].Value()) // the same form (RFC 3911 §7.1)
	if r.code == 0 && (err != nil || len(headers) > 1) {
		r = refusal{code: 400, reason: "Bad Request", warn: 399, text: "one Join that can be read"} // §4
	}
	if r.code != 0 {
		s.refuseCall(c, r)
		return
	}
	target, named := s.named(named)
	switch {
	case target == nil:
		s.refuseCall(c, refusal{code: 481})
	case !target.offer(msgBarge{next: c, req: req, from: from, mode: dialplan.Full, named: &named}):
		s.refuseCall(c, refusal{code: 500, text: "the call is busy"})
	}
}

// serveBarge takes a feature code that joins; the number plan has permitted it.
func (s *Service) serveBarge(c *call, req *stack.Request, from directory.Terminal, mode dialplan.Barge) {
	into := c.decision.Argument
	target, r := s.talking(into), refusal{}
	switch {
	case into == "":
		r = refusal{code: 484, reason: "Address Incomplete", warn: 399, text: "Dial the extension behind the code"}
	case target == nil:
		r = refusal{code: 480, warn: 399, text: "There is no call to join"}
	case !target.offer(msgBarge{next: c, req: req, from: from, mode: mode, into: into}):
		r = refusal{code: 500, text: "the call is busy"}
	}
	if r.code != 0 {
		s.refuseCall(c, r)
	}
}

// talking is the call of an extension that is not on hold, or the newest one.
func (s *Service) talking(extension string) *call {
	s.mu.Lock()
	defer s.mu.Unlock()
	var best *call
	held := false
	for _, c := range s.calls {
		p := c.public.Load()
		if p == nil || p.info.AnsweredAt.IsZero() || p.info.State == StateEnded || p.info.From.Extension != extension && p.info.To.Extension != extension {
			continue
		}
		if h := p.info.State == StateHeld; best == nil || held && !h || held == h && c.id > best.id {
			best, held = c, h
		}
	}
	return best
}

// onBarge takes such an INVITE.
func (c *call) onBarge(m msgBarge) {
	near, r := c.bargedInto(m)
	var silent bool
	if r.code == 0 {
		silent, r = c.mayJoin(m, near)
	}
	if r.code == 0 {
		r = c.unmixable()
	}
	if r.code == 0 {
		r = c.admitGuest(m, near, silent)
	}
	if r.code != 0 {
		c.s.refuseCall(m.next, r)
	}
}

// bargedInto is the leg whose call is joined.
func (c *call) bargedInto(m msgBarge) (near *leg, r refusal) {
	c.forgetGone()
	var f *fork
	if m.named != nil {
		f, near = c.legNamed(*m.named)
	} else if f = c.pair; f != nil {
		for _, l := range []*leg{f.caller, f.callee} {
			if l.Extension == m.into && l.Trunk == "" {
				near = l
			}
		}
	}
	switch {
	case near == nil && m.named != nil:
		return nil, refusal{code: 481}
	case near == nil:
		return nil, m.gone()
	case near.ended || c.m.Phase == phaseEnded:
		return nil, m.gone()
	case c.pair != f || !c.talks():
		return nil, refusal{code: 488, warn: 399, text: "The call is not answered yet"} // RFC 3911 §4
	case c.transfer != nil || c.link != nil || c.pair.caller.ended || c.pair.callee.ended:
		return nil, refusal{code: 491, text: "the parties of the call are changing"}
	case len(c.guests) >= mostGuests:
		return nil, refusal{code: 486, text: "as many have joined as can"}
	}
	return near, refusal{}
}

// mayJoin asks the number plan. Who names a leg may have meant the extension at the other end: phones write a dialog from
// either view.
func (c *call) mayJoin(m msgBarge, near *leg) (silent bool, r refusal) {
	far := c.pair.leg(near.Side.Other())
	j := dialplan.Joining{Why: "nobody may join calls here"}
	if c.s.o.Barging != nil {
		who := dialplan.Caller{Extension: m.from.Extension, Class: m.from.Class, Site: c.s.siteOf(m.req.Flow, m.from.Site)}
		for _, pair := range [][2]*leg{{near, far}, {far, near}} {
			if into := ownNumber(pair[0]); into != "" && !j.Allowed {
				j = c.s.o.Barging.Barge(who, into, ownNumber(pair[1]), m.mode)
			}
			if m.named == nil {
				break
			}
		}
	}
	if !j.Allowed {
		return false, refusal{code: 403, warn: 399, text: "You may not join this call: " + j.Why}
	}
	return j.Silent, refusal{}
}

// ownNumber is the extension of a leg, "" behind a trunk.
func ownNumber(l *leg) string {
	if l.Trunk != "" {
		return ""
	}
	return l.Extension
}

// joinable reports whether the call has to pass us because somebody may join it.
func (c *call) joinable(to *leg) bool {
	b := c.s.o.Barging
	if b == nil {
		return false
	}
	from := c.rec.From
	if c.incoming != nil {
		from = ""
	}
	return from != "" && b.Joinable(from) || to.Trunk == "" && b.Joinable(to.Extension)
}

// admitGuest answers the INVITE and lets its sender take part.
func (c *call) admitGuest(m msgBarge, near *leg, silent bool) refusal {
	d, err := dialog.Accept(m.req.Request, m.req.Tx.Tag())
	if err != nil {
		return refusal{code: 400, reason: "Bad Contact", text: "no dialog possible"}
	}
	l := &leg{
		Side: caller, Dialog: d, Flow: m.req.Flow, Extension: m.from.Extension, Display: m.from.DisplayName,
		Site: c.s.siteOf(m.req.Flow, m.from.Site), User: near.Extension, guest: c.freePlace(),
	}
	l.learn(m.req.Request)
	g := &guest{c: c, leg: l, near: near.Side, mode: m.mode, silent: silent, rec: m.next.rec}
	body, err := g.openMedia(description(m.req.Request))
	if err != nil {
		g.closeMedia()
		return g.mediaRefusal(err)
	}
	if err := c.startMixing(g); err != nil {
		g.closeMedia()
		c.straightenUnlessJoined()
		return refusal{code: 488, warn: 399, text: err.Error()}
	}
	if !c.s.occupy(c, l.Extension, 0) {
		g.closeMedia()
		c.straightenUnlessJoined()
		return refusal{code: 403, warn: 399, text: "Too many calls"}
	}
	return c.welcome(g, m, near, body)
}

// welcome sends the 2xx; its state is stored before.
func (c *call) welcome(g *guest, m msgBarge, near *leg, body []byte) refusal {
	l, now := g.leg, time.Now().UTC()
	g.rec.AnsweredAt, g.rec.JoinedTo, g.rec.JoinedAs = &now, c.id, string(g.mode)
	g.rec.To, g.rec.ToSite, g.rec.Linked = near.Extension, string(near.Site), []string{c.id}
	g.rec.Legs = []cdr.Leg{{Extension: near.Extension, Code: 200}}
	c.rec.Guests = append(c.rec.Guests, cdr.Guest{Extension: l.Extension, Call: g.rec.ID, Mode: string(g.mode), Silent: g.silent, At: now})
	c.rec.Linked = appendNew(c.rec.Linked, g.rec.ID)
	c.guests = append(c.guests, g)
	c.s.enter(c, l.Dialog.ID.CallID, l.Dialog.ID.LocalTag)
	c.s.o.Trace.Bind(l.Dialog.ID.CallID, g.rec.ID)
	c.s.seat(g)
	c.s.o.Records.Begin(g.rec)
	l.Dialog.Confirmed = true
	c.save()
	res := c.s.stack.NewResponse(m.req, 200, "OK")
	res.AppendHeader(&sip.ContactHeader{Address: c.s.stack.ContactURI(m.req.Flow, l.User)})
	res.AppendHeader(sip.NewHeader("Allow", guestAllow))
	res.AppendHeader(c.s.assertedIdentity(near.Extension, near.Display))
	setBody(res, body)
	if err := c.accept(l, m.req, res, func(ack *sip.Request) { g.acked(description(ack)) }, func() { c.part(g, "system", "no ACK") }); err != nil {
		l.ended = true
		c.part(g, "caller", "cancelled")
		return refusal{}
	}
	c.log.Info("somebody has joined", "by", l.Extension, "mode", string(g.mode), "guest", g.rec.ID)
	if !g.silent {
		c.mixing.bridge.Beep()
	}
	c.armGuestProbe(g)
	c.publish()
	return refusal{}
}

// freePlace numbers guests.
func (c *call) freePlace() int {
	n := 1
	for slices.ContainsFunc(c.guests, func(g *guest) bool { return g.leg.guest == n }) {
		n++
	}
	return n
}

// forgetGone drops guests of whom nothing is to be expected any more.
func (c *call) forgetGone() {
	c.guests = slices.DeleteFunc(c.guests, func(g *guest) bool { return g.parted && g.leg.accept == nil && g.leg.successor == nil })
}

// carryOn keeps those together who remain when one of the two has hung up: the other one goes on with who joined in full
// first, in a call of their own that is linked as after a transfer. Guests who only listened, and further ones, leave. It
// reports whether that happens.
func (c *call) carryOn(left *leg) bool {
	i := slices.IndexFunc(c.guests, func(g *guest) bool {
		return !g.parted && g.mode == dialplan.Full && g.leg.accept == nil && !g.leg.ended
	})
	if i < 0 {
		return false
	}
	far := c.pair.leg(left.Side.Other())
	if c.m.Phase != phaseUp || c.transfer != nil || c.link != nil || c.ex.Busy || far.ended {
		return false
	}
	g := c.guests[i]
	party := g.leg.move()
	party.guest = 0
	n := c.s.connectedCall(&connected{shadow: party.shadow()}, party)
	n.decision.Number = far.Extension
	n.seatParty(party)
	n.rec.Linked = []string{c.id, g.rec.ID}
	g.leg.successor = n
	g.rec.Linked = appendNew(g.rec.Linked, n.id)
	c.part(g, left.Side.String(), "goes on with the other party")
	if code := c.lend(n, c.pair, left, "the others talk on"); code != 0 {
		g.leg.successor = nil
		c.sendBye(party, "the call has ended")
		return false
	}
	return true
}
