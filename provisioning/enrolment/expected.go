package enrolment

import (
	"context"
	"errors"
	"fmt"
	"time"

	"linehall/internal/database"
)

// Expect lets one phone enrol, once, whether the window of its site is open or
// not: an operator has named it, or somebody who stands before it.
func (b *Book) Expect(ctx context.Context, mac string, duration time.Duration, by string) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	at := b.now().UTC().Truncate(time.Microsecond)
	window := Window{OpenedAt: at, Until: at.Add(duration), OpenedBy: by}
	if _, err := b.db.ExecContext(ctx, "INSERT OR REPLACE INTO enrolment_expected (mac, opened_at, expires_at, opened_by) VALUES (?, ?, ?, ?)",
		mac, micros(window.OpenedAt), micros(window.Until), by); err != nil {
		return fmt.Errorf("enrolment of %s: %w", mac, database.Explain(err))
	}
	b.expected[mac] = window
	return nil
}

// open is the window that a phone may enrol in: its own, or that of its site,
// whichever was opened last; b.mu is held.
func (b *Book) open(mac string, site Window, there bool) (Window, bool) {
	own, expected := b.expected[mac]
	now := b.now()
	expected = expected && now.Before(own.Until)
	there = there && now.Before(site.Until)
	if expected && (!there || own.OpenedAt.After(site.OpenedAt)) {
		return own, true
	}
	return site, there
}

func (b *Book) readExpected(ctx context.Context) (err error) {
	if _, err := b.db.ExecContext(ctx, "DELETE FROM enrolment_expected WHERE expires_at < ?", micros(b.now())); err != nil {
		return err
	}
	rows, err := b.db.QueryContext(ctx, "SELECT mac, opened_at, expires_at, opened_by FROM enrolment_expected")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, rows.Close()) }()
	for rows.Next() {
		var mac, by string
		var opened, until int64
		if err := rows.Scan(&mac, &opened, &until, &by); err != nil {
			return err
		}
		b.expected[mac] = Window{OpenedAt: fromMicros(opened), Until: fromMicros(until), OpenedBy: by}
	}
	return rows.Err()
}
