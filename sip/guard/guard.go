// Package guard keeps out those who guess SIP passwords and scan for extensions.
//
// It is told of each failure and each success of digest authentication. A source (an address; of IPv6 a /64) that fails
// too often within a window is banned: what it sends is dropped before a byte is parsed. An address that phones are
// behind is never banned as a whole: there the port or connection that fails is shut out, and the account that is
// guessed is locked for everybody at this address but the phone that it belongs to. Bans double with each repetition,
// those of addresses survive a restart, and all can be listed and lifted.
//
//	digest → failed, challenged, scanner ┐
//	digest → succeeded                   ├ core → bans → Admit, before the parser
//	location, trunks → who is there      ┘             → Locked, same answer as a wrong password
//	stack  → Enter, before the transaction → question → place, or the line of the source
//
// How fast somebody asks makes no difference: so many questions of a source as are no scan yet may be without an answer,
// the next ones wait (Enter). Whether the user exists that somebody asks for makes none either.
//
// Everything is in tables of a fixed size where the oldest entry makes room; there are two goroutines (Run), one writes
// and one looks after requests that wait. It does not limit rates (sip/stack does), and knows nothing of calls.
//
// A Guard is safe for concurrent use.
//
//	g, err := guard.Open(ctx, guard.Options{DB: db, Config: cfg.SIP, Standing: who, Log: log})
//	s, err := stack.New(stack.Options{Filter: g, Gate: g, ...})
//	a, err := digest.New(digest.Options{Observer: g, ...})
package guard

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"net/netip"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/emiago/sipgo/sip"
	"github.com/prometheus/client_golang/prometheus"
	"golang.org/x/sync/errgroup"

	"linehall/internal/auth"
	"linehall/internal/observe"
	"linehall/sip/stack"
)

// ErrNotFound is the error for an address of which nothing is shut out.
var ErrNotFound = errors.New("no ban")

// Options are the parts of a Guard.
type Options struct {
	DB     *sql.DB // with Schema applied; nil keeps nothing over a restart
	Config auth.SIPGuard
	// Standing says who is known at the other end of a flow. It is asked after failures, and for requests of those who were
	// not right lately; it must not block. May be nil.
	Standing func(flow stack.Flow) Standing
	// Home reports whether a user is registered from the source. It is asked when a request would have to wait, and must
	// not block. May be nil.
	Home       func(user string, source netip.Addr) bool
	Size       int // entries of each table; 0 = 65536
	Log        *slog.Logger
	Registerer prometheus.Registerer
}

const defaultSize = 65536

// Guard is the ban list.
type Guard struct {
	opts   Options
	log    *slog.Logger
	store  store
	total  *prometheus.CounterVec
	waited *prometheus.CounterVec

	mu    sync.Mutex // guards what follows
	core  *core
	line  line
	dirty map[netip.Addr]bool // sources whose ban is to be written or removed

	shut  shut
	wake  chan struct{} // capacity 1: something is to be written
	waits chan struct{} // capacity 1: something waits
}

// shut is who is kept out, until when: what Admit looks at. It holds no more than the tables of the core.
type shut struct {
	some    atomic.Bool // there may be entries
	mu      sync.RWMutex
	sources map[netip.Addr]time.Time
	flows   map[netip.AddrPort]time.Time
}

func (s *shut) add(b Ban) {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch b.Kind {
	case Address:
		s.sources[b.Source] = b.Until
	case Flow:
		s.flows[b.Flow] = b.Until
	case Account:
		return
	}
	s.some.Store(true)
}

func (s *shut) remove(bans ...Ban) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, b := range bans {
		switch b.Kind {
		case Address:
			delete(s.sources, b.Source)
		case Flow:
			delete(s.flows, b.Flow)
		case Account:
		}
	}
	s.some.Store(len(s.sources)+len(s.flows) > 0)
}

// sweep forgets what has ended.
func (s *shut) sweep(now time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	maps.DeleteFunc(s.sources, func(_ netip.Addr, until time.Time) bool { return !until.After(now) })
	maps.DeleteFunc(s.flows, func(_ netip.AddrPort, until time.Time) bool { return !until.After(now) })
	s.some.Store(len(s.sources)+len(s.flows) > 0)
}

func (s *shut) holds(remote netip.AddrPort) bool {
	if !s.some.Load() {
		return false
	}
	s.mu.RLock()
	defer s.mu.RUnlock()
	until, banned := s.sources[stack.SourceKey(remote.Addr())]
	if !banned {
		until, banned = s.flows[remote]
	}
	return banned && until.After(time.Now())
}

// Open reads the bans that have not ended. It starts nothing.
func Open(ctx context.Context, opts Options) (*Guard, error) {
	if opts.Size == 0 {
		opts.Size = defaultSize
	}
	if opts.Log == nil {
		opts.Log = slog.New(slog.DiscardHandler)
	}
	if opts.Standing == nil {
		opts.Standing = func(stack.Flow) Standing { return Standing{} }
	}
	if opts.Home == nil {
		opts.Home = func(string, netip.Addr) bool { return false }
	}
	g := &Guard{
		opts: opts, log: opts.Log, store: store{opts.DB}, core: newCore(opts.Config, opts.Size),
		line: newLine(), dirty: make(map[netip.Addr]bool), wake: make(chan struct{}, 1), waits: make(chan struct{}, 1),
		total: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "linehall_sip_bans_total", Help: "Sources, flows and accounts of a source that were shut out after failures.",
		}, []string{"kind", "reason"}),
		waited: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "linehall_sip_requests_waited_total",
			Help: "Requests of unknown senders that had to wait for others of their source, by what became of them: entered, given_up, banned, overflow.",
		}, []string{"outcome"}),
	}
	g.shut.sources, g.shut.flows = make(map[netip.Addr]time.Time), make(map[netip.AddrPort]time.Time)
	g.core.sources.gone = func(a netip.Addr) {
		g.shut.remove(Ban{Kind: Address, Source: a})
		g.dirty[a] = true
	}
	g.core.flows.gone = func(f netip.AddrPort) { g.shut.remove(Ban{Kind: Flow, Flow: f}) }
	kept, err := g.store.load(ctx)
	if err != nil {
		return nil, fmt.Errorf("guard: %w", err)
	}
	now := time.Now()
	for _, b := range kept {
		if now.Sub(b.Until) < remembered {
			g.core.sources.at(b.Source).ban = b
			g.shut.add(b)
		} else {
			g.dirty[b.Source] = true
		}
	}
	g.apply(opts.Config, now)
	if opts.Registerer != nil {
		opts.Registerer.MustRegister(g.total, g.waited, prometheus.NewGaugeFunc(prometheus.GaugeOpts{
			Name: "linehall_sip_bans", Help: "Sources, flows and accounts of a source that are shut out now.",
		}, func() float64 { return float64(len(g.Bans())) }))
	}
	return g, nil
}

// Admit reports whether something may come in from there. While nobody is shut out it costs next to nothing.
func (g *Guard) Admit(remote netip.AddrPort, _ string) bool { return !g.shut.holds(remote) }

// Succeeded is told of a right password.
func (g *Guard) Succeeded(req *stack.Request, account string) {
	remote, now := req.Flow.Remote, time.Now()
	g.mu.Lock()
	g.core.succeeded(now, remote, account)
	g.core.answered(remote, g.what(req))
	next := g.turn(now, stack.SourceKey(remote.Addr()))
	g.mu.Unlock()
	g.letIn(next)
}

// Failed is told of wrong credentials.
func (g *Guard) Failed(req *stack.Request, account string) {
	remote := req.Flow.Remote
	st := g.opts.Standing(req.Flow)
	g.judge(func(now time.Time) []Ban {
		g.core.answered(remote, g.what(req))
		return g.core.failed(now, remote, account, st)
	})
	g.Saw(req)
	g.moved(stack.SourceKey(remote.Addr()))
}

// Challenged is told of a request without credentials.
func (g *Guard) Challenged(req *stack.Request) {
	g.judge(func(now time.Time) []Ban {
		return g.core.challenged(now, req.Flow.Remote, g.what(req), func() Standing { return g.opts.Standing(req.Flow) })
	})
	g.Saw(req)
}

// Probed is told of an OPTIONS outside of calls.
func (g *Guard) Probed(req *stack.Request) {
	g.judge(func(now time.Time) []Ban {
		return g.core.probed(now, req.Flow.Remote, req.Recipient.User, func() Standing { return g.opts.Standing(req.Flow) })
	})
	g.Saw(req)
}

// wanted is the user that a request is about: whose registration, or who is called or watched.
func wanted(req *stack.Request) string {
	if to := req.To(); to != nil && (req.Method == sip.REGISTER || req.Recipient.User == "") {
		return to.Address.User
	}
	return req.Recipient.User
}

// Saw looks at a request of somebody unknown for the marks of scanners.
func (g *Guard) Saw(req *stack.Request) {
	h := req.GetHeader("User-Agent")
	if h == nil || !scans(h.Value()) {
		return
	}
	remote := req.Flow.Remote
	st := g.opts.Standing(req.Flow)
	g.judge(func(now time.Time) []Ban { return g.core.scanner(now, remote, st) })
}

// scans knows programs that no phone is.
func scans(userAgent string) bool {
	lower := strings.ToLower(userAgent)
	for _, name := range []string{"friendly-scanner", "sipvicious", "sipcli", "sundayddr", "vaxsipuseragent", "pplsip"} {
		if strings.Contains(lower, name) {
			return true
		}
	}
	return false
}

// Locked reports whether the account may not log in from there, whatever its password.
func (g *Guard) Locked(req *stack.Request, account string) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.core.locked(time.Now(), req.Flow.Remote, account)
}

// Bans lists what is shut out now, the newest first.
func (g *Guard) Bans() []Ban {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.core.bans(time.Now())
}

// Lift forgives an address everything. It returns ErrNotFound when nothing of it is shut out.
func (g *Guard) Lift(address netip.Addr) error {
	source, now := stack.SourceKey(address), time.Now()
	g.mu.Lock()
	defer g.mu.Unlock()
	lifted := g.core.lift(now, source)
	if len(lifted) == 0 {
		return fmt.Errorf("%w of %s", ErrNotFound, address)
	}
	g.shut.remove(lifted...)
	g.changed(source)
	return nil
}

// Apply takes a new configuration; who is on its allow list now is free at once.
func (g *Guard) Apply(config auth.SIPGuard) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.apply(config, time.Now())
}

func (g *Guard) apply(config auth.SIPGuard, now time.Time) {
	g.core.config = config
	for _, b := range g.core.bans(now) {
		if g.core.exempt(b.Source) {
			g.shut.remove(g.core.lift(now, b.Source)...)
			g.changed(b.Source)
		}
	}
}

func (g *Guard) judge(count func(now time.Time) []Ban) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.banned(count(time.Now()))
}

// banned has bans obeyed, counted and written; mu is held.
func (g *Guard) banned(found []Ban) {
	for _, b := range found {
		g.total.WithLabelValues(string(b.Kind), string(b.Reason)).Inc()
		g.log.Warn("shut out", slog.String("kind", string(b.Kind)), slog.Any(observe.Remote, b.Source), slog.String("flow", flowText(b)), slog.String(observe.User, b.Account),
			slog.String(observe.Reason, string(b.Reason)), slog.Int(observe.Count, b.Tries), slog.Time("until", b.Until))
		if b.Kind == Address {
			g.changed(b.Source)
		}
		g.shut.add(b)
		g.dropHeld(b)
	}
}

func flowText(b Ban) string {
	if b.Kind != Flow {
		return ""
	}
	return b.Flow.String()
}

// changed has the ban of a source written; mu is held.
func (g *Guard) changed(source netip.Addr) {
	g.dirty[source] = true
	select {
	case g.wake <- struct{}{}:
	default: // Run will look anyway
	}
}

// sweepEvery is how often what has ended is forgotten.
const sweepEvery = time.Minute

// Run writes bans until ctx ends, and then what is left; and it looks after the requests that wait.
func (g *Guard) Run(ctx context.Context) error {
	group, ctx := errgroup.WithContext(ctx)
	group.Go(func() error { return g.write(ctx) })
	group.Go(func() error { g.attend(ctx); return nil })
	return group.Wait()
}

// attend looks at the line while somebody waits: whoever waits does not wait for the disk.
func (g *Guard) attend(ctx context.Context) {
	tick := time.NewTimer(0)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-g.waits:
			tick.Reset(lookEvery)
		case <-tick.C:
			if g.look(time.Now()) {
				tick.Reset(lookEvery)
			}
		}
	}
}

func (g *Guard) write(ctx context.Context) error {
	tick := time.NewTicker(sweepEvery)
	defer tick.Stop()
	for {
		if err := g.flush(context.WithoutCancel(ctx)); err != nil {
			g.log.Error("bans not written", observe.Err, err) // the next look tries again
		}
		select {
		case <-ctx.Done():
			return g.flush(context.WithoutCancel(ctx))
		case <-g.wake:
		case <-tick.C:
			g.shut.sweep(time.Now())
		}
	}
}

func (g *Guard) flush(ctx context.Context) error {
	g.mu.Lock()
	dirty := g.dirty
	g.dirty = make(map[netip.Addr]bool)
	rows := make([]Ban, 0, len(dirty))
	for source := range dirty {
		b := Ban{Source: source}
		if t := g.core.sources.entries[source]; t != nil && !t.ban.Until.IsZero() {
			b = t.ban
		}
		rows = append(rows, b)
	}
	g.mu.Unlock()
	if len(rows) == 0 {
		return nil
	}
	err := g.store.save(ctx, rows)
	if err != nil {
		g.mu.Lock()
		maps.Copy(g.dirty, dirty)
		g.mu.Unlock()
	}
	return err
}
