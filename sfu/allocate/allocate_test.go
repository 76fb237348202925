package allocate_test

import (
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"linehall/sfu/allocate"
)

var steps = []allocate.Step{
	{RID: "l", Height: 180, Bps: 224_000, MinBps: 89_000},
	{RID: "m", Height: 360, Bps: 560_000, MinBps: 224_000},
	{RID: "h", Height: 720, Bps: 1_680_000, MinBps: 560_000},
}

func camera(site string) allocate.Stream { return allocate.Stream{Site: site, Steps: steps} }

func TestDivide(t *testing.T) {
	for _, tc := range []struct {
		name    string
		budgets map[string]allocate.Budget
		streams []allocate.Stream
		views   []allocate.View
		rates   [][]int64
		shown   []int
	}{
		{
			name:    "without a line everyone gets what the picture is worth",
			streams: []allocate.Stream{camera("hq"), camera("hq")},
			views:   []allocate.View{{Stream: 0, Site: "hq", Height: 720}, {Stream: 1, Site: "hq", Height: 200}},
			rates:   [][]int64{{224_000, 0, 1_680_000}, {224_000, 560_000, 0}},
			shown:   []int{2, 1},
		},
		{
			name:    "an unwatched camera sends its lowest layer only",
			streams: []allocate.Stream{camera("hq")},
			rates:   [][]int64{{224_000, 0, 0}},
			shown:   []int{},
		},
		{
			name:    "five pictures on 2 Mbit/s: one larger, four small",
			budgets: map[string]allocate.Budget{"b": {Up: 1_500_000, Down: 1_500_000}},
			streams: []allocate.Stream{camera("hq"), camera("hq"), camera("hq"), camera("hq"), camera("hq")},
			views: []allocate.View{
				{Stream: 0, Site: "b", Height: 720},
				{Stream: 1, Site: "b", Height: 180},
				{Stream: 2, Site: "b", Height: 180},
				{Stream: 3, Site: "b", Height: 180},
				{Stream: 4, Site: "b", Height: 180},
			},
			// 1.5 M less four small ones leave 604 k: below the least rate that is worth a high layer with 720 lines would
			// be 560 k, and 604 k fit.
			rates: [][]int64{{224_000, 0, 604_000}, {224_000, 0, 0}, {224_000, 0, 0}, {224_000, 0, 0}, {224_000, 0, 0}},
			shown: []int{2, 0, 0, 0, 0},
		},
		{
			name:    "a line too narrow for every lowest layer has it sent at a lower rate",
			budgets: map[string]allocate.Budget{"b": {Up: 500_000, Down: 500_000}},
			streams: []allocate.Stream{camera("hq"), camera("hq"), camera("hq")},
			views:   []allocate.View{{Stream: 0, Site: "b", Height: 180}, {Stream: 1, Site: "b", Height: 180}, {Stream: 2, Site: "b", Height: 180}},
			rates:   [][]int64{{166_668, 0, 0}, {166_666, 0, 0}, {166_666, 0, 0}},
			shown:   []int{0, 0, 0},
		},
		{
			name:    "a line too narrow for every lowest layer at its lowest rate shows fewer pictures",
			budgets: map[string]allocate.Budget{"b": {Up: 500_000, Down: 200_000}},
			streams: []allocate.Stream{camera("hq"), camera("hq"), camera("hq")},
			views:   []allocate.View{{Stream: 0, Site: "b", Height: 180}, {Stream: 1, Site: "b", Height: 180}, {Stream: 2, Site: "b", Height: 180}},
			rates:   [][]int64{{111_000, 0, 0}, {89_000, 0, 0}, {224_000, 0, 0}},
			shown:   []int{0, 0, -1},
		},
		{
			name:    "a narrow uplink squeezes the lowest layer, but never stops it",
			budgets: map[string]allocate.Budget{"b": {Up: 40_000, Down: 500_000}},
			streams: []allocate.Stream{camera("b")},
			views:   []allocate.View{{Stream: 0, Site: "hq", Height: 720}},
			rates:   [][]int64{{89_000, 0, 0}},
			shown:   []int{0},
		},
		{
			name:    "an uplink that carries the high layer alone does not keep the middle one",
			budgets: map[string]allocate.Budget{"b": {Up: 1_630_000, Down: 1_500_000}},
			streams: []allocate.Stream{camera("b")},
			views:   []allocate.View{{Stream: 0, Site: "hq", Height: 720}},
			rates:   [][]int64{{224_000, 0, 1_406_000}},
			shown:   []int{2},
		},
		{
			name:    "a shared screen comes before cameras",
			budgets: map[string]allocate.Budget{"b": {Up: 1_500_000, Down: 1_700_000}},
			streams: []allocate.Stream{camera("hq"), {Site: "hq", Content: true, Steps: []allocate.Step{{Height: 1080, Bps: 1_680_000, MinBps: 168_000}}}},
			views:   []allocate.View{{Stream: 0, Site: "b", Height: 720}, {Stream: 1, Site: "b", Height: 1080}},
			rates:   [][]int64{{224_000, 0, 0}, {1_680_000}},
			shown:   []int{-1, 0},
		},
	} {
		t.Run(tc.name, func(t *testing.T) {
			got := allocate.Divide(tc.budgets, tc.streams, tc.views)
			if d := cmp.Diff(tc.rates, got.Rates); d != "" {
				t.Errorf("rates (-want +got):\n%s", d)
			}
			if d := cmp.Diff(tc.shown, got.Views); d != "" {
				t.Errorf("views (-want +got):\n%s", d)
			}
		})
	}
}

// Three temporal layers as libwebrtc makes them, and two as native venues do.
var (
	three = []float64{0.4, 0.6, 1}
	two   = []float64{0.6, 1}
)

// The floor: fewer temporal layers, then the lowest layer, then its base, then a still picture.
func TestTheFloor(t *testing.T) {
	temporal := func(shares []float64, still int64) allocate.Stream {
		s := allocate.Stream{Site: "hq", StillBps: still}
		for _, step := range steps {
			step.Shares = shares
			s.Steps = append(s.Steps, step)
		}
		return s
	}
	wide := allocate.View{Stream: 0, Site: "hq", Height: 360}
	type shown struct {
		Step     int
		Temporal uint8
		Still    bool
	}
	all := allocate.AllTemporal
	for _, tc := range []struct {
		name    string
		down    int64
		streams []allocate.Stream
		views   []allocate.View
		want    []shown
	}{
		{"half the frames of the middle layer instead of all of the lowest", 340_000, []allocate.Stream{temporal(three, 0)}, []allocate.View{wide, {Site: "b", Height: 360}}, []shown{{1, all, false}, {1, 1, false}}},
		{"but not a quarter of them", 300_000, []allocate.Stream{temporal(three, 0)}, []allocate.View{wide, {Site: "b", Height: 360}}, []shown{{1, all, false}, {0, all, false}}},
		{"the lowest layer with fewer frames", 150_000, []allocate.Stream{temporal(three, 0)}, []allocate.View{{Site: "b", Height: 180}}, []shown{{0, 1, false}}},
		{"the base of the lowest layer", 100_000, []allocate.Stream{temporal(three, 0)}, []allocate.View{{Site: "b", Height: 180}}, []shown{{0, 0, false}}},
		{"two layers have a base and all frames", 150_000, []allocate.Stream{temporal(two, 0)}, []allocate.View{{Site: "b", Height: 180}}, []shown{{0, 0, false}}},
		{"stills keep their room beside a picture", 60_000, []allocate.Stream{temporal(three, 16_000), temporal(three, 16_000)}, []allocate.View{{Site: "b", Height: 180}, {Stream: 1, Site: "b", Height: 180}}, []shown{{0, 0, false}, {-1, all, true}}},
		{"stills only", 40_000, []allocate.Stream{temporal(three, 16_000), temporal(three, 16_000)}, []allocate.View{{Site: "b", Height: 180}, {Stream: 1, Site: "b", Height: 180}}, []shown{{-1, all, true}, {-1, all, true}}},
		{"not even a still", 10_000, []allocate.Stream{temporal(three, 16_000)}, []allocate.View{{Site: "b", Height: 180}}, []shown{{-1, all, false}}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			r := allocate.Divide(map[string]allocate.Budget{"b": {Down: tc.down}}, tc.streams, tc.views)
			var got []shown
			for i := range r.Views {
				got = append(got, shown{r.Views[i], r.Temporal[i], r.Stills[i]})
			}
			if d := cmp.Diff(tc.want, got); d != "" {
				t.Errorf("(-want +got):\n%s\nrates %v", d, r.Rates)
			}
			if used := r.Used["b"].Down; used > tc.down {
				t.Errorf("%d of %d", used, tc.down)
			}
		})
	}
}

// Whatever the wishes, no line gets more than it has (beyond lowest layers that may not be switched off), nothing is shown
// that is not sent, and every lowest layer is sent.
func TestDivideKeepsWithinTheLines(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		sites := []string{"hq", "a", "b"}
		budgets := map[string]allocate.Budget{}
		for _, id := range sites[1:] {
			budgets[id] = allocate.Budget{Up: rapid.Int64Range(0, 5e6).Draw(t, "up"), Down: rapid.Int64Range(0, 5e6).Draw(t, "down")}
		}
		var streams []allocate.Stream
		for range rapid.IntRange(1, 8).Draw(t, "streams") {
			s := allocate.Stream{Site: rapid.SampledFrom(sites).Draw(t, "site"), StillBps: rapid.SampledFrom([]int64{0, 16_000}).Draw(t, "still")}
			for _, step := range steps {
				step.Shares = rapid.SampledFrom([][]float64{nil, two, three}).Draw(t, "temporal")
				s.Steps = append(s.Steps, step)
			}
			streams = append(streams, s)
		}
		var views []allocate.View
		for range rapid.IntRange(0, 24).Draw(t, "views") {
			views = append(views, allocate.View{
				Stream: rapid.IntRange(0, len(streams)-1).Draw(t, "stream"), Site: rapid.SampledFrom(sites).Draw(t, "viewer"),
				Height: rapid.IntRange(1, 1080).Draw(t, "height"),
			})
		}
		r := allocate.Divide(budgets, streams, views)
		up, down, floor := map[string]int64{}, map[string]int64{}, map[string]int64{}
		for i, s := range streams {
			if r.Rates[i][0] <= 0 {
				t.Fatal("a lowest layer is switched off")
			}
			floor[s.Site] += s.Steps[0].MinBps
			for _, bps := range r.Rates[i] {
				up[s.Site] += bps
			}
		}
		stills := map[int]bool{}
		for i, step := range r.Views {
			s := streams[views[i].Stream]
			switch {
			case step >= 0:
				rate := r.Rates[views[i].Stream][step]
				if rate == 0 {
					t.Fatal("a layer is shown that is not sent")
				}
				if shares, limit := s.Steps[step].Shares, int(r.Temporal[i]); limit < len(shares) {
					rate = int64(float64(rate) * shares[limit])
				}
				down[views[i].Site] += rate
			case r.Stills[i]:
				down[views[i].Site] += s.StillBps
				if !stills[views[i].Stream] {
					stills[views[i].Stream] = true
					up[s.Site] += s.StillBps
				}
			}
		}
		for id, b := range budgets {
			if up[id] > max(b.Up, floor[id]) || down[id] > b.Down {
				t.Fatalf("%s: up %d of %d, down %d of %d", id, up[id], b.Up, down[id], b.Down)
			}
		}
	})
}
