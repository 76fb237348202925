package call

import (
	"context"
	"errors"
	"log/slog"
	"slices"

	"linehall/internal/observe"
	"linehall/media/anchor"
	"linehall/media/bridge"
	"linehall/media/line"
	"linehall/media/record"
	"linehall/media/served"
	"linehall/sip/cdr"
	"linehall/sip/dialplan"
)

// mixing is the call's sound while there are guests.
type mixing struct {
	bridge  *bridge.Bridge
	stop    context.CancelFunc
	path    *anchor.Path // of the two
	between *bridge.Way
	caller  []byte // the descriptions that it knows
	callee  []byte
}

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
