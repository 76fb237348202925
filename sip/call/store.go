package call

import (
	"context"
	"database/sql"
	"embed"
	"fmt"
	"sync"

	"linehall/internal/database"
)

//go:embed migrations/*.sql
var migrations embed.FS

// Schema is the table of call state.
func Schema() database.Schema { return database.Schema{Name: "call", Files: migrations} }

// SQLStore keeps call state in SQLite. Calls that commit at the same moment share a
// transaction: the first one writes for all who came while the one before was writing. It is
// safe for concurrent use and has no goroutine of its own.
type SQLStore struct {
	db     *sql.DB
	save   *sql.Stmt // prepared once: reading the statement costs as much as running it
	delete *sql.Stmt

	mu      sync.Mutex // guards what follows; not held over database work
	waiting []change
	writing bool
}

// change is a state to save, or with a nil state one to delete.
type change struct {
	id    string
	state []byte
	done  chan error
}

func newSQLStore(ctx context.Context, db *sql.DB) (*SQLStore, error) {
	if err := db.QueryRowContext(ctx, "SELECT count(*) FROM call_state").Scan(new(int)); err != nil {
		return nil, fmt.Errorf("call state: %w", database.Explain(err))
	}
	s := &SQLStore{db: db}
	var err error
	if s.save, err = db.PrepareContext(ctx, "INSERT INTO call_state (id, state) VALUES (?, ?) ON CONFLICT (id) DO UPDATE SET state = excluded.state"); err != nil {
		return nil, fmt.Errorf("call state: %w", database.Explain(err))
	}
	if s.delete, err = db.PrepareContext(ctx, "DELETE FROM call_state WHERE id = ?"); err != nil {
		return nil, fmt.Errorf("call state: %w", database.Explain(err))
	}
	return s, nil
}

// Save returns when the state is committed.
func (s *SQLStore) Save(ctx context.Context, id string, state []byte) error {
	return s.apply(ctx, change{id: id, state: state, done: make(chan error, 1)})
}

// Delete forgets a call; an unknown one is no error.
func (s *SQLStore) Delete(ctx context.Context, id string) error {
	return s.apply(ctx, change{id: id, done: make(chan error, 1)})
}

func (s *SQLStore) apply(ctx context.Context, c change) error {
	s.mu.Lock()
	s.waiting = append(s.waiting, c)
	leads := !s.writing
	s.writing = true
	s.mu.Unlock()
	if leads {
		s.lead(ctx)
	}
	select {
	case err := <-c.done:
		if err != nil {
			return fmt.Errorf("call state %s: %w", c.id, err)
		}
		return nil
	case <-ctx.Done():
		return fmt.Errorf("call state %s: %w", c.id, context.Cause(ctx))
	}
}

// lead writes until nobody waits.
func (s *SQLStore) lead(ctx context.Context) {
	// The others' changes must not suffer from the leader's deadline.
	ctx, cancel := withoutCancel(ctx, storeTime)
	defer cancel()
	for {
		s.mu.Lock()
		batch := s.waiting
		s.waiting = nil
		if len(batch) == 0 {
			s.writing = false
			s.mu.Unlock()
			return
		}
		s.mu.Unlock()
		err := s.write(ctx, batch)
		for i := range batch {
			batch[i].done <- err
		}
	}
}

func (s *SQLStore) write(ctx context.Context, batch []change) error {
	if len(batch) == 1 { // a statement on its own is a transaction
		return database.Explain(run(ctx, s.save, s.delete, &batch[0]))
	}
	tx, err := s.db.BeginTx(ctx, nil)
	if err != nil {
		return database.Explain(err)
	}
	defer func() { _ = tx.Rollback() }() // after Commit it does nothing
	save, remove := tx.StmtContext(ctx, s.save), tx.StmtContext(ctx, s.delete)
	for i := range batch {
		if err := run(ctx, save, remove, &batch[i]); err != nil {
			return database.Explain(err)
		}
	}
	return database.Explain(tx.Commit())
}

func run(ctx context.Context, save, remove *sql.Stmt, c *change) error {
	var err error
	if c.state == nil {
		_, err = remove.ExecContext(ctx, c.id)
	} else {
		_, err = save.ExecContext(ctx, c.id, string(c.state))
	}
	return err //nolint:wrapcheck // write explains it
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
