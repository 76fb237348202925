// Package audit keeps the record of what was done: who, from where, did what, to which object.
//
// Each event carries the SHA-256 of itself and of the event before it, so that a record altered, removed, inserted or
// moved is found by Verify; a sealed head record holds the last number and hash, so that events cut off at the end are
// found as well. With WithSeal the head is an HMAC under a key that is not in the database: whoever can write the file
// but does not have the key cannot rebuild a chain that verifies. The chain proves alteration, it does not prevent it; a
// whole database replaced by an older or empty one is noticed by the number of events only.
//
// A Log may be used from many goroutines; appends are one transaction each and one after another.
//
//	log, err := audit.Open(ctx, db, audit.WithSeal(key))
//	err = log.Append(ctx, audit.Event{Actor: "admin", Source: "10.0.0.5", Action: "user.add", Object: "anna"})
//	count, err := log.Verify(ctx)
package audit

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"database/sql"
	"embed"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	"linehall/internal/database"
)

//go:embed migrations/*.sql
var migrations embed.FS

// Schema is the audit log's tables.
func Schema() database.Schema { return database.Schema{Name: "audit", Files: migrations} }

// Bounds of one event: texts are cut, further details are dropped, so that nobody can fill the disk with one call.
const (
	maxText    = 512
	maxDetails = 32
	maxList    = 1000
)

// Event is one thing that was done. Append sets Seq and At.
type Event struct {
	Seq    int64
	At     time.Time // UTC, microseconds
	Actor  string    // who: a user, a token, "local", "system"
	Source string    // from where: an address, "local"
	Action string    // what, as domain.verb: "user.add"
	Object string    // to which object
	Detail map[string]string
}

// Log is the chain.
type Log struct {
	db   *sql.DB
	seal []byte     // nil = head records are not sealed
	mu   sync.Mutex // one append at a time; held over its transaction
}

// Option changes what Open returns.
type Option func(*Log)

// WithSeal seals the head record with a key of at least 32 bytes that is not kept in the database.
func WithSeal(key []byte) Option {
	return func(l *Log) { l.seal = key }
}

// Open returns the log in db, whose tables must be there (database.Migrate).
func Open(ctx context.Context, db *sql.DB, opts ...Option) (*Log, error) {
	l := &Log{db: db}
	for _, o := range opts {
		o(l)
	}
	if l.seal != nil && len(l.seal) < sha256.Size {
		return nil, fmt.Errorf("audit log: a seal key of %d bytes is too short", len(l.seal))
	}
	if _, err := readHead(ctx, db); err != nil {
		return nil, fmt.Errorf("audit log: %w", database.Explain(err))
	}
	return l, nil
}

// head is the end of the chain; the zero value is that of an empty one.
type head struct {
	seq  int64
	hash [sha256.Size]byte
	seal []byte
}

type querier interface {
	QueryRowContext(ctx context.Context, query string, args ...any) *sql.Row
}

func readHead(ctx context.Context, q querier) (head, error) {
	var (
		h    head
		hash []byte
	)
	err := q.QueryRowContext(ctx, "SELECT seq, hash, seal FROM audit_head WHERE id = 1").Scan(&h.seq, &hash, &h.seal)
	if errors.Is(err, sql.ErrNoRows) {
		return head{}, nil
	}
	copy(h.hash[:], hash)
	return h, err
}

// sealOf authenticates number and hash of the last event; nil without a key.
func (l *Log) sealOf(h head) []byte {
	if l.seal == nil {
		return []byte{}
	}
	mac := hmac.New(sha256.New, l.seal)
	_ = binary.Write(mac, binary.BigEndian, h.seq) // a hash does not fail
	mac.Write(h.hash[:])
	return mac.Sum(nil)
}

// Append adds an event. When it returns nil the event is in the chain.
func (l *Log) Append(ctx context.Context, e Event) error {
	r, err := newRow(e)
	if err != nil {
		return fmt.Errorf("audit %s: %w", e.Action, err)
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if err := l.append(ctx, r); err != nil {
		return fmt.Errorf("audit %s: %w", e.Action, database.Explain(err))
	}
	return nil
}

func (l *Log) append(ctx context.Context, r row) (err error) {
	tx, err := l.db.BeginTx(ctx, nil)
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			if e := tx.Rollback(); !errors.Is(e, sql.ErrTxDone) {
				err = errors.Join(err, e)
			}
		}
	}()
	h, err := readHead(ctx, tx)
	if err != nil {
		return err
	}
	r.seq = h.seq + 1
	h.seq, h.hash = r.seq, r.hash(h.hash)
	if _, err := tx.ExecContext(ctx, `INSERT INTO audit_events (seq, at, actor, source, action, object, detail, hash)
		VALUES (?, ?, ?, ?, ?, ?, ?, ?)`, r.seq, r.at, r.actor, r.source, r.action, r.object, r.detail, h.hash[:]); err != nil {
		return err
	}
	if _, err := tx.ExecContext(ctx, `INSERT INTO audit_head (id, seq, hash, seal) VALUES (1, ?, ?, ?)
		ON CONFLICT (id) DO UPDATE SET seq = excluded.seq, hash = excluded.hash, seal = excluded.seal`,
		h.seq, h.hash[:], l.sealOf(h)); err != nil {
		return err
	}
	return tx.Commit()
}

// row is an event as it is stored and hashed.
type row struct {
	seq, at                               int64
	actor, source, action, object, detail string
}

func newRow(e Event) (row, error) {
	detail := make(map[string]string, len(e.Detail))
	for k, v := range e.Detail {
		if len(detail) == maxDetails {
			break
		}
		detail[clean(k)] = clean(v)
	}
	text, err := json.Marshal(detail) // sorts the keys
	if err != nil {
		return row{}, err
	}
	return row{
		at: time.Now().UnixMicro(), actor: clean(e.Actor), source: clean(e.Source),
		action: clean(e.Action), object: clean(e.Object), detail: string(text),
	}, nil
}

func clean(s string) string {
	if len(s) > maxText {
		s = s[:maxText]
	}
	return strings.ToValidUTF8(s, "�")
}

// hash covers every column, each text with its length in front, so that no two rows give the same bytes.
func (r row) hash(previous [sha256.Size]byte) [sha256.Size]byte {
	buf := append([]byte("linehall audit 1\n"), previous[:]...)
	buf = binary.BigEndian.AppendUint64(buf, uint64(r.seq)) //nolint:gosec // two's complement is as good as any encoding
	buf = binary.BigEndian.AppendUint64(buf, uint64(r.at))  //nolint:gosec // as above
	for _, text := range []string{r.actor, r.source, r.action, r.object, r.detail} {
		buf = binary.BigEndian.AppendUint64(buf, uint64(len(text)))
		buf = append(buf, text...)
	}
	return sha256.Sum256(buf)
}

func (r row) event() (Event, error) {
	e := Event{
		Seq: r.seq, At: time.UnixMicro(r.at).UTC(), Actor: r.actor, Source: r.source,
		Action: r.action, Object: r.object,
	}
	if err := json.Unmarshal([]byte(r.detail), &e.Detail); err != nil {
		return e, fmt.Errorf("event %d: detail: %w", r.seq, err)
	}
	return e, nil
}

// List returns the newest events first: at most limit of them (1000 at most) with a number below before; before <= 0
// starts at the newest.
func (l *Log) List(ctx context.Context, before int64, limit int) ([]Event, error) {
	limit = min(max(limit, 1), maxList)
	if before <= 0 {
		before = 1<<63 - 1
	}
	rows, err := l.db.QueryContext(ctx, selectRows+" WHERE seq < ? ORDER BY seq DESC LIMIT ?", before, limit)
	if err != nil {
		return nil, fmt.Errorf("audit list: %w", database.Explain(err))
	}
	defer func() { _ = rows.Close() }() // rows.Err tells
	events := []Event{}
	for rows.Next() {
		r, _, err := scan(rows)
		if err != nil {
			return nil, fmt.Errorf("audit list: %w", err)
		}
		e, err := r.event()
		if err != nil {
			return nil, fmt.Errorf("audit list: %w", err)
		}
		events = append(events, e)
	}
	if err := rows.Err(); err != nil {
		return nil, fmt.Errorf("audit list: %w", database.Explain(err))
	}
	return events, nil
}

const selectRows = "SELECT seq, at, actor, source, action, object, detail, hash FROM audit_events"

func scan(rows *sql.Rows) (r row, hash []byte, err error) {
	err = rows.Scan(&r.seq, &r.at, &r.actor, &r.source, &r.action, &r.object, &r.detail, &hash)
	return r, hash, err
}
