package gateway

import (
	"context"
	"crypto/tls"
	"net/netip"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"linehall/media/packet"
	"linehall/media/srtp"
	"linehall/media/webrtc"
)

// Remote is what a browser says of itself.
type Remote struct {
	Fragment     string   `json:"fragment"`     // a=ice-ufrag
	Fingerprints []string `json:"fingerprints"` // values of a=fingerprint
	Setup        string   `json:"setup"`        // a=setup: actpass, active, passive
}

// Leg is one browser on the phone: our end of its ICE, its DTLS and its SRTP, in whatever calls it is led through.
type Leg struct {
	g      *Gateway
	ctx    context.Context //nolint:containedctx // of its handshakes
	cancel context.CancelFunc

	// read for each packet
	session  atomic.Pointer[srtp.Session] // nil: DTLS is not through
	selected atomic.Pointer[pair]         // nil: no check came
	owner    atomic.Pointer[Hold]         // whose packets pass
	current  atomic.Pointer[association]  // that takes DTLS
	lapsed   atomic.Bool                  // the browser has not been heard of for consentTime
	busy     atomic.Bool                  // a packet is on its way from the browser; two sockets may bring one each
	sending  atomic.Bool                  // one is on its way to it; two calls may bring one each while it is led from one to the other
	shut     atomic.Bool                  // nothing is sent any more
	secured  atomic.Int64                 // how often DTLS came through

	name string // ours, for as long as it lives, restarts included

	mu          sync.Mutex // guards what follows; taken before the plane's
	holds       []*Hold    // who was the owner last comes last
	names       []credential
	fingerprint string
	certificate tls.Certificate
	remote      Remote
	client      bool // we open DTLS
	pairs       []*pair
	began       time.Time // when it could connect; zero: not yet
	seen        time.Time // the last good check
	failure     string
	closed      bool
}

// pair is a way between us and a browser that has proved itself (RFC 8445 §7.3.1).
type pair struct {
	via       webrtc.Outlet
	media     *webrtc.Sender // of Leg.Send
	remote    netip.AddrPort
	priority  uint64
	nominated time.Time // the last check that said so; zero: none. Guarded by Leg.mu
}

// mostPairs bounds the ways of a leg: a browser has an address or two, behind each of which it may see all of ours.
const mostPairs = 32

// Local describes us.
func (l *Leg) Local() Local {
	l.mu.Lock()
	defer l.mu.Unlock()
	c := l.names[len(l.names)-1]
	return Local{Fragment: c.Fragment, Password: c.Password, Fingerprint: l.fingerprint, Candidates: l.g.o.Plane.Candidates()}
}

// Active reports whether we open DTLS: the browser waits for us.
func (l *Leg) Active() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.client
}

// Hear takes what the browser says in an offer or an answer. Another fragment in an offer restarts ICE: we get new names
// too (RFC 8445 §9), the old ones hold until the browser uses the new. Other fingerprints are another DTLS association
// (RFC 8842 §5); with the same ones the one that is there goes on.
func (l *Leg) Hear(r Remote, offer bool) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closed {
		return ErrClosed
	}
	before := l.remote
	l.remote = r
	if offer && before.Fragment != "" && before.Fragment != r.Fragment {
		if err := l.rename(); err != nil {
			return err
		}
	}
	if len(before.Fingerprints) > 0 && !slices.Equal(before.Fingerprints, r.Fingerprints) {
		l.drop()
		if err := l.certify(); err != nil {
			return err
		}
		l.failure = ""
		if !l.began.IsZero() {
			l.began = time.Now()
		}
	}
	if l.current.Load() == nil && l.session.Load() == nil {
		l.client = r.Setup == "passive"
	}
	l.secure()
	return nil
}

// rename makes new names. Those in use stay beside them; others that were never used go.
func (l *Leg) rename() error {
	for _, unused := range l.names[1:] {
		l.g.o.Plane.Leave(unused.Fragment)
	}
	c := newCredential()
	if err := l.g.o.Plane.Join(c.Fragment, l); err != nil {
		return err //nolint:wrapcheck // one in 2^48
	}
	l.names = append(l.names[:1:1], c)
	return nil
}

// send seals a packet and sends it to the browser.
func (l *Leg) send(b []byte, n int, rtcp bool) (int, bool) {
	s, p := l.session.Load(), l.selected.Load()
	if s == nil || p == nil || l.lapsed.Load() || l.shut.Load() {
		return 0, false
	}
	n, ok := s.Seal(b, n, rtcp)
	if !ok {
		return 0, false
	}
	p.media.Send(b[:n], p.remote, webrtc.Audio)
	return n, true
}

// Take takes a datagram of the browser's; it is a webrtc.Endpoint.
func (l *Leg) Take(b []byte, _ netip.AddrPort, _ webrtc.Outlet) {
	defer l.g.recovered(l)
	kind := packet.Classify(b)
	switch kind {
	case packet.RTP, packet.RTCP:
	case packet.DTLS:
		if a := l.current.Load(); a != nil {
			a.take(b)
		}
		return
	default:
		l.g.unauthentic.Inc()
		return
	}
	if !l.busy.CompareAndSwap(false, true) {
		l.g.crossed.Inc()
		return
	}
	defer l.busy.Store(false)
	s, sink := l.session.Load(), l.owner.Load().sink.Load()
	if s == nil || sink == nil {
		l.g.early.Inc()
		return
	}
	n, ok := s.Open(b, kind == packet.RTCP)
	if !ok {
		l.g.unauthentic.Inc()
		return
	}
	(*sink)(b[:n], len(b))
}

// Remote is where the browser's media comes from and goes to; invalid: not known yet.
func (l *Leg) Remote() netip.AddrPort {
	if p := l.selected.Load(); p != nil {
		return p.remote
	}
	return netip.AddrPort{}
}

// Connected reports whether media can flow.
func (l *Leg) Connected() bool {
	return l.session.Load() != nil && l.selected.Load() != nil && !l.lapsed.Load()
}

// Lost says why the browser is not to be reached any more; "" as long as it may be.
func (l *Leg) Lost() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	switch {
	case l.failure != "":
		return l.failure
	case l.began.IsZero():
		return ""
	case l.session.Load() == nil && time.Since(l.began) > lostTime:
		return "the browser's media did not connect"
	case l.session.Load() != nil && time.Since(l.seen) > lostTime:
		return "the browser's media was lost"
	}
	return ""
}

// Begin says that both sides have been described: from now on the browser is expected.
func (l *Leg) Begin() {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.began.IsZero() {
		l.began = time.Now()
	}
}

func (l *Leg) fail(why string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.failure = why
}

// watch looks once a second whether the browser still consents to be sent to.
func (l *Leg) watch(now time.Time) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.lapsed.Store(now.Sub(l.seen) > consentTime)
}

// close ends the leg whoever holds it.
func (l *Leg) close() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.end()
}

// end ends the leg; l.mu is held. The browser hears nothing of it, for when the process ends its call may go on with the next
// one.
func (l *Leg) end() {
	if l.closed {
		return
	}
	l.closed = true
	for _, c := range l.names {
		l.g.o.Plane.Leave(c.Fragment)
	}
	for _, p := range l.pairs {
		p.via.Release(p.remote, l)
	}
	l.shut.Store(true)
	l.drop()
	l.cancel()
	l.g.leave(l)
}

// drop forgets the keys and the association they come from.
func (l *Leg) drop() {
	l.session.Store(nil)
	if a := l.current.Swap(nil); a != nil {
		a.end()
	}
}
