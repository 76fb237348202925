package main

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"linehall/configs"
	"linehall/internal/directory"
	"linehall/internal/observe"
	"linehall/provisioning/enrolment"
	"linehall/provisioning/inventory"
	"linehall/provisioning/plan"
	"linehall/sip/location"
	"linehall/web/api"
)

// fetchPatience is how long a phone that was told may take to come for its file: it may be asking its name server, or
// finishing a screen, before it does.
const fetchPatience = 30 * time.Second

// applier carries out plans, one at a time: it takes the files' configuration over and tells the phones.
type applier struct {
	a       *appliance
	store   *plan.Store
	archive *plan.Archive

	wishes chan func(context.Context) // the work of an apply, done by Run

	mu   sync.Mutex // guards last and busy
	last api.Apply
	busy bool
}

func newApplier(a *appliance) *applier {
	return &applier{a: a, store: plan.NewStore(a.db), archive: plan.NewArchive(a.db, a.box), wishes: make(chan func(context.Context), 1), last: api.Apply{Outcomes: []api.ApplyOutcome{}}}
}

// wantedFiles are the files of every phone as the configuration says, with marks in the place of secrets.
func wantedFiles(config configs.Config) ([]plan.File, error) {
	organisation, err := organisationOf(config)
	if err != nil {
		return nil, err
	}
	var files []plan.File
	for _, t := range terminalsOf(config) {
		file, ok, err := organisation.WantedFile(t)
		if err != nil {
			return nil, fmt.Errorf("file of %s: %w", t.Extension, err)
		}
		if ok {
			files = append(files, file)
		}
	}
	return files, nil
}

// makePlan compares what was applied with what the configuration wants; rotate adds a new password for everybody.
func makePlan(ctx context.Context, db *sql.DB, config configs.Config, rotate bool) (plan.Plan, error) {
	wanted, err := wantedFiles(config)
	if err != nil {
		return plan.Plan{}, err
	}
	applied, err := plan.NewStore(db).Applied(ctx)
	if err != nil {
		return plan.Plan{}, err
	}
	ages, err := directory.Ages(ctx, db)
	if err != nil {
		return plan.Plan{}, err
	}
	enrolled, err := enrolment.Enrolled(ctx, db)
	if err != nil {
		return plan.Plan{}, err
	}
	due := rotationDue(config, ages, rotate, time.Now())
	return plan.Compare(applied, wanted).Rotate(wanted, func(f plan.File) bool { return enrolled[f.MAC] && due(f) }), nil
}

// StartApply checks that the plan is the one that was looked at, reloads, and hands the phones to Run.
func (v *applier) StartApply(ctx context.Context, wish api.ApplyWish) (api.Apply, error) {
	limit, err := plan.ParseLimit(wish.Limit)
	if err != nil {
		return api.Apply{}, fmt.Errorf("%w: %w", api.ErrInvalid, err)
	}
	if !v.begin() {
		return api.Apply{}, fmt.Errorf("%w: another apply is going on", api.ErrConflict)
	}
	p, open, err := v.prepare(ctx, wish, limit)
	if err != nil {
		v.end(err.Error())
		return api.Apply{}, err
	}
	started := time.Now()
	v.mu.Lock()
	v.last = api.Apply{Running: true, StartedAt: &started, Phones: len(p.Changes), Outcomes: []api.ApplyOutcome{}}
	v.mu.Unlock()
	options := plan.Options{Batch: wish.Batch, Pause: time.Duration(wish.PauseSeconds) * time.Second, MaxFailures: wish.MaxFailures, Patience: fetchPatience, Open: open}
	v.wishes <- func(ctx context.Context) { v.carryOut(ctx, p, options) } // never blocks: one at a time
	return v.LastApply(ctx), nil
}

// prepare makes the plan of the files as they are now, takes them over and keeps them; open says how long phones may be
// disturbed.
func (v *applier) prepare(ctx context.Context, wish api.ApplyWish, limit plan.Limit) (_ plan.Plan, open func(time.Time) bool, err error) {
	config, err := configs.Load(v.a.options)
	if err != nil {
		return plan.Plan{}, nil, fmt.Errorf("%w: %w", api.ErrInvalid, err)
	}
	open, err = maintenance(config)
	if err != nil {
		return plan.Plan{}, nil, err
	}
	if wish.AnyTime {
		open = nil
	} else if !open(time.Now()) {
		return plan.Plan{}, nil, fmt.Errorf("%w: now is outside the maintenance window %s (terminals.maintenance); --any-time applies all the same",
			api.ErrConflict, config.Terminals.Maintenance)
	}
	p, err := makePlan(ctx, v.a.db, config, wish.Rotate)
	if err != nil {
		return plan.Plan{}, nil, err
	}
	if wish.Digest != "" && wish.Digest != p.Digest {
		return plan.Plan{}, nil, fmt.Errorf("%w: the plan is stale: the files or what was applied have changed since; make a new one", api.ErrConflict)
	}
	if err := v.a.reload.reload(ctx, "apply"); err != nil {
		if broken := (*configs.Error)(nil); errors.As(err, &broken) {
			return plan.Plan{}, nil, fmt.Errorf("%w: %w", api.ErrInvalid, err)
		}
		return plan.Plan{}, nil, err
	}
	p = p.Only(limit)
	files, err := configurationFiles(config, v.a.options.Path)
	if err == nil {
		err = v.archive.Keep(ctx, files, len(p.Changes), time.Now())
	}
	return p, open, err
}

// maintenance is the hours of the configuration in its zone.
func maintenance(config configs.Config) (func(time.Time) bool, error) {
	hours, err := inventory.ParseHours(config.Terminals.Maintenance)
	if err != nil {
		return nil, fmt.Errorf("terminals.maintenance: %w", err)
	}
	zone, err := time.LoadLocation(config.Appliance.TimeZone)
	if err != nil {
		return nil, fmt.Errorf("appliance.time_zone: %w", err)
	}
	return func(at time.Time) bool { return hours.Contains(at.In(zone)) }, nil
}

func (v *applier) begin() bool {
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.busy {
		return false
	}
	v.busy = true
	return true
}

// end closes the apply; a reason says why before its time.
func (v *applier) end(reason string) {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.busy, v.last.Running = false, false
	if reason != "" {
		v.last.Stopped = &reason
	}
}

// LastApply is a copy of how far it is.
func (v *applier) LastApply(context.Context) api.Apply {
	v.mu.Lock()
	defer v.mu.Unlock()
	last := v.last
	last.Outcomes = append([]api.ApplyOutcome{}, v.last.Outcomes...)
	return last
}

// Run does the work of applies until ctx ends.
func (v *applier) Run(ctx context.Context) error {
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case work := <-v.wishes:
			work(ctx)
		}
	}
}

func (v *applier) carryOut(ctx context.Context, p plan.Plan, options plan.Options) {
	err := plan.Run(ctx, p, options, v, v.store, time.Now, func(o plan.Outcome) {
		v.mu.Lock()
		defer v.mu.Unlock()
		v.last.Outcomes = append(v.last.Outcomes, api.ApplyOutcome{
			MAC: o.Change.MAC, Extension: o.Change.Extension, Site: o.Change.Site, Result: o.Result, Detail: o.Detail,
		})
		v.a.log.Info("phone told about its configuration", slog.String(observe.DeviceMAC, o.Change.MAC), slog.String("result", o.Result))
	})
	reason := ""
	if err != nil {
		reason = err.Error()
		v.a.log.Warn("apply ended early", slog.Any(observe.Err, err))
	}
	v.end(reason)
}

// State says how a phone is now.
func (v *applier) State(mac, extension string) plan.State {
	device, known := v.a.delivery.book.Device(mac)
	state := plan.State{Enrolled: known && device.Enrolled()}
	state.Registered = len(v.a.telephony.locations.Lookup(location.AOR(extension, v.a.reload.current().Appliance.Domain))) > 0
	for _, call := range v.a.telephony.calls.Snapshot() {
		state.InCall = state.InCall || call.From.Extension == extension || call.To.Extension == extension
	}
	return state
}

// Resync tells the phones of an extension to fetch.
func (v *applier) Resync(ctx context.Context, extension, event string) error {
	return v.a.telephony.subscriptions.Resync(ctx, extension, event)
}

// Rotate makes the next password of an extension; both are good until its phone has used the new one.
func (v *applier) Rotate(ctx context.Context, extension string) error {
	_, err := v.a.directory.Rotate(ctx, extension)
	return err
}

// Fetched is closed when the phone has come.
func (v *applier) Fetched(mac string) <-chan struct{} { return v.a.delivery.server.Fetched(mac) }
