// Package phone is a simulated desk phone: a SIP user agent (RFC 3261) on sipgo's parser, transports and
// transactions, with digest (RFC 7616, MD5 and SHA-256), kept registrations, calls in both directions, hold by
// re-INVITE, transfer, busy lamps, and G.711 media from package voice. It has one SIP socket of its own, so that an appliance sees 120
// phones and not one.
//
// It does not do early media or ICE. A Phone may be used from several goroutines; callbacks run on
// goroutines of the phone and must not block for longer than a call lasts.
//
//	p, _ := phone.New(phone.Config{Account: acc, Server: addr, Transport: phone.UDP, Bind: ip, Media: engine})
//	go p.Run(ctx)
//	<-p.Registered()
//	call, err := p.Call(ctx, "2001", phone.Sound{Send: 440, Expect: 600})
//	err = call.Hangup(ctx)
package phone

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"strings"
	"sync"
	"time"

	"github.com/emiago/sipgo"
	"github.com/emiago/sipgo/sip"
	"github.com/icholy/digest"
	"golang.org/x/sync/errgroup"

	"linehall/cmd/linesim/voice"
)

// Transport is how a phone reaches its server.
type Transport string

// The transports of RFC 3261 §18; TLS is the one of §26.2.
const (
	UDP Transport = "udp"
	TCP Transport = "tcp"
	TLS Transport = "tls"
)

// Account is what a phone is configured with.
type Account struct {
	Extension   string
	DisplayName string
	AuthUser    string
	Password    string
	Domain      string
}

// Config describes one phone.
type Config struct {
	Account
	Server    netip.AddrPort
	Transport Transport
	TLS       *tls.Config   // for TLS; nil means the system's roots
	Bind      netip.Addr    // own address: SIP and media
	Expires   time.Duration // registration asked for; 0 means one hour
	UserAgent string
	SRTP      bool // talks SRTP with keys in the description (RFC 4568), and nothing else; false: RTP, and nothing else
	Media     *voice.Engine
	Answer    func(Ring) Reaction // nil answers every call at once
	OnCall    func(*Call)         // an incoming call was answered; nil is allowed
	OnAlert   func(*Call)         // a call of ours rings: its dialog is early, and may be named in a transfer; nil is allowed
	PowerCut  bool                // ends without a word: neither hangs up nor unregisters
	OnNotify  func(event string)  // an unsolicited NOTIFY, as check-sync; nil is allowed
	Log       *slog.Logger
}

// Ring is an incoming call as the owner of the phone sees it.
type Ring struct {
	From string // user part of the caller
	// Header returns the value of the INVITE's first header of a name, "" without one.
	Header func(name string) string
}

// Reaction is what the owner does about a ringing phone.
type Reaction struct {
	RingFor time.Duration // then Code is sent; a negative value rings until the caller gives up
	Code    int           // 0 means 200
	Sound   Sound
}

// Sound is the tone a phone sends and the one it expects, in Hz.
type Sound struct{ Send, Expect float64 }

// ErrRefused is wrapped by every final answer other than 2xx; use errors.As with *Refusal for the code.
var ErrRefused = errors.New("refused")

// Refusal is a final answer other than 2xx.
type Refusal struct {
	Code    int
	Reason  string
	Warning string
}

// Error implements error.
func (r *Refusal) Error() string {
	if r.Warning != "" {
		return fmt.Sprintf("%d %s (%s)", r.Code, r.Reason, r.Warning)
	}
	return fmt.Sprintf("%d %s", r.Code, r.Reason)
}

// Is makes every Refusal an ErrRefused.
func (r *Refusal) Is(target error) bool { return target == ErrRefused }

// Phone is one simulated phone.
type Phone struct {
	cfg    Config
	ua     *sipgo.UserAgent
	tp     *sip.TransportLayer
	tx     *sip.TransactionLayer
	conn   net.PacketConn // UDP only
	local  netip.AddrPort // UDP: the socket; otherwise the bound address with port 0 until connected
	callID string         // of all REGISTERs of this boot (RFC 3261 §10.2)
	group  sync.WaitGroup // handlers that outlive their request

	registered chan struct{} // closed once the first registration succeeded

	mu        sync.Mutex // guards what follows; never held while sending
	cseq      uint32
	challenge *digest.Challenge // last one of the registrar, for reuse with a rising nc
	nc        int
	proxy     bool
	status    Status
	dialogs   map[string]*Call // by Call-ID: a phone never meets itself in one dialog
	watched   map[string]*Subscription
	referrals map[string]*referral // by Call-ID
	closed    bool
	flowGone  chan struct{} // a stream connection was lost
}

// Status is the state of the registration.
type Status struct {
	Registered bool
	Until      time.Time
	Refreshes  int // successful REGISTERs
	Failures   int
	Err        error // of the last attempt
	Took       time.Duration
}

// Settings that sipgo keeps global, made before anything of it runs: it refuses requests above its idea of
// a path MTU (1300 bytes) instead of changing to TCP (RFC 3261 §18.1.1), while an authenticated INVITE may be larger
// and IP fragments it; and its connections log to a default logger.
var _ = tameLibrary()

func tameLibrary() struct{} {
	sip.UDPMTUSize = 8192
	sip.SetDefaultLogger(slog.New(slog.DiscardHandler))
	return struct{}{}
}

// New binds the phone's SIP socket (UDP) and prepares its stack; nothing is sent before Run.
func New(cfg Config) (*Phone, error) {
	if cfg.Expires == 0 {
		cfg.Expires = time.Hour
	}
	if cfg.UserAgent == "" {
		cfg.UserAgent = "linesim"
	}
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	cfg.Log = cfg.Log.With("extension", cfg.Extension)
	quiet := slog.New(slog.DiscardHandler) // sipgo logs whole packets at error level; what matters comes back as errors
	tlsConfig := cfg.TLS
	if tlsConfig == nil {
		tlsConfig = &tls.Config{MinVersion: tls.VersionTLS12}
	}
	p := &Phone{
		cfg: cfg, callID: newToken(12) + "@" + cfg.Bind.String(), cseq: 1, registered: make(chan struct{}),
		dialogs: make(map[string]*Call), flowGone: make(chan struct{}, 1), local: netip.AddrPortFrom(cfg.Bind, 0),
	}
	ua, err := sipgo.NewUA(
		sipgo.WithUserAgent(cfg.UserAgent),
		sipgo.WithUserAgenTLSConfig(tlsConfig),
		sipgo.WithUserAgentTransportLayerOptions(sip.WithTransportLayerLogger(quiet)),
		sipgo.WithUserAgentTransactionLayerOptions(
			sip.WithTransactionLayerLogger(quiet),
			sip.WithTransactionLayerUnhandledResponseHandler(p.strayResponse),
		),
	)
	if err != nil {
		return nil, fmt.Errorf("phone %s: %w", cfg.Extension, err)
	}
	p.ua, p.tp, p.tx = ua, ua.TransportLayer(), ua.TransactionLayer()
	p.tx.OnRequest(p.request)
	if cfg.Transport == UDP {
		conn, err := net.ListenUDP("udp4", net.UDPAddrFromAddrPort(p.local))
		if err != nil {
			return nil, fmt.Errorf("phone %s: %w", cfg.Extension, errors.Join(err, ua.Close()))
		}
		p.conn = conn
		p.local = conn.LocalAddr().(*net.UDPAddr).AddrPort()
		p.local = netip.AddrPortFrom(p.local.Addr().Unmap(), p.local.Port())
	}
	return p, nil
}

// Extension returns the number of this phone.
func (p *Phone) Extension() string { return p.cfg.Extension }

// Registered is closed as soon as the phone has been registered for the first time.
func (p *Phone) Registered() <-chan struct{} { return p.registered }

// Status returns the state of the registration.
func (p *Phone) Status() Status {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.status
}

// Run registers, keeps the registration, and answers calls until ctx ends. Then it hangs up what is left,
// unregisters, and closes its sockets.
func (p *Phone) Run(ctx context.Context) error {
	g, ctx := errgroup.WithContext(ctx)
	if p.conn != nil {
		g.Go(func() error {
			if err := p.tp.ServeUDP(p.conn); err != nil && !errors.Is(err, net.ErrClosed) {
				return fmt.Errorf("phone %s: %w", p.cfg.Extension, err)
			}
			return nil
		})
	}
	g.Go(func() error {
		p.awaitSocket(ctx)
		p.keepRegistered(ctx)
		p.farewell(context.WithoutCancel(ctx))
		return nil
	})
	return g.Wait() // wrapped above
}

// awaitSocket returns when sipgo has taken the socket over: a request sent earlier would make it bind the same port a
// second time. ServeUDP does not tell, its connection pool does.
func (p *Phone) awaitSocket(ctx context.Context) {
	for p.conn != nil && ctx.Err() == nil && p.tp.Pool(string(UDP)).Size() == 0 {
		time.Sleep(time.Millisecond)
	}
}

// farewell ends calls and the registration, each within a bounded time, and closes the stack.
func (p *Phone) farewell(ctx context.Context) {
	const patience = 3 * time.Second
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	p.mu.Lock()
	p.closed = true
	calls := make([]*Call, 0, len(p.dialogs))
	for _, c := range p.dialogs {
		calls = append(calls, c)
	}
	registered := p.status.Registered
	p.mu.Unlock()
	if p.cfg.PowerCut {
		calls, registered = nil, false
	}
	for _, c := range calls {
		if err := c.Hangup(ctx); err != nil {
			p.cfg.Log.Debug("hanging up at the end", "error", err)
		}
	}
	if registered {
		if _, err := p.register(ctx, 0); err != nil {
			p.cfg.Log.Debug("unregistering", "error", err)
		}
	}
	if err := p.ua.Close(); err != nil {
		p.cfg.Log.Debug("closing the stack", "error", err)
	}
	if p.conn != nil {
		_ = p.conn.Close() // ends ServeUDP; the stack above is closed already
	}
	p.group.Wait()
}

// contact is our own address as peers shall reach us.
func (p *Phone) contact() sip.ContactHeader {
	p.mu.Lock()
	local := p.local
	p.mu.Unlock()
	uri := sip.Uri{Scheme: "sip", User: p.cfg.Extension, Host: local.Addr().String(), Port: int(local.Port())}
	if p.cfg.Transport != UDP {
		uri.UriParams.Add("transport", string(p.cfg.Transport))
	}
	return sip.ContactHeader{Address: uri}
}

func (p *Phone) network() string { return strings.ToUpper(string(p.cfg.Transport)) }
