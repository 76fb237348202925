package anchor

import "linehall/media/relay"

// Tap has t see the sound of the path as long as it is relayed, whatever is agreed later; nil ends it.
func (p *Path) Tap(t relay.Tap) {
	p.ear = t
	p.show()
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
	for _, s := range p.agreed.streams {
		if s == nil || s.shown == nil && p.ear == nil && s.diverted == nil && p.detour == nil {
			continue
		}
		t, d := p.ear, p.detour
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
