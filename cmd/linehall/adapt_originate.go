package main

import (
	"context"

	"linehall/internal/directory"
	"linehall/sip/call"
)

// originator lets features call people back.
type originator struct{ calls *call.Service }

// Originate implements feature.Originator.
func (o originator) Originate(ctx context.Context, from directory.Terminal, number string) error {
	_, err := o.calls.Originate(ctx, call.Origination{From: from.Extension, To: number})
	return err
}
