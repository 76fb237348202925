package line_test

import (
	"cmp"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"sync"
	"testing"
	"time"

	gocmp "github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"linehall/internal/site"
	"linehall/media/line"
)

// office notes who had to hang up.
type office struct {
	t      *testing.T
	l      *line.Ledger
	clock  time.Time
	leases map[string]*line.Lease
	told   []string // "victim by whom at line"
}

func newOffice(t *testing.T, l *line.Ledger) *office {
	t.Helper()
	return &office{t: t, l: l, clock: time.Unix(1_800_000_000, 0), leases: map[string]*line.Lease{}}
}

func (o *office) open(name string, p line.Precedence, class line.Class) *line.Lease {
	o.clock = o.clock.Add(time.Second)
	lease := o.l.Open(line.Holder{Class: class, Precedence: p, Name: name, Since: o.clock, Preempted: func(by line.Preemption) {
		o.told = append(o.told, fmt.Sprintf("%s by %s at %s", name, by.By, by.Site))
	}})
	o.leases[name] = lease
	return lease
}

// call reserves for a new call and returns what happened: "" admitted, else why not.
func (o *office) call(name string, p line.Precedence, demands ...line.Demand) string {
	o.t.Helper()
	return outcome(o.t, o.open(name, p, line.Voice).Resize(demands...))
}

func outcome(t *testing.T, err error) string {
	t.Helper()
	var refused *line.Refused
	switch {
	case err == nil:
		return ""
	case errors.As(err, &refused):
		return "refused at " + string(refused.Site) + " " + string(refused.Cause)
	}
	t.Fatal(err)
	return ""
}

func (o *office) wantTold(want ...string) {
	o.t.Helper()
	slices.Sort(o.told)
	slices.Sort(want)
	if diff := gocmp.Diff(want, o.told, gocmp.Transformer("all", func(s []string) []string { return append([]string{}, s...) })); diff != "" {
		o.t.Errorf("who gave way (-want +got):\n%s", diff)
	}
	o.told = nil
}

// The line of branch1 carries 800,000 bit/s of calls, that of branch2 1,880,000 up and 3,880,000 down.
func TestWhoGivesWay(t *testing.T) {
	t.Parallel()
	const (
		routine   = line.PrecedenceRoutine
		priority  = line.PrecedencePriority
		immediate = line.PrecedenceImmediate
		flash     = line.PrecedenceFlash
		override  = line.PrecedenceFlashOverride
	)
	type made struct {
		name string
		p    line.Precedence
		at   []line.Demand
	}
	b1 := func(bps int64) []line.Demand { return []line.Demand{on("branch1", bps)} }
	for _, tc := range []struct {
		name string
		have []made
		want made
		says string
		told []string
	}{
		{"nobody, while there is room", []made{{"a", routine, b1(700_000)}}, made{"x", flash, b1(100_000)}, "", nil},
		{
			"the newest of the lowest",
			[]made{{"a", routine, b1(200_000)}, {"b", routine, b1(200_000)}, {"c", routine, b1(200_000)}, {"p", priority, b1(200_000)}},
			made{"x", flash, b1(100_000)},
			"",
			[]string{"c by x at branch1"},
		},
		{
			"one that is large enough rather than two newer ones",
			[]made{{"a", routine, b1(500_000)}, {"b", routine, b1(100_000)}, {"c", routine, b1(200_000)}},
			made{"x", flash, b1(250_000)},
			"",
			[]string{"a by x at branch1"},
		},
		{
			"a small one rather than a higher one",
			[]made{{"p", priority, b1(400_000)}, {"a", routine, b1(200_000)}, {"b", routine, b1(200_000)}},
			made{"x", flash, b1(400_000)},
			"",
			[]string{"a by x at branch1", "b by x at branch1"},
		},
		{
			"a higher one when all lower ones are too few, and then as few lower ones as will do",
			[]made{{"p", immediate, b1(600_000)}, {"a", routine, b1(100_000)}, {"b", routine, b1(100_000)}},
			made{"x", flash, b1(700_000)},
			"",
			[]string{"b by x at branch1", "p by x at branch1"},
		},
		{"never an equal", []made{{"a", flash, b1(800_000)}}, made{"x", flash, b1(1)}, "refused at branch1 ", nil},
		{"never a higher", []made{{"a", override, b1(800_000)}}, made{"x", flash, b1(1)}, "refused at branch1 ", nil},
		{"nobody for a routine call", []made{{"a", routine, b1(800_000)}}, made{"x", routine, b1(1)}, "refused at branch1 ", nil},
		{"nobody when it would not help", []made{{"a", routine, b1(400_000)}, {"p", flash, b1(400_000)}}, made{"x", flash, b1(401_000)}, "refused at branch1 ", nil},
		{
			"one call that stands in the way on both lines",
			[]made{{"a", routine, b1(400_000)}, {"b", routine, []line.Demand{on("branch2", 1_480_000)}}, {"ab", routine, []line.Demand{on("branch1", 400_000), on("branch2", 400_000)}}, {"c", routine, nil}},
			made{"x", priority, []line.Demand{on("branch1", 300_000), on("branch2", 300_000)}},
			"",
			[]string{"ab by x at branch1"},
		},
		{
			"both lines or none",
			[]made{{"a", routine, b1(800_000)}, {"p", flash, []line.Demand{on("branch2", 1_880_000)}}},
			made{"x", flash, []line.Demand{on("branch1", 300_000), on("branch2", 300_000)}},
			"refused at branch2 ", nil,
		},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			o := newOffice(t, ledger(t))
			for _, m := range tc.have {
				if says := o.call(m.name, m.p, m.at...); says != "" {
					t.Fatalf("%s: %s", m.name, says)
				}
			}
			if says := o.call(tc.want.name, tc.want.p, tc.want.at...); says != tc.says {
				t.Errorf("%q, want %q", says, tc.says)
			}
			o.wantTold(tc.told...)
		})
	}
}

func TestAVictimHoldsNothing(t *testing.T) {
	t.Parallel()
	l := ledger(t)
	o := newOffice(t, l)
	o.call("a", line.PrecedenceRoutine, on("branch1", 800_000), on("branch2", 500_000))
	var told []line.Rate
	video := l.Elastic(line.Video, "branch2", func(r line.Rate) { told = append(told, r) })
	if says := o.call("x", line.PrecedenceFlash, on("branch1", 700_000)); says != "" {
		t.Fatal(says)
	}
	if b1, b2 := reserved(l, "branch1"), reserved(l, "branch2"); b1 != 700_000 || b2 != 0 {
		t.Errorf("%d and %d bit/s reserved", b1, b2)
	}
	if len(told) != 1 || video.Budget() != told[0] || told[0].Up != 2_000_000 {
		t.Errorf("video was told %v: the victim's room on its other line is free", told)
	}
	victim := o.leases["a"]
	if err := victim.Resize(on("branch1", 1)); !errors.Is(err, line.ErrPreempted) {
		t.Errorf("err = %v", err)
	}
	victim.Reclaim(on("branch1", 1))
	victim.Release()
	if b1 := reserved(l, "branch1"); b1 != 700_000 {
		t.Errorf("%d bit/s reserved", b1)
	}
	for _, s := range l.Statuses() {
		if s.Preempted != 1 {
			t.Errorf("%+v", s)
		}
		if s.Site == "branch1" && !slices.Equal(s.ByPrecedence, []int{0, 0, 0, 1, 0}) {
			t.Errorf("%+v", s)
		}
	}
}

// A re-offer that needs more takes it like a new call; what is only tried costs nobody anything.
func TestGrowing(t *testing.T) {
	t.Parallel()
	o := newOffice(t, ledger(t))
	o.call("x", line.PrecedenceFlash, on("branch1", 100_000))
	o.call("a", line.PrecedenceRoutine, on("branch1", 700_000))
	x := o.leases["x"]
	if err := x.Try(on("branch1", 200_000)); err == nil {
		t.Error("a try made somebody give way")
	}
	o.wantTold()
	if err := x.Resize(on("branch1", 200_000)); err != nil {
		t.Error(err)
	}
	o.wantTold("a by x at branch1")
	if err := x.Try(on("branch1", 300_000)); err != nil {
		t.Errorf("a try on an empty line: %v", err)
	}
}

func TestEmergency(t *testing.T) {
	t.Parallel()
	l := ledger(t)
	o := newOffice(t, l)
	emergency := func(name string, bps int64) {
		t.Helper()
		if err := o.open(name, 0, line.Emergency).Resize(on("branch1", bps)); err != nil {
			t.Fatal(err)
		}
	}
	o.call("a", line.PrecedenceRoutine, on("branch1", 400_000))
	o.call("b", line.PrecedenceRoutine, on("branch1", 400_000))
	emergency("e1", 200_000) // the floor's 100,000 and the office's 100,000: the line is full now
	o.wantTold()
	emergency("e2", 100_000)
	o.wantTold("b by e2 at branch1")
	if says := o.call("x", line.PrecedenceFlashOverride, on("branch1", 700_000)); says == "" {
		t.Error("an emergency gave way")
	}
	mustReserve(t, l, line.ConferenceAudio, on("branch1", 100_000))
	emergency("e3", 5_000_000)
	o.wantTold("a by e3 at branch1")
	if got := reserved(l, "branch1"); got != 5_400_000 {
		t.Errorf("%d bit/s: conference audio gives way to nobody", got)
	}
	if err := o.leases["e1"].Try(on("branch1", 200_001)); err == nil {
		t.Error("a try went beyond what the line has")
	}
}

func TestFirmVideoGivesWayToAnyCall(t *testing.T) {
	t.Parallel()
	o := newOffice(t, ledger(t))
	if err := o.open("v", 0, line.Video).Resize(on("branch1", 700_000)); err != nil {
		t.Fatal(err)
	}
	o.call("a", line.PrecedenceRoutine, on("branch1", 100_000))
	if says := o.call("b", line.PrecedenceRoutine, on("branch1", 100_000)); says != "" {
		t.Error(says)
	}
	o.wantTold("v by b at branch1")
}

func TestCallsMax(t *testing.T) {
	t.Parallel()
	tb, err := site.NewTable([]site.Site{{ID: "hq", Main: true}, {ID: "branch1", Line: &site.Line{Up: 1e6, Down: 1e6, CallsMax: 2}}})
	if err != nil {
		t.Fatal(err)
	}
	l := line.NewLedger(tb, slog.New(slog.DiscardHandler), nil)
	o := newOffice(t, l)
	o.call("a", line.PrecedenceRoutine, on("branch1", 10_000))
	o.call("b", line.PrecedenceRoutine, on("branch1", 10_000), on("branch1", 10_000)) // a hairpin is one call
	if says := o.call("c", line.PrecedenceRoutine, on("branch1", 10_000)); says != "refused at branch1 too_many_calls" {
		t.Error(says)
	}
	if err := o.leases["a"].Resize(on("branch1", 20_000)); err != nil {
		t.Errorf("a call that is there already: %v", err)
	}
	mustReserve(t, l, line.ConferenceAudio, on("branch1", 10_000))
	mustReserve(t, l, line.Emergency, on("branch1", 10_000))
	o.wantTold()
	if says := o.call("x", line.PrecedencePriority, on("branch1", 10_000)); says != "" {
		t.Error(says)
	}
	o.wantTold("a by x at branch1", "b by x at branch1") // three are there, one of them an emergency, two are allowed
	if got := l.Statuses()[0]; got.Calls != 2 || got.Emergency != 1 || got.CallsMax != 2 {
		t.Errorf("%+v", got)
	}
}

func TestConferenceFloorOfTheConfiguration(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct{ share, free float64 }{{0, 1_000_000}, {0.3, 700_000}} {
		tb, err := site.NewTable([]site.Site{{ID: "hq", Main: true}, {ID: "branch1", Line: &site.Line{Up: 1e6, Down: 1e6, ConferenceFloor: &tc.share}}})
		if err != nil {
			t.Fatal(err)
		}
		o := newOffice(t, line.NewLedger(tb, nil, nil))
		if says := o.call("a", line.PrecedenceFlash, on("branch1", int64(tc.free)+1)); says == "" {
			t.Errorf("share %v: a call ate the floor", tc.share)
		}
		if says := o.call("b", line.PrecedenceFlash, on("branch1", int64(tc.free))); says != "" {
			t.Errorf("share %v: %s", tc.share, says)
		}
	}
}

// A line that is down takes no new calls but emergencies; what is on it keeps its place and may change.
func TestLineDown(t *testing.T) {
	t.Parallel()
	l := ledger(t)
	o := newOffice(t, l)
	o.call("a", line.PrecedenceRoutine, on("branch1", 100_000))
	l.SetDown("branch1", true)
	l.SetDown("hq", true)
	l.SetDown("nowhere", true)
	for _, p := range line.Precedences() {
		if says := o.call("b", p, on("branch1", 10_000)); says != "refused at branch1 down" {
			t.Errorf("%s: %q", p, says)
		}
	}
	if says := o.call("c", line.PrecedenceRoutine, on("branch2", 10_000), on("hq", 10_000)); says != "" {
		t.Error(says)
	}
	if err := o.leases["a"].Resize(on("branch1", 200_000)); err != nil {
		t.Error(err)
	}
	mustReserve(t, l, line.Emergency, on("branch1", 10_000))
	mustReserve(t, l, line.ConferenceAudio, on("branch1", 10_000))
	if s := l.Statuses()[0]; !s.Down || s.OutOfService || s.DownSince.IsZero() || !l.Down("branch1") || l.Down("branch2") || l.Down("hq") {
		t.Errorf("%+v", s)
	}
	l.Overflowed("branch1")
	l.SetDown("branch1", false)
	if says := o.call("d", line.PrecedenceRoutine, on("branch1", 10_000)); says != "" {
		t.Error(says)
	}
	if s := l.Statuses()[0]; s.Down || s.Overflowed != 1 || s.Refused != 5 {
		t.Errorf("%+v", s)
	}
}

// Priorities do not starve: as long as routine calls hold the line, a higher one gets through at once, each level above
// the one before; conference audio keeps its floor; and when the higher calls end, routine calls are admitted again.
func TestPrioritiesDoNotStarve(t *testing.T) {
	t.Parallel()
	l := ledger(t)
	var mu sync.Mutex
	stop := make(chan struct{})
	var wg sync.WaitGroup
	for range 4 { // people who redial whatever happens
		wg.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
				}
				mu.Lock()
				lease := l.Open(line.Holder{Class: line.Voice, Preempted: func(line.Preemption) {}})
				err := lease.Resize(on("branch1", 80_000))
				mu.Unlock()
				if err != nil {
					lease.Release()
				}
			}
		})
	}
	for round := range 100 {
		var high []*line.Lease
		for _, p := range line.Precedences()[1:] {
			for i := range 10 { // the whole line of them
				lease := l.Open(line.Holder{Class: line.Priority, Precedence: p, Preempted: func(line.Preemption) {}})
				if err := lease.Resize(on("branch1", 80_000)); err != nil {
					t.Fatalf("round %d: call %d of %s: %v", round, i, p, err)
				}
				high = append(high, lease)
			}
		}
		audio, err := l.Reserve(line.ConferenceAudio, on("branch1", line.FloorRate(1_000_000)))
		if err != nil {
			t.Fatalf("round %d: the floor was eaten: %v", round, err)
		}
		audio.Release()
		for _, lease := range high {
			lease.Release()
		}
		mu.Lock() // nobody redials for a moment: the line is free or full of routine calls
		lease := l.Open(line.Holder{Class: line.Voice})
		err = lease.Resize(on("branch1", 80_000))
		full := reserved(l, "branch1") > 700_000
		lease.Release()
		mu.Unlock()
		if err != nil && !full {
			t.Fatalf("round %d: routine calls stay out: %v", round, err)
		}
	}
	close(stop)
	wg.Wait()
}

// modelCall is a call as the obvious model keeps it.
type modelCall struct {
	name  string
	rank  int // of preempt.go
	rates map[site.ID]line.Rate
}

// modelLine is what the model knows of a line: what calls may take in each direction, and how many there may be.
type modelLine struct {
	up, down int64
	calls    int
}

// The obvious model tries every set of lower calls and takes the one that has the fewest calls of the highest rank, then
// of the next, and so on; among those the one whose calls are newest. On one line the ledger must choose exactly as
// many of each rank; on two, where its choice is not exhaustive, it must spare whom it can and must not touch a rank that
// need not be touched. Refusals must agree exactly.
func TestPreemptionAgreesWithTheModel(t *testing.T) {
	t.Parallel()
	floor := 0.1
	tb, err := site.NewTable([]site.Site{
		{ID: "hq", Main: true},
		{ID: "branch1", Line: &site.Line{Up: 1_000_000, Down: 1_000_000, OfficeReserve: 0.1, ConferenceFloor: &floor, CallsMax: 6}},
		{ID: "branch2", Line: &site.Line{Up: 1_000_000, Down: 2_000_000, ConferenceFloor: &floor}},
	})
	if err != nil {
		t.Fatal(err)
	}
	limits := map[site.ID]modelLine{"branch1": {800_000, 800_000, 6}, "branch2": {900_000, 1_800_000, 1 << 30}}
	rapid.Check(t, func(rt *rapid.T) {
		l := line.NewLedger(tb, slog.New(slog.DiscardHandler), nil)
		o := newOffice(t, l)
		var model []modelCall // oldest first
		symmetric := rapid.Bool().Draw(rt, "one line, equal rates")
		for i := range rapid.IntRange(1, 25).Draw(rt, "calls") {
			name := fmt.Sprintf("c%02d", i)
			p := line.Precedence(rapid.IntRange(0, 4).Draw(rt, "precedence")) //nolint:gosec // 0..4
			rates := drawRates(rt, symmetric)
			var demands []line.Demand
			for _, id := range slices.Sorted(maps.Keys(rates)) {
				demands = append(demands, line.Demand{Site: id, Rate: rates[id]})
			}
			lease := o.open(name, p, line.Voice)
			err := lease.Resize(demands...)
			var gone []string
			for _, told := range o.told {
				var victim, by, at string
				if _, err := fmt.Sscanf(told, "%s by %s at %s", &victim, &by, &at); err != nil || by != name {
					rt.Fatalf("told %q: %v", told, err)
				}
				gone = append(gone, victim)
			}
			o.told = nil
			want, possible := modelVictims(model, 1+int(p), rates, limits)
			if possible != (err == nil) {
				rt.Fatalf("%s: the ledger says %v, the model %v", name, err, possible)
			}
			if err != nil && len(gone) > 0 {
				rt.Fatalf("%s was refused, but %v gave way", name, gone)
			}
			checkVictims(rt, model, gone, want, rates, limits, symmetric)
			model = slices.DeleteFunc(model, func(c modelCall) bool { return slices.Contains(gone, c.name) })
			if err == nil {
				model = append(model, modelCall{name, 1 + int(p), rates})
			}
			if len(model) > 0 && rapid.IntRange(0, 3).Draw(rt, "hang up") == 0 {
				n := rapid.IntRange(0, len(model)-1).Draw(rt, "who")
				o.leases[model[n].name].Release()
				model = slices.Delete(model, n, n+1)
			}
		}
	})
}

func drawRates(rt *rapid.T, symmetric bool) map[site.ID]line.Rate {
	rates := map[site.ID]line.Rate{}
	if symmetric {
		rates["branch1"] = both(rapid.SampledFrom([]int64{31_200, 87_200, 150_000, 300_000}).Draw(rt, "rate"))
		return rates
	}
	for _, id := range []site.ID{"branch1", "branch2"} {
		if rapid.Bool().Draw(rt, "on "+string(id)) {
			rates[id] = line.Rate{Up: rapid.Int64Range(20_000, 300_000).Draw(rt, "up"), Down: rapid.Int64Range(20_000, 300_000).Draw(rt, "down")}
		}
	}
	return rates
}

// fits reports whether the calls but those that are gone leave room for one with these rates.
func fits(model []modelCall, gone []string, rates map[site.ID]line.Rate, limits map[site.ID]modelLine) bool {
	for id, r := range rates {
		up, down, n := r.Up, r.Down, 1
		for _, c := range model {
			if held, on := c.rates[id]; on && !slices.Contains(gone, c.name) {
				up, down, n = up+held.Up, down+held.Down, n+1
			}
		}
		if limit := limits[id]; up > limit.up || down > limit.down || n > limit.calls {
			return false
		}
	}
	return true
}

func modelVictims(model []modelCall, rank int, rates map[site.ID]line.Rate, limits map[site.ID]modelLine) (best []modelCall, possible bool) {
	if fits(model, nil, rates, limits) {
		return nil, true
	}
	if rank == 1 {
		return nil, false
	}
	var lower []modelCall
	for _, c := range model {
		if c.rank < rank && fits(nil, nil, rates, limits) {
			lower = append(lower, c)
		}
	}
	for set := range 1 << len(lower) {
		var gone []modelCall
		var names []string
		for i, c := range lower {
			if set&(1<<i) != 0 {
				gone, names = append(gone, c), append(names, c.name)
			}
		}
		if (!possible || slices.Compare(counts(gone), counts(best)) < 0) && fits(model, names, rates, limits) {
			best, possible = gone, true
		}
	}
	return best, possible
}

// counts is how many of each rank, the highest first: what is to be as small as possible.
func counts(calls []modelCall) []int {
	n := make([]int, 6)
	for _, c := range calls {
		n[len(n)-1-c.rank]++
	}
	return n
}

func checkVictims(rt *rapid.T, model []modelCall, gone []string, want []modelCall, rates map[site.ID]line.Rate, limits map[site.ID]modelLine, exact bool) {
	var got []modelCall
	for _, c := range model {
		if slices.Contains(gone, c.name) {
			got = append(got, c)
		}
	}
	if len(got) != len(gone) {
		rt.Fatalf("%v gave way, some of them unknown", gone)
	}
	highest := func(calls []modelCall) int {
		if len(calls) == 0 {
			return 0
		}
		return slices.MaxFunc(calls, func(a, b modelCall) int { return cmp.Compare(a.rank, b.rank) }).rank
	}
	switch {
	case highest(got) != highest(want):
		rt.Fatalf("%v gave way, the model takes %v", got, want)
	case exact && !slices.Equal(counts(got), counts(want)):
		rt.Fatalf("%v gave way, the model takes %v", got, want)
	}
	for _, c := range got { // nobody in vain, and no older one where a newer one of its rank would have done as well
		if fits(model, slices.DeleteFunc(slices.Clone(gone), func(n string) bool { return n == c.name }), rates, limits) {
			rt.Fatalf("%s gave way in vain, among %v", c.name, gone)
		}
		if !exact {
			continue
		}
		for _, newer := range model {
			if newer.rank == c.rank && newer.name > c.name && !slices.Contains(gone, newer.name) && newer.rates["branch1"].Up == c.rates["branch1"].Up {
				rt.Fatalf("%s gave way, %s is newer and as large", c.name, newer.name)
			}
		}
	}
}
