package main

import (
	"context"
	"errors"
	"net/netip"

	"linehall/sip/guard"
	"linehall/web/api"
)

// bansView shows to the API who is shut out of the exchange.
type bansView struct{ guard *guard.Guard }

// Bans lists them, the newest first.
func (v bansView) Bans(context.Context) []api.Ban {
	bans := []api.Ban{}
	for _, b := range v.guard.Bans() {
		shown := api.Ban{Kind: string(b.Kind), Address: b.Source.String(), Account: b.Account, Since: b.Since, Until: b.Until, Tries: b.Tries, Reason: string(b.Reason)}
		if b.Kind == guard.Flow {
			shown.Flow = b.Flow.String()
		}
		bans = append(bans, shown)
	}
	return bans
}

// Lift forgives an address everything.
func (v bansView) Lift(_ context.Context, address netip.Addr) error {
	err := v.guard.Lift(address)
	if errors.Is(err, guard.ErrNotFound) {
		return api.ErrNotFound
	}
	return err
}
