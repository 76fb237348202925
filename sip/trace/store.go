package trace

import (
	"context"
	"database/sql"
	"embed"
	"errors"
	"fmt"
	"runtime"
	"time"

	"linehall/internal/database"
)

//go:embed migrations/*.sql
var migrations embed.FS

// Schema is the table of call traces.
func Schema() database.Schema { return database.Schema{Name: "call_trace", Files: migrations} }

func (b *Book) write(ctx context.Context, finished []finishedCall) error {
	tx, err := b.db.BeginTx(ctx, nil)
	if err != nil {
		return database.Explain(err)
	}
	defer func() { _ = tx.Rollback() }() // after Commit it does nothing
	insert, err := tx.PrepareContext(ctx, `INSERT INTO call_trace (call_id, ended_at, size, messages) VALUES (?, ?, ?, ?)
		ON CONFLICT (call_id) DO UPDATE SET ended_at = excluded.ended_at, size = excluded.size, messages = excluded.messages`)
	if err != nil {
		return database.Explain(err)
	}
	defer insert.Close() //nolint:errcheck // ends with the transaction
	for _, c := range finished {
		if len(c.messages) == 0 {
			continue
		}
		packed := b.packer.pack(c.messages)
		if _, err := insert.ExecContext(ctx, c.id, c.ended.UnixMilli(), len(packed), packed); err != nil {
			return database.Explain(err)
		}
		runtime.Gosched() // after a second with many calls this takes long; calls that go on come first
	}
	return database.Explain(tx.Commit())
}

func (b *Book) read(ctx context.Context, id string) ([]Message, error) {
	var packed []byte
	err := b.db.QueryRowContext(ctx, "SELECT messages FROM call_trace WHERE call_id = ?", id).Scan(&packed)
	if errors.Is(err, sql.ErrNoRows) {
		return nil, fmt.Errorf("call %s: %w", id, ErrUnknown)
	}
	if err != nil {
		return nil, fmt.Errorf("trace of %s: %w", id, database.Explain(err))
	}
	messages, err := unpack(packed)
	if err != nil {
		return nil, fmt.Errorf("trace of %s: %w", id, err)
	}
	return messages, nil
}

// prune removes what is too old, then the oldest until the rest fits.
func (b *Book) prune(ctx context.Context, now time.Time) {
	config := b.config.Load()
	if _, err := b.db.ExecContext(ctx, "DELETE FROM call_trace WHERE ended_at < ?", now.Add(-config.Keep).UnixMilli()); err != nil {
		b.log.Warn("old call traces not removed", "err", database.Explain(err))
		return
	}
	// The sum runs from the newest to the oldest; everything beyond the limit goes.
	_, err := b.db.ExecContext(ctx, `DELETE FROM call_trace WHERE call_id IN (
		SELECT call_id FROM (SELECT call_id, sum(size) OVER (ORDER BY ended_at DESC, call_id) AS total FROM call_trace) WHERE total > ?)`,
		int64(config.MaxSize)<<20)
	if err != nil {
		b.log.Warn("call traces not trimmed", "err", database.Explain(err))
	}
}
