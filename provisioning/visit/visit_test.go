package visit_test

import (
	"context"
	"errors"
	"log/slog"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"linehall/internal/database"
	"linehall/provisioning/visit"
)

const mac = "00:15:65:ab:cd:ef"

func TestVisitsSurviveARestart(t *testing.T) {
	db, err := database.Open(t.Context(), filepath.Join(t.TempDir(), "test.db"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := db.Close(); err != nil {
			t.Error(err)
		}
	})
	if err := database.Migrate(t.Context(), db, visit.Schema()); err != nil {
		t.Fatal(err)
	}
	open := func() *visit.Book {
		book, err := visit.Open(t.Context(), db, slog.New(slog.DiscardHandler))
		if err != nil {
			t.Fatal(err)
		}
		return book
	}
	at := time.Date(2026, 11, 28, 9, 0, 0, 0, time.UTC)
	want := visit.Visit{
		Fetched: visit.Delivery{At: at, File: "001565abcdef.cfg", Hash: "aa", Settings: "bb", Address: "127.0.1.20", UserAgent: "Yealink", Model: "T54W", Firmware: "96.86.0.45"},
		Refused: visit.Refusal{At: at.Add(time.Hour), File: "001565abcdef.cfg", Address: "127.0.2.20", Because: visit.OtherSite},
	}
	book := open()
	book.Fetched(mac, want.Fetched)
	book.Refused(mac, want.Refused)
	ctx, stop := context.WithCancel(t.Context())
	stop() // what is left is written at the end
	if err := book.Run(ctx); !errors.Is(err, context.Canceled) {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, open().Of(mac)); diff != "" {
		t.Errorf("after a restart (-want +got):\n%s", diff)
	}
	if got := open().Of("00:15:65:00:00:09"); got != (visit.Visit{}) {
		t.Errorf("of a stranger: %+v", got)
	}
	if err := book.Flush(ctx); err != nil { // nothing is left to write
		t.Error(err)
	}
	book.Refused(mac, visit.Refusal{At: at})
	if err := book.Flush(ctx); err == nil {
		t.Error("a cancelled flush succeeded")
	}
	if err := book.Flush(t.Context()); err != nil || !open().Of(mac).Refused.At.Equal(at) {
		t.Errorf("a flush that failed loses what it had: %v", err)
	}
}

func TestDrift(t *testing.T) {
	fine := visit.Facts{
		Enrolled: true, Settings: "a", Fetched: visit.Delivery{At: time.Now(), Settings: "a"}, SameModel: true, Registered: true, SeenAt: "hq", Site: "hq",
	}
	for name, tc := range map[string]struct {
		change func(*visit.Facts)
		want   []visit.Drift
	}{
		"as it should be": {func(*visit.Facts) {}, nil},
		"just unpacked": {
			func(f *visit.Facts) { *f = visit.Facts{Settings: "a", InPlan: true, SameModel: true} },
			[]visit.Drift{visit.NotEnrolled, visit.NotTold, visit.NotRegistered},
		},
		"missed a change":       {func(f *visit.Facts) { f.Settings = "b" }, []visit.Drift{visit.OldFile}},
		"carried away":          {func(f *visit.Facts) { f.SeenAt = "branch1" }, []visit.Drift{visit.ElsewhereSeen}},
		"replaced":              {func(f *visit.Facts) { f.SameModel = false }, []visit.Drift{visit.OtherModel}},
		"new password":          {func(f *visit.Facts) { f.Pending = true }, []visit.Drift{visit.PasswordPending}},
		"not ours to configure": {func(f *visit.Facts) { f.Enrolled, f.Settings, f.Fetched = false, "", visit.Delivery{} }, nil},
	} {
		f := fine
		tc.change(&f)
		if got := f.Drifts(); !slices.Equal(got, tc.want) {
			t.Errorf("%s: %v, want %v", name, got, tc.want)
		}
	}
	if len(visit.Drifts()) != 7 || len(visit.Reasons()) != 9 {
		t.Error("a drift or a reason is missing in its list")
	}
}
