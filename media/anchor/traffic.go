package anchor

import (
	"linehall/media/line"
	"linehall/media/sdp"
)

// traffic is what a path sends: one entry per m-line, and in it one stream per side that sends. RTCP, 0.3 % of a call,
// is not reserved.
type traffic [][2]sdp.Stream

// offered returns the worst that can come of an offer: the answer may choose any codec, and either packet time.
func offered(doc *sdp.Document) traffic {
	t := make(traffic, len(doc.Media()))
	for i, m := range doc.Media() {
		if usable(m) {
			worst := m.Worst(0).Worse(m.Worst(packetTime(m)))
			t[i] = [2]sdp.Stream{worst, worst}
		}
	}
	return t
}

// answered returns what an agreement can take: any codec of the answer, with the packet time that each side asked for.
func answered(offer, answer *sdp.Document, from Side) traffic {
	media, offers := answer.Media(), offer.Media()
	t := make(traffic, len(offers))
	for i, o := range offers {
		if i >= len(media) || !usable(o) || !usable(media[i]) {
			continue
		}
		t[i][from] = media[i].Worst(packetTime(o))
		t[i][from.Other()] = media[i].Worst(packetTime(media[i]))
	}
	return t
}

func packetTime(m *sdp.Media) int {
	ms, _ := m.PacketTime()
	return ms
}

// worst merges the states before and after an offer, of which either may hold.
func (t traffic) worst(o traffic) traffic {
	out := make(traffic, max(len(t), len(o)))
	for i := range out {
		for side := range out[i] {
			if i < len(t) {
				out[i][side] = t[i][side]
			}
			if i < len(o) {
				out[i][side] = out[i][side].Worse(o[i][side])
			}
		}
	}
	return out
}

// demands returns what the path takes of both parties' lines.
func (p *Path) demands() []line.Demand { return p.demandsOf(p.want) }

// demandsOf: what one side sends goes up its line and down the other one's.
func (p *Path) demandsOf(t traffic) []line.Demand {
	if len(t) == 0 {
		return nil
	}
	var out [2]line.Demand
	for side, party := range p.parties {
		out[side].Site = party.Site
		for _, sent := range t {
			d := p.call.anchor.demand(party, sent[side], sent[1-side])
			out[side].Rate = out[side].Rate.Plus(d.Rate)
		}
	}
	return out[:]
}
