package subscribe

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/emiago/sipgo/sip"
	"github.com/prometheus/client_golang/prometheus"
	"golang.org/x/sync/errgroup"

	"linehall/internal/directory"
	"linehall/internal/observe"
	"linehall/internal/site"
	"linehall/sip/call"
	"linehall/sip/location"
	"linehall/sip/stack"
)

// Authenticator challenges requests (sip/digest).
type Authenticator interface {
	Check(req *stack.Request) (directory.Terminal, *sip.Response)
}

// Locator knows where phones are (sip/location).
type Locator interface {
	Lookup(aor string) []location.Binding
}

// Directory knows who phones are.
type Directory interface {
	ByExtension(extension string) (directory.Terminal, bool)
	Password(ctx context.Context, extension string) (string, error)
}

// Numbers names what can be watched beside extensions.
type Numbers interface {
	// Members are the extensions whose dialogs are a number's: a group's. ok is false when
	// nobody knows the number; a room or a parking place has no members (see Service.Show).
	Members(number string) (extensions []string, ok bool)
	// Lamps are the numbers on the keys of an extension's phone, in their order.
	Lamps(extension string) []string
}

// Quality takes the reports of phones. call is our call's id, "" when it is not known (any
// more). It must not block for long.
type Quality interface {
	Report(ctx context.Context, call, extension string, at site.ID, r Report) error
}

// Limits and timers; zero fields take the default.
type Limits struct {
	Total       int           // subscriptions; 20000: five buildings of 120 phones with 30 lamps
	PerTerminal int           // 200: three expansion modules of 60 keys
	MinExpires  time.Duration // shorter wishes get 423; 60 s
	MaxExpires  time.Duration // longer wishes get this; 1 h
	// Interval is the pause between two NOTIFYs of one subscription, 200 ms: nobody sees a lamp
	// change faster, and a call that rings and is answered at once costs one NOTIFY.
	Interval time.Duration
	// Rate and BusyRate bound the NOTIFYs per second, the latter while calls are being set up:
	// 10000 and 1000. One costs some 100 us with its answer: lamps shall not take more than a
	// tenth of a core from calls, and be right a moment after the load ends. While the machine is
	// short of CPU both fall (throttle.go).
	Rate, BusyRate int
	PerPhone       int           // NOTIFYs under way to one phone; 4: a dead phone does not hold up the living
	Patience       time.Duration // for the answer of a NOTIFY; 8 s: five transmissions over UDP
	Backoff        time.Duration // after the first unanswered one, doubled each time; 1 s
	LongestBackoff time.Duration // 1 min
	Failures       int           // in a row, until a subscription ends; 10: about eight minutes
	Published      int           // presence documents per extension; 4
	MessageBytes   int           // body of a MESSAGE; 8 KiB
	MessageTime    time.Duration // until a MESSAGE without an answer gets 202; 4 s
	WriteLag       time.Duration // how long a change waits for others to be written with; 50 ms
}

func (l Limits) withDefaults() Limits {
	def(&l.Total, 20000)
	def(&l.PerTerminal, 200)
	def(&l.MinExpires, time.Minute)
	def(&l.MaxExpires, time.Hour)
	def(&l.Interval, 200*time.Millisecond)
	def(&l.Rate, 10000)
	def(&l.BusyRate, 1000)
	def(&l.PerPhone, 4)
	def(&l.Patience, 8*time.Second)
	def(&l.Backoff, time.Second)
	def(&l.LongestBackoff, time.Minute)
	def(&l.Failures, 10)
	def(&l.Published, 4)
	def(&l.MessageBytes, 8<<10)
	def(&l.MessageTime, 4*time.Second)
	def(&l.WriteLag, 50*time.Millisecond)
	return l
}

func def[T int | time.Duration](v *T, d T) {
	if *v == 0 {
		*v = d
	}
}

func (l Limits) pace() pace {
	return pace{interval: l.Interval, backoff: l.Backoff, longest: l.LongestBackoff, maxFailures: l.Failures}
}

// Options are the parts of a Service.
type Options struct {
	Stack     *stack.Stack
	Auth      Authenticator
	Locations Locator
	Directory Directory
	// Next is the password that follows a terminal's present one while its phone may have either;
	// may be nil.
	Next      func(extension string) (password string, waits bool)
	Numbers   Numbers
	Mailboxes Mailboxes // nil: NoMailboxes
	Features  Features  // nil: NoFeatures
	Quality   Quality   // nil: reports are counted and dropped
	Sites     *site.Atlas
	DB        *sql.DB // with Schema applied; nil keeps nothing over a restart
	Limits    Limits
	Dropped   *observe.Dropped
	Panics    prometheus.Counter // may be nil
	Log       *slog.Logger
	// Registerer takes the linehall_subscription* families; nil registers nothing.
	Registerer prometheus.Registerer
}

// Service keeps all subscriptions.
type Service struct {
	o        Options
	stack    *stack.Stack
	limits   Limits
	pace     pace
	log      *slog.Logger
	metrics  *metrics
	store    *store
	board    *board
	throttle *throttle
	watched  atomic.Int64  // len(watching)
	wakes    chan struct{} // capacity 1: there is something for the notifier
	writes   chan struct{} // capacity 1: there is something to store

	mu                   sync.Mutex // guards what follows; never held over a send or a document
	subs                 map[key]*subscription
	watching             map[topic]map[*subscription]struct{}
	owned                map[string]int // subscriptions by extension
	doors                map[stack.Flow]*door
	queue                queue
	unsaved              map[key]*subscription // nil: deleted
	presence             map[string][]published
	offering, offerAgain map[string]bool // unsolicited message summaries under way
	ctx                  context.Context // Run's; nil before and after
	work                 sync.WaitGroup  // flights
}

// door is one way to a phone. An extension may have several phones, or one that came back at
// another address: what is dead must not hold up what lives.
type door struct {
	flights int
	waiting []*subscription // due, but enough is under way
}

// topic is what a subscription watches.
type topic struct {
	event  string
	number string
}

// Open builds the service, takes up the subscriptions of before the restart and registers
// SUBSCRIBE, PUBLISH and the option tag eventlist with the stack, which must not run yet.
// NOTIFY and MESSAGE outside of dialogs are shared with others: see ServeNotify, ServeMessage.
func Open(ctx context.Context, o Options) (*Service, error) {
	if o.Stack == nil || o.Auth == nil || o.Locations == nil || o.Directory == nil || o.Numbers == nil || o.Sites == nil {
		return nil, errors.New("subscribe: a part is missing")
	}
	if o.Mailboxes == nil {
		o.Mailboxes = NoMailboxes{}
	}
	if o.Features == nil {
		o.Features = NoFeatures{}
	}
	if o.Quality == nil {
		o.Quality = dropReports{}
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	s := &Service{
		o: o, stack: o.Stack, limits: o.Limits.withDefaults(), log: o.Log, store: &store{db: o.DB},
		wakes: make(chan struct{}, 1), writes: make(chan struct{}, 1),
		subs: map[key]*subscription{}, watching: map[topic]map[*subscription]struct{}{}, owned: map[string]int{}, doors: map[stack.Flow]*door{},
		unsaved: map[key]*subscription{}, presence: map[string][]published{}, offering: map[string]bool{}, offerAgain: map[string]bool{},
	}
	s.pace = s.limits.pace()
	s.board, s.throttle = newBoard(s.wake, func() bool { return s.watched.Load() > 0 }), newThrottle()
	s.metrics = newMetrics(o.Registerer, s)
	if err := s.restore(ctx); err != nil {
		return nil, fmt.Errorf("subscriptions: %w", err)
	}
	o.Stack.Support("eventlist")
	o.Stack.AllowEvents(eventNames...)
	o.Stack.Handle(sip.SUBSCRIBE, s.ServeSubscribe)
	o.Stack.Handle(sip.PUBLISH, s.ServePublish)
	return s, nil
}

// eventNames are what Allow-Events says.
var eventNames = []string{ //nolint:gochecknoglobals // a constant list
	eventDialog, eventPresence, eventSummary, eventFeatures, eventQuality, "keep-alive",
}

// The event packages.
const (
	eventDialog   = "dialog"
	eventPresence = "presence"
	eventSummary  = "message-summary"
	eventFeatures = "as-feature-event"
	eventQuality  = "vq-rtcpxr" // PUBLISH and unsolicited NOTIFY only
)

type dropReports struct{}

func (dropReports) Report(context.Context, string, string, site.ID, Report) error { return nil }

// CallChanged takes a change of a call; it never blocks. It is made for call.Service.OnChange.
func (s *Service) CallChanged(info call.Info) { s.board.take(info) }

// PhoneChanged takes a change of an AOR's bindings; it never blocks. It is made for
// location.Service.OnChange.
func (s *Service) PhoneChanged(aor string) {
	extension, _, _ := strings.Cut(aor, "@")
	s.board.mark(extension, aspectPresence|aspectPhone)
}

// Changed says that an extension's settings are others now.
func (s *Service) Changed(extension string) {
	s.board.mark(extension, aspectPresence|aspectSettings)
}

// MessagesChanged says that a mailbox's counts are others now.
func (s *Service) MessagesChanged(extension string) { s.board.mark(extension, aspectMessages) }

// Show sets the lamp of a number that is no phone: a room, a parking place. No dialogs: dark.
func (s *Service) Show(number string, dialogs []call.DialogInfo) { s.board.show(number, dialogs) }

// CallOf finds our call by the Call-ID of one of its phones, also for a while after its end.
func (s *Service) CallOf(callID string) (string, bool) { return s.board.callOf(callID) }

// Count is the number of subscriptions per event package.
func (s *Service) Count() map[string]int {
	counts := map[string]int{eventDialog: 0, eventPresence: 0, eventSummary: 0, eventFeatures: 0}
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, sub := range s.subs {
		counts[sub.event]++
	}
	return counts
}

// Run notifies and stores until ctx ends. Subscriptions outlive the process.
func (s *Service) Run(ctx context.Context) error {
	s.mu.Lock()
	s.ctx = ctx
	s.mu.Unlock()
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error { return s.notify(ctx) })
	g.Go(func() error { return s.write(ctx) })
	g.Go(func() error { return s.throttle.run(ctx) })
	err := g.Wait()
	s.mu.Lock()
	s.ctx = nil
	s.mu.Unlock()
	s.work.Wait()
	return errors.Join(err, s.flush(context.WithoutCancel(ctx)))
}

// Recheck ends the subscriptions of terminals that may not have them any more and of numbers
// that are gone; after a reload.
func (s *Service) Recheck() {
	now := time.Now()
	s.mu.Lock()
	all := make([]*subscription, 0, len(s.subs))
	for _, sub := range s.subs {
		all = append(all, sub)
	}
	s.mu.Unlock()
	for _, sub := range all {
		t, known := s.o.Directory.ByExtension(sub.owner)
		shown, watchable := s.lampsOf(sub.event, sub.owner, sub.resource, sub.list)
		s.mu.Lock()
		switch {
		case !known || !t.MayRegister():
			sub.end(reasonRejected, now)
		case !watchable:
			sub.end(reasonNoResource, now)
		default:
			s.rewatch(sub, shown, now)
		}
		s.schedule(sub)
		s.mu.Unlock()
	}
	s.wake()
}

// begin starts a goroutine of the service's, unless it does not run. The context ends with the service.
func (s *Service) begin(f func(ctx context.Context)) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.ctx == nil {
		return false
	}
	ctx := s.ctx
	s.work.Go(func() { f(ctx) })
	return true
}

func (s *Service) wake() { poke(s.wakes) }

func poke(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default: // there is one to come anyway
	}
}

func (s *Service) aor(extension string) string { return location.AOR(extension, s.stack.Domain()) }

// ours reports whether a host names this appliance.
func (s *Service) ours(host string) bool {
	if strings.EqualFold(host, s.stack.Domain()) {
		return true
	}
	_, err := netip.ParseAddr(strings.Trim(host, "[]"))
	return err == nil
}

// siteOf is the site of an address, or the configured one.
func (s *Service) siteOf(flow stack.Flow, configured site.ID) site.ID {
	if id, ok := s.o.Sites.Locate(flow.Remote.Addr()); ok {
		return id
	}
	return configured
}
