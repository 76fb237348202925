package cdr

import (
	"context"
	"database/sql"
	"embed"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"linehall/internal/database"
)

//go:embed migrations/*.sql
var migrations embed.FS

// Schema is the table of call records.
func Schema() database.Schema { return database.Schema{Name: "cdr", Files: migrations} }

// insertRecord takes what put gives it. A finished row is never touched again, so that a call
// that is recovered twice is written once.
const insertRecord = `INSERT INTO cdr (id, started_at, ended_at, caller, callee, record) VALUES (?, ?, ?, ?, ?, ?)
		ON CONFLICT (id) DO UPDATE SET ended_at = excluded.ended_at, callee = excluded.callee, record = excluded.record
		WHERE cdr.ended_at IS NULL`

// row is what insertRecord writes of a record.
func (l *Log) row(r *Record) (database.Change, error) {
	raw, err := json.Marshal(r)
	if err != nil {
		return database.Change{}, err
	}
	var ended any
	if r.EndedAt != nil {
		ended = r.EndedAt.UnixMilli()
	}
	return database.Change{Statement: l.insert, Args: []any{r.ID, r.StartedAt.UnixMilli(), ended, r.From, r.To, string(raw)}}, nil
}

// settleTime bounds how long a reader waits for a disk that stands still.
const settleTime = time.Second

// settle has what is known already written, so that whoever has heard of the end of a call finds its record. Where that
// fails or takes too long, what is there is read.
func (l *Log) settle(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, settleTime)
	defer cancel()
	_ = l.writer.Flush(ctx)
}

// Query returns finished calls, newest first.
func (l *Log) Query(ctx context.Context, f Filter) ([]Record, error) {
	l.settle(ctx)
	limit := f.Limit
	if limit <= 0 {
		limit = DefaultLimit
	}
	to := f.To
	if to.IsZero() {
		to = time.UnixMilli(1<<62 - 1)
	}
	rows, err := l.db.QueryContext(ctx, `SELECT record FROM cdr
		WHERE ended_at IS NOT NULL AND started_at >= ? AND started_at < ? AND (? = '' OR caller = ? OR callee = ?)
		ORDER BY started_at DESC, id DESC LIMIT ?`,
		f.From.UnixMilli(), to.UnixMilli(), f.Party, f.Party, f.Party, min(limit, MaxLimit))
	if err != nil {
		return nil, fmt.Errorf("call records: %w", database.Explain(err))
	}
	return scan(rows)
}

// ErrUnknown is the error for a call that has no closed record.
var ErrUnknown = errors.New("no record of this call")

// Get returns the closed record of a call.
func (l *Log) Get(ctx context.Context, id string) (Record, error) {
	l.settle(ctx)
	rows, err := l.db.QueryContext(ctx, "SELECT record FROM cdr WHERE id = ? AND ended_at IS NOT NULL", id)
	if err != nil {
		return Record{}, fmt.Errorf("call record %s: %w", id, database.Explain(err))
	}
	records, err := scan(rows)
	switch {
	case err != nil:
		return Record{}, err
	case len(records) == 0:
		return Record{}, fmt.Errorf("call record %s: %w", id, ErrUnknown)
	}
	return records[0], nil
}

// Finished returns which of these calls have a record that is closed.
func (l *Log) Finished(ctx context.Context, ids []string) (_ map[string]bool, err error) {
	list, err := json.Marshal(ids)
	if err != nil {
		return nil, fmt.Errorf("call records: %w", err)
	}
	rows, err := l.db.QueryContext(ctx, "SELECT id FROM cdr WHERE ended_at IS NOT NULL AND id IN (SELECT value FROM json_each(?))", string(list))
	if err != nil {
		return nil, fmt.Errorf("call records: %w", database.Explain(err))
	}
	defer func() { err = errors.Join(err, rows.Close()) }()
	finished := map[string]bool{}
	for rows.Next() {
		var id string
		if err := rows.Scan(&id); err != nil {
			return nil, fmt.Errorf("call records: %w", database.Explain(err))
		}
		finished[id] = true
	}
	if err := rows.Err(); err != nil {
		return nil, fmt.Errorf("call records: %w", database.Explain(err))
	}
	return finished, nil
}

// open returns the rows of calls that have not ended.
func (l *Log) open(ctx context.Context) ([]Record, error) {
	rows, err := l.db.QueryContext(ctx, "SELECT record FROM cdr WHERE ended_at IS NULL ORDER BY started_at")
	if err != nil {
		return nil, fmt.Errorf("open call records: %w", database.Explain(err))
	}
	return scan(rows)
}

func scan(rows *sql.Rows) (_ []Record, err error) {
	defer func() {
		if cerr := rows.Close(); err == nil && cerr != nil {
			err = cerr
		}
	}()
	var records []Record
	for rows.Next() {
		var raw string
		if err := rows.Scan(&raw); err != nil {
			return nil, fmt.Errorf("call record: %w", err)
		}
		var r Record
		if err := json.Unmarshal([]byte(raw), &r); err != nil {
			return nil, fmt.Errorf("call record: %w", err)
		}
		records = append(records, r)
	}
	return records, rows.Err()
}
