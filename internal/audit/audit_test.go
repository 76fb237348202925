package audit_test

import (
	"bytes"
	"database/sql"
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"linehall/internal/audit"
	"linehall/internal/database"
)

var key = bytes.Repeat([]byte{7}, 32)

func open(t *testing.T, opts ...audit.Option) (*sql.DB, *audit.Log) {
	t.Helper()
	db, err := database.Open(t.Context(), filepath.Join(t.TempDir(), "x.db"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = db.Close() })
	if err := database.Migrate(t.Context(), db, audit.Schema()); err != nil {
		t.Fatal(err)
	}
	log, err := audit.Open(t.Context(), db, opts...)
	if err != nil {
		t.Fatal(err)
	}
	return db, log
}

func fill(t *testing.T, log *audit.Log, n int) {
	t.Helper()
	for i := range n {
		err := log.Append(t.Context(), audit.Event{
			Actor: "admin", Source: "10.0.0.5", Action: "user.add", Object: fmt.Sprint("user", i),
			Detail: map[string]string{"role": "chair", "a": fmt.Sprint(i)},
		})
		if err != nil {
			t.Fatal(err)
		}
	}
}

func TestListIsNewestFirst(t *testing.T) {
	_, log := open(t)
	fill(t, log, 5)
	got, err := log.List(t.Context(), 0, 2)
	if err != nil {
		t.Fatal(err)
	}
	want := []audit.Event{
		{Seq: 5, Actor: "admin", Source: "10.0.0.5", Action: "user.add", Object: "user4", Detail: map[string]string{"role": "chair", "a": "4"}},
		{Seq: 4, Actor: "admin", Source: "10.0.0.5", Action: "user.add", Object: "user3", Detail: map[string]string{"role": "chair", "a": "3"}},
	}
	if diff := cmp.Diff(want, got, cmpopts.IgnoreFields(audit.Event{}, "At")); diff != "" {
		t.Error(diff)
	}
	older, err := log.List(t.Context(), 4, 100)
	if err != nil || len(older) != 3 || older[0].Seq != 3 {
		t.Errorf("before 4: %v, %v", older, err)
	}
}

// Whoever can write the file drops the triggers first.
func tamper(t *testing.T, db *sql.DB, statements ...string) {
	t.Helper()
	for _, s := range append([]string{"DROP TRIGGER audit_events_keep", "DROP TRIGGER audit_events_stay"}, statements...) {
		if _, err := db.ExecContext(t.Context(), s); err != nil {
			t.Fatalf("%s: %v", s, err)
		}
	}
}

func TestVerifyFindsEveryAlteration(t *testing.T) {
	const rows = 20
	moveTo := func(a, b int) []string {
		return []string{
			fmt.Sprintf("UPDATE audit_events SET seq = 1000 WHERE seq = %d", a),
			fmt.Sprintf("UPDATE audit_events SET seq = %d WHERE seq = %d", a, b),
			fmt.Sprintf("UPDATE audit_events SET seq = %d WHERE seq = 1000", b),
		}
	}
	tests := map[string]struct {
		statements []string
		seq        int64
	}{
		"actor altered":        {[]string{"UPDATE audit_events SET actor = 'x' WHERE seq = 7"}, 7},
		"source altered":       {[]string{"UPDATE audit_events SET source = '' WHERE seq = 1"}, 1},
		"action altered":       {[]string{"UPDATE audit_events SET action = 'user.del' WHERE seq = 20"}, 20},
		"object altered":       {[]string{"UPDATE audit_events SET object = 'x' WHERE seq = 7"}, 7},
		"detail altered":       {[]string{`UPDATE audit_events SET detail = '{}' WHERE seq = 7`}, 7},
		"time altered":         {[]string{"UPDATE audit_events SET at = at + 1 WHERE seq = 7"}, 7},
		"hash altered":         {[]string{"UPDATE audit_events SET hash = zeroblob(32) WHERE seq = 7"}, 7},
		"text moved in a row":  {[]string{"UPDATE audit_events SET actor = 'adminu', action = 'ser.add' WHERE seq = 7"}, 7},
		"first removed":        {[]string{"DELETE FROM audit_events WHERE seq = 1"}, 1},
		"middle removed":       {[]string{"DELETE FROM audit_events WHERE seq = 7"}, 7},
		"removed and closed":   {[]string{"DELETE FROM audit_events WHERE seq = 7", "UPDATE audit_events SET seq = seq - 1 WHERE seq > 7"}, 7},
		"last removed":         {[]string{"DELETE FROM audit_events WHERE seq = 20"}, 20},
		"tail removed":         {[]string{"DELETE FROM audit_events WHERE seq > 15"}, 16},
		"all removed":          {[]string{"DELETE FROM audit_events"}, 1},
		"two changed places":   {moveTo(5, 6), 5},
		"far ones changed":     {moveTo(3, 19), 3},
		"one copied to an end": {[]string{"INSERT INTO audit_events SELECT 21, at, actor, source, action, object, detail, hash FROM audit_events WHERE seq = 20"}, 21},
		"head moved back": {[]string{
			"DELETE FROM audit_events WHERE seq = 20",
			"UPDATE audit_head SET seq = 19, hash = (SELECT hash FROM audit_events WHERE seq = 19)",
		}, 19},
		"head seal altered":  {[]string{"UPDATE audit_head SET seal = zeroblob(32)"}, rows},
		"everything removed": {[]string{"DELETE FROM audit_events", "UPDATE audit_head SET seq = 0"}, 0},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			db, log := open(t, audit.WithSeal(key))
			fill(t, log, rows)
			if n, err := log.Verify(t.Context()); n != rows || err != nil {
				t.Fatalf("before: %d, %v", n, err)
			}
			tamper(t, db, tc.statements...)
			_, err := log.Verify(t.Context())
			var broken *audit.BrokenError
			if !errors.As(err, &broken) {
				t.Fatalf("not found: %v", err)
			}
			if broken.Seq != tc.seq {
				t.Errorf("found at %d (%v), want %d", broken.Seq, err, tc.seq)
			}
		})
	}
}

func TestRowsAreNotChangedByMistake(t *testing.T) {
	db, log := open(t)
	fill(t, log, 3)
	for _, s := range []string{"UPDATE audit_events SET actor = 'x'", "DELETE FROM audit_events WHERE seq = 2"} {
		if _, err := db.ExecContext(t.Context(), s); err == nil {
			t.Errorf("%s went through", s)
		}
	}
	if n, err := log.Verify(t.Context()); n != 3 || err != nil {
		t.Errorf("%d, %v", n, err)
	}
}

func TestAnEmptyChainHolds(t *testing.T) {
	_, log := open(t, audit.WithSeal(key))
	if n, err := log.Verify(t.Context()); n != 0 || err != nil {
		t.Errorf("%d, %v", n, err)
	}
}

func TestAppendAndVerifyTogether(t *testing.T) {
	_, log := open(t, audit.WithSeal(key))
	var writers sync.WaitGroup
	for range 4 {
		writers.Go(func() { fill(t, log, 25) })
	}
	for range 10 {
		if _, err := log.Verify(t.Context()); err != nil {
			t.Error(err)
		}
	}
	writers.Wait()
	if n, err := log.Verify(t.Context()); n != 100 || err != nil {
		t.Errorf("%d, %v", n, err)
	}
}

func TestEventsAreBounded(t *testing.T) {
	_, log := open(t)
	detail := map[string]string{}
	for i := range 100 {
		detail[fmt.Sprint(i)] = strings.Repeat("字", 1000)
	}
	if err := log.Append(t.Context(), audit.Event{Actor: strings.Repeat("\xff", 9999), Action: "x", Detail: detail}); err != nil {
		t.Fatal(err)
	}
	got, err := log.List(t.Context(), 0, 1)
	if err != nil {
		t.Fatal(err)
	}
	if len(got[0].Detail) > 32 || len(got[0].Actor) > 2000 {
		t.Errorf("%d details, actor of %d bytes", len(got[0].Detail), len(got[0].Actor))
	}
	if n, err := log.Verify(t.Context()); n != 1 || err != nil {
		t.Errorf("%d, %v", n, err)
	}
}

func TestOpenWantsTablesAndAKeyOfSize(t *testing.T) {
	db, err := database.Open(t.Context(), filepath.Join(t.TempDir(), "x.db"))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = db.Close() }()
	if _, err := audit.Open(t.Context(), db); err == nil {
		t.Error("no error without tables")
	}
	if _, err := audit.Open(t.Context(), db, audit.WithSeal([]byte("short"))); err == nil {
		t.Error("no error with a short key")
	}
}
