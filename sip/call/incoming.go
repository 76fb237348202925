package call

import (
	"context"
	"strings"
	"time"

	"github.com/emiago/sipgo/sip"

	"linehall/internal/directory"
	"linehall/sip/dialplan"
	"linehall/sip/stack"
)

// inbound is a Plan that knows numbers of ours in other networks.
type inbound interface {
	Inbound(from dialplan.Incoming, called string, at time.Time) dialplan.Decision
}

// anonymous stands for a number that its owner withholds.
const anonymous = "anonymous"

// identified says whether an INVITE comes over a trunk.
func (s *Service) identified(req *stack.Request) (Incoming, bool) {
	if s.o.Trunks == nil {
		return Incoming{}, false
	}
	return s.o.Trunks.Identify(req)
}

// serveIncoming takes an INVITE of another network: not challenged, its From believed as far as the
// trunk says, and only what the plan gives that network can be reached.
func (s *Service) serveIncoming(ctx context.Context, req *stack.Request, in Incoming) {
	req.Tx.Alter(hideResponse)
	_ = req.Tx.Respond(s.stack.NewResponse(req, 100, "Trying")) // a lost 100 costs a repeated INVITE
	c := s.newCall(req, directory.Terminal{DisplayName: in.Name, Site: in.Site})
	c.incoming = &in
	c.rec.From, c.rec.Trunk = in.From, in.Trunk
	if in.From == "" {
		c.rec.From, c.fromName = anonymous, ""
	}
	if in.Trusted {
		c.history = forwardsOf(req.Request)
		for _, d := range c.history {
			c.rec.Forwards = append(c.rec.Forwards, forwardRecord(d))
		}
	}
	if h := req.GetHeaders("Replaces"); len(h) > 0 {
		s.serveReplaces(c, req, directory.Terminal{}, h)
		return
	}
	if h := req.GetHeaders("Join"); len(h) > 0 {
		s.refuseCall(c, refusal{code: 481}) // whoever is outside learns of no call, and joins none
		return
	}
	r := s.routeIncoming(ctx, c, req)
	if r.code == 0 {
		switch code := s.admitHere(c, req); code { //nolint:contextcheck // a call lives with the service
		case 0:
		case 486:
			r = refusal{code: code, text: "the trunk carries as many calls as it may"}
		default:
			r = refusal{code: code, warn: 399, text: "Too many calls"}
		}
	}
	if r.code != 0 {
		s.refuseCall(c, r)
	}
}

func (s *Service) routeIncoming(ctx context.Context, c *call, req *stack.Request) refusal {
	in := c.incoming
	c.rec.Dialled, c.rec.To = in.Number, in.Number
	plan, ok := s.o.Plan.(inbound)
	if !ok {
		return refusal{code: 404, text: "no number of ours"}
	}
	c.decision = plan.Inbound(dialplan.Incoming{Trunk: in.Trunk, Number: in.From}, in.Number, c.rec.StartedAt)
	c.rec.To = c.decision.Number
	if r := s.startable(req); r.code != 0 {
		return r
	}
	return s.aim(ctx, c)
}

// dialled is the number that the caller knows: that of the DID for another network, else the plan's.
func (c *call) dialled() string {
	if c.incoming != nil {
		return c.incoming.Number
	}
	return c.decision.Number
}

// callerExtension is the calling phone's extension; "" when the call came over a trunk, whatever
// number it shows.
func (c *call) callerExtension() string {
	if c.incoming != nil {
		return ""
	}
	return c.rec.From
}

// anonymousWarning replaces the agent of a Warning (RFC 3261 §20.43), which names a host of ours.
func anonymousWarning(value string) string {
	code, rest, ok := strings.Cut(value, " ")
	if !ok {
		return value
	}
	_, text, ok := strings.Cut(rest, " ")
	if !ok {
		return value
	}
	return code + " linehall " + text
}

// sameTrunk reports whether a request in a leg's dialog comes from another gateway of its trunk.
func (c *call) sameTrunk(l *leg, req *stack.Request) bool {
	if l.Trunk == "" {
		return false
	}
	in, ok := c.s.identified(req)
	return ok && in.Trunk == l.Trunk
}

// hides makes the responses to a request in a call tell a gateway no more than it may know.
func (l *leg) hides(req *stack.Request) {
	if l.Trunk != "" && req.Method != sip.ACK {
		req.Tx.Alter(hideResponse)
	}
}
