// Package location is the location service: which contacts an AOR is bound to
// (RFC 3261 §10, RFC 3327 Path, RFC 5626 instances and flows, RFC 5627 GRUUs).
//
// Bindings live in memory and are written behind to SQLite in groups, at most
// 100 ms later; Open reads them back, so a restart or a crash costs at most
// what that last moment registered. One goroutine (Run) expires and writes.
// Lookup does not lock. What a REGISTER means is decided in sip/registrar; this
// package applies its result atomically and bounds the numbers.
//
//	loc, err := location.Open(ctx, location.Options{DB: db, Log: log})
//	g.Go(func() error { return loc.Run(ctx) })
//	for _, b := range loc.Lookup("8001@linehall.test") { ... }
package location

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/emiago/sipgo/sip"
	"github.com/prometheus/client_golang/prometheus"

	"linehall/internal/site"
	"linehall/sip/stack"
)

// Errors that the registrar answers.
var (
	ErrTooMany = errors.New("too many contacts for one AOR")
	ErrFull    = errors.New("the location service is full")
)

// AOR builds the key of an address-of-record: user@domain, the domain in lower case.
func AOR(user, domain string) string { return user + "@" + strings.ToLower(domain) }

// Binding is one contact of an AOR. Values are immutable once published.
type Binding struct {
	AOR           string
	Contact       string // the URI, byte for byte as registered: what an INVITE's Request-URI must be
	ContactParams string // header parameters of the Contact but expires, ";+sip.instance=..." or ""
	Flow          stack.Flow
	Path          []string // Path URIs, the first is the next hop (RFC 3327)
	Expires       time.Time
	Since         time.Time // when the contact was first bound
	Updated       time.Time // when it was bound or refreshed last; zero: before this was kept
	Instance      string    // +sip.instance without its quotes
	RegID         string
	CallID        string
	CSeq          uint32
	Q             int // preference in thousandths; 1000 when not given
	UserAgent     string
	Site          site.ID
}

// Options are the parts of a Service.
type Options struct {
	DB       *sql.DB       // with Schema applied; nil keeps nothing over a restart
	PerAOR   int           // contacts per AOR; 0 = 10
	Total    int           // bindings in total; 0 = 20000
	Grace    time.Duration // how long a binding outlives its lost connection; 0 = 60 s
	Domain   string        // of the AORs, for GRUUs; "" makes none
	GRUUKey  []byte        // seals temporary GRUUs: 32 bytes that stay the same over restarts; nil makes none of these
	WriteLag time.Duration // how long a change waits for others to be written with; 0 = 50 ms
	Log      *slog.Logger
	// Registerer takes linehall_sip_registered_bindings{site}.
	Registerer prometheus.Registerer
}

const (
	defaultPerAOR   = 10
	defaultTotal    = 20000
	defaultGrace    = 60 * time.Second
	defaultWriteLag = 50 * time.Millisecond
)

// Service is safe for concurrent use; OnChange is called before Run.
type Service struct {
	opts  Options
	log   *slog.Logger
	store *store
	gruus *gruus

	byAOR  sync.Map // AOR → []Binding, never written after it was stored
	total  atomic.Int64
	notify []func(aor string)

	mu     sync.Mutex // guards what follows and all writes to byAOR
	flows  map[stack.Flow]map[string]bool
	due    *schedule
	hosts  map[netip.Addr]int     // bindings by source (stack.SourceKey)
	ports  map[netip.AddrPort]int // and by its port
	dirty  map[string]bool
	sites  map[site.ID]int
	broken bool // the last write failed; said once

	wake  chan struct{} // capacity 1: something is earlier than Run believes
	gauge *prometheus.GaugeVec
}

// Open reads the bindings that have not expired. It starts nothing.
func Open(ctx context.Context, opts Options) (*Service, error) {
	def(&opts.PerAOR, defaultPerAOR)
	def(&opts.Total, defaultTotal)
	def(&opts.Grace, defaultGrace)
	def(&opts.WriteLag, defaultWriteLag)
	if opts.Log == nil {
		opts.Log = slog.New(slog.DiscardHandler)
	}
	s := &Service{
		opts: opts, log: opts.Log, store: &store{db: opts.DB, rows: make(map[string]int)},
		flows: make(map[stack.Flow]map[string]bool), hosts: make(map[netip.Addr]int), ports: make(map[netip.AddrPort]int), due: newSchedule(),
		dirty: make(map[string]bool), sites: make(map[site.ID]int), wake: make(chan struct{}, 1),
		gauge: prometheus.NewGaugeVec(prometheus.GaugeOpts{
			Name: "linehall_sip_registered_bindings",
			Help: "Contacts that are registered, by site.",
		}, []string{"site"}),
	}
	if opts.Registerer != nil {
		opts.Registerer.MustRegister(s.gauge)
	}
	var err error
	if s.gruus, err = newGRUUs(opts.Domain, opts.GRUUKey); err != nil {
		return nil, fmt.Errorf("location: %w", err)
	}
	bindings, err := s.store.load(ctx)
	if err != nil {
		return nil, fmt.Errorf("location: %w", err)
	}
	now := time.Now()
	s.mu.Lock()
	defer s.mu.Unlock()
	for aor, list := range bindings {
		live := slices.DeleteFunc(list, func(b Binding) bool { return !b.Expires.After(now) })
		if len(live) != len(bindings[aor]) {
			s.dirty[aor] = true
		}
		s.put(aor, nil, live)
	}
	return s, nil
}

func def[T int | time.Duration](v *T, d T) {
	if *v == 0 {
		*v = d
	}
}

// OnChange adds a receiver that is told which AOR's set of bindings changed
// (also by expiry), not of mere refreshes. It is called without locks held,
// from the goroutine that made the change, and must not block.
func (s *Service) OnChange(f func(aor string)) { s.notify = append(s.notify, f) }

// Lookup returns the bindings of an AOR, the most preferred first, those
// registered last first among equals. The slice must not be written to.
func (s *Service) Lookup(aor string) []Binding {
	v, ok := s.byAOR.Load(aor)
	if !ok {
		return nil
	}
	list := v.([]Binding) //nolint:errcheck,forcetypeassert // the map holds nothing else
	now := time.Now()
	if !slices.ContainsFunc(list, func(b Binding) bool { return !b.Expires.After(now) }) {
		return list
	}
	return slices.DeleteFunc(slices.Clone(list), func(b Binding) bool { return !b.Expires.After(now) })
}

// Snapshot returns all bindings, ordered by AOR.
func (s *Service) Snapshot() []Binding {
	var out []Binding
	s.byAOR.Range(func(k, _ any) bool {
		out = append(out, s.Lookup(k.(string))...) //nolint:errcheck,forcetypeassert // keys are AORs
		return true
	})
	slices.SortStableFunc(out, func(a, b Binding) int { return strings.Compare(a.AOR, b.AOR) })
	return out
}

// Len is the number of bindings.
func (s *Service) Len() int { return int(s.total.Load()) }

// Update replaces an AOR's bindings by what change makes of them, atomically
// with regard to other updates. change must not keep or write to its argument
// and must not block; its error is returned as it is and nothing changes.
// ErrTooMany and ErrFull say that the result would exceed the bounds.
func (s *Service) Update(aor string, change func(now []Binding) ([]Binding, error)) ([]Binding, error) {
	s.mu.Lock()
	before := s.Lookup(aor)
	after, err := change(before)
	if err == nil {
		err = s.bounds(before, after)
	}
	if err != nil {
		s.mu.Unlock()
		return before, err
	}
	after = slices.Clone(after)
	slices.SortStableFunc(after, preferred)
	old := s.stored(aor)
	s.put(aor, old, after)
	idle := len(s.dirty) == 0
	s.dirty[aor] = true
	s.mu.Unlock()
	if idle { // else Run looks again before long: waking it for each registration costs a tenth of one
		s.poke()
	}
	if !sameContacts(old, after) {
		s.tell(aor)
	}
	return after, nil
}

func (s *Service) bounds(before, after []Binding) error {
	if len(after) > s.opts.PerAOR && len(after) > len(before) {
		return ErrTooMany
	}
	if int(s.total.Load())+len(after)-len(before) > s.opts.Total && len(after) > len(before) {
		return ErrFull
	}
	return nil
}

// preferred orders by q, then the newest first.
func preferred(a, b Binding) int {
	if a.Q != b.Q {
		return b.Q - a.Q
	}
	return b.Since.Compare(a.Since)
}

func (s *Service) stored(aor string) []Binding {
	v, _ := s.byAOR.Load(aor)
	list, _ := v.([]Binding)
	return list
}

// put publishes an AOR's bindings and keeps the indexes; mu is held.
func (s *Service) put(aor string, old, list []Binding) {
	for _, b := range old {
		s.unindex(b)
	}
	for _, b := range list {
		s.index(b)
	}
	s.total.Add(int64(len(list) - len(old)))
	if len(list) == 0 {
		s.byAOR.Delete(aor)
		return
	}
	s.byAOR.Store(aor, list)
	next := list[0].Expires
	for _, b := range list[1:] {
		if b.Expires.Before(next) {
			next = b.Expires
		}
	}
	s.due.set(aor, next)
}

func (s *Service) index(b Binding) {
	s.sites[b.Site]++
	s.gauge.WithLabelValues(string(b.Site)).Set(float64(s.sites[b.Site]))
	s.hosts[stack.SourceKey(b.Flow.Remote.Addr())]++
	s.ports[b.Flow.Remote]++
	if !b.Flow.Stream() {
		return
	}
	if s.flows[b.Flow] == nil {
		s.flows[b.Flow] = make(map[string]bool)
	}
	s.flows[b.Flow][b.AOR] = true
}

func (s *Service) unindex(b Binding) {
	s.sites[b.Site]--
	s.gauge.WithLabelValues(string(b.Site)).Set(float64(s.sites[b.Site]))
	less(s.hosts, stack.SourceKey(b.Flow.Remote.Addr()))
	less(s.ports, b.Flow.Remote)
	if aors := s.flows[b.Flow]; aors != nil {
		delete(aors, b.AOR)
		if len(aors) == 0 {
			delete(s.flows, b.Flow)
		}
	}
}

func less[K comparable](counts map[K]int, key K) {
	if counts[key]--; counts[key] <= 0 {
		delete(counts, key)
	}
}

// At reports whether something is registered from that source (stack.SourceKey),
// and from that very port of it.
func (s *Service) At(remote netip.AddrPort) (source, port bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.hosts[stack.SourceKey(remote.Addr())] > 0, s.ports[remote] > 0
}

// FlowClosed shortens the bindings of a lost connection to the grace period:
// the phone has that long to come back and register again. Dropping them at
// once would lose calls to a phone that is just changing its network. Contacts
// that we can dial keep their time: the connection is opened when it is needed.
func (s *Service) FlowClosed(f stack.Flow) {
	s.mu.Lock()
	limit := time.Now().Add(s.opts.Grace)
	aors := make([]string, 0, len(s.flows[f]))
	for aor := range s.flows[f] {
		aors = append(aors, aor)
	}
	for _, aor := range aors {
		old := s.stored(aor)
		list := slices.Clone(old)
		for i := range list {
			if _, dialable := list[i].DialBack(); !dialable && list[i].Flow == f && list[i].Expires.After(limit) {
				list[i].Expires = limit
			}
		}
		s.put(aor, old, list)
		s.dirty[aor] = true
	}
	s.mu.Unlock()
	s.poke()
}

func sameContacts(a, b []Binding) bool {
	return slices.EqualFunc(a, b, func(x, y Binding) bool { return x.Contact == y.Contact && x.Flow == y.Flow })
}

func (s *Service) tell(aor string) {
	for _, f := range s.notify {
		f(aor)
	}
}

func (s *Service) poke() {
	select {
	case s.wake <- struct{}{}:
	default: // Run has one to come anyway
	}
}

// DialBack says where the phone listens when its connection is gone, if it may
// be dialled there (stack.DialBack); a Path leads over somebody else's connection.
func (b Binding) DialBack() (netip.AddrPort, bool) {
	var uri sip.Uri
	if len(b.Path) > 0 || !b.Flow.Stream() || sip.ParseUri(b.Contact, &uri) != nil {
		return netip.AddrPort{}, false
	}
	return stack.DialBack(b.Flow, &uri)
}

// Routes is the route set of a request to the contact (RFC 3327 §5.3): the URIs
// of the Path, in its order.
func (b Binding) Routes() []string {
	out := make([]string, 0, len(b.Path))
	for _, p := range b.Path {
		if open, end := strings.IndexByte(p, '<'), strings.LastIndexByte(p, '>'); open >= 0 && end > open {
			p = p[open+1 : end]
		}
		out = append(out, p)
	}
	return out
}

// RequestURI is the Contact as the Request-URI of a request to it: everything
// the phone registered but headers and method, which a Request-URI must not
// carry (RFC 3261 §19.1.1).
func (b Binding) RequestURI() (sip.Uri, error) {
	var uri sip.Uri
	if err := sip.ParseUri(b.Contact, &uri); err != nil {
		return uri, fmt.Errorf("contact %q of %s: %w", b.Contact, b.AOR, err)
	}
	uri.Headers = nil
	uri.UriParams.Remove("method")
	return uri, nil
}
