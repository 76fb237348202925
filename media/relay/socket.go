package relay

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"
	"sync/atomic"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"

	"linehall/internal/observe"
	"linehall/media/kernel"
	"linehall/media/rtcp"
)

// bufferSize holds any packet of a call; the path's MTU is 1500. What is longer is dropped and counted.
const bufferSize = 2048

// socket is one port of a leg and what it knows of the party that sends to it.
type socket struct {
	relay  *Relay
	stream *Stream
	peer   *socket // the same kind of port on the other leg: what arrives here leaves there
	leg    int
	kind   int
	fd     int  // the worker uses it; closed only when it has let go, see worker.leave
	link   Link // in place of a descriptor; nil: it has one
	v6     bool

	bound netip.AddrPort // our address; invalid when it is any
	held  bool           // the keeper has it from before the restart

	reads atomic.Bool // the ECN bits of what comes
	state atomic.Pointer[state]
	moved atomic.Pointer[moved] // nil: counted here

	// published by the worker
	reception rtcp.Reception
	forwarded atomic.Uint64 // packets sent on
	bytes     atomic.Uint64 // IP bytes sent on
	dropped   atomic.Uint64
	carried   atomic.Uint64 // packets that the kernel sent on
	notBefore atomic.Int64  // the flow stays here until then

	// the worker's own
	pending meterCount // not yet told to the line meters
	sample  uint32
	wanted  kernel.Flow // that the kernel would carry, the same since then
	since   int64
	ecn     uint8   // of the packet under way, see marks
	marked  *marked // made with the first packet that has ECN bits
}

// datagram is where a worker has the packet that it carries: one place for all sockets stays in the core's cache.
type datagram struct {
	from    sockaddr
	size    int   // may be larger than the buffer
	ecn     uint8 // the two bits of RFC 3168
	message unix.Msghdr
	vector  unix.Iovec
	control [32]byte // holds one message: the field with DSCP and ECN
	buffer  [bufferSize]byte
}

// listen opens a socket for a leg whose party sees us as local.
func (r *Relay) listen(local netip.Addr, port uint16, dscp uint8) (*socket, error) {
	local = local.Unmap().WithZone("")
	c := &socket{relay: r, v6: local.Is6(), fd: -1}
	c.state.Store(unknown())
	anyAddr := netip.IPv4Unspecified()
	if c.v6 {
		anyAddr = netip.IPv6Unspecified()
	}
	bind := local
	if r.bind.IsValid() && !r.bind.IsUnspecified() && r.bind.Is4() == !c.v6 {
		bind = r.bind
	}
	if !bind.IsValid() {
		bind = anyAddr
	}
	err := c.open(netip.AddrPortFrom(bind, port), dscp)
	if errors.Is(err, unix.EADDRNOTAVAIL) { // advertised, but not ours: the address of a router in front of us
		err = c.open(netip.AddrPortFrom(anyAddr, port), dscp)
	}
	if err != nil {
		return nil, err
	}
	c.bound = localAddress(c.fd)
	return c, nil
}

// open binds the descriptor. It never meets Go's poller, see worker.
func (c *socket) open(at netip.AddrPort, dscp uint8) error {
	if fd, ok := c.relay.resume(at); ok {
		c.fd, c.held = fd, true
		return c.options(fd, dscp)
	}
	family, address := unix.AF_INET, unix.Sockaddr(nil)
	if c.v6 {
		family, address = unix.AF_INET6, &unix.SockaddrInet6{Port: int(at.Port()), Addr: at.Addr().As16()}
	} else {
		address = &unix.SockaddrInet4{Port: int(at.Port()), Addr: at.Addr().As4()}
	}
	fd, err := unix.Socket(family, unix.SOCK_DGRAM|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return fmt.Errorf("relay port: %w", err)
	}
	if err := errors.Join(c.options(fd, dscp), unix.Bind(fd, address)); err != nil {
		return errors.Join(fmt.Errorf("relay port %s: %w", at, err), unix.Close(fd))
	}
	c.fd = fd
	return nil
}

func (c *socket) close() error {
	if c.fd < 0 {
		return nil
	}
	err := unix.Close(c.fd)
	c.fd = -1
	return err //nolint:wrapcheck // the caller says which
}

// options marks what we send (RFC 2474: DSCP is the upper six bits) and asks the kernel for receive times.
func (c *socket) options(fd int, dscp uint8) error {
	level, option := unix.IPPROTO_IP, unix.IP_TOS
	if c.v6 {
		level, option = unix.IPPROTO_IPV6, unix.IPV6_TCLASS
		if err := unix.SetsockoptInt(fd, level, unix.IPV6_V6ONLY, 1); err != nil {
			return fmt.Errorf("IPv6 alone: %w", err)
		}
	}
	if err := unix.SetsockoptInt(fd, level, option, int(dscp)<<2); err != nil {
		return fmt.Errorf("mark packets: %w", err)
	}
	receivedAt(fd) // the first call switches the times on, and has none to give
	return nil
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

// receive reads a datagram.
func (c *socket) receive(d *datagram) syscall.Errno {
	if c.reads.Load() {
		return c.receiveMarked(d)
	}
	d.from.size, d.ecn = uint32(len(d.from.bytes)), 0
	r, _, errno := syscall.RawSyscall6(syscall.SYS_RECVFROM, uintptr(c.fd), //nolint:gosec // a descriptor
		uintptr(unsafe.Pointer(&d.buffer[0])), bufferSize, unix.MSG_TRUNC, //nolint:gosec // system call
		uintptr(unsafe.Pointer(&d.from.bytes[0])), uintptr(unsafe.Pointer(&d.from.size))) //nolint:gosec // system call
	d.size = int(r) //nolint:gosec // a length when errno is 0
	return errno
}

// readMarks has the ECN bits read with every packet, from the next one on. Anybody may call it.
func (c *socket) readMarks() {
	if c.link != nil || c.reads.Load() {
		return
	}
	level, option := unix.IPPROTO_IP, unix.IP_RECVTOS
	if c.v6 {
		level, option = unix.IPPROTO_IPV6, unix.IPV6_RECVTCLASS
	}
	if err := unix.SetsockoptInt(c.fd, level, option, 1); err != nil {
		c.relay.log.Warn("marks of packets are not read", observe.Err, err)
		return
	}
	c.reads.Store(true)
}

// receiveMarked is receive with the ECN bits.
func (c *socket) receiveMarked(d *datagram) syscall.Errno {
	m := &d.message
	if m.Iov == nil {
		d.vector.Base = &d.buffer[0]
		d.vector.SetLen(bufferSize)
		m.Name, m.Iov, m.Control = &d.from.bytes[0], &d.vector, &d.control[0]
		m.SetIovlen(1)
	}
	m.Namelen = uint32(len(d.from.bytes))
	m.SetControllen(len(d.control))
	r, _, errno := syscall.RawSyscall(syscall.SYS_RECVMSG, uintptr(c.fd), uintptr(unsafe.Pointer(m)), unix.MSG_TRUNC) //nolint:gosec // system call
	d.size, d.from.size = int(r), m.Namelen                                                                           //nolint:gosec // a length when errno is 0
	d.ecn = 0
	if m.Controllen >= unix.SizeofCmsghdr+1 {
		d.ecn = marks(&d.control)
	}
	return errno
}

// marks reads the ECN bits (RFC 3168 §5: the lower two) of the one control message that a socket of ours gets. A byte for
// IPv4, an int32 for IPv6:
//
//	length 8 | level 4 | type 4 | IP_TOS 1 or IPV6_TCLASS 4
func marks(control *[32]byte) uint8 {
	const ecn = 3
	data := control[unix.SizeofCmsghdr:]
	switch binary.NativeEndian.Uint32(control[unix.SizeofCmsghdr-4:]) {
	case unix.IP_TOS:
		return data[0] & ecn
	case unix.IPV6_TCLASS:
		return uint8(binary.NativeEndian.Uint32(data) & ecn) //nolint:gosec // two bits
	}
	return 0
}

// marked is the memory of a datagram that leaves with ECN bits.
type marked struct {
	message unix.Msghdr
	vector  unix.Iovec
	control struct {
		header unix.Cmsghdr
		value  int32
		_      int32
	}
}

// sendMarked is send for a packet that came with ECN bits: it leaves with the same ones and our DSCP.
func (c *socket) sendMarked(b []byte, to *sockaddr) syscall.Errno {
	if c.marked == nil {
		c.marked = &marked{}
		m := &c.marked.message
		m.Iov = &c.marked.vector
		m.SetIovlen(1)
		m.Control = (*byte)(unsafe.Pointer(&c.marked.control)) //nolint:gosec // system call
		m.SetControllen(int(unsafe.Sizeof(c.marked.control)))
		h := &c.marked.control.header
		h.SetLen(unix.SizeofCmsghdr + 4)
		h.Level, h.Type = unix.IPPROTO_IP, unix.IP_TOS
		if c.peer.v6 {
			h.Level, h.Type = unix.IPPROTO_IPV6, unix.IPV6_TCLASS
		}
	}
	k := c.marked
	k.control.value = int32(c.stream.spec.DSCP)<<2 | int32(c.ecn)
	k.vector.Base = unsafe.SliceData(b) //nolint:gosec // system call
	k.vector.SetLen(len(b))
	k.message.Name, k.message.Namelen = &to.bytes[0], to.size
	_, _, errno := syscall.RawSyscall(syscall.SYS_SENDMSG, uintptr(c.peer.fd), uintptr(unsafe.Pointer(&k.message)), unix.MSG_NOSIGNAL) //nolint:gosec // system call
	k.vector.Base, k.message.Name = nil, nil                                                                                           // not ours
	return errno
}

// send writes a datagram to the party of c's peer.
func (c *socket) send(b []byte, to *sockaddr) syscall.Errno {
	if c.ecn != 0 {
		return c.sendMarked(b, to)
	}
	return c.sendPlain(b, to)
}

// sendPlain is send for a packet of ours, which has no ECN bits; it touches nothing that is the worker's.
func (c *socket) sendPlain(b []byte, to *sockaddr) syscall.Errno {
	_, _, errno := syscall.RawSyscall6(syscall.SYS_SENDTO, uintptr(c.peer.fd), //nolint:gosec // a descriptor
		uintptr(unsafe.Pointer(unsafe.SliceData(b))), uintptr(len(b)), unix.MSG_NOSIGNAL, //nolint:gosec // system call
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
