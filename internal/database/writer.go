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
// times what a statement in it costs, and SQLite has one writer anyhow. Each change says how long it may wait for others.
// A goroutine of the Writer writes, so that nobody who waits for the disk waits longer than its own context; Close ends
// it. It lives as long as the Writer: SQLite needs a deep stack, which a new goroutine would have to grow each time.
//
// A transaction that fails is tried again change by change. It is safe for concurrent use.
type Writer struct {
	conn                    *sql.Conn
	ctx                     context.Context //nolint:containedctx // never ends: see write
	begin, commit, rollback *sql.Stmt
	wake                    chan struct{} // something is due
	timer                   *time.Timer   // of due
	done                    chan struct{} // run has ended

	mu      sync.Mutex // guards what follows; not held over database work
	waiting []*entry   // in the order in which they came
	alone   int        // how many of waiting are
	due     time.Time  // the first of the others; zero when there are none
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
	alone   bool // does not take others along
}

// NewWriter returns a writer over a connection that nobody else uses from then on.
func NewWriter(ctx context.Context, conn *sql.Conn) (*Writer, error) {
	w := &Writer{conn: conn, ctx: context.WithoutCancel(ctx), wake: make(chan struct{}, 1), timer: time.NewTimer(time.Hour), done: make(chan struct{})}
	for text, to := range map[string]**sql.Stmt{"BEGIN IMMEDIATE": &w.begin, "COMMIT": &w.commit, "ROLLBACK": &w.rollback} {
		var err error
		if *to, err = w.Prepare(ctx, text); err != nil {
			return nil, err
		}
	}
	go w.run()
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

// Write returns when the changes are committed, all in one transaction, which begins within lag and has everything in it
// that was added before. When ctx ends before, they may be committed nevertheless.
func (w *Writer) Write(ctx context.Context, lag time.Duration, changes ...Change) error {
	done := make(chan error, 1)
	return w.await(ctx, done, w.add(lag, &entry{changes: changes, then: func(err error) { done <- err }}))
}

// WriteAlone is Write at once, without what waits for company: that is worth more the more there is of it. It is for
// changes that nothing which waits concerns.
func (w *Writer) WriteAlone(ctx context.Context, changes ...Change) error {
	done := make(chan error, 1)
	return w.await(ctx, done, w.add(0, &entry{changes: changes, then: func(err error) { done <- err }, alone: true}))
}

func (w *Writer) await(ctx context.Context, done <-chan error, err error) error {
	if err != nil {
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
	return w.add(max(lag, 1), &entry{changes: changes, then: then})
}

func (w *Writer) add(lag time.Duration, e *entry) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	switch {
	case w.closed:
		return ErrClosed
	case len(w.waiting) >= writerBacklog:
		return ErrBacklog
	}
	w.waiting = append(w.waiting, e)
	if e.alone {
		w.alone++
		w.rouse()
		return nil
	}
	if at := time.Now().Add(lag); w.due.IsZero() || at.Before(w.due) {
		w.due = at
		if lag > 0 {
			w.timer.Reset(lag)
		} else {
			w.rouse()
		}
	}
	return nil
}

func (w *Writer) rouse() {
	select {
	case w.wake <- struct{}{}:
	default: // it has not looked yet
	}
}

// run writes what is due until Close, and then what is left.
func (w *Writer) run() {
	defer close(w.done)
	defer w.timer.Stop()
	for {
		batch, last := w.take()
		if len(batch) > 0 {
			w.serve(batch)
			continue
		}
		if last {
			return
		}
		select {
		case <-w.wake:
		case <-w.timer.C:
		}
	}
}

// take returns what is to be written now, and whether nothing will come any more.
func (w *Writer) take() (batch []*entry, last bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	switch {
	case w.closed || !w.due.IsZero() && time.Until(w.due) <= 0:
		batch, w.waiting, w.alone, w.due = w.waiting, nil, 0, time.Time{}
	case w.alone > 0:
		rest := make([]*entry, 0, len(w.waiting)-w.alone)
		for _, e := range w.waiting {
			if e.alone {
				batch = append(batch, e)
			} else {
				rest = append(rest, e)
			}
		}
		w.waiting, w.alone = rest, 0
	}
	return batch, w.closed
}

// serve writes a batch and tells everybody. What has failed in company is tried on its own: a change that the database
// refuses is its owner's misfortune, not that of others.
func (w *Writer) serve(batch []*entry) {
	err := w.write(batch)
	for _, e := range batch {
		if err != nil && len(batch) > 1 {
			e.then(w.write([]*entry{e}))
			continue
		}
		e.then(err)
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
	w.closed = true
	w.rouse()
	w.mu.Unlock()
	<-w.done
}
