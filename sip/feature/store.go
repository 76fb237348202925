package feature

import (
	"context"
	"database/sql"
	"embed"
	"encoding/json"
	"fmt"
	"time"

	"linehall/internal/database"
)

//go:embed migrations/*.sql
var migrations embed.FS

// Schema is the tables of settings, PINs, desks, last callers and completions.
func Schema() database.Schema { return database.Schema{Name: "feature", Files: migrations} }

// store is the SQL. Rows of extensions that are in no file any more stay: they may come back.
type store struct{ db *sql.DB }

// kept is everything that the store holds.
type kept struct {
	settings    map[string]Settings
	pins        map[string]string
	desks       []Desk
	last        map[string]lastCaller
	completions []completion
}

func (s store) load(ctx context.Context) (kept, error) {
	k := kept{settings: map[string]Settings{}, pins: map[string]string{}, last: map[string]lastCaller{}}
	err := s.each(ctx, "SELECT extension, settings FROM feature_settings", func(scan func(...any) error) error {
		var extension, raw string
		if err := scan(&extension, &raw); err != nil {
			return err
		}
		var settings Settings
		if err := json.Unmarshal([]byte(raw), &settings); err != nil {
			return fmt.Errorf("settings of %s: %w", extension, err)
		}
		k.settings[extension] = settings
		return nil
	})
	if err != nil {
		return k, err
	}
	err = s.each(ctx, "SELECT extension, hash FROM feature_pins", func(scan func(...any) error) error {
		var extension, hash string
		err := scan(&extension, &hash)
		k.pins[extension] = hash
		return err
	})
	if err != nil {
		return k, err
	}
	err = s.each(ctx, "SELECT desk, guest, since, until FROM feature_desks", func(scan func(...any) error) error {
		var d Desk
		var since, until int64
		err := scan(&d.Desk, &d.Guest, &since, &until)
		d.Since, d.Until = time.Unix(since, 0).UTC(), time.Unix(until, 0).UTC()
		k.desks = append(k.desks, d)
		return err
	})
	if err != nil {
		return k, err
	}
	err = s.each(ctx, "SELECT extension, number, at FROM feature_last_callers", func(scan func(...any) error) error {
		var extension string
		var last lastCaller
		var at int64
		err := scan(&extension, &last.number, &at)
		last.at = time.Unix(at, 0).UTC()
		k.last[extension] = last
		return err
	})
	if err != nil {
		return k, err
	}
	return k, s.each(ctx, "SELECT caller, callee, waits, since, expires FROM feature_completions ORDER BY since", func(scan func(...any) error) error {
		var c completion
		var since, expires int64
		err := scan(&c.Caller, &c.Callee, &c.Waits, &since, &expires)
		c.Since, c.Expires = time.Unix(since, 0).UTC(), time.Unix(expires, 0).UTC()
		k.completions = append(k.completions, c)
		return err
	})
}

// each runs a query and gives every row to read.
func (s store) each(ctx context.Context, query string, read func(scan func(...any) error) error) error {
	if s.db == nil {
		return nil
	}
	rows, err := s.db.QueryContext(ctx, query)
	if err != nil {
		return database.Explain(err)
	}
	defer func() { _ = rows.Close() }() // rows.Err tells
	for rows.Next() {
		if err := read(rows.Scan); err != nil {
			return err
		}
	}
	return database.Explain(rows.Err())
}

func (s store) do(ctx context.Context, query string, args ...any) error {
	if s.db == nil {
		return nil
	}
	_, err := s.db.ExecContext(ctx, query, args...)
	return database.Explain(err)
}

func (s store) saveSettings(ctx context.Context, extension string, settings Settings, now time.Time) error {
	raw, err := json.Marshal(settings)
	if err != nil {
		return err
	}
	return s.do(ctx, `INSERT INTO feature_settings (extension, settings, changed_at) VALUES (?, ?, ?)
		ON CONFLICT (extension) DO UPDATE SET settings = excluded.settings, changed_at = excluded.changed_at`,
		extension, string(raw), now.Unix())
}

func (s store) savePIN(ctx context.Context, extension, hash string, now time.Time) error {
	if hash == "" {
		return s.do(ctx, "DELETE FROM feature_pins WHERE extension = ?", extension)
	}
	return s.do(ctx, `INSERT INTO feature_pins (extension, hash, changed_at) VALUES (?, ?, ?)
		ON CONFLICT (extension) DO UPDATE SET hash = excluded.hash, changed_at = excluded.changed_at`, extension, hash, now.Unix())
}

// saveDesk seats a guest; whoever sat there, and wherever the guest sat, is gone in the same
// transaction.
func (s store) saveDesk(ctx context.Context, d Desk) (err error) {
	if s.db == nil {
		return nil
	}
	tx, err := s.db.BeginTx(ctx, nil)
	if err != nil {
		return database.Explain(err)
	}
	defer func() { _ = tx.Rollback() }() // after Commit it does nothing
	if _, err = tx.ExecContext(ctx, "DELETE FROM feature_desks WHERE desk = ? OR guest = ?", d.Desk, d.Guest); err != nil {
		return database.Explain(err)
	}
	if _, err = tx.ExecContext(ctx, "INSERT INTO feature_desks (desk, guest, since, until) VALUES (?, ?, ?, ?)",
		d.Desk, d.Guest, d.Since.Unix(), d.Until.Unix()); err != nil {
		return database.Explain(err)
	}
	return database.Explain(tx.Commit())
}

func (s store) deleteDesk(ctx context.Context, desk string) error {
	return s.do(ctx, "DELETE FROM feature_desks WHERE desk = ?", desk)
}

func (s store) saveLastCaller(ctx context.Context, extension string, last lastCaller) error {
	return s.do(ctx, `INSERT INTO feature_last_callers (extension, number, at) VALUES (?, ?, ?)
		ON CONFLICT (extension) DO UPDATE SET number = excluded.number, at = excluded.at`, extension, last.number, last.at.Unix())
}

func (s store) saveCompletion(ctx context.Context, c completion) error {
	return s.do(ctx, `INSERT INTO feature_completions (caller, callee, waits, since, expires) VALUES (?, ?, ?, ?, ?)
		ON CONFLICT (caller, callee) DO UPDATE SET waits = excluded.waits, since = excluded.since, expires = excluded.expires`,
		c.Caller, c.Callee, string(c.Waits), c.Since.Unix(), c.Expires.Unix())
}

func (s store) deleteCompletion(ctx context.Context, caller, callee string) error {
	return s.do(ctx, "DELETE FROM feature_completions WHERE caller = ? AND callee = ?", caller, callee)
}
