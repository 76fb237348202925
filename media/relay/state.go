package relay

import (
	"net/netip"
)

// state is what a socket knows of its party. It is immutable: the reading goroutine (latching) and Expect (signalling)
// replace it by compare-and-swap, so neither overwrites what the other just learnt.
type state struct {
	signalled netip.AddrPort // invalid: not known yet
	source    netip.Addr     // host of its signalling
	latched   netip.AddrPort // where its packets come from; invalid: nothing came yet
	held      bool
	secure    bool
	security  Security // nil: packets pass as they are
	tap       Tap      // nil: nobody looks on
	detour    Detour   // nil: packets go straight to the other party
	aside     bool     // there is a tap or a detour
	clocks    *[128]uint32
	to        sockaddr // where packets for the party go; size 0: nowhere
}

// unknown is the state before signalling said anything.
func unknown() *state { return &state{clocks: new([128]uint32)} }

// next is the state after signalling said p. The latch goes when the party moved.
func (s *state) next(p Peer, kind int, v6 bool) *state {
	n := &state{
		signalled: s.signalled, latched: s.latched, source: p.Source.Unmap(), held: p.Held, secure: p.Secure,
		clocks: &p.Clocks, security: p.Security, tap: s.tap, detour: s.detour, aside: s.aside,
	}
	said, restored := p.RTP, p.LatchedRTP
	if kind == kindRTCP {
		said, restored = p.RTCP, p.LatchedRTCP
	}
	if said.IsValid() && !p.Held {
		n.signalled = unmap(said)
		if s.signalled.IsValid() && s.signalled != n.signalled {
			n.latched = netip.AddrPort{}
		}
	}
	if restored.IsValid() && !n.latched.IsValid() { // what the kernel carried meanwhile is newer
		n.latched = unmap(restored)
	}
	if n.latched.IsValid() && !n.expects(n.latched.Addr()) {
		n.latched = netip.AddrPort{}
	}
	return n.aim(v6)
}

// latch is the state after a packet of the party came from there.
func (s *state) latch(from netip.AddrPort, v6 bool) *state {
	n := *s
	n.latched = from
	return n.aim(v6)
}

// aim sets where packets for the party go: to where it sends from, else to where it said; to nowhere on hold.
func (s *state) aim(v6 bool) *state {
	to := s.latched
	if !to.IsValid() {
		to = s.signalled
	}
	s.to = sockaddr{}
	if to.IsValid() && !s.held {
		s.to = newSockaddr(to, v6)
	}
	return s
}

// expects reports whether the party may send from that host.
func (s *state) expects(host netip.Addr) bool {
	return s.signalled.IsValid() && host == s.signalled.Addr() || s.source.IsValid() && host == s.source
}

// verdict is what becomes of a packet.
type verdict uint8

const (
	pass    verdict = iota
	latch           // pass, and its source is the party from now on
	foreign         // drop: not the party's
)

// judge decides about a packet that did not come from where the last one did:
//
//	from a host that signalling did not name           drop
//	nothing came before                                 latch: the first source wins
//	from exactly the signalled address                  latch: nothing is better than that
//	carries on the party's stream that fell silent      latch: a NAT chose another port (proof)
//	anything else                                       drop: it could be anybody on that host or behind that NAT
//
// proof is asked only where it matters.
func (s *state) judge(from netip.AddrPort, proof func() bool) verdict {
	switch {
	case from == s.latched:
		return pass
	case !s.expects(from.Addr()):
		return foreign
	case !s.latched.IsValid(), from == s.signalled:
		return latch
	case proof():
		return latch
	default:
		return foreign
	}
}

func unmap(a netip.AddrPort) netip.AddrPort {
	return netip.AddrPortFrom(a.Addr().Unmap().WithZone(""), a.Port())
}
