package stack

import (
	"bytes"
	"net"
	"net/netip"
	"sync"
)

// An Inside is a network of two ends within the process, for a user agent of the appliance's own that has a stack of its
// own (sip/focus). No socket can send into it: its address is RFC 7600's dummy address, which no host has.

// The ends of the network inside, as their flows show them.
var (
	insideNear = netip.AddrPortFrom(netip.AddrFrom4([4]byte{192, 0, 0, 8}), 5059)
	insideFar  = netip.AddrPortFrom(netip.AddrFrom4([4]byte{192, 0, 0, 8}), 5060)
)

// InsideFlow is the flow from the exchange to the user agent within the process.
func InsideFlow() Flow { return Flow{Transport: UDP, Local: insideNear, Remote: insideFar} }

// Reverse is the same flow seen from its other end.
func (f Flow) Reverse() Flow { return Flow{Transport: f.Transport, Local: f.Remote, Remote: f.Local} }

// Inside reports whether the flow leads to the user agent within the process.
func (f Flow) Inside() bool { return f == InsideFlow() }

// insideQueue bounds the datagrams that wait at one end; more are lost, and repeated by their transactions.
const insideQueue = 1024

// insideEnd is one end.
type insideEnd struct {
	addr   netip.AddrPort
	peer   *insideEnd
	queue  chan []byte
	once   sync.Once
	closed chan struct{}
}

// NewInside returns the two ends: near is the exchange's, far the user agent's.
func NewInside() (near, far PacketSocket) {
	a := &insideEnd{addr: insideNear, queue: make(chan []byte, insideQueue), closed: make(chan struct{})}
	b := &insideEnd{addr: insideFar, queue: make(chan []byte, insideQueue), closed: make(chan struct{}), peer: a}
	a.peer = b
	return a, b
}

// LocalAddr implements PacketSocket.
func (e *insideEnd) LocalAddr() netip.AddrPort { return e.addr }

// ReadFrom implements PacketSocket.
func (e *insideEnd) ReadFrom(b []byte) (int, netip.AddrPort, netip.Addr, error) {
	select {
	case <-e.closed:
		return 0, netip.AddrPort{}, netip.Addr{}, net.ErrClosed
	case d := <-e.queue:
		return copy(b, d), e.peer.addr, e.addr.Addr(), nil
	}
}

// WriteTo implements PacketSocket. What is for anybody else than the other end is lost.
func (e *insideEnd) WriteTo(b []byte, to netip.AddrPort, _ netip.Addr) error {
	select {
	case <-e.closed:
		return net.ErrClosed
	default:
	}
	if to != e.peer.addr {
		return nil
	}
	select {
	case e.peer.queue <- bytes.Clone(b):
	default: // as a kernel does with a full buffer
	}
	return nil
}

// Close implements PacketSocket.
func (e *insideEnd) Close() error {
	e.once.Do(func() { close(e.closed) })
	return nil
}
