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
	for _, kind := range []Kind{Direct, Relayed, Gateway} {
		a.agreed.WithLabelValues(string(kind))
	}
	if o.Registerer != nil {
		o.Registerer.MustRegister(a.agreed)
	}
	return a
}

// Call is the media of one call: a path per branch, what is served to its parties, and one lease on the lines for all
// of them together.
type Call struct {
	anchor *Anchor
	log    *slog.Logger
	class  line.Class // of the lease
	caller Party
	paths  []*Path // that are open
	served map[string][]line.Demand
	kept   *Path // the one whose stats Close returns
	lease  *line.Lease
	web    party
	closed bool
}

// Open begins a call; nothing is reserved before the first offer. The holder's name is the call's id.
func (a *Anchor) Open(h line.Holder, caller Party) *Call {
	lease := a.o.Ledger.Open(h)
	return &Call{
		anchor: a, log: a.o.Log.With(observe.CallID, h.Name), class: lease.Class(), caller: caller.normal(),
		served: map[string][]line.Demand{}, lease: lease,
	}
}

// Branch opens a path to one target. Its kind is decided here: direct when both parties are at the same known site and
// speak the same version of IP.
func (c *Call) Branch(key string, callee Party) *Path {
	p := newPath(c, key, callee)
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
	c.keep(p)
}

// Close ends all paths, gives the reservation back and returns the last stats of the path that was kept, or of the
// first one. It may be called more than once.
func (c *Call) Close() [2]LegStats {
	if !c.closed {
		c.closed = true
		for _, p := range slices.Clone(c.paths) {
			p.Close()
		}
		if c.web.leg != nil {
			c.web.leg.Close()
		}
		c.lease.Release()
	}
	if c.kept == nil {
		return [2]LegStats{{Side: Caller, Site: c.caller.Site}, {Side: Callee}}
	}
	return c.kept.Stats()
}

// reserve adjusts the lease to what the paths want now: on each line the most that one branch takes, since only one
// will be answered. Less important calls may have to give way.
func (c *Call) reserve() error { return c.lease.Resize(c.demands()...) }

// try is a reserve for which nobody has to give way.
func (c *Call) try() error { return c.lease.Try(c.demands()...) }

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
	for _, served := range c.served {
		for _, d := range served {
			if _, known := most[d.Site]; !known {
				order = append(order, d.Site)
			}
			most[d.Site] = most[d.Site].Plus(d.Rate)
		}
	}
	slices.Sort(order) // the refusal names the same line every time
	out := make([]line.Demand, 0, len(order))
	for _, id := range order {
		out = append(out, line.Demand{Site: id, Rate: most[id]})
	}
	return out
}

// trim adjusts the lease where it should only shrink. That it cannot is nothing to fail an answered call for, nor to end
// somebody else's.
func (c *Call) trim() {
	if err := c.try(); err != nil && !errors.Is(err, line.ErrReleased) && !errors.Is(err, line.ErrPreempted) {
		c.log.Warn("answered media exceeds what was reserved", observe.Err, err)
	}
}
