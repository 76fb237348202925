package call

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"linehall/media/rtcp"
	"linehall/sip/cdr"
)

func TestSecondsOnRecord(t *testing.T) {
	if got := secondsOf(rtcp.Seconds{}); got != nil {
		t.Errorf("of a call that was not measured: %+v", got)
	}
	var s rtcp.Seconds
	s.Add(0, 4.4)
	s.Add(2, 4.2)
	want := &cdr.Seconds{Rated: 2, Mean: 4.3, Worst: 4.2, WorstAt: 2, Kinds: [5]int{2}}
	if diff := cmp.Diff(want, secondsOf(s)); diff != "" {
		t.Errorf("good seconds have no course (-want +got):\n%s", diff)
	}
	s.Add(3, 1.25)
	want = &cdr.Seconds{Rated: 3, Mean: 3.28, Worst: 1.25, WorstAt: 3, Kinds: [5]int{2, 0, 0, 0, 1}, Step: 1, Lowest: []float64{4.4, 0, 4.2, 1.3}}
	if diff := cmp.Diff(want, secondsOf(s)); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestExtendedReportsOnRecord(t *testing.T) {
	now := time.Now()
	if got := heardBy(rtcp.VoIPMetrics{}, now); got != nil {
		t.Errorf("of a phone that reports nothing: %+v", got)
	}
	got := heardBy(rtcp.VoIPMetrics{SSRC: 1, Loss: 0.25, BurstDensity: 0.5, Burst: time.Second, MOSListening: 3.1, R: 70}, now)
	want := &cdr.Heard{At: now, MOS: 3.1, R: 70, LossPercent: 25, BurstPercent: 50, Burst: time.Second}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}
