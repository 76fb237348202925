package schedule

import (
	"context"
	"database/sql"
	"embed"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"linehall/internal/database"
	"linehall/internal/secret"
	"linehall/internal/setting"
)

//go:embed migrations/*.sql
var migrations embed.FS

// Schema is the tables of plans and feeds.
func Schema() database.Schema { return database.Schema{Name: "schedule", Files: migrations} }

// store is the SQL.
type store struct {
	db  *sql.DB
	box *secret.Box
}

func purpose(id string) string { return "meeting pin " + id }

func (s store) load(ctx context.Context) ([]*Series, error) {
	rows, err := s.db.QueryContext(ctx, "SELECT id, plan, pin, sequence, created_by, created_at, updated_at, COALESCE(cancelled_at, 0) FROM schedule_series")
	if err != nil {
		return nil, database.Explain(err)
	}
	defer rows.Close() //nolint:errcheck // rows.Err below says what matters
	var list []*Series
	for rows.Next() {
		var (
			one                         Series
			plan                        string
			pin                         []byte
			created, updated, cancelled int64
		)
		if err := rows.Scan(&one.ID, &plan, &pin, &one.Sequence, &one.CreatedBy, &created, &updated, &cancelled); err != nil {
			return nil, database.Explain(err)
		}
		if err := json.Unmarshal([]byte(plan), &one.Plan); err != nil {
			return nil, fmt.Errorf("plan %s: %w", one.ID, err)
		}
		if pin != nil {
			plain, err := s.box.Open(purpose(one.ID), pin)
			if err != nil {
				return nil, fmt.Errorf("PIN of %s: %w", one.ID, err)
			}
			one.PIN = setting.Secret(plain)
		}
		one.CreatedAt, one.UpdatedAt = time.Unix(created, 0), time.Unix(updated, 0)
		if cancelled > 0 {
			one.CancelledAt = time.Unix(cancelled, 0)
		}
		list = append(list, &one)
	}
	return list, database.Explain(rows.Err())
}

func (s store) save(ctx context.Context, one *Series) error {
	plan, err := json.Marshal(one.Plan)
	if err != nil {
		return err
	}
	var pin []byte
	if one.PIN != "" {
		if pin, err = s.box.Seal(purpose(one.ID), []byte(one.PIN.Reveal())); err != nil {
			return err
		}
	}
	var cancelled any
	if !one.CancelledAt.IsZero() {
		cancelled = one.CancelledAt.Unix()
	}
	_, err = s.db.ExecContext(ctx, `INSERT INTO schedule_series (id, plan, pin, sequence, created_by, created_at, updated_at, cancelled_at)
		VALUES (?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT (id) DO UPDATE SET plan = excluded.plan, pin = excluded.pin, sequence = excluded.sequence,
		updated_at = excluded.updated_at, cancelled_at = excluded.cancelled_at`,
		one.ID, string(plan), pin, one.Sequence, one.CreatedBy, one.CreatedAt.Unix(), one.UpdatedAt.Unix(), cancelled)
	return database.Explain(err)
}

func (s store) remove(ctx context.Context, id string) error {
	_, err := s.db.ExecContext(ctx, "DELETE FROM schedule_series WHERE id = ?", id)
	return database.Explain(err)
}

func (s store) addFeed(ctx context.Context, f Feed, hash []byte) error {
	_, err := s.db.ExecContext(ctx, "INSERT INTO schedule_feeds (id, hash, room, venue, created_by, created_at) VALUES (?, ?, ?, ?, ?, ?)",
		f.ID, hash, f.Room, f.Venue, f.CreatedBy, f.CreatedAt.Unix())
	return database.Explain(err)
}

func (s store) feeds(ctx context.Context) ([]Feed, error) {
	rows, err := s.db.QueryContext(ctx, "SELECT id, room, venue, created_by, created_at FROM schedule_feeds ORDER BY created_at, id")
	if err != nil {
		return nil, database.Explain(err)
	}
	defer rows.Close() //nolint:errcheck // rows.Err below says what matters
	list := []Feed{}
	for rows.Next() {
		f, err := scanFeed(rows.Scan)
		if err != nil {
			return nil, database.Explain(err)
		}
		list = append(list, f)
	}
	return list, database.Explain(rows.Err())
}

func (s store) feed(ctx context.Context, hash []byte) (Feed, error) {
	f, err := scanFeed(s.db.QueryRowContext(ctx, "SELECT id, room, venue, created_by, created_at FROM schedule_feeds WHERE hash = ?", hash).Scan)
	if errors.Is(err, sql.ErrNoRows) {
		return f, ErrNotFound
	}
	return f, database.Explain(err)
}

func scanFeed(scan func(...any) error) (Feed, error) {
	var f Feed
	var created int64
	err := scan(&f.ID, &f.Room, &f.Venue, &f.CreatedBy, &created)
	f.CreatedAt = time.Unix(created, 0)
	return f, err
}

func (s store) removeFeed(ctx context.Context, id string) error {
	result, err := s.db.ExecContext(ctx, "DELETE FROM schedule_feeds WHERE id = ?", id)
	if err != nil {
		return database.Explain(err)
	}
	if n, err := result.RowsAffected(); err == nil && n == 0 {
		return ErrNotFound
	}
	return nil
}
