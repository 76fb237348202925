package feature

import (
	"context"
	"time"

	"linehall/internal/directory"
	"linehall/sip/dialplan"
	"linehall/sip/route"
)

// Route says what rings for a call. It takes no database work.
func (s *Service) Route(_ context.Context, r route.Request) route.Plan {
	p := &planner{view: present{s}, req: r, alert: r.Alert}
	plan := p.plan()
	if r.Decision.Kind == dialplan.Extension {
		caller := r.Caller.Extension
		if caller == "" {
			caller = r.Number
		}
		if caller != r.Decision.Number {
			s.noteCall(caller, r.Decision.Number, r.Decision.Withheld)
		}
	}
	return plan
}

// Explain says what would ring for a call now, and why, without any trace of it.
func (s *Service) Explain(r route.Request) (route.Plan, []dialplan.Step) {
	p := &planner{view: present{s}, req: r, alert: r.Alert}
	plan := p.plan()
	return plan, p.steps
}

// present is the view of this moment.
type present struct{ s *Service }

func (v present) terminal(extension string) (directory.Terminal, bool) {
	return v.s.o.Directory.ByExtension(extension)
}

func (v present) settings(extension string) Settings { return v.s.settings(extension) }

func (v present) decide(from dialplan.Caller, number string) dialplan.Decision {
	return v.s.o.Plan.Decide(from, number, v.now())
}

func (v present) group(number string) (dialplan.GroupConfig, bool) { return v.s.o.Plan.Group(number) }

func (v present) order(g dialplan.GroupConfig) []string { return v.s.order(g) }

func (v present) there(extension string) bool { return v.s.there(extension) }

func (v present) guest(extension string) string {
	d, _ := v.s.DeskOf(extension)
	return d.Desk
}

func (v present) now() time.Time { return v.s.now() }
