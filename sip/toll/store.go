package toll

import (
	"context"
	"database/sql"
	"embed"
	"errors"
	"time"

	"linehall/internal/database"
)

//go:embed migrations/*.sql
var migrations embed.FS

// Schema is the table of the calls outside of the last hour.
func Schema() database.Schema { return database.Schema{Name: "toll", Files: migrations} }

// row is a call that was counted for an account.
type row struct {
	Account
	made
}

// store keeps the hour; without a database it keeps nothing.
type store struct{ db *sql.DB }

func (s store) load(ctx context.Context, since time.Time) ([]row, error) {
	if s.db == nil {
		return nil, nil
	}
	rows, err := s.db.QueryContext(ctx, "SELECT at, kind, name, toll, number FROM toll_uses WHERE at > ? ORDER BY at, id", since.UnixMilli())
	if err != nil {
		return nil, database.Explain(err)
	}
	defer rows.Close() //nolint:errcheck // rows.Err below says what matters
	var list []row
	for rows.Next() {
		var r row
		var at int64
		if err := rows.Scan(&at, &r.Kind, &r.Name, &r.Toll, &r.number); err != nil {
			return nil, database.Explain(err)
		}
		r.at = time.UnixMilli(at)
		list = append(list, r)
	}
	return list, database.Explain(rows.Err())
}

// save adds rows and removes those of before a moment, in one transaction.
func (s store) save(ctx context.Context, list []row, before time.Time) error {
	if s.db == nil {
		return nil
	}
	tx, err := s.db.BeginTx(ctx, nil)
	if err != nil {
		return database.Explain(err)
	}
	for _, r := range list {
		if _, err := tx.ExecContext(ctx, "INSERT INTO toll_uses (at, kind, name, toll, number) VALUES (?, ?, ?, ?, ?)",
			r.at.UnixMilli(), string(r.Kind), r.Name, string(r.Toll), r.number); err != nil {
			return database.Explain(errors.Join(err, tx.Rollback()))
		}
	}
	if !before.IsZero() {
		if _, err := tx.ExecContext(ctx, "DELETE FROM toll_uses WHERE at < ?", before.UnixMilli()); err != nil {
			return database.Explain(errors.Join(err, tx.Rollback()))
		}
	}
	return database.Explain(tx.Commit())
}
