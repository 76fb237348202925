// Package relay carries the media of calls between two parties that sit at different sites (RFC 3550, RFC 5761).
//
// A Stream is one medium of one call: two legs with a pair of ports each, RTP on the even one and RTCP above it. What
// arrives on a leg leaves from the same kind of port of the other leg towards its party. Packets are not changed: SRTP,
// DTMF, comfort noise and payload types that nobody announced pass as they are. Each leg is counted in passing
// (media/rtcp) and metered on its site's line (media/line).
//
// A party is known by what signalling says about it, a Peer. Its packets are accepted from the signalled address, or
// from the first source on a signalled host (NAT), which is then latched; see state.judge for the rules. Everything
// else is dropped and counted, and never moves the latch. A party with a Link has no port: its packets come by Take.
//
// Concurrency: a Relay and its Streams may be used by any goroutine. Workers, one per two
// cores, carry the packets as long as there are streams; a stream belongs to one of them. The packet path is in
// forward.go; it takes no lock and allocates nothing.
//
//	r, err := relay.New(relay.Options{First: 10000, Last: 29999})
//	s, err := r.Open(relay.Spec{Legs: [2]relay.Leg{{Local: a}, {Local: b}}})
//	s.Expect(0, relay.Peer{RTP: caller, RTCP: callerRTCP, Source: callerHost})
//	defer s.Close()
package relay

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"runtime"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"linehall/internal/observe"
	"linehall/media/rtcp"
)

// Options are what a Relay works with.
type Options struct {
	Bind       netip.Addr // a concrete address to bind; otherwise each leg's local address, or any if that is not ours
	First      uint16     // range of ports, both inclusive
	Last       uint16
	Quarantine time.Duration // how long a released port rests; 0: DefaultQuarantine
	Tick       bool          // share wake-ups under load, at up to a millisecond of delay; see pace
	Keeper     Keeper        // nil: ports fall silent with the process
	Kept       []Kept        // what the keeper gave back
	Kernel     Kernel        // nil: everything through the sockets
	Log        *slog.Logger
	Registerer prometheus.Registerer // nil: no metrics
	Dropped    *observe.Dropped
	Panics     prometheus.Counter
}

// DefaultQuarantine lets the last packets of a call drain before its port serves another one: phones go on sending for
// a few seconds when the BYE is lost.
const DefaultQuarantine = 30 * time.Second

var (
	// ErrClosed is the error of Open after Run has ended.
	ErrClosed = errors.New("relay is closed")
	// ErrNoPorts says that the range is in use.
	ErrNoPorts = errors.New("no free relay port")
)

// Relay opens streams and knows those that are open.
type Relay struct {
	bind    netip.Addr
	log     *slog.Logger
	panics  prometheus.Counter
	metrics *metrics
	ports   *ports
	start   time.Time // packet times count from here, on the steady clock
	tick    bool
	hands   int // workers, as long as there are streams
	crew    crew

	wakeups, ticks atomic.Uint64 // of workers that have ended
	kernel         Kernel

	keeper Keeper

	mu        sync.Mutex     // guards what follows; never taken on the packet path
	inherited map[uint16]int // descriptors of before the restart, by port
	streams   map[*Stream]struct{}
	inKernel  map[*socket]struct{}
	closed    bool
	past      totals // of streams that are closed
}

// New returns a relay without streams; it binds nothing yet.
func New(o Options) (*Relay, error) {
	if o.First%2 != 0 {
		o.First++
	}
	if o.Last%2 == 0 {
		o.Last--
	}
	if o.First == 0 || o.Last <= o.First {
		return nil, fmt.Errorf("relay ports %d-%d: not a range with a pair", o.First, o.Last)
	}
	if o.Quarantine == 0 {
		o.Quarantine = DefaultQuarantine
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	r := &Relay{
		bind: o.Bind, log: o.Log, panics: o.Panics, start: time.Now(), streams: map[*Stream]struct{}{},
		keeper: o.Keeper, inherited: map[uint16]int{}, tick: o.Tick, hands: hands(runtime.NumCPU()),
		kernel: o.Kernel, inKernel: map[*socket]struct{}{},
		ports: newPorts(o.First, o.Last, o.Quarantine),
	}
	r.inherit(o.Kept)
	r.metrics = newMetrics(r, o.Registerer, o.Dropped)
	return r, nil
}

// Run gives up sockets of before a restart that no call came back for, waits for ctx to end, then closes every stream that
// is still open, and the relay. A keeper goes on holding their sockets, for the calls that the next process carries on.
func (r *Relay) Run(ctx context.Context) error {
	r.wait(ctx)
	r.mu.Lock()
	r.closed = true
	open := make([]*Stream, 0, len(r.streams))
	for s := range r.streams {
		open = append(open, s)
	}
	r.mu.Unlock()
	for _, s := range open {
		s.Close()
	}
	return nil
}

// wait returns when ctx ends. Until then the line meters hear what the kernel carries, and sockets of before a restart
// that no call came back for are given up, and every second is scored.
func (r *Relay) wait(ctx context.Context) {
	timer, seconds := time.NewTimer(leftover), time.NewTicker(second)
	defer timer.Stop()
	defer seconds.Stop()
	var tick <-chan time.Time // never, without a kernel path
	if r.kernel != nil {
		ticker := time.NewTicker(time.Duration(meterEvery))
		defer ticker.Stop()
		tick = ticker.C
	}
	for {
		select {
		case <-ctx.Done():
			return
		case <-timer.C:
			r.forgetLeftovers()
		case <-tick:
			r.follow()
		case now := <-seconds.C:
			r.scoreAll(now)
		}
	}
}

// Streams returns the number of open streams.
func (r *Relay) Streams() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return len(r.streams)
}

// add enters a stream, unless the relay is closed.
func (r *Relay) add(s *Stream) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.closed {
		return ErrClosed
	}
	r.streams[s] = struct{}{}
	return nil
}

// carried returns how many streams the kernel carries, in one direction at least.
func (r *Relay) carried() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	streams := map[*Stream]struct{}{}
	for c := range r.inKernel {
		streams[c.stream] = struct{}{}
	}
	return len(streams)
}

// remove takes a stream out and keeps its sums, so that counters never fall.
func (r *Relay) remove(s *Stream) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if _, ok := r.streams[s]; ok {
		delete(r.streams, s)
		r.past.add(s)
	}
}

// totals are sums over streams.
type totals struct{ packets, linked, kernel, lost uint64 }

func (t *totals) add(s *Stream) {
	for i := range s.legs {
		passed := s.legs[i].rtp().forwarded.Load() + s.legs[i].rtcp().forwarded.Load() + s.saying.packets[1-i].Load()
		if s.linked() {
			t.linked += passed
		} else {
			t.packets += passed
		}
		t.kernel += s.legs[i].rtp().carried.Load()
		t.lost += s.legs[i].rtp().counted().Lost
	}
}

// linked reports whether a party of the stream has a link.
func (s *Stream) linked() bool { return s.spec.Legs[0].Link != nil || s.spec.Legs[1].Link != nil }

func (r *Relay) totals() totals {
	r.mu.Lock()
	defer r.mu.Unlock()
	sum := r.past
	for s := range r.streams {
		sum.add(s)
	}
	return sum
}

// Clock is the time by which a Tap sees packets, in nanoseconds.
func (r *Relay) Clock() int64 { return r.now() }

// now is the time since the relay began, in nanoseconds of the steady clock.
func (r *Relay) now() int64 { return int64(time.Since(r.start)) }

// Stats is what one leg's party sent.
type Stats struct {
	rtcp.Stats
	RTT     time.Duration  // relay to party and back; 0: unknown
	Remote  netip.AddrPort // where its RTP comes from, or should
	Latched bool           // it came from there
	Dropped uint64         // packets that arrived on this leg and went no further
	Seconds rtcp.Seconds   // scores of each second of what it sent
	Heard   rtcp.VoIPMetrics
}
