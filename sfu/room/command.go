package room

import (
	"slices"
	"time"

	"linehall/media/line"
	"linehall/sfu/allocate"
	"linehall/sfu/forward"
	"linehall/sfu/signal"
)

// lineInterval bounds messages about the line.
const lineInterval = time.Second

// initialCommands let a new publisher begin with the lowest layer, before anyone is known to watch.
func (p *participant) initialCommands() signal.Commands {
	return signal.Commands{
		Codec: p.room.codec().String(),
		Camera: []signal.LayerCommand{
			{RID: forward.Low, Active: true, MaxBitrateBps: encoder(rate(forward.Low, cameraHeight/4, false).Bps)},
			{RID: forward.Medium, MaxBitrateBps: encoder(rate(forward.Medium, cameraHeight/2, false).Bps)},
			{RID: forward.High, MaxBitrateBps: encoder(rate(forward.High, cameraHeight, false).Bps)},
		},
		Content: signal.ContentCommand{MaxBitrateBps: encoder(rate("", contentHeight, true).Bps)},
	}
}

// encoder is the part of a rate on the wire that is the encoder's.
func encoder(wire int64) int64 {
	return int64(float64(max(0, wire-wireFrames))/wireShare) / roundBps * roundBps
}

// command tells a publisher what to send, if that changed.
func (p *participant) command(d *plan, budgets map[string]allocate.Budget) {
	c := p.initialCommands()
	_, narrow := budgets[string(p.site)]
	for i, s := range d.sources {
		if s.p != p {
			continue
		}
		for k, rid := range s.rids {
			bps := d.result.Rates[i][k]
			if s.kind == forward.Content {
				c.Content = signal.ContentCommand{Active: true, MaxBitrateBps: max(encoder(bps), roundBps)}
				continue
			}
			lingers := !narrow && d.now.Sub(p.needed[stepKey{s.kind, rid}]) < linger
			p.commandLayer(&c, rid, bps, k == 0 || lingers)
		}
	}
	p.noteAsked(c, d.now)
	if slices.Equal(c.Camera, p.sent.layers.Camera) && c.Content == p.sent.layers.Content && c.Codec == p.sent.layers.Codec {
		return
	}
	p.sent.layers = c
	p.send(signal.Layers{Type: "layers", Commands: c})
}

func (p *participant) commandLayer(c *signal.Commands, rid string, bps int64, keep bool) {
	for j := range c.Camera {
		if l := &c.Camera[j]; l.RID == rid || rid == "" && l.RID == forward.Low {
			l.Active = bps > 0 || keep
			if bps > 0 {
				l.MaxBitrateBps = max(encoder(bps), roundBps)
			}
		}
	}
}

// noteAsked remembers since when a layer is wanted without a break.
func (p *participant) noteAsked(c signal.Commands, now time.Time) {
	for _, l := range c.Camera {
		if !l.Active {
			delete(p.askedAt, l.RID)
		} else if _, ok := p.askedAt[l.RID]; !ok {
			p.askedAt[l.RID] = now
		}
	}
}

// The states of a line as its venue sees them.
const (
	lineGood      = "good"      // every picture as large as it could be
	lineTight     = "tight"     // some smaller than they could be
	lineCongested = "congested" // some not at all
	lineNone      = "none"      // the site has no line
)

// sendLine tells the venue how its line is, on change and not more than once a second.
func (p *participant) sendLine(d *plan, budgets map[string]allocate.Budget) {
	m := signal.Line{Type: "line", Site: string(p.site), State: lineNone}
	if b, ok := budgets[string(p.site)]; ok {
		m.State = lineGood
		for i, w := range d.wishes {
			switch {
			case w.p.site != p.site:
			case d.result.Views[i] < 0:
				m.State = lineCongested
			case limited(d, i) && m.State == lineGood:
				m.State = lineTight
			}
		}
		m.Up = signal.LineRate{CapacityBps: p.capacity(line.Up), VideoBps: b.Up / roundBps * roundBps}
		m.Down = signal.LineRate{CapacityBps: p.capacity(line.Down), VideoBps: b.Down / roundBps * roundBps}
	}
	if m == p.sent.line || d.now.Sub(p.sent.lineAt) < lineInterval {
		return
	}
	p.sent.line, p.sent.lineAt = m, d.now
	p.send(m)
}

func (p *participant) capacity(dir line.Direction) int64 {
	s, ok := p.room.manager.options.Atlas.Site(p.site)
	if !ok || s.Line == nil {
		return 0
	}
	if dir == line.Up {
		return s.Line.Up
	}
	return s.Line.Down
}
