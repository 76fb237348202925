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
			name:    "a line too narrow for every lowest layer shows fewer pictures",
			budgets: map[string]allocate.Budget{"b": {Up: 500_000, Down: 500_000}},
			streams: []allocate.Stream{camera("hq"), camera("hq"), camera("hq")},
			views:   []allocate.View{{Stream: 0, Site: "b", Height: 180}, {Stream: 1, Site: "b", Height: 180}, {Stream: 2, Site: "b", Height: 180}},
			rates:   [][]int64{{224_000, 0, 0}, {224_000, 0, 0}, {224_000, 0, 0}},
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
			streams = append(streams, camera(rapid.SampledFrom(sites).Draw(t, "site")))
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
		for i, step := range r.Views {
			if step >= 0 {
				if r.Rates[views[i].Stream][step] == 0 {
					t.Fatal("a layer is shown that is not sent")
				}
				down[views[i].Site] += r.Rates[views[i].Stream][step]
			}
		}
		for id, b := range budgets {
			if up[id] > max(b.Up, floor[id]) || down[id] > b.Down {
				t.Fatalf("%s: up %d of %d, down %d of %d", id, up[id], b.Up, down[id], b.Down)
			}
		}
	})
}
