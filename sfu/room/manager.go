package room

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync"

	"github.com/prometheus/client_golang/prometheus"

	"linehall/internal/auth"
	"linehall/internal/observe"
	"linehall/internal/site"
	"linehall/media/line"
	"linehall/sfu/congestion"
	"linehall/sfu/forward"
	"linehall/sfu/pace"
	"linehall/sfu/peer"
	"linehall/sfu/signal"
)

// DefaultVideos is the number of video m-lines that a subscriber gets.
const DefaultVideos = 8

// errClosed means that the rooms are being shut down.
var errClosed = errors.New("the rooms are closed")

// Options configure a [Manager].
type Options struct {
	Config   Config
	Plane    peer.Plane
	Ledger   *line.Ledger
	Atlas    *site.Atlas
	Log      *slog.Logger
	Registry prometheus.Registerer
	Panics   prometheus.Counter
	Dropped  *observe.Dropped
	Videos   int // video m-lines per subscriber; 0: DefaultVideos
	// WithoutRecovery switches off NACK, RTX and repeated PLI: to measure what they are worth.
	WithoutRecovery bool
	Book            *Book    // of meetings and their minutes; nil: they are not kept
	Schedule        Schedule // nil: nothing is scheduled
	// Congestion measures the lines of the sites that take part; nil: they are taken for what their contracts say.
	Congestion *congestion.Pool
	// Recorder records what is shown; nil: nothing can be recorded.
	Recorder Recorder
	Dialler  Dialler // calls telephones; nil: none can be called. See DialWith.
}

// Manager holds the rooms.
type Manager struct {
	options  Options
	instance string
	metrics  *forward.Metrics
	lines    lines
	rooms    sync.WaitGroup

	mu      sync.Mutex // guards all below; no callback is called with it held
	config  Config
	byID    map[string]*Room
	ctx     context.Context //nolint:containedctx // the life of Run, in which rooms are started later
	changed []func()
}

// NewManager makes the rooms of the configuration; they open with Run.
func NewManager(o Options) *Manager {
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	if o.Videos == 0 {
		o.Videos = DefaultVideos
	}
	if o.Schedule == nil {
		o.Schedule = unscheduled{}
	}
	if o.Book == nil {
		o.Book = &Book{}
	}
	m := &Manager{
		options: o, instance: rand.Text()[:12], byID: map[string]*Room{}, metrics: forward.NewMetrics(o.Registry),
	}
	m.lines = lines{ledger: o.Ledger, pacer: pace.New(o.Plane, o.Registry), sites: map[site.ID]*pace.Site{}}
	m.apply(o.Config)
	if o.Registry != nil {
		o.Registry.MustRegister(newCollector(m))
	}
	return m
}

// Run keeps the rooms open until ctx ends, and returns when everyone has been dismissed and told so. The HTTP server must
// run on until then.
func (m *Manager) Run(ctx context.Context) error {
	m.mu.Lock()
	m.ctx = ctx
	for _, r := range m.byID {
		m.start(r) //nolint:contextcheck // the context of Run is in m
	}
	m.mu.Unlock()
	pacing, cancel := context.WithCancel(context.WithoutCancel(ctx)) // until the last page has left
	defer cancel()
	var pacer sync.WaitGroup
	pacer.Go(func() { m.pace(pacing) })
	<-ctx.Done()
	m.rooms.Wait()
	cancel()
	pacer.Wait()
	return nil
}

// pace sends what waits for the lines until ctx ends. A panic costs what was being sent.
func (m *Manager) pace(ctx context.Context) {
	for ctx.Err() == nil {
		func() {
			defer observe.Recover(m.options.Log, m.options.Panics, "pacer")
			m.lines.pacer.Run(ctx)
		}()
	}
}

// start runs a room; the caller holds mu.
func (m *Manager) start(r *Room) {
	if m.ctx == nil || m.ctx.Err() != nil {
		return
	}
	ctx, cancel := context.WithCancelCause(m.ctx)
	r.cancel = cancel
	m.rooms.Go(func() { r.run(ctx) })
}

// Apply takes a new configuration: rooms and venues come and go, meetings of rooms that stay go on.
func (m *Manager) Apply(c Config) error {
	if err := c.Validate(); err != nil {
		return fmt.Errorf("conference: %w", err)
	}
	m.mu.Lock()
	m.apply(c)
	m.mu.Unlock()
	m.notify()
	return nil
}

// apply starts, changes and closes rooms; the caller holds mu, or nobody else knows m yet.
func (m *Manager) apply(c Config) {
	m.config = c
	keep := map[string]bool{}
	for _, rc := range c.Rooms {
		keep[rc.Number] = true
		venues := venuesOf(c, rc)
		if r, ok := m.byID[rc.Number]; ok {
			r.reconfigure(rc, venues)
			continue
		}
		r := newRoom(m, rc, venues)
		m.byID[rc.Number] = r
		m.start(r) //nolint:contextcheck // the context of Run is in m
	}
	for number, r := range m.byID {
		if !keep[number] {
			if r.cancel != nil {
				r.cancel(errRoomClosed)
			}
			delete(m.byID, number)
		}
	}
}

func venuesOf(c Config, rc Settings) []VenueConfig {
	var list []VenueConfig
	for _, id := range rc.Venues {
		for _, v := range c.Venues {
			if v.ID == id {
				list = append(list, v)
			}
		}
	}
	return list
}

// OnChange has a function called whenever a snapshot would differ. It must not block and may be called by any goroutine.
func (m *Manager) OnChange(f func()) {
	m.mu.Lock()
	m.changed = append(m.changed, f)
	m.mu.Unlock()
}

func (m *Manager) notify() {
	m.mu.Lock()
	list := slices.Clone(m.changed)
	m.mu.Unlock()
	for _, f := range list {
		f()
	}
}

func (m *Manager) room(number string) *Room {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.byID[number]
}

// Join brings somebody into a room. It implements signal.Rooms.
func (m *Manager) Join(ctx context.Context, number string, who auth.Principal, join signal.Request, client signal.Client) (signal.Member, error) {
	r := m.room(number)
	if r == nil {
		return nil, signal.ErrNotFound
	}
	if !who.MayEnter(number) {
		return nil, signal.ErrForbidden
	}
	reply := make(chan admission) // unbuffered: what was sent has arrived
	if !r.post(func() { r.admit(ctx, who, join, client, reply) }) {
		return nil, peer.ErrBusy
	}
	s, err := r.await(ctx, reply)
	if err != nil {
		return nil, err
	}
	return s, nil
}

// Instance changes with every start of the appliance.
func (m *Manager) Instance() string { return m.instance }
