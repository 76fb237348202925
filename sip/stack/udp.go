package stack

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"sync"
	"syscall"

	"golang.org/x/sys/unix"

	"linehall/internal/observe"
)

// PacketSocket is a datagram socket that knows the local address of each
// datagram. Close makes a pending ReadFrom return net.ErrClosed.
type PacketSocket interface {
	ReadFrom(b []byte) (n int, remote netip.AddrPort, local netip.Addr, err error)
	// WriteTo sends from local, or from the kernel's choice when it is invalid.
	WriteTo(b []byte, remote netip.AddrPort, local netip.Addr) error
	LocalAddr() netip.AddrPort
	Close() error
}

// signallingTOS is CS3 (RFC 4594 §2.3) in the TOS byte.
const signallingTOS = 24 << 2

// udpReceiveBuffer holds a burst of 240 REGISTERs of 1 KiB and their retries
// while the reader is off the CPU; the kernel doubles and caps it.
const udpReceiveBuffer = 4 << 20

// mark gives an accepted connection the mark of its listener: of IPv6 it does not inherit it.
func mark(conn net.Conn) {
	if c, ok := conn.(*net.TCPConn); ok {
		if raw, err := c.SyscallConn(); err == nil {
			_ = setTOS("tcp6", "", raw) // on IPv4 the second option is refused, which does no harm
		}
	}
}

// setTOS marks signalling with CS3; a kernel that refuses still carries it.
func setTOS(network, _ string, c syscall.RawConn) error {
	return c.Control(func(fd uintptr) { //nolint:wrapcheck // net wraps it
		_ = unix.SetsockoptInt(int(fd), unix.IPPROTO_IP, unix.IP_TOS, signallingTOS)
		if network[len(network)-1] == '6' {
			_ = unix.SetsockoptInt(int(fd), unix.IPPROTO_IPV6, unix.IPV6_TCLASS, signallingTOS)
		}
	})
}

func unmap(a netip.AddrPort) netip.AddrPort { return netip.AddrPortFrom(a.Addr().Unmap(), a.Port()) }

// sourceTowards asks the kernel which of our addresses reaches the peer.
func sourceTowards(ctx context.Context, peer netip.AddrPort) netip.Addr {
	if !peer.IsValid() {
		return netip.IPv4Unspecified()
	}
	c, err := (&net.Dialer{}).DialContext(ctx, "udp", peer.String())
	if err != nil {
		return netip.IPv4Unspecified()
	}
	defer c.Close()                                               //nolint:errcheck // nothing was sent
	return c.LocalAddr().(*net.UDPAddr).AddrPort().Addr().Unmap() //nolint:errcheck,forcetypeassert // of a UDP socket
}

// udpSocket is one UDP listener: one reader at a time, any number of writers.
type udpSocket struct {
	stack   *Stack
	packets PacketSocket
	addr    netip.AddrPort
	buffers sync.Pool // of readers

	ready int // how many datagrams in a row the reader did not have to wait for; its own
}

func newUDPSocket(s *Stack, p PacketSocket) *udpSocket {
	u := &udpSocket{stack: s, packets: p, addr: p.LocalAddr()}
	u.buffers.New = func() any { return new([1 << 16]byte) }
	return u
}

// socketFor finds the socket a UDP flow leaves from: the one bound to its local
// address, else a wildcard one, with the same port if there is one.
func (s *Stack) socketFor(f Flow) *udpSocket {
	var best *udpSocket
	rank := 0
	for _, u := range s.sockets {
		r := 0
		switch {
		case u.addr == f.Local:
			return u
		case u.addr == insideNear: // leads nowhere else
		case u.addr.Addr() == f.Local.Addr():
			r = 3
		case u.addr.Addr().IsUnspecified() && u.addr.Port() == f.Local.Port():
			r = 4
		case u.addr.Addr().IsUnspecified():
			r = 2
		case !f.Local.IsValid():
			r = 1
		}
		if r > rank {
			best, rank = u, r
		}
	}
	return best
}

// read reads the socket until ctx ends, it is closed, or another goroutine reads on.
func (u *udpSocket) read(ctx context.Context) {
	buf := u.buffers.Get().(*[1 << 16]byte) //nolint:errcheck,forcetypeassert // New makes nothing else
	defer u.buffers.Put(buf)
	r := &Reading{socket: u, ctx: ctx}
	for !r.left {
		n, remote, local, err := u.packets.ReadFrom(buf[:])
		if err != nil {
			if ctx.Err() != nil || errors.Is(err, net.ErrClosed) {
				return
			}
			// An ICMP error of an earlier answer shows up here; the socket is fine.
			u.stack.opts.Dropped.Count(listenerLabel(UDP), "read_error")
			u.stack.log.Debug("udp read failed", observe.Err, err)
			continue
		}
		u.ready++
		if w, ok := u.packets.(interface{ Waited() bool }); !ok || w.Waited() {
			u.ready = 0
		}
		if local.IsMulticast() {
			u.multicast(buf[:n], remote)
			continue
		}
		flow := Flow{Transport: UDP, Local: netip.AddrPortFrom(local, u.addr.Port()), Remote: remote}
		u.datagram(buf[:n], flow, r)
	}
}

// datagram handles one datagram; data is borrowed.
func (u *udpSocket) datagram(data []byte, flow Flow, r *Reading) {
	s := u.stack
	switch verdict := s.admit.datagram(data, flow.Remote); verdict {
	case admitted:
		if s.offered(data, flow) {
			return
		}
		s.ingest(data, &outlet{flow: flow, socket: u, to: flow.Remote}, r)
	case keepAlive:
		if len(data) == 4 { // RFC 5626 §3.5.1 ping: CRLF CRLF is answered with CRLF
			_ = u.write(data[:2], flow.Remote, flow.Local.Addr()) // the phone asks again
		}
	case stun:
		if answer := stunAnswer(data, flow.Remote); answer != nil {
			_ = u.write(answer, flow.Remote, flow.Local.Addr()) // the phone asks again
			return
		}
		s.opts.Dropped.Count(listenerLabel(UDP), string(verdict))
	default:
		s.opts.Dropped.Count(listenerLabel(UDP), string(verdict))
	}
}

func (u *udpSocket) write(b []byte, to netip.AddrPort, from netip.Addr) error {
	if err := u.packets.WriteTo(b, to, from); err != nil {
		return fmt.Errorf("%w: %w", ErrFlowGone, err)
	}
	return nil
}
