package webrtc

// The life of a datagram on its way out:
//
//  1. A writer (any goroutine) calls WriteToAddrPort with bytes that it keeps.
//  2. Outside a fan-out it leaves at once: one sendmsg on the writer's goroutine.
//  3. Inside one (Plane.Begin was called) it is copied into the batch that the socket is filling, under mu.
//  4. Plane.End takes the filled batch under mu, puts the empty one in its place, and sends it with one sendmmsg, what goes to
//     one peer as one message that is cut into datagrams by the kernel (see batch.go). sendMu keeps two batches in order, mu is
//     free meanwhile. Plane.Hold leaves the batch for the next packet of the same frame.
//
// A full socket buffer drops the packet: it is counted, nobody waits. Lock order: sendMu, then mu.

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

const (
	batchSize        = 256
	socketBufferSize = 4 << 20 // about 1.5 s of a full fan-out
)

// socket is a UDP socket bound to one of our addresses. It is the net.PacketConn under pion's mux.
type socket struct {
	plane *Plane
	conn  *net.UDPConn
	raw   syscall.RawConn
	local netip.AddrPort
	v6    bool

	sendMu sync.Mutex // guards the order of batches; spare belongs to its holder
	spare  *batch
	mu     sync.Mutex // guards filling
	// filling collects the fan-out under way.
	filling *batch
	pending atomic.Int32

	singles sync.Pool   // *batch used for one datagram
	whole   atomic.Bool // the kernel, or a device, does not cut messages
	claims  atomic.Pointer[claims]
	reader  reader
}

// reader is the state of the one receive call under way: the mux has one reader per socket.
type reader struct {
	buf   []byte
	n     int
	name  unix.RawSockaddrInet6 // large enough for both families
	errno syscall.Errno
	read  func(fd uintptr) bool
}

func (p *Plane) openSocket(at netip.AddrPort) (*socket, error) {
	network := "udp4"
	if at.Addr().Is6() {
		network = "udp6"
	}
	conn, err := net.ListenUDP(network, net.UDPAddrFromAddrPort(at))
	if err != nil {
		return nil, fmt.Errorf("media port %s/udp: %w", at, err)
	}
	raw, err := conn.SyscallConn()
	if err != nil {
		return nil, errors.Join(fmt.Errorf("media port %s/udp: %w", at, err), conn.Close())
	}
	// The kernel caps what it does not allow; smaller buffers drop sooner, which is counted.
	_ = conn.SetReadBuffer(socketBufferSize)
	_ = conn.SetWriteBuffer(socketBufferSize)
	bound, err := netip.ParseAddrPort(conn.LocalAddr().String())
	if err != nil {
		return nil, errors.Join(fmt.Errorf("media port %s/udp: %w", at, err), conn.Close())
	}
	s := &socket{plane: p, conn: conn, raw: raw, local: bound, v6: at.Addr().Is6()}
	s.filling, s.spare = s.newBatch(batchSize), s.newBatch(batchSize)
	s.singles.New = func() any { return s.newBatch(1) }
	s.reader.read = s.receive
	s.claims.Store(&claims{})
	return s, nil
}

// WriteToAddrPort sends or collects one datagram. The buffer is borrowed until it returns.
func (s *socket) WriteToAddrPort(buf []byte, to netip.AddrPort) (int, error) {
	if len(buf) > receiveMTU || to.Addr().Unmap().Is4() == s.v6 {
		s.plane.options.Dropped.Count("media", "unsendable")
		return 0, syscall.EMSGSIZE
	}
	if s.strange(to.Addr()) {
		return len(buf), nil
	}
	tos := s.plane.tosOf(buf)
	if s.plane.collecting.Load() > 0 && s.collect(buf, to, tos) {
		return len(buf), nil
	}
	b, ok := s.singles.Get().(*batch)
	if !ok {
		return 0, syscall.ENOBUFS
	}
	b.add(buf, to, tos)
	s.send(b)
	s.singles.Put(b)
	return len(buf), nil
}

// collect puts the datagram into the fan-out under way; false: there is none any more.
func (s *socket) collect(buf []byte, to netip.AddrPort, tos uint8) bool {
	for {
		s.mu.Lock()
		// Plane.End lowers the counter before it takes mu to flush: a datagram added while the counter is up is flushed.
		if s.plane.collecting.Load() == 0 {
			s.mu.Unlock()
			return false
		}
		if s.filling.n < batchSize {
			s.filling.add(buf, to, tos)
			s.pending.Store(int32(s.filling.n))
			s.mu.Unlock()
			return true
		}
		s.mu.Unlock()
		s.flush()
	}
}

// flush sends what was collected.
func (s *socket) flush() {
	if s.pending.Load() == 0 {
		return
	}
	s.sendMu.Lock()
	defer s.sendMu.Unlock()
	s.mu.Lock()
	full := s.filling
	s.filling = s.spare
	s.pending.Store(0)
	s.mu.Unlock()
	s.send(full)
	s.spare = full
}

// receive is called by the netpoller until a datagram or an error is there.
func (s *socket) receive(fd uintptr) bool {
	r := &s.reader
	size := uint32(unsafe.Sizeof(r.name))
	for {
		n, _, errno := unix.RawSyscall6(unix.SYS_RECVFROM, fd, uintptr(unsafe.Pointer(&r.buf[0])), uintptr(len(r.buf)), //nolint:gosec // arguments of a system call
			unix.MSG_DONTWAIT, uintptr(unsafe.Pointer(&r.name)), uintptr(unsafe.Pointer(&size))) //nolint:gosec // arguments of a system call
		switch errno {
		case 0:
			r.n, r.errno = int(n), 0
			return true
		case unix.EINTR, unix.ECONNREFUSED: // an earlier datagram's ICMP error is not ours to handle
		case unix.EAGAIN:
			return false
		default:
			r.errno = errno
			return true
		}
	}
}

// ReadFromAddrPort waits for a datagram. One goroutine at a time.
func (s *socket) ReadFromAddrPort(buf []byte) (int, netip.AddrPort, error) {
	s.reader.buf = buf
	for {
		if err := s.raw.Read(s.reader.read); err != nil {
			return 0, netip.AddrPort{}, err //nolint:wrapcheck // the mux looks for net.ErrClosed and time-outs
		}
		if s.reader.errno != 0 {
			return 0, netip.AddrPort{}, s.reader.errno
		}
		if from := s.reader.source(); !s.strange(from.Addr()) && !s.divert(buf[:s.reader.n], from) {
			return s.reader.n, from, nil
		}
	}
}

// strange says that the pair would be of our loopback address and a peer's other one. On one machine the kernel carries such
// datagrams, so the check succeeds and pion may nominate the pair; Firefox, which never uses loopback, does not follow, and the
// connection hangs. Without it the pair of the proper addresses is chosen.
func (s *socket) strange(peer netip.Addr) bool {
	return s.local.Addr().IsLoopback() && !peer.Unmap().IsLoopback()
}

func (r *reader) source() netip.AddrPort {
	port := networkOrder(r.name.Port)
	if r.name.Family == unix.AF_INET {
		name := (*unix.RawSockaddrInet4)(unsafe.Pointer(&r.name)) //nolint:gosec // arguments of a system call
		return netip.AddrPortFrom(netip.AddrFrom4(name.Addr), port)
	}
	return netip.AddrPortFrom(netip.AddrFrom16(r.name.Addr), port)
}

// ReadFrom is the net.PacketConn form of ReadFromAddrPort.
func (s *socket) ReadFrom(buf []byte) (int, net.Addr, error) {
	n, from, err := s.ReadFromAddrPort(buf)
	if err != nil {
		return 0, nil, err
	}
	return n, net.UDPAddrFromAddrPort(from), nil
}

// WriteTo is the net.PacketConn form of WriteToAddrPort.
func (s *socket) WriteTo(buf []byte, to net.Addr) (int, error) {
	addr, ok := to.(*net.UDPAddr)
	if !ok {
		return 0, syscall.EAFNOSUPPORT
	}
	return s.WriteToAddrPort(buf, addr.AddrPort())
}

func (s *socket) Close() error                       { return s.conn.Close() } //nolint:wrapcheck // net names the operation
func (s *socket) LocalAddr() net.Addr                { return s.conn.LocalAddr() }
func (s *socket) SetDeadline(t time.Time) error      { return s.conn.SetDeadline(t) }      //nolint:wrapcheck // as above
func (s *socket) SetReadDeadline(t time.Time) error  { return s.conn.SetReadDeadline(t) }  //nolint:wrapcheck // as above
func (s *socket) SetWriteDeadline(t time.Time) error { return s.conn.SetWriteDeadline(t) } //nolint:wrapcheck // as above

var _ net.PacketConn = (*socket)(nil)
