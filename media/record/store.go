package record

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

// Schema is the table of recordings.
func Schema() database.Schema { return database.Schema{Name: "record", Files: migrations} }

// ErrUnknown is the error for a recording that there is none of.
var ErrUnknown = errors.New("no such recording")

// Info is what is known of a recording.
type Info struct {
	ID          string     `json:"id"` // that of the call, and the part
	Call        string     `json:"call"`
	Part        int        `json:"part"` // 1, 2, … of the same call
	StartedAt   time.Time  `json:"started_at"`
	EndedAt     *time.Time `json:"ended_at,omitempty"` // nil: it goes on
	Seconds     float64    `json:"seconds"`
	From        Party      `json:"from"`
	To          Party      `json:"to"`
	StartedBy   string     `json:"started_by"`
	Rule        string     `json:"rule,omitempty"`
	Announced   bool       `json:"announced"`
	EndedBy     string     `json:"ended_by,omitempty"`
	Why         string     `json:"why,omitempty"` // it ended
	Bytes       int64      `json:"bytes"`
	Encrypted   bool       `json:"encrypted"`
	Packets     [2]uint64  `json:"packets"`
	Missing     uint64     `json:"missing"` // packets that did not get to the disk
	KeysOmitted bool       `json:"keys_omitted"`
	Silent      []string   `json:"silent,omitempty"` // codecs that cannot be decoded here
}

// Filter selects recordings; zero fields do not restrict.
type Filter struct {
	Call     string
	From, To time.Time // started in [From, To)
	Limit    int       // newest first; 0 = 1000
}

func (r *Recorder) insert(ctx context.Context, i *Info) error {
	text, err := json.Marshal(i)
	if err != nil {
		return err
	}
	_, err = r.o.DB.ExecContext(ctx, "INSERT INTO recording (id, call_id, started_at, bytes, info) VALUES (?, ?, ?, 0, ?)",
		i.ID, i.Call, i.StartedAt.UnixMilli(), string(text))
	return database.Explain(err)
}

func (r *Recorder) update(ctx context.Context, i *Info) error {
	text, err := json.Marshal(i)
	if err != nil {
		return err
	}
	var ended any
	if i.EndedAt != nil {
		ended = i.EndedAt.UnixMilli()
	}
	_, err = r.o.DB.ExecContext(ctx, "UPDATE recording SET started_at = ?, ended_at = ?, bytes = ?, info = ? WHERE id = ?",
		i.StartedAt.UnixMilli(), ended, i.Bytes, string(text), i.ID)
	return database.Explain(err)
}

// List returns recordings, newest first.
func (r *Recorder) List(ctx context.Context, f Filter) ([]Info, error) {
	to, limit := f.To, f.Limit
	if to.IsZero() {
		to = time.UnixMilli(1<<62 - 1)
	}
	if limit <= 0 {
		limit = 1000
	}
	return r.query(ctx, "(? = '' OR call_id = ?) AND started_at >= ? AND started_at < ? ORDER BY started_at DESC, id DESC LIMIT ?",
		f.Call, f.Call, f.From.UnixMilli(), to.UnixMilli(), limit)
}

// Get returns one.
func (r *Recorder) Get(ctx context.Context, id string) (Info, error) {
	found, err := r.query(ctx, "id = ?", id)
	if err == nil && len(found) == 0 {
		err = fmt.Errorf("recording %s: %w", id, ErrUnknown)
	}
	if err != nil {
		return Info{}, err
	}
	return found[0], nil
}

func (r *Recorder) query(ctx context.Context, where string, args ...any) (_ []Info, err error) {
	rows, err := r.o.DB.QueryContext(ctx, "SELECT info FROM recording WHERE "+where, args...) //nolint:gosec // constants of this file
	if err != nil {
		return nil, fmt.Errorf("recordings: %w", database.Explain(err))
	}
	defer func() {
		if cerr := rows.Close(); err == nil && cerr != nil {
			err = cerr
		}
	}()
	var found []Info
	for rows.Next() {
		var text string
		if err := rows.Scan(&text); err != nil {
			return nil, fmt.Errorf("recordings: %w", err)
		}
		var i Info
		if err := json.Unmarshal([]byte(text), &i); err != nil {
			return nil, fmt.Errorf("recordings: %w", err)
		}
		found = append(found, i)
	}
	return found, rows.Err()
}

// forget deletes the row.
func (r *Recorder) forget(ctx context.Context, id string) error {
	_, err := r.o.DB.ExecContext(ctx, "DELETE FROM recording WHERE id = ?", id)
	return database.Explain(err)
}

// total is how many bytes ended recordings take.
func (r *Recorder) total(ctx context.Context) (bytes int64, err error) {
	var sum sql.NullInt64
	err = r.o.DB.QueryRowContext(ctx, "SELECT sum(bytes) FROM recording WHERE ended_at IS NOT NULL").Scan(&sum)
	return sum.Int64, database.Explain(err)
}
