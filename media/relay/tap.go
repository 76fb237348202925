package relay

import "linehall/media/packet"

// Tap sees what the parties of a stream say to each other, and may change how it sounds.
type Tap interface {
	// Packet gets an RTP packet of a leg's party before it goes on to the other one, opened if its SRTP ends here; now is
	// the relay's steady clock in nanoseconds. It is called for both legs, one packet after the other: it
	// must neither block nor allocate. b is borrowed; the bytes of its payload may be changed.
	Packet(leg int, now int64, b []byte)
}

// Tap has t see the stream from the next packet on, and takes the stream out of the kernel for as long; nil ends it,
// though a packet that is under way may still come. Media that is encrypted from end to end is not shown.
func (s *Stream) Tap(t Tap) {
	for i := range s.legs {
		s.legs[i].rtp().change(func(n *state) { n.tap = t })
	}
	for i := range s.legs {
		s.legs[i].rtp().revise()
	}
}

// change replaces the state by one that differs in who sees the packets.
func (c *socket) change(edit func(n *state)) {
	for {
		old := c.state.Load()
		n := *old
		edit(&n)
		n.aside = n.tap != nil || n.detour != nil
		if c.state.CompareAndSwap(old, &n) {
			return
		}
	}
}

// show gives a packet to the tap.
func (c *socket) show(st *state, kind packet.Kind, b []byte, now int64) {
	if kind != packet.RTP || st.tap == nil {
		return
	}
	if c.stream.linked() { // a party that is brought by Take does not wait for the worker
		c.stream.showing.Lock()
		defer c.stream.showing.Unlock()
	}
	st.tap.Packet(c.leg, now, b)
}
