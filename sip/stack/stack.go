// Package stack is the appliance's SIP transport, transaction and validation
// layer: RFC 3261 §17 and §18, RFC 3581 (rport), RFC 6026, RFC 7118 (WebSocket)
// and what RFC 4475 asks of a receiver.
//
// The messages, their parser and the timer values are sipgo's; sockets, connections,
// transactions, matching, ordering and checks are ours, because a registrar that
// must dial a phone only on purpose, never grow with garbage and never reorder a
// CANCEL before its INVITE needs to own them (ADRs 0006, 0019 and 0036).
// No other package reads or writes SIP sockets.
//
//	datagram or frame → admission (size, rate, STUN, keep-alive)
//	  → parse → normalise (compact names, received/rport)
//	  → match: response → client transaction | retransmission, ACK, CANCEL
//	  → validate (400 413 414 415 416 420 482 483 501 503 505)
//	  → gate (a request may have to wait here)
//	  → handler: on the reading goroutine, or one goroutine per request, in order per Call-ID
//
// It does not authenticate, keep dialogs or resolve names. A Stack is safe for
// concurrent use once Run has been called; Handle, Support, OnStrayResponse and
// OnFlowClosed are called before.
//
//	s, err := stack.New(stack.Options{Listen: []stack.Listen{{stack.UDP, ":5060"}}, Log: log})
//	s.Handle(sip.OPTIONS, func(_ context.Context, req *stack.Request) {
//		_ = req.Tx.Respond(s.NewResponse(req, 200, "OK"))
//	})
//	err = s.Run(ctx)
package stack

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/emiago/sipgo/sip"
	"github.com/prometheus/client_golang/prometheus"
	"golang.org/x/sync/errgroup"

	"linehall/internal/observe"
	"linehall/internal/worker"
)

// Errors that callers branch on.
var (
	ErrFlowGone  = errors.New("the flow is gone")         // the connection of a stream flow is closed, or no socket fits
	ErrCancelled = errors.New("the request is cancelled") // the stack has answered 487
	ErrAnswered  = errors.New("the request has its final response")
	ErrTimeout   = errors.New("no response in time") // Timer B or F, RFC 3261 §17.1
	ErrInjected  = errors.New("a header value contains a line end")
	ErrClosed    = errors.New("the stack is closed")
	// ErrTerminated ends a transaction whose owner has given it up.
	ErrTerminated = errors.New("the transaction was given up")
)

// Listen is one listener: a transport and host:port. An empty or unspecified
// host is a wildcard (for UDP the kernel still tells which address each
// datagram was sent to, and answers leave from that address).
type Listen struct {
	Transport string
	Address   string
}

// Options are the parts of a Stack.
type Options struct {
	Listen    []Listen
	Groups    []Group        // multicast groups for OnDatagram; they need a UDP listener to answer by
	Packets   []PacketSocket // ready-made UDP sockets, for tests in memory
	TLS       *tls.Config    // for TLS listeners
	Origins   []string       // hosts whose pages may open WebSockets, besides the one they connect to
	Domain    string         // of our AORs
	Advertise netip.Addr     // our address in Via and Contact; invalid = the address the peer talks to
	Server    string         // Server and User-Agent header; empty = "Linehall"
	Limits    Limits         // zero fields take their defaults
	Dropped   *observe.Dropped
	Panics    prometheus.Counter // may be nil
	Log       *slog.Logger
	// Registerer takes linehall_sip_requests_total, linehall_sip_transactions and
	// linehall_sip_connections; nil registers nothing.
	Registerer prometheus.Registerer
	Filter     Filter // keeps out sources before anything is parsed; nil: nobody
	Gate       Gate   // holds back requests; nil: none
	Tap        Tap    // sees every message; nil: nobody looks
}

// Tap sees every whole message that came in (before it is parsed) or goes out. data is borrowed until it returns. It is
// called by whoever reads or sends and must not block.
type Tap interface {
	Message(in bool, flow Flow, data []byte)
}

// Handler serves one request. It runs in its own goroutine; the next request of
// the same Call-ID starts when it has returned, or after handlerHead at the
// latest (but see HandleAtOnce and OnDialogRequest). A panic is recovered and answered with 500. ctx ends with the stack.
type Handler func(ctx context.Context, req *Request)

// Stack is the SIP endpoint of the appliance.
type Stack struct {
	opts    Options
	limits  Limits
	log     *slog.Logger
	metrics *metrics
	parser  *sip.Parser
	admit   *admission

	handlers  map[sip.RequestMethod]Handler
	atOnce    map[sip.RequestMethod]bool
	supported map[string]bool
	heard     func(Flow)
	take      func(data []byte, flow Flow) bool
	dialogs   func(*Request) bool
	announced [][2]string // headers of our answer to OPTIONS
	events    []string    // of Allow-Events
	stray     func(res *sip.Response, flow Flow, r *Reading)
	closed    []func(Flow)

	sockets []*udpSocket
	groups  []*udpSocket // of multicast groups, for reading only
	streams []*streamListener
	conns   *connTable

	servers             *serverTable
	clients             *clientTable
	dials               *dialler
	secure              secureDials
	order               *ordering
	workers             *worker.Pool
	expiries, confirmed *expiries
	opened              atomic.Uint64 // server transactions so far
	early               *earlyCancels
	tagKey              []byte // of To tags that need no memory

	ctx       context.Context // ends with Run; handlers get it
	stop      context.CancelFunc
	running   atomic.Bool
	listening atomic.Bool
	work      sync.WaitGroup // handlers, connections and client transactions
}

// New checks the options and returns a stack that has bound nothing yet.
func New(opts Options) (*Stack, error) {
	for _, l := range opts.Listen {
		switch l.Transport {
		case UDP, TCP:
		case TLS:
			if opts.TLS == nil {
				return nil, fmt.Errorf("listener %s %s: no TLS configuration", l.Transport, l.Address)
			}
		default:
			return nil, fmt.Errorf("listener %s %s: unknown transport", l.Transport, l.Address)
		}
	}
	if opts.Log == nil {
		opts.Log = slog.New(slog.DiscardHandler)
	}
	if opts.Server == "" {
		opts.Server = "Linehall"
	}
	s := &Stack{
		opts:      opts,
		limits:    opts.Limits.withDefaults(),
		log:       opts.Log,
		handlers:  make(map[sip.RequestMethod]Handler),
		atOnce:    make(map[sip.RequestMethod]bool),
		supported: make(map[string]bool),
	}
	s.ctx, s.stop = context.WithCancel(context.Background())
	s.parser = newParser()
	s.parser.MaxMessageLength = s.limits.MessageBytes
	s.admit = newAdmission(s.limits, opts.Filter)
	s.conns = newConnTable(s.limits)
	s.servers = newServerTable()
	s.clients = newClientTable()
	s.dials = newDialler()
	s.order = newOrdering()
	s.workers = worker.New(s.ctx.Done())
	s.expiries, s.confirmed = newExpiries(s, sip.Timer_J), newExpiries(s, sip.Timer_I)
	s.early = newEarlyCancels(s.limits.EarlyCancels)
	s.tagKey = newTagKey()
	s.metrics = newMetrics(opts.Registerer, s)
	s.events = []string{"keep-alive"}
	s.handlers[sip.OPTIONS] = s.ServeOptions
	s.handlers[sip.NOTIFY] = s.ServeNotify
	return s, nil
}

// Handle sets the handler of a method; before Run. Methods without one get 405
// when they are known to SIP and 501 otherwise. CANCEL is answered by the
// stack. ACK goes to Handle(sip.ACK) when it belongs to a 2xx; the ACK of any
// other response ends in the INVITE's transaction (ServerTx.Acks).
func (s *Stack) Handle(m sip.RequestMethod, h Handler) { s.handlers[m] = h }

// HandleAtOnce is Handle for a handler that computes rather than waits: it runs on
// the goroutine that reads the socket, which saves two switches of goroutines for
// each request. Before it waits it calls Request.Leave; what takes long goes to
// Later. An INVITE, the dearest request, goes to a goroutine of its own all the
// same where the socket has more than one goroutine's work or is a stream.
func (s *Stack) HandleAtOnce(m sip.RequestMethod, h Handler) {
	s.handlers[m] = h
	s.atOnce[m] = true
}

// OnDialogRequest sets who is offered a request inside a dialog before its handler is; before Run. It runs on the goroutine
// that reads the socket, must not wait without Request.Leave, and reports whether it has taken the request: its handler does
// not get it then.
func (s *Stack) OnDialogRequest(take func(*Request) bool) { s.dialogs = take }

// Later runs f in a goroutine of the stack, which Run waits for; a panic in it is
// recovered. It is called from handlers.
func (s *Stack) Later(f func(ctx context.Context)) {
	s.workers.Run(&s.work, func() {
		defer observe.Recover(s.log, s.opts.Panics, "sip later")
		f(s.ctx)
	})
}

// Support adds option tags that Require and Proxy-Require may ask for; before Run.
func (s *Stack) Support(tags ...string) {
	for _, t := range tags {
		s.supported[t] = true
	}
}

// AllowEvents adds event packages that SUBSCRIBE, PUBLISH or NOTIFY may name, for Allow-Events
// (RFC 6665 §8.2.2); before Run.
func (s *Stack) AllowEvents(events ...string) {
	for _, e := range events {
		if !slices.Contains(s.events, e) {
			s.events = append(s.events, e)
		}
	}
}

// AllowedEvents is the value of our Allow-Events header.
func (s *Stack) AllowedEvents() string { return strings.Join(s.events, ", ") }

// Announce adds a header to the answers to OPTIONS outside dialogs; before Run.
func (s *Stack) Announce(name, value string) {
	s.announced = append(s.announced, [2]string{name, value})
}

// OnStrayResponse sets the receiver of responses without a transaction and of
// retransmitted 2xx to INVITE (RFC 3261 §13.2.2.4: the ACK must be sent
// again); before Run. It is called from the reading goroutine and must not block before r.Leave.
func (s *Stack) OnStrayResponse(f func(res *sip.Response, flow Flow, r *Reading)) { s.stray = f }

// OnHeard sets who is told of every message that can be read, before it is looked at further; before Run. It is called
// from the reading goroutine and must be quick.
func (s *Stack) OnHeard(f func(Flow)) { s.heard = f }

// OnFlowClosed adds a receiver of ended connections; before Run. It is called
// from the connection's goroutine after its transactions have been ended.
func (s *Stack) OnFlowClosed(f func(Flow)) { s.closed = append(s.closed, f) }

// Domain is the domain of our AORs.
func (s *Stack) Domain() string { return s.opts.Domain }

// Listen binds the listeners. Run does it when it has not been done.
func (s *Stack) Listen(ctx context.Context) error {
	if s.listening.Swap(true) {
		return nil
	}
	for _, p := range s.opts.Packets {
		s.sockets = append(s.sockets, newUDPSocket(s, p))
	}
	for _, l := range s.opts.Listen {
		if err := s.bind(ctx, l); err != nil {
			s.closeListeners()
			return fmt.Errorf("listen on %s %s: %w", l.Transport, l.Address, err)
		}
	}
	for _, g := range s.opts.Groups {
		if err := s.joinGroup(ctx, g); err != nil { // telephony does without it
			s.log.Warn("multicast group is not heard", "group", g.Address.String(), observe.Err, err)
		}
	}
	return nil
}

func (s *Stack) bind(ctx context.Context, l Listen) error {
	if l.Transport == UDP {
		p, err := listenPacket(ctx, l.Address)
		if err != nil {
			return err
		}
		s.sockets = append(s.sockets, newUDPSocket(s, p))
		return nil
	}
	sl, err := listenStream(ctx, s, l)
	if err != nil {
		return err
	}
	s.streams = append(s.streams, sl)
	return nil
}

func (s *Stack) closeListeners() {
	for _, u := range slices.Concat(s.sockets, s.groups) {
		_ = u.packets.Close() // nothing can be lost in a datagram socket
	}
	for _, l := range s.streams {
		_ = l.listener.Close() // accepted connections live on their own
	}
}

// Bound is a listener with the address it got.
type Bound struct {
	Transport string
	Address   netip.AddrPort
}

// Listeners returns the bound listeners, in the order of the options.
func (s *Stack) Listeners() []Bound {
	var out []Bound
	for _, u := range s.sockets {
		out = append(out, Bound{UDP, u.packets.LocalAddr()})
	}
	for _, l := range s.streams {
		out = append(out, Bound{l.transport, l.addr})
	}
	return out
}

// Ready says why the stack cannot serve yet, for health checks.
func (s *Stack) Ready() error {
	if !s.running.Load() {
		return errors.New("sip listeners are not running")
	}
	return nil
}

func (s *Stack) stopExpiries() {
	for _, e := range []*expiries{s.expiries, s.confirmed} {
		e.stop()
	}
}

// Run serves until ctx ends and returns after every goroutine it started has
// ended: sockets first, then transactions, then handlers.
func (s *Stack) Run(ctx context.Context) error {
	if err := s.Listen(ctx); err != nil {
		return err
	}
	defer s.stop()
	g, ctx := errgroup.WithContext(ctx)
	for _, u := range slices.Concat(s.sockets, s.groups) {
		g.Go(func() error { u.read(ctx); return nil })
	}
	for _, l := range s.streams {
		g.Go(func() error { return l.run(ctx) })
	}
	s.running.Store(true)
	g.Go(func() error {
		<-ctx.Done()
		s.stop()
		s.running.Store(false)
		s.closeListeners()
		s.conns.closeAll()
		s.clients.terminateAll(ErrClosed)
		s.servers.terminateAll()
		s.stopExpiries()
		s.early.close()
		return nil
	})
	err := g.Wait()
	s.work.Wait()
	s.workers.Wait()
	return err
}
