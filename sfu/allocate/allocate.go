// Package allocate divides what the lines have left for video over everyone behind them: which layers each publisher sends at
// which rate, and which layer each picture shows. It is a pure function of the wishes and the budgets; nothing is kept between
// two calls.
//
// The order of giving: everyone's lowest layer first, shared screens before cameras, then step by step the higher layers, the
// largest pictures and the widest lines first. On a line that is too narrow for a layer at its full frame rate, a picture
// gets fewer of its temporal layers, then the lowest layer, then the base of the lowest layer, then a still picture. A
// publisher's lowest layer is never switched off (design: the floor).
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
	// Shares are the parts of the rate that the temporal layers take up to each of them, ascending and ending with 1; none:
	// the layer has one temporal layer, or it is not known yet.
	Shares []float64
}

// AllTemporal is the temporal limit of a view that gets every frame.
const AllTemporal = uint8(3)

// Stream is a camera or a shared screen.
type Stream struct {
	Site    string
	Content bool
	Steps   []Step
	// StillBps is what one viewer's still picture of it takes on the wire, and sending it up; 0: there are none of it.
	StillBps int64
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
	Rates    [][]int64 // per stream and step: the rate to send at, 0: switch it off
	Views    []int     // per view: the step to show, -1: none
	Temporal []uint8   // per view: the highest temporal layer to show, AllTemporal: every frame
	Stills   []bool    // per view without a step: a still picture in its place
	Taken    []int64   // per view: what it takes of its viewer's line, a still included
	Used     map[string]Budget
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
	p.result = Result{
		Rates: make([][]int64, len(streams)), Views: make([]int, len(views)), Temporal: make([]uint8, len(views)),
		Stills: make([]bool, len(views)), Taken: make([]int64, len(views)), Used: map[string]Budget{},
	}
	p.floor()
	order := p.order()
	p.lowest(order)
	p.stills(order)
	for range 2 { // a step that nobody shows any more frees its uplink for a second round
		for step := 1; step < 3; step++ {
			p.raise(order, step)
		}
		p.prune()
	}
	p.grow()
	p.smooth(order)
	for i := range views {
		p.result.Taken[i] = p.now(i)
	}
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

// cost is what a view takes at a step with the temporal layers up to a limit.
func (p *plan) cost(view, step int, temporal uint8) int64 {
	stream := p.views[view].Stream
	rate := p.result.Rates[stream][step]
	shares := p.streams[stream].Steps[step].Shares
	if int(temporal) >= len(shares)-1 {
		return rate
	}
	return int64(float64(rate) * shares[temporal])
}

// now is what a view takes.
func (p *plan) now(view int) int64 {
	switch {
	case p.result.Stills[view]:
		return p.streams[p.views[view].Stream].StillBps
	case p.result.Views[view] < 0:
		return 0
	}
	return p.cost(view, p.result.Views[view], p.result.Temporal[view])
}

// show gives a view what fits of a step, with as many temporal layers as fit but not fewer than the least; false: nothing
// fits, nothing is changed.
func (p *plan) show(view, step int, least uint8) bool {
	site := p.views[view].Site
	free := left(p.down, site) + p.now(view)
	shares := p.streams[p.views[view].Stream].Steps[step].Shares
	for t := AllTemporal; ; t-- {
		if cost := p.cost(view, step, t); cost <= free && (t == AllTemporal || int(t) < len(shares)-1) {
			take(p.down, site, cost-p.now(view))
			p.result.Views[view], p.result.Temporal[view] = step, t
			return true
		}
		if t <= least {
			return false
		}
	}
}

// floor gives every stream its lowest step, at a lower rate if the uplink is short, or if the line of one that watches it does
// not even carry the base of all its pictures.
func (p *plan) floor() {
	count, seen := map[string]int64{}, map[string]int64{}
	for _, s := range p.streams {
		count[s.Site]++
	}
	for _, v := range p.views {
		if len(p.streams[v.Stream].Steps) > 0 {
			seen[v.Site]++
		}
	}
	for i, s := range p.streams {
		p.result.Rates[i] = make([]int64, len(s.Steps))
		if len(s.Steps) == 0 {
			continue
		}
		low := s.Steps[0]
		rate := min(low.Bps, left(p.up, s.Site)/count[s.Site])
		base := 1.0
		if len(low.Shares) > 0 {
			base = low.Shares[0]
		}
		for _, v := range p.views {
			if share := left(p.down, v.Site); v.Stream == i && !s.Content && share < Unlimited {
				rate = min(rate, int64(float64(share/seen[v.Site])/base))
			}
		}
		p.result.Rates[i][0] = max(rate, min(low.MinBps, low.Bps))
	}
	for i, s := range p.streams { // after all shares were measured
		if len(s.Steps) > 0 {
			take(p.up, s.Site, p.result.Rates[i][0])
		}
	}
}

// order puts shared screens before cameras, and the larger picture before the smaller.
func (p *plan) order() []int {
	order := make([]int, len(p.views))
	for i := range order {
		order[i] = i
		p.result.Views[i], p.result.Temporal[i] = -1, AllTemporal
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

// lowest gives every view the base of the lowest step as far as the line goes, and then what is between the base and every
// frame. What comes later in the order keeps room for its stills.
func (p *plan) lowest(order []int) {
	stills := map[string]int64{}
	for _, v := range p.views {
		stills[v.Site] += p.streams[v.Stream].StillBps
	}
	for _, i := range order {
		v := p.views[i]
		still := p.streams[v.Stream].StillBps
		stills[v.Site] -= still
		if len(p.result.Rates[v.Stream]) == 0 {
			continue
		}
		if cost := p.cost(i, 0, 0); cost+stills[v.Site] <= left(p.down, v.Site) {
			take(p.down, v.Site, cost)
			p.result.Views[i], p.result.Temporal[i] = 0, p.base(i)
		} else {
			stills[v.Site] += still
		}
	}
	p.reserveStills(1)
	p.smooth(order)
	p.reserveStills(-1)
}

// base is the temporal limit of the base of a view's lowest step.
func (p *plan) base(view int) uint8 {
	if len(p.streams[p.views[view].Stream].Steps[0].Shares) > 1 {
		return 0
	}
	return AllTemporal
}

// reserveStills keeps room for the stills of the views that show nothing (sign 1), or gives it back (-1).
func (p *plan) reserveStills(sign int64) {
	for i, v := range p.views {
		if p.result.Views[i] < 0 {
			take(p.down, v.Site, sign*p.streams[v.Stream].StillBps)
		}
	}
}

// stills gives a still picture to the views that show nothing, as far as both lines carry it.
func (p *plan) stills(order []int) {
	sent := map[int]bool{}
	for _, i := range order {
		v := p.views[i]
		s := p.streams[v.Stream]
		if p.result.Views[i] >= 0 || s.StillBps == 0 || left(p.down, v.Site) < s.StillBps || !sent[v.Stream] && left(p.up, s.Site) < s.StillBps {
			continue
		}
		if !sent[v.Stream] {
			sent[v.Stream] = true
			take(p.up, s.Site, s.StillBps)
		}
		take(p.down, v.Site, s.StillBps)
		p.result.Stills[i] = true
	}
}

// smooth gives views that lack temporal layers as many as fit.
func (p *plan) smooth(order []int) {
	for _, i := range order {
		if step := p.result.Views[i]; step >= 0 && p.result.Temporal[i] < AllTemporal {
			p.show(i, step, p.result.Temporal[i]+1)
		}
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
	if rates[step] == 0 { // nobody shows it yet: it would have to be sent
		rate := min(s.Steps[step].Bps, left(p.up, s.Site), left(p.down, v.Site)+p.now(i))
		if rate < s.Steps[step].MinBps {
			return
		}
		take(p.up, s.Site, rate)
		rates[step] = rate
	}
	// Half the frames of a larger picture are better than all of a smaller one; a quarter are not.
	p.show(i, step, uint8(max(0, len(s.Steps[step].Shares)-2))) //nolint:gosec // at most 4 temporal layers
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
			viewers := map[string]float64{} // what each site would take of one bit/s more
			rounded := map[string]int64{}   // and how much more than that by rounding
			for v, shown := range p.result.Views {
				if p.views[v].Stream == i && shown == step {
					part := p.part(v, step)
					viewers[p.views[v].Site] += part
					if part < 1 {
						rounded[p.views[v].Site]++
					}
				}
			}
			for id, part := range viewers {
				if free := left(p.down, id); free < Unlimited {
					more = min(more, int64(float64(free-rounded[id])/part))
				}
			}
			if more <= 0 {
				continue
			}
			take(p.up, s.Site, more)
			p.reprice(i, step, -1)
			p.result.Rates[i][step] += more
			p.reprice(i, step, 1)
		}
	}
}

// reprice takes the cost of a step's views from their lines (sign 1), or gives it back (-1).
func (p *plan) reprice(stream, step int, sign int64) {
	for v, shown := range p.result.Views {
		if p.views[v].Stream == stream && shown == step {
			take(p.down, p.views[v].Site, sign*p.now(v))
		}
	}
}

// part is the share of a step's rate that a view takes.
func (p *plan) part(view, step int) float64 {
	shares := p.streams[p.views[view].Stream].Steps[step].Shares
	if t := int(p.result.Temporal[view]); t < len(shares) {
		return shares[t]
	}
	return 1
}
