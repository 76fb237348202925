package relay

import (
	"errors"
	"log/slog"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"

	"linehall/internal/observe"
	"linehall/media/kernel"
	"linehall/media/packet"
	"linehall/media/rtcp"
)

// The kernel path. Each direction moves by itself: what arrives at a leg's RTP port from its latched source goes into the
// kernel once nothing about it has changed for a while, with the state of its counting, and comes back with it when
// anything does. Reports, and whatever the program does not know, stay with the sockets.
//
//	userspace ── the same flow for settled ──────────────► kernel
//	          ◄─ signalling, a latch, a stranger's packet,
//	             packets that the kernel hands up, the end ──
//
// Who carries the socket moves it up, between two packets; anybody may take it down. The counts come home when the
// socket's next packet does.

// Kernel carries flows without us; *kernel.Path is one.
type Kernel interface {
	Enter(f kernel.Flow, from rtcp.State) (kernel.Entry, error)
	Read(e kernel.Entry) (kernel.Counted, error)
	Leave(e kernel.Entry) (kernel.Counted, error)
	Adopt(at netip.AddrPort) (kernel.Flow, kernel.Entry, bool)
	Sweep() int
}

const (
	// settled is for how long a flow must have been the same before it moves.
	settled = int64(time.Second)
	// suspicion keeps a flow with the sockets after a stranger sent to it: the rules of the latch need to see packets.
	suspicion = int64(10 * time.Second)
	// refused is the pause after the kernel did not take a flow, or handed its packets up.
	refused = int64(30 * time.Second)
	// handedUp is how many packets of a flow may come up before it is taken back: a neighbour that is asked for costs a few.
	handedUp = 50
)

// moved is a flow that is in the kernel, or was until the socket's next packet.
type moved struct {
	kernel Kernel
	flow   kernel.Flow
	entry  kernel.Entry
	shift  time.Duration // from the kernel's clock to the relay's
	home   atomic.Bool   // it is out: the next packet brings the counts home
	ours   bool          // entered by this process, not adopted

	mu     sync.Mutex // guards what follows
	last   kernel.Counted
	beside []besides // packets that came up meanwhile
	told   rtcp.State
	left   time.Time // when it came out
}

type besides struct {
	header packet.Header
	bytes  int
}

// flow is what the kernel would have to do for this socket now; ok is false when it cannot: what we encrypt, decrypt or
// look into stays here.
func (c *socket) flow() (f kernel.Flow, ok bool) {
	in, out := c.state.Load(), c.peer.state.Load()
	to := out.latched
	if !to.IsValid() {
		to = out.signalled
	}
	if c.kind != kindRTP || c.stream.spec.Raw || !in.latched.IsValid() || !to.IsValid() || out.held || in.security != nil || out.security != nil || in.aside || c.link != nil || c.peer.link != nil || out.aside || c.v6 != c.peer.v6 || !c.bound.IsValid() || !c.peer.bound.IsValid() {
		return f, false
	}
	return kernel.Flow{From: in.latched, At: c.bound, As: c.peer.bound, To: to, DSCP: c.stream.spec.DSCP, Clocks: in.clocks}, true
}

// consider moves the socket's flow into the kernel when it has settled. Only who carries the socket may call it.
func (c *socket) consider(now int64) {
	k := c.stream.relay.kernel
	if k == nil || c.kind != kindRTP || c.moved.Load() != nil {
		return
	}
	f, ok := c.flow()
	if !ok || f != c.wanted {
		c.wanted, c.since = f, now
		return
	}
	if now-c.since < settled || now < c.notBefore.Load() {
		return
	}
	if queued, err := unix.IoctlGetInt(c.fd, unix.TIOCINQ); err != nil || queued > 0 {
		return // what waits here would be counted beside the kernel
	}
	m := &moved{kernel: k, flow: f, ours: true, shift: time.Duration(c.stream.relay.now() - kernel.Monotonic())}
	before := c.reception.State()
	m.told = before
	var err error
	if m.entry, err = k.Enter(f, before.Shift(-m.shift)); errors.Is(err, kernel.ErrPreparing) {
		return // again with the next packets
	} else if err != nil {
		c.notBefore.Store(now + refused)
		c.stream.relay.log.Debug("stream stays with the sockets", observe.Err, err)
		return
	}
	m.last.State = before.Shift(-m.shift)
	c.moved.Store(m)
	c.stream.relay.followed(c, true)
	if again, ok := c.flow(); !ok || again != f { // somebody changed it meanwhile and saw nothing to take back
		c.recall(0)
	}
}

// recall takes the flow out of the kernel; it does not come back before pause has passed. Anybody may call it.
func (c *socket) recall(pause int64) {
	if pause > 0 && c.stream.relay.kernel != nil {
		c.notBefore.Store(c.stream.relay.now() + pause)
	}
	m := c.moved.Load()
	if m == nil || m.home.Load() {
		return
	}
	m.mu.Lock()
	m.left = time.Now()
	if counted, err := m.kernel.Leave(m.entry); err == nil {
		m.last = counted
	} else {
		c.stream.relay.log.Error("counts of a stream in the kernel are lost", observe.Err, err)
	}
	m.mu.Unlock()
	m.home.Store(true)
	c.tell(m)
	c.stream.relay.followed(c, false)
}

// revise takes the flow back if it is not what it should be any more. One that was adopted stays until signalling has
// said who both parties are.
func (c *socket) revise() {
	if m := c.moved.Load(); m != nil && (m.ours || c.state.Load().signalled.IsValid() && c.peer.state.Load().signalled.IsValid()) {
		if f, ok := c.flow(); !ok || !f.Same(m.flow) {
			c.recall(0)
		}
	}
}

// cameUp handles the count of a party's RTP packet while its flow is in the kernel. It returns false when the socket
// counts by itself again. Only who carries the socket may call it.
func (c *socket) cameUp(m *moved, h packet.Header, bytes int) bool {
	if m.home.Load() {
		c.reception.Resume(m.sum())
		c.moved.Store(nil)
		c.wanted = kernel.Flow{}
		return false
	}
	m.mu.Lock()
	m.beside = append(m.beside, besides{h, bytes})
	n := len(m.beside)
	m.mu.Unlock()
	if n >= handedUp {
		c.recall(refused)
		m.mu.Lock()
		returned := m.last.Returned
		m.mu.Unlock()
		c.stream.relay.log.Info("kernel hands the packets of a stream up; it stays with the sockets", slog.Any("returned", returned))
	}
	return true
}

// sum is everything that was counted, by the clock of the relay.
func (m *moved) sum() rtcp.State {
	m.mu.Lock()
	defer m.mu.Unlock()
	// Also shortly after it left: a packet may have been on its way through the program. Later the slot is another's.
	if m.left.IsZero() || time.Since(m.left) < kernel.Rest/2 {
		if counted, err := m.kernel.Read(m.entry); err == nil {
			m.last = counted
		}
	}
	s := m.last.Shift(m.shift)
	for _, b := range m.beside {
		s.Beside(b.header, b.bytes)
	}
	return s
}

// tell tells the line meters what the kernel has carried since the last time.
func (c *socket) tell(m *moved) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if !m.home.Load() {
		counted, err := m.kernel.Read(m.entry)
		if err != nil {
			return
		}
		m.last = counted
	}
	packets, bytes := m.last.Packets-m.told.Packets, m.last.Bytes-m.told.Bytes
	if packets == 0 {
		return
	}
	m.told = m.last.State
	c.carried.Add(packets)
	c.stream.legs[c.leg].in.Add(int64(packets), int64(bytes))    //nolint:gosec // counts
	c.stream.legs[1-c.leg].out.Add(int64(packets), int64(bytes)) //nolint:gosec // counts
}

// counted is what the socket's party sent, wherever it was counted.
func (c *socket) counted() rtcp.Stats {
	if m := c.moved.Load(); m != nil {
		return m.sum().Stats()
	}
	return c.reception.Snapshot()
}

// followed keeps the list of the sockets whose flows are in the kernel.
func (r *Relay) followed(c *socket, yes bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if yes {
		r.inKernel[c] = struct{}{}
	} else {
		delete(r.inKernel, c)
	}
}

// follow tells the line meters what the kernel carries.
func (r *Relay) follow() {
	r.mu.Lock()
	moved := make([]*socket, 0, len(r.inKernel))
	for c := range r.inKernel {
		moved = append(moved, c)
	}
	r.mu.Unlock()
	for _, c := range moved {
		if m := c.moved.Load(); m != nil {
			c.tell(m)
		}
	}
}

// adopt takes over the flow that the process before left for this port.
func (c *socket) adopt() {
	r := c.stream.relay
	if r.kernel == nil || !c.bound.IsValid() || c.kind != kindRTP {
		return
	}
	f, entry, ok := r.kernel.Adopt(c.bound)
	if !ok {
		return
	}
	m := &moved{kernel: r.kernel, flow: f, entry: entry, shift: time.Duration(r.now() - kernel.Monotonic())}
	counted, err := r.kernel.Read(entry)
	if err != nil {
		return
	}
	m.last, m.told = counted, counted.State
	c.state.Store(c.state.Load().latch(f.From, c.v6))
	c.moved.Store(m)
	r.followed(c, true)
}

// Restored says that every call of the process before has opened its streams again: what the kernel still carries
// belongs to calls that are over.
func (r *Relay) Restored() {
	if r.kernel == nil {
		return
	}
	if n := r.kernel.Sweep(); n > 0 {
		r.log.Info("streams of ended calls swept from the kernel", observe.Count, n)
	}
}

// Adopted reports whether the counts of a leg's party go on from what the process before counted: the kernel carried its
// packets meanwhile.
func (s *Stream) Adopted(leg int) bool {
	m := s.legs[leg].rtp().moved.Load()
	return m != nil && !m.ours
}

// leaving reports whether the process ends: calls go on then, and what is in the kernel stays there.
func (r *Relay) leaving() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.closed
}

// InKernel reports whether the kernel carries a direction of the stream now.
func (s *Stream) InKernel() bool {
	for i := range s.legs {
		if m := s.legs[i].rtp().moved.Load(); m != nil && !m.home.Load() {
			return true
		}
	}
	return false
}

// localAddress asks the kernel where a descriptor is bound.
func localAddress(fd int) netip.AddrPort {
	name, err := unix.Getsockname(fd)
	if err != nil {
		return netip.AddrPort{}
	}
	if p := addrPort(name); !p.Addr().IsUnspecified() {
		return p
	}
	return netip.AddrPort{}
}
