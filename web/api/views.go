package api

import (
	"cmp"
	"context"
	"fmt"
	"net/http"
	"slices"

	"linehall/internal/auth"
)

func (a *API) registerViews() {
	view(a, operation("get-status", http.MethodGet, "/status", "appliance", "How the appliance is", leaders), leaders,
		func(ctx context.Context, p auth.Principal, _ *struct{}) (*body[Status], error) {
			return &body[Status]{a.status(ctx, p)}, nil
		})
	view(a, operation("list-lines", http.MethodGet, "/lines", "lines", "The leased lines' accounts", leaders), leaders,
		func(ctx context.Context, p auth.Principal, _ *struct{}) (*body[lineList], error) {
			return &body[lineList]{a.lines(ctx, p)}, nil
		})
}

func (a *API) status(ctx context.Context, p auth.Principal) Status {
	s := a.opts.Appliance.Status(ctx)
	s.Sites = only(p, s.Sites, func(s SiteStatus) []string { return []string{s.ID} })
	s.Alarms = only(p, s.Alarms, func(a Alarm) []string {
		if a.Site == nil {
			return nil
		}
		return []string{*a.Site}
	})
	if p.Site != "" {
		s.TerminalsTotal, s.TerminalsRegistered, s.CallsActive, s.Participants = 0, 0, 0, 0
		for _, one := range s.Sites {
			s.TerminalsTotal += one.TerminalsTotal
			s.TerminalsRegistered += one.TerminalsRegistered
			s.CallsActive += one.CallsActive
			s.Participants += one.Participants
		}
	}
	return s
}

func (a *API) lines(ctx context.Context, p auth.Principal) lineList {
	lines := only(p, a.opts.Lines.Lines(ctx), func(l Line) []string { return []string{l.Site} })
	for i := range lines {
		for _, d := range []*LineDirection{&lines[i].Up, &lines[i].Down} {
			if d.Classes == nil {
				d.Classes = []LineClass{}
			}
			d.BelowContract = cmp.Or(d.BelowContract, "no")
		}
	}
	return lineList{lines}
}

// Topics are the names that Topic knows, in the order in which a live feed sends them first.
func Topics() []string { return []string{"status", "terminals", "calls", "lines", "rooms"} }

// Topic returns the body of a live topic as the principal may see it; the same body is at the endpoint of that name.
// It returns an error when the principal may not see the topic.
func (a *API) Topic(ctx context.Context, topic string, p auth.Principal) (any, error) {
	type source struct {
		roles []auth.Role
		read  func() any
	}
	sources := map[string]source{
		"status":    {leaders, func() any { return a.status(ctx, p) }},
		"terminals": {watchers, func() any { return a.terminals(ctx, p) }},
		"calls":     {watchers, func() any { return a.calls(ctx, p) }},
		"lines":     {leaders, func() any { return a.lines(ctx, p) }},
		"rooms":     {leaders, func() any { return a.rooms(ctx) }},
	}
	s, ok := sources[topic]
	if !ok {
		return nil, fmt.Errorf("topic %q: %w", topic, ErrNotFound)
	}
	if !slices.Contains(s.roles, p.Role) {
		return nil, fmt.Errorf("topic %q: role %s does not see it", topic, p.Role)
	}
	return s.read(), nil
}
