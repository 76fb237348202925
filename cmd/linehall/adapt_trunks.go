package main

import (
	"context"

	"linehall/sip/trunk"
	"linehall/web/api"
)

// trunksView shows the trunks to the API.
type trunksView struct{ trunks *trunk.Service }

// Trunks lists them in the order of the configuration.
func (v trunksView) Trunks(context.Context) []api.Trunk {
	trunks := []api.Trunk{}
	for _, t := range v.trunks.Status() {
		shown := api.Trunk{
			Name: t.Name, State: stateWord(t.Known, t.Up), Register: t.Register, Calls: t.Calls, MaxCalls: t.MaxCalls, Gateways: []api.Gateway{},
		}
		for _, g := range t.Gateways {
			one := api.Gateway{
				Name: g.Name, State: stateWord(g.Known, g.Up), Since: timeOrNull(g.Since), Registered: g.Registered,
				RegisteredUntil: timeOrNull(g.RegisteredUntil), Addresses: g.Addresses, Calls: g.Calls, MaxCalls: g.MaxCalls,
				LastError: textOrNull(g.LastError), LastErrorAt: timeOrNull(g.ErrorAt),
			}
			if one.Addresses == nil {
				one.Addresses = []string{}
			}
			shown.Gateways = append(shown.Gateways, one)
		}
		trunks = append(trunks, shown)
	}
	return trunks
}

func stateWord(known, up bool) string {
	switch {
	case up && known:
		return "up"
	case up:
		return "unknown"
	}
	return "down"
}
