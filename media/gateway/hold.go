package gateway

import (
	"slices"
	"sync/atomic"
)

// Hold is one media path's part in a leg. A browser keeps its leg while its call goes another way (a forward, a pickup, a
// transfer, which is another call), and with it ICE, DTLS and its keys: all that it hears of is another description. Several
// paths may hold a leg; the packets of one of them pass, the owner's. That is the first one, until another one grabs the leg;
// when the owner lets go, it is who was it before.
type Hold struct {
	*Leg
	sink   atomic.Pointer[func([]byte, int)] // what takes the browser's packets
	saved  atomic.Int64                      // Leg.secured as of the last State
	closed bool                              // guarded by Leg.mu
}

// Attach says what takes the browser's packets while the hold is the owner: a plain one and the length of its datagram. It has
// room behind it for srtp.Overhead octets and is borrowed.
func (h *Hold) Attach(sink func(b []byte, n int)) { h.sink.Store(&sink) }

// Name names the leg for [Gateway.Adopt].
func (h *Hold) Name() string { return h.name }

// Adopt finds a leg that is held elsewhere; false: it is no more. The name comes from a Hold and from nobody else: what a browser
// says of itself another one may have heard.
func (g *Gateway) Adopt(name string) (*Hold, bool) {
	for _, l := range g.open() {
		if l.name == name {
			return l.share()
		}
	}
	return nil, false
}

// Share makes another hold; false: the leg is no more.
func (h *Hold) Share() (*Hold, bool) { return h.share() }

func (l *Leg) share() (*Hold, bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closed {
		return nil, false
	}
	h := &Hold{Leg: l}
	l.holds = slices.Insert(l.holds, 0, h)
	return h, true
}

// Grab makes the hold the owner.
func (h *Hold) Grab() {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.closed {
		return
	}
	h.holds = append(slices.DeleteFunc(h.holds, h.is), h)
	h.owner.Store(h)
}

func (h *Hold) is(o *Hold) bool { return o == h }

// Send seals a packet and sends it to the browser; it is a relay.Link, for one goroutine at a time. What others than the owner
// send is dropped.
func (h *Hold) Send(b []byte, n int, rtcp bool) (int, bool) {
	if h.owner.Load() != h || !h.sending.CompareAndSwap(false, true) {
		return 0, false
	}
	defer h.sending.Store(false)
	return h.send(b, n, rtcp)
}

// Close lets go of the leg, which ends with its last hold. It may be called more than once.
func (h *Hold) Close() {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.closed {
		return
	}
	h.closed = true
	h.sink.Store(nil)
	if h.holds = slices.DeleteFunc(h.holds, h.is); len(h.holds) == 0 {
		h.end()
		return
	}
	h.owner.Store(h.holds[len(h.holds)-1])
}
