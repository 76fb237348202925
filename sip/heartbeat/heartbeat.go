// Package heartbeat finds out whether anything still comes over the line of each branch: it asks a few phones of a site
// with OPTIONS (RFC 3261 §11.1) when their calls are silent, and tells the ledger of the lines when a whole site has said
// nothing for as long as its configuration allows (site.Line.DownAfter), or is back.
//
// Life is any SIP message from the site, or media. A site none of whose phones has answered a question since the start is
// not judged: it may have no phones, or such that answer none. A single dead phone is not its business.
//
// Concurrency: one goroutine in Run asks and judges; answers come to it over a channel, and messages leave their time in
// an atomic.
//
//	beat, err := heartbeat.New(heartbeat.Options{Stack: stack, Locations: places, Sites: atlas, Ledger: ledger, Log: log})
//	err = beat.Run(ctx)
package heartbeat

import (
	"context"
	"errors"
	"log/slog"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"time"

	"github.com/emiago/sipgo/sip"

	"linehall/internal/observe"
	"linehall/internal/site"
	"linehall/sip/location"
	"linehall/sip/stack"
)

// Locations knows who is registered (sip/location).
type Locations interface {
	Snapshot() []location.Binding
}

// Ledger is told about lines (media/line).
type Ledger interface {
	// Heard counts the bytes that came from a site so far.
	Heard(id site.ID) int64
	SetDown(id site.ID, down bool)
}

// Options are the parts of a Beat.
type Options struct {
	Stack     *stack.Stack
	Locations Locations
	Sites     *site.Atlas
	Ledger    Ledger
	Domain    string        // of our address in the questions
	Interval  time.Duration // between two looks; 5 s
	Log       *slog.Logger
}

const (
	defaultInterval = 5 * time.Second
	// asked is how many phones of a site are asked at a time: one may be off, three at once hardly.
	asked = 3
	// answerTime covers five repetitions of an OPTIONS over UDP.
	answerTime = 4 * time.Second
)

// Beat watches the lines.
type Beat struct {
	o     Options
	sites map[site.ID]*pulse
	alive chan site.ID // answers; dropped when Run is behind: the next look asks again
	back  chan site.ID // messages of sites that are down; dropped likewise
	heard sync.Map     // site.ID to *trace
	work  sync.WaitGroup
}

// trace is what the reading goroutines leave of a site.
type trace struct {
	at   atomic.Int64 // of the last message, in Unix nanoseconds
	down atomic.Bool
}

// pulse is what is known of one site.
type pulse struct {
	last  time.Time // of the last sign of life; zero: never
	sure  bool      // a phone has answered a question: silence means something
	bytes int64     // from the site, when last looked at
	down  bool
}

// New returns a Beat; it starts nothing.
func New(o Options) (*Beat, error) {
	if o.Stack == nil || o.Locations == nil || o.Sites == nil || o.Ledger == nil {
		return nil, errors.New("heartbeat: a part is missing")
	}
	if o.Interval <= 0 {
		o.Interval = defaultInterval
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	b := &Beat{o: o, sites: map[site.ID]*pulse{}, alive: make(chan site.ID, 64), back: make(chan site.ID, 8)}
	o.Stack.OnHeard(b.hears)
	return b, nil
}

// hears notes a message. It runs on the reading goroutines.
func (b *Beat) hears(flow stack.Flow) {
	id, known := b.o.Sites.Locate(flow.Remote.Addr())
	if !known {
		return
	}
	t := b.trace(id)
	t.at.Store(time.Now().UnixNano())
	if t.down.Load() {
		select {
		case b.back <- id:
		default:
		}
	}
}

func (b *Beat) trace(id site.ID) *trace {
	if t, known := b.heard.Load(id); known {
		return t.(*trace) //nolint:errcheck,forcetypeassert // nothing else is stored
	}
	t, _ := b.heard.LoadOrStore(id, &trace{})
	return t.(*trace) //nolint:errcheck,forcetypeassert // as above
}

// Run looks at every line until ctx ends, and returns after the last question has ended.
func (b *Beat) Run(ctx context.Context) error {
	ticker := time.NewTicker(b.o.Interval)
	defer ticker.Stop()
	defer b.work.Wait()
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case id := <-b.alive:
			if p := b.sites[id]; p != nil {
				p.sure = true
			}
			b.hear(id, time.Now())
		case id := <-b.back:
			b.hear(id, time.Now())
		case now := <-ticker.C:
			b.look(ctx, now)
		}
	}
}

// look asks the sites that are silent, and judges those that have been for too long.
func (b *Beat) look(ctx context.Context, now time.Time) {
	here := map[site.ID][]location.Binding{}
	for _, binding := range b.o.Locations.Snapshot() {
		here[binding.Site] = append(here[binding.Site], binding)
	}
	known := map[site.ID]bool{}
	for _, s := range b.o.Sites.Sites() {
		if s.Line == nil || s.Line.DownAfter <= 0 {
			continue
		}
		known[s.ID] = true
		p := b.pulse(s.ID, here[s.ID], now)
		if bytes := b.o.Ledger.Heard(s.ID); bytes != p.bytes {
			p.bytes = bytes
			b.hear(s.ID, now)
		}
		if at := time.Unix(0, b.trace(s.ID).at.Load()); at.After(p.last) && at.UnixNano() > 0 {
			b.hear(s.ID, at)
		}
		silent := now.Sub(p.last)
		if silent >= s.Line.DownAfter/3 {
			b.ask(ctx, s.ID, here[s.ID])
		}
		if p.sure && !p.down && silent >= s.Line.DownAfter {
			p.down = true
			b.trace(s.ID).down.Store(true)
			b.o.Log.Warn("line is down: nothing comes from the site", slog.String(observe.Site, string(s.ID)), slog.Duration("silent", silent))
			b.o.Ledger.SetDown(s.ID, true)
		}
	}
	for id, p := range b.sites { // no longer watched
		if !known[id] {
			if p.down {
				b.trace(id).down.Store(false)
				b.o.Ledger.SetDown(id, false)
			}
			delete(b.sites, id)
		}
	}
}

// pulse returns the site's; a site that is new here, with phones that registered before, counts as heard just now.
func (b *Beat) pulse(id site.ID, phones []location.Binding, now time.Time) *pulse {
	p := b.sites[id]
	if p == nil {
		p = &pulse{bytes: b.o.Ledger.Heard(id)}
		b.sites[id] = p
	}
	if p.last.IsZero() && len(phones) > 0 {
		p.last = now
	}
	return p
}

func (b *Beat) hear(id site.ID, at time.Time) {
	p := b.sites[id]
	if p == nil {
		return
	}
	if at.After(p.last) {
		p.last = at
	}
	if p.down {
		p.down = false
		b.trace(id).down.Store(false)
		b.o.Log.Info("line is back", slog.String(observe.Site, string(id)))
		b.o.Ledger.SetDown(id, false)
	}
}

// ask sends OPTIONS to some phones of a site.
func (b *Beat) ask(ctx context.Context, id site.ID, phones []location.Binding) {
	rand.Shuffle(len(phones), func(i, j int) { phones[i], phones[j] = phones[j], phones[i] })
	for _, phone := range phones[:min(asked, len(phones))] {
		b.work.Go(func() {
			if b.answers(ctx, phone) {
				select {
				case b.alive <- id:
				default:
				}
			}
		})
	}
}

// answers reports whether a phone says anything.
func (b *Beat) answers(ctx context.Context, phone location.Binding) bool {
	if phone.Flow.Stream() && !b.o.Stack.Alive(phone.Flow) {
		return false
	}
	req, err := b.options(phone)
	if err != nil {
		return false
	}
	ctx, cancel := context.WithTimeout(ctx, answerTime)
	defer cancel()
	tx, err := b.o.Stack.Request(ctx, req, phone.Flow)
	if err != nil {
		return false
	}
	defer tx.Terminate()
	select {
	case _, heard := <-tx.Responses(): // whatever it says, it is there
		return heard
	case <-ctx.Done():
		return false
	}
}

func (b *Beat) options(phone location.Binding) (*sip.Request, error) {
	uri, err := phone.RequestURI()
	if err != nil {
		return nil, err //nolint:wrapcheck // names contact and AOR
	}
	req := sip.NewRequest(sip.OPTIONS, uri)
	req.AppendHeader(&sip.FromHeader{
		Address: sip.Uri{Scheme: "sip", Host: b.o.Domain}, Params: sip.HeaderParams{{K: "tag", V: stack.NewTag()}},
	})
	req.AppendHeader(&sip.ToHeader{Address: *uri.Clone()})
	id := sip.CallIDHeader(stack.NewTag() + "@" + b.o.Domain)
	req.AppendHeader(&id)
	req.AppendHeader(&sip.CSeqHeader{SeqNo: 1, MethodName: sip.OPTIONS})
	req.AppendHeader(&sip.ContactHeader{Address: b.o.Stack.ContactURI(phone.Flow, "")})
	req.AppendHeader(sip.NewHeader("Accept", "application/sdp"))
	return req, nil
}
