package feature

import (
	"context"
	"time"
)

// writeLag groups what may be done behind: calls come in bursts. Who called last can wait longer to be written: a crash
// costs no more than a call back to the one before.
const (
	writeLag  = 100 * time.Millisecond
	callerLag = time.Second
)

// Run ends stays at desks, calls people back, and writes last callers, until ctx ends.
func (s *Service) Run(ctx context.Context) error {
	clock := time.NewTimer(0)
	defer clock.Stop()
	var due time.Time // what the clock is set to
	within := func(lag time.Duration) {
		if at := time.Now().Add(lag); at.Before(due) {
			due = at
			clock.Reset(lag)
		}
	}
	for {
		select {
		case <-ctx.Done():
			last, cancel := context.WithTimeout(context.WithoutCancel(ctx), 5*time.Second)
			defer cancel()
			s.saveLastCallers(last)
			return nil
		case <-s.wake:
			within(writeLag)
		case <-s.noted:
			within(callerLag)
		case <-clock.C:
			now := time.Now()
			next := s.expireDesks(ctx, now)
			if at := s.complete(ctx, now); at.Before(next) {
				next = at
			}
			s.saveLastCallers(ctx)
			due = now.Add(max(next.Sub(now), writeLag))
			clock.Reset(time.Until(due))
		}
	}
}
