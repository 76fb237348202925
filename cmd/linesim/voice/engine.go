// Package voice carries the sound of all simulated phones of a process: RTP (RFC 3550) with G.711 tones at 20 ms,
// RTCP sender reports, and what can be measured at the far end: loss, order, jitter, one-way delay, gaps, whether
// the right tone is there, and an opinion score (ITU-T G.107).
//
// The whole process has one clock. Its tick serves a share of the streams: each sends one packet and empties its
// socket with one recvmmsg. Arrival times are the kernel's (SO_TIMESTAMPNS), so polling does not blur delay or
// jitter, and 240 streams cost two system calls per stream and 20 ms instead of two wake-ups.
//
//  1. tick      -> the streams of this phase                          Engine.Run
//  2. per stream: fill frame, remember when sequence number n left, sendto
//  3. per stream: recvmmsg, header, statistics, tone detector         one owner: the stream's lock
//  4. once a second: RTCP in, every five seconds: RTCP out
//
// It does not do codecs other than G.711, or playout. Linux only.
//
//	e := voice.NewEngine(voice.DefaultTick)
//	go e.Run(ctx)
//	s, _ := e.Open(netip.MustParseAddr("127.0.1.11"))
//	s.Start(voice.Target{Remote: peer, Law: tone.ALaw, Send: 440, Expect: 460})
//	stats := s.Close()
package voice

import (
	"context"
	"errors"
	"net/netip"
	"runtime"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"
)

// FrameTime is the packet interval of every stream (RFC 3551 §4.5: the default for G.711).
const FrameTime = 20 * time.Millisecond

// DefaultTick balances bursts against wake-ups: ten phases, a tenth of all streams per tick.
const DefaultTick = 2 * time.Millisecond

// catchUp bounds how far the clock runs after a pause of the process: beyond it packets are lost like a phone's that
// was switched off, instead of leaving in one burst.
const catchUp = 200 * time.Millisecond

var errStopped = errors.New("voice: the engine has stopped")

// preciseBelow is the tick from which the runtime's timers are too coarse (its poller sleeps whole milliseconds): the
// clock then sleeps in the kernel, on a thread of its own, as a load generator must that spreads its packets evenly.
const preciseBelow = time.Millisecond

// Engine owns the clock and knows every stream by its SSRC.
type Engine struct {
	tick    time.Duration
	nextSRC atomic.Uint32

	mu      sync.Mutex // guards phases (replaced, never written in place), sources, stopped
	phases  [][]*Stream
	sources map[uint32]*Stream
	stopped bool
}

// NewEngine returns an engine that serves FrameTime/tick phases; tick must divide FrameTime.
func NewEngine(tick time.Duration) *Engine {
	if tick <= 0 || FrameTime%tick != 0 {
		tick = DefaultTick
	}
	return &Engine{tick: tick, phases: make([][]*Stream, FrameTime/tick), sources: make(map[uint32]*Stream)}
}

// Run drives the streams until ctx ends. Streams still open stay readable but no longer move.
func (e *Engine) Run(ctx context.Context) error {
	defer func() {
		e.mu.Lock()
		e.stopped = true
		e.mu.Unlock()
	}()
	wait, release := e.clock()
	defer release()
	next := time.Now().Add(e.tick)
	for n := 0; wait(ctx, time.Until(next)); {
		now := time.Now()
		if now.Sub(next) > catchUp {
			next = now.Add(-catchUp)
		}
		for ; !next.After(now); next = next.Add(e.tick) {
			e.serve(n)
			n++
		}
	}
	return nil
}

// clock returns how to wait for the next tick: false once ctx has ended.
func (e *Engine) clock() (wait func(context.Context, time.Duration) bool, release func()) {
	if e.tick >= preciseBelow {
		timer := time.NewTimer(e.tick)
		return func(ctx context.Context, d time.Duration) bool {
			timer.Reset(d)
			select {
			case <-ctx.Done():
				return false
			case <-timer.C:
				return true
			}
		}, func() { timer.Stop() }
	}
	runtime.LockOSThread()
	_ = unix.Prctl(unix.PR_SET_TIMERSLACK, 1, 0, 0, 0) // without it the kernel rounds by 50 us; less exact then
	return func(ctx context.Context, d time.Duration) bool {
		if d > 0 {
			ts := unix.NsecToTimespec(int64(d))
			_ = unix.Nanosleep(&ts, nil) // a signal ends it early: the loop looks at the time itself
		}
		return ctx.Err() == nil
	}, runtime.UnlockOSThread
}

// serve lets one phase's streams send and receive.
func (e *Engine) serve(n int) {
	e.mu.Lock()
	streams := e.phases[n%len(e.phases)]
	e.mu.Unlock()
	for _, s := range streams {
		s.turn(e)
	}
}

// Open binds an RTP and an RTCP socket (even and odd port, RFC 3550 §11) on a local address. The stream receives
// from now on and sends once started.
func (e *Engine) Open(local netip.Addr) (*Stream, error) {
	rtp, rtcp, err := bindPair(local)
	if err != nil {
		return nil, err
	}
	s := newStream(e, rtp, rtcp, ssrcBase+e.nextSRC.Add(1))
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.stopped {
		rtp.close()
		rtcp.close()
		return nil, errStopped
	}
	s.phase = e.emptiestPhase()
	e.phases[s.phase] = append(append([]*Stream(nil), e.phases[s.phase]...), s)
	e.sources[s.ssrc] = s
	return s, nil
}

// remove takes a stream out of its phase.
func (e *Engine) remove(s *Stream) {
	e.mu.Lock()
	defer e.mu.Unlock()
	delete(e.sources, s.ssrc)
	rest := make([]*Stream, 0, len(e.phases[s.phase]))
	for _, other := range e.phases[s.phase] {
		if other != s {
			rest = append(rest, other)
		}
	}
	e.phases[s.phase] = rest
}

// source finds the sender of an SSRC inside this process, nil for a stranger.
func (e *Engine) source(ssrc uint32) *Stream {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.sources[ssrc]
}

func (e *Engine) emptiestPhase() int {
	best := 0
	for i, streams := range e.phases {
		if len(streams) < len(e.phases[best]) {
			best = i
		}
	}
	return best
}
