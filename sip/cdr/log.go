// Package cdr keeps one record per call: who called whom, when, over which path, how well it
// sounded and who ended it.
//
// A row is opened when a call starts and closed exactly once when it ends; a row that a crash
// left open is closed at the next start, unless the call itself was recovered. Rows wait a
// moment for others, and for the states of calls, to be committed with (database.Writer), so
// that fifty calls a second cost few commits. It knows nothing of SIP messages.
//
//	records, err := cdr.Open(ctx, db, writer, log, reg)
//	records.Begin(r)
//	err = records.Finish(ctx, r) // returns when the row is in the database
package cdr

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"linehall/internal/database"
	"linehall/internal/observe"
)

const (
	// openLag is how long the row of a new call waits for others, so that a commit serves many.
	openLag = 100 * time.Millisecond
	// closeLag is the same for the last row of a call.
	closeLag = 50 * time.Millisecond
)

// Log is safe for concurrent use.
type Log struct {
	db     *sql.DB
	writer *database.Writer
	insert *sql.Stmt // prepared once: reading the statement costs as much as running it
	log    *slog.Logger

	written prometheus.Counter
	failed  prometheus.Counter
}

// Open returns the log; its table must be there (database.Migrate).
func Open(ctx context.Context, db *sql.DB, writer *database.Writer, log *slog.Logger, reg prometheus.Registerer) (*Log, error) {
	if err := db.QueryRowContext(ctx, "SELECT count(*) FROM cdr WHERE ended_at IS NULL").Scan(new(int)); err != nil {
		return nil, fmt.Errorf("call records: %w", database.Explain(err))
	}
	l := &Log{
		db: db, writer: writer, log: log,
		written: prometheus.NewCounter(prometheus.CounterOpts{Name: "linehall_cdr_written_total", Help: "Call records closed."}),
		failed:  prometheus.NewCounter(prometheus.CounterOpts{Name: "linehall_cdr_failed_total", Help: "Call record writes that the database refused."}),
	}
	var err error
	if l.insert, err = writer.Prepare(ctx, insertRecord); err != nil {
		return nil, fmt.Errorf("call records: %w", err)
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
	var rows []database.Change
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
		row, err := l.row(r)
		if err != nil {
			return 0, fmt.Errorf("call record %s: %w", r.ID, err)
		}
		rows = append(rows, row)
	}
	if err := l.writer.Write(ctx, 0, rows...); err != nil {
		return 0, fmt.Errorf("call records: %w", err)
	}
	count := len(rows)
	l.written.Add(float64(count))
	return count, nil
}

// Begin writes the open row of a call soon. It never blocks; a row that the database refuses is
// counted, and made up for by Finish, which writes the whole row.
func (l *Log) Begin(r Record) {
	r.EndedAt = nil
	row, err := l.row(&r)
	if err == nil {
		err = l.writer.Soon(openLag, l.took, row)
	}
	if err != nil && !errors.Is(err, database.ErrClosed) {
		l.took(err)
	}
}

// FinishSoon is Finish for somebody who does not wait: the row is committed within closeLag, before whatever is given to the
// same writer afterwards; then hears how that went, and must not block.
func (l *Log) FinishSoon(r Record, then func(error)) {
	if r.EndedAt == nil {
		then(fmt.Errorf("call record %s: no end", r.ID))
		return
	}
	told := func(err error) {
		if err != nil {
			l.failed.Inc()
			then(fmt.Errorf("call record %s: %w", r.ID, err))
			return
		}
		l.written.Inc()
		then(nil)
	}
	row, err := l.row(&r)
	if err == nil {
		err = l.writer.Soon(closeLag, told, row)
	}
	if err != nil {
		told(err)
	}
}

func (l *Log) took(err error) {
	if err != nil {
		l.failed.Inc()
		l.log.Error("call record not written", slog.Any(observe.Err, err))
	}
}

// Finish closes the row of a call and returns when it is committed. Writing the same call
// again changes nothing.
func (l *Log) Finish(ctx context.Context, r Record) error {
	if r.EndedAt == nil {
		return fmt.Errorf("call record %s: no end", r.ID)
	}
	row, err := l.row(&r)
	if err == nil {
		err = l.writer.Write(ctx, closeLag, row)
	}
	if err != nil {
		l.failed.Inc()
		return fmt.Errorf("call record %s: %w", r.ID, err)
	}
	l.written.Inc()
	return nil
}
