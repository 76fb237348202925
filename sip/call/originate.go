package call

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/emiago/sipgo/sip"

	"linehall/internal/directory"
	"linehall/internal/observe"
	"linehall/internal/site"
	"linehall/media/line"
	"linehall/media/sdp"
	"linehall/sip/cdr"
	"linehall/sip/dialplan"
	"linehall/sip/route"
	"linehall/sip/stack"
)

// Calls that the appliance makes itself (RFC 3725): click to dial, call back, completion on busy.
// The first party is called for itself, without an offer; its own, in the 2xx, is answered with
// every medium off (flow III of the RFC has black holes in its place, which some phones refuse).
// From then on it is a party that is on the phone, and the call goes on as if it had dialled.

// Errors of Originate.
var (
	ErrUnknownExtension = errors.New("no such terminal")
	ErrNotAllowed       = errors.New("the number cannot be called")
	ErrRefused          = errors.New("no call can be made now")
)

// Origination is a call to be made.
type Origination struct {
	From       string // the extension that is called first
	To         string // what it would have dialled, with its class of service
	AutoAnswer bool   // ask the first party's phone to answer by itself
}

// Originate begins a call and returns the id of its first half; it does not wait for anybody to
// answer. Calls that follow name it in their records.
func (s *Service) Originate(ctx context.Context, o Origination) (id string, err error) {
	t, ok := s.o.Directory.ByExtension(o.From)
	if !ok || !t.MayRegister() {
		return "", fmt.Errorf("extension %s: %w", o.From, ErrUnknownExtension)
	}
	d := s.o.Plan.Decide(dialplan.Caller{Extension: t.Extension, Class: t.Class, Site: t.Site}, o.To, time.Now())
	r := s.tooDear("", d, t)
	if r.code == 0 {
		r = s.acceptable(d)
	}
	if r.code != 0 {
		return "", fmt.Errorf("%s: %w: %s", o.To, ErrNotAllowed, r.text)
	}
	c := s.summon(t, &summons{terminal: t, decision: d, autoAnswer: o.AutoAnswer})
	if s.draining.Load() {
		return "", fmt.Errorf("%w: shutting down", ErrRefused)
	}
	c.targets = s.phones(c, t.Extension, 0)
	if !rings(c.targets) {
		r := c.targets[0].refuse
		s.refuseCall(c, r)
		return "", fmt.Errorf("extension %s: %w: %s", o.From, ErrRefused, r.text)
	}
	if code := s.admit(c); code != 0 { //nolint:contextcheck // a call lives with the service
		s.refuseCall(c, refusal{code: code, text: "too many calls"})
		return "", fmt.Errorf("%w: too many calls", ErrRefused)
	}
	return c.id, nil
}

// summon is the first half: a call to the first party from nobody.
func (s *Service) summon(t directory.Terminal, o *summons) *call {
	now := time.Now()
	id := newID(now)
	c := &call{
		s: s, id: id, log: s.log.With(observe.CallID, id), class: line.Voice, origin: o,
		done: make(chan struct{}), timers: map[timerName]*timer{},
		fromName: o.decision.Number, late: true, stale: true,
	}
	c.stage = &route.Stage{Extensions: []string{t.Extension}}
	c.decision = dialplan.Decision{Kind: dialplan.Extension, Number: t.Extension, Targets: []string{t.Extension}}
	c.rec = cdr.Record{
		ID: id, CallID: id, StartedAt: now.UTC(), Class: c.class.String(), From: o.decision.Number,
		Dialled: t.Extension, To: t.Extension, ToSite: string(t.Site), Originated: true,
	}
	return c
}

// summons is the origin of such a half: nobody. It hears of nothing and wants nothing but the
// answer.
type summons struct {
	terminal   directory.Terminal
	decision   dialplan.Decision
	autoAnswer bool
	blank      bool // the phone wants an offer: one without media
}

func (o *summons) begin(*call) {}

func (o *summons) flow() stack.Flow { return stack.Flow{} }

func (o *summons) offer() []byte { return nil }

func (o *summons) impart(c *call, inv *sip.Request) {
	hops := sip.MaxForwardsHeader(70)
	inv.AppendHeader(&hops)
	if o.autoAnswer {
		for _, h := range c.s.autoAnswer() {
			inv.AppendHeader(sip.NewHeader(h[0], h[1]))
		}
	}
}

func (o *summons) open(c *call) (*leg, error) {
	return &leg{Side: caller, Extension: c.rec.From, Site: site.ID(c.rec.ToSite), Dialog: emptyDialog(), ended: true}, nil
}

func (o *summons) provisional(*call, *branchLeg, *fork, *sip.Response, []byte) bool { return true }

func (o *summons) refuse(*call, refusal) {}

// fail tries once more with an offer when the phone could not do without.
func (o *summons) fail(c *call, code int, res *sip.Response) {
	switch res.StatusCode {
	case 400, 415, 420, 488, 501, 606:
	default:
		return
	}
	if o.blank || c.s.draining.Load() {
		return
	}
	again := *o
	again.blank = true
	n := c.s.summon(o.terminal, &again)
	n.late = false
	n.rec.Linked = []string{c.id}
	c.rec.Linked = appendNew(c.rec.Linked, n.id)
	n.targets = c.s.phones(n, o.terminal.Extension, 0)
	if admitted := rings(n.targets) && c.s.admit(n) == 0; !admitted {
		c.log.Info("first party not called again", slog.Int(observe.Code, code))
	}
}

// blankOffer is an offer without media that phones which insist on one can answer (RFC 3264 §5:
// the codecs of every phone, sent nowhere).
const blankOffer = "v=0\r\no=- 0 0 IN IP4 0.0.0.0\r\ns=-\r\nc=IN IP4 0.0.0.0\r\nt=0 0\r\n" +
	"m=audio 9 RTP/AVP 8 0 9 18 101\r\na=rtpmap:101 telephone-event/8000\r\na=inactive\r\n"

// answer confirms the party's dialog with every medium off and goes on with the call that it
// wants.
func (o *summons) answer(c *call, f *fork, res *sip.Response, _ []byte) {
	seq := res.CSeq().SeqNo
	l := f.callee
	var body []byte
	if c.late {
		answer, err := switchedOff(description(res))
		if err == nil {
			body, err = l.Dialog.Session.Receive(answer)
		}
		if err == nil {
			body, err = l.Dialog.Session.Send(body, c.localAddr(l.Flow))
		}
		if err != nil {
			c.sendAck(l, seq, nil)
			c.step(evAnswerRefused{488})
			return
		}
	}
	c.sendAck(l, seq, body)
	party := l.move()
	party.Side = caller
	n := c.s.connectedCall(&connected{shadow: party.shadow()}, party)
	n.decision = o.decision
	n.rec.Linked, n.rec.Originated = []string{c.id}, true
	n.seatParty(party)
	c.rec.Linked = appendNew(c.rec.Linked, n.id)
	l.successor = n
	terminal, ctx := o.terminal, c.ctx
	n.terminal, n.ctx = terminal, ctx
	n.saveWaiting() // before this half is forgotten
	c.s.work.Go(func() { c.s.seek(ctx, n, terminal) })
	c.answered(f)
	c.step(evAck{})
	c.step(evHandedOver{caller, "connected further"})
}

// seatParty makes a party ours before anybody has answered it.
func (c *call) seatParty(l *leg) {
	o, ok := c.origin.(*connected)
	if !ok {
		return
	}
	l.User = c.decision.Number
	o.seat = &fork{caller: l, callee: &leg{Side: callee, Dialog: emptyDialog(), ended: true}}
	c.s.know(c, l.Dialog.ID.CallID, l.Dialog.ID.LocalTag)
}

// switchedOff is an offer as the answer to itself that wants no media now: the same lines and
// codecs, inactive, and addressed to nowhere.
func switchedOff(offer []byte) ([]byte, error) {
	doc, err := sdp.Parse(offer)
	if err != nil {
		return nil, err
	}
	if len(doc.Media()) == 0 {
		return nil, errNothingAgreed
	}
	doc.RemoveICE()
	for _, m := range doc.Media() {
		if m.Kind() != "audio" || m.Port() == 0 || m.IsSecure() {
			m.Reject()
			continue
		}
		m.SetPort(9) // discard
		m.SetDirection(sdp.Inactive)
	}
	return doc.Marshal(), nil
}
