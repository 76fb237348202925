// Package phonetest is a SIP server just big enough for tests of simulated phones: a registrar with digest that
// remembers where each REGISTER came from, and a proxy that forwards everything else. It keeps no call state, knows
// no sites and relays no media; it exists so that phones can be tested without the appliance.
//
//	proxy := phonetest.Start(t, phonetest.Options{Password: "secret"})
//	p, err := phone.New(phone.Config{Server: proxy.UDP, ...})
package phonetest

import (
	"context"
	"crypto/tls"
	"errors"
	"log/slog"
	"net"
	"net/netip"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/emiago/sipgo"
	"github.com/emiago/sipgo/sip"
	"github.com/icholy/digest"
)

// Options configure the proxy. All accounts share one password.
type Options struct {
	Password  string
	Algorithm string // MD5 when empty
	Expires   int    // granted lifetime in seconds, 3600 when 0
	TLS       *tls.Config
}

// Proxy is a running server.
type Proxy struct {
	UDP, TCP, TLS netip.AddrPort

	t         testing.TB
	opts      Options
	client    *sipgo.Client
	tp        *sip.TransportLayer
	nonce     string
	listeners []net.Listener

	mu         sync.Mutex // guards what follows
	bindings   map[string]binding
	registers  map[string]int
	challenges int
}

// binding is where a REGISTER came from, and what its Contact says.
type binding struct{ transport, source, contact string }

// Start listens on free ports of 127.0.0.1 until the test ends.
func Start(tb testing.TB, opts Options) *Proxy {
	tb.Helper()
	if opts.Algorithm == "" {
		opts.Algorithm = "MD5"
	}
	if opts.Expires == 0 {
		opts.Expires = 3600
	}
	quiet := slog.New(slog.DiscardHandler)
	ua, err := sipgo.NewUA(
		sipgo.WithUserAgentTransportLayerOptions(sip.WithTransportLayerLogger(quiet)),
		sipgo.WithUserAgentTransactionLayerOptions(sip.WithTransactionLayerLogger(quiet)))
	if err != nil {
		tb.Fatal(err)
	}
	server, err := sipgo.NewServer(ua, sipgo.WithServerLogger(quiet))
	if err != nil {
		tb.Fatal(err)
	}
	client, err := sipgo.NewClient(ua, sipgo.WithClientLogger(quiet), sipgo.WithClientHostname("127.0.0.1"))
	if err != nil {
		tb.Fatal(err)
	}
	p := &Proxy{
		t: tb, opts: opts, client: client, tp: ua.TransportLayer(), nonce: strconv.FormatInt(time.Now().UnixNano(), 16),
		bindings: make(map[string]binding), registers: make(map[string]int),
	}
	server.OnRegister(p.register)
	server.OnInvite(p.invite)
	server.OnAck(p.ack)
	for _, method := range []sip.RequestMethod{sip.BYE, sip.INFO, sip.UPDATE, sip.OPTIONS, sip.MESSAGE} {
		server.OnRequest(method, p.forward)
	}
	p.serve(tb, server)
	tb.Cleanup(func() {
		for _, l := range p.listeners {
			_ = l.Close()
		}
		if err := ua.Close(); err != nil {
			tb.Log(err)
		}
	})
	return p
}

func (p *Proxy) serve(tb testing.TB, server *sipgo.Server) {
	tb.Helper()
	udp, err := net.ListenPacket("udp4", "127.0.0.1:0")
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { _ = udp.Close() })
	p.UDP = netip.MustParseAddrPort(udp.LocalAddr().String())
	go func() { _ = server.ServeUDP(udp) }()
	tcp, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		tb.Fatal(err)
	}
	p.TCP = netip.MustParseAddrPort(tcp.Addr().String())
	p.listeners = append(p.listeners, tcp)
	go func() { _ = server.ServeTCP(tcp) }()
	if p.opts.TLS == nil {
		return
	}
	secure, err := tls.Listen("tcp4", "127.0.0.1:0", p.opts.TLS)
	if err != nil {
		tb.Fatal(err)
	}
	p.TLS = netip.MustParseAddrPort(secure.Addr().String())
	p.listeners = append(p.listeners, secure)
	go func() { _ = server.ServeTLS(secure) }()
}

// Registrations returns how many REGISTERs of a user were accepted.
func (p *Proxy) Registrations(user string) int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.registers[user]
}

// Bound reports whether a user is registered.
func (p *Proxy) Bound(user string) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	_, ok := p.bindings[user]
	return ok
}

// Challenges returns how many requests were challenged.
func (p *Proxy) Challenges() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.challenges
}

func (p *Proxy) register(req *sip.Request, tx sip.ServerTransaction) {
	if !p.authenticated(req, tx, "Authorization", "WWW-Authenticate", sip.StatusUnauthorized) {
		return
	}
	user := req.To().Address.User
	res := sip.NewResponseFromRequest(req, sip.StatusOK, "OK", nil)
	p.mu.Lock()
	if h := req.GetHeader("Expires"); h != nil && h.Value() == "0" {
		delete(p.bindings, user)
	} else {
		p.bindings[user] = binding{transport: req.Transport(), source: req.Source(), contact: req.Contact().Address.HostPort()}
		p.registers[user]++
		contact := req.Contact().Clone()
		contact.Params.Add("expires", strconv.Itoa(p.opts.Expires))
		res.AppendHeader(contact)
	}
	p.mu.Unlock()
	p.send(tx, res)
}

// authenticated checks digest credentials and challenges without them.
func (p *Proxy) authenticated(req *sip.Request, tx sip.ServerTransaction, header, challenge string, code int) bool {
	if h := req.GetHeader(header); h != nil {
		got, err := digest.ParseCredentials(h.Value())
		if err == nil && got.Nonce == p.nonce {
			want, err := digest.Digest(&digest.Challenge{
				Realm: got.Realm, Nonce: got.Nonce, Opaque: got.Opaque, Algorithm: p.opts.Algorithm, QOP: []string{"auth"},
			}, digest.Options{
				Method: req.Method.String(), URI: got.URI, Username: got.Username, Password: p.opts.Password,
				Cnonce: got.Cnonce, Count: got.Nc,
			})
			if err == nil && want.Response == got.Response {
				return true
			}
		}
	}
	p.mu.Lock()
	p.challenges++
	p.mu.Unlock()
	res := sip.NewResponseFromRequest(req, code, "Unauthorized", nil)
	chal := digest.Challenge{Realm: "phonetest", Nonce: p.nonce, Algorithm: p.opts.Algorithm, QOP: []string{"auth"}}
	res.AppendHeader(sip.NewHeader(challenge, chal.String()))
	p.send(tx, res)
	return false
}

func (p *Proxy) send(tx sip.ServerTransaction, res *sip.Response) {
	if err := tx.Respond(res); err != nil && !errors.Is(err, sip.ErrTransactionCanceled) {
		p.t.Logf("proxy: answering %d: %v", res.StatusCode, err)
	}
}

// next finds where a request goes: a registered user's source, or the address in the Request-URI.
func (p *Proxy) next(req *sip.Request) (binding, bool) {
	if strings.HasPrefix(req.Recipient.Host, "127.") {
		transport, _ := req.Recipient.UriParams.Get("transport")
		if transport == "" {
			transport = "udp"
		}
		if transport == "tls" { // over the connection that it registered with: nobody else can be reached
			p.mu.Lock()
			defer p.mu.Unlock()
			for _, b := range p.bindings {
				if b.transport == "TLS" && b.contact == req.Recipient.HostPort() {
					return b, true
				}
			}
		}
		return binding{transport: strings.ToUpper(transport), source: req.Recipient.HostPort()}, true
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	b, ok := p.bindings[req.Recipient.User]
	return b, ok
}

func (p *Proxy) onward(req *sip.Request) (*sip.Request, bool) {
	b, ok := p.next(req)
	if !ok {
		return nil, false
	}
	out := req.Clone()
	out.SetTransport(b.transport)
	out.SetDestination(b.source)
	out.SetBody(req.Body())
	via := &sip.ViaHeader{ProtocolName: "SIP", ProtocolVersion: "2.0", Transport: b.transport, Host: "127.0.0.1", Port: int(p.UDP.Port())}
	via.Params.Add("branch", sip.GenerateBranch())
	out.PrependHeader(via)
	if b.transport == "UDP" {
		out.Laddr = sip.Addr{IP: net.IPv4(127, 0, 0, 1), Port: int(p.UDP.Port())}
	}
	return out, true
}

func (p *Proxy) invite(req *sip.Request, tx sip.ServerTransaction) {
	if !req.To().Params.Has("tag") && req.Recipient.Host != "127.0.0.1" &&
		!p.authenticated(req, tx, "Proxy-Authorization", "Proxy-Authenticate", sip.StatusProxyAuthRequired) {
		return
	}
	p.forward(req, tx)
}

func (p *Proxy) ack(req *sip.Request, _ sip.ServerTransaction) {
	if out, ok := p.onward(req); ok {
		if err := p.tp.WriteMsg(out); err != nil {
			p.t.Logf("proxy: ACK: %v", err)
		}
	}
}

// forward sends a request on and its answers back.
func (p *Proxy) forward(req *sip.Request, tx sip.ServerTransaction) {
	out, ok := p.onward(req)
	if !ok {
		p.send(tx, sip.NewResponseFromRequest(req, sip.StatusNotFound, "Not Found", nil))
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	down, err := p.client.TransactionRequest(ctx, out, func(*sipgo.Client, *sip.Request) error { return nil })
	if err != nil {
		p.t.Logf("proxy: %s: %v", req.Method, err)
		p.send(tx, sip.NewResponseFromRequest(req, sip.StatusServiceUnavailable, "Service Unavailable", nil))
		return
	}
	if req.IsInvite() {
		tx.OnCancel(func(*sip.Request) { p.cancel(ctx, out) })
	}
	for {
		select {
		case res := <-down.Responses():
			back := res.Clone()
			back.RemoveHeader("Via")
			back.SetBody(res.Body())
			back.SetTransport(req.Transport())
			back.SetDestination(req.Source())
			if err := tx.Respond(back); err != nil && !errors.Is(err, sip.ErrTransactionCanceled) {
				p.t.Logf("proxy: relaying %d: %v", res.StatusCode, err)
			}
			if !res.IsProvisional() {
				return
			}
		case <-down.Done():
			return
		case <-ctx.Done():
			return
		}
	}
}

func (p *Proxy) cancel(ctx context.Context, out *sip.Request) {
	cancel := sip.NewRequest(sip.CANCEL, *out.Recipient.Clone())
	cancel.AppendHeader(out.Via().Clone())
	for _, name := range []string{"From", "To", "Call-ID"} {
		sip.CopyHeaders(name, out, cancel)
	}
	cancel.AppendHeader(&sip.CSeqHeader{SeqNo: out.CSeq().SeqNo, MethodName: sip.CANCEL})
	cancel.SetTransport(out.Transport())
	cancel.SetDestination(out.Destination())
	cancel.Laddr = out.Laddr
	cancel.SetBody(nil)
	if _, err := p.client.TransactionRequest(ctx, cancel, func(*sipgo.Client, *sip.Request) error { return nil }); err != nil {
		p.t.Logf("proxy: CANCEL: %v", err)
	}
}
