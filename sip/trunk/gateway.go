package trunk

import (
	"context"
	"crypto/rand"
	"crypto/x509"
	"fmt"
	"log/slog"
	"math"
	mrand "math/rand/v2"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/emiago/sipgo/sip"

	"linehall/internal/observe"
	"linehall/sip/stack"
)

// The hysteresis of health: one lost question is no failure, and a gateway that comes back is
// asked twice before calls are sent to it.
const (
	failuresDown = 2
	successesUp  = 2
	probeTime    = 4 * time.Second // for an answer to OPTIONS
	quickProbe   = 5 * time.Second // between questions while the health is changing
	settle       = 2 * time.Second // from the loss of a connection to the next registration
	farewell     = 2 * time.Second // for the answer when we deregister
)

// gateway is one gateway with what its keeper learns about it.
type gateway struct {
	s     *Service
	cfg   GatewayConfig
	trunk string
	our   account
	roots *x509.CertPool
	log   *slog.Logger

	wake   chan struct{}      // the keeper has something to do at once; holds one
	cancel context.CancelFunc // of the keeper; nil before it runs. Guarded by Service.mu

	mu    sync.Mutex // guards state
	state state
}

// account is what a keeper needs of the trunk's settings.
type account struct {
	domain   string // "" = the gateway's host
	user     string // of our address
	auth     AuthConfig
	register bool
	expires  time.Duration
	probe    time.Duration
}

// state is what is known about a gateway.
type state struct {
	targets    []target
	health     health
	registered bool
	until      time.Time    // of the registration
	flow       stack.Flow   // where it was made
	at         target       // the target of flow
	routes     []string     // Service-Route (RFC 3608)
	again      bool         // register at once: the connection is lost
	sources    []netip.Addr // of targets and of flow: whose requests are the gateway's
	lastError  string
	errorAt    time.Time
}

// health is the up-and-down machine; pure.
type health struct {
	known, up           bool
	failures, successes int
	since               time.Time
}

// observed is health after an answer or the lack of one.
func (h health) observed(alive bool, now time.Time) health {
	if !h.known && alive {
		return health{known: true, up: true, since: now}
	}
	if alive {
		h.failures = 0
		if h.up {
			return h
		}
		if h.successes++; h.successes >= successesUp {
			return health{known: true, up: true, since: now}
		}
		return h
	}
	h.successes = 0
	if h.known && !h.up {
		return h
	}
	if h.failures++; h.failures >= failuresDown {
		return health{known: true, since: now}
	}
	return h
}

// settled reports whether the next question can wait.
func (h health) settled() bool { return h.known && h.failures == 0 && h.successes == 0 }

func newGateway(s *Service, t *trunk, cfg GatewayConfig) *gateway {
	user := t.cfg.Auth.Name
	if user == "" {
		user = t.cfg.Auth.User
	}
	return &gateway{
		s: s, cfg: cfg, trunk: t.cfg.Name, roots: t.roots, wake: make(chan struct{}, 1),
		our: account{t.cfg.Domain, user, t.cfg.Auth, t.cfg.Register, t.cfg.Expires, t.cfg.Probe},
		log: s.log.With(slog.String("trunk", t.cfg.Name), slog.String("gateway", cfg.name())),
	}
}

// stop ends the keeper, which deregisters. The caller holds Service.mu.
func (g *gateway) stop() {
	if g.cancel != nil {
		g.cancel()
	}
}

// now returns a copy of what is known.
func (g *gateway) now() state {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.state
}

// change edits the state and says how it was before.
func (g *gateway) change(f func(*state)) (before state) {
	g.mu.Lock()
	defer g.mu.Unlock()
	before = g.state
	f(&g.state)
	return before
}

// usable reports whether calls should be sent there. What is not known yet is tried.
func (st state) usable(register bool) bool {
	return (!st.health.known || st.health.up) && (!register || st.registered)
}

func (g *gateway) nudge() {
	select {
	case g.wake <- struct{}{}:
	default: // it is awake already
	}
}

// lost hears that a connection has ended.
func (g *gateway) lost(f stack.Flow) {
	hit := false
	g.change(func(st *state) {
		if hit = st.registered && st.flow == f; hit {
			st.registered, st.again = false, true
		}
	})
	if hit {
		g.log.Warn("connection of a registration lost", slog.String(observe.Remote, f.Remote.String()))
		g.nudge()
	}
}

// heard takes note of an answer, or of the lack of one.
func (g *gateway) heard(alive bool, why string) {
	now := time.Now()
	var after health
	before := g.change(func(st *state) {
		st.health = st.health.observed(alive, now)
		after = st.health
		if !alive {
			st.lastError, st.errorAt = why, now
		}
	}).health
	switch {
	case after.known && after.up && (!before.known || !before.up):
		g.log.Info("gateway is up")
	case after.known && !after.up && (!before.known || before.up):
		g.log.Warn("gateway is down", slog.String(observe.Reason, why))
	}
	if !after.settled() {
		g.nudge()
	}
}

func (g *gateway) failed(why string) {
	g.change(func(st *state) { st.lastError, st.errorAt = why, time.Now() })
}

// keep owns the gateway's registration and its health until ctx ends.
func (g *gateway) keep(ctx context.Context) {
	r := newRegistration(g)
	nextProbe, nextRegister := time.Now(), time.Now()
	for {
		now := time.Now()
		if st := g.now(); st.again {
			g.change(func(st *state) { st.again = false })
			nextRegister = earlier(nextRegister, now.Add(settle))
		}
		if g.our.register && !now.Before(nextRegister) {
			nextRegister = time.Now().Add(r.refresh(ctx))
		}
		if !g.our.register && len(g.now().targets) == 0 {
			_, _ = g.locate(ctx) // the state says why it failed
		}
		if g.our.probe > 0 && !now.Before(nextProbe) {
			g.probe(ctx)
			nextProbe = time.Now().Add(g.probePause())
		}
		if ctx.Err() != nil {
			break
		}
		wait := time.Hour
		if g.our.register {
			wait = min(wait, time.Until(nextRegister))
		}
		if g.our.probe > 0 {
			wait = min(wait, time.Until(nextProbe))
		} else {
			wait = min(wait, answerLife) // names are looked up anew, so that Identify knows the addresses
		}
		timer := time.NewTimer(max(wait, 0))
		select {
		case <-ctx.Done():
		case <-timer.C:
			if g.our.probe == 0 && !g.our.register {
				_, _ = g.locate(ctx) // see above
			}
		case <-g.wake:
			if !g.now().health.settled() {
				nextProbe = earlier(nextProbe, time.Now().Add(quickProbe))
			}
		}
		timer.Stop()
		if ctx.Err() != nil {
			break
		}
	}
	r.leave() //nolint:contextcheck // ctx has ended; the farewell has a time of its own
}

func earlier(a, b time.Time) time.Time {
	if b.Before(a) {
		return b
	}
	return a
}

// probePause spreads the questions, so that many gateways are not asked in one moment.
func (g *gateway) probePause() time.Duration {
	if !g.now().health.settled() {
		return min(quickProbe, g.our.probe)
	}
	return jitter(g.our.probe)
}

// jitter is between 0.9 and 1.1 of d.
func jitter(d time.Duration) time.Duration {
	return time.Duration(float64(d) * (0.9 + 0.2*mrand.Float64())) //nolint:gosec // spreads load, no secret
}

// locate looks the gateway up and remembers where its requests come from.
func (g *gateway) locate(ctx context.Context) ([]target, error) {
	found, err := g.s.resolve.targets(ctx, g.cfg)
	if err != nil {
		g.failed("name not resolved: " + err.Error())
		return nil, err
	}
	g.change(func(st *state) {
		st.targets = found
		st.sources = sourcesOf(found, st.flow)
	})
	return found, nil
}

func sourcesOf(targets []target, flow stack.Flow) []netip.Addr {
	var sources []netip.Addr
	add := func(a netip.Addr) {
		if a.IsValid() && !slices.Contains(sources, a) {
			sources = append(sources, a)
		}
	}
	for _, t := range targets {
		add(t.addr.Addr())
	}
	add(flow.Remote.Addr())
	return sources
}

// probe asks the addresses in turn whether one lives. Any answer counts as life, but for 503: that
// gateway says itself that it can do nothing (RFC 3261 §21.5.4).
func (g *gateway) probe(ctx context.Context) {
	targets, err := g.locate(ctx)
	if ctx.Err() != nil {
		return
	}
	if err != nil {
		g.heard(false, "name not resolved: "+err.Error())
		return
	}
	why := ""
	for _, to := range g.favourite(targets) {
		alive, reason := g.question(ctx, to)
		if ctx.Err() != nil {
			return
		}
		if alive {
			g.heard(true, "")
			return
		}
		why = reason
	}
	g.heard(false, why)
}

func (g *gateway) question(ctx context.Context, to target) (alive bool, why string) {
	ctx, cancel := context.WithTimeout(ctx, probeTime)
	defer cancel()
	flow, err := g.s.connect(ctx, g.roots, to)
	if err != nil {
		return false, to.String() + ": " + err.Error()
	}
	res, err := g.s.ask(ctx, g.request(sip.OPTIONS, flow, to), flow)
	switch {
	case err != nil:
		return false, to.String() + " does not answer"
	case res.StatusCode == sip.StatusServiceUnavailable:
		return false, fmt.Sprintf("%s answers 503 %s", to, printable(res.Reason))
	}
	return true, ""
}

// favourite puts the target first that we are registered with.
func (g *gateway) favourite(targets []target) []target {
	st := g.now()
	i := slices.Index(targets, st.at)
	if !st.registered || i <= 0 {
		return targets
	}
	ordered := append([]target{st.at}, targets[:i]...)
	return append(ordered, targets[i+1:]...)
}

// host is the gateway's name in URIs.
func (g *gateway) host(to target) string {
	if g.cfg.Domain != "" {
		host, port, err := splitPort(strings.ToLower(g.cfg.Domain))
		if err == nil && port == 0 {
			return host
		}
		return strings.ToLower(g.cfg.Domain)
	}
	host := to.addr.Addr().String()
	if to.addr.Addr().Is6() {
		host = "[" + host + "]"
	}
	if to.addr.Port() != defaultPort(to.transport) {
		host += fmt.Sprintf(":%d", to.addr.Port())
	}
	return host
}

// domain is that of our address: a name without a port.
func (g *gateway) domain(to target) string {
	if g.our.domain != "" {
		return g.our.domain
	}
	host := g.host(to)
	if i := strings.LastIndex(host, ":"); i > strings.LastIndex(host, "]") {
		host = host[:i]
	}
	return host
}

// uri writes a URI there; the transport is said where the name alone would lead elsewhere.
func (g *gateway) uri(user string, to target) string {
	text := "sip:" + g.host(to)
	if user != "" {
		text = "sip:" + user + "@" + g.host(to)
	}
	if to.transport != stack.UDP {
		text += ";transport=" + strings.ToLower(to.transport)
	}
	return text
}

// request is a request of ours outside of dialogs: OPTIONS or REGISTER.
func (g *gateway) request(method sip.RequestMethod, flow stack.Flow, to target) *sip.Request {
	var target sip.Uri
	if err := sip.ParseUri(g.uri("", to), &target); err != nil { // of checked parts
		target = sip.Uri{Scheme: "sip", Host: to.addr.Addr().String(), Port: int(to.addr.Port())}
	}
	req := sip.NewRequest(method, target)
	ours := sip.Uri{Scheme: "sip", User: g.our.user, Host: g.domain(to)}
	from := &sip.FromHeader{Address: ours, Params: sip.HeaderParams{{K: "tag", V: rand.Text()}}}
	req.AppendHeader(from)
	req.AppendHeader(&sip.ToHeader{Address: *target.Clone()})
	id := sip.CallIDHeader(rand.Text())
	req.AppendHeader(&id)
	req.AppendHeader(&sip.CSeqHeader{SeqNo: 1, MethodName: method})
	contact := g.s.o.Stack.ContactURI(flow, g.our.user)
	req.AppendHeader(&sip.ContactHeader{Address: contact})
	if method == sip.OPTIONS {
		req.AppendHeader(sip.NewHeader("Accept", "application/sdp"))
	}
	return req
}

// printable keeps a peer's words fit for a log line and a table.
func printable(text string) string {
	text = strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f {
			return -1
		}
		return r
	}, text)
	const longest = 120
	if len(text) > longest {
		text = strings.ToValidUTF8(text[:longest], "")
	}
	return text
}

// seconds reads a number of seconds from a header, within bounds.
func seconds(value string, least, most time.Duration) (time.Duration, bool) {
	value, _, _ = strings.Cut(strings.TrimSpace(value), ";")
	value, _, _ = strings.Cut(value, " ")
	n := int64(0)
	for _, c := range value {
		if c < '0' || c > '9' || n > math.MaxInt32 {
			return 0, false
		}
		n = n*10 + int64(c-'0')
	}
	if value == "" {
		return 0, false
	}
	return min(max(time.Duration(n)*time.Second, least), most), true
}
