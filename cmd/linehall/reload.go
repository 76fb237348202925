package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/signal"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"

	"github.com/prometheus/client_golang/prometheus"

	"linehall/configs"
	"linehall/internal/audit"
	"linehall/internal/observe"
	"linehall/internal/site"
)

// reloader replaces the configuration of the running appliance, all of it or nothing.
type reloader struct {
	a       *appliance
	level   *slog.LevelVar
	mu      sync.Mutex // one reload at a time
	now     atomic.Pointer[configs.Config]
	failed  atomic.Bool // the last reload was refused
	hangups chan os.Signal
	success prometheus.Gauge
	total   prometheus.Counter
}

func newReloader(a *appliance, config configs.Config, level *slog.LevelVar) *reloader {
	r := &reloader{
		a: a, level: level, hangups: make(chan os.Signal, 1),
		success: prometheus.NewGauge(prometheus.GaugeOpts{Name: "linehall_config_last_reload_success", Help: "1 when the configuration in use is the one last read, 0 when the last one was refused."}),
		total:   prometheus.NewCounter(prometheus.CounterOpts{Name: "linehall_config_reloads_total", Help: "Attempts to reload the configuration, refused ones included."}),
	}
	a.registry.MustRegister(r.success, r.total)
	r.success.Set(1)
	r.now.Store(&config)
	// From here on, not from Run on: a reload asked for while we start waits, instead of ending the process.
	signal.Notify(r.hangups, syscall.SIGHUP)
	return r
}

// current is the configuration in use; nobody writes to it.
func (r *reloader) current() configs.Config { return *r.now.Load() }

// refused reports whether the last reload was refused.
func (r *reloader) refused() bool { return r.failed.Load() }

// Run reloads at each SIGHUP until ctx ends.
func (r *reloader) Run(ctx context.Context) error {
	defer signal.Stop(r.hangups)
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-r.hangups:
			if err := r.reload(ctx, "signal"); err != nil {
				logProblems(r.a.log, err)
			}
		}
	}
}

// reload reads the files and applies them. On an error nothing has changed.
func (r *reloader) reload(ctx context.Context, actor string) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	updated, changes, err := configs.Reload(r.current(), r.a.options)
	if err == nil {
		err = r.apply(ctx, updated)
	}
	event := audit.Event{Actor: actor, Source: "local", Action: "config.reload", Object: r.a.options.Path, Detail: map[string]string{"result": "applied", "sections": strings.Join(changes.Sections, " ")}}
	if err != nil {
		event.Detail = map[string]string{"result": "refused"}
	}
	if auditErr := r.a.audit.Append(ctx, event); auditErr != nil {
		r.a.log.Error("reload not recorded", slog.Any(observe.Err, auditErr))
	}
	r.failed.Store(err != nil)
	if err != nil {
		r.success.Set(0)
		r.total.Inc()
		return err
	}
	r.success.Set(1)
	r.total.Inc()
	r.a.log.Info("configuration reloaded", slog.String("sections", strings.Join(changes.Sections, " ")))
	return nil
}

// apply hands the new configuration to each part: first everything that can refuse it, then what cannot.
func (r *reloader) apply(ctx context.Context, updated configs.Config) error {
	table, err := site.NewTable(updated.SiteList())
	if err != nil {
		return fmt.Errorf("sites: %w", err)
	}
	plan, err := newPlanOn(updated, table, r.a.ground)
	if err != nil {
		return fmt.Errorf("dialplan: %w", err)
	}
	level, err := observe.ParseLevel(updated.Observability.Log.Level)
	if err != nil {
		return err
	}
	organisation, err := servedOrganisation(updated, r.a.ground)
	if err != nil {
		return fmt.Errorf("terminals: %w", err)
	}
	trunks, err := r.a.telephony.trunks.Prepare(updated.Trunks, updated.Dialplan.Numbering)
	if err != nil {
		return err
	}
	tapes, err := r.a.media.tapes.Prepare(updated.Recording, updated.Dialplan.DefaultClass)
	if err != nil {
		return err
	}
	before := r.current()
	// The directory writes to the database and is the last that can fail; it takes all rows or none.
	if err := r.a.directory.Apply(ctx, terminalsOf(updated)); err != nil {
		return fmt.Errorf("terminals: %w", err)
	}
	if err := r.a.conference.rooms.Apply(updated.Conference); err != nil { //nolint:contextcheck // rooms live as long as the manager runs
		return errors.Join(fmt.Errorf("conference: %w", err), r.a.directory.Apply(ctx, terminalsOf(before)))
	}
	if err := applySchedule(r.a.conference.schedule, updated); err != nil {
		return errors.Join(fmt.Errorf("schedule: %w", err), r.a.directory.Apply(ctx, terminalsOf(before))) // the time zone was validated
	}
	r.a.atlas.Store(table)
	r.a.media.ledger.Apply(table)
	r.a.media.tapes.Install(tapes)
	r.a.conference.films.Install(programmePolicy(updated))
	r.a.telephony.guard.Apply(updated.Security.SIP)
	r.a.telephony.trace.Apply(updated.Observability.Trace)
	r.a.media.captures.Apply(updated.Observability.Capture)
	r.a.telephony.plan.now.Store(plan)
	r.a.telephony.meetings.apply(updated, r.a.atlas.Main())
	r.a.telephony.trunks.Install(trunks) //nolint:contextcheck // keepers live with the service
	r.a.telephony.applyFeatures(updated)
	r.a.delivery.server.Apply(organisation)
	r.level.Set(level)
	r.a.telephony.subscriptions.apply(updated)
	r.now.Store(&updated)
	return nil
}

// logProblems logs one line per problem of a refused configuration.
func logProblems(log *slog.Logger, err error) {
	var broken *configs.Error
	if !errors.As(err, &broken) {
		log.Error("configuration refused, nothing changed", slog.Any(observe.Err, err))
		return
	}
	for _, problem := range broken.Problems {
		log.Error("configuration refused, nothing changed", slog.String("problem", problem.String()))
	}
}
