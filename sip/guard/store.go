package guard

import (
	"context"
	"database/sql"
	"embed"
	"errors"
	"fmt"
	"net/netip"
	"time"

	"linehall/internal/database"
)

//go:embed migrations/*.sql
var migrations embed.FS

// Schema is the table of banned addresses.
func Schema() database.Schema { return database.Schema{Name: "guard", Files: migrations} }

// store keeps bans of addresses; without a database it keeps nothing. Flows end with the process of the other side, and
// locks of accounts are short.
type store struct{ db *sql.DB }

func (s store) load(ctx context.Context) ([]Ban, error) {
	if s.db == nil {
		return nil, nil
	}
	rows, err := s.db.QueryContext(ctx, "SELECT address, since, until, level, tries, reason FROM guard_bans ORDER BY since")
	if err != nil {
		return nil, database.Explain(err)
	}
	defer rows.Close() //nolint:errcheck // rows.Err below says what matters
	var bans []Ban
	for rows.Next() {
		b := Ban{Kind: Address}
		var address string
		var since, until int64
		if err := rows.Scan(&address, &since, &until, &b.level, &b.Tries, &b.Reason); err != nil {
			return nil, database.Explain(err)
		}
		if b.Source, err = netip.ParseAddr(address); err != nil {
			return nil, fmt.Errorf("ban of %q: %w", address, err)
		}
		b.Since, b.Until = time.UnixMilli(since), time.UnixMilli(until)
		bans = append(bans, b)
	}
	return bans, database.Explain(rows.Err())
}

// save writes bans in one transaction; one without an end is removed.
func (s store) save(ctx context.Context, bans []Ban) error {
	if s.db == nil {
		return nil
	}
	tx, err := s.db.BeginTx(ctx, nil)
	if err != nil {
		return database.Explain(err)
	}
	for _, b := range bans {
		if b.Until.IsZero() {
			_, err = tx.ExecContext(ctx, "DELETE FROM guard_bans WHERE address = ?", b.Source.String())
		} else {
			_, err = tx.ExecContext(ctx, "INSERT OR REPLACE INTO guard_bans (address, since, until, level, tries, reason) VALUES (?, ?, ?, ?, ?, ?)",
				b.Source.String(), b.Since.UnixMilli(), b.Until.UnixMilli(), b.level, b.Tries, string(b.Reason))
		}
		if err != nil {
			return database.Explain(errors.Join(err, tx.Rollback()))
		}
	}
	return database.Explain(tx.Commit())
}
