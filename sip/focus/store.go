package focus

import (
	"context"
	"database/sql"
	"embed"
	"encoding/json"
	"fmt"
	"log/slog"
	"time"

	"linehall/internal/database"
	"linehall/internal/observe"
	"linehall/sip/dialog"
)

// A leg outlives the process: the call core keeps the call, the relay goes on sending to the port of ours, and the room is
// there again. What is kept of a leg is its dialog, the two descriptions, its ports, and who it was in the meeting.

//go:embed migrations/*.sql
var migrations embed.FS

// Schema is the table of legs.
func Schema() database.Schema { return database.Schema{Name: "focus", Files: migrations} }

// saveLag groups what is written.
const saveLag = 50 * time.Millisecond

// Store keeps legs.
type Store struct {
	db           *sql.DB
	writer       *database.Writer
	save, delete *sql.Stmt
}

// OpenStore returns the store in the appliance's database.
func OpenStore(ctx context.Context, db *sql.DB, writer *database.Writer) (*Store, error) {
	s := &Store{db: db, writer: writer}
	var err error
	if s.save, err = writer.Prepare(ctx, "INSERT INTO focus_legs (id, state) VALUES (?, ?) ON CONFLICT (id) DO UPDATE SET state = excluded.state"); err != nil {
		return nil, fmt.Errorf("legs of meetings: %w", err)
	}
	if s.delete, err = writer.Prepare(ctx, "DELETE FROM focus_legs WHERE id = ?"); err != nil {
		return nil, fmt.Errorf("legs of meetings: %w", err)
	}
	return s, nil
}

func (s *Store) load(ctx context.Context) (states []savedLeg, err error) {
	rows, err := s.db.QueryContext(ctx, "SELECT state FROM focus_legs")
	if err != nil {
		return nil, fmt.Errorf("legs of meetings: %w", database.Explain(err))
	}
	defer rows.Close() //nolint:errcheck // rows.Err below says what matters
	for rows.Next() {
		var text string
		var state savedLeg
		if err := rows.Scan(&text); err != nil {
			return nil, database.Explain(err)
		}
		if err := json.Unmarshal([]byte(text), &state); err == nil && state.Dialog != nil { // of another version: it is given up
			states = append(states, state)
		}
	}
	return states, database.Explain(rows.Err())
}

// savedLeg is a leg's state.
type savedLeg struct {
	Dialog    *dialog.Dialog `json:"dialog"`
	Room      string         `json:"room"`
	Caller    Caller         `json:"caller"`
	Phase     phase          `json:"phase"`
	Theirs    []byte         `json:"theirs"`
	Ours      []byte         `json:"ours"`
	RTP, RTCP int
}

func (l *leg) stored() string { return l.dialog.ID.CallID + " " + l.dialog.ID.LocalTag }

// save has the leg written soon.
func (l *leg) save() {
	if l.s.o.Store == nil || !l.acked {
		return
	}
	state, err := json.Marshal(savedLeg{
		Dialog: l.dialog, Room: l.room.Number, Caller: l.caller, Phase: l.phase, Theirs: l.sound.theirs, Ours: l.sound.ours,
		RTP: portOf(l.sound.rtp), RTCP: portOf(l.sound.rtcp),
	})
	if err == nil {
		err = l.s.o.Store.writer.Soon(saveLag, l.wrote, database.Change{Statement: l.s.o.Store.save, Args: []any{l.stored(), string(state)}})
	}
	l.wrote(err)
}

func (l *leg) unsave() {
	if l.s.o.Store != nil && l.acked {
		l.wrote(l.s.o.Store.writer.Soon(saveLag, l.wrote, database.Change{Statement: l.s.o.Store.delete, Args: []any{l.stored()}}))
	}
}

func (l *leg) wrote(err error) {
	if err != nil {
		l.log.Error("leg of a meeting not written", slog.Any(observe.Err, err))
	}
}

// restore takes up the legs of the process before.
func (s *Service) restore(ctx context.Context) {
	if s.o.Store == nil {
		return
	}
	states, err := s.o.Store.load(ctx)
	if err != nil {
		s.o.Log.Error("legs of meetings not restored", slog.Any(observe.Err, err))
		return
	}
	for i := range states {
		s.restoreLeg(&states[i]) //nolint:contextcheck // a leg lives with the service
	}
}

func (s *Service) restoreLeg(state *savedLeg) {
	room, ok := s.o.Rooms.Room(state.Room)
	if !ok {
		room = Room{Number: state.Room, Voices: 1} // it is gone: the leg says so and ends
	}
	l := s.newLeg(room, state.Caller)
	l.dialog, l.acked, l.phase = state.Dialog, true, phaseLobby
	l.dialog.LocalSeq += 10 // requests of the last moment may not have been written
	if err := l.open(state.RTP, state.RTCP); err != nil {
		l.log.Warn("port of a leg is taken", slog.Any(observe.Err, err))
		if err = l.open(0, 0); err != nil { // only to say goodbye
			return
		}
		state.Ours = nil
	}
	if !s.enter(l, func() { l.resume(state) }) {
		l.shut()
	}
}

// resume takes the leg's place again.
func (l *leg) resume(state *savedLeg) {
	if state.Ours == nil || l.sound.agree(state.Theirs, state.Ours) != nil {
		l.end("the appliance was restarted")
		return
	}
	l.probe(time.Second)
	if state.Phase == phaseLobby && l.needsPIN() {
		l.greet()
		return
	}
	l.enter()
}
