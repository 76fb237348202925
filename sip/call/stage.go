package call

import (
	"crypto/rand"
	"log/slog"
	"slices"
	"strings"
	"time"

	"github.com/emiago/sipgo/sip"

	"linehall/internal/directory"
	"linehall/internal/observe"
	"linehall/sip/cdr"
	"linehall/sip/dialog"
	"linehall/sip/dialplan"
	"linehall/sip/route"
)

// The shell of the machine's stages: whom a stage rings, its timers, and what the caller and the
// record are told when the next one begins.

// mostBranches bounds what one call may try in all its stages.
const mostBranches = 256

// begun is one stage's shell: what the branches of the same stage share.
type begun struct {
	stage *route.Stage
	// callID and tag are those of all INVITEs of the stage: its branches are forks of one request,
	// the next stage's are another call towards a phone that may ring twice.
	callID, tag string
	history     []route.Diversion // the forwards that led to it
}

// start opens the media and begins the first stage.
func (c *call) start() {
	c.m = newMachine(c.stage)
	c.s.o.Records.Begin(c.rec)
	c.ex.admit(caller) // until the ACK nobody may re-negotiate
	c.openMedia()
	c.origin.begin(c)
	c.arm(timerName{kind: "setup"}, c.s.limits.Setup, func() { c.step(evRingTimeout{}) })
	c.log.Info("call started", slog.String("from", c.rec.From), slog.String("to", c.rec.Dialled), slog.Int(observe.Count, len(c.targets)))
	targets := c.targets
	c.targets = nil
	c.publish()
	c.forwarded(c.stage)
	if targets == nil {
		c.find(c.stage)
		return
	}
	c.opened(c.stage, targets)
}

func forwardRecord(d route.Diversion) cdr.Forward {
	return cdr.Forward{From: d.From, Reason: string(d.Reason)}
}

// open begins a stage that the machine went on to.
func (c *call) open(a acOpen) {
	c.disarmStage()
	c.leaveStage()
	c.log.Info("next stage", slog.String("after", a.Outcome.String()), slog.Any("extensions", a.Stage.Extensions))
	c.diverted(a.Stage)
	c.overflowed(a.Stage)
	c.forwarded(a.Stage)
	c.find(a.Stage)
}

// find looks for a stage's targets and brings them to the machine.
func (c *call) find(stage *route.Stage) {
	if stage.Outside != nil && c.s.o.Trunks != nil && len(c.history) <= route.MaxDiversions {
		c.findOutside(stage)
		return
	}
	c.opened(stage, c.s.targets(c, stage))
}

// diverted notes the forward that leads to a stage.
func (c *call) diverted(stage *route.Stage) {
	if d := stage.Diversion; d != nil {
		c.history = append(append(c.history, stage.Before...), *d)
	}
}

// forwarded tells the caller and the record about a forward (RFC 3261 §21.1.3).
func (c *call) forwarded(stage *route.Stage) {
	d := stage.Diversion
	if d == nil {
		return
	}
	to := strings.Join(stage.Extensions, " ")
	if stage.Outside != nil {
		to = stage.Outside.Number
	}
	now := time.Now().UTC()
	all := append(slices.Clone(stage.Before), *d)
	for i, by := range all {
		f := forwardRecord(by)
		if f.To, f.At = to, now; i+1 < len(all) { // it led to whoever forwards next
			f.To = all[i+1].From
		}
		c.rec.Forwards = append(c.rec.Forwards, f)
	}
	c.log.Info("call forwarded", slog.String("by", d.From), slog.String("to", to), slog.String(observe.Reason, string(d.Reason)))
	if o, ok := c.origin.(interface{ forwarded(c *call) }); ok {
		o.forwarded(c)
	}
}

// targets lists what a stage rings inside. The caller's own phones never ring, nor do those of
// anybody who forwarded the call already.
func (s *Service) targets(c *call, stage *route.Stage) []target {
	tooOften := refusal{code: 483, warn: 399, text: "The call was forwarded too often"}
	if stage.Outside != nil {
		why := noTrunk()
		if len(c.history) > route.MaxDiversions {
			why = tooOften
		}
		return []target{{number: stage.Outside.Number, refuse: why}}
	}
	var found []target
	for _, e := range stage.Extensions {
		switch {
		case e == c.callerExtension() && c.pinned == nil:
		case len(c.history) > route.MaxDiversions:
			found = append(found, absent(e, tooOften))
		case stage.Diversion != nil && slices.ContainsFunc(c.history, func(d route.Diversion) bool { return d.From == e }):
			found = append(found, absent(e, refusal{code: 482, warn: 399, text: "The call was forwarded in a circle"}))
		default:
			found = append(found, s.phones(c, e, stage.Limits[e])...)
		}
	}
	if len(found) == 0 {
		own := refusal{code: 486, text: "the caller's own number"}
		if c.emergency() {
			own.code = 480 // what follows an unreachable desk is to be tried
		}
		return []target{absent(c.rec.From, own)}
	}
	return found
}

// absent is an extension that is not rung, and why.
func absent(extension string, r refusal) target {
	return target{terminal: directory.Terminal{Extension: extension}, refuse: r}
}

// opened brings a stage's targets to the machine, unless the call has ended or was answered while
// they were looked for.
func (c *call) opened(stage *route.Stage, targets []target) {
	if c.m.Phase != phaseRinging || !c.m.Opening || c.m.Stage != stage {
		return
	}
	targets = targets[:min(len(targets), mostBranches-len(c.branches))]
	now := &begun{stage: stage, callID: rand.Text(), tag: rand.Text()[:16], history: slices.Clip(c.history)}
	c.s.know(c, now.callID, now.tag)
	branches := make([]branch, len(targets))
	for i, t := range targets {
		b := &branchLeg{index: len(c.branches), target: t, of: now, site: c.s.siteOfTarget(&t), forks: map[string]*fork{}, session: dialog.NewSession(), refuse: t.refuse}
		c.branches = append(c.branches, b)
		number, _ := t.party()
		leg := cdr.Leg{Extension: number, Contact: t.contact(), Stage: c.m.Stages, Code: t.refuse.code, Trunk: t.trunk()}
		if t.attempt != nil {
			leg.Gateway = t.attempt.Gateway
		}
		c.rec.Legs = append(c.rec.Legs, leg)
		branches[i] = t.branch()
	}
	c.armStage(stage, targets)
	c.step(evOpened{branches})
}

// armStage sets the stage's time, and that of the turns in it: all together take the time that the
// stage has, so that a forward on no answer comes when its owner expects it.
func (c *call) armStage(stage *route.Stage, targets []target) {
	ring := stage.Ring
	if ring <= 0 {
		ring = c.s.limits.Ring
	}
	c.arm(timerName{kind: "ring"}, ring, func() { c.step(evStageTime{}) })
	if n := waves(targets); n > 1 {
		c.armWave(ring/time.Duration(n), n-1)
	}
}

func (c *call) armWave(every time.Duration, left int) {
	c.arm(timerName{kind: "wave"}, every, func() {
		if left > 1 {
			c.armWave(every, left-1)
		}
		c.step(evWaveTimeout{})
	})
}

func (c *call) disarmStage() {
	c.disarm(timerName{kind: "ring"})
	c.disarm(timerName{kind: "wave"})
}

// callBranch is a target's turn.
func (c *call) callBranch(b *branchLeg) {
	if c.m.Phase != phaseRinging || c.m.Branches[b.index].Progress != branchCalling {
		c.branchFailed(b, 487) // what was called a moment before has changed everything
		return
	}
	now := time.Now().UTC()
	c.rec.Legs[b.index].StartedAt = &now
	if b.target.attempt != nil {
		c.reach(b)
		return
	}
	c.launch(b)
}

// launch opens a branch's media and sends its INVITE.
func (c *call) launch(b *branchLeg) {
	if c.m.Phase != phaseRinging || c.m.Branches[b.index].Progress != branchCalling {
		c.branchFailed(b, 487) // given up while its connection was opened
		return
	}
	number, _ := b.target.party()
	flow := b.target.flow()
	b.path = c.media.Branch(number+" "+b.target.contact(), partyAt(b.site, flow, b.target.outside() && c.s.foreign(flow)))
	if r := c.sendInvite(b, b.of.callID, b.of.tag); r.code != 0 {
		b.refuse = r
		c.branchFailed(b, r.code)
	}
}

// leaveStage takes the extensions of the stages so far off the call: what does not ring any more
// is not busy with it.
func (c *call) leaveStage() {
	c.s.vacate(c, c.callerExtension())
}

// inviteFor is the head of a target's INVITE: request line, Route, From and To.
func (c *call) inviteFor(b *branchLeg, tag string) (*sip.Request, refusal) {
	t := &b.target
	uri, r := t.requestURI()
	if r.code != 0 {
		return nil, r
	}
	inv := sip.NewRequest(sip.INVITE, uri)
	for _, p := range t.routes() {
		var next sip.Uri
		if err := sip.ParseUri(p, &next); err == nil {
			inv.AppendHeader(&sip.RouteHeader{Address: next})
		}
	}
	if t.attempt != nil {
		return inv, c.outsideInvite(t.attempt, inv, tag)
	}
	domain := c.s.stack.Domain()
	number, _ := t.party()
	from := &sip.FromHeader{Params: sip.HeaderParams{{K: "tag", V: tag}}}
	from.DisplayName, from.Address = c.from(c.callerIdentity())
	to := &sip.ToHeader{Address: sip.Uri{Scheme: "sip", User: number, Host: domain}}
	inv.AppendHeader(from)
	inv.AppendHeader(to)
	return inv, refusal{}
}

// tell gives an INVITE what its target is told about the stage: the forwards that led here, and how
// it is to ring.
func (c *call) tell(b *branchLeg, l *leg, inv *sip.Request) {
	c.introduce(l, inv)
	if a := b.target.attempt; a != nil {
		l.hide(inv)
		for _, h := range append(c.s.outsideForwards(a, b.of.history), a.Headers...) {
			inv.AppendHeader(sip.NewHeader(h[0], h[1]))
		}
		return
	}
	number, name := b.target.party()
	last := c.s.numberOf(number)
	last.Name = name
	for _, h := range forwardHeaders(asBoth, b.of.history, c.s.numberOf, last) {
		inv.AppendHeader(sip.NewHeader(h[0], h[1]))
	}
	if b.of.stage.Alert == route.Intercom {
		for _, h := range c.s.autoAnswer() {
			inv.AppendHeader(sip.NewHeader(h[0], h[1]))
		}
	}
}

// autoAnswer are the headers that make phones answer by themselves; each brand knows one of them:
// Yealink, Snom, Poly and Fanvil the first, Grandstream, Gigaset and Snom the second.
func (s *Service) autoAnswer() [][2]string {
	return [][2]string{
		{"Alert-Info", "<http://linehall>;info=alert-autoanswer;delay=0"},
		{"Call-Info", "<sip:" + s.stack.Domain() + ">;answer-after=0"},
	}
}

// deflect finds out where a phone's 3xx leads: a number that this phone itself might call, from where
// on the router's word counts. It asks outside of the owner.
func (c *call) deflect(b *branchLeg) {
	number, ok := c.deflectedTo(b)
	t := b.target.terminal
	if !ok || c.lent != nil || len(c.history) >= route.MaxDiversions {
		c.step(evDeflected{b.index, nil})
		return
	}
	d := c.s.o.Plan.Decide(dialplan.Caller{Extension: t.Extension, Class: t.Class, Site: b.site}, number, time.Now())
	switch d.Kind {
	case dialplan.Extension, dialplan.Duty, dialplan.Group, dialplan.Outside:
	default: // an emergency call is nobody's to send on; the others the caller may try
		c.log.Info("deflection not followed", slog.String(observe.Extension, t.Extension), slog.String("to", number), slog.String("kind", string(d.Kind)))
		c.step(evDeflected{b.index, nil})
		return
	}
	by := route.Diversion{From: t.Extension, Reason: route.Deflection}
	r := c.request(d, append(slices.Clone(c.history), by))
	c.s.work.Go(func() {
		m := msgDeflected{branch: b}
		if plan := c.s.consult(c.ctx, r); plan.Refuse == nil && plan.First != nil {
			stage := *plan.First
			if stage.Diversion == nil {
				stage.Diversion = &by
			} else { // the target has forwarded its calls already
				m.earlier = []route.Diversion{by}
			}
			m.stage = &stage
		}
		c.post(m)
	})
}
