package feature

import (
	"context"
	"errors"
	"log/slog"

	"linehall/internal/directory"
	"linehall/internal/observe"
	"linehall/sip/route"
)

// Claims makes a new phone, which was lent a number, the phone of an extension.
type Claims interface {
	// ClaimAt gives the phone that calls the extension. ErrNotClaimed: it has no lent number, or the extension is not to
	// be had there.
	ClaimAt(ctx context.Context, at directory.Terminal, extension string) error
}

// ErrNotClaimed means that a phone cannot become that extension.
var ErrNotClaimed = errors.New("cannot be claimed")

// ClaimWith lets phones be claimed by dialling. It is called before Run.
func (s *Service) ClaimWith(c Claims) { s.claims = c }

// claim takes the extension that the phone shall become.
func (c *code) claim(ctx context.Context) route.Served {
	if c.s.claims == nil {
		return c.refuse(501, sayNotServed)
	}
	if err := c.record(ctx, c.argument, c.argument); err != nil {
		c.s.log.Error("claim not recorded, nothing changed", slog.Any(observe.Err, err))
		return c.refuse(500, sayNotStored)
	}
	err := c.s.claims.ClaimAt(ctx, c.caller, c.argument)
	switch {
	case errors.Is(err, ErrNotClaimed):
		c.s.log.Info("phone not claimed", slog.String(observe.Extension, c.argument), slog.Any(observe.Err, err))
		return c.refuse(403, sayNotAllowed, c.argument)
	case err != nil:
		c.s.log.Error("phone could not be claimed", slog.String(observe.Extension, c.argument), slog.Any(observe.Err, err))
		return c.refuse(500, sayNotStored)
	}
	return c.show(sayClaimed, c.argument)
}
