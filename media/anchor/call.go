package anchor

import (
	"errors"
	"log/slog"
	"slices"

	"github.com/prometheus/client_golang/prometheus"

	"linehall/internal/observe"
	"linehall/internal/site"
	"linehall/media/line"
)

// Anchor opens calls.
type Anchor struct {
	o      Options
	agreed *prometheus.CounterVec
}

// New returns an anchor; it starts nothing. It registers linehall_media_paths_total.
func New(o Options) *Anchor {
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	a := &Anchor{o: o, agreed: prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "linehall_media_paths_total", Help: "Media paths of calls on which both sides agreed, by how they run.",
	}, []string{"path"})}
	for _, kind := range []Kind{Direct, Relayed} {
		a.agreed.WithLabelValues(string(kind))
	}
	if o.Registerer != nil {
		o.Registerer.MustRegister(a.agreed)
	}
	return a
}

// Call is the media of one call: a path per branch, and one lease on the lines for all of them together.
type Call struct {
	anchor *Anchor
	log    *slog.Logger
	class  line.Class
	caller Party
	paths  []*Path // that are open
	kept   *Path   // the one whose stats Close returns
	lease  *line.Lease
	closed bool
}

// Open begins a call; nothing is reserved before the first offer.
func (a *Anchor) Open(callID string, class line.Class, caller Party) *Call {
	return &Call{anchor: a, log: a.o.Log.With(observe.CallID, callID), class: class, caller: caller.normal()}
}

// Branch opens a path to one target. Its kind is decided here: direct when both parties are at the same known site and
// speak the same version of IP.
func (c *Call) Branch(key string, callee Party) *Path {
	kind := Relayed
	if c.caller.Site == callee.Site && callee.Site != "" && c.caller.Local.Is4() == callee.normal().Local.Is4() {
		kind = Direct
	}
	p := newPath(c, key, callee, kind)
	c.paths = append(c.paths, p)
	if c.kept == nil {
		c.kept = p
	}
	return p
}

// Keep closes all other branches: p was answered.
func (c *Call) Keep(p *Path) {
	for _, o := range slices.Clone(c.paths) {
		if o != p {
			o.Close()
		}
	}
	c.kept = p
}

// Close ends all paths, gives the reservation back and returns the last stats of the path that was kept, or of the
// first one. It may be called more than once.
func (c *Call) Close() [2]LegStats {
	if !c.closed {
		c.closed = true
		for _, p := range slices.Clone(c.paths) {
			p.Close()
		}
		c.lease.Release()
	}
	if c.kept == nil {
		return [2]LegStats{{Side: Caller, Site: c.caller.Site}, {Side: Callee}}
	}
	return c.kept.Stats()
}

// reserve adjusts the lease to what the paths want now: on each line the most that one branch takes, since only one
// will be answered.
func (c *Call) reserve() error {
	demands := c.demands()
	if c.lease != nil {
		return c.lease.Resize(demands...)
	}
	if len(demands) == 0 {
		return nil
	}
	lease, err := c.anchor.o.Ledger.Reserve(c.class, demands...)
	if err != nil {
		return err
	}
	c.lease = lease
	return nil
}

func (c *Call) demands() []line.Demand {
	most := map[site.ID]line.Rate{}
	var order []site.ID
	for _, p := range c.paths {
		own := map[site.ID]line.Rate{}
		for _, d := range p.demands() {
			own[d.Site] = own[d.Site].Plus(d.Rate) // a call that is relayed inside one site crosses its line twice
		}
		for id, r := range own {
			if _, known := most[id]; !known {
				order = append(order, id)
			}
			most[id] = most[id].Max(r)
		}
	}
	slices.Sort(order) // the refusal names the same line every time
	out := make([]line.Demand, 0, len(order))
	for _, id := range order {
		out = append(out, line.Demand{Site: id, Rate: most[id]})
	}
	return out
}

// trim adjusts the lease where it should only shrink. That it cannot is nothing to fail an answered call for.
func (c *Call) trim() {
	if err := c.reserve(); err != nil && !errors.Is(err, line.ErrReleased) {
		c.log.Warn("answered media exceeds what was reserved", observe.Err, err)
	}
}
