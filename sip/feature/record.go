package feature

import (
	"context"
	"log/slog"

	"linehall/sip/route"
)

// Taper begins or ends the recording of the call that an extension has.
type Taper interface {
	// ToggleRecording says how it is then, or why not.
	ToggleRecording(ctx context.Context, extension string) (on bool, err error)
}

// RecordWith gives the service what it records with; before Run.
func (s *Service) RecordWith(t Taper) { s.taper = t }

// recordCall serves the code that is dialled beside the call that it is about; who asked is on record with the recording.
func (c *code) recordCall(ctx context.Context) route.Served {
	if c.s.taper == nil {
		return c.refuse(501, sayNotServed)
	}
	on, err := c.s.taper.ToggleRecording(ctx, c.caller.Extension)
	if err != nil {
		c.s.log.Info("recording by code refused", slog.String("extension", c.caller.Extension), slog.Any("err", err))
		return c.refuse(403, sayNoRecording)
	}
	return c.either(on, sayRecordingOn, sayRecordingOff)
}
