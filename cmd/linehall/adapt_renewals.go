package main

import (
	"context"
	"log/slog"
	"time"

	"linehall/configs"
	"linehall/internal/audit"
	"linehall/internal/directory"
	"linehall/internal/observe"
	"linehall/provisioning/plan"
)

// maxRenewals is how many phones may register with their new password while the database is busy; one too many is
// confirmed by its next registration.
const maxRenewals = 256

// renewals makes a phone's new password the only one once the phone has used it. Registrations do not wait for it.
type renewals struct {
	directory *directory.Directory
	audit     *audit.Log
	log       *slog.Logger
	used      chan string
}

func newRenewals(d *directory.Directory, trail *audit.Log, log *slog.Logger) *renewals {
	return &renewals{directory: d, audit: trail, log: log, used: make(chan string, maxRenewals)}
}

// Used is told that a phone has authenticated with its next password.
func (r *renewals) Used(extension string) {
	select {
	case r.used <- extension:
	default:
	}
}

// Run confirms until ctx ends.
func (r *renewals) Run(ctx context.Context) error {
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case extension := <-r.used:
			if _, waits := r.directory.Next(extension); !waits {
				continue // told twice
			}
			if err := r.directory.Confirm(ctx, extension); err != nil {
				r.log.Error("new password could not be confirmed", observe.Extension, extension, observe.Err, err)
				continue
			}
			r.log.Info("phone uses its new password", observe.Extension, extension)
			event := audit.Event{Actor: "system", Source: "local", Action: "terminal.password", Object: extension}
			if err := r.audit.Append(ctx, event); err != nil {
				r.log.Error("new password could not be audited", observe.Extension, extension, observe.Err, err)
			}
		}
	}
}

// rotationDue says whose password an apply changes: everybody's when that is wished, else those that are too old. One that
// waits for its phone is not too old: the phone gets it when it asks next.
func rotationDue(config configs.Config, ages map[string]directory.Age, everybody bool, now time.Time) func(plan.File) bool {
	oldest := config.Terminals.PasswordAge
	return func(file plan.File) bool {
		age, known := ages[file.Extension]
		switch {
		case !known: // its first password is made when the file is taken over
			return false
		case everybody:
			return true
		}
		return oldest > 0 && !age.Waits && now.Sub(age.MadeAt) > oldest
	}
}
