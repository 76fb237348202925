package line_test

import (
	"errors"
	"log/slog"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	"pgregory.net/rapid"

	"linehall/internal/site"
	"linehall/media/line"
)

// table has two lines: branch1 with 1 Mbit/s, a tenth of it for the office and so a floor of 100 kbit/s, and branch2
// with 2 Mbit/s up and 4 down.
func table(t interface{ Fatal(args ...any) }) *site.Table {
	tb, err := site.NewTable([]site.Site{
		{ID: "hq", Main: true},
		{ID: "branch1", Line: &site.Line{Up: 1_000_000, Down: 1_000_000, OfficeReserve: 0.1}},
		{ID: "branch2", Line: &site.Line{Up: 2_000_000, Down: 4_000_000, Overhead: site.PPPoE}},
	})
	if err != nil {
		t.Fatal(err)
	}
	return tb
}

func ledger(t *testing.T) *line.Ledger {
	t.Helper()
	return line.NewLedger(table(t), slog.New(slog.DiscardHandler), nil)
}

func both(bps int64) line.Rate { return line.Rate{Up: bps, Down: bps} }

func on(id site.ID, bps int64) line.Demand { return line.Demand{Site: id, Rate: both(bps)} }

func mustReserve(t *testing.T, l *line.Ledger, c line.Class, demands ...line.Demand) *line.Lease {
	t.Helper()
	lease, err := l.Reserve(c, demands...)
	if err != nil {
		t.Fatal(err)
	}
	return lease
}

// reserved returns the reserved rate of a line up.
func reserved(l *line.Ledger, id site.ID) int64 {
	for _, s := range l.Snapshot() {
		if s.Site == id && s.Direction == line.Up {
			return s.Reserved
		}
	}
	return -1
}

func TestReserveAdmitsByClass(t *testing.T) {
	t.Parallel()
	const usable, floor = 900_000, 100_000
	for _, tc := range []struct {
		name  string
		class line.Class
		have  line.Class // reserved before, 0: nothing
		rate  int64
		want  int64
		free  int64 // of the refusal, -1: admitted
	}{
		{"voice up to the floor", line.Voice, 0, 0, usable - floor, -1},
		{"voice not into the floor", line.Voice, 0, 0, usable - floor + 1, usable - floor},
		{"priority is held back by the floor too", line.Priority, 0, 0, usable, usable - floor},
		{"conference audio may use everything but the office's part", line.ConferenceAudio, 0, 0, usable, -1},
		{"the office's part is nobody's", line.ConferenceAudio, 0, 0, usable + 1, usable},
		{"conference audio fills its floor first", line.Voice, line.ConferenceAudio, 60_000, usable - floor, -1},
		{"conference audio beyond the floor counts", line.Voice, line.ConferenceAudio, 200_000, usable - 200_000, -1},
		{"voice beside voice", line.Voice, line.Voice, 300_000, usable - floor - 300_000 + 1, usable - floor - 300_000},
		{"a firm lease of video counts like a call", line.Video, line.Voice, 300_000, usable - floor - 300_000 + 1, usable - floor - 300_000},
		{"emergency is never refused", line.Emergency, line.Voice, 800_000, 5_000_000, -1},
		{"nothing is left after an emergency", line.Voice, line.Emergency, 5_000_000, 1, 0},
		{"a forgotten class is voice", 0, 0, 0, usable - floor + 1, usable - floor},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			l := ledger(t)
			if tc.have != 0 {
				mustReserve(t, l, tc.have, on("branch1", tc.rate))
			}
			_, err := l.Reserve(tc.class, on("branch1", tc.want))
			if tc.free < 0 {
				if err != nil {
					t.Errorf("refused: %v", err)
				}
				return
			}
			var refused *line.Refused
			if !errors.As(err, &refused) {
				t.Fatalf("err = %v, want a refusal", err)
			}
			class := tc.class
			if class == 0 {
				class = line.Voice
			}
			want := &line.Refused{Site: "branch1", Direction: line.Up, Class: class, Wanted: tc.want, Free: tc.free}
			if diff := cmp.Diff(want, refused); diff != "" {
				t.Errorf("refusal (-want +got):\n%s", diff)
			}
		})
	}
}

func TestDirectionsAreSeparate(t *testing.T) {
	t.Parallel()
	l := ledger(t)
	mustReserve(t, l, line.Voice, line.Demand{Site: "branch1", Rate: line.Rate{Down: 800_000}})
	mustReserve(t, l, line.Voice, line.Demand{Site: "branch1", Rate: line.Rate{Up: 800_000}})
	_, err := l.Reserve(line.Voice, line.Demand{Site: "branch1", Rate: line.Rate{Down: 1}})
	var refused *line.Refused
	if !errors.As(err, &refused) || refused.Direction != line.Down {
		t.Errorf("err = %v, want a refusal downwards", err)
	}
}

func TestTwoLinesAtOnceOrNone(t *testing.T) {
	t.Parallel()
	l := ledger(t)
	mustReserve(t, l, line.Voice, on("branch1", 800_000))
	if _, err := l.Reserve(line.Voice, on("branch2", 87_000), on("branch1", 87_000)); err == nil {
		t.Fatal("a full line took a call")
	}
	if got := reserved(l, "branch2"); got != 0 {
		t.Errorf("%d bit/s stayed on the other line", got)
	}
}

func TestSitesWithoutLineCostNothing(t *testing.T) {
	t.Parallel()
	l := ledger(t)
	lease := mustReserve(t, l, line.Voice, on("hq", 1e12), on("nowhere", 1e12))
	lease.Release()
	if m := l.Meter("hq", line.Up, line.Voice); m != nil {
		t.Error("headquarters has a meter")
	}
	var none *line.Meter
	none.Add(1, 1)
	if none.Rate() != 0 || none.Total() != 0 {
		t.Error("no meter measures")
	}
}

func TestResizeAndRelease(t *testing.T) {
	t.Parallel()
	l := ledger(t)
	lease := mustReserve(t, l, line.Voice, on("branch1", 700_000))
	if err := lease.Resize(on("branch1", 900_000)); err == nil {
		t.Fatal("grew beyond the line")
	}
	if got := reserved(l, "branch1"); got != 700_000 {
		t.Fatalf("a refused resize left %d bit/s", got)
	}
	if err := lease.Resize(on("branch2", 50_000)); err != nil {
		t.Fatal(err)
	}
	if a, b := reserved(l, "branch1"), reserved(l, "branch2"); a != 0 || b != 50_000 {
		t.Fatalf("%d and %d bit/s after the call moved", a, b)
	}
	lease.Release()
	lease.Release()
	if got := reserved(l, "branch2"); got != 0 {
		t.Errorf("%d bit/s stayed", got)
	}
	if err := lease.Resize(on("branch2", 1)); !errors.Is(err, line.ErrReleased) {
		t.Errorf("err = %v", err)
	}
	var none *line.Lease
	none.Release()
}

func TestShrinkingIsNeverRefused(t *testing.T) {
	t.Parallel()
	l := ledger(t)
	lease := mustReserve(t, l, line.Voice, on("branch1", 400_000))
	mustReserve(t, l, line.Emergency, on("branch1", 2_000_000))
	if err := lease.Resize(on("branch1", 399_999)); err != nil {
		t.Error(err)
	}
}

func TestReclaimIsNeverRefused(t *testing.T) {
	t.Parallel()
	l := ledger(t)
	lease := l.Open(line.Holder{Class: line.Voice})
	lease.Reclaim(on("branch1", 5_000_000))
	if got := reserved(l, "branch1"); got != 5_000_000 {
		t.Errorf("%d bit/s reserved", got)
	}
	lease.Release()
	if got := reserved(l, "branch1"); got != 0 {
		t.Errorf("%d bit/s stayed", got)
	}
}

// The obvious model adds up what it was given. Nothing but emergencies may oversubscribe a line, calls leave the floor
// alone, a refusal changes nothing, and in the end everything is back.
func TestLedgerAgreesWithTheModel(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		tb := table(t)
		l := line.NewLedger(tb, slog.New(slog.DiscardHandler), nil)
		type held struct {
			lease *line.Lease
			class line.Class
			rates map[site.ID]line.Rate
		}
		var leases []*held
		sum := func(id site.ID, d line.Direction, count func(line.Class) bool) (n int64) {
			for _, h := range leases {
				if count(h.class) {
					n += h.rates[id].In(d)
				}
			}
			return n
		}
		demands := func() ([]line.Demand, map[site.ID]line.Rate) {
			rates := map[site.ID]line.Rate{}
			var out []line.Demand
			for range rapid.IntRange(1, 2).Draw(t, "sites") {
				id := rapid.SampledFrom([]site.ID{"hq", "branch1", "branch2"}).Draw(t, "site")
				r := line.Rate{Up: rapid.Int64Range(0, 600_000).Draw(t, "up"), Down: rapid.Int64Range(0, 600_000).Draw(t, "down")}
				rates[id] = rates[id].Plus(r)
				out = append(out, line.Demand{Site: id, Rate: r})
			}
			return out, rates
		}
		check := func() {
			for _, s := range l.Snapshot() {
				all := sum(s.Site, s.Direction, func(line.Class) bool { return true })
				if s.Reserved != all {
					t.Fatalf("%s %s: %d reserved, the model has %d", s.Site, s.Direction, s.Reserved, all)
				}
				emergency := sum(s.Site, s.Direction, func(c line.Class) bool { return c == line.Emergency })
				if emergency > 0 {
					continue
				}
				calls := sum(s.Site, s.Direction, func(c line.Class) bool { return c != line.ConferenceAudio })
				usable := s.Capacity - s.OfficeReserve
				if all > usable || calls > usable-s.Floor && sum(s.Site, s.Direction, func(c line.Class) bool { return c == line.ConferenceAudio }) == 0 {
					t.Fatalf("%s %s: %d of %d bit/s, %d of them calls", s.Site, s.Direction, all, usable, calls)
				}
			}
		}
		for range rapid.IntRange(1, 30).Draw(t, "steps") {
			switch act := rapid.SampledFrom([]string{"reserve", "reserve", "resize", "release"}).Draw(t, "act"); {
			case act == "reserve":
				class := rapid.SampledFrom([]line.Class{line.Voice, line.Voice, line.Priority, line.ConferenceAudio, line.Emergency}).Draw(t, "class")
				d, rates := demands()
				lease, err := l.Reserve(class, d...)
				if err == nil {
					leases = append(leases, &held{lease, class, rates})
				} else if class == line.Emergency {
					t.Fatalf("an emergency was refused: %v", err)
				}
			case len(leases) == 0:
			case act == "resize":
				h := rapid.SampledFrom(leases).Draw(t, "lease")
				d, rates := demands()
				if err := h.lease.Resize(d...); err == nil {
					h.rates = rates
				}
			default:
				i := rapid.IntRange(0, len(leases)-1).Draw(t, "which")
				leases[i].lease.Release()
				leases = append(leases[:i], leases[i+1:]...)
			}
			check()
		}
		for _, h := range leases {
			h.lease.Release()
		}
		leases = nil
		check()
	})
}

func TestElasticGetsWhatReservationsLeave(t *testing.T) {
	t.Parallel()
	l := ledger(t)
	var told []line.Rate
	video := l.Elastic(line.Video, "branch1", func(r line.Rate) { told = append(told, r) })
	if got := video.Budget(); got != both(900_000) {
		t.Fatalf("budget %v", got)
	}
	video.Use(both(900_000))
	lease := mustReserve(t, l, line.Voice, on("branch1", 800_000)) // a call takes what video holds
	if diff := cmp.Diff([]line.Rate{both(100_000)}, told); diff != "" {
		t.Fatalf("told when Reserve returned (-want +got):\n%s", diff)
	}
	if err := lease.Resize(on("branch1", 87_000)); err != nil {
		t.Fatal(err)
	}
	mustReserve(t, l, line.Emergency, on("branch1", 2_000_000))
	lease.Release()
	want := []line.Rate{both(100_000), both(813_000), both(0)}
	if diff := cmp.Diff(want, told); diff != "" {
		t.Errorf("told (-want +got):\n%s", diff)
	}
	video.Close()
	video.Close()
	mustReserve(t, l, line.Emergency, on("branch1", 1))
	if len(told) != len(want) {
		t.Errorf("told %v after Close", told)
	}
}

func TestElasticClassesYieldToEachOther(t *testing.T) {
	t.Parallel()
	l := ledger(t)
	content := l.Elastic(line.Content, "branch1", nil)
	video := l.Elastic(line.Video, "branch1", nil)
	bulk := l.Elastic(line.Bulk, "branch1", nil)
	content.Use(line.Rate{Down: 500_000})
	video.Use(line.Rate{Down: 300_000, Up: 100_000})
	for _, tc := range []struct {
		name string
		e    *line.Elastic
		want line.Rate
	}{
		{"content", content, both(900_000)},
		{"video", video, line.Rate{Up: 900_000, Down: 400_000}},
		{"bulk", bulk, line.Rate{Up: 800_000, Down: 100_000}},
	} {
		if got := tc.e.Budget(); got != tc.want {
			t.Errorf("%s: %v, want %v", tc.name, got, tc.want)
		}
	}
	second := l.Elastic(line.Video, "branch1", nil) // another room
	if got := second.Budget(); got != (line.Rate{Up: 450_000, Down: 200_000}) || video.Budget() != got {
		t.Errorf("two rooms get %v and %v", video.Budget(), got)
	}
	second.Close()
	if got := video.Budget(); got != (line.Rate{Up: 900_000, Down: 400_000}) {
		t.Errorf("video gets %v after the other room closed", got)
	}
}

// A line that carries less than its contract says: what is left for elastic classes is bounded, never raised; a watcher sees it
// and takes nothing.
func TestALimitLowersWhatElasticClassesGet(t *testing.T) {
	t.Parallel()
	l := ledger(t)
	var told []line.Rate
	whole := l.Watch("branch1", func(r line.Rate) { told = append(told, r) })
	video := l.Elastic(line.Video, "branch1", nil)
	video.Use(both(100_000))
	l.Restrict("branch1", line.Up, line.Verdict{Limit: 5_000_000})
	l.Restrict("branch1", line.Down, line.Verdict{Limit: 300_000, Alarm: "slow"})
	if got, want := video.Budget(), (line.Rate{Up: 900_000, Down: 300_000}); got != want {
		t.Errorf("video gets %v, want %v", got, want)
	}
	mustReserve(t, l, line.Voice, on("branch1", 87_000))
	if got, want := video.Budget(), (line.Rate{Up: 813_000, Down: 213_000}); got != want {
		t.Errorf("beside a call video gets %v, want %v", got, want)
	}
	for _, s := range l.Snapshot() {
		if s.Site == "branch1" && (s.Verdict.Alarm == "slow") != (s.Direction == line.Down) {
			t.Errorf("%s: %+v", s.Direction, s.Verdict)
		}
	}
	l.Restrict("branch1", line.Up, line.Verdict{})
	l.Restrict("branch1", line.Down, line.Verdict{})
	want := []line.Rate{{Up: 900_000, Down: 300_000}, {Up: 813_000, Down: 213_000}, both(813_000)}
	if diff := cmp.Diff(want, told); diff != "" {
		t.Errorf("the watcher was told (-want +got):\n%s", diff)
	}
	if got := l.Snapshot()[0].Verdict; got != (line.Verdict{}) {
		t.Errorf("%+v in the snapshot", got)
	}
	whole.Close()
}

func TestElasticWithoutLineIsUnlimited(t *testing.T) {
	t.Parallel()
	if got := ledger(t).Elastic(line.Video, "hq", nil).Budget(); got != both(line.Unlimited) {
		t.Errorf("budget %v", got)
	}
}

// Callbacks run serially, may call the ledger, and the last one has the final budget.
func TestElasticCallbacksAreSerial(t *testing.T) {
	t.Parallel()
	l := ledger(t)
	var running atomic.Int32
	var last atomic.Int64
	var video *line.Elastic
	ready := make(chan struct{})
	video = l.Elastic(line.Video, "branch1", func(r line.Rate) {
		<-ready
		if running.Add(1) != 1 {
			t.Error("two callbacks at once")
		}
		video.Use(r)
		l.Snapshot()
		last.Store(r.Up)
		running.Add(-1)
	})
	close(ready)
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			for range 50 {
				if lease, err := l.Reserve(line.Voice, on("branch1", 50_000)); err == nil {
					lease.Release()
				}
			}
		})
	}
	wg.Wait()
	if got := last.Load(); got != 900_000 || video.Budget() != both(900_000) {
		t.Errorf("last told %d, budget %v", got, video.Budget())
	}
}

func TestCallbackThatPanicsIsCalledAgain(t *testing.T) {
	t.Parallel()
	l := ledger(t)
	calls := 0
	l.Elastic(line.Video, "branch1", func(line.Rate) {
		if calls++; calls == 1 {
			panic("defect of the owner")
		}
	})
	func() {
		defer func() {
			if recover() == nil {
				t.Error("the panic was swallowed")
			}
		}()
		_, _ = l.Reserve(line.Voice, on("branch1", 1000))
	}()
	mustReserve(t, l, line.Voice, on("branch1", 1000))
	if calls != 2 {
		t.Errorf("%d calls", calls)
	}
}

func TestApplyKeepsLeases(t *testing.T) {
	t.Parallel()
	l := ledger(t)
	var told []line.Rate
	l.Elastic(line.Video, "branch1", func(r line.Rate) { told = append(told, r) })
	lease := mustReserve(t, l, line.Voice, on("branch1", 500_000), on("hq", 80_000))
	meter := l.Meter("branch1", line.Up, line.Voice)
	smaller, err := site.NewTable([]site.Site{
		{ID: "hq", Main: true}, {ID: "branch1", Line: &site.Line{Up: 400_000, Down: 600_000, Overhead: site.MPLS}},
	})
	if err != nil {
		t.Fatal(err)
	}
	l.Apply(smaller)
	if got := len(l.Snapshot()); got != 2 {
		t.Errorf("%d states, want those of one line", got)
	}
	if _, err := l.Reserve(line.Voice, on("branch1", 1)); err == nil {
		t.Error("a line that shrank below its reservations took a call")
	}
	meter.Add(1, 100)
	if got := l.Meter("branch1", line.Up, line.Voice).Total(); got != 122 {
		t.Errorf("the meter counts %d bytes, want it to stay, with the new overhead", got)
	}
	lease.Release()
	want := []line.Rate{both(400_000), {Up: 0, Down: 100_000}, {Up: 400_000, Down: 600_000}}
	if diff := cmp.Diff(want, told); diff != "" {
		t.Errorf("told (-want +got):\n%s", diff)
	}
	l.Apply(table(t))
	if l.Meter("branch2", line.Up, line.Voice) == nil {
		t.Error("branch2 did not come back")
	}
}

func TestMeterMeasuresTheLastSecond(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		m := line.NewLedger(table(t), nil, nil).Meter("branch1", line.Up, line.Voice)
		for range 150 { // three seconds of G.711
			m.Add(1, 200)
			time.Sleep(20 * time.Millisecond)
		}
		if got := m.Rate(); got != 87_200 {
			t.Errorf("%d bit/s, want 87200", got)
		}
		time.Sleep(500 * time.Millisecond)
		if got := m.Rate(); got < 40_000 || got > 48_000 {
			t.Errorf("%d bit/s half a second later", got)
		}
		time.Sleep(time.Minute)
		if got := m.Rate(); got != 0 {
			t.Errorf("%d bit/s a minute later", got)
		}
		if got := m.Total(); got != 150*218 {
			t.Errorf("%d bytes in all", got)
		}
	})
}

func TestMeterLosesNothingBetweenWriters(t *testing.T) {
	t.Parallel()
	m := ledger(t).Meter("branch2", line.Down, line.Video)
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			for range 1000 {
				m.Add(1, 74)
				m.Rate()
			}
		})
	}
	wg.Wait()
	if got := m.Total(); got != 4*1000*100 {
		t.Errorf("%d bytes", got)
	}
}

func TestMeterDoesNotAllocate(t *testing.T) {
	m := ledger(t).Meter("branch1", line.Up, line.Voice)
	if n := testing.AllocsPerRun(1000, func() { m.Add(1, 200) }); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

func TestWireRate(t *testing.T) {
	t.Parallel()
	l := ledger(t)
	for id, want := range map[site.ID]int64{"branch1": 87_200, "branch2": 90_400, "hq": 80_000} {
		if got := l.WireRate(id, 50, 200); got != want {
			t.Errorf("G.711 on the line of %s: %d bit/s, want %d", id, got, want)
		}
	}
}

func TestMetrics(t *testing.T) {
	t.Parallel()
	reg := prometheus.NewRegistry()
	l := line.NewLedger(table(t), slog.New(slog.DiscardHandler), reg)
	mustReserve(t, l, line.Voice, on("branch1", 87_200))
	l.Elastic(line.Video, "branch1", nil).Use(line.Rate{Down: 500_000})
	if _, err := l.Reserve(line.Voice, on("branch1", 1e9)); err == nil {
		t.Fatal("admitted")
	}
	want := `
# HELP linehall_line_capacity_bps Contracted rate of the line.
# TYPE linehall_line_capacity_bps gauge
linehall_line_capacity_bps{direction="down",site="branch1"} 1e+06
linehall_line_capacity_bps{direction="down",site="branch2"} 4e+06
linehall_line_capacity_bps{direction="up",site="branch1"} 1e+06
linehall_line_capacity_bps{direction="up",site="branch2"} 2e+06
# HELP linehall_line_refused_total Reservations for which a line had no room.
# TYPE linehall_line_refused_total counter
linehall_line_refused_total{class="bulk"} 0
linehall_line_refused_total{class="conference_audio"} 0
linehall_line_refused_total{class="content"} 0
linehall_line_refused_total{class="emergency"} 0
linehall_line_refused_total{class="priority"} 0
linehall_line_refused_total{class="video"} 0
linehall_line_refused_total{class="voice"} 1
`
	if err := testutil.GatherAndCompare(reg, strings.NewReader(want),
		"linehall_line_capacity_bps", "linehall_line_refused_total"); err != nil {
		t.Error(err)
	}
	if n, err := testutil.GatherAndCount(reg, "linehall_line_reserved_bps", "linehall_line_measured_bps"); err != nil || n != 2*2*2*7 {
		t.Errorf("%d series, %v", n, err)
	}
	for _, s := range l.Snapshot() {
		if s.Site == "branch1" && s.Direction == line.Down && (s.Elastic != 500_000 || s.Refused != 1 || s.Free != 712_800) {
			t.Errorf("snapshot %+v", s)
		}
	}
}

func BenchmarkMeterAdd(b *testing.B) {
	m := line.NewLedger(table(b), nil, nil).Meter("branch1", line.Up, line.Voice)
	b.ReportAllocs()
	for b.Loop() {
		m.Add(1, 200)
	}
}
