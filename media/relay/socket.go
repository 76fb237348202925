package relay

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"sync/atomic"
	"syscall"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"

	"linehall/internal/observe"
	"linehall/media/rtcp"
)

// bufferSize holds any packet of a call; the path's MTU is 1500. What is longer is dropped and counted.
const bufferSize = 2048

// socket is one port of a leg: a goroutine that reads it, and what it knows of the party that sends to it.
type socket struct {
	stream *Stream
	peer   *socket // the same kind of port on the other leg: what arrives here leaves there
	leg    int
	kind   int
	conn   *net.UDPConn
	raw    syscall.RawConn
	fd     int // valid while a reader of the stream runs, see Stream.Close
	v6     bool

	state atomic.Pointer[state]

	// published by the reader
	reception rtcp.Reception
	forwarded atomic.Uint64 // packets sent on
	bytes     atomic.Uint64 // IP bytes sent on
	dropped   atomic.Uint64

	// the reader's own
	pending meterCount // not yet told to the line meters
	sample  uint32
	from    sockaddr
	buffer  [bufferSize]byte
}

// listen opens a socket for a leg whose party sees us as local.
func (r *Relay) listen(local netip.Addr, port uint16, dscp uint8) (*socket, error) {
	local = local.Unmap().WithZone("")
	c := &socket{v6: local.Is6()}
	c.state.Store(unknown())
	network, anyAddr := "udp4", netip.IPv4Unspecified()
	if c.v6 {
		network, anyAddr = "udp6", netip.IPv6Unspecified()
	}
	bind := local
	if r.bind.IsValid() && !r.bind.IsUnspecified() && r.bind.Is4() == !c.v6 {
		bind = r.bind
	}
	if !bind.IsValid() {
		bind = anyAddr
	}
	conn, err := c.open(network, netip.AddrPortFrom(bind, port), dscp)
	if errors.Is(err, unix.EADDRNOTAVAIL) { // advertised, but not ours: the address of a router in front of us
		conn, err = c.open(network, netip.AddrPortFrom(anyAddr, port), dscp)
	}
	if err != nil {
		return nil, err
	}
	c.conn = conn
	if c.raw, err = conn.SyscallConn(); err != nil {
		return nil, errors.Join(err, conn.Close())
	}
	if err := c.raw.Control(func(fd uintptr) { c.fd = int(fd) }); err != nil { //nolint:gosec // a descriptor
		return nil, errors.Join(err, conn.Close())
	}
	return c, nil
}

func (c *socket) open(network string, addr netip.AddrPort, dscp uint8) (*net.UDPConn, error) {
	config := net.ListenConfig{Control: func(_, _ string, raw syscall.RawConn) error {
		var err error
		if cerr := raw.Control(func(fd uintptr) { err = c.options(int(fd), dscp) }); cerr != nil { //nolint:gosec // a descriptor
			return cerr
		}
		return err
	}}
	// Binding a UDP port does not wait for anything that a context could end.
	conn, err := config.ListenPacket(context.Background(), network, addr.String())
	if err != nil {
		return nil, fmt.Errorf("relay port: %w", err)
	}
	return conn.(*net.UDPConn), nil
}

// options marks what we send (RFC 2474: DSCP is the upper six bits) and asks the kernel for receive times.
func (c *socket) options(fd int, dscp uint8) error {
	level, option := unix.IPPROTO_IP, unix.IP_TOS
	if c.v6 {
		level, option = unix.IPPROTO_IPV6, unix.IPV6_TCLASS
	}
	if err := unix.SetsockoptInt(fd, level, option, int(dscp)<<2); err != nil {
		return fmt.Errorf("mark packets: %w", err)
	}
	receivedAt(fd) // the first call switches the times on, and has none to give
	return nil
}

// run reads until the stream closes. A panic ends this socket only.
func (c *socket) run() {
	defer observe.Recover(c.stream.relay.log, c.stream.relay.panics, "relay")
	for !c.stream.closing.Load() {
		// Read returns when readable says it is done, or when wake set a deadline that has passed.
		if err := c.raw.Read(c.readable); err != nil && !c.stream.closing.Load() {
			c.stream.relay.log.Error("relay socket stopped reading", observe.Err, err)
			return
		}
	}
	c.flush()
}

// wake ends a Read that waits for packets.
func (c *socket) wake() {
	if err := c.conn.SetReadDeadline(time.Unix(1, 0)); err != nil {
		c.stream.relay.log.Error("relay socket cannot be woken", observe.Err, err)
	}
}

// sockaddr is a struct sockaddr_in or sockaddr_in6 as the kernel reads and writes it.
//
//	sockaddr_in   family 2 | port 2, network order | address 4 | zero 8
//	sockaddr_in6  family 2 | port 2, network order | flow 4 | address 16 | scope 4
type sockaddr struct {
	bytes [unix.SizeofSockaddrInet6]byte
	size  uint32
}

// newSockaddr returns where to send on a socket of that family; size 0 when the address is of the other one.
func newSockaddr(to netip.AddrPort, v6 bool) (s sockaddr) {
	addr := to.Addr()
	switch {
	case addr.Is4() && !v6:
		binary.NativeEndian.PutUint16(s.bytes[0:], unix.AF_INET)
		ip := addr.As4()
		copy(s.bytes[4:], ip[:])
		s.size = unix.SizeofSockaddrInet4
	case addr.Is6() && v6:
		binary.NativeEndian.PutUint16(s.bytes[0:], unix.AF_INET6)
		ip := addr.As16()
		copy(s.bytes[8:], ip[:])
		s.size = unix.SizeofSockaddrInet6
	default:
		return s
	}
	binary.BigEndian.PutUint16(s.bytes[2:], to.Port())
	return s
}

// addrPort reads an address that the kernel wrote.
func (s *sockaddr) addrPort() netip.AddrPort {
	port := binary.BigEndian.Uint16(s.bytes[2:])
	if s.size == unix.SizeofSockaddrInet4 {
		return netip.AddrPortFrom(netip.AddrFrom4([4]byte(s.bytes[4:8])), port)
	}
	return netip.AddrPortFrom(netip.AddrFrom16([16]byte(s.bytes[8:24])).Unmap(), port)
}

// The calls below go to the kernel without telling the scheduler (RawSyscall): the descriptors are non-blocking, and
// on a call's one packet per wake-up that hand-over costs as much as the packet itself.

// receive reads a datagram into the socket's buffer and its source into from; n may be larger than the buffer.
func (c *socket) receive(fd int) (n int, errno syscall.Errno) {
	c.from.size = uint32(len(c.from.bytes))
	r, _, errno := syscall.RawSyscall6(syscall.SYS_RECVFROM, uintptr(fd), //nolint:gosec // a descriptor
		uintptr(unsafe.Pointer(&c.buffer[0])), bufferSize, unix.MSG_TRUNC, //nolint:gosec // system call
		uintptr(unsafe.Pointer(&c.from.bytes[0])), uintptr(unsafe.Pointer(&c.from.size))) //nolint:gosec // system call
	return int(r), errno //nolint:gosec // a length when errno is 0
}

// send writes a datagram of n bytes from the buffer of c to its peer's party.
func (c *socket) send(n int, to *sockaddr) syscall.Errno {
	_, _, errno := syscall.RawSyscall6(syscall.SYS_SENDTO, uintptr(c.peer.fd), //nolint:gosec // a descriptor
		uintptr(unsafe.Pointer(&c.buffer[0])), uintptr(n), unix.MSG_NOSIGNAL, //nolint:gosec // system call
		uintptr(unsafe.Pointer(&to.bytes[0])), uintptr(to.size)) //nolint:gosec // system call
	return errno
}

// receivedAt returns the kernel's receive time (wall clock, nanoseconds) of the last datagram read from fd, 0 if it has
// none. Asking once switches the times on for that socket.
func receivedAt(fd int) int64 {
	var ts unix.Timespec
	_, _, errno := syscall.RawSyscall(syscall.SYS_IOCTL, uintptr(fd), unix.SIOCGSTAMPNS, uintptr(unsafe.Pointer(&ts))) //nolint:gosec // system call
	if errno != 0 {
		return 0
	}
	return ts.Nano()
}
