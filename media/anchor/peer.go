package anchor

import (
	"net/netip"

	"linehall/media/relay"
	"linehall/media/sdp"
)

// peer is what one side said about one m-line; it is kept across restarts.
type peer struct {
	RTP         netip.AddrPort   `json:"rtp,omitzero"`
	RTCP        netip.AddrPort   `json:"rtcp,omitzero"`
	Held        bool             `json:"held,omitempty"`
	Secure      bool             `json:"secure,omitempty"`
	ECN         bool             `json:"ecn,omitempty"`
	Clocks      map[uint8]uint32 `json:"clocks,omitempty"`
	LatchedRTP  netip.AddrPort   `json:"latched_rtp,omitzero"` // only in a saved state
	LatchedRTCP netip.AddrPort   `json:"latched_rtcp,omitzero"`
}

// newPeer reads a media section.
func newPeer(m *sdp.Media) peer {
	p := peer{Secure: m.IsSecure(), Clocks: map[uint8]uint32{}}
	p.RTP, _ = m.Target()
	p.RTCP, _ = m.RTCP()
	_, p.ECN = m.Attribute("ecn-capable-rtp") // RFC 6679 §6.1
	if a := m.Address(); a.IsValid() && a.IsUnspecified() {
		p.Held = true
	}
	for _, c := range m.Codecs() {
		p.Clocks[c.PayloadType] = uint32(c.ClockRate) //nolint:gosec // sdp bounds it
	}
	return p
}

// relayPeer is the form that the relay takes; source is where the party's signalling comes from.
func (p peer) relayPeer(source netip.Addr) relay.Peer {
	r := relay.Peer{
		RTP: p.RTP, RTCP: p.RTCP, Source: source, Held: p.Held, Secure: p.Secure, ECN: p.ECN,
		LatchedRTP: p.LatchedRTP, LatchedRTCP: p.LatchedRTCP,
	}
	for pt, clock := range p.Clocks {
		r.Clocks[pt&0x7f] = clock
	}
	return r
}
