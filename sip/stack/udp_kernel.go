package stack

import (
	"context"
	"encoding/binary"
	"fmt"
	"net"
	"net/netip"
	"sync"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// kernelSocket is a PacketSocket of the kernel. On a wildcard address
// IP_PKTINFO says which of our addresses a datagram was sent to, and sends the
// answer from that address, however many the machine has.
//
// It goes to the kernel without telling the scheduler (RawSyscall): the descriptor does not block, and a process that
// waits most of the time pays more for that hand-over, which wakes its monitor thread, than for the datagram.
type kernelSocket struct {
	conn *net.UDPConn
	raw  syscall.RawConn
	addr netip.AddrPort
	info bool // wildcard: read and write packet info
	v6   bool // an IPv6 socket, which carries IPv4 as mapped addresses

	in     transfer // the reader's own
	unsent sync.Pool
}

// transfer is one recvmsg or sendmsg: its header and what that points to.
type transfer struct {
	header  unix.Msghdr
	vector  unix.Iovec
	control [64]byte // room for an in_pktinfo or in6_pktinfo, aligned as its header is
	name    [unix.SizeofSockaddrInet6]byte

	n      int
	errno  syscall.Errno
	waited bool                  // there was no datagram yet
	do     func(fd uintptr) bool // made once: a closure for each datagram is garbage
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
	k, err := wrapPacket(conn, addr)
	if err != nil {
		return nil, err
	}
	_ = conn.SetReadBuffer(udpReceiveBuffer) // the kernel gives what it allows
	if k.info {
		if err := k.askForInfo(); err != nil {
			_ = conn.Close()
			return nil, fmt.Errorf("packet info: %w", err)
		}
	}
	return k, nil
}

// wrapPacket takes over a socket that is bound to addr; on an error it is closed.
func wrapPacket(conn *net.UDPConn, addr netip.AddrPort) (*kernelSocket, error) {
	k := &kernelSocket{conn: conn, addr: addr, info: addr.Addr().IsUnspecified(), v6: addr.Addr().Is6()}
	var err error
	if k.raw, err = conn.SyscallConn(); err != nil {
		_ = conn.Close()
		return nil, err //nolint:wrapcheck // the caller names transport and address
	}
	k.in.do = k.in.receive
	k.unsent.New = func() any {
		t := &transfer{}
		t.do = t.send
		return t
	}
	return k, nil
}

// askForInfo has the kernel say of each datagram where it was sent to. A socket of both families says so of IPv4 as well,
// as a mapped address.
func (k *kernelSocket) askForInfo() error {
	level, option := unix.IPPROTO_IP, unix.IP_PKTINFO
	if k.v6 {
		level, option = unix.IPPROTO_IPV6, unix.IPV6_RECVPKTINFO
	}
	var err error
	if cerr := k.raw.Control(func(fd uintptr) { err = unix.SetsockoptInt(int(fd), level, option, 1) }); cerr != nil {
		return cerr //nolint:wrapcheck // PacketSocket
	}
	return err
}

func (k *kernelSocket) LocalAddr() netip.AddrPort { return k.addr }

func (k *kernelSocket) Close() error { return k.conn.Close() } //nolint:wrapcheck // PacketSocket

// Waited reports whether the last ReadFrom had to wait for its datagram; for the goroutine that reads.
func (k *kernelSocket) Waited() bool { return k.in.waited }

// ReadFrom is called by one goroutine at a time.
func (k *kernelSocket) ReadFrom(b []byte) (int, netip.AddrPort, netip.Addr, error) {
	t := &k.in
	t.waited = false
	t.point(b, len(t.name), 0)
	if k.info {
		t.point(b, len(t.name), len(t.control))
	}
	if err := k.raw.Read(t.do); err != nil {
		return 0, netip.AddrPort{}, netip.Addr{}, err //nolint:wrapcheck // PacketSocket
	}
	if t.errno != 0 {
		return 0, netip.AddrPort{}, netip.Addr{}, t.errno
	}
	local := k.addr.Addr()
	if k.info {
		local = t.destination()
	}
	return t.n, t.remote(), local.Unmap(), nil
}

func (k *kernelSocket) WriteTo(b []byte, remote netip.AddrPort, local netip.Addr) error {
	t := k.unsent.Get().(*transfer) //nolint:errcheck,forcetypeassert // New makes nothing else
	defer k.unsent.Put(t)
	size := t.address(remote, k.v6)
	if size == 0 {
		return unix.EAFNOSUPPORT
	}
	control := 0
	if k.info && local.IsValid() && !local.IsUnspecified() && !local.IsMulticast() {
		control = copy(t.control[:], k.source(local))
	}
	err := k.send(t, b, size, control)
	if err == unix.EINVAL && control > 0 { //nolint:errorlint // an errno as it is
		// The address is no longer ours (a stored flow after renumbering): let the kernel choose.
		err = k.send(t, b, size, 0)
	}
	return err
}

func (k *kernelSocket) send(t *transfer, b []byte, size, control int) error {
	t.point(b, size, control)
	err := k.raw.Write(t.do)
	t.vector.Base = nil // b is the caller's again
	if err != nil {
		return err //nolint:wrapcheck // PacketSocket
	}
	if t.errno != 0 {
		return t.errno
	}
	return nil
}

func (k *kernelSocket) source(local netip.Addr) []byte {
	if k.v6 {
		return unix.PktInfo6(&unix.Inet6Pktinfo{Addr: local.As16()}) // mapped for IPv4
	}
	return unix.PktInfo4(&unix.Inet4Pktinfo{Spec_dst: local.As4()})
}

// point fills the header for a datagram of b with size bytes of address and control bytes of control messages.
func (t *transfer) point(b []byte, size, control int) {
	t.vector.Base = unsafe.SliceData(b) //nolint:gosec // system call
	t.vector.SetLen(len(b))
	t.header = unix.Msghdr{Name: &t.name[0], Namelen: uint32(size), Iov: &t.vector} //nolint:gosec // at most 28
	t.header.SetIovlen(1)
	if control > 0 {
		t.header.Control = &t.control[0]
		t.header.SetControllen(control)
	}
}

func (t *transfer) receive(fd uintptr) bool {
	n, _, errno := syscall.RawSyscall(syscall.SYS_RECVMSG, fd, uintptr(unsafe.Pointer(&t.header)), 0) //nolint:gosec // system call
	t.n, t.errno = int(n), errno                                                                      //nolint:gosec // a length when errno is 0
	t.waited = t.waited || errno == syscall.EAGAIN
	return errno != syscall.EAGAIN && errno != syscall.EINTR
}

func (t *transfer) send(fd uintptr) bool {
	_, _, t.errno = syscall.RawSyscall(syscall.SYS_SENDMSG, fd, uintptr(unsafe.Pointer(&t.header)), unix.MSG_NOSIGNAL) //nolint:gosec // system call
	return t.errno != syscall.EAGAIN && t.errno != syscall.EINTR
}

// address writes remote as a struct sockaddr_in or sockaddr_in6 and returns its length, 0 for an address that a socket of
// that family does not reach.
//
//	sockaddr_in   family 2 | port 2, network order | address 4 | zero 8
//	sockaddr_in6  family 2 | port 2, network order | flow 4 | address 16 | scope 4
func (t *transfer) address(remote netip.AddrPort, v6 bool) int {
	clear(t.name[:])
	binary.BigEndian.PutUint16(t.name[2:], remote.Port())
	switch addr := remote.Addr(); {
	case v6 && addr.IsValid():
		binary.NativeEndian.PutUint16(t.name[0:], unix.AF_INET6)
		ip := addr.As16() // mapped for IPv4
		copy(t.name[8:], ip[:])
		binary.NativeEndian.PutUint32(t.name[24:], scope(addr.Zone()))
		return unix.SizeofSockaddrInet6
	case !v6 && addr.Unmap().Is4():
		binary.NativeEndian.PutUint16(t.name[0:], unix.AF_INET)
		ip := addr.Unmap().As4()
		copy(t.name[4:], ip[:])
		return unix.SizeofSockaddrInet4
	}
	return 0
}

// scope is the number of the interface that a link-local address belongs to.
func scope(zone string) uint32 {
	if zone == "" {
		return 0
	}
	ifi, err := net.InterfaceByName(zone)
	if err != nil {
		return 0
	}
	return uint32(ifi.Index) //nolint:gosec // a small number
}

// remote is where the datagram came from.
func (t *transfer) remote() netip.AddrPort {
	port := binary.BigEndian.Uint16(t.name[2:])
	if binary.NativeEndian.Uint16(t.name[0:]) == unix.AF_INET {
		return netip.AddrPortFrom(netip.AddrFrom4([4]byte(t.name[4:8])), port)
	}
	addr := netip.AddrFrom16([16]byte(t.name[8:24]))
	if index := binary.NativeEndian.Uint32(t.name[24:]); index != 0 && addr.IsLinkLocalUnicast() {
		if ifi, err := net.InterfaceByIndex(int(index)); err == nil {
			return netip.AddrPortFrom(addr.WithZone(ifi.Name), port)
		}
	}
	return netip.AddrPortFrom(addr.Unmap(), port)
}

// destination is which of our addresses the datagram was sent to; invalid when the kernel did not say.
func (t *transfer) destination() netip.Addr {
	control := t.control[:min(int(t.header.Controllen), len(t.control))] //nolint:gosec // the kernel's count of our room
	if len(control) < unix.SizeofCmsghdr {
		return netip.Addr{}
	}
	// Only one kind of message was asked for, and the header's layout is that of the machine.
	header := (*unix.Cmsghdr)(unsafe.Pointer(&control[0])) //nolint:gosec // at least one header long
	data := control[unix.CmsgLen(0):]
	switch {
	case header.Level == unix.IPPROTO_IP && header.Type == unix.IP_PKTINFO && len(data) >= unix.SizeofInet4Pktinfo:
		return netip.AddrFrom4([4]byte(data[8:12])) // struct in_pktinfo: interface, local address, destination of the header
	case header.Level == unix.IPPROTO_IPV6 && header.Type == unix.IPV6_PKTINFO && len(data) >= unix.SizeofInet6Pktinfo:
		return netip.AddrFrom16([16]byte(data[:16])) // struct in6_pktinfo: destination, interface
	}
	return netip.Addr{}
}
