package anchor

import (
	"maps"
	"slices"

	"linehall/media/line"
	"linehall/media/sdp"
)

// Serve books what we send to a party of the call, or receive from it, ourselves: hold music, a prompt, a recording of a
// direct call. It comes on top of the paths and stays until Unserve with the same key; serving a key again replaces it.
// On a *line.Refused nothing has changed, and the party hears silence.
func (c *Call) Serve(key string, to Party, sent, received sdp.Stream) error {
	before, had := c.served[key]
	c.served[key] = []line.Demand{c.anchor.demand(to, received, sent)}
	if err := c.reserve(); err != nil {
		delete(c.served, key)
		if had {
			c.served[key] = before
		}
		return err //nolint:wrapcheck // *line.Refused says it all
	}
	return nil
}

// Unserve gives back what Serve booked.
func (c *Call) Unserve(key string) {
	if _, served := c.served[key]; served {
		delete(c.served, key)
		c.trim()
	}
}

// Served returns the keys of what is served now.
func (c *Call) Served() []string { return slices.Sorted(maps.Keys(c.served)) }

// demand is what streams up and down a party's line take of it.
func (a *Anchor) demand(p Party, up, down sdp.Stream) line.Demand {
	return line.Demand{Site: p.Site, Rate: line.Rate{
		Up:   a.o.Ledger.WireRate(p.Site, up.PacketsPerSecond, up.BytesPerPacket),
		Down: a.o.Ledger.WireRate(p.Site, down.PacketsPerSecond, down.BytesPerPacket),
	}}
}

// Reroute makes the path run another way from the next offer on; until that is answered, everything stays as it is. A
// relayed path inside one site takes of its line up and down, for each party. A path between sites cannot be direct:
// all lines meet at headquarters.
func (p *Path) Reroute(kind Kind) {
	if kind == Direct && !p.local() {
		return
	}
	p.next = kind
}

// Hairpin returns what the path would take of the lines of its parties if it were led through headquarters, as it was
// last agreed; nothing before that.
func (p *Path) Hairpin() []line.Demand {
	if p.agreed == nil {
		return nil
	}
	return p.demandsOf(p.agreed.traffic)
}
