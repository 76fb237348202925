package main

import (
	"context"
	"fmt"
	"time"

	"linehall/configs"
	"linehall/sip/dialplan"
	"linehall/sip/feature"
	"linehall/sip/route"
	"linehall/sip/toll"
	"linehall/web/api"
)

// planOptions is what the number plan needs to know beside its own section.
func planOptions(config configs.Config) []dialplan.Option {
	trunks := make([]dialplan.Trunk, 0, len(config.Trunks))
	for _, t := range config.Trunks {
		trunks = append(trunks, t.Plan())
	}
	return []dialplan.Option{dialplan.WithTrunks(trunks), dialplan.In(config.Zone())}
}

// dialplanView explains the plan in use to the API.
type dialplanView struct {
	plan      *currentPlan
	directory dialplan.Directory
	features  *feature.Service
	tolls     *toll.Ledger
}

// Explain decides as a call would.
func (v dialplanView) Explain(_ context.Context, q api.ExplainQuery) (api.Decision, error) {
	d, err := explain(v.plan.now.Load(), v.directory, q)
	if err != nil {
		return api.Decision{}, fmt.Errorf("%w: %w", api.ErrNotFound, err)
	}
	d.Steps = append(d.Steps, v.rings(q, d)...)
	shown := shownDecision(d)
	shown.Limits = limitsOf(v.plan, v.tolls, q.From, classOf(v.directory, q.From), d)
	return shown, nil
}

func classOf(directory dialplan.Directory, extension string) string {
	t, _ := directory.ByExtension(extension)
	return t.Class
}

// rings says what forwards, groups and the like would make of the call now.
func (v dialplanView) rings(q api.ExplainQuery, d dialplan.Decision) []dialplan.Step {
	switch d.Kind {
	case dialplan.Extension, dialplan.Group:
	case dialplan.Duty, dialplan.Emergency, dialplan.Room, dialplan.Feature, dialplan.Outside, dialplan.Forbidden, dialplan.Unknown:
		return nil // nothing that is switched on a telephone counts there
	}
	caller, _ := v.directory.ByExtension(q.From)
	number := q.Caller
	if q.Trunk == "" {
		number = q.From
	}
	_, steps := v.features.Explain(route.Request{Caller: caller, Trunk: q.Trunk, Number: number, Site: caller.Site, Decision: d})
	return steps
}

// explain asks a plan about a number that an extension dials, or that comes over a trunk.
func explain(plan *dialplan.Plan, directory dialplan.Directory, q api.ExplainQuery) (dialplan.Decision, error) {
	at := q.At
	if at.IsZero() {
		at = time.Now()
	}
	if q.Trunk != "" {
		if !plan.HasTrunk(q.Trunk) {
			return dialplan.Decision{}, fmt.Errorf("no trunk %s", q.Trunk)
		}
		return plan.Inbound(dialplan.Incoming{Trunk: q.Trunk, Number: q.Caller}, q.Number, at), nil
	}
	caller, known := directory.ByExtension(q.From)
	if !known {
		return dialplan.Decision{}, fmt.Errorf("no extension %s", q.From)
	}
	return plan.Decide(callerOf(caller), q.Number, at), nil
}

func shownDecision(d dialplan.Decision) api.Decision {
	shown := api.Decision{
		Kind: string(d.Kind), Number: d.Number, Targets: d.Targets, Reserve: d.Reserve, Group: d.Group, Feature: d.Feature, Argument: d.Argument,
		Trunks: d.Trunks, AsDialled: d.AsDialled, Toll: string(d.Toll), Identity: d.Identity, Withheld: d.Withheld, Priority: string(d.Priority),
		Hours: string(d.Hours), Rule: d.Rule, Denied: d.Denied, Steps: []api.DecisionStep{},
	}
	for _, s := range d.Steps {
		shown.Steps = append(shown.Steps, api.DecisionStep{Rule: s.Rule, Result: s.Result})
	}
	return shown
}
