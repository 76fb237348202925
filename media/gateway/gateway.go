package gateway

import (
	"context"
	"crypto/rand"
	"encoding/base64"
	"errors"
	"log/slog"
	"net/netip"
	"sync"
	"time"

	"github.com/pion/logging"
	"github.com/prometheus/client_golang/prometheus"

	"linehall/internal/observe"
	"linehall/media/webrtc"
)

// Options are what a Gateway works with.
type Options struct {
	Plane   *webrtc.Plane
	Legs    int // at most at a time; 0: mostLegs
	Log     *slog.Logger
	Dropped *observe.Dropped
	Panics  prometheus.Counter // nil: nobody counts
}

const (
	// mostLegs is more than an exchange of this size has calls; each costs some tens of KiB.
	mostLegs = 1000
	// consentTime is how long after its last check a browser is sent to (RFC 7675 §5.1).
	consentTime = 30 * time.Second
	// lostTime is how long a browser may be silent, or take to connect, before its leg is lost. A browser gives up after
	// about half of that.
	lostTime = 60 * time.Second
	// handshakeTime is how long DTLS may take. Browsers repeat lost flights for longer than they want to wait.
	handshakeTime = 20 * time.Second
)

var (
	// ErrFull is the error of Open when there are as many legs as there may be.
	ErrFull = errors.New("as many browsers are in calls as may be")
	// ErrClosed is the error of Open after Run has ended.
	ErrClosed = errors.New("gateway is closed")
)

// Gateway opens legs.
type Gateway struct {
	o      Options
	log    logging.LoggerFactory
	ctx    context.Context //nolint:containedctx // of the handshakes, which begin in the middle of a read
	cancel context.CancelFunc
	work   sync.WaitGroup

	early, unauthentic, crossed, unclean prometheus.Counter

	mu     sync.Mutex // guards what follows; taken after that of a leg
	legs   map[*Leg]struct{}
	closed bool
}

// New returns a gateway without legs. Run ends it.
func New(o Options) *Gateway {
	if o.Legs == 0 {
		o.Legs = mostLegs
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	g := &Gateway{
		o: o, log: webrtc.Loggers(o.Log), legs: map[*Leg]struct{}{},
		early: o.Dropped.Counter(listener, "not_ready"), unauthentic: o.Dropped.Counter(listener, "unauthentic"),
		crossed: o.Dropped.Counter(listener, "crossed"), unclean: o.Dropped.Counter(listener, "bad_check"),
	}
	g.ctx, g.cancel = context.WithCancel(context.Background())
	return g
}

// listener is the label of linehall_dropped_total.
const listener = "gateway"

// Run watches over the legs until ctx ends, then closes them and waits for their handshakes.
func (g *Gateway) Run(ctx context.Context) error {
	ticker := time.NewTicker(time.Second)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			g.mu.Lock()
			g.closed = true
			g.mu.Unlock()
			for _, l := range g.open() {
				l.close()
			}
			g.cancel()
			g.work.Wait()
			return nil
		case now := <-ticker.C:
			for _, l := range g.open() {
				l.watch(now)
			}
		}
	}
}

// Open makes a leg with names of its own. It listens for checks at once.
func (g *Gateway) Open() (*Hold, error) {
	h := g.leg()
	l := h.Leg
	if err := l.certify(); err != nil {
		return nil, err
	}
	for {
		c := newCredential()
		if err := g.o.Plane.Join(c.Fragment, l); errors.Is(err, webrtc.ErrJoined) {
			continue
		}
		l.names, l.name = []credential{c}, c.Fragment
		break
	}
	return h, g.enter(h)
}

// leg makes one with its first hold.
func (g *Gateway) leg() *Hold {
	h := &Hold{Leg: &Leg{g: g}}
	h.holds = []*Hold{h}
	h.owner.Store(h)
	h.ctx, h.cancel = context.WithCancel(g.ctx)
	return h
}

// enter takes a leg in.
func (g *Gateway) enter(h *Hold) error {
	g.mu.Lock()
	err := error(nil)
	switch {
	case g.closed:
		err = ErrClosed
	case len(g.legs) >= g.o.Legs:
		err = ErrFull
	default:
		g.legs[h.Leg] = struct{}{}
	}
	g.mu.Unlock()
	if err != nil {
		h.Close()
	}
	return err
}

func (g *Gateway) open() []*Leg {
	g.mu.Lock()
	defer g.mu.Unlock()
	list := make([]*Leg, 0, len(g.legs))
	for l := range g.legs {
		list = append(list, l)
	}
	return list
}

func (g *Gateway) leave(l *Leg) {
	g.mu.Lock()
	defer g.mu.Unlock()
	delete(g.legs, l)
}

// Legs returns how many are open.
func (g *Gateway) Legs() int {
	g.mu.Lock()
	defer g.mu.Unlock()
	return len(g.legs)
}

// recovered ends a panic at the edge of the goroutine that reads for everybody.
func (g *Gateway) recovered(l *Leg) {
	if r := recover(); r != nil {
		if g.o.Panics != nil {
			g.o.Panics.Inc()
		}
		g.o.Log.Error("panic in a browser's media", observe.Err, r)
		l.fail("a fault of ours")
	}
}

// Local is what a browser has to know of us.
type Local struct {
	Fragment, Password string
	Fingerprint        string // as in a=fingerprint
	Candidates         []netip.AddrPort
}

// credential is one pair of names of ICE (RFC 8445 §5.3).
type credential struct {
	Fragment string `json:"fragment"`
	Password string `json:"password"`
}

func newCredential() credential {
	return credential{Fragment: random(6), Password: random(18)}
}

// random returns text of that many random octets, in the characters of RFC 8839 §5.4.
func random(octets int) string {
	b := make([]byte, octets)
	_, _ = rand.Read(b) // never fails (crypto/rand)
	return base64.RawStdEncoding.EncodeToString(b)
}
