package trace

import (
	"bytes"
	"context"
	"database/sql"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"linehall/internal/observe"
	"linehall/sip/stack"
)

// ErrUnknown is the error for a call of which no message is kept.
var ErrUnknown = errors.New("no messages of this call are kept")

// Bounds of what waits in memory. A call has a dozen messages of a kilobyte; a long one with lamps and refreshes a few
// hundred. 64 MiB hold the calls of a minute at a thousand calls per second.
const (
	maxThreads  = 65536
	maxMessages = 500
	maxBytes    = 64 << 20
	// unclaimed is how long messages wait for a call: the core claims an INVITE's Call-ID at once.
	unclaimed = 30 * time.Second
	// linger is how long an ended call still collects: its last responses and their repetitions.
	linger = 5 * time.Second
	// sweepEvery is how often the threads are looked through.
	sweepEvery = time.Second
)

// Options are the parts of a Book.
type Options struct {
	DB         *sql.DB
	Config     Config
	Dropped    *observe.Dropped
	Log        *slog.Logger
	Registerer prometheus.Registerer // takes linehall_trace_messages_total and linehall_trace_calls
}

// Book keeps messages.
type Book struct {
	db      *sql.DB
	log     *slog.Logger
	dropped *observe.Dropped
	total   prometheus.Counter
	config  atomic.Pointer[Config]
	hep     *exporter
	packer  *packer // of sweep

	mu      sync.Mutex // guards what follows; held for map work only
	threads map[string]*thread
	calls   map[string]*call
	bytes   int
}

// thread is the messages of one Call-ID.
type thread struct {
	id       string // the Call-ID
	call     *call  // nil: unclaimed
	last     time.Time
	messages []Message
	bytes    int
}

// call is one call of ours with its Call-IDs.
type call struct {
	id      string
	threads []*thread
	ended   time.Time // zero: goes on
}

// Open returns a book over the table of Schema.
func Open(ctx context.Context, o Options) (*Book, error) {
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	b := &Book{
		db: o.DB, log: o.Log, dropped: o.Dropped, threads: map[string]*thread{}, calls: map[string]*call{},
		total: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "linehall_trace_messages_total", Help: "SIP messages seen by the trace.",
		}),
	}
	if err := b.db.QueryRowContext(ctx, "SELECT count(*) FROM call_trace").Scan(new(int)); err != nil {
		return nil, fmt.Errorf("call traces: %w", err)
	}
	var err error
	if b.packer, err = newPacker(); err != nil {
		return nil, fmt.Errorf("call traces: %w", err)
	}
	b.hep = newExporter(o.Dropped, o.Log)
	b.Apply(o.Config)
	if o.Registerer != nil {
		o.Registerer.MustRegister(b.total, prometheus.NewGaugeFunc(prometheus.GaugeOpts{
			Name: "linehall_trace_calls", Help: "Calls whose messages are in memory: those that go on and those that ended a moment ago.",
		}, b.waiting))
	}
	return b, nil
}

func (b *Book) waiting() float64 {
	b.mu.Lock()
	defer b.mu.Unlock()
	return float64(len(b.calls))
}

// Apply takes over a reloaded configuration.
func (b *Book) Apply(config Config) {
	b.config.Store(&config)
	b.hep.apply(config.HEP)
}

// Message takes one message that came in or goes out. data is borrowed until return. It does not block: what does not
// fit is counted as dropped.
func (b *Book) Message(in bool, flow stack.Flow, data []byte) {
	config := b.config.Load()
	if config.Keep == 0 && config.HEP.Address == "" {
		return
	}
	id := callIDOf(data)
	if len(id) == 0 {
		return
	}
	b.total.Inc()
	if config.HEP.Address == "" && !b.wanted(id, data) {
		return
	}
	m := Message{At: time.Now(), In: in, Flow: flow, Text: slices.Clone(data)}
	mask(m.Text)
	if config.HEP.Address != "" {
		b.hep.offer(m, string(id))
	}
	if config.Keep > 0 {
		b.keep(string(id), m)
	}
}

// wanted reports whether a message may belong to a call: an INVITE, or what goes on in the dialogs that it began or that
// a call has claimed. Registrations and lamps, which are most of all messages, are not copied.
func (b *Book) wanted(id, text []byte) bool {
	if bytes.HasPrefix(text, []byte("INVITE ")) {
		return true
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.threads[string(id)] != nil
}

func (b *Book) keep(id string, m Message) {
	b.mu.Lock()
	defer b.mu.Unlock()
	t := b.threads[id]
	if t == nil {
		if len(b.threads) >= maxThreads {
			b.dropped.Count("trace", "full")
			return
		}
		t = &thread{id: strings.Clone(id)}
		b.threads[t.id] = t
	}
	t.last = m.At
	if len(t.messages) >= maxMessages || b.bytes+len(m.Text) > maxBytes {
		b.dropped.Count("trace", "full")
		return
	}
	t.messages = append(t.messages, m)
	t.bytes += len(m.Text)
	b.bytes += len(m.Text)
}

// Bind says that a Call-ID belongs to a call; one that is bound already goes over to the newer call.
func (b *Book) Bind(sipCallID, id string) {
	if b.config.Load().Keep == 0 {
		return
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	t := b.threads[sipCallID]
	if t == nil {
		if len(b.threads) >= maxThreads {
			return
		}
		t = &thread{id: sipCallID, last: time.Now()}
		b.threads[sipCallID] = t
	}
	if t.call != nil {
		if t.call.id == id {
			return
		}
		t.call.threads = slices.DeleteFunc(t.call.threads, func(o *thread) bool { return o == t })
	}
	c := b.calls[id]
	if c == nil {
		c = &call{id: id}
		b.calls[id] = c
	}
	t.call = c
	c.threads = append(c.threads, t)
}

// End says that a call is over.
func (b *Book) End(id string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if c := b.calls[id]; c != nil && c.ended.IsZero() {
		c.ended = time.Now()
	}
}

// Run writes finished calls, forgets what nobody claimed, and sends to the capture server until ctx ends; then it writes
// what is finished.
func (b *Book) Run(ctx context.Context) error {
	var sending sync.WaitGroup
	sending.Go(func() { b.hep.run(ctx) })
	defer sending.Wait()
	tick := time.NewTicker(sweepEvery)
	defer tick.Stop()
	pruneAt := time.Now().Add(time.Minute)
	for {
		select {
		case <-ctx.Done():
			last, cancel := context.WithTimeout(context.WithoutCancel(ctx), linger)
			defer cancel()
			b.sweep(last, time.Now().Add(linger)) //nolint:contextcheck // the last write has its own time
			return ctx.Err()
		case now := <-tick.C:
			b.sweep(ctx, now)
			if now.After(pruneAt) {
				pruneAt = now.Add(time.Minute)
				b.prune(ctx, now)
			}
		}
	}
}

// sweep writes the calls that ended before now - linger and drops stale threads.
func (b *Book) sweep(ctx context.Context, now time.Time) {
	finished := b.collect(now)
	if len(finished) == 0 {
		return
	}
	if err := b.write(ctx, finished); err != nil {
		b.log.Warn("call traces not written", slog.Int(observe.Count, len(finished)), slog.Any(observe.Err, err))
		b.dropped.Count("trace", "not_written")
	}
}

// finishedCall is a call that goes to the database.
type finishedCall struct {
	id       string
	ended    time.Time
	messages []Message
}

func (b *Book) collect(now time.Time) []finishedCall {
	b.mu.Lock()
	defer b.mu.Unlock()
	var finished []finishedCall
	for id, c := range b.calls {
		if c.ended.IsZero() || now.Sub(c.ended) < linger {
			continue
		}
		finished = append(finished, finishedCall{id, c.ended, merged(c)})
		for _, t := range c.threads {
			b.forget(t)
		}
		delete(b.calls, id)
	}
	for _, t := range b.threads {
		if t.call == nil && now.Sub(t.last) > unclaimed {
			b.forget(t)
		}
	}
	return finished
}

func (b *Book) forget(t *thread) {
	delete(b.threads, t.id)
	b.bytes -= t.bytes
}

// merged is a call's messages in the order of time.
func merged(c *call) []Message {
	var all []Message
	for _, t := range c.threads {
		all = append(all, t.messages...)
	}
	slices.SortStableFunc(all, func(x, y Message) int { return x.At.Compare(y.At) })
	return all
}

// Messages returns what is kept of a call, oldest first: of one that goes on or has just ended from memory, of others
// from the database.
func (b *Book) Messages(ctx context.Context, id string) ([]Message, error) {
	b.mu.Lock()
	c := b.calls[id]
	var now []Message
	if c != nil {
		now = merged(c)
	}
	b.mu.Unlock()
	if c != nil && len(now) > 0 {
		return now, nil
	}
	return b.read(ctx, id)
}
