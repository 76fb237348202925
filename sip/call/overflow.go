package call

import (
	"log/slog"

	"linehall/internal/observe"
	"linehall/internal/site"
	"linehall/sip/route"
	"linehall/sip/stack"
)

// The way around the lines: a call to one extension that a line cannot take, because it is full or
// down, goes over a trunk, as the numbers of the extension's site are called there
// (site.Overflow). A caller in a branch tries its own site's trunk first: a gateway in the branch
// needs no line at all.
//
// Calls that came in over a trunk never leave by one this way: the public network might bring
// them back, again and again. Emergency calls need no way around.

// Lines is the ledger of the leased lines, as far as calls ask it (media/line).
type Lines interface {
	Down(id site.ID) bool
	Overflowed(id site.ID)
}

// withWayAround gives the stages of a plan that ring one extension the way around the lines. The
// plan itself may be shared and is not written to.
func (c *call) withWayAround(first *route.Stage) *route.Stage {
	if c.emergency() || c.incoming != nil || c.s.o.Trunks == nil {
		return first
	}
	done := map[*route.Stage]*route.Stage{}
	var walk func(s *route.Stage) *route.Stage
	walk = func(s *route.Stage) *route.Stage {
		if s == nil || done[s] != nil {
			return done[s]
		}
		out := *s
		done[s] = &out
		for _, edge := range []**route.Stage{&out.Busy, &out.NoAnswer, &out.Unreachable, &out.Failed, &out.Full} {
			*edge = walk(*edge)
		}
		c.goAround(&out)
		return &out
	}
	return walk(first)
}

// goAround sets the edges of one stage.
func (c *call) goAround(s *route.Stage) {
	if s.Outside != nil || len(s.Extensions) != 1 || s.Full != nil {
		return
	}
	t, known := c.s.o.Directory.ByExtension(s.Extensions[0])
	if !known {
		return
	}
	there, here := t.Site, site.ID(c.rec.FromSite)
	if bindings := c.s.o.Locations.Lookup(c.s.aor(t.Extension)); len(bindings) > 0 {
		there = c.s.siteOf(bindings[0].Flow, t.Site)
	}
	home, _ := c.s.o.Sites.Site(t.Site) // whose numbers the extension belongs to, wherever its phone is today
	if there == here || home.Overflow == nil {
		return
	}
	way := c.overTrunk(home.Overflow.Trunk, home.Overflow.Number(t.Extension), there)
	if own, _ := c.s.o.Sites.Site(here); own.Line != nil && own.Overflow != nil && own.Overflow.Trunk != home.Overflow.Trunk {
		first := c.overTrunk(own.Overflow.Trunk, home.Overflow.Number(t.Extension), there)
		first.Full, first.Unreachable = way, way
		way = first
	}
	s.Full = way
	if s.Unreachable == nil && c.s.o.Lines != nil && c.s.o.Lines.Down(there) {
		s.Unreachable = way // its phones may have expired meanwhile
	}
}

func (c *call) overTrunk(trunk, number string, there site.ID) *route.Stage {
	s := &route.Stage{Outside: &route.Outside{Trunks: []string{trunk}, Number: number, AsDialled: number}}
	if c.ways == nil {
		c.ways = map[*route.Stage]site.ID{}
	}
	c.ways[s] = there
	return s
}

// overflowed notes that a stage is a way around a line: the one that had no room, or that of the
// site that is down.
func (c *call) overflowed(stage *route.Stage) {
	line, around := c.ways[stage]
	if !around || c.rec.Overflow != "" {
		return
	}
	for _, b := range c.branches {
		if b.refuse.full {
			line = b.refuse.site
		}
	}
	c.rec.Overflow = string(line)
	c.log.Info("call goes around a line", slog.String(observe.Site, string(line)), slog.Any("trunks", stage.Outside.Trunks))
	if c.s.o.Lines != nil {
		c.s.o.Lines.Overflowed(line)
	}
}

// foreign reports whether a gateway's media must pass us, so that its network learns nothing of
// ours. A gateway at an address of a branch is the branch's own: a call to it from there must not
// cross the line twice.
func (s *Service) foreign(flow stack.Flow) bool {
	id, known := s.o.Sites.Locate(flow.Remote.Addr())
	if !known {
		return true
	}
	place, _ := s.o.Sites.Site(id)
	return place.Line == nil
}
