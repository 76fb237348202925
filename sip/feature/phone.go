package feature

import (
	"context"
	"log/slog"
	"time"

	"linehall/internal/audit"
)

// secondsPerRing is the ringing cadence's length (1 s on, 4 s off in China, YD/T 1; 6 s elsewhere):
// phones set the time before a forward in rings.
const secondsPerRing = 5

// Rings is the time before a forward on no answer, as phones count it.
func (s *Settings) Rings() int { return max(1, int(s.NoAnswerAfter()/time.Second)/secondsPerRing) }

// ChangeByPhone is Change on the word of the extension's own phone, by a key and not by a code: it
// is recorded before.
func (s *Service) ChangeByPhone(ctx context.Context, extension, what string, edit func(*Settings)) error {
	err := s.o.Audit.Append(ctx, audit.Event{
		Actor: "phone " + extension, Source: "desk " + extension, Action: "terminal.features", Object: extension, Detail: map[string]string{"key": what},
	})
	if err != nil {
		s.log.Error("change by a phone's key not recorded, nothing changed", slog.String("extension", extension), slog.Any("err", err))
		return ErrStore
	}
	_, err = s.Change(ctx, extension, edit)
	return err
}

// SetForwardByPhone sets a forward as a phone's key does; rings 0 leaves the time before a forward
// on no answer as it is.
func (s *Service) SetForwardByPhone(ctx context.Context, extension string, k Kind, f Forward, rings int) error {
	return s.ChangeByPhone(ctx, extension, string(k)+" "+f.To, func(own *Settings) {
		now := own.forward(k)
		now.On = f.On
		if f.To != "" {
			now.To = f.To
		}
		if k == NoAnswer && rings > 0 {
			own.NoAnswerSeconds = min(max(rings*secondsPerRing, int(minNoAnswer.Seconds())), int(maxNoAnswer.Seconds()))
		}
	})
}

// Forward returns a forward of the settings.
func (s Settings) Forward(k Kind) Forward { return *s.forward(k) }
