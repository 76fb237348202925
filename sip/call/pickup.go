package call

import (
	"slices"
	"strings"

	"github.com/emiago/sipgo/sip"

	"linehall/internal/directory"
	"linehall/sip/cdr"
	"linehall/sip/dialog"
	"linehall/sip/location"
	"linehall/sip/route"
	"linehall/sip/stack"
)

// Pickup: somebody else answers a call that rings, by a feature code (of one extension, or of
// whatever rings in the group) or by an INVITE with Replaces for a ringing phone's dialog, as a
// lamp's key sends it. The INVITE of who picks up becomes the callee's leg of that call. Caller
// and picker have both made an offer: the media plane makes two answers of them (Path.Cross).

// Pickup says whose ringing calls a terminal may take.
type Pickup interface {
	MayPickUp(picker directory.Terminal, ringing string) bool
}

// Features of the number plan that pick up.
const (
	pickupOne   = "pickup"       // the extension behind the code
	pickupGroup = "group_pickup" // whatever rings longest and may be taken
)

// msgPickup is an INVITE that shall answer this call.
type msgPickup struct {
	next      *call // of the INVITE; nobody owns it
	req       *stack.Request
	from      directory.Terminal
	extension string // whose phone rings
}

func (msgPickup) isMessage() {}

// picker is an INVITE that picks a call up, while it has no answer.
type picker struct {
	req *stack.Request
	leg *leg
}

func (s *Service) mayPickUp(from directory.Terminal, ringing string) bool {
	return from.Extension == ringing || s.o.Pickup != nil && s.o.Pickup.MayPickUp(from, ringing)
}

// servePickup finds the call that an INVITE to a pickup code means.
func (s *Service) servePickup(c *call, req *stack.Request, from directory.Terminal) {
	number := c.decision.Argument
	target, extension, forbidden := s.ringing(from, number)
	r := refusal{}
	switch {
	case c.decision.Feature == pickupOne && number == "":
		r = refusal{code: 484, reason: "Address Incomplete", warn: 399, text: "Dial the extension behind the code"}
	case target != nil:
		if !target.offer(msgPickup{c, req, from, extension}) {
			r = refusal{code: 500, text: "the call is busy"}
		}
	case forbidden:
		r = refusal{code: 403, warn: 399, text: "You may not pick up calls of this extension"}
	default:
		r = refusal{code: 480, warn: 399, text: "Nothing rings"}
	}
	if r.code != 0 {
		s.refuseCall(c, r)
	}
}

// ringing finds the call that rings longest at an extension, or at any one when that is empty,
// and that from may pick up.
func (s *Service) ringing(from directory.Terminal, extension string) (found *call, at string, forbidden bool) {
	s.mu.Lock()
	calls := make([]*call, 0, len(s.calls))
	for _, c := range s.calls {
		calls = append(calls, c)
	}
	s.mu.Unlock()
	slices.SortFunc(calls, func(a, b *call) int { return strings.Compare(a.id, b.id) })
	for _, c := range calls {
		p := c.public.Load()
		if p == nil || p.info.State != StateRinging || p.info.From.Extension == from.Extension {
			continue
		}
		for _, d := range p.info.Dialogs {
			switch {
			case d.Initiator || d.State == DialogConfirmed || extension != "" && d.Extension != extension:
			case s.mayPickUp(from, d.Extension):
				return c, d.Extension, false
			default:
				forbidden = true
			}
		}
	}
	return nil, "", forbidden
}

// onPickup takes such an INVITE.
func (c *call) onPickup(m msgPickup) {
	refuse := func(r refusal) { c.s.refuseCall(m.next, r) }
	for _, b := range c.branches {
		if b.target.terminal.Extension == m.extension && c.m.Phase == phaseRinging && c.m.Branches[b.index].Progress == branchCalling {
			c.pickUp(m.req, m.from, b, refuse)
			return
		}
	}
	refuse(refusal{code: 480, warn: 399, text: "It does not ring any more"})
}

// pickUp answers the call by an INVITE of somebody else than b's phone.
func (c *call) pickUp(req *stack.Request, from directory.Terminal, b *branchLeg, refuse func(refusal)) {
	switch {
	case c.m.Phase != phaseRinging:
		refuse(refusal{code: 480, warn: 399, text: "It does not ring any more"})
		return
	case !c.s.mayPickUp(from, b.target.terminal.Extension) || from.Extension == c.rec.From:
		refuse(refusal{code: 403, warn: 399, text: "You may not pick up calls of this extension"})
		return
	case !dialog.Possible(req.Request):
		refuse(refusal{code: 400, reason: "Bad Contact"})
		return
	}
	f, err := c.pickerFork(req, from)
	if err != nil {
		refuse(refusal{code: 400, reason: "Bad Request", warn: 399, text: "no usable dialog"})
		return
	}
	f.branch.path = c.media.Branch(from.Extension+" "+f.callee.Dialog.Target, f.callee.party())
	if _, err := c.leadRecorded(f.branch.path, f.callee); err != nil {
		f.branch.path.Close()
		refuse(mediaRefusal(err))
		return
	}
	proceed, err := c.pickMedia(f)
	if err != nil {
		f.branch.path.Close()
		refuse(mediaRefusal(err))
		return
	}
	c.branches = append(c.branches, f.branch)
	c.forks = append(c.forks, f)
	c.rec.Legs = append(c.rec.Legs, cdr.Leg{Extension: from.Extension, Contact: f.callee.Dialog.Target, Code: 200})
	c.rec.PickedUpBy = from.Extension
	c.s.know(c, f.callee.Dialog.ID.CallID, f.callee.Dialog.ID.LocalTag)
	c.watchCancel(req)
	c.picker = &picker{req, f.callee}
	c.pair = f
	c.disarmStage()
	c.disarm(timerName{kind: "setup"})
	c.step(evPickUp{from.Extension})
	c.noteAnswer(f)
	c.media.Keep(f.branch.path)
	c.log.Info("picked up", "by", from.Extension)
	proceed()
}

// pickerFork is the pair of dialogs between the caller and who picks up.
func (c *call) pickerFork(req *stack.Request, from directory.Terminal) (*fork, error) {
	near, err := c.origin.open(c)
	if err != nil {
		return nil, err
	}
	d, err := dialog.Accept(req.Request, req.Tx.Tag())
	if err != nil {
		return nil, err
	}
	l := &leg{
		Side: callee, Dialog: d, Flow: req.Flow, Extension: from.Extension, Display: from.DisplayName,
		Site: c.s.siteOf(req.Flow, from.Site), User: c.rec.From,
	}
	l.learn(req.Request)
	l.agreed(description(req.Request))
	b := &branchLeg{
		index: len(c.branches), site: l.Site, session: dialog.NewSession(),
		of: &begun{stage: &route.Stage{}}, target: target{terminal: from, binding: location.Binding{Contact: d.Target, Flow: req.Flow}},
	}
	f := &fork{branch: b, tag: d.ID.RemoteTag, caller: near, callee: l}
	b.forks = map[string]*fork{f.tag: f}
	return f, nil
}

// pickMedia settles the media of a pickup, as far as it can be before anybody is answered, and
// returns what follows.
func (c *call) pickMedia(f *fork) (func(), error) {
	own, theirs := c.origin.offer(), f.callee.Agreed
	if o, ok := c.origin.(*connected); ok {
		if len(theirs) == 0 {
			return nil, errNothingAgreed
		}
		return func() { c.pickConnected(o, f) }, nil
	}
	switch {
	case len(own) > 0 && len(theirs) > 0:
		toCaller, toPicker, err := c.cross(f, own, theirs)
		return func() {
			if c.answerCaller(f, toCaller, func(*sip.Request) { c.pickedUp() }) {
				c.answerPicker(f, toPicker, func(*sip.Request) {})
			}
		}, err
	case len(own) > 0: // the picker gets the caller's offer
		offer, err := c.lateOffer(f, caller, own)
		return func() {
			c.answerPicker(f, offer, func(ack *sip.Request) {
				if answer := c.pickAnswer(f, callee, ack); answer != nil && c.m.Phase == phaseAnswering {
					c.answerCaller(f, answer, func(*sip.Request) { c.pickedUp() })
				}
			})
		}, err
	case len(theirs) > 0: // the caller gets the picker's
		offer, err := c.lateOffer(f, callee, theirs)
		return func() {
			c.answerCaller(f, offer, func(ack *sip.Request) {
				if answer := c.pickAnswer(f, caller, ack); answer != nil {
					c.answerPicker(f, answer, func(*sip.Request) {})
					c.pickedUp()
				}
			})
		}, err
	}
	return nil, errNothingAgreed // nobody offers anything
}

// pickAnswer takes the answer in an ACK; without a usable one there is no call.
func (c *call) pickAnswer(f *fork, from side, ack *sip.Request) []byte {
	body, err := c.passAnswer(f, from, description(ack))
	if err != nil || len(body) == 0 {
		c.step(evHangup{"system", "no usable answer to the offer"})
		return nil
	}
	f.leg(from).agreed(description(ack))
	return body
}

// cross makes the two answers.
func (c *call) cross(f *fork, own, theirs []byte) (toCaller, toPicker []byte, err error) {
	in, err := f.caller.Dialog.Session.Receive(own)
	if err != nil {
		return nil, nil, err
	}
	toCaller, toPicker, pairs, err := c.crossPaths(f, in, theirs)
	if err != nil {
		return nil, nil, err
	}
	if toCaller, err = f.caller.Dialog.Session.Send(toCaller, c.localAddr(f.caller.Flow)); err != nil {
		return nil, nil, err
	}
	var places []int
	for i, j := range pairs {
		for j >= len(places) {
			places = append(places, -1)
		}
		if j >= 0 {
			places[j] = i
		}
	}
	toPicker, err = f.callee.Dialog.Session.SendAs(toPicker, places, c.localAddr(f.callee.Flow))
	return toCaller, toPicker, err
}

// answerCaller accepts the INVITE of the caller; it reports whether that was still there.
func (c *call) answerCaller(f *fork, body []byte, acked func(*sip.Request)) bool {
	o, ok := c.origin.(*invited)
	if !ok {
		return false
	}
	out := c.s.stack.NewResponse(o.req, 200, "OK")
	setToTag(out, f.caller.Dialog.ID.LocalTag)
	c.decorate(out, f.branch, f)
	c.grantTimer(f.caller, o.req.Request, out)
	setBody(out, body)
	f.caller.Dialog.Confirmed = true
	c.save()
	if err := c.accept(f.caller, o.req, out, acked, func() { c.step(evHangup{"system", "no ACK"}) }); err != nil {
		c.rec.AnsweredAt = nil
		c.step(evCallerGone{"cancelled"})
		return false
	}
	c.answered(f)
	return true
}

// answerPicker accepts the INVITE of who picked up.
func (c *call) answerPicker(f *fork, body []byte, acked func(*sip.Request)) {
	p := c.picker
	if p == nil || c.m.Phase == phaseEnded {
		return
	}
	out := c.s.stack.NewResponse(p.req, 200, "OK")
	out.AppendHeader(&sip.ContactHeader{Address: c.s.stack.ContactURI(p.req.Flow, f.callee.User)})
	out.AppendHeader(sip.NewHeader("Allow", allowValue))
	out.AppendHeader(sip.NewHeader("Supported", supportedInside))
	out.AppendHeader(c.s.assertedIdentity(c.rec.From, c.fromName))
	c.grantTimer(f.callee, p.req.Request, out)
	setBody(out, body)
	f.callee.Dialog.Confirmed = true
	c.picker = nil
	if err := c.accept(f.callee, p.req, out, acked, func() { c.step(evHangup{"system", "no ACK"}) }); err != nil {
		f.callee.ended = true
		c.step(evHangup{"system", "the pickup was cancelled"})
	}
	c.dirty()
}

// pickedUp ends the set-up: the caller has acknowledged.
func (c *call) pickedUp() {
	c.link = nil
	c.exchangeDone()
	c.step(evAck{})
	c.save()
	c.publish()
}

// pickConnected fetches a party that is on the phone and offers it what the picker offered.
func (c *call) pickConnected(o *connected, f *fork) {
	o.waiting = func(l *leg, ok bool) {
		if c.m.Phase != phaseAnswering {
			return
		}
		if !ok {
			c.rec.AnsweredAt = nil
			c.step(evCallerGone{"gone"})
			return
		}
		c.disarm(timerName{kind: "take"})
		f.caller, o.seat = l, nil
		c.link = &savedLink{}
		c.save()
		c.answered(f)
		c.armSession(l)
		if c.stale {
			c.startAfresh(f)
		}
		fail := func(string) {
			c.ex.Ours = false
			c.step(evHangup{"system", "no common media"})
		}
		offer := f.callee.Agreed
		c.fit(f, callee, offer)
		body, err := c.passOffer(f, callee, offer)
		if err != nil {
			fail("")
			return
		}
		c.ex.Ours = true
		c.offerLinked(&link{f: f}, caller, offer, body, fail, func(answer, back []byte) {
			c.ex.Ours = false
			l.agreed(answer)
			f.branch.path.Meet()
			c.answerPicker(f, back, func(*sip.Request) {})
			c.pickedUp()
		})
	}
	o.fetch(c)
}

// dropPicker refuses an INVITE that picked up a call that ended before it was answered.
func (c *call) dropPicker() {
	if p := c.picker; p != nil {
		c.picker = nil
		p.leg.ended = true
		c.s.respond(p.req, refusal{code: 480, text: "the call has ended"})
	}
}
