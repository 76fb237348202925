package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"time"

	"golang.org/x/sync/errgroup"
)

// part runs until its context ends and returns after everything it started has ended.
type part struct {
	name string
	run  func(ctx context.Context) error
}

// stage is a layer of parts that start together and end together. leave, if any, is asked first when the stage has to
// end: it lets go in an orderly way (refuse new calls, tell the rooms) and returns when that is done or ctx ends.
type stage struct {
	name  string
	parts []part
	leave func(ctx context.Context)
}

// leaveTime bounds each stage's orderly end; systemd's TimeoutStopSec is above the sum.
const leaveTime = 5 * time.Second

var errPartEnded = errors.New("ended by itself")

// runStages starts the stages in the order given, the ground first, and ends them in reverse order when ctx ends or when
// any part fails. It returns after every part has ended; the error is the failure that began it, nil for a normal end.
func runStages(ctx context.Context, log *slog.Logger, stages []stage) error {
	failed := make(chan error, 1)
	type running struct {
		stage
		cancel context.CancelFunc
		group  *errgroup.Group
	}
	var up []running
	for _, s := range stages {
		// Not derived from ctx: the order below, not the signal, ends a stage.
		stageCtx, cancel := context.WithCancel(context.WithoutCancel(ctx))
		group := &errgroup.Group{}
		for _, p := range s.parts {
			group.Go(func() error {
				err := p.run(stageCtx)
				if stageCtx.Err() != nil && (err == nil || errors.Is(err, context.Canceled)) {
					return nil
				}
				if err == nil {
					err = errPartEnded
				}
				err = fmt.Errorf("%s: %w", p.name, err)
				select {
				case failed <- err:
				default: // the first failure is the one to report
				}
				return err
			})
		}
		up = append(up, running{s, cancel, group})
	}

	var cause error
	select {
	case <-ctx.Done():
	case cause = <-failed:
	}
	for _, s := range slices.Backward(up) {
		if s.leave != nil {
			leaveCtx, cancel := context.WithTimeout(context.WithoutCancel(ctx), leaveTime)
			s.leave(leaveCtx)
			cancel()
		}
		s.cancel()
		if err := s.group.Wait(); err != nil && cause == nil {
			cause = err
		}
		log.Info("stage ended", slog.String("stage", s.name))
	}
	return cause
}
