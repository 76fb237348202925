package relay

import (
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"linehall/media/packet"
)

// Detour takes the sound of both parties of a stream to somewhere else, a mixer, and says to each what it hears instead
// (Say).
type Detour interface {
	// Take gets an RTP packet of a leg's party, as Tap.Packet does and after it, in place of the other party. It must
	// neither block nor allocate; legs may come at the same time. b is borrowed.
	Take(leg int, now int64, b []byte)
}

// saying is what we say to the parties of a stream that is diverted.
type saying struct {
	mu     sync.Mutex // guards what follows; held for one packet
	on     bool
	buffer [bufferSize]byte

	packets [2]atomic.Uint64 // to the party of a leg
}

// Divert has d get what the parties say from now on, and nothing of it goes straight to the other one any more, reports
// included: they would be about packets that nobody sees. nil leads them to each other again. Media that is encrypted
// from end to end is not diverted. When it returns, no packet takes the way of before.
func (s *Stream) Divert(d Detour) {
	if d == nil {
		s.saying.end()
	}
	for i := range s.legs {
		for _, c := range s.legs[i].sockets {
			c.change(func(n *state) { n.detour = d })
		}
	}
	for i := range s.legs {
		s.legs[i].rtp().revise()
	}
	s.relay.settle(s)
	if d != nil && !s.closing.Load() {
		s.saying.mu.Lock()
		defer s.saying.mu.Unlock()
		s.saying.on = true
	}
}

// Say sends the party of a leg an RTP packet of ours, sealed if its SRTP ends here, and reports whether it left. Nothing is
// said while the stream is not diverted, nor to a party that wants nothing. b is borrowed and stays as it is. Calls for one
// leg keep their order.
func (s *Stream) Say(leg int, b []byte) bool {
	s.saying.mu.Lock()
	defer s.saying.mu.Unlock()
	if !s.saying.on || s.closing.Load() {
		return false
	}
	c, far := s.legs[leg].rtp(), s.legs[1-leg].rtp()
	st, n := c.state.Load(), copy(s.saying.buffer[:], b)
	if st.held {
		return false
	}
	if c.link != nil {
		if n, ok := c.link.Send(s.saying.buffer[:], n, false); ok {
			s.said(leg, n)
			return true
		}
		return false
	}
	if st.to.size == 0 {
		return false
	}
	if st.security != nil {
		var ok bool
		if n, ok = st.security.Seal(s.saying.buffer[:], n, false); !ok {
			s.relay.metrics.dropped[unsealable].Inc()
			return false
		}
	}
	switch errno := far.sendPlain(s.saying.buffer[:n], &st.to); errno {
	case 0:
		s.said(leg, n)
		return true
	case syscall.EAGAIN, syscall.ENOBUFS:
		s.relay.metrics.dropped[sendFull].Inc()
	default:
		s.relay.metrics.dropped[sendFailed].Inc()
	}
	return false
}

// said counts a datagram of n bytes to the party of a leg.
func (s *Stream) said(leg, n int) {
	s.saying.packets[leg].Add(1)
	s.legs[leg].out.Add(1, int64(n+s.legs[leg].rtp().header()))
}

// end has Say fall silent; it returns when no packet is on its way.
func (y *saying) end() {
	y.mu.Lock()
	defer y.mu.Unlock()
	y.on = false
}

// leadAside shows a packet to whoever looks on and gives it to the detour; it reports whether its way ends there.
func (c *socket) leadAside(st *state, kind packet.Kind, b []byte, now int64) bool {
	if st.secure && st.security == nil || c.stream.spec.Raw {
		return false
	}
	c.show(st, kind, b, now)
	if st.detour == nil {
		return false
	}
	if kind == packet.RTP && c.kind == kindRTP {
		st.detour.Take(c.leg, now, b)
	}
	return true
}

// awaitTakes returns when no call of Take that began before is under way.
func (s *Stream) awaitTakes() {
	for s.inside.Load() > 0 { // each carries one packet
		time.Sleep(10 * time.Microsecond)
	}
}

// settle returns when whoever carries the stream sees its present states: its worker, and calls of Take.
func (r *Relay) settle(s *Stream) {
	r.crew.mu.Lock()
	if w := s.worker; w != nil {
		w.finishRound()
	}
	r.crew.mu.Unlock()
	s.awaitTakes()
}
