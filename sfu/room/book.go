package room

import (
	"context"
	"database/sql"
	"embed"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"linehall/internal/database"
	"linehall/internal/observe"
	"linehall/sfu/chair"
)

//go:embed migrations/*.sql
var migrations embed.FS

// Schema is the tables of meetings and minutes.
func Schema() database.Schema { return database.Schema{Name: "room", Files: migrations} }

const (
	// bookLag is how long a change may wait for others; after a crash a meeting is at most so old.
	bookLag = 50 * time.Millisecond
	// staleAfter is how long after its last sign of life a stored meeting is no longer carried on: a restart takes seconds, a
	// power cut over night is another meeting.
	staleAfter = 30 * time.Minute
)

// Book keeps meetings and their minutes. The zero value keeps nothing.
type Book struct {
	db     *sql.DB
	writer *database.Writer
	log    *slog.Logger
	failed prometheus.Counter

	upsert, insert *sql.Stmt
}

// OpenBook opens the book in the appliance's database.
func OpenBook(ctx context.Context, db *sql.DB, writer *database.Writer, log *slog.Logger, registry prometheus.Registerer) (*Book, error) {
	b := &Book{db: db, writer: writer, log: log, failed: prometheus.NewCounter(prometheus.CounterOpts{
		Name: "linehall_conference_minutes_failed_total", Help: "Changes of meetings, with their minutes, that could not be stored.",
	})}
	registry.MustRegister(b.failed)
	var err error
	if b.upsert, err = writer.Prepare(ctx, `INSERT INTO room_meetings (id, room, name, started_at, alive_at, ended_at, state) VALUES (?, ?, ?, ?, ?, ?, ?)
		ON CONFLICT (id) DO UPDATE SET alive_at = excluded.alive_at, ended_at = excluded.ended_at, state = excluded.state`); err != nil {
		return nil, fmt.Errorf("meetings: %w", err)
	}
	if b.insert, err = writer.Prepare(ctx, `INSERT INTO room_minutes (meeting, at, actor, actor_zh, actor_en, action, target, target_zh, target_en, detail)
		VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)`); err != nil {
		return nil, fmt.Errorf("minutes: %w", err)
	}
	return b, nil
}

// save has a meeting stored soon; it does not wait.
func (b *Book) save(room Settings, s chair.State, minutes []chair.Minute, now time.Time, ended bool) {
	if b.writer == nil {
		return
	}
	state, err := json.Marshal(s)
	if err != nil {
		b.lost(err)
		return
	}
	var endedAt any
	if ended {
		endedAt = now.UnixMilli()
	}
	changes := make([]database.Change, 0, len(minutes)+1)
	changes = append(changes, database.Change{Statement: b.upsert, Args: []any{s.Meeting, room.Number, room.Name, s.StartedAt.UnixMilli(), now.UnixMilli(), endedAt, string(state)}})
	for _, m := range minutes {
		changes = append(changes, database.Change{Statement: b.insert, Args: []any{
			s.Meeting, m.At.UnixMilli(), m.Actor, m.ActorName.Zh, m.ActorName.En, m.Action, m.Target, m.TargetName.Zh, m.TargetName.En, m.Detail,
		}})
	}
	if err := b.writer.Soon(bookLag, func(err error) {
		if err != nil {
			b.lost(err)
		}
	}, changes...); err != nil {
		b.lost(err)
	}
}

func (b *Book) lost(err error) {
	b.failed.Inc()
	b.log.Error("minutes of a meeting not stored", observe.Err, err)
}

// open finds the meeting of a room that was under way when the process ended, with its latest minutes.
func (b *Book) open(ctx context.Context, room string, now time.Time) (chair.State, []chair.Minute, bool) {
	if b.db == nil {
		return chair.State{}, nil, false
	}
	s, minutes, err := b.load(ctx, room, now)
	if err != nil {
		if !errors.Is(err, sql.ErrNoRows) {
			b.log.Error("meeting not carried on", observe.Room, room, observe.Err, err)
		}
		return chair.State{}, nil, false
	}
	return s, minutes, true
}

func (b *Book) load(ctx context.Context, room string, now time.Time) (chair.State, []chair.Minute, error) {
	var (
		s     chair.State
		text  string
		alive int64
	)
	err := b.db.QueryRowContext(ctx, "SELECT state, alive_at FROM room_meetings WHERE room = ? AND ended_at IS NULL ORDER BY started_at DESC LIMIT 1", room).Scan(&text, &alive)
	if err != nil {
		return s, nil, database.Explain(err)
	}
	if err := json.Unmarshal([]byte(text), &s); err != nil {
		return s, nil, fmt.Errorf("state of a meeting: %w", err)
	}
	if now.Sub(time.UnixMilli(alive)) > staleAfter {
		b.save(Settings{Number: room}, s, []chair.Minute{{At: now, Action: chair.LeftEmpty}}, time.UnixMilli(alive), true)
		return s, nil, sql.ErrNoRows
	}
	minutes, err := b.Minutes(ctx, s.Meeting, recentMinutes)
	return s, minutes, err
}

// lastBooking is the key of the scheduled meeting that was held last in a room: it is not begun again when it was ended early.
func (b *Book) lastBooking(ctx context.Context, room string) string {
	if b.db == nil {
		return ""
	}
	var key string
	err := b.db.QueryRowContext(ctx, `SELECT COALESCE(json_extract(state, '$.booking.key'), '') FROM room_meetings
		WHERE room = ? AND ended_at IS NOT NULL ORDER BY started_at DESC LIMIT 1`, room).Scan(&key)
	if err != nil && !errors.Is(err, sql.ErrNoRows) {
		b.log.Error("last scheduled meeting not known", observe.Room, room, observe.Err, database.Explain(err))
	}
	return key
}

// Meeting is a meeting that was or is.
type Meeting struct {
	ID, Room, Name string
	Booking        *chair.Booking // nil: ad hoc
	StartedAt      time.Time
	EndedAt        time.Time // zero: it goes on
}

// Meetings lists a room's meetings, newest first.
func (b *Book) Meetings(ctx context.Context, room string, limit int) ([]Meeting, error) {
	list := []Meeting{}
	if b.db == nil {
		return list, nil
	}
	rows, err := b.db.QueryContext(ctx, "SELECT id, room, name, started_at, COALESCE(ended_at, 0), COALESCE(json_extract(state, '$.booking'), '') FROM room_meetings WHERE room = ? ORDER BY started_at DESC LIMIT ?", room, limit)
	if err != nil {
		return nil, fmt.Errorf("meetings: %w", database.Explain(err))
	}
	defer rows.Close() //nolint:errcheck // rows.Err below says what matters
	for rows.Next() {
		var m Meeting
		var began, ended int64
		var booking string
		if err := rows.Scan(&m.ID, &m.Room, &m.Name, &began, &ended, &booking); err != nil {
			return nil, fmt.Errorf("meetings: %w", database.Explain(err))
		}
		if booking != "" {
			if err := json.Unmarshal([]byte(booking), &m.Booking); err != nil {
				return nil, fmt.Errorf("meeting %s: %w", m.ID, err)
			}
		}
		m.StartedAt = time.UnixMilli(began)
		if ended > 0 {
			m.EndedAt = time.UnixMilli(ended)
		}
		list = append(list, m)
	}
	return list, database.Explain(rows.Err())
}

// Minutes are the last entries of a meeting, in order.
func (b *Book) Minutes(ctx context.Context, meeting string, limit int) ([]chair.Minute, error) {
	list := []chair.Minute{}
	if b.db == nil {
		return list, nil
	}
	rows, err := b.db.QueryContext(ctx, `SELECT at, actor, actor_zh, actor_en, action, target, target_zh, target_en, detail FROM
		(SELECT * FROM room_minutes WHERE meeting = ? ORDER BY id DESC LIMIT ?) ORDER BY id`, meeting, limit)
	if err != nil {
		return nil, fmt.Errorf("minutes: %w", database.Explain(err))
	}
	defer rows.Close() //nolint:errcheck // rows.Err below says what matters
	for rows.Next() {
		var m chair.Minute
		var at int64
		if err := rows.Scan(&at, &m.Actor, &m.ActorName.Zh, &m.ActorName.En, &m.Action, &m.Target, &m.TargetName.Zh, &m.TargetName.En, &m.Detail); err != nil {
			return nil, fmt.Errorf("minutes: %w", database.Explain(err))
		}
		m.At = time.UnixMilli(at)
		list = append(list, m)
	}
	return list, database.Explain(rows.Err())
}
