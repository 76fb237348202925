package api

import (
	"context"
	"errors"
	"net/http"

	"github.com/danielgtaylor/huma/v2"

	"linehall/internal/audit"
	"linehall/internal/auth"
	"linehall/web/session"
)

type loginIn struct {
	Body struct {
		Username string `json:"username" maxLength:"64"`
		Password string `json:"password" maxLength:"1024"`
	}
}

type logoutIn struct {
	Session string `cookie:"linehall_session"`
}

type me struct {
	Name     string    `json:"name"`
	Role     auth.Role `json:"role" enum:"admin,operator,chair,room,auditor,user"`
	Language string    `json:"language"`
}

func (a *API) registerSession() {
	op := operation("log-in", http.MethodPost, "/login", "session", "Log in with name and password", everybody)
	op.Description = "For whoever knows a password. After wrong ones the account and the source have to wait."
	op.Security, op.DefaultStatus = nil, http.StatusNoContent
	op.Errors = []int{http.StatusUnauthorized, http.StatusTooManyRequests, http.StatusServiceUnavailable}
	huma.Register(a.huma, op, a.login)

	op = operation("log-out", http.MethodPost, "/logout", "session", "End the session", everybody)
	op.DefaultStatus = http.StatusNoContent
	op.Security = nil
	op.Errors = nil
	huma.Register(a.huma, op, func(ctx context.Context, in *logoutIn) (*cookieOut, error) {
		if p, ok := auth.PrincipalFrom(ctx); ok && p.Kind == auth.KindUser {
			if err := a.record(ctx, actor(p), audit.Event{Action: "session.logout", Object: p.Name}); err != nil {
				_ = a.problem(ctx, op.OperationID, err) // logs it; leaving is always possible
			}
		}
		cookie, err := a.opts.Sessions.Logout(ctx, in.Session)
		if err != nil {
			return nil, a.problem(ctx, op.OperationID, err)
		}
		return &cookieOut{cookie}, nil
	})

	view(a, operation("get-me", http.MethodGet, "/me", "session", "Who I am", everybody), everybody,
		func(_ context.Context, p auth.Principal, _ *struct{}) (*body[me], error) {
			return &body[me]{me{Name: p.Name, Role: p.Role, Language: a.opts.Language()}}, nil
		})
}

// login records success and refusal, but not what a locked source keeps trying: that would let it fill the disk.
func (a *API) login(ctx context.Context, in *loginIn) (*cookieOut, error) {
	cookie, p, err := a.opts.Sessions.Login(ctx, in.Body.Username, in.Body.Password, session.Source(ctx))
	e := audit.Event{Action: "session.login", Object: in.Body.Username}
	if errors.Is(err, auth.ErrRefused) {
		e.Action = "session.refused"
	}
	if err == nil || errors.Is(err, auth.ErrRefused) {
		if failed := a.record(ctx, in.Body.Username, e); failed != nil && err == nil {
			err = failed // nobody is let in without a record
			_, _ = a.opts.Sessions.Logout(ctx, cookie.Value)
		}
	}
	if err != nil {
		return nil, a.problem(ctx, "log-in", err)
	}
	a.opts.Log.DebugContext(ctx, "logged in", "user", p.Name)
	return &cookieOut{cookie}, nil
}
