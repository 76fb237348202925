package program

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

// Schema is the tables of recorded meetings.
func Schema() database.Schema { return database.Schema{Name: "programme", Files: migrations} }

// ErrUnknown is the error for a recording, part or export that there is none of.
var ErrUnknown = errors.New("no such recording of a meeting")

// Text is a name in both languages.
type Text struct {
	Zh string `json:"zh"`
	En string `json:"en"`
}

// Info is what is known of a recorded meeting.
type Info struct {
	ID        string     `json:"id"`
	Room      string     `json:"room"`
	RoomName  string     `json:"room_name"`
	Meeting   string     `json:"meeting"`
	StartedAt time.Time  `json:"started_at"`
	EndedAt   *time.Time `json:"ended_at,omitempty"` // nil: it goes on
	By        string     `json:"by"`
	ByName    Text       `json:"by_name"`
	Tracks    bool       `json:"tracks"`
	Why       string     `json:"why,omitempty"` // it ended
}

// Part is one file of a recorded meeting.
type Part struct {
	Programme string     `json:"programme"`
	Number    int        `json:"number"`
	Member    string     `json:"member"` // "" = the programme; otherwise one participant
	Name      Text       `json:"name"`
	File      string     `json:"file"`
	StartedAt time.Time  `json:"started_at"`
	EndedAt   *time.Time `json:"ended_at,omitempty"` // nil: it is being written
	Bytes     int64      `json:"bytes"`
	Video     string     `json:"video"` // codec; "": there is no picture
	Width     int        `json:"width"`
	Height    int        `json:"height"`
	Voices    int        `json:"voices"`
	Heard     []int      `json:"heard"` // the voices that are not silent from beginning to end, from 0
	Encrypted bool       `json:"encrypted"`
	CutOff    bool       `json:"cut_off"` // by a crash
}

// Mark is a moment of a recorded meeting.
type Mark struct {
	At     time.Time `json:"at"`
	Kind   string    `json:"kind"` // picture, content
	Member string    `json:"member"`
	Name   Text      `json:"name"`
}

// Filter selects recorded meetings; zero fields do not restrict.
type Filter struct {
	Room     string
	From, To time.Time // started in [From, To)
	Limit    int       // newest first; 0 = 1000
}

const latest = 1<<62 - 1

// List returns recorded meetings, newest first.
func (s *Service) List(ctx context.Context, f Filter) ([]Info, error) {
	to, from, limit := int64(latest), int64(0), f.Limit
	if !f.To.IsZero() {
		to = f.To.UnixMilli()
	}
	if !f.From.IsZero() {
		from = f.From.UnixMilli()
	}
	if limit <= 0 {
		limit = 1000
	}
	return query[Info](ctx, s.o.DB, "SELECT info FROM programme WHERE (? = '' OR room = ?) AND started_at >= ? AND started_at < ? ORDER BY started_at DESC, id LIMIT ?",
		f.Room, f.Room, from, to, limit)
}

// Get returns one.
func (s *Service) Get(ctx context.Context, id string) (Info, error) {
	found, err := query[Info](ctx, s.o.DB, "SELECT info FROM programme WHERE id = ?", id)
	return only(found, err, id)
}

// Parts are the files of one, in order.
func (s *Service) Parts(ctx context.Context, id string) ([]Part, error) {
	return query[Part](ctx, s.o.DB, "SELECT info FROM programme_part WHERE programme = ? ORDER BY number", id)
}

// Part returns one file of one.
func (s *Service) Part(ctx context.Context, id string, number int) (Part, error) {
	found, err := query[Part](ctx, s.o.DB, "SELECT info FROM programme_part WHERE programme = ? AND number = ?", id, number)
	return only(found, err, fmt.Sprintf("%s part %d", id, number))
}

// Marks are the moments of one, in order.
func (s *Service) Marks(ctx context.Context, id string) ([]Mark, error) {
	return query[Mark](ctx, s.o.DB, "SELECT info FROM programme_mark WHERE programme = ? ORDER BY at", id)
}

func only[T any](found []T, err error, id string) (T, error) {
	if err == nil && len(found) == 0 {
		err = fmt.Errorf("%s: %w", id, ErrUnknown)
	}
	if err != nil {
		var none T
		return none, err
	}
	return found[0], nil
}

func query[T any](ctx context.Context, db *sql.DB, statement string, args ...any) ([]T, error) {
	rows, err := db.QueryContext(ctx, statement, args...)
	if err != nil {
		return nil, fmt.Errorf("recorded meetings: %w", database.Explain(err))
	}
	defer func() { _ = rows.Close() }() // rows.Err below says what matters
	found := []T{}
	for rows.Next() {
		var text string
		if err := rows.Scan(&text); err != nil {
			return nil, fmt.Errorf("recorded meetings: %w", err)
		}
		var one T
		if err := json.Unmarshal([]byte(text), &one); err != nil {
			return nil, fmt.Errorf("recorded meetings: %w", err)
		}
		found = append(found, one)
	}
	return found, database.Explain(rows.Err())
}

func (s *Service) exec(ctx context.Context, statement string, args ...any) error {
	if _, err := s.o.DB.ExecContext(ctx, statement, args...); err != nil {
		return fmt.Errorf("recorded meetings: %w", database.Explain(err))
	}
	return nil
}

func encoded(v any) string {
	text, err := json.Marshal(v)
	if err != nil { // structs of our own
		panic(err)
	}
	return string(text)
}

func milli(t *time.Time) any {
	if t == nil {
		return nil
	}
	return t.UnixMilli()
}

// save writes what is known of a recording.
func (s *Service) save(ctx context.Context, i *Info) error {
	return s.exec(ctx, `INSERT INTO programme (id, room, started_at, ended_at, info) VALUES (?, ?, ?, ?, ?)
		ON CONFLICT (id) DO UPDATE SET ended_at = excluded.ended_at, info = excluded.info`, i.ID, i.Room, i.StartedAt.UnixMilli(), milli(i.EndedAt), encoded(i))
}

func (s *Service) nextPart(ctx context.Context, id string) (int, error) {
	var n int
	err := s.o.DB.QueryRowContext(ctx, "SELECT COALESCE(max(number), 0) + 1 FROM programme_part WHERE programme = ?", id).Scan(&n)
	if err != nil {
		return 0, fmt.Errorf("recorded meetings: %w", database.Explain(err))
	}
	return n, nil
}

func (s *Service) insertPart(ctx context.Context, p *Part) error {
	return s.exec(ctx, "INSERT INTO programme_part (programme, number, started_at, bytes, info) VALUES (?, ?, ?, 0, ?)",
		p.Programme, p.Number, p.StartedAt.UnixMilli(), encoded(p))
}

// endPart notes that a file is whole.
func (s *Service) endPart(ctx context.Context, id string, number int, x *index, bytes int64, cut bool) error {
	p, err := s.Part(ctx, id, number)
	if err != nil {
		return err
	}
	at := p.StartedAt.Add(x.duration)
	p.EndedAt, p.Bytes, p.CutOff, p.Heard = &at, bytes, cut, x.heard()
	return s.exec(ctx, "UPDATE programme_part SET ended_at = ?, bytes = ?, info = ? WHERE programme = ? AND number = ?",
		at.UnixMilli(), bytes, encoded(p), id, number)
}

func (s *Service) mark(ctx context.Context, id string, m Mark) error {
	return s.exec(ctx, "INSERT INTO programme_mark (programme, at, info) VALUES (?, ?, ?)", id, m.At.UnixMilli(), encoded(m))
}

// forget deletes the rows of a recording.
func (s *Service) forget(ctx context.Context, id string) error {
	var errs []error
	for _, statement := range []string{
		"DELETE FROM programme_export WHERE programme = ?", "DELETE FROM programme_mark WHERE programme = ?",
		"DELETE FROM programme_part WHERE programme = ?", "DELETE FROM programme WHERE id = ?",
	} {
		errs = append(errs, s.exec(ctx, statement, id))
	}
	return errors.Join(errs...)
}

// total is how many bytes all files take.
func (s *Service) total(ctx context.Context) (int64, error) {
	var sum sql.NullInt64
	err := s.o.DB.QueryRowContext(ctx, "SELECT (SELECT COALESCE(sum(bytes), 0) FROM programme_part) + (SELECT COALESCE(sum(bytes), 0) FROM programme_export)").Scan(&sum)
	if err != nil {
		return 0, fmt.Errorf("recorded meetings: %w", database.Explain(err))
	}
	return sum.Int64, nil
}
