package api

import (
	"context"
	"net/http"

	"github.com/danielgtaylor/huma/v2"

	"linehall/internal/audit"
	"linehall/internal/auth"
)

type callIn struct {
	ID string `path:"id" maxLength:"256"`
}

type hangUpIn struct {
	ID     string `path:"id" maxLength:"256"`
	Reason string `query:"reason" maxLength:"100" doc:"told to both phones and kept in the record"`
}

type dialIn struct {
	Body struct {
		From string `json:"from" minLength:"1" maxLength:"32" doc:"the extension that is called first"`
		To   string `json:"to" minLength:"1" maxLength:"64" doc:"the number that it is connected to, with its class of service"`
	}
}

type dialled struct {
	ID string `json:"id" doc:"id of the call to the extension; the call that follows names it"`
}

func (a *API) registerCalls() {
	view(a, operation("list-calls", http.MethodGet, "/calls", "calls", "The calls going on", watchers), watchers,
		func(ctx context.Context, p auth.Principal, _ *struct{}) (*body[callList], error) {
			return &body[callList]{a.calls(ctx, p)}, nil
		})
	view(a, operation("get-call", http.MethodGet, "/calls/{id}", "calls", "One call with both legs", watchers), watchers,
		func(ctx context.Context, p auth.Principal, in *callIn) (*body[Call], error) {
			c, err := a.call(ctx, p, in.ID)
			return &body[Call]{c}, err
		})
	op := operation("hang-up", http.MethodDelete, "/calls/{id}", "calls", "Hang up", operators)
	op.DefaultStatus = http.StatusNoContent
	change(a, op, operators,
		func(ctx context.Context, p auth.Principal, in *hangUpIn) (audit.Event, error) {
			c, err := a.call(ctx, p, in.ID)
			return audit.Event{Action: "call.hangup", Object: in.ID, Detail: map[string]string{
				"from": c.From.Extension, "to": c.To.Extension, "reason": in.Reason,
			}}, err
		},
		func(ctx context.Context, _ auth.Principal, in *hangUpIn) (*nothing, error) {
			return nil, a.opts.Calls.HangUp(ctx, in.ID, in.Reason)
		})
	op = operation("dial", http.MethodPost, "/calls", "calls", "Call an extension and connect it to a number", operators)
	op.DefaultStatus = http.StatusAccepted
	change(a, op, operators,
		func(ctx context.Context, p auth.Principal, in *dialIn) (audit.Event, error) {
			_, err := a.terminal(ctx, p, in.Body.From)
			return audit.Event{Action: "call.dial", Object: in.Body.From, Detail: map[string]string{"to": in.Body.To}}, err
		},
		func(ctx context.Context, _ auth.Principal, in *dialIn) (*body[dialled], error) {
			id, err := a.opts.Calls.Dial(ctx, in.Body.From, in.Body.To)
			return &body[dialled]{dialled{id}}, err
		})
}

func callSites(c Call) []string { return []string{c.From.Site, c.To.Site} }

func (a *API) calls(ctx context.Context, p auth.Principal) callList {
	calls := only(p, a.opts.Calls.Calls(ctx), callSites)
	for i := range calls {
		if calls[i].Legs == nil {
			calls[i].Legs = []CallLeg{}
		}
	}
	return callList{calls}
}

func (a *API) call(ctx context.Context, p auth.Principal, id string) (Call, error) {
	c, err := a.opts.Calls.Call(ctx, id)
	if err == nil && !sees(p, callSites(c)...) {
		err = huma.Error404NotFound("no such call at your site")
	}
	if c.Legs == nil {
		c.Legs = []CallLeg{}
	}
	return c, err
}
