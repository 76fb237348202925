package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"

	"github.com/spf13/cobra"

	"linehall/configs"
	"linehall/internal/audit"
	"linehall/internal/observe"
	"linehall/sip/focus"
)

func newServe(f *flags) *cobra.Command {
	return &cobra.Command{
		Use: "serve", Short: "run the appliance", Args: cobra.NoArgs,
		Long: "Runs the appliance until SIGINT or SIGTERM. SIGHUP reads the configuration again, all of it or nothing.",
		RunE: func(cmd *cobra.Command, _ []string) error {
			options, err := f.options()
			if err != nil {
				return err
			}
			config, err := configs.Load(options)
			if err != nil {
				return showProblems(cmd, err)
			}
			collectLess()
			return runAppliance(cmd.Context(), config, options, cmd.OutOrStdout(), cmd.ErrOrStderr())
		},
	}
}

// appliance is everything that runs, in the order in which it is built and started; it ends in the reverse order.
type appliance struct {
	options configs.Options
	*ground
	media      *mediaPlane
	telephony  *telephony
	conference *conference
	focus      *focus.Service
	delivery   *delivery
	front      *front
	reload     *reloader
	applier    *applier
	claims     *claims
}

// runAppliance builds the appliance, shows where to look, and runs until ctx ends or a part fails.
func runAppliance(ctx context.Context, config configs.Config, options configs.Options, out, logOut io.Writer) (err error) {
	level := new(slog.LevelVar)
	log, err := newLogger(config, level, logOut)
	if err != nil {
		return err
	}
	g, err := openGround(ctx, config, log)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, g.close()) }()
	a, err := build(ctx, config, options, g, level)
	if err != nil {
		return err
	}
	if err := g.audit.Append(ctx, audit.Event{Actor: "system", Source: "local", Action: "appliance.start", Object: version}); err != nil {
		log.Error("start not recorded", slog.Any(observe.Err, err))
	}
	// Calls and lamps of before the restart speak as soon as they run: their sockets are there by then.
	if err := a.telephony.stack.Listen(ctx); err != nil {
		return fmt.Errorf("telephony: %w", err)
	}
	stages := a.stages()
	banner := part{"banner", func(ctx context.Context) error {
		a.front.waitReady(ctx, g.health)
		if ctx.Err() == nil {
			printBanner(out, config, g, a.front.host())
		}
		<-ctx.Done()
		return ctx.Err()
	}}
	stages = append(stages, stage{name: "announcement", parts: []part{banner}})
	return runStages(ctx, log, stages)
}

func newLogger(config configs.Config, level *slog.LevelVar, out io.Writer) (*slog.Logger, error) {
	parsed, err := observe.ParseLevel(config.Observability.Log.Level)
	if err != nil {
		return nil, err
	}
	level.Set(parsed)
	return observe.NewLogger(out, observe.Format(config.Observability.Log.Format), level)
}

// build joins the parts, lower ones first.
func build(ctx context.Context, config configs.Config, options configs.Options, g *ground, level *slog.LevelVar) (*appliance, error) {
	a := &appliance{options: options, ground: g}
	var err error
	if a.media, err = openMedia(ctx, config, g); err != nil {
		return nil, fmt.Errorf("media: %w", err)
	}
	if a.telephony, err = openTelephony(ctx, config, g, a.media); err != nil {
		return nil, fmt.Errorf("telephony: %w", err)
	}
	if a.conference, err = openConference(ctx, config, g, a.media); err != nil {
		return nil, fmt.Errorf("conference: %w", err)
	}
	a.telephony.subscriptions.watchRooms(a.conference.rooms)
	if a.focus, err = openFocus(ctx, config, g, a.telephony, a.conference); err != nil {
		return nil, fmt.Errorf("meetings by telephone: %w", err)
	}
	if a.delivery, err = openDelivery(ctx, config, g, a.media.bulk); err != nil {
		return nil, fmt.Errorf("provisioning: %w", err)
	}
	offerPnP(a.telephony.stack, a.delivery.pnp)
	a.reload = newReloader(a, config, level)
	a.applier = newApplier(a)
	a.claims = newClaims(a)
	a.delivery.server.Lend = a.claims.Lend
	a.telephony.features.ClaimWith(a.claims)
	if a.front, err = openFront(ctx, config, a); err != nil {
		return nil, fmt.Errorf("web: %w", err)
	}
	return a, nil
}

// stages is the start order and, backwards, the written order of the end:
//
//  1. the front door takes nobody in any more; the rooms tell their pages, which come back by themselves; the door closes
//  2. phones get no more files
//  3. the exchange refuses new calls, ends those that ring and keeps the established ones in its store
//  4. SIP sockets, then call records and bindings, are written and closed
//  5. media stops
//  6. certificates and metrics
func (a *appliance) stages() []stage {
	base := stage{name: "ground", parts: []part{
		{"certificates", a.authority.Run},
		{"metrics", observe.NewServer(observe.ServerOptions{
			Address: string(a.reload.current().Listen.Metrics), Gatherer: a.registry, Health: a.health, Log: a.log,
		}).Run},
	}}
	stages := append([]stage{base, a.media.stage()}, a.telephony.stages()...)
	return append(stages, a.conference.stage(), stage{name: "meetings by telephone", parts: []part{{"focus", a.focus.Run}}}, a.delivery.stage(), a.front.stage(a.reload, a.conference))
}
