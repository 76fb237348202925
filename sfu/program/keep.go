package program

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"time"

	"linehall/internal/audit"
	"linehall/internal/observe"
)

// repair gives what a crash has cut off its index, and closes what no meeting carries on.
func (s *Service) repair(ctx context.Context) {
	parts, err := query[Part](ctx, s.o.DB, "SELECT info FROM programme_part WHERE ended_at IS NULL AND started_at < ?", time.Now().UnixMilli())
	if err != nil {
		s.log.Error("recordings of before the restart", slog.Any(observe.Err, err))
		return
	}
	for i := range parts {
		p := &parts[i]
		if s.writing(p) || ctx.Err() != nil {
			continue
		}
		if err := s.repairPart(ctx, p); err != nil {
			s.log.Error("recording of before the restart", slog.String("recording", p.Programme), slog.Any(observe.Err, err))
		}
	}
	if err := s.closeExports(ctx); err != nil {
		s.log.Error("exports of before the restart", slog.Any(observe.Err, err))
	}
	open, err := query[Info](ctx, s.o.DB, "SELECT info FROM programme WHERE ended_at IS NULL")
	if err != nil {
		s.log.Error("recordings of before the restart", slog.Any(observe.Err, err))
		return
	}
	for i := range open {
		if err := s.closeOpen(ctx, &open[i]); err != nil {
			s.log.Error("recording of before the restart", slog.String("recording", open[i].ID), slog.Any(observe.Err, err))
		}
	}
}

// writing says whether a part is of a recording that this process has begun since.
func (s *Service) writing(p *Part) bool {
	s.mu.Lock()
	r := s.active[p.Programme]
	s.mu.Unlock()
	return r != nil && r.wrote(p.Number)
}

func (s *Service) repairPart(ctx context.Context, p *Part) error {
	i, err := s.Get(ctx, p.Programme)
	if err != nil {
		return err
	}
	v, err := openVolume(s.path(p.File, i.StartedAt), s.o.Secrets, true)
	if errors.Is(err, os.ErrNotExist) {
		return s.endPart(ctx, p.Programme, p.Number, &index{}, 0, true)
	}
	if err != nil {
		return err
	}
	h := head{Title: i.RoomName, Start: p.StartedAt}
	if p.Member != "" {
		h.Title += " " + p.Name.Zh
	}
	x, err := finish(v, &h)
	size := v.end
	if err = errors.Join(err, v.Close()); err != nil {
		return err
	}
	s.log.Info("part of a recording repaired", "recording", p.Programme, "part", p.Number, "seconds", x.duration.Seconds())
	return s.endPart(ctx, p.Programme, p.Number, x, size, true)
}

func (s *Service) closeOpen(ctx context.Context, i *Info) error {
	s.mu.Lock()
	_, active := s.active[i.ID]
	s.mu.Unlock()
	if active {
		return nil
	}
	parts, err := s.Parts(ctx, i.ID)
	if err != nil {
		return err
	}
	at := i.StartedAt
	for _, p := range parts {
		if p.EndedAt != nil && p.EndedAt.After(at) {
			at = *p.EndedAt
		}
	}
	i.EndedAt, i.Why = &at, "interrupted"
	return s.save(ctx, i)
}

// Delete removes a recording, its files first; whoever calls it has put that on record.
func (s *Service) Delete(ctx context.Context, id string) error {
	i, err := s.Get(ctx, id)
	if err != nil {
		return err
	}
	s.mu.Lock()
	_, active := s.active[id]
	s.mu.Unlock()
	if active {
		return fmt.Errorf("recording %s: %w", id, ErrInUse)
	}
	s.exports.cancelAll(id)
	parts, err := s.Parts(ctx, id)
	if err != nil {
		return err
	}
	var errs []error
	for _, p := range parts {
		if err := os.Remove(s.path(p.File, i.StartedAt)); err != nil && !errors.Is(err, os.ErrNotExist) {
			errs = append(errs, fmt.Errorf("recording %s: %w", id, err))
		}
	}
	made, err := s.Exports(ctx, id)
	errs = append(errs, err)
	for _, e := range made {
		if err := os.Remove(s.path(e.File, i.StartedAt)); err != nil && !errors.Is(err, os.ErrNotExist) {
			errs = append(errs, fmt.Errorf("recording %s: %w", id, err))
		}
	}
	if err := errors.Join(errs...); err != nil {
		return err
	}
	if err := s.forget(ctx, id); err != nil {
		return err
	}
	s.metrics.deleted.Inc()
	return nil
}

// Tidy deletes recordings that are older than they are kept, then the oldest ones until all take no more of the disk than
// they may. Each deletion is on record before it is done.
func (s *Service) Tidy(ctx context.Context, now time.Time) error {
	c := s.policy.Load()
	if c.KeepDays > 0 {
		old, err := query[Info](ctx, s.o.DB, "SELECT info FROM programme WHERE ended_at < ? ORDER BY started_at", now.AddDate(0, 0, -c.KeepDays).UnixMilli())
		if err != nil {
			return err
		}
		for _, i := range old {
			if err := s.expire(ctx, &i, fmt.Sprintf("kept for %d days", c.KeepDays)); err != nil {
				return err
			}
		}
	}
	size, _, err := s.o.Space()
	if err != nil {
		return err
	}
	limit := int64(float64(size) * float64(c.MaxShare))
	for {
		total, err := s.total(ctx)
		if err != nil || total <= limit {
			return err
		}
		oldest, err := query[Info](ctx, s.o.DB, "SELECT info FROM programme WHERE ended_at IS NOT NULL ORDER BY started_at LIMIT 1")
		if err != nil || len(oldest) == 0 {
			return err
		}
		if err := s.expire(ctx, &oldest[0], "recordings take more than "+c.MaxShare.String()+" of the disk"); err != nil {
			return err
		}
	}
}

func (s *Service) expire(ctx context.Context, i *Info, why string) error {
	if err := s.o.Audit.Append(ctx, audit.Event{Actor: "system", Source: "local", Action: "meeting_recording.delete", Object: i.ID, Detail: map[string]string{
		"why": why, "room": i.Room, "started_at": i.StartedAt.Format(time.RFC3339),
	}}); err != nil {
		return fmt.Errorf("recordings of meetings: %w", err)
	}
	return s.Delete(ctx, i.ID)
}
