package main

import (
	"context"
	"log/slog"
	"net/netip"
	"slices"
	"sync/atomic"
	"time"

	"github.com/emiago/sipgo/sip"

	"linehall/configs"
	"linehall/internal/observe"
	"linehall/internal/site"
	"linehall/sip/call"
	"linehall/sip/cdr"
	"linehall/sip/dialplan"
	"linehall/sip/digest"
	"linehall/sip/feature"
	"linehall/sip/guard"
	"linehall/sip/heartbeat"
	"linehall/sip/location"
	"linehall/sip/registrar"
	"linehall/sip/stack"
	"linehall/sip/toll"
	"linehall/sip/trace"
	"linehall/sip/trunk"
)

// telephony is the exchange.
type telephony struct {
	renewals  *renewals
	log       *slog.Logger
	stack     *stack.Stack
	locations *location.Service
	registrar *registrar.Registrar
	calls     *call.Service
	records   *cdr.Log
	beat      *heartbeat.Beat
	trunks    *trunk.Service
	plan      *currentPlan
	meetings  *meetingNumbers
	inside    stack.PacketSocket // to the focus
	trace     *trace.Book
	guard     *guard.Guard
	tolls     *toll.Ledger

	subscriptions *subscriptions
	features      *feature.Service
	zone          atomic.Pointer[time.Location] // of the organisation; a reload may change both
	language      atomic.Pointer[string]
}

// currentPlan is the number plan that a reload swaps; calls being set up keep the one they asked.
type currentPlan struct{ now atomic.Pointer[dialplan.Plan] }

// Decide asks the plan of this moment.
func (p *currentPlan) Decide(from dialplan.Caller, number string, at time.Time) dialplan.Decision {
	return p.now.Load().Decide(from, number, at)
}

// Inbound asks the plan of this moment.
func (p *currentPlan) Inbound(from dialplan.Incoming, called string, at time.Time) dialplan.Decision {
	return p.now.Load().Inbound(from, called, at)
}

// TerminalLimit asks the plan of this moment.
func (p *currentPlan) TerminalLimit(class string, t dialplan.Toll) dialplan.LimitConfig {
	return p.now.Load().TerminalLimit(class, t)
}

// TrunkLimit asks the plan of this moment.
func (p *currentPlan) TrunkLimit(trunk string, t dialplan.Toll) dialplan.LimitConfig {
	return p.now.Load().TrunkLimit(trunk, t)
}

// Barge asks the plan of this moment.
func (p *currentPlan) Barge(from dialplan.Caller, into, other string, mode dialplan.Barge) dialplan.Joining {
	return p.now.Load().Barge(from, into, other, mode)
}

// Joinable asks the plan of this moment.
func (p *currentPlan) Joinable(extension string) bool { return p.now.Load().Joinable(extension) }

func openTelephony(ctx context.Context, config configs.Config, g *ground, media *mediaPlane) (*telephony, error) {
	t := &telephony{log: g.log, plan: &currentPlan{}, meetings: &meetingNumbers{domain: config.Appliance.Domain}}
	t.meetings.apply(config, g.atlas.Main())
	plan, err := newPlanOn(config, g.atlas.Table(), g)
	if err != nil {
		return nil, err
	}
	t.plan.now.Store(plan)
	if t.trace, err = trace.Open(ctx, trace.Options{
		DB: g.db, Config: config.Observability.Trace, Dropped: g.dropped, Log: g.log, Registerer: g.registry,
	}); err != nil {
		return nil, err
	}
	if t.records, err = cdr.Open(ctx, g.db, g.writer, g.log, g.registry); err != nil {
		return nil, err
	}
	if t.guard, err = guard.Open(ctx, guard.Options{
		DB: g.db, Config: config.Security.SIP, Standing: t.standing, Home: t.home, Log: g.log, Registerer: g.registry,
	}); err != nil {
		return nil, err
	}
	options := stackOptions(config, g)
	options.Tap, options.Filter, options.Gate = t.trace, t.guard, t.guard
	var near stack.PacketSocket
	near, t.inside = stack.NewInside()
	options.Packets = []stack.PacketSocket{near}
	if t.stack, err = stack.New(options); err != nil {
		return nil, err
	}
	gruuKey, err := g.box.Derive("temporary gruus", 32)
	if err != nil {
		return nil, err
	}
	if t.locations, err = location.Open(ctx, location.Options{
		DB: g.db, Domain: config.Appliance.Domain, GRUUKey: gruuKey, Log: g.log, Registerer: g.registry,
	}); err != nil {
		return nil, err
	}
	if err := t.openFeatures(ctx, config, g); err != nil {
		return nil, err
	}
	t.renewals = newRenewals(g.directory, g.audit, g.log)
	auth, err := digest.New(digest.Options{
		Realm: config.Appliance.Domain, Directory: g.directory, Responder: t.stack, Observer: t.guard,
		Next: g.directory.Next, Renewed: t.renewals.Used, Log: g.log, Registerer: g.registry,
	})
	if err != nil {
		return nil, err
	}
	register, err := registrar.New(registrar.Options{
		Stack: t.stack, Auth: auth, Location: t.locations, Directory: g.directory, Sites: g.atlas,
		Domain: config.Appliance.Domain, Log: g.log, Registerer: g.registry,
	})
	if err != nil {
		return nil, err
	}
	t.stack.HandleAtOnce(sip.REGISTER, register.Serve)
	t.registrar = register
	t.stack.OnFlowClosed(t.locations.FlowClosed)
	if err := t.openTrunks(config, g); err != nil { //nolint:contextcheck // keepers live with the service
		return nil, err
	}
	if t.subscriptions, err = openSubscriptions(ctx, config, g, t, auth); err != nil {
		return nil, err
	}
	if err := t.openCalls(ctx, g, media, auth); err != nil {
		return nil, err
	}
	t.beat, err = heartbeat.New(heartbeat.Options{
		Stack: t.stack, Locations: t.locations, Sites: g.atlas, Ledger: media.ledger, Domain: config.Appliance.Domain, Log: g.log,
	})
	if err != nil {
		return nil, err
	}
	g.health.Add("sip", t.stack.Ready)
	return t, nil
}

// standing tells the guard whom a ban of an address would hurt: phones that are registered from there, and gateways.
func (t *telephony) standing(flow stack.Flow) guard.Standing {
	if flow.Inside() {
		return guard.Standing{Address: true, Flow: true}
	}
	var st guard.Standing
	st.Address, st.Flow = t.locations.At(flow.Remote)
	calls, gateway := t.trunks.Serves(flow)
	st.Gateway, st.Address = calls, st.Address || gateway
	return st
}

// home reports whether a user is registered from the source.
func (t *telephony) home(user string, source netip.Addr) bool {
	return slices.ContainsFunc(t.locations.Lookup(location.AOR(user, t.stack.Domain())), func(b location.Binding) bool {
		return stack.SourceKey(b.Flow.Remote.Addr()) == source
	})
}

// openTrunks prepares the ways to other networks; their keepers start with Run.
func (t *telephony) openTrunks(config configs.Config, g *ground) error {
	var err error
	t.trunks, err = trunk.New(trunk.Options{Stack: t.stack, Active: t.onTrunk, Panics: g.panics, Log: g.log, Registerer: g.registry})
	if err != nil {
		return err
	}
	t.stack.OnFlowClosed(t.trunks.FlowClosed)
	return t.trunks.Apply(config.Trunks, config.Dialplan.Numbering)
}

// onTrunk counts the calls over a trunk or one of its gateways.
func (t *telephony) onTrunk(name, gateway string) int {
	if t.calls == nil { // while the parts are being built
		return 0
	}
	return t.calls.Active(name, gateway)
}

// openCalls builds the call core and takes up the calls of the process before: their ports open before anything else
// may take them.
func (t *telephony) openCalls(ctx context.Context, g *ground, media *mediaPlane, auth *digest.Authenticator) error {
	var err error
	if t.tolls, err = toll.Open(ctx, toll.Options{DB: g.db, Limits: t.plan, Audit: tollAudit(g.audit), Log: g.log, Registerer: g.registry}); err != nil {
		return err
	}
	store, err := call.OpenStore(ctx, g.db, g.writer)
	if err != nil {
		return err
	}
	t.calls, err = call.New(call.Options{
		Stack: t.stack, Auth: meetingAuth{t.features.ActingAuth(auth), t.meetings}, Locations: meetingLocations{t.features.ActingLocations(t.locations), t.meetings},
		Directory: meetingDirectory{g.directory, t.meetings}, Plan: t.plan, Sites: g.atlas, Anchor: media.anchor,
		Router: t.features, Features: t.features, Pickup: t.features, Barging: t.plan,
		Trunks: trunkLines{t.trunks, g.atlas}, Tolls: t.tolls,
		Recorder: media.tapes, RecordCode: func() string { return t.plan.now.Load().Code("record") },
		Captures: media.captures,
		Lines:    media.ledger, PreemptBusy: func() bool { return t.plan.now.Load().PreemptsBusy() },
		Records: t.records, Store: store, Secrets: g.box, Trace: t.trace, Dropped: g.dropped, Panics: g.panics, Log: g.log, Registerer: g.registry,
	})
	if err != nil {
		return err
	}
	t.calls.OnChange(t.subscriptions.CallChanged)
	t.calls.OnChange(t.features.CallChanged)
	t.features.CallBackWith(originator{t.calls})
	t.features.RecordWith(t.calls)
	t.share(sip.OPTIONS, func(ctx context.Context, req *stack.Request) {
		t.guard.Probed(req)
		t.stack.ServeOptions(ctx, req)
	})
	t.subscriptions.share(t)
	recovered, err := t.calls.Restore(ctx)
	if err != nil {
		return err
	}
	media.relay.Restored()
	interrupted, err := t.records.CloseInterrupted(ctx, func(id string) bool { return recovered[id] }, time.Now())
	if err != nil {
		return err
	}
	if interrupted > 0 {
		t.log.Info("records of interrupted calls closed", slog.Int(observe.Count, interrupted))
	}
	return nil
}

// share gives a method to the calls inside of dialogs (481 when they know nothing of it) and to other outside.
func (t *telephony) share(method sip.RequestMethod, other stack.Handler) {
	t.stack.Handle(method, t.calls.Within(other))
}

func newPlanOn(config configs.Config, table *site.Table, g *ground) (*dialplan.Plan, error) {
	return dialplan.New(config.Dialplan, table, g.directory, planOptions(config)...)
}

func stackOptions(config configs.Config, g *ground) stack.Options {
	options := stack.Options{
		TLS: g.authority.PhoneTLS(), Domain: config.Appliance.Domain, Advertise: config.AdvertiseAddr(), Origins: config.Listen.SIPOrigins,
		Server: "Linehall/" + version, Dropped: g.dropped, Panics: g.panics, Log: g.log, Registerer: g.registry,
	}
	for _, listener := range []stack.Listen{
		{Transport: stack.UDP, Address: string(config.Listen.SIPUDP)},
		{Transport: stack.TCP, Address: string(config.Listen.SIPTCP)},
		{Transport: stack.TLS, Address: string(config.Listen.SIPTLS)},
	} {
		if listener.Address != "" {
			options.Listen = append(options.Listen, listener)
		}
	}
	if pnp := config.Listen.PnP; pnp.Group != "" && config.Listen.SIPUDP != "" {
		group := netip.AddrPortFrom(pnp.Group.Host(), pnp.Group.Port())
		options.Groups = append(options.Groups, stack.Group{Address: group, Interfaces: pnp.Interfaces})
	}
	return options
}

// stages run the exchange: what calls write to, then what they speak through, then the calls. They end the other way
// round: calls first refuse new ones and wait for those that ring; what still rings is cancelled while the sockets are
// open and recorded while the records are. Established calls stay in the store and outlive the process.
func (t *telephony) stages() []stage {
	drain := func(ctx context.Context) {
		if err := t.calls.Drain(ctx); err != nil {
			t.log.Warn("calls given up while ringing", slog.Any(observe.Err, err))
		}
	}
	return []stage{
		{name: "call records", parts: []part{{"locations", t.locations.Run}, {"call traces", t.trace.Run}, {"bans", t.guard.Run}, {"toll limits", t.tolls.Run}}},
		{name: "sip", parts: []part{{"sip", t.stack.Run}, {"keep-alives", t.registrar.Run}, {"new passwords", t.renewals.Run}}},
		{name: "trunks", parts: []part{{"trunks", t.trunks.Run}}},
		{name: "subscriptions", parts: []part{{"subscriptions", t.subscriptions.Run}, {"room lamps", t.subscriptions.runRooms}}},
		{name: "calls", parts: []part{{"calls", t.calls.Run}, {"features", t.features.Run}, {"heartbeat of the lines", t.beat.Run}}, leave: drain},
	}
}
