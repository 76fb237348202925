package main

import (
	"context"
	"strconv"

	"linehall/internal/audit"
	"linehall/sip/dialplan"
	"linehall/sip/toll"
	"linehall/web/api"
)

// tollAudit writes refused calls outside to the audit log.
func tollAudit(log *audit.Log) func(ctx context.Context, r toll.Refusals) error {
	return func(ctx context.Context, r toll.Refusals) error {
		return log.Append(ctx, audit.Event{
			Actor: "system", Source: "sip", Action: "call.toll_refused", Object: string(r.Account.Kind) + " " + r.Account.Name,
			Detail: map[string]string{
				"reason": string(r.Reason), "toll": string(r.Account.Toll), "number": r.Number, "count": strconv.Itoa(r.Count), "limit": strconv.Itoa(r.Most),
			},
		})
	}
}

// tollAlarms: somebody's calls outside were refused by a limit within the last ten minutes.
func (b *alarmBoard) tollAlarms() []api.Alarm {
	var found []api.Alarm
	for _, r := range b.tolls.Refusing() {
		found = append(found, namedAlarm("warning", "toll_limit", string(r.Account.Kind)+"/"+r.Account.Name+"/"+string(r.Account.Toll), map[string]string{
			"kind": string(r.Account.Kind), "name": r.Account.Name, "toll": string(r.Account.Toll), "reason": string(r.Reason), "number": r.Number, "count": strconv.Itoa(r.Count),
		}))
	}
	return found
}

// limitsOf shows the limits that count for a call outside, with their use where calls are counted.
func limitsOf(plan toll.Limits, tolls *toll.Ledger, extension, class string, d dialplan.Decision) []api.TollLimit {
	if d.Kind != dialplan.Outside {
		return nil
	}
	if tolls == nil {
		limits := []api.TollLimit{shownLimit(toll.Terminal, extension, plan.TerminalLimit(class, d.Toll))}
		for _, name := range d.Trunks {
			limits = append(limits, shownLimit(toll.Trunk, name, plan.TrunkLimit(name, d.Toll)))
		}
		return limits
	}
	var limits []api.TollLimit
	for _, s := range tolls.Look(extension, class, d.Trunks, d.Toll, d.Number) {
		shown := shownLimit(s.Kind, s.Name, s.Limit)
		shown.Calls, shown.Now, shown.Numbers = &s.Use.Calls, &s.Use.Now, &s.Use.Numbers
		if s.Over != nil {
			reason := string(s.Over.Reason)
			shown.Over = &reason
		}
		limits = append(limits, shown)
	}
	return limits
}

func shownLimit(kind toll.Kind, name string, l dialplan.LimitConfig) api.TollLimit {
	return api.TollLimit{Kind: string(kind), Name: name, CallsPerHour: l.CallsPerHour, AtOnce: l.AtOnce, NumbersPerHour: l.NumbersPerHour}
}
