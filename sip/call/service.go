package call

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/emiago/sipgo/sip"
	"github.com/prometheus/client_golang/prometheus"

	"linehall/internal/database"
	"linehall/internal/directory"
	"linehall/internal/observe"
	"linehall/internal/site"
	"linehall/internal/worker"
	"linehall/media/anchor"
	"linehall/media/capture"
	"linehall/media/record"
	"linehall/sip/cdr"
	"linehall/sip/dialplan"
	"linehall/sip/location"
	"linehall/sip/stack"
)

// Errors that callers branch on.
var (
	ErrUnknownCall = errors.New("no such call")
	ErrBusy        = errors.New("the call is too busy to listen")
)

// Authenticator challenges requests (sip/digest).
type Authenticator interface {
	Check(req *stack.Request) (directory.Terminal, *sip.Response)
}

// Locator knows where phones are (sip/location).
type Locator interface {
	Lookup(aor string) []location.Binding
	// Resolve reads a GRUU; it reports false for any other URI.
	Resolve(uri *sip.Uri) (location.Target, bool, error)
}

// Directory knows who phones are.
type Directory interface {
	ByExtension(extension string) (directory.Terminal, bool)
}

// Plan decides dialled numbers. It is asked per call, so that a reload may swap it.
type Plan interface {
	Decide(from dialplan.Caller, number string, at time.Time) dialplan.Decision
}

// Records takes the call records (sip/cdr).
type Records interface {
	Begin(r cdr.Record)
	Finish(ctx context.Context, r cdr.Record) error
	// FinishSoon does not wait; then hears how it went, and must not block.
	FinishSoon(r cdr.Record, then func(error))
	// Finished returns which of these calls have a record that is closed.
	Finished(ctx context.Context, ids []string) (map[string]bool, error)
}

// Store keeps the state of established calls across a restart.
type Store interface {
	// Save returns when the state is committed.
	Save(ctx context.Context, id string, state []byte) error
	// SaveSoon has the state committed within lag and does not block; then hears how that went, and must not block either.
	SaveSoon(id string, state []byte, lag time.Duration, then func(error))
	// Delete forgets a call soon and does not block; then hears how that went.
	Delete(id string, then func(error))
	Load(ctx context.Context) (map[string][]byte, error)
}

// Trace keeps the messages of calls (sip/trace).
type Trace interface {
	// Bind says that the messages of a Call-ID belong to a call; End that the call is over.
	Bind(sipCallID, id string)
	End(id string)
}

// untraced keeps nothing.
type untraced struct{}

func (untraced) Bind(string, string) {}
func (untraced) End(string)          {}

// Limits and timers; zero fields take the default.
type Limits struct {
	Ring  time.Duration // of a stage that does not say; 60 s
	Setup time.Duration // of all stages together, until 480; 3 min, what proxies on the way wait for (RFC 3261 §16.6, Timer C)
	Calls int           // at the same time; 2000: far beyond what the phones can do, within what memory and ports hold
	// PerTerminal is how many calls one terminal may have at the same time; 500. It only bounds
	// what a phone gone mad can hold: how many calls a person may have waiting is a feature of
	// its own, and load tools make all their calls with one account.
	PerTerminal int
	Probe       time.Duration // between two OPTIONS to a phone in a call; 3 min
	Linger      time.Duration // how long a request waits for a phone whose connection is gone; 32 s
	T1          time.Duration // of the 2xx that wait for their ACK (RFC 3261 §17.1.1.1); 500 ms
	// SessionExpires is the session interval where the peer leaves it to us (RFC 4028 §5); 1800 s, its recommendation.
	// MinSE is the shortest that we accept; 90 s, the least that it allows.
	SessionExpires, MinSE time.Duration
}

func (l Limits) withDefaults() Limits {
	if l.Ring == 0 {
		l.Ring = time.Minute
	}
	if l.Setup == 0 {
		l.Setup = max(3*time.Minute, l.Ring)
	}
	if l.Calls == 0 {
		l.Calls = 2000
	}
	if l.PerTerminal == 0 {
		l.PerTerminal = 500
	}
	if l.Probe == 0 {
		l.Probe = 3 * time.Minute
	}
	if l.Linger == 0 {
		l.Linger = 32 * time.Second
	}
	if l.T1 == 0 {
		l.T1 = 500 * time.Millisecond
	}
	if l.SessionExpires == 0 {
		l.SessionExpires = 1800 * time.Second
	}
	if l.MinSE == 0 {
		l.MinSE = defaultMinSE
	}
	return l
}

// Options are the parts of a Service.
type Options struct {
	Stack     *stack.Stack
	Auth      Authenticator
	Locations Locator
	Directory Directory
	Plan      Plan
	Barging   Barging  // nil: nobody joins a call of others
	Pickup    Pickup   // nil: people pick up at their own extension only
	Router    Router   // nil: a number rings what the plan says
	Features  Features // nil: feature codes are refused
	Trunks    Trunks   // nil: there is no way outside
	Tolls     Tolls    // nil: calls outside are limited by the number plan only
	Lines     Lines    // nil: no line is ever known to be down
	// PreemptBusy says whether a call of higher precedence ends the least important call of a
	// telephone that has as many as it may have; nil: never. It is asked per call.
	PreemptBusy func() bool
	Sites       *site.Atlas
	Anchor      *anchor.Anchor
	Records     Records
	Store       Store
	Secrets     Secrets // encrypts states that hold keys; nil: they are stored as they are
	Trace       Trace   // may be nil
	// Recorder keeps what is said; nil: nothing is. RecordCode is the feature code that begins and ends a recording, as keys
	// in the call as well; nil: there is none.
	Recorder   *record.Recorder
	RecordCode func() string
	Captures   *capture.Book // keeps media for capture files; nil: nobody may
	Limits     Limits
	Dropped    *observe.Dropped
	Panics     prometheus.Counter // may be nil
	Log        *slog.Logger
	// Registerer takes the linehall_calls_* and linehall_call_* families; nil registers nothing.
	Registerer prometheus.Registerer
}

// Service owns all calls.
type Service struct {
	o       Options
	stack   *stack.Stack
	limits  Limits
	log     *slog.Logger
	metrics *metrics

	workers  *worker.Pool  // owners outside of reading goroutines
	idle     chan struct{} // closed at the end of Run: they idle no longer
	draining atomic.Bool
	begun    chan struct{} // closed by Run
	changed  []func(Info)

	mu      sync.Mutex // guards the fields below; held briefly, never over a send
	calls   map[string]*call
	dialogs map[dialogKey]*call
	notices map[dialogKey]*notice
	joined  map[string]*call // by the id of who joined
	busy    map[string]int   // calls per extension
	lines   map[lineKey]int  // calls per trunk and gateway
	ctx     context.Context
	living  map[*call]struct{} // those that are not over; an ended one may wait for its transactions
	work    sync.WaitGroup     // the living, and what they and we have started
	waiting []*call            // restored, before Run
	seeking []*call            // restored as well; whom they ring is not known
}

// dialogKey finds a call by what every request and response in one of its dialogs carries.
type dialogKey struct{ callID, localTag string }

// New builds the service and registers its SIP methods with the stack, which must not run yet.
func New(o Options) (*Service, error) {
	if o.Stack == nil || o.Auth == nil || o.Locations == nil || o.Directory == nil || o.Plan == nil ||
		o.Sites == nil || o.Anchor == nil || o.Records == nil || o.Store == nil {
		return nil, errors.New("call: a part is missing")
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	if o.Trace == nil {
		o.Trace = untraced{}
	}
	if o.Tolls == nil {
		o.Tolls = freely{}
	}
	s := &Service{
		o: o, stack: o.Stack, limits: o.Limits.withDefaults(), log: o.Log, begun: make(chan struct{}), idle: make(chan struct{}),
		calls: map[string]*call{}, dialogs: map[dialogKey]*call{}, notices: map[dialogKey]*notice{}, joined: map[string]*call{}, busy: map[string]int{}, lines: map[lineKey]int{},
		living: map[*call]struct{}{},
	}
	s.workers = worker.New(s.idle)
	s.metrics = newMetrics(o.Registerer, s)
	o.Stack.HandleAtOnce(sip.INVITE, s.serveInvite)
	o.Stack.Support(priorityTag)
	o.Stack.Announce("Accept-Resource-Priority", acceptedPriorities())
	for _, m := range []sip.RequestMethod{sip.ACK, sip.BYE, sip.UPDATE, sip.INFO, sip.PRACK} {
		o.Stack.Handle(m, s.ServeInDialog)
	}
	o.Stack.Support("norefersub", "replaces", joinTag)
	o.Stack.Handle(sip.REFER, s.Within(s.serveRefer))
	o.Stack.Handle(sip.SUBSCRIBE, s.Within(s.notServed))
	o.Stack.Handle(sip.OPTIONS, s.Within(o.Stack.ServeOptions))
	o.Stack.Handle(sip.NOTIFY, s.Within(o.Stack.ServeNotify))
	o.Stack.Handle(sip.MESSAGE, s.Within(s.notServed))
	o.Stack.OnStrayResponse(s.stray)
	o.Stack.OnDialogRequest(s.take)
	o.Stack.Support(timerTag, reliableTag)
	return s, nil
}

// Within serves requests that belong to a call and leaves the others to next: for methods that
// mean something outside of calls as well. New uses it for OPTIONS, MESSAGE and NOTIFY; whoever
// serves those outside of calls replaces its handler with one of their own.
func (s *Service) Within(next stack.Handler) stack.Handler {
	return func(ctx context.Context, req *stack.Request) {
		if req.InDialog() {
			s.ServeInDialog(ctx, req)
			return
		}
		next(ctx, req)
	}
}

// notServed answers a MESSAGE outside of a call: there is no such service. Its Allow is what
// is served there (RFC 3261 §21.4.6).
func (s *Service) notServed(_ context.Context, req *stack.Request) {
	res := s.stack.NewResponse(req, sip.StatusMethodNotAllowed, "Method Not Allowed")
	allow := slices.DeleteFunc(strings.Split(s.stack.Allow(), ", "), func(m string) bool { return m == string(req.Method) })
	res.AppendHeader(sip.NewHeader("Allow", strings.Join(allow, ", ")))
	_ = req.Tx.Respond(res) // the peer repeats a request whose response is lost
}

// OnChange adds a receiver of every change of every call, the last one with state ended. It is
// called by the call's owner and must not block; before Run.
func (s *Service) OnChange(f func(Info)) { s.changed = append(s.changed, f) }

// Run owns the calls until ctx ends; it is called once. An INVITE that comes before it waits for it. Then ringing calls are given up, established ones are
// left as they are, in the store, for the next start: a restart must not cut a conversation.
func (s *Service) Run(ctx context.Context) error {
	s.mu.Lock()
	s.ctx = ctx
	waiting, seeking := s.waiting, s.seeking
	s.waiting, s.seeking = nil, nil
	for _, c := range waiting {
		s.startLocked(c) //nolint:contextcheck // it takes Run's context from the service
		s.later(func() { c.turn(nil) })
	}
	for _, c := range seeking {
		s.work.Go(func() { s.seek(context.WithoutCancel(ctx), c, c.terminal) })
	}
	s.mu.Unlock()
	close(s.begun)
	<-ctx.Done()
	s.draining.Store(true)
	s.mu.Lock()
	s.ctx = nil
	living := slices.Collect(maps.Keys(s.living))
	s.mu.Unlock()
	for _, c := range living {
		c.post(msgStop{})
	}
	s.work.Wait()
	close(s.idle)
	s.workers.Wait()
	return nil
}

// Drain refuses new calls from now on (503) and waits until no call is being set up, or ctx
// ends. Established calls go on and outlive the process.
func (s *Service) Drain(ctx context.Context) error {
	s.draining.Store(true)
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for {
		ringing := 0
		for _, info := range s.Snapshot() {
			if info.State == StateRinging {
				ringing++
			}
		}
		if ringing == 0 {
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("%d calls still ringing: %w", ringing, context.Cause(ctx))
		case <-tick.C:
		}
	}
}

// Hangup ends a call on an operator's word; reason is shown in the call's record.
func (s *Service) Hangup(_ context.Context, id, reason string) error {
	s.mu.Lock()
	c, in := s.calls[id], s.joined[id]
	s.mu.Unlock()
	if in != nil {
		in.notify(msgGuestOff{id, "operator", reason})
		return nil
	}
	if c == nil {
		return fmt.Errorf("call %s: %w", id, ErrUnknownCall)
	}
	if !c.offer(msgHangup{by: "operator", reason: reason}) {
		return fmt.Errorf("call %s: %w", id, ErrBusy)
	}
	return nil
}

// Snapshot returns the calls that have not ended, oldest first, with their quality so far.
func (s *Service) Snapshot() []Info {
	s.mu.Lock()
	calls := make([]*call, 0, len(s.calls))
	for _, c := range s.calls {
		calls = append(calls, c)
	}
	s.mu.Unlock()
	infos := make([]Info, 0, len(calls))
	for _, c := range calls {
		if info, ok := c.snapshot(); ok {
			infos = append(infos, info)
		}
	}
	slices.SortFunc(infos, func(a, b Info) int { return strings.Compare(a.ID, b.ID) })
	return infos
}

// admit counts a new call against the limits and begins it. It returns the status to
// refuse with, or 0. Emergency calls are always admitted.
func (s *Service) admit(c *call) int {
	code := s.book(c)
	if code == 0 {
		s.later(func() { c.turn(nil) })
	}
	return code
}

// admitHere is admit for whoever serves the call's INVITE, who is its owner at first.
func (s *Service) admitHere(c *call, req *stack.Request) int {
	code := s.book(c)
	if code == 0 {
		c.turn(req.Reading())
	}
	return code
}

// book takes a call into the books; it is its owner who does.
func (s *Service) book(c *call) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.ctx == nil {
		return 503
	}
	if !c.emergency() {
		if len(s.calls) >= s.limits.Calls {
			return 503
		}
		if s.busy[c.callerExtension()] >= s.limits.PerTerminal {
			return 403
		}
	}
	if in := c.incoming; in != nil {
		if !c.emergency() && s.fullLocked(in.Trunk, in.Gateway, in.Most) {
			return 486
		}
		s.seizeLocked(c, in.Trunk, in.Gateway)
	}
	s.occupyLocked(c, c.callerExtension())
	s.startLocked(c) //nolint:contextcheck // a call lives with the service, not with its INVITE's handler
	return 0
}

// startLocked makes whoever calls it the owner of a call that nobody owns yet.
func (s *Service) startLocked(c *call) {
	s.calls[c.id] = c
	s.living[c] = struct{}{}
	s.work.Add(1)
	c.ctx = context.WithoutCancel(s.ctx) // what is sent at the end must leave
	c.box.begin()
}

// retire is the end of a call that startLocked has begun.
func (s *Service) retire(c *call) {
	s.mu.Lock()
	delete(s.living, c)
	s.mu.Unlock()
	s.work.Done()
}

// later runs f in a goroutine of ours, which Run waits for.
func (s *Service) later(f func()) { s.workers.Run(&s.work, f) }

// occupy counts the call among an extension's calls, unless it has as many as it may have: limit, or
// with 0 what the core allows. Emergency calls ring in any case.
func (s *Service) occupy(c *call, extension string, limit int) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if limit <= 0 || limit > s.limits.PerTerminal {
		limit = s.limits.PerTerminal
	}
	if s.busy[extension] >= limit && !c.emergency() && !slices.Contains(c.parties, extension) {
		return false
	}
	s.occupyLocked(c, extension)
	return true
}

func (s *Service) occupyLocked(c *call, extension string) {
	if extension != "" && !slices.Contains(c.parties, extension) {
		c.parties = append(c.parties, extension)
		s.busy[extension]++
	}
}

// vacate takes the call off the books of all extensions but those that stay in it.
func (s *Service) vacate(c *call, stay ...string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.vacateLocked(c, stay...)
}

func (s *Service) vacateLocked(c *call, stay ...string) {
	c.parties = slices.DeleteFunc(c.parties, func(p string) bool {
		if slices.Contains(stay, p) {
			return false
		}
		if s.busy[p]--; s.busy[p] <= 0 {
			delete(s.busy, p)
		}
		return true
	})
}

// hungUp gives back the places that an ended call had at its phones and gateways.
func (s *Service) hungUp(c *call) {
	s.o.Tolls.Release(c.id)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.vacateLocked(c)
	for _, key := range c.lines {
		s.hungUpLocked(key)
	}
	c.lines = nil
}

// release takes an ended call off the books; its dialogs stay known until forget.
func (s *Service) release(c *call) {
	s.hungUp(c)
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.calls, c.id)
}

// know makes the call reachable for requests and responses of a dialog.
func (s *Service) know(c *call, callID, localTag string) {
	s.o.Trace.Bind(callID, c.id)
	s.enter(c, callID, localTag)
}

// enter is know for a dialog whose messages are kept with another record.
func (s *Service) enter(c *call, callID, localTag string) {
	key := dialogKey{callID, localTag}
	c.keys = append(c.keys, key)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.dialogs[key] = c
}

func (s *Service) forget(c *call) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, key := range c.keys {
		if s.dialogs[key] == c { // a party that was handed over belongs to another call
			delete(s.dialogs, key)
		}
	}
}

func (s *Service) find(callID, localTag string) *call {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.dialogs[dialogKey{callID, localTag}]
}

// OpenStore returns the store of call state in the appliance's database.
func OpenStore(ctx context.Context, db *sql.DB, writer *database.Writer) (*SQLStore, error) {
	return newSQLStore(ctx, db, writer)
}
