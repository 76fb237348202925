package database_test

import (
	"context"
	"database/sql"
	"errors"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"linehall/internal/database"
)

func openWriter(t *testing.T) (*database.Writer, *sql.DB, *sql.Stmt) {
	t.Helper()
	db := open(t, filepath.Join(t.TempDir(), "x.db"))
	if _, err := db.ExecContext(t.Context(), "CREATE TABLE a (x INTEGER PRIMARY KEY)"); err != nil {
		t.Fatal(err)
	}
	conn, err := db.Conn(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	w, err := database.NewWriter(t.Context(), conn)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		w.Close()
		_ = conn.Close()
	})
	insert, err := w.Prepare(t.Context(), "INSERT INTO a VALUES (?)")
	if err != nil {
		t.Fatal(err)
	}
	return w, db, insert
}

func wantRows(t *testing.T, db *sql.DB, want int) {
	t.Helper()
	var n int
	if err := db.QueryRowContext(t.Context(), "SELECT count(*) FROM a").Scan(&n); err != nil || n != want {
		t.Errorf("%d rows, %v; want %d", n, err, want)
	}
}

func TestWriterCommitsBeforeItReturns(t *testing.T) {
	w, db, insert := openWriter(t)
	var group sync.WaitGroup
	for i := range 100 {
		group.Go(func() {
			if err := w.Write(t.Context(), time.Duration(i%3)*time.Millisecond, database.Change{Statement: insert, Args: []any{i}}); err != nil {
				t.Error(err)
			}
			var n int
			if err := db.QueryRowContext(t.Context(), "SELECT count(*) FROM a WHERE x = ?", i).Scan(&n); err != nil || n != 1 {
				t.Errorf("row %d after Write: %d, %v", i, n, err)
			}
		})
	}
	group.Wait()
	wantRows(t, db, 100)
}

// What may wait goes with what may not, in the order in which it came.
func TestWriterTakesAlongWhatWaits(t *testing.T) {
	w, db, insert := openWriter(t)
	remove, err := w.Prepare(t.Context(), "DELETE FROM a WHERE x = ?")
	if err != nil {
		t.Fatal(err)
	}
	var told []error
	then := func(err error) { told = append(told, err) }
	if err := w.Soon(time.Hour, then, database.Change{Statement: insert, Args: []any{1}}); err != nil {
		t.Fatal(err)
	}
	if err := w.Soon(time.Hour, then, database.Change{Statement: remove, Args: []any{1}}); err != nil {
		t.Fatal(err)
	}
	wantRows(t, db, 0)
	if err := w.Write(t.Context(), 0, database.Change{Statement: insert, Args: []any{2}}); err != nil {
		t.Fatal(err)
	}
	if len(told) != 2 || told[0] != nil || told[1] != nil {
		t.Errorf("told %v", told)
	}
	wantRows(t, db, 1)
}

// What is urgent leaves behind what waits for company.
func TestWriterWritesAlone(t *testing.T) {
	w, db, insert := openWriter(t)
	then := func(err error) {
		if err != nil {
			t.Error(err)
		}
	}
	if err := w.Soon(time.Hour, then, database.Change{Statement: insert, Args: []any{1}}); err != nil {
		t.Fatal(err)
	}
	if err := w.WriteAlone(t.Context(), database.Change{Statement: insert, Args: []any{2}}); err != nil {
		t.Fatal(err)
	}
	wantRows(t, db, 1)
	if err := w.Flush(t.Context()); err != nil {
		t.Fatal(err)
	}
	wantRows(t, db, 2)
}

// A change that the database refuses does not take down those that came with it.
func TestWriterFailsNobodyElse(t *testing.T) {
	w, db, insert := openWriter(t)
	told := make(chan error, 3)
	for _, x := range []int{1, 1, 2} {
		if err := w.Soon(time.Hour, func(err error) { told <- err }, database.Change{Statement: insert, Args: []any{x}}); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Flush(t.Context()); err != nil {
		t.Error(err)
	}
	if first, second, third := <-told, <-told, <-told; first != nil || second == nil || third != nil {
		t.Errorf("told %v, %v, %v", first, second, third)
	}
	wantRows(t, db, 2)
}

func TestWriterFailsAsAWhole(t *testing.T) {
	w, db, insert := openWriter(t)
	one := database.Change{Statement: insert, Args: []any{1}}
	if err := w.Write(t.Context(), 0, one, one); err == nil {
		t.Error("the same key twice")
	}
	wantRows(t, db, 0)
	if err := w.Write(t.Context(), 0, one, database.Change{Statement: insert, Args: []any{2}}); err != nil {
		t.Error(err)
	}
	wantRows(t, db, 2)
}

func TestWriterWritesWhatWaitsWhenItCloses(t *testing.T) {
	w, db, insert := openWriter(t)
	told := make(chan error, 1)
	if err := w.Soon(time.Hour, func(err error) { told <- err }, database.Change{Statement: insert, Args: []any{1}}); err != nil {
		t.Fatal(err)
	}
	w.Close()
	wantRows(t, db, 1)
	if err := <-told; err != nil {
		t.Error(err)
	}
	if err := w.Write(t.Context(), 0, database.Change{Statement: insert, Args: []any{2}}); !errors.Is(err, database.ErrClosed) {
		t.Errorf("after Close: %v", err)
	}
}

func TestWriterDoesNotWaitLongerThanItsCaller(t *testing.T) {
	w, _, insert := openWriter(t)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := w.Write(ctx, time.Hour, database.Change{Statement: insert, Args: []any{1}}); !errors.Is(err, context.Canceled) {
		t.Errorf("error %v", err)
	}
}

// A stuck disk, here a transaction of somebody else, holds up nobody longer than its context, also not whoever came first;
// what was asked for is written when it can be.
func TestWriterHoldsUpNobody(t *testing.T) {
	w, db, insert := openWriter(t)
	other, err := db.Conn(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer other.Close() //nolint:errcheck // of a test
	if _, err := other.ExecContext(t.Context(), "BEGIN IMMEDIATE"); err != nil {
		t.Fatal(err)
	}
	for i := range 2 {
		ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
		if err := w.Write(ctx, 0, database.Change{Statement: insert, Args: []any{i}}); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("write %d: %v", i, err)
		}
		cancel()
	}
	if _, err := other.ExecContext(t.Context(), "ROLLBACK"); err != nil {
		t.Fatal(err)
	}
	if err := w.Flush(t.Context()); err != nil {
		t.Error(err)
	}
	wantRows(t, db, 2)
}
