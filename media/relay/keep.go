package relay

import (
	"fmt"
	"net/netip"
	"strconv"
	"strings"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"

	"linehall/internal/observe"
)

// Keeper holds duplicates of the relay's sockets where they outlive this process, so that their ports never answer with
// ICMP port unreachable: phones and gateways hang up on that. Its methods may be called by any goroutine and must not
// wait long.
type Keeper interface {
	Keep(name string, fd int) error
	Release(name string) error
}

// Kept is a socket that a Keeper gave back.
type Kept struct {
	Name string
	FD   int // ours from now on
}

// keptPrefix begins the names of our sockets; the port follows.
const keptPrefix = "relay-"

// leftover is how long a socket of before the restart waits for its call to come back.
const leftover = 30 * time.Second

func keptName(port uint16) string { return keptPrefix + strconv.Itoa(int(port)) }

// inherit takes what is kept from before the restart.
func (r *Relay) inherit(kept []Kept) {
	for _, k := range kept {
		port, err := strconv.ParseUint(strings.TrimPrefix(k.Name, keptPrefix), 10, 16)
		if err != nil || !strings.HasPrefix(k.Name, keptPrefix) {
			_ = unix.Close(k.FD) // not ours
			continue
		}
		if old, twice := r.inherited[uint16(port)]; twice {
			_ = unix.Close(old) // the same socket
		}
		r.inherited[uint16(port)] = k.FD
	}
}

// resume returns the descriptor of before the restart, if there is one bound to that address. What waits in it is thrown
// away: it is from the time without us, too old to be heard.
func (r *Relay) resume(at netip.AddrPort) (fd int, ok bool) {
	r.mu.Lock()
	fd, ok = r.inherited[at.Port()]
	delete(r.inherited, at.Port())
	r.mu.Unlock()
	if !ok {
		return -1, false
	}
	if name, err := unix.Getsockname(fd); err != nil || addrPort(name) != at {
		_ = unix.Close(fd) // of another address: this port is bound anew
		r.release(at.Port())
		return -1, false
	}
	discard(fd)
	return fd, true
}

// discard throws away what waits in a socket, many datagrams per system call: after a second without us a thousand sockets
// hold fifty thousand of them, and every call waits for its turn.
func discard(fd int) {
	const most = 200 // of looks: more than a socket holds
	var headers [64]struct {
		header unix.Msghdr // without room: the rest of a datagram goes with it
		_      uint64      // its length
	}
	for range most {
		n, _, errno := unix.RawSyscall6(unix.SYS_RECVMMSG, uintptr(fd), uintptr(unsafe.Pointer(&headers[0])), uintptr(len(headers)), unix.MSG_DONTWAIT, 0, 0) //nolint:gosec // system call
		if errno != 0 || int(n) < len(headers) {                                                                                                              //nolint:gosec // a count
			return
		}
	}
}

func addrPort(name unix.Sockaddr) netip.AddrPort {
	switch a := name.(type) {
	case *unix.SockaddrInet4:
		return netip.AddrPortFrom(netip.AddrFrom4(a.Addr), uint16(a.Port)) //nolint:gosec // a port
	case *unix.SockaddrInet6:
		return netip.AddrPortFrom(netip.AddrFrom16(a.Addr), uint16(a.Port)) //nolint:gosec // a port
	}
	return netip.AddrPort{}
}

// forgetLeftovers closes what no call came back for.
func (r *Relay) forgetLeftovers() {
	r.mu.Lock()
	left := r.inherited
	r.inherited = map[uint16]int{}
	r.mu.Unlock()
	for port, fd := range left {
		_ = unix.Close(fd) // nothing is buffered that anybody wants
		r.release(port)
	}
}

// keep hands a socket to the keeper. Without one, or when it fails, the call goes on: only a crash would be heard.
func (r *Relay) keep(port uint16, fd int) {
	if r.keeper == nil {
		return
	}
	if err := r.keeper.Keep(keptName(port), fd); err != nil {
		r.log.Warn("relay socket is not kept for a restart", observe.Err, err)
	}
}

func (r *Relay) release(port uint16) {
	if r.keeper == nil {
		return
	}
	if err := r.keeper.Release(keptName(port)); err != nil {
		r.log.Debug("relay socket is kept on", observe.Err, fmt.Errorf("port %d: %w", port, err))
	}
}

// forget releases the socket of a stream that ended, unless the whole relay ends: then its call may go on with the next
// process.
func (r *Relay) forget(port uint16) {
	r.mu.Lock()
	closed := r.closed
	r.mu.Unlock()
	if !closed {
		r.release(port)
	}
}
