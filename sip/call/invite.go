package call

import (
	"context"
	"log/slog"
	"strconv"
	"strings"
	"time"

	"linehall/internal/directory"
	"linehall/internal/observe"
	"linehall/internal/site"
	"linehall/media/line"
	"linehall/sip/cdr"
	"linehall/sip/dialog"
	"linehall/sip/dialplan"
	"linehall/sip/location"
	"linehall/sip/route"
	"linehall/sip/stack"
)

// serveInvite takes an INVITE: authenticated, its From the terminal's own (both checked by
// sip/digest), understood by the number plan, within the limits, and somebody to ring. Whatever
// fails is answered and recorded.
func (s *Service) serveInvite(ctx context.Context, req *stack.Request) {
	if req.InDialog() {
		s.ServeInDialog(ctx, req)
		return
	}
	select {
	case <-s.begun: // the sockets are open before the calls of before the restart are taken up
	default:
		req.Leave()
		select {
		case <-s.begun:
		case <-ctx.Done():
			return
		}
	}
	if in, ok := s.identified(req); ok {
		s.serveIncoming(ctx, req, in)
		return
	}
	from, challenge := s.o.Auth.Check(req)
	if challenge != nil {
		_ = req.Tx.Respond(challenge) // the phone repeats its INVITE when this is lost
		return
	}
	if s.badTimer(req) {
		return
	}
	_ = req.Tx.Respond(s.stack.NewResponse(req, 100, "Trying")) // a lost 100 costs a repeated INVITE
	c := s.newCall(req, from)
	if h := req.GetHeaders("Replaces"); len(h) > 0 {
		s.serveReplaces(c, req, from, h)
		return
	}
	if h := req.GetHeaders("Join"); len(h) > 0 {
		s.serveJoin(c, req, from, h)
		return
	}
	r := s.route(ctx, c, req, from)
	if r.code == 404 && c.decision.Kind == dialplan.Feature {
		if f := c.decision.Feature; f == pickupOne || f == pickupGroup {
			s.servePickup(c, req, from)
			return
		}
		if mode, joins := dialplan.BargeOf(c.decision.Feature); joins {
			s.serveBarge(c, req, from, mode)
			return
		}
		if s.o.Features != nil {
			req.Leave() // it may write
			var answered bool
			if answered, r = s.serveFeature(ctx, c, req, from); answered && r.code == 0 {
				return
			}
		}
	}
	if r.code != 0 {
		s.refuseCall(c, r)
		return
	}
	if code := s.admitHere(c, req); code != 0 { //nolint:contextcheck // a call lives with the service
		s.refuseCall(c, refusal{code: code, warn: 399, text: "Too many calls"})
	}
}

// newCall is a call that nobody owns yet.
func (s *Service) newCall(req *stack.Request, from directory.Terminal) *call {
	now := time.Now()
	id := newID(now)
	c := &call{
		s: s, id: id, log: s.log.With(observe.CallID, id), class: line.Voice, origin: &invited{req: req},
		done:   make(chan struct{}),
		timers: map[timerName]*timer{}, fromName: from.DisplayName, terminal: from,
		late: len(description(req)) == 0,
	}
	c.rec = cdr.Record{
		ID: id, CallID: req.CallID().Value(), StartedAt: now.UTC(), Class: c.class.String(),
		From: from.Extension, FromSite: string(s.siteOf(req.Flow, from.Site)),
	}
	return c
}

// route fills in whom to ring, or says why not.
func (s *Service) route(ctx context.Context, c *call, req *stack.Request, from directory.Terminal) refusal {
	dialled := unescape(req.Recipient.User)
	if pinned, isGRUU, err := s.o.Locations.Resolve(&req.Recipient); err != nil {
		return refusal{code: 404, text: "the GRUU is not valid, or not any more"}
	} else if isGRUU {
		dialled, c.pinned = pinned.User, &pinned
	}
	caller := dialplan.Caller{Extension: from.Extension, Class: from.Class, Site: s.siteOf(req.Flow, from.Site)}
	c.decision = s.o.Plan.Decide(caller, dialled, c.rec.StartedAt)
	c.rec.Dialled, c.rec.To = c.decision.Number, c.decision.Number
	if r := s.startable(req); r.code != 0 {
		return r
	}
	c.classify()
	if r := c.prioritise(req.Request); r.code != 0 {
		return r
	}
	return s.aim(ctx, c)
}

// startable says why an INVITE cannot start a call, whatever its number.
func (s *Service) startable(req *stack.Request) refusal {
	switch {
	case s.draining.Load():
		return refusal{code: 503, text: "shutting down"}
	case !dialog.Possible(req.Request):
		return refusal{code: 400, reason: "Bad Contact", text: "no Contact that a dialog could use"}
	case criticalSession(req.Request):
		return refusal{code: 500, warn: 399, text: "Privacy of the media cannot be promised"}
	case len(req.Body()) > 0 && !isSDP(req.Request):
		return refusal{code: 415, reason: "Unsupported Media Type", text: "only application/sdp starts a call"}
	}
	return refusal{}
}

// aim fills in whom to ring for a decided number.
func (s *Service) aim(ctx context.Context, c *call) refusal {
	c.classify()
	if r := s.tooDear(c.id, c.decision, c.payer()); r.code != 0 {
		return r
	}
	if r := s.acceptable(c.decision); r.code != 0 {
		return r
	}
	if len(c.decision.Targets) == 1 {
		if t, ok := s.o.Directory.ByExtension(c.decision.Targets[0]); ok {
			c.toName, c.rec.ToSite = t.DisplayName, string(t.Site)
		}
	}
	plan := decided(c.decision)
	if c.pinned == nil { // a GRUU names the phone: nothing leads elsewhere (RFC 5627 §5.4)
		plan = s.consult(ctx, c.request(c.decision, c.history))
	}
	if r := plan.Refuse; r != nil {
		return refusal{code: r.Code, warn: 399, text: r.Text}
	}
	return s.locate(c, plan)
}

// classify puts an emergency call above all others.
func (c *call) classify() {
	if c.decision.Kind == dialplan.Emergency {
		c.class = line.Emergency
		c.rec.Class = c.class.String()
	}
	c.convene()
}

// acceptable says why a decision leads nowhere.
func (s *Service) acceptable(d dialplan.Decision) refusal {
	switch d.Kind {
	case dialplan.Extension, dialplan.Duty, dialplan.Emergency, dialplan.Group:
	case dialplan.Outside:
		if s.o.Trunks == nil {
			return refusal{code: 503, warn: 399, text: "No trunk takes this call"}
		}
	case dialplan.Room:
		if _, known := s.o.Directory.ByExtension(d.Number); !known {
			return refusal{code: 404, warn: 399, text: "There is no such meeting room"}
		}
	case dialplan.Forbidden:
		return refusal{code: 403, warn: 399, text: "This number is not allowed for your class of service"}
	case dialplan.Feature:
		return refusal{code: 404, warn: 399, text: "This feature code is reserved but not served in this version"}
	case dialplan.Unknown:
		return refusal{code: 404, text: "unknown number"}
	}
	return refusal{}
}

// request is what the router is asked.
func (c *call) request(d dialplan.Decision, history []route.Diversion) route.Request {
	d.Withheld = d.Withheld || c.callerIdentity().Private // also by the phone's own Privacy header
	r := route.Request{Caller: c.terminal, Number: c.rec.From, Site: site.ID(c.rec.FromSite), Decision: d, Diversions: history, Alert: c.alert}
	if c.incoming != nil {
		r.Trunk, r.Number = c.incoming.Trunk, c.incoming.From
	}
	if o, ok := c.origin.(*connected); ok {
		r.By = o.by
	}
	return r
}

// consult asks the router what rings. Emergency calls and the duty desk are none of its business: no
// forward, do-not-disturb or limit stands before them.
func (s *Service) consult(ctx context.Context, r route.Request) route.Plan {
	if s.o.Router == nil || r.Decision.Kind == dialplan.Emergency || r.Decision.Kind == dialplan.Duty {
		return decided(r.Decision)
	}
	plan := s.o.Router.Route(ctx, r)
	if err := plan.Check(); err != nil {
		s.log.Error("plan of a call not usable", slog.String("from", r.Number), slog.String("to", r.Decision.Number), slog.Any(observe.Err, err))
		return decided(r.Decision)
	}
	return plan
}

// locate finds whom the first stage rings. A call that would ring nobody, now or later, is refused
// before it begins.
func (s *Service) locate(c *call, plan route.Plan) refusal {
	if plan.Class != 0 && !c.emergency() {
		c.class = plan.Class
		c.rec.Class = c.class.String()
	}
	if plan.First == nil {
		return refusal{code: 480, text: "nobody to ring"}
	}
	c.stage = c.withWayAround(plan.First)
	c.diverted(c.stage)
	if c.stage.Outside != nil && s.o.Trunks != nil {
		return refusal{} // the owner finds out
	}
	c.targets = s.targets(c, c.stage)
	if rings(c.targets) {
		return refusal{}
	}
	branches := make([]branch, len(c.targets))
	for i := range c.targets {
		branches[i] = c.targets[i].branch()
	}
	if c.stage.Next(outcomeOf(branches)) != nil {
		return refusal{}
	}
	return c.targets[bestBranch(branches)].refuse
}

// refuseCall answers and records a call that never rang.
func (s *Service) refuseCall(c *call, r refusal) {
	s.o.Trace.Bind(c.rec.CallID, c.id)
	c.origin.refuse(c, r)
	s.vacate(c)
	s.forget(c)
	s.o.Trace.End(c.id)
	now := time.Now().UTC()
	c.rec.EndedAt, c.rec.Result, c.rec.Code, c.rec.EndedBy, c.rec.Reason = &now, cdr.Refused, r.code, "system", r.text
	if r.code == 486 {
		c.rec.Result = cdr.Busy
	}
	s.metrics.refused.WithLabelValues(codeLabel(r.code)).Inc()
	s.log.Info("call refused", slog.String(observe.CallID, c.id), slog.String("from", c.rec.From), slog.String("to", c.rec.Dialled),
		slog.Int(observe.Code, r.code), slog.String(observe.Reason, r.text))
	s.o.Records.FinishSoon(c.rec, func(err error) {
		if err != nil {
			s.log.Error("call record not written", slog.String(observe.CallID, c.id), slog.Any(observe.Err, err))
		}
	})
	c.unstore()
}

func (s *Service) aor(extension string) string { return location.AOR(extension, s.stack.Domain()) }

// siteOf is the site of an address, or the configured one.
func (s *Service) siteOf(flow stack.Flow, configured site.ID) site.ID {
	if id, ok := s.o.Sites.Locate(flow.Remote.Addr()); ok {
		return id
	}
	return configured
}

// unescape undoes what phones escape in the user part of a URI (RFC 3261 §19.1.2): "%2A8" is
// "*8". Parameters of the user part (";phone-context=") are not part of the number.
func unescape(user string) string {
	user, _, _ = strings.Cut(user, ";")
	if !strings.Contains(user, "%") {
		return user
	}
	var b strings.Builder
	for i := 0; i < len(user); i++ {
		if user[i] == '%' && i+2 < len(user) {
			if v, err := strconv.ParseUint(user[i+1:i+3], 16, 8); err == nil {
				b.WriteByte(byte(v))
				i += 2
				continue
			}
		}
		b.WriteByte(user[i])
	}
	return b.String()
}
