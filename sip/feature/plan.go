package feature

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"linehall/internal/directory"
	"linehall/sip/dialplan"
	"linehall/sip/route"
)

// What rings for a number: a pure function of the request and of what view says. In this order:
//
//	of an extension            caller's own number → 486, block anonymous → 433, boss → secretary,
//	                           after hours → forward, always → forward, do not disturb → forward
//	                           busy or 480, else its phones with what follows each outcome
//	of a forward               never to where the call has been, never back to the caller, never
//	                           where the class of service of whoever forwards does not reach:
//	                           such a forward does not count, and what it hides rings
//	of a group                 members that are there, in the order of the strategy, then overflow

// maxStages bounds a whole tree; people set up three or four.
const maxStages = 40

// view is what the planner may ask. Everything else is in the request.
type view interface {
	terminal(extension string) (directory.Terminal, bool)
	settings(extension string) Settings
	decide(from dialplan.Caller, number string) dialplan.Decision
	group(number string) (dialplan.GroupConfig, bool)
	order(g dialplan.GroupConfig) []string // the members, who rings first in front
	there(extension string) bool           // a phone of it is registered
	guest(extension string) string         // the desk where it is a guest, or ""
	now() time.Time
}

// planner makes one plan.
type planner struct {
	view   view
	req    route.Request
	alert  route.Alert
	steps  []dialplan.Step
	stages int
}

// hop is a place in the tree: how a call came here.
type hop struct {
	path  []string          // numbers that it has been forwarded by, this one included
	why   []route.Diversion // forwards since the stage before
	count int               // forwards in total
	depth int               // of the stage to come; the first is 1
}

// to is the hop that a forward leads to.
func (h hop) to(number string, why route.Diversion) hop {
	return hop{path: append(slices.Clip(h.path), number), why: append(slices.Clip(h.why), why), count: h.count + 1, depth: h.depth}
}

// after is the hop of a stage that follows another one.
func (h hop) after() hop { return hop{path: h.path, count: h.count, depth: h.depth + 1} }

// outcome of planning a part: a stage, or why there is none.
type part struct {
	stage  *route.Stage
	refuse *route.Refusal
}

func refused(code int, text string) part { return part{refuse: &route.Refusal{Code: code, Text: text}} }

// Texts that callers see; plain ASCII, because a Warning is quoted text for any display.
const (
	textOwn       = "The caller's own number"
	textAnonymous = "Anonymous calls are not accepted"
	textDND       = "Do not disturb"
	textNobody    = "Nobody of the group is there"
	textUnused    = "Not in use"
)

// plan answers the request.
func (p *planner) plan() route.Plan {
	d := p.req.Decision
	start := hop{path: []string{d.Number}, count: len(p.req.Diversions), depth: 1}
	for _, before := range p.req.Diversions {
		start.path = append(start.path, before.From)
	}
	var found part
	switch d.Kind {
	case dialplan.Emergency, dialplan.Duty:
		p.step("untouched", "%s is rung as the number plan says: no forward, do-not-disturb or limit stands before it", d.Number)
		found.stage = &route.Stage{Extensions: d.Targets}
	case dialplan.Extension:
		found = p.extension(d.Number, start)
	case dialplan.Group:
		found = p.group(d.Group, start)
	case dialplan.Outside:
		found.stage = p.outside(d, start)
	case dialplan.Room:
		found.stage = &route.Stage{Extensions: d.Targets}
	case dialplan.Feature, dialplan.Forbidden, dialplan.Unknown:
		found = refused(404, "Nothing to ring")
	}
	if found.stage == nil && found.refuse == nil {
		found = refused(480, textUnused)
	}
	return route.Plan{First: found.stage, Refuse: found.refuse}
}

func (p *planner) step(rule, format string, args ...any) {
	p.steps = append(p.steps, dialplan.Step{Rule: rule, Result: fmt.Sprintf(format, args...)})
}

// caller is the number that the callee would see.
func (p *planner) caller() string {
	if p.req.Caller.Extension != "" {
		return p.req.Caller.Extension
	}
	return p.req.Number
}

// anonymous reports whether the caller hides its number, or the network outside told none.
func (p *planner) anonymous() bool {
	if p.req.Decision.Withheld {
		return true
	}
	return p.req.Caller.Extension == "" && (p.req.Number == "" || strings.EqualFold(p.req.Number, "anonymous"))
}

// extension plans a call to an extension.
func (p *planner) extension(ext string, h hop) part {
	t, known := p.view.terminal(ext)
	switch {
	case ext == p.req.Caller.Extension:
		p.step("own number", "%s calls itself", ext)
		return refused(486, textOwn)
	case !known || !t.MayRegister():
		p.step("not in use", "%s has no telephone in use", ext)
		return refused(480, textUnused)
	}
	s := p.view.settings(ext)
	if s.BlockAnonymous && p.anonymous() {
		p.step("block anonymous", "%s does not take calls without a number", ext)
		return refused(433, textAnonymous) // RFC 5079
	}
	if p.alert == route.Intercom {
		return p.intercom(ext, s)
	}
	if s.Boss.On {
		if found, decided := p.boss(t, &s, h); decided {
			return found
		}
	}
	return p.own(t, &s, h)
}

// intercom rings one phone, which answers by itself: no forward may put a caller's voice into a
// room that the caller did not choose.
func (p *planner) intercom(ext string, s Settings) part {
	if s.DoNotDisturb && !s.Boss.through(p.caller()) {
		p.step("do not disturb", "%s does not want to be disturbed", ext)
		return refused(480, textDND)
	}
	p.step("intercom", "%s answers by itself, unless it is in a call", ext)
	return part{stage: &route.Stage{Extensions: []string{ext}, Alert: route.Intercom, Limits: map[string]int{ext: 1}}}
}

// boss puts the secretary before the boss's phone. decided is false when the boss's own phone is
// next.
func (p *planner) boss(t directory.Terminal, s *Settings, h hop) (found part, decided bool) {
	b := &s.Boss
	if b.passes(p.caller()) {
		p.step("boss", "%s gets through to %s", p.caller(), t.Extension)
		return part{}, false
	}
	if b.passes(p.req.By) || slices.ContainsFunc(p.req.Diversions, func(d route.Diversion) bool { return d.From == b.Secretary }) {
		p.step("boss", "%s or somebody of the list sends the call to %s", b.Secretary, t.Extension)
		return part{}, false
	}
	why := route.Diversion{From: t.Extension, Reason: route.Unconditional}
	secretary, known := p.view.terminal(b.Secretary)
	switch {
	case !known || !secretary.MayRegister() || slices.Contains(h.path, b.Secretary) || b.Secretary == p.req.Caller.Extension:
		p.step("boss", "the secretary %s cannot take the call; %s rings", b.Secretary, t.Extension)
		return part{}, false
	case b.Only:
		p.step("boss", "the secretary %s takes all calls of %s", b.Secretary, t.Extension)
		return p.own(secretary, new(p.view.settings(b.Secretary)), h.to(b.Secretary, why)), true
	}
	theirs := p.view.settings(b.Secretary)
	if theirs.DoNotDisturb {
		p.step("boss", "the secretary %s does not want to be disturbed; %s rings", b.Secretary, t.Extension)
		return part{}, false
	}
	p.step("boss", "the secretary %s rings first, then %s", b.Secretary, t.Extension)
	to := h.to(b.Secretary, why)
	stage, ok := p.stage(to, &route.Stage{Extensions: []string{b.Secretary}, Ring: theirs.NoAnswerAfter(), Limits: limit(b.Secretary, theirs.CallLimit)})
	if !ok {
		return part{}, false
	}
	if to.depth < route.MaxDepth {
		then := p.own(t, s, h.after()).stage
		stage.Busy, stage.NoAnswer, stage.Unreachable, stage.Failed = then, then, then, then
	}
	return part{stage: stage}, true
}

// own plans the extension's forwards and phones.
func (p *planner) own(t directory.Terminal, s *Settings, h hop) part {
	ext := t.Extension
	if s.AfterHours.covers(p.view.now()) {
		if found, ok := p.follow(t, AfterHours, s.AfterHours.To, route.TimeOfDay, h); ok {
			return found
		}
	}
	if s.Always.On {
		if found, ok := p.follow(t, Always, s.Always.To, route.Unconditional, h); ok {
			return found
		}
	}
	if s.DoNotDisturb && !s.Boss.through(p.caller()) {
		if s.Busy.On {
			if found, ok := p.follow(t, Busy, s.Busy.To, route.DoNotDisturb, h); ok {
				return found
			}
		}
		p.step("do not disturb", "%s does not want to be disturbed", ext)
		return refused(480, textDND)
	}
	return p.phones(t, s, h)
}

// phones rings the extension, and says what follows each outcome.
func (p *planner) phones(t directory.Terminal, s *Settings, h hop) part {
	ext := t.Extension
	stage, ok := p.stage(h, &route.Stage{Extensions: []string{ext}, Limits: limit(ext, s.CallLimit)})
	if !ok {
		return refused(480, textUnused)
	}
	if desk := p.view.guest(ext); desk != "" {
		p.step("hot desk", "%s is a guest at %s: that phone rings", ext, desk)
	}
	if s.CallLimit > 0 {
		p.step("call waiting", "%s has at most %d calls; a further caller finds it busy", ext, s.CallLimit)
	}
	p.step("rings", "%s rings%s", ext, by(h.why))
	if h.depth >= route.MaxDepth {
		p.step("depth", "what %s would forward further does not count: %d stages are enough", ext, route.MaxDepth)
		return part{stage: stage}
	}
	for _, f := range []struct {
		kind   Kind
		on     Forward
		reason route.Reason
		edge   **route.Stage
	}{
		{Busy, s.Busy, route.UserBusy, &stage.Busy},
		{NoAnswer, s.NoAnswer, route.NoReply, &stage.NoAnswer},
		{Unreachable, s.Unreachable, route.Unavailable, &stage.Unreachable},
	} {
		if !f.on.On {
			continue
		}
		found, ok := p.follow(t, f.kind, f.on.To, f.reason, h.after())
		if !ok || found.stage == nil {
			continue
		}
		*f.edge = found.stage
		if f.kind == NoAnswer {
			stage.Ring = s.NoAnswerAfter()
		}
	}
	return part{stage: stage}
}

func by(why []route.Diversion) string {
	if len(why) == 0 {
		return ""
	}
	last := why[len(why)-1]
	return fmt.Sprintf(", forwarded by %s (%s)", last.From, last.Reason)
}

// follow plans a forward. It is false when the forward does not count, and says why.
func (p *planner) follow(t directory.Terminal, kind Kind, target string, reason route.Reason, h hop) (part, bool) {
	rule := "forward " + strings.ReplaceAll(string(kind), "_", " ")
	ignore := func(format string, args ...any) (part, bool) {
		p.step(rule, "ignored: "+format, args...)
		return part{}, false
	}
	if h.count >= route.MaxDiversions {
		return ignore("the call has been forwarded %d times", h.count)
	}
	d := p.view.decide(callerOf(t), target)
	why := route.Diversion{From: t.Extension, Reason: reason}
	switch {
	case d.Number == p.caller() && p.caller() != "":
		return ignore("%s is the caller", target)
	case slices.Contains(h.path, d.Number):
		return ignore("a loop: the call has been at %s (%s)", d.Number, strings.Join(h.path, ", "))
	}
	switch d.Kind {
	case dialplan.Extension:
		p.step(rule, "%s forwards to %s", t.Extension, d.Number)
		return p.extension(d.Number, h.to(d.Number, why)), true
	case dialplan.Group:
		p.step(rule, "%s forwards to the group %s", t.Extension, d.Group)
		return p.group(d.Group, h.to(d.Group, why)), true
	case dialplan.Duty:
		p.step(rule, "%s forwards to the duty desk", t.Extension)
		stage, ok := p.stage(h.to(d.Number, why), &route.Stage{Extensions: d.Targets})
		return part{stage: stage}, ok
	case dialplan.Outside:
		p.step(rule, "%s forwards to %s outside", t.Extension, d.Number)
		stage := p.outside(d, h.to(d.Number, why))
		return part{stage: stage}, stage != nil
	case dialplan.Forbidden:
		return ignore("%s may not call %s: %s", t.Extension, target, lastStep(d))
	case dialplan.Emergency, dialplan.Room, dialplan.Feature, dialplan.Unknown:
	}
	return ignore("%s is %s", target, d.Kind)
}

// outside is a stage behind trunks.
func (p *planner) outside(d dialplan.Decision, h hop) *route.Stage {
	stage, ok := p.stage(h, &route.Stage{Outside: route.Out(d)})
	if !ok {
		return nil
	}
	return stage
}

// stage counts a stage and writes into it how the call came there.
func (p *planner) stage(h hop, s *route.Stage) (*route.Stage, bool) {
	if p.stages++; p.stages > maxStages || h.depth > route.MaxDepth {
		p.step("size", "more than %d stages, or %d behind one another: the rest does not count", maxStages, route.MaxDepth)
		return nil, false
	}
	if len(h.why) > 0 {
		last := len(h.why) - 1
		s.Diversion, s.Before = &h.why[last], h.why[:last]
	}
	return s, true
}

// limit says how many calls an extension may have; nil when nothing is set.
func limit(ext string, most int) map[string]int {
	if most <= 0 {
		return nil
	}
	return map[string]int{ext: most}
}
