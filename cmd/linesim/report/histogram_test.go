package report_test

import (
	"math"
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"

	"linehall/cmd/linesim/report"
)

func TestQuantilesStayWithinThreePercentOfTheSortedList(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		values := rapid.SliceOfN(rapid.Int64Range(0, int64(10*time.Minute)), 1, 300).Draw(t, "durations")
		var h report.Histogram
		for _, v := range values {
			h.Record(time.Duration(v))
		}
		slices.Sort(values)
		for _, q := range []float64{0, 0.5, 0.9, 0.99, 1} {
			want := values[min(int(q*float64(len(values))), len(values)-1)]
			got := int64(h.Quantile(q))
			if math.Abs(float64(got-want)) > 0.032*float64(want)+1 {
				t.Fatalf("quantile %g = %d, sorted list says %d", q, got, want)
			}
		}
	})
}

func TestMergeEqualsRecordingEverythingInOne(t *testing.T) {
	var a, b, both report.Histogram
	for i := range 1000 {
		d := time.Duration(i*i) * time.Microsecond
		both.Record(d)
		if i%3 == 0 {
			a.Record(d)
		} else {
			b.Record(d)
		}
	}
	a.Merge(&b)
	if a != both {
		t.Fatal("merged histogram differs from the one that saw everything")
	}
}

func TestAnEmptyHistogramIsAllZero(t *testing.T) {
	var h report.Histogram
	if h.Summary() != (report.Summary{}) {
		t.Fatalf("got %+v", h.Summary())
	}
}
