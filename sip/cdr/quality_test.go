package cdr_test

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"linehall/sip/cdr"
)

func TestQualityReports(t *testing.T) {
	l, _, _ := open(t)
	at := time.UnixMilli(1_700_000_000_000).UTC()
	want := cdr.Quality{Call: "a", ReportedAt: at, Extension: "8001", Site: "hq", Kind: "session", MOS: 4.2, LossPercent: 0.5, Jitter: 3 * time.Millisecond}
	for i := range 100 {
		q := want
		q.ReportedAt = at.Add(time.Duration(i) * time.Second)
		if err := l.AddQuality(t.Context(), q); err != nil {
			t.Fatal(err)
		}
	}
	got, err := l.Quality(t.Context(), "a")
	if err != nil {
		t.Fatal(err)
	}
	if len(got) != 64 {
		t.Errorf("%d reports kept", len(got))
	}
	if diff := cmp.Diff(want, got[0]); diff != "" {
		t.Error(diff)
	}
	if other, err := l.Quality(t.Context(), "b"); err != nil || len(other) != 0 {
		t.Errorf("another call has %v, %v", other, err)
	}
}
