package call

import (
	"context"

	"linehall/internal/directory"
	"linehall/internal/site"
	"linehall/sip/dialplan"
	"linehall/sip/route"
	"linehall/sip/stack"
)

// Features serves the feature codes that no call of somebody else's is needed for (sip/feature).
type Features interface {
	// Dial does what a code means for the terminal that dialled it, which is authenticated.
	Dial(ctx context.Context, caller directory.Terminal, feature, argument string) route.Served
}

// serveFeature takes an INVITE to a feature code. It reports whether the INVITE is answered; if
// not, the call goes on to the number that the code stood for, or ends with the refusal.
func (s *Service) serveFeature(ctx context.Context, c *call, req *stack.Request, from directory.Terminal) (answered bool, r refusal) {
	served := s.o.Features.Dial(ctx, from, c.decision.Feature, c.decision.Argument)
	switch {
	case served.Refuse != nil:
		// Most phones show the reason phrase and no Warning.
		return false, refusal{code: served.Refuse.Code, reason: served.Refuse.Text, warn: 399, text: served.Refuse.Text}
	case served.Dial == "":
		return true, s.showNotice(ctx, c, req, served)
	}
	caller := dialplan.Caller{Extension: from.Extension, Class: from.Class, Site: site.ID(c.rec.FromSite)}
	d := s.o.Plan.Decide(caller, served.Dial, c.rec.StartedAt)
	if d.Kind == dialplan.Feature { // a code behind a code could go in circles
		return false, refusal{code: 404, warn: 399, text: "A feature code leads to another one"}
	}
	c.decision, c.alert = d, served.Alert
	c.rec.To = d.Number
	return false, s.aim(ctx, c)
}
