package cdr_test

import (
	"database/sql"
	"fmt"
	"log/slog"
	"maps"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"

	"linehall/internal/database"
	"linehall/sip/cdr"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func open(t *testing.T) (*cdr.Log, *sql.DB, func()) {
	t.Helper()
	db, err := database.Open(t.Context(), filepath.Join(t.TempDir(), "test.db"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = db.Close() })
	if err := database.Migrate(t.Context(), db, cdr.Schema()); err != nil {
		t.Fatal(err)
	}
	l, stop := reopen(t, db)
	return l, db, stop
}

// reopen returns a log over the database, and what the end of the appliance does to it.
func reopen(t *testing.T, db *sql.DB) (*cdr.Log, func()) {
	t.Helper()
	conn, err := db.Conn(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	writer, err := database.NewWriter(t.Context(), conn)
	if err != nil {
		t.Fatal(err)
	}
	stop := sync.OnceFunc(func() {
		writer.Close()
		_ = conn.Close()
	})
	t.Cleanup(stop)
	l, err := cdr.Open(t.Context(), db, writer, slog.New(slog.DiscardHandler), nil)
	if err != nil {
		t.Fatal(err)
	}
	return l, stop
}

func record(id string, start time.Time) cdr.Record {
	return cdr.Record{ID: id, CallID: "c-" + id, StartedAt: start, From: "8001", FromSite: "hq", To: "2001", ToSite: "branch1", Dialled: "2001"}
}

func finished(r cdr.Record, after time.Duration) cdr.Record {
	end := r.StartedAt.Add(after)
	r.EndedAt, r.Result, r.Code = &end, cdr.Answered, 200
	return r
}

func TestFinishOnce(t *testing.T) {
	l, _, _ := open(t)
	start := time.UnixMilli(1_800_000_000_000).UTC()
	r := record("a", start)
	l.Begin(r)
	first := finished(r, 10*time.Second)
	if err := l.Finish(t.Context(), first); err != nil {
		t.Fatal(err)
	}
	again := finished(r, time.Hour)
	again.Code = 500
	if err := l.Finish(t.Context(), again); err != nil {
		t.Fatal(err)
	}
	l.Begin(r) // a late open row must not reopen it
	got, err := l.Query(t.Context(), cdr.Filter{})
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]cdr.Record{first}, got); diff != "" {
		t.Errorf("records (-want +got):\n%s", diff)
	}
}

func TestInterrupted(t *testing.T) {
	l, db, stop := open(t)
	start := time.UnixMilli(1_800_000_000_000).UTC()
	l.Begin(record("ringing", start))
	answered := record("recovered", start)
	l.Begin(answered)
	if err := l.Finish(t.Context(), finished(record("done", start), time.Second)); err != nil {
		t.Fatal(err)
	}
	stop()

	l, _ = reopen(t, db)
	n, err := l.CloseInterrupted(t.Context(), func(id string) bool { return id == "recovered" }, start.Add(time.Minute))
	if err != nil || n != 1 {
		t.Fatalf("closed %d rows, %v; want 1", n, err)
	}
	done, err := l.Finished(t.Context(), []string{"recovered", "ringing", "unknown"})
	if err != nil || !maps.Equal(done, map[string]bool{"ringing": true}) {
		t.Errorf("finished %v, %v; want the interrupted call only", done, err)
	}
}

func TestQuery(t *testing.T) {
	l, _, _ := open(t)
	start := time.UnixMilli(1_800_000_000_000).UTC()
	var wg sync.WaitGroup
	for i := range 50 {
		wg.Go(func() {
			r := record(fmt.Sprintf("%02d", i), start.Add(time.Duration(i)*time.Second))
			if i%2 == 1 {
				r.From = "8002"
			}
			if err := l.Finish(t.Context(), finished(r, time.Second)); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	got, err := l.Query(t.Context(), cdr.Filter{From: start.Add(10 * time.Second), To: start.Add(20 * time.Second), Party: "8002", Limit: 3})
	if err != nil {
		t.Fatal(err)
	}
	var ids []string
	for _, r := range got {
		ids = append(ids, r.ID)
	}
	if diff := cmp.Diff([]string{"19", "17", "15"}, ids); diff != "" {
		t.Errorf("ids (-want +got):\n%s", diff)
	}
}

// What was queued when the appliance stops is still written, and nobody hangs afterwards.
func TestStop(t *testing.T) {
	l, db, stop := open(t)
	start := time.UnixMilli(1_800_000_000_000).UTC()
	for i := range 100 {
		l.Begin(record(fmt.Sprint(i), start))
	}
	stop()
	if err := l.Finish(t.Context(), finished(record("late", start), time.Second)); err == nil {
		t.Error("finished after the end")
	}
	var n int
	if err := db.QueryRowContext(t.Context(), "SELECT count(*) FROM cdr").Scan(&n); err != nil || n != 100 {
		t.Errorf("%d rows, %v; want 100", n, err)
	}
}
