package stack

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"syscall"

	"golang.org/x/net/ipv4"
	"golang.org/x/net/ipv6"
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

// kernelSocket is a PacketSocket of the kernel. On a wildcard address
// IP_PKTINFO says which of our addresses a datagram was sent to, and sends the
// answer from that address, however many the machine has.
type kernelSocket struct {
	conn *net.UDPConn
	addr netip.AddrPort
	info bool // wildcard: read and write packet info
	v6   bool // an IPv6 socket, which carries IPv4 as mapped addresses
	oob  []byte
}

func listenPacket(ctx context.Context, address string) (PacketSocket, error) {
	lc := net.ListenConfig{Control: setTOS}
	pc, err := lc.ListenPacket(ctx, "udp", address)
	if err != nil {
		return nil, err //nolint:wrapcheck // the caller names transport and address
	}
	conn, ok := pc.(*net.UDPConn)
	if !ok {
		_ = pc.Close()
		return nil, fmt.Errorf("%T is no UDP socket", pc)
	}
	addr := conn.LocalAddr().(*net.UDPAddr).AddrPort() //nolint:errcheck,forcetypeassert // of a UDPConn
	k := &kernelSocket{conn: conn, addr: addr, info: addr.Addr().IsUnspecified(), v6: addr.Addr().Is6(), oob: make([]byte, 128)}
	_ = conn.SetReadBuffer(udpReceiveBuffer) // the kernel gives what it allows
	if k.info {
		if k.v6 {
			err = ipv6.NewPacketConn(conn).SetControlMessage(ipv6.FlagDst, true)
		} else {
			err = ipv4.NewPacketConn(conn).SetControlMessage(ipv4.FlagDst, true)
		}
		if err != nil {
			_ = conn.Close()
			return nil, fmt.Errorf("packet info: %w", err)
		}
	}
	return k, nil
}

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

func (k *kernelSocket) LocalAddr() netip.AddrPort { return k.addr }

func (k *kernelSocket) Close() error { return k.conn.Close() } //nolint:wrapcheck // PacketSocket

// ReadFrom is called by one goroutine.
func (k *kernelSocket) ReadFrom(b []byte) (int, netip.AddrPort, netip.Addr, error) {
	n, oobn, _, remote, err := k.conn.ReadMsgUDPAddrPort(b, k.oob)
	if err != nil {
		return 0, netip.AddrPort{}, netip.Addr{}, err //nolint:wrapcheck // PacketSocket
	}
	local := k.addr.Addr()
	if k.info {
		local = k.destination(k.oob[:oobn])
	}
	return n, unmap(remote), local.Unmap(), nil
}

func (k *kernelSocket) destination(oob []byte) netip.Addr {
	var dst net.IP
	if k.v6 {
		var cm ipv6.ControlMessage
		if cm.Parse(oob) == nil {
			dst = cm.Dst
		}
	} else {
		var cm ipv4.ControlMessage
		if cm.Parse(oob) == nil {
			dst = cm.Dst
		}
	}
	a, _ := netip.AddrFromSlice(dst)
	return a
}

func (k *kernelSocket) WriteTo(b []byte, remote netip.AddrPort, local netip.Addr) error {
	oob := k.source(local)
	if k.v6 && remote.Addr().Is4() {
		remote = netip.AddrPortFrom(netip.AddrFrom16(remote.Addr().As16()), remote.Port())
	}
	_, _, err := k.conn.WriteMsgUDPAddrPort(b, oob, remote)
	if err != nil && oob != nil && errors.Is(err, unix.EINVAL) {
		// The address is no longer ours (a stored flow after renumbering): let the kernel choose.
		_, _, err = k.conn.WriteMsgUDPAddrPort(b, nil, remote)
	}
	return err //nolint:wrapcheck // PacketSocket
}

func (k *kernelSocket) source(local netip.Addr) []byte {
	if !k.info || !local.IsValid() || local.IsUnspecified() || local.IsMulticast() {
		return nil
	}
	if k.v6 {
		return unix.PktInfo6(&unix.Inet6Pktinfo{Addr: local.As16()}) // mapped for IPv4
	}
	return unix.PktInfo4(&unix.Inet4Pktinfo{Spec_dst: local.As4()})
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

// udpSocket is one UDP listener: one reader, any number of writers.
type udpSocket struct {
	stack   *Stack
	packets PacketSocket
	addr    netip.AddrPort
}

func newUDPSocket(s *Stack, p PacketSocket) *udpSocket {
	return &udpSocket{stack: s, packets: p, addr: p.LocalAddr()}
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

func (u *udpSocket) run(ctx context.Context) error {
	buf := make([]byte, 1<<16)
	for {
		n, remote, local, err := u.packets.ReadFrom(buf)
		if err != nil {
			if ctx.Err() != nil || errors.Is(err, net.ErrClosed) {
				return nil
			}
			// An ICMP error of an earlier answer shows up here; the socket is fine.
			u.stack.opts.Dropped.Count(listenerLabel(UDP), "read_error")
			u.stack.log.Debug("udp read failed", observe.Err, err)
			continue
		}
		flow := Flow{Transport: UDP, Local: netip.AddrPortFrom(local, u.addr.Port()), Remote: remote}
		u.datagram(buf[:n], flow)
	}
}

// datagram handles one datagram; data is borrowed.
func (u *udpSocket) datagram(data []byte, flow Flow) {
	s := u.stack
	switch verdict := s.admit.datagram(data, flow.Remote); verdict {
	case admitted:
		s.ingest(data, &outlet{flow: flow, socket: u, to: flow.Remote})
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
