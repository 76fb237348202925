package plan_test

import (
	"errors"
	"fmt"
	"path/filepath"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"linehall/internal/database"
	"linehall/internal/secret"
	"linehall/provisioning/plan"
)

func TestTheLastSnapshotsAreKept(t *testing.T) {
	dir := t.TempDir()
	db, err := database.Open(t.Context(), filepath.Join(dir, "test.db"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := db.Close(); err != nil {
			t.Error(err)
		}
	})
	box, err := secret.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	archive := plan.NewArchive(db, box)
	if list, err := archive.List(t.Context()); err != nil || len(list) > 0 {
		t.Errorf("before there were snapshots: %v, %v", list, err)
	}
	if err := database.Migrate(t.Context(), db, plan.Schema()); err != nil {
		t.Fatal(err)
	}
	at := time.Date(2026, 11, 28, 9, 0, 0, 0, time.UTC)
	files := func(n int) map[string][]byte {
		return map[string][]byte{"linehall.yaml": []byte(fmt.Sprint("version ", n)), "templates/yealink/loud.cfg": {0xff, 0x00}}
	}
	for n := range plan.KeepSnapshots + 5 {
		for range 2 { // the same files again are the same snapshot
			if err := archive.Keep(t.Context(), files(n), n, at.Add(time.Duration(n)*time.Hour)); err != nil {
				t.Fatal(err)
			}
		}
	}
	list, err := archive.List(t.Context())
	if err != nil || len(list) != plan.KeepSnapshots || list[0].ID != 25 || list[0].Phones != 24 || !list[0].At.Equal(at.Add(24*time.Hour)) {
		t.Fatalf("%d snapshots, the newest %+v, %v", len(list), list[0], err)
	}
	got, err := archive.Files(t.Context(), list[3].ID)
	if diff := cmp.Diff(files(21), got); err != nil || diff != "" {
		t.Errorf("%v, files (-want +got):\n%s", err, diff)
	}
	if _, err := archive.Files(t.Context(), 1); !errors.Is(err, plan.ErrNoSnapshot) {
		t.Errorf("one that is gone: %v", err)
	}
	var readable int
	if err := db.QueryRow("SELECT count(*) FROM plan_snapshots WHERE instr(files, 'version')").Scan(&readable); err != nil || readable > 0 {
		t.Errorf("%d snapshots lie open in the database, %v", readable, err)
	}
}
