// Package phones lets many simulated phones live together: it registers them, lets them call each other inside and
// across sites at a given rate or number at once, listens whether the right tone arrives at both ends, and reports.
// As a demo it goes on for ever with calls as people make them: short and long, busy, unanswered, put on hold.
//
// One goroutine per running call; the phones and the media have their own. A phone is in at most one planned call;
// calls from outside the plan (a person dialling a simulated phone) are answered after two rings.
//
//	report, err := phones.Run(ctx, phones.Plan{Terminals: list, Calls: 30, Hold: 10 * time.Second, Duration: time.Minute})
package phones

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"os"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"linehall/cmd/linesim/appliance"
	"linehall/cmd/linesim/phone"
	"linehall/cmd/linesim/tone"
	"linehall/cmd/linesim/voice"
)

// Plan says what the phones shall do.
type Plan struct {
	Terminals []appliance.Terminal
	Count     int    // phones to switch on; 0 means all
	Transport string // udp, tcp, tls, mixed, or "" for what each account says
	Server    string // replaces the accounts' server name
	Binds     map[string]netip.Prefix
	CAFile    string        // replaces the accounts' CA
	Expires   time.Duration // registration lifetime asked for

	Total    int           // calls to make in all; 0 means until Duration has passed
	Calls    int           // calls at once
	Rate     float64       // call attempts per second; 0 means as fast as calls at once allow
	Hold     time.Duration // how long a call lasts
	Ring     time.Duration // before the callee answers
	Across   float64       // share of calls between sites, 0..1
	Duration time.Duration // 0: until Total, or for ever in the demo
	Demo     bool
	MaxLoss  float64 // percent; a call that loses more has failed
	Lamps    int     // busy lamps on each phone, of the phones behind it in the list

	RegisterWithin time.Duration // 0 means 30 s
	Progress       func(Progress)
	Log            *slog.Logger
}

// Progress is told every few seconds.
type Progress struct {
	Phones, Registered, Active int
	Done, Failed               uint64
}

// actor is one phone and its part in the plan.
type actor struct {
	index    int
	terminal appliance.Terminal
	phone    *phone.Phone
	incoming chan *phone.Call      // the planned call once this phone has answered it
	watchers []*phone.Subscription // lamps of this phone on others; written before the first call

	mu       sync.Mutex // guards reaction
	reaction *phone.Reaction
}

// world is everything that lives during one run.
type world struct {
	plan   Plan
	media  *voice.Engine
	actors []*actor
	number map[string]*actor
	tally  *tally

	mu   sync.Mutex // guards idle, and the lamps while they are being lit
	idle map[string][]*actor

	lamps    []*phone.Subscription
	lampLife context.Context // of the phones
}

var (
	errNobody       = errors.New("no terminals to simulate")
	errUnregistered = errors.New("not all phones could register")
)

// Run carries the plan out. The report is valid even with an error, as far as it got.
func Run(ctx context.Context, plan Plan) (*Report, error) {
	w, err := newWorld(ctx, plan)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	life, off := context.WithCancel(context.WithoutCancel(ctx)) // the phones outlive the plan, to hang up and unregister
	defer off()
	g, life := errgroup.WithContext(life)
	mediaLife, mediaOff := context.WithCancel(context.WithoutCancel(ctx))
	defer mediaOff()
	var media errgroup.Group
	media.Go(func() error { return w.media.Run(mediaLife) })
	w.lampLife = life
	for _, a := range w.actors {
		g.Go(func() error { return a.phone.Run(life) })
	}
	runErr := w.live(ctx)
	w.tally.registrations(w.actors)
	off()
	err = errors.Join(runErr, g.Wait())
	mediaOff()
	return w.tally.report(), errors.Join(err, media.Wait())
}

// live waits for the registrations and makes the calls.
func (w *world) live(ctx context.Context) error {
	started := time.Now()
	if err := w.awaitRegistrations(ctx); err != nil {
		return err
	}
	w.tally.allRegistered(time.Since(started))
	if err := w.lightLamps(ctx); err != nil {
		return err
	}
	defer w.darkness()
	if w.plan.Progress != nil {
		stop := w.tellProgress(ctx)
		defer stop()
	}
	if w.plan.Calls == 0 && !w.plan.Demo {
		w.idleAway(ctx)
		return nil
	}
	return w.converse(ctx)
}

// idleAway keeps the phones registered without calls.
func (w *world) idleAway(ctx context.Context) {
	if w.plan.Duration == 0 {
		return
	}
	timer := time.NewTimer(w.plan.Duration)
	defer timer.Stop()
	select {
	case <-ctx.Done():
	case <-timer.C:
	}
}

func (w *world) awaitRegistrations(ctx context.Context) error {
	within := w.plan.RegisterWithin
	if within == 0 {
		within = 30 * time.Second
	}
	limit := time.NewTimer(within)
	defer limit.Stop()
	for _, a := range w.actors {
		select {
		case <-a.phone.Registered():
		case <-ctx.Done():
			return nil
		case <-limit.C:
			if w.plan.Demo { // a demo shows what there is; the report tells the rest
				return nil
			}
			return fmt.Errorf("%w within %s: %d of %d, %s: %w", errUnregistered, within, w.registered(), len(w.actors),
				a.terminal.Extension, a.phone.Status().Err)
		}
	}
	return nil
}

func (w *world) registered() int {
	n := 0
	for _, a := range w.actors {
		if a.phone.Status().Registered {
			n++
		}
	}
	return n
}

func (w *world) tellProgress(ctx context.Context) (stop func()) {
	ctx, cancel := context.WithCancel(ctx)
	done := make(chan struct{})
	go func() {
		defer close(done)
		ticker := time.NewTicker(10 * time.Second)
		defer ticker.Stop()
		for {
			select {
			case <-ctx.Done():
				return
			case <-ticker.C:
				active, finished, failed := w.tally.now()
				w.plan.Progress(Progress{Phones: len(w.actors), Registered: w.registered(), Active: active, Done: finished, Failed: failed})
			}
		}
	}()
	return func() {
		cancel()
		<-done
	}
}

func newWorld(ctx context.Context, plan Plan) (*world, error) {
	terminals := plan.Terminals
	if plan.Count > 0 && plan.Count < len(terminals) {
		terminals = spread(terminals, plan.Count)
	}
	if len(terminals) == 0 {
		return nil, errNobody
	}
	if plan.Log == nil {
		plan.Log = slog.New(slog.DiscardHandler)
	}
	w := &world{
		plan: plan, media: voice.NewEngine(voice.DefaultTick), tally: newTally(plan.MaxLoss),
		number: make(map[string]*actor, len(terminals)), idle: make(map[string][]*actor),
	}
	binders := make(map[netip.Addr]*appliance.Binder)
	roots := make(map[string]*x509.CertPool)
	for i, t := range terminals {
		a := &actor{index: i, terminal: t, incoming: make(chan *phone.Call, 1)}
		if err := w.equip(ctx, a, binders, roots); err != nil {
			return nil, err
		}
		w.actors = append(w.actors, a)
		w.number[t.Extension] = a
		w.idle[t.Site] = append(w.idle[t.Site], a)
	}
	return w, nil
}

// equip builds the actor's phone.
func (w *world) equip(ctx context.Context, a *actor, binders map[netip.Addr]*appliance.Binder, roots map[string]*x509.CertPool) error {
	t := a.terminal
	transport := w.transportOf(a)
	server, err := t.Resolve(ctx, string(transport), w.plan.Server)
	if err != nil {
		return err // names the terminal already
	}
	binder, ok := binders[server.Addr()]
	if !ok {
		binder = appliance.For(server.Addr(), w.plan.Binds)
		binders[server.Addr()] = binder
	}
	bind, err := binder.Next(t.Site, server.Addr())
	if err != nil {
		return fmt.Errorf("terminal %s: %w", t.Extension, err)
	}
	var tlsConfig *tls.Config
	if transport == phone.TLS {
		if tlsConfig, err = clientTLS(t, w.plan, roots); err != nil {
			return err
		}
	}
	agent := "linesim"
	if t.Model != "" {
		agent = "Yealink SIP-" + t.Model + " 96.86.0.100" // what the console shows for such a phone
	}
	a.phone, err = phone.New(phone.Config{
		Account: phone.Account{Extension: t.Extension, DisplayName: t.DisplayName, AuthUser: t.AuthUser, Password: t.Password, Domain: t.Domain},
		Server:  server, Transport: transport, TLS: tlsConfig, Bind: bind, Expires: w.plan.Expires, UserAgent: agent,
		Media: w.media, Log: w.plan.Log,
		Answer: func(r phone.Ring) phone.Reaction { return w.answer(a, r) },
		OnCall: func(c *phone.Call) { a.answered(c) },
	})
	return err // names the extension already
}

func (w *world) transportOf(a *actor) phone.Transport {
	switch w.plan.Transport {
	case "mixed":
		return []phone.Transport{phone.UDP, phone.TCP, phone.TLS}[a.index%3]
	case "":
		if t := phone.Transport(a.terminal.Transport); t == phone.TCP || t == phone.TLS {
			return t
		}
		return phone.UDP
	}
	return phone.Transport(w.plan.Transport)
}

func clientTLS(t appliance.Terminal, plan Plan, roots map[string]*x509.CertPool) (*tls.Config, error) {
	file := t.CAFile
	if plan.CAFile != "" {
		file = plan.CAFile
	}
	pool, ok := roots[file]
	if !ok && file != "" {
		pem, err := os.ReadFile(file)
		if err != nil {
			return nil, fmt.Errorf("CA for terminal %s: %w", t.Extension, err)
		}
		pool = x509.NewCertPool()
		if !pool.AppendCertsFromPEM(pem) {
			return nil, fmt.Errorf("CA for terminal %s: no certificate in %s", t.Extension, file)
		}
		roots[file] = pool
	}
	name := plan.Server
	if name == "" {
		name = t.Server
	}
	return &tls.Config{RootCAs: pool, ServerName: name, MinVersion: tls.VersionTLS12}, nil
}

// answer is asked by a ringing phone.
func (w *world) answer(a *actor, r phone.Ring) phone.Reaction {
	a.mu.Lock()
	reaction := a.reaction
	a.mu.Unlock()
	if reaction != nil {
		return *reaction
	}
	const twoRings = 3 * time.Second
	return phone.Reaction{RingFor: twoRings, Sound: w.sound(a, w.number[r.From])}
}

// answered hands a planned call to the goroutine that plays it; anybody else's simply goes on.
func (a *actor) answered(c *phone.Call) {
	select {
	case a.incoming <- c:
	default:
	}
}

func (a *actor) react(r *phone.Reaction) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.reaction = r
}

// sound is what one phone sings and whom it expects.
func (w *world) sound(own, peer *actor) phone.Sound {
	s := phone.Sound{Send: tone.Frequency(own.index)}
	if peer != nil {
		s.Expect = tone.Frequency(peer.index)
	}
	return s
}

// spread takes n terminals, evenly from the whole list, so that every site has its share.
func spread(all []appliance.Terminal, n int) []appliance.Terminal {
	picked := make([]appliance.Terminal, 0, n)
	for i := range n {
		picked = append(picked, all[i*len(all)/n])
	}
	return picked
}
