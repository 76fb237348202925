package call

import (
	"context"
	"database/sql"
	"embed"
	"fmt"
	"sync"
	"time"

	"linehall/internal/database"
)

//go:embed migrations/*.sql
var migrations embed.FS

// Schema is the table of call state.
func Schema() database.Schema { return database.Schema{Name: "call", Files: migrations} }

// forgetLag is how long the state of an ended call may stay: its record says that it has ended.
const forgetLag = 100 * time.Millisecond

// SQLStore keeps call state in SQLite. What is written at the same moment shares a transaction
// (database.Writer). It is safe for concurrent use.
type SQLStore struct {
	db     *sql.DB
	writer *database.Writer
	save   *sql.Stmt // prepared once: reading the statement costs as much as running it
	delete *sql.Stmt

	mu   sync.Mutex     // guards soon
	soon map[string]int // how many states of a call wait to be written
}

func newSQLStore(ctx context.Context, db *sql.DB, writer *database.Writer) (*SQLStore, error) {
	if err := db.QueryRowContext(ctx, "SELECT count(*) FROM call_state").Scan(new(int)); err != nil {
		return nil, fmt.Errorf("call state: %w", database.Explain(err))
	}
	s := &SQLStore{db: db, writer: writer, soon: map[string]int{}}
	var err error
	if s.save, err = writer.Prepare(ctx, "INSERT INTO call_state (id, state) VALUES (?, ?) ON CONFLICT (id) DO UPDATE SET state = excluded.state"); err != nil {
		return nil, fmt.Errorf("call state: %w", err)
	}
	if s.delete, err = writer.Prepare(ctx, "DELETE FROM call_state WHERE id = ?"); err != nil {
		return nil, fmt.Errorf("call state: %w", err)
	}
	return s, nil
}

// Save returns when the state is committed.
func (s *SQLStore) Save(ctx context.Context, id string, state []byte) error {
	s.mu.Lock()
	older := s.soon[id] > 0
	s.mu.Unlock()
	change := database.Change{Statement: s.save, Args: []any{id, string(state)}}
	write := s.writer.WriteAlone
	if older { // must not be written after this one
		write = func(ctx context.Context, changes ...database.Change) error { return s.writer.Write(ctx, 0, changes...) }
	}
	if err := write(ctx, change); err != nil {
		return fmt.Errorf("call state %s: %w", id, err)
	}
	return nil
}

// SaveSoon has the state committed within lag, together with what others have to write; then is told how that went and
// must not block.
func (s *SQLStore) SaveSoon(id string, state []byte, lag time.Duration, then func(error)) {
	s.count(id, 1)
	told := func(err error) {
		s.count(id, -1)
		then(err)
	}
	if err := s.writer.Soon(lag, told, database.Change{Statement: s.save, Args: []any{id, string(state)}}); err != nil {
		told(fmt.Errorf("call state %s: %w", id, err))
	}
}

func (s *SQLStore) count(id string, by int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.soon[id] += by; s.soon[id] == 0 {
		delete(s.soon, id)
	}
}

// Delete forgets a call soon; an unknown one is no error.
func (s *SQLStore) Delete(id string, then func(error)) {
	if err := s.writer.Soon(forgetLag, then, database.Change{Statement: s.delete, Args: []any{id}}); err != nil {
		then(err)
	}
}

// Load returns all states by call id.
func (s *SQLStore) Load(ctx context.Context) (_ map[string][]byte, err error) {
	rows, err := s.db.QueryContext(ctx, "SELECT id, state FROM call_state")
	if err != nil {
		return nil, fmt.Errorf("call state: %w", database.Explain(err))
	}
	defer func() {
		if cerr := rows.Close(); err == nil && cerr != nil {
			err = cerr
		}
	}()
	states := map[string][]byte{}
	for rows.Next() {
		var id, state string
		if err := rows.Scan(&id, &state); err != nil {
			return nil, fmt.Errorf("call state: %w", err)
		}
		states[id] = []byte(state)
	}
	return states, rows.Err()
}
