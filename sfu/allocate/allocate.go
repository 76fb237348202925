// Package allocate divides what the lines have left for video over everyone behind them: which layers each publisher sends at
// which rate, and which layer each picture shows. It is a pure function of the wishes and the budgets; nothing is kept between
// two calls.
//
// The order of giving: everyone's lowest layer first, shared screens before cameras, then step by step the higher layers, the
// largest pictures and the widest lines first. A publisher's lowest layer is never switched off (design: the floor).
package allocate

import (
	"cmp"
	"slices"
)

// Unlimited is a budget that never ends: a site without a line.
const Unlimited = int64(1) << 50

// Step is one layer that a publisher can send, lowest first.
type Step struct {
	RID    string
	Height int
	Bps    int64 // what looks good, on the wire
	MinBps int64 // below this the next lower step looks better
}

// Stream is a camera or a shared screen.
type Stream struct {
	Site    string
	Content bool
	Steps   []Step
}

// View is a picture wanted by somebody.
type View struct {
	Stream int    // index into the streams
	Site   string // of the viewer
	Height int    // of the picture on the screen
}

// Budget is what a site's line has left, in bit/s on the wire.
type Budget struct{ Up, Down int64 }

// Result says what to do.
type Result struct {
	Rates [][]int64 // per stream and step: the rate to send at, 0: switch it off
	Views []int     // per view: the step to show, -1: none
	Used  map[string]Budget
}

// plan is the state of one division.
type plan struct {
	streams []Stream
	views   []View
	up      map[string]int64
	down    map[string]int64
	result  Result
}

// Divide makes the plan. Sites without an entry have no line.
func Divide(budgets map[string]Budget, streams []Stream, views []View) Result {
	p := &plan{streams: streams, views: views, up: map[string]int64{}, down: map[string]int64{}}
	for id, b := range budgets {
		p.up[id], p.down[id] = b.Up, b.Down
	}
	p.result = Result{Rates: make([][]int64, len(streams)), Views: make([]int, len(views)), Used: map[string]Budget{}}
	p.floor()
	order := p.order()
	p.lowest(order)
	for range 2 { // a step that nobody shows any more frees its uplink for a second round
		for step := 1; step < 3; step++ {
			p.raise(order, step)
		}
		p.prune()
	}
	p.grow()
	for id, b := range budgets {
		p.result.Used[id] = Budget{Up: b.Up - p.up[id], Down: b.Down - p.down[id]}
	}
	return p.result
}

func left(m map[string]int64, id string) int64 {
	if v, ok := m[id]; ok {
		return v
	}
	return Unlimited
}

func take(m map[string]int64, id string, bps int64) {
	if _, ok := m[id]; ok {
		m[id] -= bps
	}
}

// floor gives every stream its lowest step, at a lower rate if the uplink is short.
func (p *plan) floor() {
	count := map[string]int64{}
	for _, s := range p.streams {
		count[s.Site]++
	}
	share := map[string]int64{}
	for id, n := range count {
		share[id] = left(p.up, id) / n
	}
	for i, s := range p.streams {
		p.result.Rates[i] = make([]int64, len(s.Steps))
		if len(s.Steps) == 0 {
			continue
		}
		low := s.Steps[0]
		rate := max(min(low.Bps, share[s.Site]), min(low.MinBps, low.Bps))
		p.result.Rates[i][0] = rate
		take(p.up, s.Site, rate)
	}
}

// order puts shared screens before cameras, and the larger picture before the smaller.
func (p *plan) order() []int {
	order := make([]int, len(p.views))
	for i := range order {
		order[i] = i
		p.result.Views[i] = -1
	}
	slices.SortStableFunc(order, func(a, b int) int {
		va, vb := p.views[a], p.views[b]
		if ca, cb := p.streams[va.Stream].Content, p.streams[vb.Stream].Content; ca != cb {
			if ca {
				return -1
			}
			return 1
		}
		return cmp.Compare(vb.Height, va.Height)
	})
	return order
}

func (p *plan) lowest(order []int) {
	for _, i := range order {
		v := p.views[i]
		rates := p.result.Rates[v.Stream]
		if len(rates) == 0 || rates[0] > left(p.down, v.Site) {
			continue
		}
		take(p.down, v.Site, rates[0])
		p.result.Views[i] = 0
	}
}

// raise lets views go up to a step. The widest lines come first: they set the rate that the step is sent at.
func (p *plan) raise(order []int, step int) {
	wide := slices.Clone(order)
	slices.SortStableFunc(wide, func(a, b int) int {
		return cmp.Compare(left(p.down, p.views[b].Site), left(p.down, p.views[a].Site))
	})
	for _, i := range wide {
		v := p.views[i]
		s := p.streams[v.Stream]
		now := p.result.Views[i]
		if now < 0 || now >= step || step >= len(s.Steps) || s.Steps[step-1].Height >= v.Height {
			continue
		}
		p.raiseOne(i, v, s, step)
	}
}

func (p *plan) raiseOne(i int, v View, s Stream, step int) {
	rates := p.result.Rates[v.Stream]
	free := left(p.down, v.Site) + rates[p.result.Views[i]]
	rate := rates[step]
	if rate == 0 { // nobody shows it yet: it would have to be sent
		rate = min(s.Steps[step].Bps, left(p.up, s.Site), free)
		if rate < s.Steps[step].MinBps {
			return
		}
		take(p.up, s.Site, rate)
		rates[step] = rate
	}
	if rate > free {
		return
	}
	take(p.down, v.Site, rate-rates[p.result.Views[i]])
	p.result.Views[i] = step
}

// prune switches off what nobody shows, except the lowest steps.
func (p *plan) prune() {
	shown := map[[2]int]bool{}
	for i, step := range p.result.Views {
		shown[[2]int{p.views[i].Stream, step}] = true
	}
	for i, rates := range p.result.Rates {
		for step := 1; step < len(rates); step++ {
			if rates[step] > 0 && !shown[[2]int{i, step}] {
				take(p.up, p.streams[i].Site, -rates[step])
				rates[step] = 0
			}
		}
	}
}

// grow raises the rates of steps that were squeezed and have room now, as far as the publisher and all viewers have it.
func (p *plan) grow() {
	for i, s := range p.streams {
		for step, rate := range p.result.Rates[i] {
			if rate == 0 || rate >= s.Steps[step].Bps {
				continue
			}
			more := min(s.Steps[step].Bps-rate, left(p.up, s.Site))
			viewers := map[string]int64{}
			for v, shown := range p.result.Views {
				if p.views[v].Stream == i && shown == step {
					viewers[p.views[v].Site]++
				}
			}
			for id, n := range viewers {
				more = min(more, left(p.down, id)/n)
			}
			if more <= 0 {
				continue
			}
			take(p.up, s.Site, more)
			for id, n := range viewers {
				take(p.down, id, more*n)
			}
			p.result.Rates[i][step] += more
		}
	}
}
