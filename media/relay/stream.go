package relay

import (
	"errors"
	"fmt"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"linehall/media/line"
	"linehall/media/rtcp"
)

// DSCP values of design and RFC 4594.
const (
	ExpeditedForwarding = 46 // voice
	AssuredForwarding41 = 34 // video
)

// Spec describes a stream to open.
type Spec struct {
	Legs [2]Leg
	DSCP uint8 // of everything we send; 0: ExpeditedForwarding
	Raw  bool  // not RTP (T.38): only addresses are looked at, nothing is measured but packets and bytes
}

// Leg is one side of a stream to open.
type Leg struct {
	Local netip.Addr // our address as the party sees it
	Port  uint16     // a certain RTP port, for recovery; 0: any
	// In and Out meter what the party sends and gets on its site's line; nil: no line.
	In, Out *line.Meter
	// Link carries a party that has no port here, see Take. Local then says its version of IP.
	Link Link
}

// Link is the way to a party whose packets come and go elsewhere, by Stream.Take and Send.
type Link interface {
	// Send gets the plain packet b[:n] for the party; b has room for what sealing adds, and is borrowed until it returns. It
	// returns the length of the datagram that left; false: none did. The stream's worker calls it.
	Send(b []byte, n int, rtcp bool) (int, bool)
}

// Peer is what signalling says about a party. It is copied.
type Peer struct {
	RTP, RTCP netip.AddrPort // where it wants to be sent to; invalid: not known yet
	Source    netip.Addr     // where its signalling comes from; its media may too
	Held      bool           // it wants nothing (c=0.0.0.0); RTP and RTCP are then ignored, what was known stays
	Secure    bool           // SRTP: reports are encrypted and are not read
	ECN       bool           // it may mark its packets (RFC 6679): the marks go on to the other party
	Clocks    [128]uint32    // Hz per payload type, 0: not known
	// Security opens what the party sends and seals what it gets, when its SRTP ends here; nil: packets pass as they are.
	Security Security
	// LatchedRTP and LatchedRTCP restore a latch after a restart; invalid: none.
	LatchedRTP, LatchedRTCP netip.AddrPort
}

// Security is our end of a party's SRTP. Both methods work in place, return the new length, and false for what must not go
// further. Open gets a datagram, Seal the packet b[:n] in a buffer with room for what it adds. The stream's worker calls
// them.
type Security interface {
	Open(b []byte, rtcp bool) (int, bool)
	Seal(b []byte, n int, rtcp bool) (int, bool)
}

// Stream is one medium between two parties.
type Stream struct {
	relay   *Relay
	spec    Spec
	legs    [2]leg
	worker  *worker      // that carries it; guarded by Relay.crew
	closing atomic.Bool  // the worker passes it by
	inside  atomic.Int32 // calls of Take under way

	expect  sync.Mutex // serialises Expect, so that a state is computed from the one before
	once    sync.Once  // Close
	showing sync.Mutex // serialises the tap where a party has a link
	saying  saying     // what is said in place of the other party, see Divert
	final   [2]Stats

	quality quality
}

// leg is one side of an open stream.
type leg struct {
	sockets [2]*socket // by kind
	trip    rtcp.RoundTrip
	heard   rtcp.VoIP // what the party says of what it hears
	port    uint16
	in, out *line.Meter
}

// Kinds of sockets of a leg.
const (
	kindRTP  = 0
	kindRTCP = 1
)

func (l *leg) rtp() *socket  { return l.sockets[kindRTP] }
func (l *leg) rtcp() *socket { return l.sockets[kindRTCP] }

// Open binds the ports of both legs and begins to read. Until Expect said who a party is, nothing of it is accepted.
func (r *Relay) Open(spec Spec) (*Stream, error) {
	s, err := r.open(spec)
	if err != nil {
		return nil, err
	}
	if err := r.join(s); err != nil {
		s.Close()
		return nil, err
	}
	for i := range s.legs {
		for kind, c := range s.legs[i].sockets {
			if c.link == nil && !c.held {
				r.keep(s.legs[i].port+uint16(kind), c.fd) //nolint:gosec // 0 or 1
			}
		}
	}
	return s, nil
}

// open binds a stream without reading it.
func (r *Relay) open(spec Spec) (*Stream, error) {
	if spec.DSCP == 0 {
		spec.DSCP = ExpeditedForwarding
	}
	s := &Stream{relay: r, spec: spec}
	for i := range s.legs {
		if err := s.bind(i); err != nil {
			return nil, errors.Join(fmt.Errorf("leg %d: %w", i, err), s.unbind())
		}
	}
	for kind := range 2 {
		s.legs[0].sockets[kind].peer = s.legs[1].sockets[kind]
		s.legs[1].sockets[kind].peer = s.legs[0].sockets[kind]
	}
	for i := range s.legs {
		if spec.Legs[i].Port != 0 {
			s.legs[i].rtp().adopt()
		}
	}
	if err := r.add(s); err != nil {
		return nil, errors.Join(err, s.unbind())
	}
	return s, nil
}

// bindAttempts bounds how many pairs are tried when somebody else sits in our range.
const bindAttempts = 100

// bind takes a pair of ports for a leg and opens both sockets.
func (s *Stream) bind(i int) error {
	want := s.spec.Legs[i]
	l := &s.legs[i]
	l.in, l.out = want.In, want.Out
	if want.Link != nil {
		for kind := range l.sockets {
			c := &socket{relay: s.relay, stream: s, leg: i, kind: kind, v6: want.Local.Unmap().Is6(), fd: -1, link: want.Link}
			c.state.Store(unknown())
			l.sockets[kind] = c
		}
		return nil
	}
	if want.Port != 0 {
		if !s.relay.ports.claim(want.Port) {
			return fmt.Errorf("port %d is taken: %w", want.Port, ErrNoPorts)
		}
		return s.bindPair(i, want.Port)
	}
	err := error(ErrNoPorts)
	for range bindAttempts {
		port, ok := s.relay.ports.take()
		if !ok {
			return ErrNoPorts
		}
		if err = s.bindPair(i, port); err == nil {
			return nil
		}
	}
	return err
}

// bindPair opens the sockets of a leg on a pair that is ours; on an error the pair goes back.
func (s *Stream) bindPair(i int, port uint16) error {
	l := &s.legs[i]
	l.port = port
	for kind := range l.sockets {
		c, err := s.relay.listen(s.spec.Legs[i].Local, port+uint16(kind), s.spec.DSCP) //nolint:gosec // 0 or 1
		if err != nil {
			return errors.Join(err, s.unbindLeg(l))
		}
		c.stream, c.leg, c.kind = s, i, kind
		l.sockets[kind] = c
	}
	return nil
}

func (s *Stream) unbind() error {
	var errs []error
	for i := range s.legs {
		errs = append(errs, s.unbindLeg(&s.legs[i]))
	}
	return errors.Join(errs...)
}

func (s *Stream) unbindLeg(l *leg) error {
	var errs []error
	for kind, c := range l.sockets {
		if c != nil {
			errs = append(errs, c.close())
			l.sockets[kind] = nil
		}
	}
	if l.port != 0 {
		s.relay.ports.put(l.port)
		l.port = 0
	}
	return errors.Join(errs...)
}

// Port returns the RTP port of a leg; RTCP is the next one. A leg with a link has none: 0.
func (s *Stream) Port(leg int) uint16 { return s.legs[leg].port }

// Expect says who the party of a leg is; the last word counts. It takes effect between two packets. A latch stays as
// long as the party's address does.
func (s *Stream) Expect(leg int, p Peer) {
	s.expect.Lock()
	defer s.expect.Unlock()
	for kind, c := range s.legs[leg].sockets {
		if p.ECN {
			c.readMarks()
		}
		for {
			old := c.state.Load()
			if c.state.CompareAndSwap(old, old.next(p, kind, c.v6)) {
				break
			}
		}
	}
	for i := range s.legs {
		s.legs[i].rtp().revise()
	}
}

// Latched returns where a party's RTP and RTCP really come from; invalid: nothing came yet.
func (s *Stream) Latched(leg int) (rtp, rtcp netip.AddrPort) {
	l := &s.legs[leg]
	return l.rtp().state.Load().latched, l.rtcp().state.Load().latched
}

// Stats returns what the parties of both legs sent so far.
func (s *Stream) Stats() [2]Stats {
	var out [2]Stats
	for i := range s.legs {
		l := &s.legs[i]
		st := l.rtp().state.Load()
		out[i] = Stats{
			Stats: l.rtp().counted(), RTT: l.trip.Last(), Remote: st.latched, Latched: st.latched.IsValid(),
			Seconds: s.seconds(i), Heard: l.heard.Last(),
			Dropped: l.rtp().dropped.Load() + l.rtcp().dropped.Load(),
		}
		if !out[i].Latched {
			out[i].Remote = st.signalled
		}
		if s.spec.Raw {
			out[i].Packets, out[i].Bytes = l.rtp().forwarded.Load(), l.rtp().bytes.Load()
		}
	}
	return out
}

// Close ends the stream and returns its last stats; once it has returned, its ports may serve others. It may be called
// more than once.
//
// The order guards the descriptors: the worker sends on the descriptor of the peer, so none may be closed (and its number
// reused) before the worker has let go of the whole stream.
func (s *Stream) Close() [2]Stats {
	s.once.Do(func() {
		s.closing.Store(true)
		s.relay.leave(s)
		s.awaitTakes()
		s.saying.end()
		for i := range s.legs {
			for _, c := range s.legs[i].sockets {
				c.flush()
			}
		}
		if !s.relay.leaving() {
			for i := range s.legs {
				s.legs[i].rtp().recall(0)
			}
		}
		s.score(time.Now())
		s.final = s.Stats()
		s.relay.metrics.closed(s)
		s.relay.remove(s)
		for i := range s.legs {
			for _, c := range s.legs[i].sockets {
				if err := c.close(); err != nil {
					s.relay.log.Warn("relay socket did not close", "err", err)
				}
			}
			if s.legs[i].port == 0 {
				continue
			}
			for kind := range s.legs[i].sockets {
				s.relay.forget(s.legs[i].port + uint16(kind)) //nolint:gosec // 0 or 1
			}
			s.relay.ports.put(s.legs[i].port)
		}
	})
	return s.final
}
