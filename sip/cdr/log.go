// Package cdr keeps one record per call: who called whom, when, over which path, how well it
// sounded and who ended it.
//
// A row is opened when a call starts and closed exactly once when it ends; a row that a crash
// left open is closed at the next start, unless the call itself was recovered. Writes go
// through one goroutine that commits everything that is waiting in one transaction, so that
// fifty calls a second cost a handful of commits. It knows nothing of SIP messages.
//
//	records, err := cdr.Open(ctx, db, log, reg)
//	go records.Run(ctx)
//	records.Begin(r)
//	err = records.Finish(ctx, r) // returns when the row is in the database
package cdr

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"linehall/internal/database"
	"linehall/internal/observe"
)

const (
	// queueLength bounds the writes that wait: at 50 calls/s it is twenty seconds of a stuck
	// disk. When it is full, Begin drops the open row (Finish writes the whole row anyhow) and
	// Finish waits.
	queueLength = 2048
	batchLength = 256
	// openLag is how long the row of a new call waits for others, so that a commit serves many.
	openLag = 50 * time.Millisecond
)

// ErrClosed means that Run has ended.
var ErrClosed = errors.New("call records are closed")

// Log is safe for concurrent use.
type Log struct {
	db     *sql.DB
	insert *sql.Stmt // prepared once: reading the statement costs as much as running it
	log    *slog.Logger
	queue  chan write
	// closing guards queue against senders after Run has drained it.
	closing sync.RWMutex
	closed  bool

	written prometheus.Counter
	failed  prometheus.Counter
}

type write struct {
	record Record
	done   chan<- error // nil: nobody waits
}

// Open returns the log; its table must be there (database.Migrate).
func Open(ctx context.Context, db *sql.DB, log *slog.Logger, reg prometheus.Registerer) (*Log, error) {
	if err := db.QueryRowContext(ctx, "SELECT count(*) FROM cdr WHERE ended_at IS NULL").Scan(new(int)); err != nil {
		return nil, fmt.Errorf("call records: %w", database.Explain(err))
	}
	l := &Log{
		db: db, log: log, queue: make(chan write, queueLength),
		written: prometheus.NewCounter(prometheus.CounterOpts{Name: "linehall_cdr_written_total", Help: "Call records closed."}),
		failed:  prometheus.NewCounter(prometheus.CounterOpts{Name: "linehall_cdr_failed_total", Help: "Call record writes that the database refused."}),
	}
	var err error
	if l.insert, err = db.PrepareContext(ctx, insertRecord); err != nil {
		return nil, fmt.Errorf("call records: %w", database.Explain(err))
	}
	if reg != nil {
		reg.MustRegister(l.written, l.failed)
	}
	return l, nil
}

// CloseInterrupted closes the rows that a crash left open, except those of calls that were
// recovered. Call it before the first call starts. It returns how many it closed.
func (l *Log) CloseInterrupted(ctx context.Context, recovered func(id string) bool, now time.Time) (int, error) {
	open, err := l.open(ctx)
	if err != nil {
		return 0, err
	}
	tx, err := l.db.BeginTx(ctx, nil)
	if err != nil {
		return 0, fmt.Errorf("call records: %w", database.Explain(err))
	}
	defer func() { _ = tx.Rollback() }() // after Commit it does nothing
	insert := tx.StmtContext(ctx, l.insert)
	count := 0
	for i := range open {
		r := &open[i]
		if recovered(r.ID) {
			continue
		}
		r.EndedAt, r.Result, r.EndedBy, r.Reason = &now, Failed, "system", "interrupted by a restart"
		if r.AnsweredAt != nil {
			r.Seconds = int64(now.Sub(*r.AnsweredAt) / time.Second)
			r.Result = Answered
		}
		if err := put(ctx, insert, r); err != nil {
			return 0, fmt.Errorf("call record %s: %w", r.ID, err)
		}
		count++
	}
	if err := tx.Commit(); err != nil {
		return 0, fmt.Errorf("call records: %w", database.Explain(err))
	}
	l.written.Add(float64(count))
	return count, nil
}

// Begin writes the open row of a call soon. It never blocks.
func (l *Log) Begin(r Record) {
	l.closing.RLock()
	defer l.closing.RUnlock()
	if l.closed {
		return
	}
	r.EndedAt = nil
	select {
	case l.queue <- write{record: r}:
	default: // see queueLength
	}
}

// Finish closes the row of a call and returns when it is committed. Writing the same call
// again changes nothing.
func (l *Log) Finish(ctx context.Context, r Record) error {
	if r.EndedAt == nil {
		return fmt.Errorf("call record %s: no end", r.ID)
	}
	done := make(chan error, 1)
	if err := l.enqueue(ctx, write{record: r, done: done}); err != nil {
		return fmt.Errorf("call record %s: %w", r.ID, err)
	}
	select {
	case err := <-done:
		if err != nil {
			return fmt.Errorf("call record %s: %w", r.ID, err)
		}
		return nil
	case <-ctx.Done():
		return fmt.Errorf("call record %s: %w", r.ID, context.Cause(ctx))
	}
}

func (l *Log) enqueue(ctx context.Context, w write) error {
	l.closing.RLock()
	defer l.closing.RUnlock()
	if l.closed {
		return ErrClosed
	}
	select {
	case l.queue <- w:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// Run writes until ctx ends, then what is still waiting. Whoever finishes calls must have
// ended before.
func (l *Log) Run(ctx context.Context) error {
	for {
		select {
		case w := <-l.queue:
			l.commit(ctx, l.gather(ctx, w))
		case <-ctx.Done():
			l.close(ctx)
			return nil
		}
	}
}

func (l *Log) close(ctx context.Context) {
	// A sender that waits on a full queue holds the read lock: make room until we get ours.
	for !l.closing.TryLock() {
		select {
		case w := <-l.queue:
			l.commit(ctx, l.batch(w))
		case <-time.After(time.Millisecond):
		}
	}
	l.closed = true
	l.closing.Unlock()
	for {
		select {
		case w := <-l.queue:
			l.commit(ctx, l.batch(w))
		default:
			return
		}
	}
}

// gather is batch for a running log: as long as nobody waits for a row, others may join it.
func (l *Log) gather(ctx context.Context, first write) []write {
	batch := []write{first}
	lag := time.NewTimer(openLag)
	defer lag.Stop()
	for len(batch) < batchLength && batch[len(batch)-1].done == nil {
		select {
		case w := <-l.queue:
			batch = append(batch, w)
		case <-lag.C:
			return batch
		case <-ctx.Done():
			return batch
		}
	}
	return l.batch(batch...)
}

func (l *Log) batch(batch ...write) []write {
	for len(batch) < batchLength {
		select {
		case w := <-l.queue:
			batch = append(batch, w)
		default:
			return batch
		}
	}
	return batch
}

// commit writes a batch in one transaction. It is not cancelled by Run's context: records of
// calls that ended must not be lost because the appliance stops.
func (l *Log) commit(ctx context.Context, batch []write) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 10*time.Second)
	defer cancel()
	err := l.write(ctx, batch)
	if err != nil {
		l.failed.Add(float64(len(batch)))
		l.log.Error("call records not written", slog.Any(observe.Err, err), slog.Int(observe.Count, len(batch)))
	}
	for i := range batch {
		if err == nil && batch[i].record.EndedAt != nil {
			l.written.Inc()
		}
		if batch[i].done != nil {
			batch[i].done <- err
		}
	}
}

func (l *Log) write(ctx context.Context, batch []write) error {
	if len(batch) == 1 { // a statement on its own is a transaction
		return put(ctx, l.insert, &batch[0].record)
	}
	tx, err := l.db.BeginTx(ctx, nil)
	if err != nil {
		return database.Explain(err)
	}
	defer func() { _ = tx.Rollback() }() // after Commit it does nothing
	insert := tx.StmtContext(ctx, l.insert)
	for i := range batch {
		if err := put(ctx, insert, &batch[i].record); err != nil {
			return err
		}
	}
	return database.Explain(tx.Commit())
}
