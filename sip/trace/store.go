package trace

import (
	"bytes"
	"compress/flate"
	"context"
	"database/sql"
	"embed"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"time"

	"linehall/internal/database"
	"linehall/sip/stack"
)

//go:embed migrations/*.sql
var migrations embed.FS

// Schema is the table of call traces.
func Schema() database.Schema { return database.Schema{Name: "call_trace", Files: migrations} }

// stored is a Message in the database: DEFLATE over a JSON array of these.
type stored struct {
	At   int64      `json:"at"` // Unix microseconds
	In   bool       `json:"in,omitempty"`
	Flow stack.Flow `json:"flow"`
	Text []byte     `json:"text"`
}

// maxStored bounds what one row may unpack to.
const maxStored = maxMessages * 16 * 65536

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
	var packer packer
	for _, c := range finished {
		if len(c.messages) == 0 {
			continue
		}
		packed, err := packer.pack(c.messages)
		if err != nil {
			return fmt.Errorf("trace of %s: %w", c.id, err)
		}
		if _, err := insert.ExecContext(ctx, c.id, c.ended.UnixMilli(), len(packed), packed); err != nil {
			return database.Explain(err)
		}
	}
	return database.Explain(tx.Commit())
}

// packer compresses one call after the other with one compressor, which is a megabyte.
type packer struct {
	buf bytes.Buffer
	z   *flate.Writer
}

func (p *packer) pack(messages []Message) ([]byte, error) {
	list := make([]stored, 0, len(messages))
	for _, m := range messages {
		list = append(list, stored{m.At.UnixMicro(), m.In, m.Flow, m.Text})
	}
	raw, err := json.Marshal(list)
	if err != nil {
		return nil, err
	}
	p.buf.Reset()
	if p.z == nil {
		if p.z, err = flate.NewWriter(&p.buf, flate.BestSpeed); err != nil {
			return nil, err
		}
	} else {
		p.z.Reset(&p.buf)
	}
	if _, err := p.z.Write(raw); err != nil {
		return nil, err
	}
	if err := p.z.Close(); err != nil {
		return nil, err
	}
	return bytes.Clone(p.buf.Bytes()), nil
}

func unpack(packed []byte) ([]Message, error) {
	raw, err := io.ReadAll(io.LimitReader(flate.NewReader(bytes.NewReader(packed)), maxStored))
	if err != nil {
		return nil, err
	}
	var list []stored
	if err := json.Unmarshal(raw, &list); err != nil {
		return nil, err
	}
	messages := make([]Message, 0, len(list))
	for _, s := range list {
		messages = append(messages, Message{time.UnixMicro(s.At), s.In, s.Flow, s.Text})
	}
	return messages, nil
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
