package webrtc

import (
	"encoding/binary"
	"errors"
	"maps"
	"net/netip"
)

// Endpoint is a peer on the shared UDP port that is not pion's: it does its own connectivity checks, DTLS and SRTP. Its
// methods run on the goroutine that reads the socket, for all endpoints and rooms: they must not wait. A datagram is borrowed
// until they return, may be changed in place, and may have room behind it.
type Endpoint interface {
	// Check takes a STUN message whose USERNAME begins with a name that the endpoint has joined under.
	Check(b []byte, from netip.AddrPort, via Outlet)
	// Take takes anything else from an address that the endpoint has claimed.
	Take(b []byte, from netip.AddrPort, via Outlet)
}

// Outlet is one of the plane's UDP sockets.
type Outlet struct{ s *socket }

// Local is the address that the socket is bound to; invalid for the zero value.
func (o Outlet) Local() netip.AddrPort {
	if o.s == nil {
		return netip.AddrPort{}
	}
	return o.s.local
}

// Send sends one datagram now. The buffer is borrowed until it returns. What cannot be sent is counted and dropped.
func (o Outlet) Send(b []byte, to netip.AddrPort, class Class) {
	if o.s == nil {
		return
	}
	if one, ok := o.s.singles.Get().(*batch); ok {
		(&Sender{o.s, one}).Send(b, to, class)
		o.s.singles.Put(one)
	}
}

// Sender sends from a socket for one goroutine, which owns its memory.
type Sender struct {
	s   *socket
	one *batch
}

// Sender makes one; of the zero Outlet it sends nothing.
func (o Outlet) Sender() *Sender {
	if o.s == nil {
		return &Sender{}
	}
	return &Sender{o.s, o.s.newBatch(1)}
}

// Send is [Outlet.Send]. It allocates nothing.
func (s *Sender) Send(b []byte, to netip.AddrPort, class Class) {
	if s.s == nil || len(b) > receiveMTU || to.Addr().Unmap().Is4() == s.s.v6 {
		return
	}
	s.one.add(b, to, class.tos())
	s.s.send(s.one)
}

// Outlet finds the socket that is bound to an address.
func (p *Plane) Outlet(local netip.AddrPort) (Outlet, bool) {
	for _, s := range p.sockets {
		if s.local == local {
			return Outlet{s}, true
		}
	}
	return Outlet{}, false
}

// Candidates lists where a browser may send to, the addresses to be named in a description: those that are bound, or what is
// advertised in their place.
func (p *Plane) Candidates() []netip.AddrPort {
	if len(p.rewrite) == 0 {
		return p.Addresses()
	}
	var list []netip.AddrPort
	for _, text := range p.rewrite {
		if a, err := netip.ParseAddr(text); err == nil {
			list = append(list, netip.AddrPortFrom(a, p.port))
		}
	}
	return list
}

// ErrJoined is the error of Join for a name that is taken.
var ErrJoined = errors.New("name is taken on the media port")

// joined are the endpoints by name; claims are those of one socket by the peer's address. Both are replaced, never changed,
// so that the reader looks them up without a lock.
type (
	joined map[string]Endpoint
	claims map[netip.AddrPort]Endpoint
)

// Join gives STUN requests to an endpoint whose USERNAME begins with that ICE user fragment, until Leave.
func (p *Plane) Join(ufrag string, e Endpoint) error {
	p.tables.Lock()
	defer p.tables.Unlock()
	old := *p.joined.Load()
	if _, taken := old[ufrag]; taken {
		return ErrJoined
	}
	next := make(joined, len(old)+1)
	maps.Copy(next, old)
	next[ufrag] = e
	p.joined.Store(&next)
	return nil
}

// Leave forgets names.
func (p *Plane) Leave(ufrags ...string) {
	p.tables.Lock()
	defer p.tables.Unlock()
	next := maps.Clone(*p.joined.Load())
	for _, u := range ufrags {
		delete(next, u)
	}
	p.joined.Store(&next)
}

// Claim gives what comes from an address through this socket to an endpoint; an earlier claim is over. The address must have
// proved that it is the endpoint's peer.
func (o Outlet) Claim(from netip.AddrPort, e Endpoint) {
	o.edit(func(c claims) { c[from] = e })
}

// Release ends the claim of an endpoint.
func (o Outlet) Release(from netip.AddrPort, e Endpoint) {
	o.edit(func(c claims) {
		if c[from] == e {
			delete(c, from)
		}
	})
}

func (o Outlet) edit(change func(claims)) {
	if o.s == nil {
		return
	}
	o.s.plane.tables.Lock()
	defer o.s.plane.tables.Unlock()
	next := make(claims)
	maps.Copy(next, *o.s.claims.Load())
	change(next)
	o.s.claims.Store(&next)
}

// divert gives a datagram to the endpoint that it is for; false: it is pion's.
func (s *socket) divert(b []byte, from netip.AddrPort) bool {
	if len(b) == 0 {
		return true
	}
	if b[0] < 4 { // RFC 7983 §7: STUN
		if names := *s.plane.joined.Load(); len(names) > 0 {
			if e := names[string(fragment(b))]; e != nil {
				e.Check(b, from, Outlet{s})
				return true
			}
		}
		return false
	}
	e := (*s.claims.Load())[from]
	if e == nil {
		return false
	}
	e.Take(b, from, Outlet{s})
	return true
}

// Layout of a STUN message (RFC 8489 §5, §14).
const (
	stunHeader   = 20
	stunCookie   = 0x2112a442
	stunRequest  = 0x0001 // a binding request
	stunUsername = 0x0006
)

// fragment is the first part of the USERNAME of a binding request: the user fragment of who is asked (RFC 8445 §7.2.2).
func fragment(b []byte) []byte {
	if len(b) < stunHeader || binary.BigEndian.Uint16(b) != stunRequest || binary.BigEndian.Uint32(b[4:]) != stunCookie {
		return nil
	}
	for rest := b[stunHeader:]; len(rest) >= 4; {
		kind, size := binary.BigEndian.Uint16(rest), int(binary.BigEndian.Uint16(rest[2:]))
		if rest = rest[4:]; size > len(rest) {
			return nil
		}
		if kind == stunUsername {
			for i, c := range rest[:size] {
				if c == ':' {
					return rest[:i]
				}
			}
			return nil
		}
		rest = rest[min((size+3)&^3, len(rest)):]
	}
	return nil
}
