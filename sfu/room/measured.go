package room

import (
	"linehall/media/line"
	"linehall/sfu/congestion"
	"linehall/sfu/forward"
)

// measured is how a participant shows what its site's line carries: what it receives, and what comes from it.
type measured struct {
	sender *congestion.Sender
	source *congestion.Source
}

// measure prepares it; setMeasured takes the participant in when there is a peer.
func (p *participant) measure() {
	pool := p.room.manager.options.Congestion
	if pool == nil {
		return
	}
	p.sender, p.source = pool.Sender(p.pad), pool.Source()
}

// transport is the sender, or nothing.
func (p *participant) transport() forward.Transport {
	if p.sender == nil {
		return nil
	}
	return p.sender
}

// setMeasured follows the participant to its site. Where there is no line its packets carry no numbers: reports would be of no use.
func (p *participant) setMeasured() {
	if p.sender == nil || p.phone != nil { // a telephone's packets are its call's
		return
	}
	p.sender.Move(p.site)
	p.source.Move(p.site)
	if p.uplink != nil {
		p.uplink.SetObserver(p.source)
	}
	var numbers forward.Transport
	if p.capacity(line.Down) > 0 {
		numbers = p.sender
	}
	for _, s := range p.peer.AudioSlots() {
		s.SetTransport(numbers)
	}
	for _, s := range p.peer.VideoSlots() {
		s.SetTransport(numbers)
	}
}

// pad sends so many octets of padding, or a little more, over the first picture that is sent. Called by the pool's goroutine.
func (p *participant) pad(octets int) (sent int) {
	for _, s := range p.peer.VideoSlots() {
		for sent < octets {
			n := s.Pad()
			if n == 0 {
				break
			}
			sent += n
		}
	}
	return sent
}

func (m *measured) unmeasure() {
	m.sender.Close()
	m.source.Close()
}
