package bench

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"time"

	"golang.org/x/sync/errgroup"

	"linehall/cmd/linesim/phone"
	"linehall/cmd/linesim/report"
	"linehall/cmd/linesim/tone"
	"linehall/cmd/linesim/voice"
)

// RelayLoad is a number of calls with sound in both directions: 100 packets per second and call.
type RelayLoad struct {
	Calls   int
	Warm    time.Duration
	Measure time.Duration
	// Tick of the sound's clock: streams that share a tick send together. 100 us spreads 240 streams evenly, as
	// phones that know nothing of each other do.
	Tick time.Duration
}

// ear is one end of a call.
type ear interface {
	Stats() voice.Stats
	Reset()
}

// callEar is the end of a call that a phone made.
type callEar struct{ *phone.Call }

// Reset implements ear.
func (c callEar) Reset() { c.ResetStats() }

// relayPath sets calls up through something and gives their ends; undo takes everything down.
type relayPath func(ctx context.Context, engine *voice.Engine, calls int) (ears []ear, undo func(), err error)

// RelayTarget is what carries the sound.
type RelayTarget struct {
	Name    string
	path    relayPath
	process *process
}

// Relay measures CPU per packet, delay and loss.
func Relay(ctx context.Context, t RelayTarget, load RelayLoad) (Result, error) {
	r := Result{Bench: "relay", Server: t.Name, Rate: float64(load.Calls) * 100}
	if load.Tick == 0 {
		load.Tick = 100 * time.Microsecond
	}
	engine := voice.NewEngine(load.Tick)
	life, off := context.WithCancel(context.WithoutCancel(ctx))
	g, life := errgroup.WithContext(life)
	g.Go(func() error { return engine.Run(life) })
	defer func() {
		off()
		_ = g.Wait() // Run of the engine returns nil
	}()
	ears, undo, err := t.path(ctx, engine, load.Calls)
	if err != nil {
		return r, fmt.Errorf("%s: %w", t.Name, err)
	}
	defer undo()
	if err := sleep(ctx, load.Warm); err != nil {
		return r, err
	}
	before, err := t.process.usage()
	if err != nil {
		return r, err
	}
	for _, e := range ears {
		e.Reset()
	}
	started := time.Now()
	if err := sleep(ctx, load.Measure); err != nil {
		return r, err
	}
	after, err := t.process.usage()
	if err != nil {
		return r, err
	}
	var delay report.Histogram
	silent := 0
	for _, e := range ears {
		s := e.Stats()
		r.Operations += s.Received
		r.Lost += s.Lost
		delay.Merge(&s.Delay)
		if s.Received == 0 {
			silent++
		}
	}
	r.Seconds = time.Since(started).Seconds()
	r.Delay = delay.Summary()
	r.spend(before, after)
	if silent > 0 {
		return r, fmt.Errorf("%s: %d of %d ends heard nothing: %w", t.Name, silent, len(ears), errRejected)
	}
	return r, nil
}

func sleep(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// Direct is socket to socket: the floor of the harness.
func Direct() RelayTarget {
	return RelayTarget{Name: "direct", path: func(_ context.Context, engine *voice.Engine, calls int) ([]ear, func(), error) {
		return pairs(engine, calls, func(_ int, a, b netip.AddrPort) (netip.AddrPort, netip.AddrPort, error) { return b, a, nil })
	}}
}

// pairs opens two streams per call and lets connect say where each sends to.
func pairs(engine *voice.Engine, calls int, connect func(i int, a, b netip.AddrPort) (toA, toB netip.AddrPort, err error)) ([]ear, func(), error) {
	var (
		streams []*voice.Stream
		ears    []ear
	)
	undo := func() {
		for _, s := range streams {
			s.Close()
		}
	}
	home := netip.MustParseAddr("127.0.0.1")
	for i := range calls {
		a, err := engine.Open(home)
		if err != nil {
			undo()
			return nil, nil, err // names itself
		}
		streams = append(streams, a)
		b, err := engine.Open(home)
		if err != nil {
			undo()
			return nil, nil, err // names itself
		}
		streams = append(streams, b)
		aSends, bSends, err := connect(i, a.Local(), b.Local())
		if err != nil {
			undo()
			return nil, nil, err
		}
		a.Start(voice.Target{Remote: aSends, Law: tone.ALaw, Send: tone.Frequency(2 * i), Expect: tone.Frequency(2*i + 1)})
		b.Start(voice.Target{Remote: bSends, Law: tone.ALaw, Send: tone.Frequency(2*i + 1), Expect: tone.Frequency(2 * i)})
		ears = append(ears, a, b)
	}
	return ears, undo, nil
}

// callsThrough sets up real calls by SIP between two sites, so that the server relays them.
func callsThrough(server netip.AddrPort, near, far []Account, nearBind, farBind netip.Addr) relayPath {
	return func(ctx context.Context, engine *voice.Engine, calls int) (ears []ear, undo func(), err error) {
		if calls > len(near) || calls > len(far) {
			return nil, nil, fmt.Errorf("%d calls need %d accounts in each of two sites; there are %d and %d: %w", calls, calls, len(near), len(far), errRejected)
		}
		life, off := context.WithCancel(context.WithoutCancel(ctx))
		g, life := errgroup.WithContext(life)
		undo = func() {
			off()
			_ = g.Wait() // phones hang up and unregister; what fails there is not part of the measurement
		}
		defer func() {
			if err != nil {
				undo()
			}
		}()
		answered := make(chan *phone.Call, calls)
		callers := make([]*phone.Phone, calls)
		for i := range calls {
			for _, side := range []struct {
				who  Account
				bind netip.Addr
			}{{near[i], nearBind}, {far[i], farBind}} {
				p, err := phone.New(phone.Config{
					Account: phone.Account{Extension: side.who.User, AuthUser: side.who.AuthUser, Password: side.who.Password, Domain: side.who.Domain},
					Server:  server, Transport: phone.UDP, Bind: side.bind, Media: engine, OnCall: func(c *phone.Call) { answered <- c },
				})
				if err != nil {
					return nil, nil, err // names the extension
				}
				g.Go(func() error { return p.Run(life) })
				if callers[i] == nil {
					callers[i] = p
				}
				select {
				case <-p.Registered():
				case <-time.After(10 * time.Second):
					return nil, nil, fmt.Errorf("%s: %w", side.who.User, errors.Join(errTimeout, p.Status().Err))
				}
			}
		}
		for i, caller := range callers {
			call, err := caller.Call(ctx, far[i].User, phone.Sound{Send: tone.Frequency(2 * i)})
			if err != nil {
				return nil, nil, fmt.Errorf("call %d: %w", i, err)
			}
			ears = append(ears, callEar{call}, callEar{<-answered})
		}
		return ears, undo, nil
	}
}
