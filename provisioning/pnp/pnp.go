// Package pnp answers phones that look for their configuration by SIP PnP: a
// SUBSCRIBE for ua-profile to the multicast group 224.0.1.75, or to us. What
// phones do is a shortcut through RFC 6080, with Expires 0: they get 200, and a
// NOTIFY with the address of their files.
//
//	phone -> group   SUBSCRIBE sip:MAC%3a0004130A0B0C@224.0.1.75, Event: ua-profile
//	phone <- us      200 OK
//	phone <- us      NOTIFY, Subscription-State: terminated, body: http://10.1.0.10:8080/
//	phone -> us      200 OK
//
// Nothing here proves who a phone is, so the address has no secret in it, and
// who is not told one gets no answer at all: another server may have one for
// him. Phones are read leniently: old ones send a Via without branch, others
// parameters without quotes, and some a source port that is in no header, so
// everything goes back to where it came from. It does neither RFC 6080's
// enrolment nor refreshed subscriptions.
//
// A Server takes datagrams from any goroutine; one goroutine, Run's, owns the
// exchanges. It knows no sockets: whoever reads datagrams offers them.
//
//	server := pnp.New(pnp.Options{Introduce: introduce, Now: time.Now, Log: log})
//	group.Go(func() error { return server.Run(ctx) })
//	mine := server.Take(datagram, remote, own, send)
package pnp

import (
	"bytes"
	"context"
	"crypto/rand"
	"log/slog"
	"net/netip"
	"strings"
	"time"

	"linehall/internal/observe"
)

// Asked is what a phone says about itself; everything in it can be forged.
type Asked struct {
	MAC     string // 00:04:13:0a:0b:0c
	Vendor  string
	Model   string
	Version string
	Remote  netip.AddrPort
	Own     netip.AddrPort // our address as the phone reaches it
}

// Options are what a Server is made of.
type Options struct {
	// Introduce says what the phone is told; false means that it gets no
	// answer. It is called by Run.
	Introduce func(ctx context.Context, asked Asked) (url string, ok bool)
	Now       func() time.Time
	Log       *slog.Logger
	Dropped   *observe.Dropped
}

const (
	// maxInbox bounds datagrams that wait for Run: the phones of a building,
	// twice.
	maxInbox = 256
	// maxExchanges bounds the phones that are being told.
	maxExchanges = 512
	// maxDatagram is several times what phones send.
	maxDatagram = 4096
	// remembered is how long a repeated SUBSCRIBE is the same one: phones
	// repeat theirs for five seconds.
	remembered = 30 * time.Second
)

// repeats are the times between two copies of a NOTIFY that is not
// acknowledged: T1 doubled (RFC 3261 section 17.1.2.2), for as long as phones
// wait.
var repeats = [...]time.Duration{500 * time.Millisecond, time.Second, 2 * time.Second}

// Server answers phones.
type Server struct {
	Options

	inbox chan event
}

// event is a datagram for Run: a phone's question, or its answer to a NOTIFY.
type event struct {
	question
	remote, own netip.AddrPort
	send        func([]byte) error
	answered    string // branch of the NOTIFY that the phone has got
}

// New starts nothing.
func New(options Options) *Server {
	return &Server{Options: options, inbox: make(chan event, maxInbox)}
}

// branchPrefix marks our NOTIFYs, so that their answers find us.
const branchPrefix = "z9hG4bKpnp"

// Take reports whether the datagram is for us: a SUBSCRIBE for ua-profile, or
// the answer to one of our NOTIFYs. data is borrowed. own is our address as
// the sender reaches it; send answers him and may be called later.
func (s *Server) Take(data []byte, remote, own netip.AddrPort, send func([]byte) error) bool {
	e := event{remote: remote, own: own, send: send}
	switch {
	case bytes.HasPrefix(data, []byte("SUBSCRIBE ")) && bytes.Contains(data, []byte("ua-profile")):
		if len(data) > maxDatagram {
			s.Dropped.Count("pnp", "size")
			return true
		}
		var ours bool
		if e.question, ours = parse(string(data)); !ours {
			return false
		}
		if e.mac == "" {
			s.Dropped.Count("pnp", "malformed")
			return true
		}
	case bytes.HasPrefix(data, []byte("SIP/2.0 ")) && bytes.Contains(data, []byte(branchPrefix)):
		if e.answered = branchIn(string(data)); e.answered == "" || bytes.HasPrefix(data, []byte("SIP/2.0 1")) {
			return false
		}
	default:
		return false
	}
	select {
	case s.inbox <- e:
	default:
		s.Dropped.Count("pnp", "overload")
	}
	return true
}

// exchange is a phone that is being told its address.
type exchange struct {
	event

	response, notify []byte
	branch           string
	began            time.Time
	sent             int // copies of the NOTIFY
	done             bool
	due              time.Time
}

// Run answers until ctx ends.
func (s *Server) Run(ctx context.Context) error {
	open := map[string]*exchange{} // by remote, Call-ID and CSeq
	timer := time.NewTimer(remembered)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case e := <-s.inbox:
			s.handle(ctx, open, e)
		case <-timer.C:
		}
		timer.Reset(s.attend(open))
	}
}

func (s *Server) handle(ctx context.Context, open map[string]*exchange, e event) {
	if e.answered != "" {
		for _, x := range open {
			if x.branch == e.answered && x.remote.Addr() == e.remote.Addr() {
				x.done = true
			}
		}
		return
	}
	key := e.remote.String() + " " + e.callID + " " + e.cseq
	if x, repeated := open[key]; repeated {
		s.write(x, x.response)
		return
	}
	if len(open) >= maxExchanges {
		s.Dropped.Count("pnp", "overload")
		return
	}
	asked := Asked{MAC: e.mac, Vendor: e.vendor, Model: e.model, Version: e.version, Remote: e.remote, Own: e.own}
	url, ok := s.Introduce(ctx, asked)
	if !ok {
		return
	}
	x := &exchange{event: e, branch: branchPrefix + strings.ToLower(rand.Text()), began: s.Now()}
	x.due = x.began
	tag := strings.ToLower(rand.Text())
	x.response, x.notify = e.response(e.own, e.remote, tag), e.notify(e.own, x.branch, tag, url)
	open[key] = x
	s.write(x, x.response)
	s.Log.Info("phone was told its address by pnp", observe.DeviceMAC, e.mac, observe.Remote, e.remote.String(), "url", url)
}

// attend sends what is due, forgets what is over, and returns when to come
// again.
func (s *Server) attend(open map[string]*exchange) time.Duration {
	now, next := s.Now(), remembered
	for key, x := range open {
		if now.Sub(x.began) >= remembered {
			delete(open, key)
			continue
		}
		if x.done || x.sent > len(repeats) {
			continue
		}
		if !now.Before(x.due) {
			s.write(x, x.notify)
			if x.sent < len(repeats) {
				x.due = now.Add(repeats[x.sent])
			}
			x.sent++
		}
		next = min(next, max(0, x.due.Sub(now)))
	}
	return next
}

func (s *Server) write(x *exchange, message []byte) {
	if err := x.send(message); err != nil {
		s.Log.Debug("pnp answer not sent", observe.Remote, x.remote.String(), observe.Err, err)
	}
}
