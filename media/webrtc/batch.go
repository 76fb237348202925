package webrtc

import (
	"encoding/binary"
	"net/netip"
	"slices"
	"syscall"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

const (
	// The kernel cuts a message into at most 64 datagrams (UDP_MAX_SEGMENTS of older kernels) of at most 64 KiB together.
	mostSegments = 64
	mostOctets   = 64000
	// mostHeld is how long a datagram waits for the rest of its frame. Timers are late by another half a millisecond.
	mostHeld = time.Millisecond
)

// mmsghdr is the kernel's struct mmsghdr.
type mmsghdr struct {
	hdr  unix.Msghdr
	sent uint32
	_    uint32
}

// control are two control messages: IP_TOS or IPV6_TCLASS, and UDP_SEGMENT, which is left out for a single datagram.
type control struct {
	hdr     unix.Cmsghdr
	tos     int32
	_       int32
	gso     unix.Cmsghdr
	segment uint16
	_       [6]byte
}

// entry is one datagram of a batch.
type entry struct {
	size int32
	next int32 // of the same peer and class; -1: none
	tos  uint8
}

// peer is a destination and a class within a batch.
type peer struct{ first, last int32 }

// batch is the memory of some datagrams, and of the messages that they are sent as.
type batch struct {
	n       int
	entries []entry
	names4  []unix.RawSockaddrInet4
	names6  []unix.RawSockaddrInet6
	data    [][receiveMTU]byte
	v6      bool

	peers    []peer
	order    []int32 // entries in the order of sending
	vectors  []unix.Iovec
	headers  []mmsghdr
	control  []control
	messages int
	from     int // where the running send begins
	errno    syscall.Errno
	write    func(fd uintptr) bool
}

func (s *socket) newBatch(size int) *batch {
	b := &batch{
		entries: make([]entry, size), headers: make([]mmsghdr, size), vectors: make([]unix.Iovec, size), control: make([]control, size),
		names4: make([]unix.RawSockaddrInet4, size), names6: make([]unix.RawSockaddrInet6, size),
		data: make([][receiveMTU]byte, size), peers: make([]peer, 0, size), order: make([]int32, size), v6: s.v6,
	}
	for i := range size {
		b.names4[i].Family, b.names6[i].Family = unix.AF_INET, unix.AF_INET6
		c := &b.control[i]
		c.hdr.Level, c.hdr.Type = unix.IPPROTO_IP, unix.IP_TOS
		if s.v6 {
			c.hdr.Level, c.hdr.Type = unix.IPPROTO_IPV6, unix.IPV6_TCLASS
		}
		c.hdr.SetLen(unix.CmsgLen(4))
		c.gso.Level, c.gso.Type = unix.IPPROTO_UDP, unix.UDP_SEGMENT
		c.gso.SetLen(unix.CmsgLen(2))
		b.headers[i].hdr.Control = (*byte)(unsafe.Pointer(c)) //nolint:gosec // the kernel's untyped field
	}
	b.write = func(fd uintptr) bool {
		for b.from < b.messages {
			n, _, errno := unix.RawSyscall6(unix.SYS_SENDMMSG, fd, uintptr(unsafe.Pointer(&b.headers[b.from])), uintptr(b.messages-b.from), unix.MSG_DONTWAIT, 0, 0) //nolint:gosec // arguments of a system call
			if errno != 0 {
				b.errno = errno
				return true
			}
			b.from += int(n)
		}
		return true
	}
	return b
}

// add copies a datagram into the batch; it must have room.
func (b *batch) add(payload []byte, to netip.AddrPort, tos uint8) {
	i := b.n
	b.n++
	b.entries[i] = entry{size: int32(copy(b.data[i][:], payload)), next: -1, tos: tos} //nolint:gosec // at most receiveMTU
	port := networkOrder(to.Port())
	if to.Addr().Is4() || to.Addr().Is4In6() {
		b.names4[i].Addr = to.Addr().As4()
		b.names4[i].Port = port
	} else {
		b.names6[i].Addr = to.Addr().As16()
		b.names6[i].Port = port
	}
}

// networkOrder turns a port between the host's order and the network's; it is its own inverse.
func networkOrder(port uint16) uint16 {
	var b [2]byte
	binary.BigEndian.PutUint16(b[:], port)
	return binary.NativeEndian.Uint16(b[:])
}

// sort puts the datagrams of each peer and class together, in the order in which they came.
func (b *batch) sort() {
	b.peers = b.peers[:0]
	guess := 0                  // a fan-out goes to the same peers in the same order, packet after packet
	for i := range int32(b.n) { //nolint:gosec // at most batchSize
		g := -1
		for k := range b.peers {
			if at := (guess + k) % len(b.peers); b.same(b.peers[at].first, i) {
				g = at
				break
			}
		}
		if g < 0 {
			g = len(b.peers)
			b.peers = append(b.peers, peer{first: i, last: i})
		} else {
			b.entries[b.peers[g].last].next = i
			b.peers[g].last = i
		}
		guess = g + 1
	}
	k := 0
	for _, p := range b.peers {
		for i := p.first; i >= 0; i = b.entries[i].next {
			b.order[k] = i
			b.vectors[k].Base = &b.data[i][0]
			b.vectors[k].SetLen(int(b.entries[i].size))
			k++
		}
	}
}

func (b *batch) same(i, j int32) bool {
	if b.entries[i].tos != b.entries[j].tos {
		return false
	}
	if b.v6 {
		return b.names6[i].Port == b.names6[j].Port && b.names6[i].Addr == b.names6[j].Addr
	}
	return b.names4[i].Port == b.names4[j].Port && b.names4[i].Addr == b.names4[j].Addr
}

// lay makes messages of the datagrams from the k-th on: neighbours to the same peer are one message if all are as long as its
// first, but for the last, which may be shorter (udp(7), UDP_SEGMENT). whole: a message each.
func (b *batch) lay(k int, whole bool) {
	b.messages, b.from = 0, 0
	for k < b.n {
		i := b.order[k]
		size, n, octets := b.entries[i].size, 1, b.entries[i].size
		for !whole && k+n < b.n && n < mostSegments && octets+size < mostOctets && b.entries[b.order[k+n-1]].size == size {
			next := b.order[k+n]
			if b.entries[next].size > size || !b.same(i, next) {
				break
			}
			octets += b.entries[next].size
			n++
		}
		h := &b.headers[b.messages].hdr
		c := &b.control[b.messages]
		h.Iov = &b.vectors[k]
		h.SetIovlen(n)
		if b.v6 {
			h.Name, h.Namelen = (*byte)(unsafe.Pointer(&b.names6[i])), unix.SizeofSockaddrInet6 //nolint:gosec // the kernel's untyped field
		} else {
			h.Name, h.Namelen = (*byte)(unsafe.Pointer(&b.names4[i])), unix.SizeofSockaddrInet4 //nolint:gosec // as above
		}
		c.tos, c.segment = int32(b.entries[i].tos), uint16(size) //nolint:gosec // at most receiveMTU
		h.SetControllen(unix.CmsgSpace(4))
		if n > 1 {
			h.SetControllen(unix.CmsgSpace(4) + unix.CmsgSpace(2))
		}
		b.messages++
		k += n
	}
}

// datagrams is how many the messages before one were.
func (b *batch) datagrams(from, to int) (n int) {
	for m := from; m < to; m++ {
		n += int(b.headers[m].hdr.Iovlen)
	}
	return n
}

// uncut is what the kernel says where it cannot cut a message: a device without checksums, a route with a smaller MTU.
var uncut = []syscall.Errno{unix.EIO, unix.EINVAL, unix.EOPNOTSUPP, unix.EMSGSIZE}

// send gives the batch to the kernel and empties it. A datagram that the kernel refuses is counted and skipped.
func (s *socket) send(b *batch) {
	b.sort()
	b.lay(0, s.whole.Load())
	for done := 0; b.from < b.messages; {
		b.errno = 0
		from := b.from
		if err := s.raw.Write(b.write); err != nil {
			break // closed
		}
		s.plane.calls.Inc()
		sent := b.datagrams(from, b.from)
		done += sent
		s.plane.sent.Add(float64(sent))
		if b.errno == 0 || b.errno == unix.EINTR {
			continue
		}
		if b.headers[b.from].hdr.Iovlen > 1 && slices.Contains(uncut, b.errno) {
			s.whole.Store(true) // from now on each datagram is a message
			b.lay(done, true)
			continue
		}
		reason := "send_failed"
		if b.errno == unix.EAGAIN || b.errno == unix.ENOBUFS {
			reason = "send_buffer_full"
		}
		lost := b.datagrams(b.from, b.from+1)
		for range lost {
			s.plane.options.Dropped.Count("media", reason)
		}
		done += lost
		b.from++
	}
	b.n = 0
}

// Begin starts a fan-out: datagrams written by any goroutine are collected until the matching End or Hold.
func (p *Plane) Begin() { p.collecting.Add(1) }

// End sends what was collected since Begin, with one system call per socket. Fan-outs of several goroutines may overlap: each
// End sends what is there.
func (p *Plane) End() {
	p.collecting.Add(-1)
	p.flush()
}

// Hold ends a fan-out that another one follows at once: what was collected leaves with it, or a millisecond later.
func (p *Plane) Hold() {
	p.collecting.Add(-1)
	if p.held.CompareAndSwap(false, true) {
		p.timer.Reset(mostHeld)
	}
}

func (p *Plane) flush() {
	if p.held.CompareAndSwap(true, false) {
		p.timer.Stop()
	}
	for _, s := range p.sockets {
		s.flush()
	}
}
