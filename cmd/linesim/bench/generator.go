package bench

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"runtime"
	"strconv"
	"strings"
	"time"
	"unsafe"

	"github.com/pion/srtp/v3"
	"golang.org/x/sys/unix"

	"linehall/cmd/linesim/report"
)

// generator is the load of the relay benches: a socket per party, one thread on a core of its own that never sleeps. It
// sends RTP evenly spread over all parties and takes what comes back. Delays are from just before the send call to the
// kernel's receipt on the far party's socket (SO_TIMESTAMPNS), so they hold the relay's time and nothing of ours.
//
// It tells whose loss is whose: what a receive queue of ours dropped, the kernel counts on that socket; everything else
// that was sent and did not arrive was lost by the relay.
type generator struct {
	core    int      // to run on; -1: any
	network *network // of the parties
	parties []party
	ours    map[string]bool // as /proc/net/udp writes their addresses
	epoll   int
	message unix.Msghdr
	vector  unix.Iovec
	control [64]byte
	buffer  [2048]byte
	sent    uint64
	byFD    map[int32]int // which party
	scratch []byte        // of the party that talks SRTP
}

// party is one end of a call.
type party struct {
	fd    int
	local netip.AddrPort
	to    unix.RawSockaddrInet4
	seq   uint16
	seal  *srtp.Context // nil: RTP
	open  *srtp.Context
}

// volley is what one run of the generator saw.
type volley struct {
	sent, unsent, received uint64
	lostHere               uint64   // dropped by our own receive queues
	deaf                   []string // parties that heard nothing, and where they send
	delay                  report.Histogram
	took                   time.Duration
	calls                  time.Duration // spent in system calls that send and receive
}

// lostThere is what the relay lost.
func (v *volley) lostThere() uint64 {
	if v.received+v.lostHere >= v.sent {
		return 0
	}
	return v.sent - v.received - v.lostHere
}

const (
	rtpSize   = 172 // 20 ms of G.711
	stampAt   = 12  // send time, then the number of the volley, in the payload
	volleyAt  = 20
	numberAt  = 28  // whose it is: a relay may give it another SSRC
	rtpPeriod = 160 // ticks
)

var errGenerator = errors.New("load generator")

// newGenerator opens a socket per address.
func newGenerator(core int, n *network, locals []netip.Addr) (g *generator, err error) {
	g = &generator{core: core, network: n, ours: map[string]bool{}, byFD: map[int32]int{}}
	if g.epoll, err = unix.EpollCreate1(unix.EPOLL_CLOEXEC); err != nil {
		return nil, fmt.Errorf("%w: %w", errGenerator, err)
	}
	for _, local := range locals {
		var p party
		err := n.inside(local, func() (err error) { p, err = openParty(local); return err })
		if err != nil {
			g.close()
			return nil, err
		}
		g.byFD[int32(p.fd)] = len(g.parties) //nolint:gosec // a descriptor
		g.parties = append(g.parties, p)
		ip := p.local.Addr().As4()
		g.ours[fmt.Sprintf("%08X:%04X", binary.NativeEndian.Uint32(ip[:]), p.local.Port())] = true
		event := unix.EpollEvent{Events: unix.EPOLLIN, Fd: int32(p.fd)} //nolint:gosec // a descriptor
		if err := unix.EpollCtl(g.epoll, unix.EPOLL_CTL_ADD, p.fd, &event); err != nil {
			g.close()
			return nil, fmt.Errorf("%w: %w", errGenerator, err)
		}
	}
	g.vector.Base = &g.buffer[0]
	g.vector.SetLen(len(g.buffer))
	g.message.Iov = &g.vector
	g.message.SetIovlen(1)
	g.message.Control = &g.control[0]
	return g, nil
}

func openParty(local netip.Addr) (p party, err error) {
	if p.fd, err = unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0); err != nil {
		return p, fmt.Errorf("%w: %w", errGenerator, err)
	}
	err = errors.Join(
		unix.SetsockoptInt(p.fd, unix.SOL_SOCKET, unix.SO_TIMESTAMPNS, 1),
		unix.Bind(p.fd, &unix.SockaddrInet4{Addr: local.As4()}))
	name, nameErr := unix.Getsockname(p.fd)
	if err = errors.Join(err, nameErr); err != nil {
		return p, errors.Join(fmt.Errorf("%w: %w", errGenerator, err), unix.Close(p.fd))
	}
	p.local = netip.AddrPortFrom(local, uint16(name.(*unix.SockaddrInet4).Port)) //nolint:gosec // a port
	return p, nil
}

func (g *generator) close() {
	for _, p := range g.parties {
		_ = unix.Close(p.fd) // nothing is buffered
	}
	_ = unix.Close(g.epoll)
}

// aim says where a party sends.
func (g *generator) aim(i int, to netip.AddrPort) {
	p := &g.parties[i]
	p.to = unix.RawSockaddrInet4{Family: unix.AF_INET, Addr: to.Addr().Unmap().As4()}
	binary.BigEndian.PutUint16((*[2]byte)(unsafe.Pointer(&p.to.Port))[:], to.Port())
}

// fire sends rate packets per second for that long, one party after the other, and listens a little longer.
func (g *generator) fire(ctx context.Context, rate float64, length time.Duration) (*volley, error) {
	type outcome struct {
		v   *volley
		err error
	}
	done := make(chan outcome)
	go func() {
		// The thread goes back as it was: servers end with the thread that started them (Pdeathsig), which may be this one.
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		if g.core >= 0 {
			back, err := stayOn(g.core)
			if err != nil {
				done <- outcome{err: err}
				return
			}
			defer back()
		}
		v, err := g.volley(ctx, rate, length)
		done <- outcome{v, err}
	}()
	o := <-done
	return o.v, o.err
}

func (g *generator) volley(ctx context.Context, rate float64, length time.Duration) (*volley, error) {
	const settle = 100 * time.Millisecond // more than any queue holds at these rates
	v := &volley{}
	heard := make([]bool, len(g.parties))
	packet := make([]byte, rtpSize)
	packet[0], packet[1] = 2<<6, 8
	id := g.sent + 1 // no two volleys have the same
	binary.BigEndian.PutUint64(packet[volleyAt:], id)
	dropsBefore, err := g.drops()
	if err != nil {
		return nil, err
	}
	start := time.Now()
	for {
		took := time.Since(start)
		if took >= length || ctx.Err() != nil {
			break
		}
		// No more than a few at once: a pause of this thread must not end in a burst that no phones would send.
		for range min(16, uint64(took.Seconds()*rate)-v.sent-v.unsent) {
			g.send(v, packet)
		}
		g.listen(v, heard, id)
	}
	v.took = time.Since(start)
	for end := time.Now(); time.Since(end) < settle; {
		g.listen(v, heard, id)
	}
	dropsAfter, err := g.drops()
	if err != nil {
		return nil, err
	}
	v.lostHere = dropsAfter - dropsBefore
	for i, h := range heard {
		if p := g.parties[i]; !h {
			v.deaf = append(v.deaf, fmt.Sprintf("%s sending to port %d", p.local, binary.BigEndian.Uint16((*[2]byte)(unsafe.Pointer(&p.to.Port))[:])))
		}
	}
	return v, context.Cause(ctx)
}

func (g *generator) send(v *volley, packet []byte) {
	number := g.sent % uint64(len(g.parties))
	p := &g.parties[number]
	g.sent++
	p.seq++
	binary.BigEndian.PutUint16(packet[2:], p.seq)
	binary.BigEndian.PutUint32(packet[4:], uint32(p.seq)*rtpPeriod)
	binary.BigEndian.PutUint32(packet[8:], uint32(number))                      //nolint:gosec // some hundreds
	binary.BigEndian.PutUint32(packet[numberAt:], uint32(number))               //nolint:gosec // the same
	binary.BigEndian.PutUint64(packet[stampAt:], uint64(time.Now().UnixNano())) //nolint:gosec // after 1970
	if p.seal != nil {
		var err error
		if packet, err = p.seal.EncryptRTP(g.scratch, packet, nil); err != nil {
			v.unsent++
			return
		}
		g.scratch = packet
	}
	begun := time.Now()
	_, _, errno := unix.RawSyscall6(unix.SYS_SENDTO, uintptr(p.fd), uintptr(unsafe.Pointer(&packet[0])), uintptr(len(packet)),
		unix.MSG_NOSIGNAL, uintptr(unsafe.Pointer(&p.to)), unix.SizeofSockaddrInet4)
	if errno == unix.ECONNREFUSED { // of an earlier one
		_, _, errno = unix.RawSyscall6(unix.SYS_SENDTO, uintptr(p.fd), uintptr(unsafe.Pointer(&packet[0])), uintptr(len(packet)),
			unix.MSG_NOSIGNAL, uintptr(unsafe.Pointer(&p.to)), unix.SizeofSockaddrInet4)
	}
	v.calls += time.Since(begun)
	if errno != 0 {
		v.unsent++
		return
	}
	v.sent++
}

// listen takes what waits on up to some sockets, one packet each; the next call takes the others.
func (g *generator) listen(v *volley, heard []bool, id uint64) {
	var events [64]unix.EpollEvent
	n, _, errno := unix.RawSyscall6(unix.SYS_EPOLL_PWAIT, uintptr(g.epoll), uintptr(unsafe.Pointer(&events[0])), uintptr(len(events)), 0, 0, 0)
	if errno != 0 {
		return
	}
	for i := range n {
		g.message.SetControllen(len(g.control))
		begun := time.Now()
		size, _, errno := unix.RawSyscall(unix.SYS_RECVMSG, uintptr(events[i].Fd), uintptr(unsafe.Pointer(&g.message)), 0)
		v.calls += time.Since(begun)
		if errno != 0 || size < rtpSize {
			continue // an error of the network
		}
		packet := g.buffer[:size]
		if p := &g.parties[g.byFD[events[i].Fd]]; p.open != nil {
			var err error
			if packet, err = p.open.DecryptRTP(g.scratch, packet, nil); err != nil {
				continue // not ours
			}
			g.scratch = packet
		}
		if len(packet) < rtpSize || binary.BigEndian.Uint64(packet[volleyAt:]) != id {
			continue // a straggler
		}
		v.received++
		heard[binary.BigEndian.Uint32(packet[numberAt:])^1] = true // calls are pairs
		if at := received(g.control[:g.message.Controllen]); at != 0 {
			v.delay.Record(time.Duration(at - int64(binary.BigEndian.Uint64(packet[stampAt:])))) //nolint:gosec // what send wrote
		}
	}
}

// received reads the control message of SO_TIMESTAMPNS: length 8, level 4, type 4, seconds 8, nanoseconds 8.
func received(control []byte) int64 {
	if len(control) < 32 || binary.NativeEndian.Uint32(control[12:]) != unix.SCM_TIMESTAMPNS {
		return 0
	}
	return int64(binary.NativeEndian.Uint64(control[16:]))*int64(time.Second) + int64(binary.NativeEndian.Uint64(control[24:])) //nolint:gosec // a time
}

// drops is what the kernel has dropped so far on our sockets because nobody took it.
//
//	sl local_address rem_address st tx:rx tr:when retrnsmt uid timeout inode ref pointer drops
func (g *generator) drops() (sum uint64, err error) {
	var data []byte
	places := []netip.Addr{{}}
	if g.network != nil {
		places = []netip.Addr{nearPhones, farPhones}
	}
	for _, at := range places {
		if err := g.network.inside(at, func() error {
			part, err := os.ReadFile("/proc/thread-self/net/udp")
			data = append(data, part...)
			return err
		}); err != nil {
			return 0, fmt.Errorf("%w: %w", errGenerator, err)
		}
	}
	for line := range strings.SplitSeq(string(data), "\n") {
		fields := strings.Fields(line)
		if len(fields) < 13 {
			continue
		}
		if g.ours[fields[1]] {
			n, _ := strconv.ParseUint(fields[12], 10, 64) // a number of the kernel
			sum += n
		}
	}
	return sum, nil
}
