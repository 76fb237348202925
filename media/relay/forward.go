package relay

// The way of a packet. The stream's worker does all of it, for one packet after the other; workers run in parallel.
// Nothing is handed over, the worker's datagram holds the packet until the next receive.
//
//	1 receive   raw recvfrom into the worker's datagram, one packet per socket that epoll tells of
//	2 judge     is it the party's? one load of the socket's state, one comparison of addresses
//	3 open      where the SRTP of the party ends here; nothing that is not authentic latches or is counted
//	  show      to whoever looks on (Tap), or takes it elsewhere (Detour): one comparison of what was loaded for 2
//	4 seal      where that of the other party does
//	5 send      raw sendto on the peer's descriptor to where the other party is; one load of the peer's state; with the ECN
//	            bits that it came with, where signalling agreed on them
//	6 count     reception statistics, reports, line meters (told ten times a second), one delay in sampleEvery packets
//
// The only shared writes are atomic stores to fields that the worker alone writes, and a compare-and-swap when a
// party appears or moves.

import (
	"encoding/binary"
	"net/netip"
	"syscall"
	"time"

	"linehall/media/packet"
	"linehall/media/rtcp"
)

const (
	// sampleEvery is how rarely the delay of a packet is measured: about once a second of a call.
	sampleEvery = 64
	// meterEvery is how often the line meters are told; they count in slots of that length.
	meterEvery = int64(100 * time.Millisecond)
	// silence is how long a party must have been quiet before another port of its host may carry on its stream.
	silence = int64(100 * time.Millisecond)
	// ipUDP is what surrounds a datagram in an IPv4 packet; IPv6 has 20 bytes more.
	ipUDP = 28
)

// readable takes one packet; there may be none.
func (c *socket) readable(d *datagram, now int64) {
	switch c.receive(d) {
	case 0:
		c.ecn = d.ecn
		c.forward(d, now)
	case syscall.EAGAIN, syscall.EINTR:
	default: // an error that the network left on the socket; reading it cleared it
		c.drop(receiveFailed)
	}
}

// forward handles the datagram. It allocates nothing.
func (c *socket) forward(d *datagram, now int64) {
	if d.size > bufferSize {
		c.drop(oversize)
		return
	}
	b := d.buffer[:d.size]
	kind := packet.Classify(b)
	if kind == packet.Unknown && !c.stream.spec.Raw {
		c.drop(notMedia) // also the one or four bytes that phones send to keep a NAT open: their end is here
		return
	}
	st := c.state.Load()
	from := d.from.addrPort()
	if st.security != nil {
		if b = c.unlock(st, from, kind, b); b == nil {
			return
		}
	}
	if from != st.latched && !c.admit(from, kind, b, st.security != nil, now) {
		return
	}
	c.handOver(d.size, b, kind, st, now)
}

// handOver counts a packet of the party and sends it on: a datagram of n bytes, b as it was opened.
func (c *socket) handOver(n int, b []byte, kind packet.Kind, st *state, now int64) {
	c.received(n, b, kind, st, now)
	if st.aside && c.leadAside(st, kind, b, now) {
		c.measure(now)
		return
	}

	out := c.peer.state.Load()
	switch {
	case c.peer.link != nil && !out.held:
		c.through(b, kind)
	case out.to.size > 0:
		c.pass(b, kind, out)
	case out.held:
		c.drop(held)
	default:
		c.drop(noDestination)
	}
	c.measure(now)
}

// unlock checks and decrypts what a party sent whose SRTP ends here; nil when it goes no further. RTP that went astray to
// the RTCP port is none.
func (c *socket) unlock(st *state, from netip.AddrPort, kind packet.Kind, b []byte) []byte {
	switch {
	case from != st.latched && !st.expects(from.Addr()): // before it costs a hash
		c.drop(foreignSource)
		return nil
	case kind == packet.RTP && c.kind == kindRTP, kind == packet.RTCP:
		if n, ok := st.security.Open(b, kind == packet.RTCP); ok {
			return b[:n]
		}
	}
	c.drop(unauthentic)
	return nil
}

// pass sends a datagram to the other party; sealing needs the room behind it.
func (c *socket) pass(b []byte, kind packet.Kind, out *state) {
	if out.security != nil {
		n, ok := 0, kind == packet.RTP && c.kind == kindRTP || kind == packet.RTCP
		if ok {
			n, ok = out.security.Seal(b[:cap(b)], len(b), kind == packet.RTCP)
		}
		if !ok {
			c.drop(unsealable)
			return
		}
		b = b[:n]
	}
	switch errno := c.send(b, &out.to); errno {
	case 0:
		c.sent(len(b))
	case syscall.EAGAIN, syscall.ENOBUFS:
		c.drop(sendFull)
	default:
		c.drop(sendFailed)
	}
}

// sent counts a datagram of n bytes that left.
func (c *socket) sent(n int) {
	c.forwarded.Store(c.forwarded.Load() + 1)
	c.bytes.Store(c.bytes.Load() + uint64(n+c.header())) //nolint:gosec // a length
	c.pending.out.add(n + c.peer.header())
}

// through gives a packet to the other party's link. What is neither RTP nor RTCP ends here.
func (c *socket) through(b []byte, kind packet.Kind) {
	n, ok := 0, kind == packet.RTP && c.kind == kindRTP || kind == packet.RTCP
	if ok {
		n, ok = c.peer.link.Send(b[:cap(b)], len(b), kind == packet.RTCP)
	}
	if !ok {
		c.drop(unlinked)
		return
	}
	c.sent(n)
}

// Take brings a packet of a party that has a link: a datagram of n bytes, and b as it was opened and proved to be the
// party's, with room behind it for what sealing adds. At most one call at a time for a leg; b is borrowed until it returns.
func (s *Stream) Take(leg int, b []byte, n int) {
	s.inside.Add(1)
	defer s.inside.Add(-1)
	if s.closing.Load() {
		return
	}
	kind := packet.Classify(b)
	c := s.legs[leg].rtp()
	switch kind {
	case packet.RTP:
	case packet.RTCP:
		c = s.legs[leg].rtcp()
	default:
		c.drop(notMedia)
		return
	}
	now := s.relay.now()
	c.handOver(n, b, kind, c.state.Load(), now)
}

// admit decides about a packet from another source than the last one, and latches. Authentic: it was opened.
func (c *socket) admit(from netip.AddrPort, kind packet.Kind, b []byte, authentic bool, now int64) bool {
	for {
		st := c.state.Load()
		// What was authenticated needs no other proof.
		switch st.judge(from, func() bool { return authentic || c.continues(kind, b, from, now) }) {
		case pass:
			return true
		case latch:
			if c.state.CompareAndSwap(st, st.latch(from, c.v6)) {
				c.revise()
				c.peer.revise()
				return true
			}
		case foreign:
			if c.kind == kindRTP {
				c.recall(suspicion)
				c.peer.recall(suspicion)
			}
			c.drop(foreignSource)
			return false
		}
	}
}

// continues reports whether a packet proves that its source is the party although the port is another one: RTP that
// carries on the party's stream after a silence, or RTCP of that stream's source.
func (c *socket) continues(kind packet.Kind, b []byte, from netip.AddrPort, now int64) bool {
	rtp := c.stream.legs[c.leg].rtp()
	switch {
	case kind == packet.RTP && c.kind == kindRTP:
		h, ok := packet.ParseSecure(b)
		return ok && c.moved.Load() == nil && now-c.reception.LastArrival() >= silence && c.reception.Continues(h)
	case kind == packet.RTCP && c.kind == kindRTCP && len(b) >= 8:
		s := rtp.counted()
		return s.Sources > 0 && uint32(s.SSRC) == binary.BigEndian.Uint32(b[4:]) &&
			from.Addr() == rtp.state.Load().latched.Addr()
	default:
		return false
	}
}

// received counts a packet of the party, sent on or not: a datagram of n bytes, b as it was opened.
func (c *socket) received(n int, b []byte, kind packet.Kind, st *state, now int64) {
	c.pending.in.add(n + c.header())
	switch {
	case c.stream.spec.Raw:
	case kind == packet.RTP && c.kind == kindRTP:
		if h, ok := packet.ParseSecure(b); ok {
			if m := c.moved.Load(); m != nil && c.cameUp(m, h, n+c.header()) {
				return
			}
			c.reception.Packet(now, h, st.clocks[h.Type&0x7f], n+c.header())
		}
	case kind == packet.RTCP && (!st.secure || st.security != nil):
		own, other := &c.stream.legs[c.leg], &c.stream.legs[1-c.leg]
		rtcp.Compound(b, rtcp.Reader{
			Sender: func(ntp uint32) { other.trip.Sent(now, ntp) },
			Block:  func(r rtcp.Block) { own.trip.Answered(now, r) },
			VoIP:   own.heard.Put,
		})
	}
}

// measure feeds the line meters and the delay histogram now and then.
func (c *socket) measure(now int64) {
	if now-c.pending.since >= meterEvery {
		c.pending.since = now
		c.flush()
		c.consider(now)
	}
	if c.sample++; c.sample%sampleEvery == 0 && c.kind == kindRTP && c.link == nil {
		if at := receivedAt(c.fd); at != 0 {
			c.stream.relay.metrics.delay(time.Duration(time.Now().UnixNano() - at))
		}
	}
}

// meterCount is what the line meters have not been told yet.
type meterCount struct {
	in, out packetCount
	since   int64
}

type packetCount struct{ packets, bytes int64 }

func (p *packetCount) add(bytes int) {
	p.packets++
	p.bytes += int64(bytes)
}

// flush tells the line meters: what came in crossed the line of this leg's party, what went out that of the other one.
func (c *socket) flush() {
	in, out := c.stream.legs[c.leg].in, c.stream.legs[1-c.leg].out
	if c.pending.in.packets > 0 {
		in.Add(c.pending.in.packets, c.pending.in.bytes)
	}
	if c.pending.out.packets > 0 {
		out.Add(c.pending.out.packets, c.pending.out.bytes)
	}
	c.pending.in, c.pending.out = packetCount{}, packetCount{}
}

// header is what IP and UDP add to a datagram of this socket.
func (c *socket) header() int {
	if c.v6 {
		return ipUDP + 20
	}
	return ipUDP
}

// drop counts a packet that goes no further.
func (c *socket) drop(r reason) {
	c.dropped.Store(c.dropped.Load() + 1)
	c.stream.relay.metrics.dropped[r].Inc()
}
