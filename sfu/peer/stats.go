package peer

import (
	"net/netip"
	"time"

	"github.com/pion/rtcp"

	"linehall/internal/observe"
	"linehall/sfu/forward"
)

// Stats are a participant's figures, of the last second where they are rates.
type Stats struct {
	Remote       netip.AddrPort // of the publish connection, or of the subscribe connection if that is the only one
	Transport    string         // "udp" or "tcp"
	RTT          time.Duration
	PublishBps   int64 // on the wire, IP included
	SubscribeBps int64
	LossFraction float64 // the worse direction
	Layers       []forward.LayerStats
	octets       uint64
	at           time.Time
}

// report sends the reports that are due every second and takes the figures.
func (p *Peer) report(now time.Time) {
	old := p.stats.Load()
	next := &Stats{at: now}
	if u := p.Uplink(); u != nil && (p.publish != nil || p.voice) {
		if p.publish != nil {
			p.measureRTT(next, p.publish)
		}
		if next.RTT > 0 {
			u.SetRTT(next.RTT)
		}
		next.Layers = u.Report(now)
		for _, l := range next.Layers {
			next.PublishBps += l.BitrateBps
			next.LossFraction = max(next.LossFraction, l.LossFraction)
		}
	}
	if p.subscribe != nil {
		if !next.Remote.IsValid() {
			p.measureRTT(next, p.subscribe)
		}
		p.reportSlots(next, now)
	}
	if passed := now.Sub(old.at).Seconds(); !old.at.IsZero() && passed > 0 && next.octets >= old.octets {
		next.SubscribeBps = int64(float64(next.octets-old.octets) * 8 / passed)
	}
	p.stats.Store(next)
}

func (p *Peer) measureRTT(s *Stats, c *connection) {
	pair := c.pair()
	if pair == nil {
		return
	}
	s.Remote, s.Transport = remoteOf(pair), pair.Remote.Protocol.String()
	if ps, ok := c.ice().GetSelectedCandidatePairStats(); ok {
		s.RTT = time.Duration(ps.CurrentRoundTripTime * float64(time.Second))
	}
}

func (p *Peer) reportSlots(next *Stats, now time.Time) {
	var reports []rtcp.Packet
	for _, list := range [][]*forward.Slot{p.audio, p.video} {
		for _, s := range list {
			if r := s.Report(now); r != nil {
				reports = append(reports, r)
			}
			st := s.Stats(now)
			next.octets += st.Octets
			next.LossFraction = max(next.LossFraction, st.LossFraction)
		}
	}
	if len(reports) == 0 {
		return
	}
	if err := p.subscribe.pc.WriteRTCP(reports); err != nil {
		p.log.Debug("sender reports not sent", observe.Err, err)
	}
}
