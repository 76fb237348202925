package guard

import (
	"net/netip"
	"slices"
	"time"

	"github.com/emiago/sipgo/sip"

	"linehall/sip/stack"
)

const (
	// longestLine is how many requests of one source wait, twice what a building's phones send at once; heldBytes bounds
	// those of all sources.
	longestLine = 512
	heldBytes   = 16 << 20
	// longestWait is how long a request waits: phones repeat it for 32 s, and a person at most so long.
	longestWait = 10 * time.Second
	// lookEvery is how often the line is looked at when nobody's answer moves it.
	lookEvery = 200 * time.Millisecond
)

// held is a request that waits for its turn.
type held struct {
	key   string
	flow  stack.Flow
	what  uint64
	shown bool // it has credentials
	since time.Time
	bytes int
	enter func()
}

// line is the requests that wait, those of a source in the order in which they came. A request that has been let in stays
// in byKey until its transaction has begun, so that it is not taken for a new one when it is repeated at this moment.
type line struct {
	byKey   map[string]*held
	sources map[netip.Addr][]*held
	bytes   int
	looked  time.Time // when Run looked last; zero while nothing waits
}

func newLine() line {
	return line{byKey: make(map[string]*held), sources: make(map[netip.Addr][]*held)}
}

// add takes a request, unless there is no room.
func (l *line) add(h *held) bool {
	source := stack.SourceKey(h.flow.Remote.Addr())
	if len(l.sources[source]) >= longestLine || l.bytes+h.bytes > heldBytes {
		return false
	}
	l.byKey[h.key] = h
	l.sources[source] = append(l.sources[source], h)
	l.bytes += h.bytes
	return true
}

// take removes those of a source that are to go; they stay known by their key.
func (l *line) take(source netip.Addr, goes func(h *held) bool) []*held {
	var taken []*held
	left := slices.DeleteFunc(l.sources[source], func(h *held) bool {
		if !goes(h) {
			return false
		}
		taken = append(taken, h)
		l.bytes -= h.bytes
		return true
	})
	if len(left) == 0 {
		delete(l.sources, source)
	} else {
		l.sources[source] = left
	}
	return taken
}

// forget removes those of a source that nobody will answer.
func (l *line) forget(source netip.Addr, goes func(h *held) bool) int {
	taken := l.take(source, goes)
	for _, h := range taken {
		delete(l.byKey, h.key)
	}
	return len(taken)
}

// asks reports whether a method is one that phones are challenged for.
func asks(m sip.RequestMethod) bool {
	switch m {
	case sip.REGISTER, sip.INVITE, sip.SUBSCRIBE, sip.MESSAGE, sip.PUBLISH:
		return true
	default:
		return false
	}
}

// Enter lets a request in, or keeps it until those before it from the same source are answered: so many questions without
// an answer may be under way at a time, less than make a ban. Phones notice nothing, because they answer; whoever does not
// gets no more answers than these, however fast it asks, and is shut out. Ports and connections over which somebody was
// right, phones that are registered and gateways do not wait.
func (g *Guard) Enter(req *stack.Request, key string, enter func()) bool {
	if !asks(req.Method) {
		return true
	}
	now, remote := time.Now(), req.Flow.Remote
	shown := req.GetHeader("Authorization") != nil || req.GetHeader("Proxy-Authorization") != nil
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.line.byKey[key] != nil {
		return false // repeated
	}
	if g.core.vouched(now, remote) {
		return true
	}
	h := &held{key: key, flow: req.Flow, what: g.what(req), shown: shown, since: now, enter: enter}
	home := func() bool { return g.opts.Home(wanted(req), stack.SourceKey(remote.Addr())) }
	if g.core.enter(now, remote, h.what, shown, g.opts.Standing(req.Flow), home) {
		return true
	}
	g.banned(g.core.scan(now, remote, func() Standing { return g.opts.Standing(req.Flow) }, true))
	if g.shut.holds(remote) {
		g.outcome("banned", 1)
		return false
	}
	if h.bytes = len(req.String()); !g.line.add(h) {
		g.outcome("overflow", 1)
		return false
	}
	if g.line.looked.IsZero() {
		g.line.looked = now
		select {
		case g.waits <- struct{}{}:
		default: // Run has been told
		}
	}
	return false
}

// what names the question of a request.
func (g *Guard) what(req *stack.Request) uint64 {
	from := ""
	if h := req.From(); h != nil {
		from = h.Address.User
	}
	return g.core.hash(from, wanted(req))
}

// turn takes from the line of a source whoever may come in now; mu is held.
func (g *Guard) turn(now time.Time, source netip.Addr) []*held {
	waiting := g.line.sources[source]
	if len(waiting) == 0 {
		return nil
	}
	address := g.opts.Standing(waiting[0].flow).Address
	src := g.core.sources.at(source)
	known := address || within(now, src.good, trusted)
	nobody := func() bool { return false }
	return g.line.take(source, func(h *held) bool {
		if g.core.vouched(now, h.flow.Remote) {
			return true
		}
		return g.core.sourcePlace(src, known) && g.core.enter(now, h.flow.Remote, h.what, h.shown, Standing{Address: address}, nobody)
	})
}

// letIn begins what has waited; mu is not held.
func (g *Guard) letIn(requests []*held) {
	if len(requests) == 0 {
		return
	}
	for _, h := range requests {
		h.enter()
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	for _, h := range requests {
		delete(g.line.byKey, h.key)
	}
	g.outcome("entered", len(requests))
}

// moved lets in whoever is next at a source, after an answer.
func (g *Guard) moved(source netip.Addr) {
	g.mu.Lock()
	next := g.turn(time.Now(), source)
	g.mu.Unlock()
	g.letIn(next)
}

// look moves the line where nobody answers: it shuts out who never does, and gives up what has waited too long. It reports
// whether anything waits still.
func (g *Guard) look(now time.Time) bool {
	g.mu.Lock()
	delay := now.Sub(g.line.looked) - lookEvery
	g.line.looked = now
	var next []*held
	for source := range g.line.sources {
		if delay > lookEvery { // the machine was busy or away, and may have answers that it has not read
			g.excuse(source, delay)
		}
		g.outcome("given_up", g.line.forget(source, func(h *held) bool { return now.Sub(h.since) > longestWait }))
		g.scans(now, source)
		next = append(next, g.turn(now, source)...)
	}
	more := len(g.line.sources) > 0
	if !more {
		g.line.looked = time.Time{}
	}
	g.mu.Unlock()
	g.letIn(next)
	return more
}

// scans shuts out those of a source who have others waiting and answer nothing; mu is held.
func (g *Guard) scans(now time.Time, source netip.Addr) {
	for _, flow := range g.flowsOf(source) {
		g.banned(g.core.scan(now, flow.Remote, func() Standing { return g.opts.Standing(flow) }, true))
	}
}

func (g *Guard) excuse(source netip.Addr, delay time.Duration) {
	for i, flow := range g.flowsOf(source) {
		g.core.excuse(flow.Remote, false, delay)
		if i == 0 {
			g.core.excuse(flow.Remote, true, delay)
		}
	}
}

// flowsOf are the ports and connections of a source that have something waiting.
func (g *Guard) flowsOf(source netip.Addr) []stack.Flow {
	var flows []stack.Flow
	seen := make(map[netip.AddrPort]bool)
	for _, h := range g.line.sources[source] {
		if !seen[h.flow.Remote] {
			seen[h.flow.Remote] = true
			flows = append(flows, h.flow)
		}
	}
	return flows
}

// outcome counts what became of requests that had to wait; mu need not be held.
func (g *Guard) outcome(of string, n int) {
	if n > 0 {
		g.waited.WithLabelValues(of).Add(float64(n))
	}
}

// dropHeld forgets what waits of somebody who is shut out; mu is held.
func (g *Guard) dropHeld(b Ban) {
	if b.Kind == Account {
		return
	}
	g.outcome("banned", g.line.forget(b.Source, func(h *held) bool { return b.Kind == Address || h.flow.Remote == b.Flow }))
}
