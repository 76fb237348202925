package call

import (
	"context"
	"errors"
	"log/slog"
	"net/http"
	"slices"
	"time"

	"github.com/emiago/sipgo/sip"

	"linehall/internal/observe"
	"linehall/media/anchor"
	"linehall/media/bridge"
	"linehall/media/line"
	"linehall/media/record"
	"linehall/media/served"
	"linehall/sip/cdr"
	"linehall/sip/dialplan"
	"linehall/sip/stack"
)

// guest is somebody who has joined the owner's call. What it sends and hears is a path of its own to nobody, which is led
// into the call's mixer. Over a restart it is not kept: who joined gets a BYE and may join again.
type guest struct {
	c      *call
	leg    *leg
	near   side // whose call it joined
	mode   dialplan.Barge
	silent bool
	rec    cdr.Record
	media  *anchor.Call
	path   *anchor.Path
	ours   []byte // our side of its session, as it was agreed
	asked  []byte // an offer of ours that waits for its answer in an ACK
	way    *bridge.Way
	tape   *record.Session
	parted bool // it takes part no more; its ACK may be missing
	fails  int  // probes without an answer
}

// mixing is the call's sound while there are guests.
type mixing struct {
	bridge  *bridge.Bridge
	stop    context.CancelFunc
	path    *anchor.Path // of the two
	between *bridge.Way
	caller  []byte // the descriptions that it knows
	callee  []byte
}

// msgGuestOff has somebody leave who joined.
type msgGuestOff struct{ id, by, reason string }

func (msgGuestOff) isMessage() {}

// guestAllow is our Allow towards guests: they cannot transfer, and no session of theirs is refreshed by us.
const guestAllow = "INVITE, ACK, CANCEL, BYE, OPTIONS, UPDATE, INFO"

// Why a call cannot be mixed.
var (
	errNoOffer   = errors.New("an INVITE that joins a call has to make an offer")
	errModem     = errors.New("the call is no conversation")
	errElsewhere = errors.New("the media of the call does not pass the appliance")
	errSealed    = errors.New("the telephones encrypt from end to end")
	errMustTape  = errors.New("the call is recorded, and this could not be")
)

// unmixable says why nobody can take part in the call now.
func (c *call) unmixable() refusal {
	if err := c.mixable(); err != nil {
		return refusal{code: 488, warn: 399, text: "The call cannot be joined: " + err.Error()}
	}
	return refusal{}
}

func (c *call) mixable() error {
	path := c.pair.branch.path
	here, clear := path.Audible()
	switch {
	case c.rec.Media != "" && c.rec.Media != mediaVoice:
		return errModem
	case !here:
		return errElsewhere
	case !clear, c.secured() && !path.Ends() && path.Kind() != anchor.Gateway:
		return errSealed
	}
	return nil
}

// openMedia answers the guest's offer.
func (g *guest) openMedia(offer []byte) ([]byte, error) {
	c, l := g.c, g.leg
	if len(offer) == 0 {
		return nil, errNoOffer
	}
	policy := stricter(c.s.srtpOfLeg(l), c.srtpPolicy(c.pair))
	if err := secureOffer(policy, c.secured(), protectionOf(offer), l.Flow); err != nil {
		return nil, err
	}
	g.media = c.s.o.Anchor.Open(line.Holder{Class: c.class, Precedence: c.precedence, Name: g.rec.ID, Since: g.rec.StartedAt, Preempted: func(by line.Preemption) {
		c.notify(msgGuestOff{g.rec.ID, "system", "preempted by " + by.By})
	}}, l.party())
	g.path = g.media.Branch("mixer", anchor.Party{Remote: served.Host, Local: served.Host, Outside: true}) // never direct
	body, err := g.answer(offer)
	if err == nil {
		g.media.Keep(g.path)
	}
	return body, err
}

// answer is ours to an offer of the guest's. Its SRTP ends here.
func (g *guest) answer(offer []byte) ([]byte, error) {
	in, err := g.leg.Dialog.Session.Receive(offer)
	if err != nil {
		return nil, err
	}
	if keyed, usable := offeredKeys(offer); keyed && usable && !g.leg.Flow.Web() {
		g.path.Terminate(callee, anchor.Clear)
	}
	toUs, err := g.path.Offer(caller, in)
	if err != nil {
		return nil, err
	}
	a, err := served.Answer(toUs, discardPort, discardPort)
	if err != nil {
		g.path.Rollback()
		return nil, err
	}
	back, err := g.path.Answer(callee, a.Body)
	if err != nil {
		return nil, err
	}
	g.ours = a.Body
	g.leg.agreed(offer)
	g.leg.Secure = protectionOf(back).Secure
	return g.leg.Dialog.Session.Send(back, g.c.localAddr(g.leg.Flow))
}

func (g *guest) mediaRefusal(err error) refusal {
	switch {
	case errors.Is(err, errNoOffer), errors.Is(err, served.ErrNoFormat):
		return refusal{code: 488, warn: 399, text: "The call cannot be joined: " + err.Error()}
	default:
		return mediaRefusal(err)
	}
}

func (g *guest) closeMedia() {
	if g.way != nil {
		g.way.Close()
		g.way = nil
	}
	if g.tape != nil {
		g.tape.Close("who joined has left")
		g.path.Tap(nil)
		g.tape = nil
	}
	if g.media != nil {
		g.rec.Path, g.rec.Codec = string(g.path.Kind()), g.path.Codec()
		g.media.Close()
		g.media = nil
	}
}

// startMixing leads the guest, and the two if it is the first one, into the mixer.
func (c *call) startMixing(g *guest) error {
	if c.mixing == nil {
		b := bridge.New()
		between, err := b.Lead(c.pair.branch.path, bridge.Both, c.pair.caller.Agreed, c.pair.callee.Agreed)
		if err != nil {
			return err
		}
		ctx, stop := context.WithCancel(c.ctx)
		c.mixing = &mixing{bridge: b, stop: stop, path: c.pair.branch.path, between: between, caller: c.pair.caller.Agreed, callee: c.pair.callee.Agreed}
		c.s.work.Go(func() {
			defer observe.Recover(c.log, c.s.o.Panics, "mixer")
			_ = b.Run(ctx) // it ends with ctx, and never otherwise
		})
	}
	var err error
	if g.way, err = c.mixing.bridge.Lead(g.path, bridge.One, g.leg.Agreed, g.ours); err != nil {
		return err
	}
	g.speak()
	return c.tapeGuest(g)
}

// speak says who hears the guest.
func (g *guest) speak() {
	switch g.mode {
	case dialplan.Listen:
		g.way.Speak(bridge.ToNobody, nil, 0)
	case dialplan.Whisper:
		g.way.Speak(bridge.ToOne, g.c.mixing.between, g.near)
	default:
		g.way.Speak(bridge.ToAll, nil, 0)
	}
}

// tapeGuest records what a guest says whom the parties hear, in a recording of its own, where their call is recorded.
func (c *call) tapeGuest(g *guest) error {
	t := c.tape
	if g.mode == dialplan.Listen || t == nil || t.session == nil || t.session.State() == record.Off && t.policy.Mode != record.Required {
		return nil
	}
	g.rec.Recording = &cdr.Recording{Mode: string(t.policy.Mode), Rule: t.policy.Rule, By: "the call that was joined"}
	g.tape = c.s.o.Recorder.Session(record.Call{ID: g.rec.ID, From: c.recordParty(g.leg), To: c.recordParty(c.pair.leg(g.near)), Log: c.log}, t.policy, 0, func(record.Event) {})
	g.tape.Describe(g.leg.Agreed, g.ours)
	g.path.Tap(g.tape)
	c.aside()
	err := g.tape.Start(c.ctx, g.rec.Recording.By, -1, true) // the two have been told
	if err == nil {
		g.rec.Recording.IDs = g.tape.Recordings()
		return nil
	}
	g.rec.Recording.Reason = err.Error()
	c.log.Warn("guest not recorded", slog.Any(observe.Err, err))
	if t.policy.Mode == record.Required {
		return errMustTape
	}
	return nil
}

// remix keeps the mixer up to date after every change of the call; it costs a comparison where nobody has joined.
func (c *call) remix() {
	m := c.mixing
	if m == nil || c.pair == nil || c.m.Phase == phaseEnded {
		return
	}
	a, b := c.pair.caller.Agreed, c.pair.callee.Agreed
	if m.path != c.pair.branch.path || c.mixable() != nil {
		c.dismissGuests("the call changed and cannot be mixed any more")
		return
	}
	if sameBytes(a, m.caller) && sameBytes(b, m.callee) {
		return
	}
	if err := m.between.Describe(a, b); err != nil {
		c.dismissGuests("the call changed: " + err.Error())
		return
	}
	m.caller, m.callee = a, b
	for _, g := range c.guests {
		if g.way != nil {
			g.speak()
		}
	}
}

// sameBytes compares where descriptions are: one is replaced, never written to.
func sameBytes(a, b []byte) bool { return len(a) == len(b) && (len(a) == 0 || &a[0] == &b[0]) }

// straighten ends the mixing: the two hear each other straight again.
func (c *call) straighten() {
	if m := c.mixing; m != nil {
		c.mixing = nil
		m.between.Close()
		m.stop()
	}
	for _, g := range c.guests {
		g.closeMedia()
	}
}

func (c *call) straightenUnlessJoined() {
	if c.mixing != nil && !slices.ContainsFunc(c.guests, func(g *guest) bool { return !g.parted }) {
		c.straighten()
	}
}

// part ends a guest's part in the call; the BYE to it waits for its ACK.
func (c *call) part(g *guest, by, reason string) {
	if g.parted {
		return
	}
	g.parted = true
	c.disarm(guestProbeName(g))
	g.closeMedia()
	c.straightenUnlessJoined()
	l := g.leg
	switch {
	case l.ended:
		l.accept = nil
	case l.accept != nil:
		l.asked, l.reason = true, reason
	default:
		c.sendBye(l, reason)
	}
	c.s.unseat(c, g)
	now := time.Now().UTC()
	for i := range c.rec.Guests {
		if c.rec.Guests[i].Call == g.rec.ID {
			c.rec.Guests[i].Until = &now
		}
	}
	g.finish(now, by, reason)
	c.log.Info("who joined has left", slog.String("by", by), slog.String("guest", g.rec.ID), slog.String(observe.Reason, reason))
	c.forgetGone()
	c.dirty()
	if c.m.Phase != phaseEnded {
		c.publish()
	}
}

// finish writes the guest's record.
func (g *guest) finish(now time.Time, by, reason string) {
	c := g.c
	g.rec.EndedAt, g.rec.Result, g.rec.Code, g.rec.EndedBy, g.rec.Reason = &now, cdr.Answered, http.StatusOK, by, reason
	g.rec.Seconds = int64(now.Sub(*g.rec.AnsweredAt) / time.Second)
	g.rec.Media, g.rec.SRTP, g.rec.SRTPCaller, g.rec.SRTPHere = mediaVoice, g.leg.Secure, g.leg.Secure, g.leg.Secure
	c.s.o.Records.FinishSoon(g.rec, func(err error) {
		if err != nil {
			c.log.Error("call record not written", slog.Any(observe.Err, err))
		}
	})
	c.s.o.Trace.End(g.rec.ID)
}

// dismissGuests has all of them leave.
func (c *call) dismissGuests(reason string) {
	for _, g := range slices.Clone(c.guests) {
		c.part(g, "system", reason)
	}
}

// onGuestOff has one leave.
func (c *call) onGuestOff(m msgGuestOff) {
	for _, g := range slices.Clone(c.guests) {
		if g.rec.ID == m.id {
			c.part(g, m.by, m.reason)
		}
	}
}

// seat makes a guest known by its id; unseat forgets it, and its extension unless that talks in the call still.
func (s *Service) seat(g *guest) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.joined[g.rec.ID] = g.c
}

func (s *Service) unseat(c *call, g *guest) {
	s.mu.Lock()
	delete(s.joined, g.rec.ID)
	s.mu.Unlock()
	stay := []string{c.pair.caller.Extension, c.pair.callee.Extension}
	for _, o := range c.guests {
		if !o.parted {
			stay = append(stay, o.leg.Extension)
		}
	}
	s.vacate(c, stay...)
}

// guestOf finds the guest that a request belongs to.
func (c *call) guestOf(req *sip.Request) *guest {
	if len(c.guests) == 0 {
		return nil
	}
	id := dialogID{CallID: req.CallID().Value(), LocalTag: paramTag(req.To().Params), RemoteTag: paramTag(req.From().Params)}
	for _, g := range c.guests {
		if g.leg.Dialog.ID == id {
			return g
		}
	}
	return nil
}

// onGuestRequest takes a request in a guest's dialog.
func (c *call) onGuestRequest(g *guest, req *stack.Request) {
	l := g.leg
	if n := l.successor; n != nil {
		if !n.offer(msgRequest{req}) && !req.IsAck() {
			c.s.respond(req, refusal{code: 481})
		}
		return
	}
	if !c.comesFrom(l, req.Flow) {
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
	switch {
	case req.Method == sip.BYE:
		_ = req.Tx.Respond(c.s.stack.NewResponse(req, 200, "OK")) // a lost 200 brings the BYE again
		l.ended, l.accept = true, nil
		c.disarm(timerName{"2xx", l.place()})
		c.part(g, caller.String(), reasonText(req.Request))
	case l.ended || g.parted:
		c.s.respond(req, refusal{code: 481})
	case req.Method == sip.INVITE, req.Method == sip.UPDATE:
		c.onGuestOffer(g, req)
	case req.Method == sip.INFO, req.Method == sip.OPTIONS: // its keys go nowhere
		res := c.s.stack.NewResponse(req, 200, "OK")
		res.AppendHeader(sip.NewHeader("Allow", guestAllow))
		_ = req.Tx.Respond(res) // the peer repeats a request whose response is lost
	case req.Method == sip.REFER:
		c.s.respond(req, refusal{code: 403, warn: 399, text: "Who joined a call cannot transfer it"})
	default:
		res := c.s.stack.NewResponse(req, sip.StatusMethodNotAllowed, "Method Not Allowed")
		res.AppendHeader(sip.NewHeader("Allow", guestAllow))
		_ = req.Tx.Respond(res) // as above
	}
}

// onGuestOffer answers a re-INVITE or UPDATE of a guest: hold, resume, another address. One without an offer gets ours.
func (c *call) onGuestOffer(g *guest, req *stack.Request) {
	l, offer := g.leg, description(req.Request)
	if l.accept != nil || g.asked != nil {
		c.s.respond(req, refusal{code: 491})
		return
	}
	var body []byte
	var err error
	switch {
	case len(offer) > 0:
		if err = secureOffer(stricter(c.s.srtpOfLeg(l), c.srtpPolicy(c.pair)), l.Secure, protectionOf(offer), l.Flow); err == nil {
			body, err = g.answer(offer)
		}
		if err == nil {
			err = g.way.Describe(l.Agreed, g.ours)
		}
	case req.Method == sip.INVITE:
		if body, err = g.path.Offer(callee, g.ours); err == nil {
			g.asked = g.ours
			body, err = l.Dialog.Session.Send(body, c.localAddr(l.Flow))
		}
	}
	if err != nil {
		g.path.Rollback()
		g.asked = nil
		c.s.respond(req, g.mediaRefusal(err))
		return
	}
	g.speak()
	l.Dialog.Refresh(req.Contact())
	res := c.s.stack.NewResponse(req, 200, "OK")
	res.AppendHeader(&sip.ContactHeader{Address: c.s.stack.ContactURI(req.Flow, l.User)})
	res.AppendHeader(sip.NewHeader("Allow", guestAllow))
	setBody(res, body)
	c.dirty()
	if req.Method == sip.UPDATE {
		_ = req.Tx.Respond(res) // the peer repeats a request whose response is lost
		return
	}
	if err := c.accept(l, req, res, func(ack *sip.Request) { g.acked(description(ack)) }, func() { c.part(g, "system", "no ACK") }); err != nil {
		g.path.Rollback() // cancelled: what was agreed holds
		g.asked = nil
	}
}

// acked takes the ACK of a 2xx of ours, with an answer if that made an offer.
func (g *guest) acked(answer []byte) {
	if g.asked == nil {
		return
	}
	g.asked = nil
	in, err := g.leg.Dialog.Session.Receive(answer)
	if err == nil {
		_, err = g.path.Answer(caller, in)
	}
	if err == nil {
		g.leg.agreed(answer)
		err = g.way.Describe(g.leg.Agreed, g.ours)
	}
	if err != nil {
		g.c.part(g, "system", "no usable answer to the offer")
		return
	}
	g.speak()
}

func guestProbeName(g *guest) timerName { return timerName{"guest probe", g.leg.guest} }

// armGuestProbe asks a guest's phone now and then whether it still lives, as those of the two (probe.go).
func (c *call) armGuestProbe(g *guest) {
	c.arm(guestProbeName(g), c.s.limits.Probe, func() {
		req := g.leg.Dialog.Request(sip.OPTIONS)
		req.AppendHeader(sip.NewHeader("User-Agent", agent))
		req.SetBody(nil)
		c.dirty()
		silent := func() {
			if g.fails++; g.fails >= 2 {
				c.s.metrics.dead.Inc()
				c.part(g, "system", "the phone has vanished")
				return
			}
			c.armGuestProbe(g)
		}
		c.send(g.leg, req, func(res *sip.Response) {
			switch {
			case res.IsProvisional() || g.parted:
			case res.StatusCode == 481 || res.StatusCode == 408:
				silent()
			default:
				g.fails = 0
				c.armGuestProbe(g)
			}
		}, func(error) {
			if !g.parted {
				silent()
			}
		})
	})
}

// savedGuests are the dialogs that the next process has to end.
func (c *call) savedGuests() []*leg {
	var legs []*leg
	for _, g := range c.guests {
		if !g.leg.ended {
			legs = append(legs, g.leg)
		}
	}
	return legs
}

// endRestored ends the dialogs of those who had joined before a restart: the mixer was the process's.
func (c *call) endRestored() {
	for _, l := range c.strangers {
		c.sendBye(l, "the appliance was restarted")
	}
	if len(c.strangers) > 0 {
		c.strangers = nil
		c.dirty()
	}
}
