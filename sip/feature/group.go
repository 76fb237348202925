package feature

import (
	"context"
	"fmt"
	"slices"

	"linehall/sip/dialplan"
	"linehall/sip/route"
)

// group plans a call to a ring or hunt group. The members' own forwards do not count: a call to a
// group is for the group. A member that is in a call does not ring (the core knows it in the very
// moment, see route.Stage.Limits).
func (p *planner) group(number string, h hop) part {
	g, known := p.view.group(number)
	if !known {
		p.step("group", "%s is no group any more", number)
		return refused(404, "No such group")
	}
	members := p.members(g)
	if len(members) == 0 {
		p.step("group", "nobody of %s is there", number)
		return p.overflow(g, h, refused(480, textNobody))
	}
	if g.Strategy == dialplan.RingAll {
		return p.together(g, members, h)
	}
	return p.hunt(g, members, h)
}

// members are those that can ring now, in the strategy's order.
func (p *planner) members(g dialplan.GroupConfig) []string {
	var ready []string
	for _, m := range p.view.order(g) {
		t, known := p.view.terminal(m)
		s := p.view.settings(m)
		why := ""
		switch {
		case m == p.req.Caller.Extension:
			why = "is the caller"
		case !known || !t.MayRegister():
			why = "has no telephone in use"
		case slices.Contains(s.LoggedOut, g.Number):
			why = "is logged out"
		case s.DoNotDisturb:
			why = "does not want to be disturbed"
		case !p.view.there(m):
			why = "is not registered"
		}
		if why != "" {
			p.step("group member", "%s %s", m, why)
			continue
		}
		ready = append(ready, m)
	}
	return ready
}

func (p *planner) together(g dialplan.GroupConfig, members []string, h hop) part {
	members = members[:min(len(members), route.MaxExtensions)]
	stage, ok := p.stage(h, &route.Stage{Extensions: members, Ring: g.Ring, Limits: oneCall(members)})
	if !ok {
		return refused(480, textNobody)
	}
	p.step("group", "%s rings %v together%s", g.Number, members, by(h.why))
	p.then(stage, p.overflow(g, h.after(), part{}).stage)
	return part{stage: stage}
}

// hunt rings one after the other. A tree is only so deep: the members that are left then ring
// together, last.
func (p *planner) hunt(g dialplan.GroupConfig, members []string, h hop) part {
	room := route.MaxDepth - h.depth + 1
	if g.Overflow != "" {
		room-- // one stage for it; what it forwards further may not fit, then
	}
	room = max(1, min(room, len(members)))
	p.step("group", "%s rings %v one after the other (%s)%s", g.Number, members, g.Strategy, by(h.why))
	if room < len(members) {
		p.step("group", "%v ring together, as the last", members[room-1:])
	}
	last := h
	last.depth += room - 1
	next := p.overflow(g, last.after(), part{}).stage
	for i := room - 1; i >= 0; i-- {
		ringing := members[i : i+1]
		if i == room-1 {
			ringing = members[i:]
		}
		at := h
		if at.depth += i; i > 0 {
			at.why = nil
		}
		stage, ok := p.stage(at, &route.Stage{Extensions: ringing[:min(len(ringing), route.MaxExtensions)], Ring: g.Ring, Limits: oneCall(ringing)})
		if !ok {
			return refused(480, textNobody)
		}
		p.then(stage, next)
		next = stage
	}
	return part{stage: next}
}

// then lets one stage follow every failure of another.
func (p *planner) then(stage, next *route.Stage) {
	if next != nil {
		stage.Busy, stage.NoAnswer, stage.Unreachable, stage.Failed = next, next, next, next
	}
}

// overflow is what rings when the group does not answer, or otherwise when there is none.
func (p *planner) overflow(g dialplan.GroupConfig, h hop, otherwise part) part {
	if g.Overflow == "" || h.depth > route.MaxDepth {
		return otherwise
	}
	if slices.Contains(h.path, g.Overflow) || h.count >= route.MaxDiversions || g.Overflow == p.caller() {
		p.step("overflow", "ignored: the call has been at %s, is from there, or was forwarded too often", g.Overflow)
		return otherwise
	}
	why := route.Diversion{From: g.Number, Reason: route.NoReply}
	d := p.view.decide(dialplan.Caller{Extension: g.Number}, g.Overflow)
	to := h.to(g.Overflow, why)
	p.step("overflow", "then %s, which is %s", g.Overflow, d.Kind)
	var found part
	switch d.Kind {
	case dialplan.Extension:
		found = p.extension(d.Number, to)
	case dialplan.Group:
		found = p.group(d.Group, to)
	case dialplan.Duty:
		found.stage, _ = p.stage(to, &route.Stage{Extensions: d.Targets})
	case dialplan.Outside:
		found.stage = p.outside(d, to)
	case dialplan.Emergency, dialplan.Room, dialplan.Feature, dialplan.Forbidden, dialplan.Unknown:
	}
	if found.stage == nil {
		return otherwise
	}
	return found
}

func oneCall(members []string) map[string]int {
	limits := make(map[string]int, len(members))
	for _, m := range members {
		limits[m] = 1
	}
	return limits
}

// GroupState is a group at one moment.
type GroupState struct {
	dialplan.GroupConfig
	States []MemberState
}

// MemberState is one member.
type MemberState struct {
	Extension    string
	LoggedIn     bool
	Registered   bool
	DoNotDisturb bool
	Calls        int
	Free         bool // a call to the group would ring it
}

// Groups shows all groups, in the order of the configuration.
func (s *Service) Groups() []GroupState {
	var list []GroupState
	for _, g := range s.o.Plan.Groups() {
		state := GroupState{GroupConfig: g}
		for _, m := range g.Members {
			own := s.settings(m)
			t, known := s.o.Directory.ByExtension(m)
			one := MemberState{Extension: m, LoggedIn: !slices.Contains(own.LoggedOut, g.Number), Registered: s.there(m), DoNotDisturb: own.DoNotDisturb, Calls: s.callsOf(m)}
			one.Free = one.LoggedIn && one.Registered && !one.DoNotDisturb && one.Calls == 0 && known && t.MayRegister()
			state.States = append(state.States, one)
		}
		list = append(list, state)
	}
	return list
}

// SetMember logs an extension in to a group or out of it.
func (s *Service) SetMember(ctx context.Context, group, extension string, in bool) error {
	g, known := s.o.Plan.Group(group)
	if !known || !slices.Contains(g.Members, extension) {
		return fmt.Errorf("%s in group %q: %w", extension, group, ErrUnknown)
	}
	_, err := s.Change(ctx, extension, func(own *Settings) { own.setMember(group, in) })
	return err
}

func (s *Settings) setMember(group string, in bool) {
	s.LoggedOut = slices.DeleteFunc(s.LoggedOut, func(g string) bool { return g == group })
	if !in {
		s.LoggedOut = append(s.LoggedOut, group)
	}
}
