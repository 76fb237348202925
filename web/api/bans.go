package api

import (
	"context"
	"fmt"
	"net/http"
	"net/netip"
	"time"

	"linehall/internal/audit"
	"linehall/internal/auth"
)

// Bans knows who is shut out of the exchange after guessing passwords or scanning.
type Bans interface {
	Bans(ctx context.Context) []Ban
	// Lift forgives an address everything; ErrNotFound when nothing of it is shut out.
	Lift(ctx context.Context, address netip.Addr) error
}

// Ban is an address, one of its ports or connections, or an account for an address, that is shut out.
type Ban struct {
	Kind    string    `json:"kind" enum:"address,flow,account" doc:"address: everything from it; flow, account: of an address that has phones"`
	Address string    `json:"address" doc:"of IPv6 the first of a /64"`
	Flow    string    `json:"flow,omitempty" doc:"address and port"`
	Account string    `json:"account,omitempty"`
	Since   time.Time `json:"since"`
	Until   time.Time `json:"until"`
	Tries   int       `json:"tries"`
	Reason  string    `json:"reason" enum:"passwords,accounts,scanner,scan,flood"`
}

type banList struct {
	Bans []Ban `json:"bans"`
}

type banIn struct {
	Address string `path:"address" maxLength:"64"`
}

func (a *API) registerBans() {
	view(a, operation("list-bans", http.MethodGet, "/bans", "bans", "Who is shut out of the exchange", operators), operators,
		func(ctx context.Context, _ auth.Principal, _ *struct{}) (*body[banList], error) {
			return &body[banList]{banList{a.opts.Bans.Bans(ctx)}}, nil
		})
	op := operation("lift-ban", http.MethodDelete, "/bans/{address}", "bans", "Let an address in again", operators)
	op.DefaultStatus = http.StatusNoContent
	change(a, op, operators,
		func(_ context.Context, _ auth.Principal, in *banIn) (audit.Event, error) {
			_, err := in.address()
			return audit.Event{Action: "ban.lift", Object: in.Address}, err
		},
		func(ctx context.Context, _ auth.Principal, in *banIn) (*nothing, error) {
			address, err := in.address()
			if err != nil {
				return nil, err
			}
			return nil, a.opts.Bans.Lift(ctx, address)
		})
}

func (in *banIn) address() (netip.Addr, error) {
	address, err := netip.ParseAddr(in.Address)
	if err != nil {
		return address, fmt.Errorf("%w: %q is no IP address", ErrInvalid, in.Address)
	}
	return address.Unmap().WithZone(""), nil
}
