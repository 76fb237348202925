package call

import (
	"crypto/rand"
	"log/slog"
	"time"

	"github.com/emiago/sipgo/sip"

	"linehall/internal/directory"
	"linehall/internal/observe"
	"linehall/internal/site"
	"linehall/media/anchor"
	"linehall/sip/cdr"
	"linehall/sip/dialog"
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
}

// start opens the media and begins the first stage.
func (c *call) start() {
	c.m = newMachine(c.stage)
	c.s.o.Records.Begin(c.rec)
	c.ex.admit(caller) // until the ACK nobody may re-negotiate
	flow := c.origin.flow()
	c.media = c.s.o.Anchor.Open(c.holder(), anchor.Party{
		Site: site.ID(c.rec.FromSite), Remote: flow.Remote.Addr(), Local: flow.Local.Addr(),
	})
	c.origin.begin(c)
	c.arm(timerName{kind: "setup"}, c.s.limits.Setup, func() { c.step(evRingTimeout{}) })
	c.log.Info("call started", slog.String("from", c.rec.From), slog.String("to", c.rec.Dialled), slog.Int(observe.Count, len(c.targets)))
	targets := c.targets
	c.targets = nil
	c.publish()
	c.opened(c.stage, targets)
}

// open begins a stage that the machine went on to.
func (c *call) open(a acOpen) {
	c.disarmStage()
	c.leaveStage()
	c.log.Info("next stage", slog.String("after", a.Outcome.String()), slog.Any("extensions", a.Stage.Extensions))
	c.find(a.Stage)
}

// find looks for a stage's targets and brings them to the machine.
func (c *call) find(stage *route.Stage) {
	c.opened(stage, c.s.targets(c, stage))
}

// targets lists what a stage rings. The caller's own phones never do.
func (s *Service) targets(c *call, stage *route.Stage) []target {
	if stage.Outside != nil {
		return []target{{number: stage.Outside.Number, refuse: refusal{code: 480, text: "no way outside"}}}
	}
	var found []target
	for _, e := range stage.Extensions {
		if e != c.rec.From {
			found = append(found, s.phones(c, e, stage.Limits[e])...)
		}
	}
	if len(found) == 0 {
		return []target{{terminal: directory.Terminal{Extension: c.rec.From}, refuse: refusal{code: 486, text: "the caller's own number"}}}
	}
	return found
}

// opened brings a stage's targets to the machine, unless the call has ended or was answered while
// they were looked for.
func (c *call) opened(stage *route.Stage, targets []target) {
	if c.m.Phase != phaseRinging || !c.m.Opening || c.m.Stage != stage {
		return
	}
	targets = targets[:min(len(targets), mostBranches-len(c.branches))]
	now := &begun{stage: stage, callID: rand.Text(), tag: rand.Text()[:16]}
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
	number, _ := b.target.party()
	now := time.Now().UTC()
	c.rec.Legs[b.index].StartedAt = &now
	flow := b.target.flow()
	b.path = c.media.Branch(number+" "+b.target.contact(), anchor.Party{Site: b.site, Remote: flow.Remote.Addr(), Local: flow.Local.Addr()})
	if r := c.sendInvite(b, b.of.callID, b.of.tag); r.code != 0 {
		b.refuse = r
		c.branchFailed(b, r.code)
	}
}

// leaveStage takes the extensions of the stages so far off the call: what does not ring any more
// is not busy with it.
func (c *call) leaveStage() {
	c.s.vacate(c, c.rec.From)
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
	domain := c.s.stack.Domain()
	number, _ := t.party()
	from := &sip.FromHeader{
		DisplayName: display(c.fromName), Address: sip.Uri{Scheme: "sip", User: c.rec.From, Host: domain},
		Params: sip.HeaderParams{{K: "tag", V: tag}},
	}
	to := &sip.ToHeader{Address: sip.Uri{Scheme: "sip", User: number, Host: domain}}
	inv.AppendHeader(from)
	inv.AppendHeader(to)
	return inv, refusal{}
}
