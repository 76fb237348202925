package voice

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// batch is how many datagrams one recvmmsg takes: at 50 packets/s per stream one is the rule, a handful after a pause.
const batch = 8

// datagramMax holds any packet a G.711 stream can meet, RTCP compounds included.
const datagramMax = 1500

// arrival is one received datagram; data is valid until the next read.
type arrival struct {
	data []byte
	from netip.AddrPort
	at   int64 // kernel arrival time, Unix nanoseconds
}

// mmsghdr is struct mmsghdr of recvmmsg(2).
type mmsghdr struct {
	hdr unix.Msghdr
	len uint32
	_   [4]byte
}

// udpSocket is a non-blocking IPv4 socket driven by the engine's clock, not by the runtime's poller.
type udpSocket struct {
	fd    int
	local netip.AddrPort
	to    unix.RawSockaddrInet4

	msgs     [batch]mmsghdr
	vecs     [batch]unix.Iovec
	names    [batch]unix.RawSockaddrInet4
	controls [batch][64]byte
	buffers  [batch][datagramMax]byte
}

// bindPair binds an even port and the odd one after it.
func bindPair(local netip.Addr) (rtp, rtcp *udpSocket, err error) {
	const attempts = 64
	var last error
	for range attempts {
		rtp, err := bindSocket(netip.AddrPortFrom(local, 0))
		if err != nil {
			return nil, nil, err
		}
		if rtp.local.Port()%2 == 0 {
			rtcp, err := bindSocket(netip.AddrPortFrom(local, rtp.local.Port()+1))
			if err == nil {
				return rtp, rtcp, nil
			}
			last = err
		}
		rtp.close()
	}
	return nil, nil, errors.Join(fmt.Errorf("voice: no even and odd port pair free on %s", local), last)
}

func bindSocket(local netip.AddrPort) (*udpSocket, error) {
	if !local.Addr().Is4() {
		return nil, fmt.Errorf("voice: %s is not an IPv4 address", local.Addr())
	}
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, unix.IPPROTO_UDP)
	if err != nil {
		return nil, fmt.Errorf("voice: socket: %w", err)
	}
	s := &udpSocket{fd: fd}
	if err := s.prepare(local); err != nil {
		s.close()
		return nil, fmt.Errorf("voice: bind %s: %w", local, err)
	}
	return s, nil
}

func (s *udpSocket) prepare(local netip.AddrPort) error {
	if err := unix.SetsockoptInt(s.fd, unix.SOL_SOCKET, unix.SO_TIMESTAMPNS, 1); err != nil {
		return fmt.Errorf("SO_TIMESTAMPNS: %w", err)
	}
	// EF for voice (RFC 4594 §4.1), as a phone marks it.
	if err := unix.SetsockoptInt(s.fd, unix.IPPROTO_IP, unix.IP_TOS, 46<<2); err != nil {
		return fmt.Errorf("IP_TOS: %w", err)
	}
	if err := unix.Bind(s.fd, &unix.SockaddrInet4{Port: int(local.Port()), Addr: local.Addr().As4()}); err != nil {
		return err // the caller names the address
	}
	name, err := unix.Getsockname(s.fd)
	if err != nil {
		return fmt.Errorf("getsockname: %w", err)
	}
	in4, ok := name.(*unix.SockaddrInet4)
	if !ok {
		return fmt.Errorf("unexpected address family %T", name)
	}
	s.local = netip.AddrPortFrom(netip.AddrFrom4(in4.Addr), uint16(in4.Port))
	for i := range s.msgs {
		s.vecs[i].Base = &s.buffers[i][0]
		s.vecs[i].SetLen(datagramMax)
		s.msgs[i].hdr.Iov = &s.vecs[i]
		s.msgs[i].hdr.SetIovlen(1)
		s.msgs[i].hdr.Name = (*byte)(unsafe.Pointer(&s.names[i]))
		s.msgs[i].hdr.Control = &s.controls[i][0]
	}
	return nil
}

// setRemote fixes where send goes.
func (s *udpSocket) setRemote(to netip.AddrPort) {
	s.to = unix.RawSockaddrInet4{Family: unix.AF_INET, Addr: to.Addr().Unmap().As4()}
	binary.BigEndian.PutUint16((*[2]byte)(unsafe.Pointer(&s.to.Port))[:], to.Port())
}

// send hands one datagram to the kernel. Errors are the network's (a refused port of a phone that hung up) and not
// acted upon: the packet then counts as lost at the other end.
func (s *udpSocket) send(data []byte) bool {
	if len(data) == 0 || s.to.Family == 0 {
		return false
	}
	_, _, errno := unix.RawSyscall6(unix.SYS_SENDTO, uintptr(s.fd), uintptr(unsafe.Pointer(&data[0])), uintptr(len(data)),
		unix.MSG_DONTWAIT|unix.MSG_NOSIGNAL, uintptr(unsafe.Pointer(&s.to)), unix.SizeofSockaddrInet4)
	return errno == 0
}

// receive passes every waiting datagram to take, which borrows it.
func (s *udpSocket) receive(take func(arrival)) {
	for {
		for i := range s.msgs {
			s.msgs[i].hdr.Namelen = unix.SizeofSockaddrInet4
			s.msgs[i].hdr.SetControllen(len(s.controls[i]))
		}
		n, _, errno := unix.RawSyscall6(unix.SYS_RECVMMSG, uintptr(s.fd), uintptr(unsafe.Pointer(&s.msgs[0])), batch,
			unix.MSG_DONTWAIT, 0, 0)
		if errno != 0 { // EAGAIN: empty; ECONNREFUSED: an ICMP error of an earlier send, consumed by this call
			if errno == unix.ECONNREFUSED || errno == unix.EINTR {
				continue
			}
			return
		}
		for i := range int(n) {
			take(s.arrival(i))
		}
		if int(n) < batch {
			return
		}
	}
}

func (s *udpSocket) arrival(i int) arrival {
	port := binary.BigEndian.Uint16((*[2]byte)(unsafe.Pointer(&s.names[i].Port))[:])
	return arrival{
		data: s.buffers[i][:min(int(s.msgs[i].len), datagramMax)],
		from: netip.AddrPortFrom(netip.AddrFrom4(s.names[i].Addr), port),
		at:   timestamp(s.controls[i][:min(uint64(s.msgs[i].hdr.Controllen), 64)]),
	}
}

// timestamp reads the kernel's time from the control message of SO_TIMESTAMPNS:
//
//	0        8      12     16        24
//	| length | level | type | seconds | nanoseconds |
func timestamp(control []byte) int64 {
	if len(control) < 32 || int32(binary.NativeEndian.Uint32(control[12:])) != unix.SCM_TIMESTAMPNS {
		return time.Now().UnixNano()
	}
	seconds := int64(binary.NativeEndian.Uint64(control[16:]))
	nanoseconds := int64(binary.NativeEndian.Uint64(control[24:]))
	return seconds*int64(time.Second) + nanoseconds
}

func (s *udpSocket) close() {
	if s.fd >= 0 {
		_ = unix.Close(s.fd) // nothing is buffered; the descriptor is gone either way
		s.fd = -1
	}
}
