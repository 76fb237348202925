package plan

import (
	"context"
	"database/sql"
	"embed"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"linehall/internal/database"
	"linehall/provisioning/phone"
)

//go:embed migrations/*.sql
var migrations embed.FS

// Schema is the table of what was applied.
func Schema() database.Schema { return database.Schema{Name: "plan", Files: migrations} }

// Store keeps what each phone was last told.
type Store struct{ db *sql.DB }

// NewStore uses the database; its tables need not be there to read.
func NewStore(db *sql.DB) *Store { return &Store{db} }

// Applied reads everything by MAC address; in a database of before there were
// plans nothing was applied.
func (s *Store) Applied(ctx context.Context) (_ map[string]File, err error) {
	applied := map[string]File{}
	var tables int
	if err := s.db.QueryRowContext(ctx, "SELECT count(*) FROM sqlite_schema WHERE name = 'plan_applied'").Scan(&tables); err != nil || tables == 0 {
		return applied, database.Explain(err)
	}
	rows, err := s.db.QueryContext(ctx, "SELECT mac, extension, brand, settings FROM plan_applied")
	if err != nil {
		return nil, fmt.Errorf("applied phones: %w", database.Explain(err))
	}
	defer func() { err = errors.Join(err, rows.Close()) }()
	for rows.Next() {
		var f File
		var settings string
		if err := rows.Scan(&f.MAC, &f.Extension, &f.Brand, &settings); err != nil {
			return nil, fmt.Errorf("applied phones: %w", err)
		}
		var pairs [][2]string
		if err := json.Unmarshal([]byte(settings), &pairs); err != nil {
			return nil, fmt.Errorf("what was applied to %s: %w", f.MAC, err)
		}
		for _, p := range pairs {
			f.Settings = append(f.Settings, phone.Line{Key: p[0], Value: p[1]})
		}
		applied[f.MAC] = f
	}
	return applied, rows.Err()
}

// Note writes that a phone was told its file, or that it is gone.
func (s *Store) Note(ctx context.Context, c Change, at time.Time) error {
	if c.Kind == Gone {
		_, err := s.db.ExecContext(ctx, "DELETE FROM plan_applied WHERE mac = ?", c.MAC)
		return database.Explain(err)
	}
	pairs := make([][2]string, 0, len(c.file.Settings))
	for _, l := range c.file.Settings {
		pairs = append(pairs, [2]string{l.Key, l.Value})
	}
	settings, err := json.Marshal(pairs)
	if err != nil {
		return fmt.Errorf("settings of %s: %w", c.MAC, err)
	}
	_, err = s.db.ExecContext(ctx, `INSERT INTO plan_applied (mac, extension, brand, settings, applied_at) VALUES (?, ?, ?, ?, ?)
		ON CONFLICT (mac) DO UPDATE SET extension = excluded.extension, brand = excluded.brand, settings = excluded.settings, applied_at = excluded.applied_at`,
		c.MAC, c.Extension, c.Brand, string(settings), at.UnixMicro())
	return database.Explain(err)
}
