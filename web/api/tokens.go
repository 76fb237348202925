package api

import (
	"context"
	"net/http"
	"time"

	"linehall/internal/audit"
	"linehall/internal/auth"
	"linehall/internal/site"
)

// Token is a bearer token of a machine.
type Token struct {
	ID         string     `json:"id"`
	Name       string     `json:"name"`
	Role       auth.Role  `json:"role" enum:"admin,operator,chair,room,auditor,user"`
	Site       string     `json:"site"`
	Room       string     `json:"room" doc:"the only room it may enter; empty = not bound to one"`
	CreatedAt  time.Time  `json:"created_at"`
	ExpiresAt  *time.Time `json:"expires_at"`
	LastUsedAt *time.Time `json:"last_used_at"`
}

// NewToken is a token with its secret, which is shown this once.
type NewToken struct {
	Token

	Secret string `json:"token"`
}

type tokenList struct {
	Tokens []Token `json:"tokens"`
}

type tokenAddIn struct {
	Body struct {
		Name      string     `json:"name,omitempty" maxLength:"64" doc:"for the list; the role if empty"`
		Role      auth.Role  `json:"role" enum:"admin,operator,chair,room,auditor,user"`
		Room      string     `json:"room,omitempty" maxLength:"32"`
		Site      string     `json:"site,omitempty" maxLength:"64"`
		ExpiresAt *time.Time `json:"expires_at,omitempty"`
	}
}

func shownToken(t auth.Token) Token {
	return Token{
		ID: t.ID, Name: t.Name, Role: t.Role, Site: string(t.Site), Room: t.Room,
		CreatedAt: t.CreatedAt, ExpiresAt: timeOrNull(t.ExpiresAt), LastUsedAt: timeOrNull(t.LastUsedAt),
	}
}

func (a *API) registerTokens() {
	view(a, operation("list-tokens", http.MethodGet, "/tokens", "tokens", "Bearer tokens of machines", admins), admins,
		func(ctx context.Context, _ auth.Principal, _ *struct{}) (*body[tokenList], error) {
			tokens, err := a.opts.Users.ListTokens(ctx)
			if err != nil {
				return nil, err
			}
			out := tokenList{Tokens: make([]Token, 0, len(tokens))}
			for _, t := range tokens {
				out.Tokens = append(out.Tokens, shownToken(t))
			}
			return &body[tokenList]{out}, nil
		})

	op := operation("add-token", http.MethodPost, "/tokens", "tokens", "Make a token; its secret is shown this once", admins)
	op.DefaultStatus = http.StatusCreated
	change(a, op, admins,
		func(_ context.Context, _ auth.Principal, in *tokenAddIn) (audit.Event, error) {
			return audit.Event{Action: "token.add", Object: in.Body.Name, Detail: map[string]string{
				"role": string(in.Body.Role), "room": in.Body.Room, "site": in.Body.Site,
			}}, nil
		}, a.addToken)

	op = operation("revoke-token", http.MethodDelete, "/tokens/{id}", "tokens", "Revoke a token", admins)
	op.DefaultStatus = http.StatusNoContent
	change(a, op, admins,
		func(_ context.Context, _ auth.Principal, in *idIn) (audit.Event, error) {
			return audit.Event{Action: "token.revoke", Object: in.ID}, nil
		},
		func(ctx context.Context, _ auth.Principal, in *idIn) (*nothing, error) {
			return nil, a.opts.Users.RevokeToken(ctx, in.ID)
		})
}

func (a *API) addToken(ctx context.Context, _ auth.Principal, in *tokenAddIn) (*body[NewToken], error) {
	n := auth.NewToken{Name: in.Body.Name, Role: in.Body.Role, Room: in.Body.Room, Site: site.ID(in.Body.Site)}
	if in.Body.ExpiresAt != nil {
		n.ExpiresAt = *in.Body.ExpiresAt
	}
	t, secret, err := a.opts.Users.AddToken(ctx, n)
	if err != nil {
		return nil, err
	}
	return &body[NewToken]{NewToken{shownToken(t), secret}}, nil
}
