package anchor

import (
	"net/netip"

	"linehall/media/relay"
)

// Tap has t see the sound of the path as long as it is relayed, whatever is agreed later; nil ends it.
func (p *Path) Tap(t relay.Tap) {
	p.ear = t
	p.show()
}

// Watch has t see the sound as well, before what Tap was given, and change nothing of it; nil ends it.
func (p *Path) Watch(t relay.Tap) {
	p.eye = t
	p.show()
}

// Reaches returns where the sound of a side's party comes from and where it reaches us; invalid: not known, or not here.
func (p *Path) Reaches(side Side) (party, local netip.AddrPort) {
	s := p.view.Load().main()
	if s == nil {
		return party, local
	}
	party, _ = s.relay.Latched(int(side))
	return party, netip.AddrPortFrom(p.parties[side].Local, s.relay.Port(int(side)))
}

// taps are two as one, called in this order.
type taps [2]relay.Tap

// Packet implements relay.Tap.
func (t taps) Packet(leg int, now int64, b []byte) {
	t[0].Packet(leg, now, b)
	t[1].Packet(leg, now, b)
}

// taps is who sees the sound: nobody, one, or two.
func (p *Path) taps() relay.Tap {
	switch {
	case p.eye == nil:
		return p.ear
	case p.ear == nil:
		return p.eye
	}
	return taps{p.eye, p.ear}
}

// Audible reports whether a tap would hear something of what is agreed: here is false when the media does not pass us,
// clear when the parties encrypt from end to end.
func (p *Path) Audible() (here, clear bool) {
	if p.agreed == nil || p.agreed.kind == Direct {
		return false, false
	}
	s := (&view{streams: p.agreed.streams}).main()
	if s == nil || !s.audio {
		return false, false
	}
	for side, said := range s.peers {
		if said.Secure && s.sessions[side] == nil {
			return true, false
		}
	}
	return true, true
}

// Divert leads the sound of the path elsewhere as long as it is relayed, whatever is agreed later; nil ends it.
func (p *Path) Divert(d relay.Detour) {
	p.detour = d
	p.show()
}

// Say sends a side's party an RTP packet of ours while the sound is led elsewhere; anybody may call it. b is borrowed.
func (p *Path) Say(side Side, b []byte) {
	if s := p.view.Load().main(); s != nil {
		s.relay.Say(int(side), b)
	}
}

// show gives the path's tap and its detour to the stream that stands for the call.
func (p *Path) show() {
	if p.agreed == nil {
		return
	}
	main := (&view{streams: p.agreed.streams}).main()
	ears := p.taps()
	for _, s := range p.agreed.streams {
		if s == nil || s.shown == nil && ears == nil && s.diverted == nil && p.detour == nil {
			continue
		}
		t, d := ears, p.detour
		if s != main || !s.audio {
			t, d = nil, nil
		}
		if s.shown != t {
			s.shown = t
			s.relay.Tap(t)
		}
		if s.diverted != d {
			s.diverted = d
			s.relay.Divert(d)
		}
	}
}
