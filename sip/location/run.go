package location

import (
	"context"
	"fmt"
	"time"

	"linehall/internal/observe"
)

// Run expires and writes until ctx ends; then it writes what is left.
func (s *Service) Run(ctx context.Context) error {
	timer := time.NewTimer(0)
	defer timer.Stop()
	var writeAt time.Time // zero: nothing waits
	for {
		select {
		case <-ctx.Done():
			return s.flush(context.WithoutCancel(ctx))
		case <-timer.C:
		case <-s.wake:
		}
		now := time.Now()
		s.expire(now)
		if writeAt.IsZero() && s.waiting() {
			writeAt = now.Add(s.opts.WriteLag)
		}
		if !writeAt.IsZero() && !now.Before(writeAt) {
			writeAt = time.Time{}
			// A transaction that has begun is finished: ending it half-way would only have to be done again.
			if err := s.flush(context.WithoutCancel(ctx)); err != nil {
				writeAt = now.Add(time.Second)
			}
		}
		timer.Reset(s.pause(now, writeAt))
	}
}

func (s *Service) waiting() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.dirty) > 0
}

func (s *Service) pause(now, writeAt time.Time) time.Duration {
	next := now.Add(time.Hour)
	s.mu.Lock()
	if t, ok := s.due.next(); ok && t.Before(next) {
		next = t
	}
	s.mu.Unlock()
	if !writeAt.IsZero() && writeAt.Before(next) {
		next = writeAt
	}
	return max(0, next.Sub(now))
}

func (s *Service) expire(now time.Time) {
	var gone []Binding
	s.mu.Lock()
	for _, aor := range s.due.pop(now) {
		old := s.stored(aor)
		var live []Binding
		for _, b := range old {
			if b.Expires.After(now) {
				live = append(live, b)
			} else {
				gone = append(gone, b)
			}
		}
		s.put(aor, old, live)
		s.dirty[aor] = true
	}
	s.mu.Unlock()
	for _, b := range gone {
		s.log.Info("binding expired", observe.AOR, b.AOR, observe.Contact, b.Contact, observe.Remote, b.Flow.Remote)
		s.tell(b.AOR)
	}
}

// flush writes the changed AORs in one transaction. When that fails they stay
// changed: memory is right, and the next attempt comes in a second.
func (s *Service) flush(ctx context.Context) error {
	s.mu.Lock()
	batch := make(map[string][]Binding, len(s.dirty))
	for aor := range s.dirty {
		batch[aor] = s.stored(aor)
	}
	s.dirty = make(map[string]bool)
	s.mu.Unlock()
	if len(batch) == 0 {
		return nil
	}
	err := s.store.save(ctx, batch)
	s.mu.Lock()
	defer s.mu.Unlock()
	if err != nil {
		for aor := range batch {
			s.dirty[aor] = true
		}
		if !s.broken {
			s.log.Error("bindings not written; a restart would lose the newest", observe.Err, err)
		}
	} else if s.broken {
		s.log.Info("bindings are written again")
	}
	s.broken = err != nil
	if err != nil {
		return fmt.Errorf("location: %w", err)
	}
	return nil
}
