package line

import (
	"log/slog"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"linehall/internal/observe"
	"linehall/internal/site"
)

// Ledger keeps the lines of all sites.
type Ledger struct {
	log   *slog.Logger
	start time.Time // meters count time from here

	mu        sync.Mutex // guards everything below; no callback, log or send happens while it is held
	lines     map[site.ID]*account
	order     []site.ID       // sites with a line, in the order of the configuration
	serial    uint64          // of the lease opened last
	preempted [classes]uint64 // leases that gave way, each counted once
}

// account is the book of one site's line. A site without a line has one too once somebody asked, so that a line that a
// reload adds knows what it carries already.
type account struct {
	id          site.ID
	line        *site.Line // nil: no line, nothing is refused
	firm        [directions][classes]int64
	elastics    []*Elastic
	meters      [directions][classes]*Meter
	leases      map[*Lease]struct{}  // that hold something of it
	calls       [emergencyRank]int64 // by rank, less one
	refused     [classes]uint64
	preempted   [classes]uint64
	overflowed  uint64
	verdicts    [directions]Verdict
	bulk        bool // see DemandBulk
	silent      bool // see SetDown
	silentSince time.Time
}

// NewLedger returns a ledger of table's lines; nothing is reserved yet. It registers linehall_line_capacity_bps,
// _reserved_bps, _measured_bps, _estimated_bps, _below_contract, _refused_total, _preempted_total, _overflowed_total and _up at reg (nil: no metrics).
func NewLedger(table *site.Table, log *slog.Logger, reg prometheus.Registerer) *Ledger {
	if log == nil {
		log = slog.New(slog.DiscardHandler)
	}
	l := &Ledger{log: log, start: time.Now(), lines: map[site.ID]*account{}}
	l.Apply(table)
	if reg != nil {
		reg.MustRegister(newCollector(l))
	}
	return l
}

// Apply takes over the lines of a reloaded configuration. Leases, elastic leases and meters stay; a line that shrank
// below what is reserved admits nothing new until enough was released.
func (l *Ledger) Apply(table *site.Table) {
	l.mu.Lock()
	for _, a := range l.lines {
		a.line = nil
	}
	l.order = l.order[:0]
	for _, s := range table.Sites() {
		if s.Line == nil {
			continue
		}
		line := *s.Line
		a := l.account(s.ID)
		a.line = &line
		l.order = append(l.order, s.ID)
	}
	var changed []*Elastic
	for _, a := range l.lines {
		a.setOverhead()
		changed = append(changed, a.rebudget()...)
	}
	l.mu.Unlock()
	deliver(changed)
}

// account returns the book of a site, a new one if need be. Ids come from the configuration, so the map is bounded.
func (l *Ledger) account(id site.ID) *account {
	a, ok := l.lines[id]
	if !ok {
		a = &account{id: id, leases: map[*Lease]struct{}{}}
		for d := range a.meters {
			for c := range a.meters[d] {
				a.meters[d][c] = &Meter{start: l.start}
			}
		}
		l.lines[id] = a
	}
	return a
}

// usable is the part of a direction that may be given away: capacity without the office reserve.
func (a *account) usable(d Direction) int64 {
	if a.line == nil {
		return Unlimited
	}
	capacity := a.capacity(d)
	return capacity - share(capacity, a.line.OfficeReserve)
}

func (a *account) capacity(d Direction) int64 {
	switch {
	case a.line == nil:
		return Unlimited
	case d == Up:
		return a.line.Up
	default:
		return a.line.Down
	}
}

func share(capacity int64, part float64) int64 { return int64(float64(capacity) * part) }

// Conference audio floor: a voice of Opus at 32 kbit/s takes 66 kbit/s on a leased Ethernet line, so 120 kbit/s carry
// the loudest voice and the silence of the others; on lines below 1.2 Mbit/s a tenth of the line must do.
const (
	floorRate  = 120_000
	floorShare = 10 // one tenth
)

// FloorRate returns what calls leave free for conference audio on a line of that capacity, unless conference audio has
// reserved more already, where the configuration does not say otherwise (site.Line.ConferenceFloor).
func FloorRate(capacity int64) int64 { return min(floorRate, capacity/floorShare) }

func (a *account) floor(d Direction) int64 {
	if a.line.ConferenceFloor != nil {
		return share(a.capacity(d), *a.line.ConferenceFloor)
	}
	return FloorRate(a.capacity(d))
}

func (a *account) reserved(d Direction) int64 {
	var sum int64
	for _, r := range a.firm[d] {
		sum += r
	}
	return sum
}

// free returns what class may still take in one dimension of an amount; it is negative when the line is oversubscribed.
// An emergency may use the office's part, and a line's last bit even if that makes others give way.
func (a *account) free(class Class, dim int) int64 {
	switch {
	case a.line == nil:
		return Unlimited
	case dim == calls && (a.line.CallsMax == 0 || class > Voice || class == Emergency):
		return Unlimited
	case dim == calls:
		return int64(a.line.CallsMax) - a.callCount()
	}
	d := Direction(dim) //nolint:gosec // 0 or 1
	if class == Emergency {
		return a.capacity(d) - a.reserved(d)
	}
	left := a.usable(d) - a.reserved(d)
	if class.isCall() {
		left -= max(0, a.floor(d)-a.firm[d][ConferenceAudio])
	}
	return left
}

func (a *account) callCount() (sum int64) {
	for _, n := range a.calls {
		sum += n
	}
	return sum
}

// WireRate returns the bit/s that a stream takes on the line of a site; a site without a line counts plain IP packets.
func (l *Ledger) WireRate(id site.ID, packetsPerSecond, ipBytesPerPacket int) int64 {
	l.mu.Lock()
	defer l.mu.Unlock()
	return int64(packetsPerSecond) * int64(ipBytesPerPacket+l.overhead(id)) * 8
}

// Overhead returns the bytes that the line of a site adds to every IP packet; 0 where there is no line.
func (l *Ledger) Overhead(id site.ID) int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.overhead(id)
}

func (l *Ledger) overhead(id site.ID) int {
	if a, ok := l.lines[id]; ok && a.line != nil {
		return a.line.Overhead.Bytes()
	}
	return 0
}

// refuse counts and logs a refusal; nobody holds the lock.
func (l *Ledger) refuse(r *Refused) {
	l.mu.Lock()
	l.account(r.Site).refused[r.Class]++
	l.mu.Unlock()
	if r.Cause != NoRoom {
		l.log.Info("line takes no more calls", observe.Site, string(r.Site), observe.Class, r.Class.String(), observe.Reason, string(r.Cause))
		return
	}
	l.log.Info("line has no room", observe.Site, string(r.Site), observe.Direction, r.Direction.String(),
		observe.Class, r.Class.String(), "wanted_bps", r.Wanted, "free_bps", r.Free)
}
