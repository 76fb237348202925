package api

import (
	"context"
	"net/http"
	"reflect"
	"strconv"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"linehall/internal/audit"
	"linehall/internal/auth"
)

const maxEnrolmentMinutes = 24 * 60

type terminalIn struct {
	Extension string `path:"extension" maxLength:"32"`
	Secrets   bool   `query:"secrets" doc:"everything a softphone needs, with the password; for administrators, recorded"`
}

type enrolmentIn struct {
	Body struct {
		Site    string `json:"site" minLength:"1" maxLength:"64" doc:"id of the site"`
		Minutes int    `json:"minutes" minimum:"1" maximum:"1440" doc:"how long"`
	}
}

type enrolment struct {
	Site  string    `json:"site"`
	Until time.Time `json:"until"`
}

func (a *API) registerTerminals() {
	view(a, operation("list-terminals", http.MethodGet, "/terminals", "terminals", "All desk phones", watchers), watchers,
		func(ctx context.Context, p auth.Principal, _ *struct{}) (*body[terminalList], error) {
			return &body[terminalList]{a.terminals(ctx, p)}, nil
		})
	view(a, operation("list-unknown-terminals", http.MethodGet, "/terminals/unknown", "terminals",
		"Phones that asked for a file and are not in terminals.csv", watchers), watchers,
		func(ctx context.Context, p auth.Principal, _ *struct{}) (*body[unknownList], error) {
			all := a.opts.Enrolment.UnknownTerminals(ctx)
			return &body[unknownList]{unknownList{only(p, all, func(u UnknownTerminal) []string { return []string{u.Site} })}}, nil
		})
	change(a, operation("open-enrolment", http.MethodPost, "/terminals/open", "terminals",
		"Let the phones of a site fetch their file with the password for some minutes", operators), operators,
		a.enrolmentIntent, a.openEnrolment)
	a.registerTerminal()
}

func (a *API) terminals(ctx context.Context, p auth.Principal) terminalList {
	all := a.opts.Terminals.Terminals(ctx)
	return terminalList{only(p, all, func(t Terminal) []string { return []string{t.Site} })}
}

// registerTerminal registers one terminal, whose body is of two kinds.
func (a *API) registerTerminal() {
	op := operation("get-terminal", http.MethodGet, "/terminals/{extension}", "terminals", "One desk phone", watchers)
	registry := a.huma.OpenAPI().Components.Schemas
	op.Responses = map[string]*huma.Response{"200": {
		Description: "The terminal, or with secrets=true its credentials",
		Content: map[string]*huma.MediaType{"application/json": {Schema: &huma.Schema{OneOf: []*huma.Schema{
			registry.Schema(reflect.TypeFor[Terminal](), true, "Terminal"),
			registry.Schema(reflect.TypeFor[Credentials](), true, "Credentials"),
		}}}},
	}}
	change(a, op, watchers,
		func(ctx context.Context, p auth.Principal, in *terminalIn) (audit.Event, error) {
			if !in.Secrets {
				return audit.Event{}, nil
			}
			if !p.Is(auth.Admin) {
				return audit.Event{}, huma.Error403Forbidden("passwords are shown to administrators only")
			}
			if _, err := a.terminal(ctx, p, in.Extension); err != nil {
				return audit.Event{}, err
			}
			return audit.Event{Action: "terminal.secrets", Object: in.Extension}, nil
		},
		func(ctx context.Context, p auth.Principal, in *terminalIn) (*body[any], error) {
			if in.Secrets {
				c, err := a.opts.Terminals.Credentials(ctx, in.Extension)
				return &body[any]{c}, err
			}
			t, err := a.terminal(ctx, p, in.Extension)
			return &body[any]{t}, err
		})
}

func (a *API) terminal(ctx context.Context, p auth.Principal, extension string) (Terminal, error) {
	t, err := a.opts.Terminals.Terminal(ctx, extension)
	if err == nil && !sees(p, t.Site) {
		err = huma.Error404NotFound("no such terminal at your site")
	}
	return t, err
}

func (a *API) enrolmentIntent(_ context.Context, p auth.Principal, in *enrolmentIn) (audit.Event, error) {
	if !sees(p, in.Body.Site) {
		return audit.Event{}, huma.Error403Forbidden("that site is not yours")
	}
	return audit.Event{
		Action: "enrolment.open", Object: in.Body.Site,
		Detail: map[string]string{"minutes": strconv.Itoa(in.Body.Minutes)},
	}, nil
}

func (a *API) openEnrolment(ctx context.Context, _ auth.Principal, in *enrolmentIn) (*body[enrolment], error) {
	length := time.Duration(min(in.Body.Minutes, maxEnrolmentMinutes)) * time.Minute
	until, err := a.opts.Enrolment.OpenEnrolment(ctx, in.Body.Site, length)
	return &body[enrolment]{enrolment{in.Body.Site, until}}, err
}
