package bench

import (
	"context"
	"errors"
	"fmt"
	"math"
	"net/netip"
	"time"

	"golang.org/x/sync/errgroup"

	"linehall/cmd/linesim/phone"
	"linehall/cmd/linesim/tone"
	"linehall/cmd/linesim/voice"
)

// RelayLoad is a number of calls with sound in both directions: 100 packets per second and call.
type RelayLoad struct {
	Calls   int
	Warm    time.Duration
	Measure time.Duration
	Core    int // of the generator; -1: any
}

// relayPath joins the parties of a generator in pairs through something and says where each of them sends; undo takes
// everything down.
type relayPath func(ctx context.Context, g *generator) (undo func(), err error)

// RelayTarget is what carries the sound.
type RelayTarget struct {
	Name      string
	near, far netip.Addr // of the parties; invalid: 127.0.0.1
	path      relayPath
	process   *process
	control   netip.AddrPort // of rtpengine
	network   *network       // of the parties; nil: the machine's own
	machine   bool           // CPU is the server's and that of the generator's system calls
	inKernel  func(context.Context) (int, error)
}

// join opens the parties and the way between them.
func (t RelayTarget) join(ctx context.Context, load RelayLoad) (g *generator, undo func(), err error) {
	home := netip.MustParseAddr("127.0.0.1")
	near, far := t.near, t.far
	if !near.IsValid() {
		near, far = home, home
	}
	if g, err = newGenerator(load.Core, t.network, homes(load.Calls, near, far)); err != nil {
		return nil, nil, err
	}
	leave, err := t.path(ctx, g)
	if err != nil {
		g.close()
		return nil, nil, fmt.Errorf("%s: %w", t.Name, err)
	}
	return g, func() {
		leave()
		g.close()
	}, nil
}

// Relay measures CPU per packet, delay and loss at the rate of phones.
func Relay(ctx context.Context, t RelayTarget, load RelayLoad) (Result, error) {
	r := Result{Bench: "relay", Server: t.Name, Rate: float64(load.Calls) * 100}
	g, undo, err := t.join(ctx, load)
	if err != nil {
		return r, err
	}
	defer undo()
	if _, err := g.fire(ctx, r.Rate, load.Warm); err != nil {
		return r, err
	}
	deaf, err := r.volley(ctx, t, g, load.Measure)
	if err == nil && len(deaf) > 0 {
		err = fmt.Errorf("%s: %d of %d ends heard nothing, the first of them %s: %w", t.Name, len(deaf), len(g.parties), deaf[0], errRejected)
	}
	return r, err
}

// volley fills a result with one run of the generator and names the parties that heard nothing.
func (r *Result) volley(ctx context.Context, t RelayTarget, g *generator, length time.Duration) (deaf []string, err error) {
	before, err := t.process.usage()
	if err != nil {
		return nil, err
	}
	v, err := g.fire(ctx, r.Rate, length)
	if err != nil {
		return nil, err
	}
	after, err := t.process.usage()
	if err != nil {
		return nil, err
	}
	r.Operations, r.Lost, r.Failed = v.received, v.lostThere(), v.unsent+v.lostHere
	r.Seconds = v.took.Seconds()
	r.Delay = v.delay.Summary()
	if t.machine {
		after.cpu += v.calls
	}
	r.spend(before, after)
	if v.lostHere+v.unsent > 0 {
		r.Note = fmt.Sprintf("the generator lost %d and could not send %d", v.lostHere, v.unsent)
	}
	return v.deaf, nil
}

// The search for the highest rate without loss goes up in steps from a rate that every server carries.
const (
	peakFirst = 20_000.0
	peakStep  = 10_000.0
	peakLast  = 240_000.0
	peakTime  = 3 * time.Second
	// peakMisses is how many rates with loss in a row end the search: one may be the machine's fault.
	peakMisses = 2
)

// RelayPeak finds the highest rate at which a server on one core loses nothing. Rates at which the generator itself lost
// packets or fell behind end the search and say so: the server may do better.
func RelayPeak(ctx context.Context, t RelayTarget, load RelayLoad) (Result, error) {
	best := Result{Bench: "relay-peak", Server: t.Name}
	g, undo, err := t.join(ctx, load)
	if err != nil {
		return best, err
	}
	defer undo()
	if _, err := g.fire(ctx, peakFirst/4, load.Warm); err != nil {
		return best, err
	}
	misses := 0
	for rate := peakFirst; rate <= peakLast && misses < peakMisses; rate += peakStep {
		r := Result{Bench: best.Bench, Server: t.Name, Rate: rate}
		if _, err := r.volley(ctx, t, g, peakTime); err != nil {
			return best, err
		}
		achieved := float64(r.Operations+r.Lost+r.Failed) / r.Seconds
		switch {
		case r.Lost > 0:
			misses++
			best.Note = fmt.Sprintf("at %.0f/s the server lost %d of %d", rate, r.Lost, r.Lost+r.Operations)
			continue
		case r.Failed > 0 || math.Abs(achieved/rate-1) > 0.01:
			best.Note = fmt.Sprintf("the generator is full at %.0f/s (%s)", achieved, r.Note)
			return best, nil
		}
		misses = 0
		best = r
	}
	return best, nil
}

// Direct is socket to socket: the floor of the harness.
func Direct() RelayTarget {
	return RelayTarget{Name: "direct", path: func(_ context.Context, g *generator) (func(), error) {
		for i := range g.parties {
			g.aim(i, g.parties[i^1].local)
		}
		return func() {}, nil
	}}
}

// callsThrough sets up real calls by SIP between two sites, so that the server relays them. The phones speak only SIP;
// what they agreed on is left to the generator, whose first packets latch.
func callsThrough(server netip.AddrPort, near, far []Account) relayPath {
	return func(ctx context.Context, generate *generator) (undo func(), err error) {
		calls := len(generate.parties) / 2
		if calls > len(near) || calls > len(far) {
			return nil, fmt.Errorf("%d calls need %d accounts in each of two sites; there are %d and %d: %w", calls, calls, len(near), len(far), errRejected)
		}
		engine := voice.NewEngine(voice.DefaultTick) // never runs: it only names sockets for the descriptions
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
			for side, who := range []Account{near[i], far[i]} {
				p, err := phone.New(phone.Config{
					Account: phone.Account{Extension: who.User, AuthUser: who.AuthUser, Password: who.Password, Domain: who.Domain},
					Server:  server, Transport: phone.UDP, Bind: generate.parties[2*i+side].local.Addr(), Media: engine,
					OnCall: func(c *phone.Call) { answered <- c },
				})
				if err != nil {
					return nil, err // names the extension
				}
				g.Go(func() error { return p.Run(life) })
				if callers[i] == nil {
					callers[i] = p
				}
				select {
				case <-p.Registered():
				case <-time.After(10 * time.Second):
					return nil, fmt.Errorf("%s: %w", who.User, errors.Join(errTimeout, p.Status().Err))
				}
			}
		}
		for i, caller := range callers {
			call, err := caller.Call(ctx, far[i].User, phone.Sound{Send: tone.Frequency(2 * i)})
			if err != nil {
				return nil, fmt.Errorf("call %d: %w", i, err)
			}
			generate.aim(2*i, call.Remote())
			generate.aim(2*i+1, (<-answered).Remote())
		}
		return undo, nil
	}
}
