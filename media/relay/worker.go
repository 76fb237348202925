package relay

import (
	"errors"
	"fmt"
	"runtime"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"

	"linehall/internal/observe"
)

// worker carries the packets of its streams: one goroutine, one epoll set, both legs of a stream in it. It waits in the
// kernel by itself instead of in Go's poller, which would park and wake a goroutine for each packet. The scheduler is not
// told of the wait either: it would have its monitor thread take the worker's place away and give it back a thousand times
// a second. So the worker keeps its place, which GOMAXPROCS is raised by (hire); the collector's and the scheduler's
// signals end the wait (EINTR), and the goroutine yields as any other that computes.
//
// Two ways to wait, see pace: for the next packet, or for the next tick of a timer.
//
// Leaving: a stream's sockets are taken out of the set and of the table, then whoever closes waits until the batch that
// may still hold them is over (leave). Only then may their descriptors be closed and their numbers used again.
type worker struct {
	relay        *Relay
	epoll, bell  int
	timer, clock int // a set of its own for the timer

	table atomic.Pointer[[]atomic.Pointer[socket]] // by descriptor
	round atomic.Uint64                            // odd while a batch is handled
	done  chan struct{}

	wakeups, ticks atomic.Uint64 // for the metrics
	ticking        atomic.Bool

	// guarded by Relay.crew
	streams int

	// the worker's own
	events  [batch]unix.EpollEvent
	at      int
	packets uint64
	pace    pace
	packet  datagram
}

// batch is how many sockets with packets one look at the set tells of.
const batch = 128

func newWorker(r *Relay) (w *worker, err error) {
	w = &worker{relay: r, epoll: -1, bell: -1, timer: -1, clock: -1, done: make(chan struct{}), pace: pace{adaptive: r.tick}}
	w.table.Store(&[]atomic.Pointer[socket]{})
	defer func() {
		if err != nil {
			err = errors.Join(fmt.Errorf("relay worker: %w", err), w.close())
		}
	}()
	if w.epoll, err = unix.EpollCreate1(unix.EPOLL_CLOEXEC); err != nil {
		return w, err
	}
	if w.bell, err = unix.Eventfd(0, unix.EFD_CLOEXEC|unix.EFD_NONBLOCK); err != nil {
		return w, err
	}
	if w.timer, err = unix.TimerfdCreate(unix.CLOCK_MONOTONIC, unix.TFD_CLOEXEC|unix.TFD_NONBLOCK); err != nil {
		return w, err
	}
	if w.clock, err = unix.EpollCreate1(unix.EPOLL_CLOEXEC); err != nil {
		return w, err
	}
	if err := unix.EpollCtl(w.clock, unix.EPOLL_CTL_ADD, w.timer, &unix.EpollEvent{Events: unix.EPOLLIN}); err != nil {
		return w, err
	}
	return w, w.watch(w.bell)
}

func (w *worker) watch(fd int) error {
	event := unix.EpollEvent{Events: unix.EPOLLIN, Fd: int32(fd)} //nolint:gosec // a descriptor
	return unix.EpollCtl(w.epoll, unix.EPOLL_CTL_ADD, fd, &event)
}

func (w *worker) close() error {
	var errs []error
	for _, fd := range []int{w.epoll, w.bell, w.timer, w.clock} {
		if fd >= 0 {
			errs = append(errs, unix.Close(fd))
		}
	}
	return errors.Join(errs...)
}

// run carries packets until the bell rings.
func (w *worker) run() {
	defer close(w.done)
	for {
		var now int64
		var rung bool
		if w.pace.ticking {
			w.rest()
			now = w.relay.now()
			rung = w.sweep(now)
		} else {
			n := w.wait()
			now = w.relay.now()
			rung = w.handle(n, now)
		}
		if rung {
			return
		}
		w.turn(now)
	}
}

// turn changes the way to wait when the load asks for it.
func (w *worker) turn(now int64) {
	changed := w.pace.step(now, w.packets)
	w.packets = 0
	if !changed {
		return
	}
	var every unix.ItimerSpec // zero stops it
	if w.pace.ticking {
		every.Interval = unix.NsecToTimespec(int64(tick))
		every.Value = every.Interval
	}
	if err := unix.TimerfdSettime(w.timer, 0, &every, nil); err != nil {
		w.pace = pace{} // waits for packets, for good
		w.relay.log.Error("relay timer", observe.Err, err)
	}
	w.ticking.Store(w.pace.ticking)
}

// rest sleeps to the next tick, or to the next signal.
func (w *worker) rest() {
	await(w.clock, &w.events, -1)
	var expirations [8]byte                                                                                                               // reading starts the timer anew
	_, _, _ = syscall.RawSyscall(syscall.SYS_READ, uintptr(w.timer), uintptr(unsafe.Pointer(&expirations[0])), uintptr(len(expirations))) //nolint:gosec // EAGAIN after a signal
	w.ticks.Store(w.ticks.Load() + 1)
}

// wait sleeps to the next packet and returns how many sockets have some.
func (w *worker) wait() int {
	n := await(w.epoll, &w.events, -1)
	w.wakeups.Store(w.wakeups.Load() + 1)
	return n
}

// await is epoll_wait without the scheduler's knowledge; 0 when a signal ended it.
func await(epoll int, events *[batch]unix.EpollEvent, timeout int) int {
	n, _, errno := syscall.RawSyscall6(syscall.SYS_EPOLL_PWAIT, uintptr(epoll), //nolint:gosec // a descriptor
		uintptr(unsafe.Pointer(&events[0])), batch, uintptr(timeout), 0, 0) //nolint:gosec // system call
	if errno != 0 {
		return 0
	}
	return int(n) //nolint:gosec // at most batch
}

// sweep takes everything that came since the last tick.
func (w *worker) sweep(now int64) (rung bool) {
	const most = 64 // a flood must not keep the clock from being read
	for range most {
		n := await(w.epoll, &w.events, 0)
		if n == 0 {
			break
		}
		rung = w.handle(n, now) || rung
	}
	return rung
}

// handle takes one packet of each socket that has some; the set tells again of those that have more.
func (w *worker) handle(n int, now int64) (rung bool) {
	w.round.Add(1)
	defer w.round.Add(1)
	table := *w.table.Load()
	for w.at = 0; w.at < n; w.at++ { // comes round only after a panic: that socket is not listened to any more
		if w.some(n, table, now) {
			return true
		}
		if w.at < n {
			w.expel(int(w.events[w.at].Fd))
		}
	}
	return false
}

func (w *worker) some(n int, table []atomic.Pointer[socket], now int64) (rung bool) {
	defer observe.Recover(w.relay.log, w.relay.panics, "relay")
	for ; w.at < n; w.at++ {
		fd := int(w.events[w.at].Fd)
		if fd == w.bell {
			return true
		}
		if fd >= len(table) {
			continue
		}
		if c := table[fd].Load(); c != nil && !c.stream.closing.Load() {
			c.readable(&w.packet, now)
			w.packets++
		}
	}
	return false
}

// expel stops listening to a socket.
func (w *worker) expel(fd int) {
	if table := *w.table.Load(); fd < len(table) {
		table[fd].Store(nil)
	}
	if err := unix.EpollCtl(w.epoll, unix.EPOLL_CTL_DEL, fd, nil); err != nil && !errors.Is(err, unix.ENOENT) {
		w.relay.log.Error("relay socket cannot be left", observe.Err, err)
	}
}

// crew are the workers of a relay; it is made with the first stream and leaves with the last one.
type crew struct {
	mu      sync.Mutex // guards workers, their number of streams, and writes to their tables
	workers []*worker
}

// join gives a stream to the worker that has the fewest.
func (r *Relay) join(s *Stream) error {
	r.crew.mu.Lock()
	defer r.crew.mu.Unlock()
	if len(r.crew.workers) == 0 {
		if err := r.hire(); err != nil {
			return err
		}
	}
	w := r.crew.workers[0]
	for _, other := range r.crew.workers {
		if other.streams < w.streams {
			w = other
		}
	}
	w.streams++
	s.worker = w
	for i := range s.legs {
		for _, c := range s.legs[i].sockets {
			if c.link != nil {
				continue
			}
			w.seat(c)
			if err := w.watch(c.fd); err != nil {
				r.dismiss(s)
				return fmt.Errorf("relay port: %w", err)
			}
		}
	}
	return nil
}

func (r *Relay) hire() error {
	for range r.hands {
		w, err := newWorker(r)
		if err != nil {
			for _, w := range r.crew.workers { // none has begun
				err = errors.Join(err, w.close())
			}
			r.crew.workers = nil
			return err
		}
		r.crew.workers = append(r.crew.workers, w)
	}
	giveRoom(len(r.crew.workers))
	for _, w := range r.crew.workers {
		go w.run() // ends in dismiss
	}
	return nil
}

// room guards GOMAXPROCS, of which a process has one.
var room sync.Mutex

// giveRoom makes places for that many goroutines which never leave theirs.
func giveRoom(more int) {
	room.Lock()
	defer room.Unlock()
	runtime.GOMAXPROCS(runtime.GOMAXPROCS(0) + more)
}

// hands is how many workers a machine with that many cores has: one carries more than a thousand calls, and the exchange
// wants to run too.
func hands(cores int) int { return max(1, cores/2) }

// seat enters a socket into the table, which grows by replacement.
func (w *worker) seat(c *socket) {
	table := *w.table.Load()
	if c.fd >= len(table) {
		grown := make([]atomic.Pointer[socket], max(2*len(table), c.fd+1, batch))
		for i := range table {
			grown[i].Store(table[i].Load())
		}
		w.table.Store(&grown)
		table = grown
	}
	table[c.fd].Store(c)
}

// leave takes a stream from its worker and returns when it touches it no more. The stream is marked as closing before.
func (r *Relay) leave(s *Stream) {
	r.crew.mu.Lock()
	defer r.crew.mu.Unlock()
	r.dismiss(s)
}

func (r *Relay) dismiss(s *Stream) {
	w := s.worker
	if w == nil {
		return
	}
	for i := range s.legs {
		for _, c := range s.legs[i].sockets {
			if c.link == nil {
				w.expel(c.fd)
			}
		}
	}
	w.finishRound() // the next one sees closing
	s.worker = nil
	if w.streams--; w.streams > 0 {
		return
	}
	for _, w := range r.crew.workers {
		if w.streams > 0 {
			return
		}
	}
	for _, w := range r.crew.workers {
		one := [8]byte{1}
		_, err := unix.Write(w.bell, one[:])
		<-w.done
		if err = errors.Join(err, w.close()); err != nil {
			r.log.Error("relay worker did not close", observe.Err, err)
		}
		r.wakeups.Add(w.wakeups.Load())
		r.ticks.Add(w.ticks.Load())
	}
	giveRoom(-len(r.crew.workers))
	r.crew.workers = nil
}

// finishRound returns when the batch that the worker handles is over. It makes round odd before it looks at a stream; what
// was set before we look at round is seen by the next batch.
func (w *worker) finishRound() {
	for began := w.round.Load(); began%2 == 1 && w.round.Load() == began; {
		time.Sleep(10 * time.Microsecond)
	}
}

// waits sums up how the workers waited, and says how many tick now.
func (r *Relay) waits() (wakeups, ticks uint64, ticking int) {
	r.crew.mu.Lock()
	defer r.crew.mu.Unlock()
	wakeups, ticks = r.wakeups.Load(), r.ticks.Load()
	for _, w := range r.crew.workers {
		wakeups += w.wakeups.Load()
		ticks += w.ticks.Load()
		if w.ticking.Load() {
			ticking++
		}
	}
	return wakeups, ticks, ticking
}
