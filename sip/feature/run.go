package feature

import (
	"context"
	"time"
)

// writeLag groups what may be written behind: calls come in bursts.
const writeLag = 100 * time.Millisecond

// Run ends stays at desks, calls people back, and writes last callers, until ctx ends.
func (s *Service) Run(ctx context.Context) error {
	clock := time.NewTimer(0)
	defer clock.Stop()
	for {
		select {
		case <-ctx.Done():
			last, cancel := context.WithTimeout(context.WithoutCancel(ctx), 5*time.Second)
			defer cancel()
			s.saveLastCallers(last)
			return nil
		case <-s.wake:
			clock.Reset(writeLag)
		case <-clock.C:
			now := time.Now()
			next := s.expireDesks(ctx, now)
			if at := s.complete(ctx, now); at.Before(next) {
				next = at
			}
			s.saveLastCallers(ctx)
			clock.Reset(max(time.Until(next), writeLag))
		}
	}
}
