package record

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math"
	"os"
	"strconv"
	"time"

	"linehall/internal/audit"
	"linehall/internal/observe"
)

// ErrInUse is the error of Delete for a recording that goes on.
var ErrInUse = errors.New("the recording goes on")

// stopped puts on record that a recording ended.
func (r *Recorder) stopped(ctx context.Context, i *Info) {
	by := i.EndedBy
	if by == "" {
		by = "system"
	}
	if err := r.o.Audit.Append(ctx, audit.Event{Actor: by, Source: "local", Action: "recording.stop", Object: i.ID, Detail: map[string]string{
		"why": i.Why, "seconds": strconv.FormatFloat(i.Seconds, 'f', 1, 64),
	}}); err != nil {
		r.log.Error("end of a recording not on record", slog.String("recording", i.ID), slog.Any(observe.Err, err))
	}
}

// recover closes what a crash interrupted: a file is good up to its last whole chunk.
func (r *Recorder) recover(ctx context.Context) error {
	open, err := r.query(ctx, "ended_at IS NULL")
	if err != nil {
		return err
	}
	for n := range open {
		i := &open[n]
		i.EndedBy, i.Why = "system", "interrupted by a restart"
		switch err := r.survey(i); {
		case errors.Is(err, os.ErrNotExist):
			i.Why = "its file is not there"
		case err != nil:
			r.log.Error("recording of before the restart", slog.String("recording", i.ID), slog.Any(observe.Err, err))
			i.Why = "interrupted, and its file cannot be read"
		}
		at := i.StartedAt.Add(time.Duration(i.Seconds * float64(time.Second)))
		i.EndedAt = &at
		if err := r.update(ctx, i); err != nil {
			return fmt.Errorf("recordings: %w", err)
		}
		r.stopped(ctx, i)
		r.log.Info("recording of before the restart closed", slog.String("recording", i.ID), slog.Float64("seconds", i.Seconds))
	}
	return nil
}

// survey reads how much of a recording there is.
func (r *Recorder) survey(i *Info) error {
	f, err := openFile(r.find(i), r.o.Secrets)
	if err != nil {
		return err
	}
	defer func() { _ = f.close() }() // only read
	i.Packets, i.Bytes = [2]uint64{}, f.limit
	for {
		kind, at, body, err := f.next()
		if err != nil {
			if errors.Is(err, io.EOF) {
				return nil
			}
			return err
		}
		i.Seconds = math.Max(i.Seconds, math.Round(float64(at)/1000)/1000)
		switch kind {
		case entryCaller, entryCallee:
			i.Packets[kind]++
		case entryEnd: // the process died between the file's end and the row's
			var last Info
			if json.Unmarshal(body, &last) == nil {
				last.Bytes = f.limit
				*i = last
			}
		}
	}
}

// Delete removes a recording, its file first; whoever calls it has put that on record.
func (r *Recorder) Delete(ctx context.Context, id string) error {
	i, err := r.Get(ctx, id)
	if err != nil {
		return err
	}
	r.mu.Lock()
	_, active := r.active[id]
	r.mu.Unlock()
	if active || i.EndedAt == nil {
		return fmt.Errorf("recording %s: %w", id, ErrInUse)
	}
	if err := os.Remove(r.find(&i)); err != nil && !errors.Is(err, os.ErrNotExist) {
		return fmt.Errorf("recording %s: %w", id, err)
	}
	if err := r.forget(ctx, id); err != nil {
		return fmt.Errorf("recording %s: %w", id, err)
	}
	r.metrics.deleted.Inc()
	return nil
}

// tidyUp deletes what was kept long enough until ctx ends.
func (r *Recorder) tidyUp(ctx context.Context) {
	tick := time.NewTicker(tidyEvery)
	defer tick.Stop()
	for {
		if err := r.Tidy(ctx, time.Now()); err != nil && ctx.Err() == nil {
			r.log.Error("recordings not tidied up", slog.Any(observe.Err, err))
		}
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}

// Tidy deletes recordings that are older than they are kept, then the oldest ones until all take no more of the disk than
// they may. Each deletion is on record before it is done.
func (r *Recorder) Tidy(ctx context.Context, now time.Time) error {
	c := r.rules.Load().config
	if c.KeepDays > 0 {
		old, err := r.query(ctx, "ended_at IS NOT NULL AND started_at < ? ORDER BY started_at", now.AddDate(0, 0, -c.KeepDays).UnixMilli())
		if err != nil {
			return err
		}
		for _, i := range old {
			if err := r.expire(ctx, &i, fmt.Sprintf("kept for %d days", c.KeepDays)); err != nil {
				return err
			}
		}
	}
	size, _, err := r.o.Space()
	if err != nil {
		return err
	}
	limit := int64(float64(size) * float64(c.MaxShare))
	for {
		total, err := r.total(ctx)
		if err != nil || total <= limit {
			return err
		}
		oldest, err := r.query(ctx, "ended_at IS NOT NULL ORDER BY started_at LIMIT 1")
		if err != nil || len(oldest) == 0 {
			return err
		}
		if err := r.expire(ctx, &oldest[0], "recordings take more than "+c.MaxShare.String()+" of the disk"); err != nil {
			return err
		}
	}
}

func (r *Recorder) expire(ctx context.Context, i *Info, why string) error {
	if err := r.o.Audit.Append(ctx, audit.Event{Actor: "system", Source: "local", Action: "recording.delete", Object: i.ID, Detail: map[string]string{
		"why": why, "from": i.From.Extension, "to": i.To.Extension, "started_at": i.StartedAt.Format(time.RFC3339),
	}}); err != nil {
		return err
	}
	return r.Delete(ctx, i.ID)
}
