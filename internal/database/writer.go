package database

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"sync"
	"time"
)

// writerBacklog bounds what waits in a Writer: at fifty calls a second it is twenty seconds of a stuck disk.
const writerBacklog = 4096

// Errors of a Writer.
var (
	ErrClosed  = errors.New("the database is closed")
	ErrBacklog = errors.New("too many changes wait for the database")
)

// Writer commits the changes of many goroutines in common transactions over one connection. A transaction costs several
// times what a statement in it costs, and SQLite has one writer anyhow. Each change says how long it may wait for others:
// one that may not wait takes all that are waiting along. A goroutine writes as long as something is due and then ends;
// nobody who waits for the disk waits longer than its own context, and nobody writes for others.
//
// A transaction that fails has failed for all that were in it. It is safe for concurrent use.
type Writer struct {
	conn                    *sql.Conn
	ctx                     context.Context //nolint:containedctx // never ends: see write
	begin, commit, rollback *sql.Stmt

	mu      sync.Mutex // guards what follows; not held over database work
	idle    *sync.Cond // of mu: writing has become false
	waiting []*entry
	due     time.Time // the first of waiting's; zero when none waits
	timer   *time.Timer
	writing bool
	closed  bool
}

// Change is a statement that Prepare has returned, with its arguments.
type Change struct {
	Statement *sql.Stmt
	Args      []any
}

type entry struct {
	changes []Change
	then    func(error)
}

// NewWriter returns a writer over a connection that nobody else uses from then on.
func NewWriter(ctx context.Context, conn *sql.Conn) (*Writer, error) {
	w := &Writer{conn: conn, ctx: context.WithoutCancel(ctx)}
	w.idle = sync.NewCond(&w.mu)
	for text, to := range map[string]**sql.Stmt{"BEGIN IMMEDIATE": &w.begin, "COMMIT": &w.commit, "ROLLBACK": &w.rollback} {
		var err error
		if *to, err = w.Prepare(ctx, text); err != nil {
			return nil, err
		}
	}
	return w, nil
}

// Prepare prepares a statement for changes; it lives as long as the connection.
func (w *Writer) Prepare(ctx context.Context, text string) (*sql.Stmt, error) {
	s, err := w.conn.PrepareContext(ctx, text)
	if err != nil {
		return nil, fmt.Errorf("database writer: %w", Explain(err))
	}
	return s, nil
}

// Write returns when the changes are committed, all in one transaction, which begins within lag. When ctx ends before,
// they may be committed nevertheless.
func (w *Writer) Write(ctx context.Context, lag time.Duration, changes ...Change) error {
	done := make(chan error, 1)
	if err := w.add(lag, changes, func(err error) { done <- err }); err != nil {
		return err
	}
	select {
	case err := <-done:
		return err
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// Soon has the changes committed within lag and a little; then is told how that went, by the goroutine that wrote, and
// must not block. Soon does not block either: ErrBacklog and ErrClosed say that nothing will be written.
func (w *Writer) Soon(lag time.Duration, then func(error), changes ...Change) error {
	return w.add(max(lag, 1), changes, then)
}

func (w *Writer) add(lag time.Duration, changes []Change, then func(error)) error {
	w.mu.Lock()
	switch {
	case w.closed:
		w.mu.Unlock()
		return ErrClosed
	case len(w.waiting) >= writerBacklog:
		w.mu.Unlock()
		return ErrBacklog
	}
	w.waiting = append(w.waiting, &entry{changes, then})
	at := time.Now().Add(lag)
	if w.due.IsZero() || at.Before(w.due) {
		w.due = at
	}
	if w.writing { // whoever writes looks again
		w.mu.Unlock()
		return nil
	}
	if lag > 0 {
		w.arm()
		w.mu.Unlock()
		return nil
	}
	w.writing = true
	w.mu.Unlock()
	go w.lead() // Close waits for it
	return nil
}

// arm has the timer write when the first of those that wait is due; mu is held.
func (w *Writer) arm() {
	wait := time.Until(w.due)
	if w.timer == nil {
		w.timer = time.AfterFunc(wait, w.tick)
		return
	}
	w.timer.Reset(wait)
}

func (w *Writer) tick() {
	w.mu.Lock()
	if w.writing || len(w.waiting) == 0 {
		w.mu.Unlock()
		return
	}
	w.writing = true
	w.mu.Unlock()
	w.lead()
}

// lead writes until nothing is due.
func (w *Writer) lead() {
	for {
		w.mu.Lock()
		if len(w.waiting) == 0 || time.Now().Before(w.due) && !w.closed {
			w.writing = false
			w.idle.Broadcast()
			if len(w.waiting) > 0 {
				w.arm()
			}
			w.mu.Unlock()
			return
		}
		batch := w.waiting
		w.waiting, w.due = nil, time.Time{}
		w.mu.Unlock()
		err := w.write(batch)
		for _, e := range batch {
			e.then(err)
		}
	}
}

// write commits a batch. It has no deadline but SQLite's busy timeout: a deadline would cost a goroutine per statement,
// and a transaction that has begun is best finished.
func (w *Writer) write(batch []*entry) error {
	if len(batch) == 1 && len(batch[0].changes) == 1 { // a statement on its own is a transaction
		return Explain(exec(w.ctx, batch[0].changes))
	}
	if _, err := w.begin.ExecContext(w.ctx); err != nil {
		return Explain(err)
	}
	for _, e := range batch {
		if err := exec(w.ctx, e.changes); err != nil {
			return w.undo(err)
		}
	}
	if _, err := w.commit.ExecContext(w.ctx); err != nil {
		return w.undo(err)
	}
	return nil
}

func (w *Writer) undo(err error) error {
	_, _ = w.rollback.ExecContext(w.ctx) // SQLite may have done it already
	return Explain(err)
}

func exec(ctx context.Context, changes []Change) error {
	for _, c := range changes {
		if _, err := c.Statement.ExecContext(ctx, c.Args...); err != nil {
			return err
		}
	}
	return nil
}

// Flush returns when everything that was added before has been written.
func (w *Writer) Flush(ctx context.Context) error {
	if err := w.Write(ctx, 0); !errors.Is(err, ErrClosed) {
		return err
	}
	return nil // Close has written it
}

// Close writes what waits and takes nothing any more. The connection stays its owner's.
func (w *Writer) Close() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.closed = true
	if w.timer != nil {
		w.timer.Stop()
	}
	if !w.writing && len(w.waiting) > 0 {
		w.writing = true
		w.mu.Unlock()
		w.lead()
		w.mu.Lock()
	}
	for w.writing {
		w.idle.Wait()
	}
}
