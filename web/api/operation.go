package api

import (
	"context"
	"net/http"
	"slices"
	"strings"

	"github.com/danielgtaylor/huma/v2"

	"linehall/internal/audit"
	"linehall/internal/auth"
)

// The groups of roles that operations take.
var (
	admins    = []auth.Role{auth.Admin}
	operators = []auth.Role{auth.Admin, auth.Operator}
	watchers  = []auth.Role{auth.Admin, auth.Operator, auth.Auditor}
	auditors  = []auth.Role{auth.Admin, auth.Auditor}
	leaders   = []auth.Role{auth.Admin, auth.Operator, auth.Auditor, auth.Chair}
	everybody = auth.Roles()
)

// operation describes one operation in a line.
func operation(id, method, path, tag, summary string, roles []auth.Role) huma.Operation {
	names := make([]string, 0, len(roles))
	for _, r := range roles {
		names = append(names, string(r))
	}
	op := huma.Operation{
		OperationID: id, Method: method, Path: Prefix + path, Tags: []string{tag}, Summary: summary,
		MaxBodyBytes: maxBody, Errors: []int{http.StatusUnauthorized, http.StatusForbidden},
		Security: []map[string][]string{{"session": {}}, {"bearer": {}}},
	}
	if len(roles) == len(everybody) {
		op.Description = "For everybody who is known."
	} else {
		op.Description = "Roles: " + strings.Join(names, ", ") + "."
	}
	if strings.Contains(path, "{") {
		op.Errors = append(op.Errors, http.StatusNotFound)
	}
	return op
}

// view registers an operation that changes nothing.
func view[In, Out any](a *API, op huma.Operation, roles []auth.Role, handler func(context.Context, auth.Principal, *In) (*Out, error)) {
	huma.Register(a.huma, op, func(ctx context.Context, in *In) (*Out, error) {
		p, err := permitted(ctx, roles)
		if err != nil {
			return nil, err
		}
		out, err := handler(ctx, p, in)
		if err != nil {
			return nil, a.problem(ctx, op.OperationID, err)
		}
		return out, nil
	})
}

// change registers an operation that changes something, or shows a secret. intent says what is about to happen, after
// checking that it may; it is on record before do is called, and do's failure is put on record as well.
func change[In, Out any](a *API, op huma.Operation, roles []auth.Role,
	intent func(context.Context, auth.Principal, *In) (audit.Event, error),
	do func(context.Context, auth.Principal, *In) (*Out, error),
) {
	huma.Register(a.huma, op, func(ctx context.Context, in *In) (*Out, error) {
		p, err := permitted(ctx, roles)
		if err != nil {
			return nil, err
		}
		e, err := intent(ctx, p, in)
		if err == nil && e.Action != "" {
			err = a.record(ctx, actor(p), e)
		}
		if err != nil {
			return nil, a.problem(ctx, op.OperationID, err)
		}
		out, err := do(ctx, p, in)
		if err != nil {
			failed := audit.Event{Action: e.Action + ".failed", Object: e.Object, Detail: map[string]string{"error": err.Error()}}
			if e.Action != "" {
				if err := a.record(ctx, actor(p), failed); err != nil {
					_ = a.problem(ctx, op.OperationID, err) // logs it; the answer is about the operation
				}
			}
			return nil, a.problem(ctx, op.OperationID, err)
		}
		return out, nil
	})
}

func permitted(ctx context.Context, roles []auth.Role) (auth.Principal, error) {
	p, ok := auth.PrincipalFrom(ctx)
	if !ok {
		return p, huma.Error401Unauthorized("log in first")
	}
	if !slices.Contains(roles, p.Role) {
		return p, huma.Error403Forbidden("your role does not allow this")
	}
	return p, nil
}

// sees reports whether a principal may see something that belongs to these sites: one bound to a site sees what touches
// it.
func sees(p auth.Principal, sites ...string) bool {
	return p.Site == "" || slices.Contains(sites, string(p.Site))
}

// only keeps what the principal may see. The result is never nil, so that it is [] in JSON.
func only[T any](p auth.Principal, all []T, sites func(T) []string) []T {
	out := make([]T, 0, len(all))
	for _, v := range all {
		if p.Site == "" || sees(p, sites(v)...) {
			out = append(out, v)
		}
	}
	return out
}

// body is a response that consists of a body only.
type body[T any] struct {
	Body T
}

// nothing is the response 204.
type nothing struct{}
