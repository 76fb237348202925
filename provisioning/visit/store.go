package visit

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"time"

	"linehall/internal/database"
)

func micros(t time.Time) int64 {
	if t.IsZero() {
		return 0
	}
	return t.UnixMicro()
}

func fromMicros(n int64) time.Time {
	if n == 0 {
		return time.Time{}
	}
	return time.UnixMicro(n).UTC()
}

func (b *Book) write(ctx context.Context, notes map[string]Visit) (err error) {
	tx, err := b.db.BeginTx(ctx, nil)
	if err != nil {
		return fmt.Errorf("visits of phones: %w", database.Explain(err))
	}
	defer func() {
		if rolled := tx.Rollback(); err != nil && !errors.Is(rolled, sql.ErrTxDone) {
			err = errors.Join(err, rolled)
		}
	}()
	for mac, v := range notes {
		f, r := v.Fetched, v.Refused
		if _, err := tx.ExecContext(ctx, `INSERT OR REPLACE INTO visits
			(mac, fetched_at, file, hash, settings, fetched_from, user_agent, model, firmware, refused_at, refused_file, refused_from, refused_because)
			VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)`,
			mac, micros(f.At), f.File, f.Hash, f.Settings, f.Address, f.UserAgent, f.Model, f.Firmware,
			micros(r.At), r.File, r.Address, string(r.Because)); err != nil {
			return fmt.Errorf("visit of %s: %w", mac, database.Explain(err))
		}
	}
	if err := tx.Commit(); err != nil {
		return fmt.Errorf("visits of phones: %w", database.Explain(err))
	}
	return nil
}

func (b *Book) read(ctx context.Context) (err error) {
	rows, err := b.db.QueryContext(ctx, `SELECT mac, fetched_at, file, hash, settings, fetched_from, user_agent, model, firmware,
		refused_at, refused_file, refused_from, refused_because FROM visits`)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, rows.Close()) }()
	for rows.Next() {
		var mac, because string
		var fetched, refused int64
		var v Visit
		f, r := &v.Fetched, &v.Refused
		if err := rows.Scan(&mac, &fetched, &f.File, &f.Hash, &f.Settings, &f.Address, &f.UserAgent, &f.Model, &f.Firmware,
			&refused, &r.File, &r.Address, &because); err != nil {
			return err
		}
		f.At, r.At, r.Because = fromMicros(fetched), fromMicros(refused), Reason(because)
		b.visits[mac] = v
	}
	return rows.Err()
}
