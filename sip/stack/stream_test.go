package stack_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"errors"
	"fmt"
	"math/big"
	"net"
	"net/netip"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/emiago/sipgo/sip"

	"linehall/sip/stack"
	"linehall/sip/stack/stacktest"
)

// certificates returns a server's and a client's configuration.
func certificates(t *testing.T) (server, client *tls.Config) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "linehall.test"},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, IsCA: true, BasicConstraintsValid: true,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	root, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	pool := x509.NewCertPool()
	pool.AddCert(root)
	server = &tls.Config{Certificates: []tls.Certificate{{Certificate: [][]byte{der}, PrivateKey: key}}, MinVersion: tls.VersionTLS12}
	return server, &tls.Config{RootCAs: pool, MinVersion: tls.VersionTLS12}
}

func allTransports(t *testing.T, limits stack.Limits) (stack.Options, *tls.Config) {
	t.Helper()
	server, client := certificates(t)
	var listen []stack.Listen
	for _, name := range []string{stack.UDP, stack.TCP, stack.TLS} {
		listen = append(listen, stack.Listen{Transport: name, Address: "127.0.0.1:0"})
	}
	return stack.Options{Listen: listen, TLS: server, Limits: limits}, client
}

func TestTLS(t *testing.T) {
	opts, client := allTransports(t, stack.Limits{})
	e := start(t, opts, nil)
	p := stacktest.DialTLS(t, e.addr(stack.TLS), client)
	p.Send(request(p, "OPTIONS", "tls", "tls")...)
	if m := p.Final(); m.Code != 200 || !strings.Contains(m.Header("Via"), "SIP/2.0/TLS") {
		t.Errorf("got:\n%s", m.Raw)
	}
}

// RFC 3261 §7.5 and RFC 5626 §3.5.1: a stream may be cut anywhere.
func TestStreamFraming(t *testing.T) {
	e := start(t, stack.Options{}, nil)
	p := stacktest.DialTCP(t, e.addr(stack.TCP))
	message := func(id string) string {
		return strings.Join(request(p, "OPTIONS", id, id), "\r\n") + "\r\nl: 5\r\n\r\nhello"
	}
	t.Run("byte by byte", func(t *testing.T) {
		for _, c := range []byte("\r\n" + message("bytes")) {
			p.Write(string(c))
		}
		if m := p.Final(); m.Code != 200 || m.Header("Call-ID") != "bytes" {
			t.Errorf("got %s", m.Start)
		}
	})
	t.Run("two in one segment", func(t *testing.T) {
		p.Write(message("one") + "\r\n\r\n" + message("two"))
		seen := map[string]bool{}
		for range 2 {
			seen[p.Final().Header("Call-ID")] = true
		}
		if !seen["one"] || !seen["two"] {
			t.Errorf("answered %v", seen)
		}
	})
	t.Run("keep-alive", func(t *testing.T) {
		q := dial(t, e.addr(stack.TCP))
		if _, err := q.Write([]byte("\r\n\r\n")); err != nil {
			t.Fatal(err)
		}
		pong := make([]byte, 16)
		_ = q.SetReadDeadline(time.Now().Add(5 * time.Second)) // of a live socket
		if n, err := q.Read(pong); err != nil || string(pong[:n]) != "\r\n" {
			t.Errorf("pong %q, %v", pong[:n], err)
		}
	})
	t.Run("malformed, then the next", func(t *testing.T) {
		p.Write(strings.Replace(message("bad"), "CSeq: 1 OPTIONS", "CSeq: one OPTIONS", 1))
		if m := p.Final(); m.Code != 400 {
			t.Errorf("got %s", m.Start)
		}
		p.Write(message("good"))
		if m := p.Final(); m.Code != 200 {
			t.Errorf("got %s", m.Start)
		}
	})
	for name, line := range map[string]string{"none": "X: y", "negative": "l: -5", "two": "l: 1\r\nContent-Length: 2"} {
		t.Run("length "+name, func(t *testing.T) {
			q := stacktest.DialTCP(t, e.addr(stack.TCP))
			q.Write(strings.Replace(message("l"+name), "l: 5", line, 1))
			if m := q.Final(); m.Code != 400 {
				t.Errorf("got %s", m.Start)
			}
			q.Closed()
		})
	}
}

func dial(t *testing.T, addr netip.AddrPort) net.Conn {
	t.Helper()
	c, err := (&net.Dialer{}).DialContext(t.Context(), "tcp", addr.String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	return c
}

// hurried are limits short enough to watch them in a test.
var hurried = stack.Limits{
	Handshake: time.Second, FirstMessage: time.Second, MessageTime: time.Second,
	IdleUnknown: time.Second, ConnsPerSource: 8,
}

// Random bytes, half messages, 64 KiB, slowloris: all are counted and closed,
// and a phone notices nothing.
func TestGarbageOnStreams(t *testing.T) {
	opts, client := allTransports(t, hurried)
	e := start(t, opts, func(s *stack.Stack) {
		s.Handle(sip.REGISTER, func(_ context.Context, req *stack.Request) {
			req.Trust()
			_ = req.Tx.Respond(s.NewResponse(req, 200, "OK"))
		})
	})
	cases := map[string]struct {
		transport, reason string
		act               func(c net.Conn)
	}{
		"random bytes": {stack.TCP, "garbage", func(c net.Conn) { write(c, noise(4096)) }},
		"64 KiB without an end": {stack.TCP, "too_large", func(c net.Conn) {
			write(c, []byte("OPTIONS sip:x@y SIP/2.0\r\n"))
			write(c, []byte("X: "+strings.Repeat("x", 64<<10)))
		}},
		"a body beyond the limit": {stack.TCP, "too_large", func(c net.Conn) {
			write(c, []byte("OPTIONS sip:x@y SIP/2.0\r\nl: 99999999\r\n\r\n"))
		}},
		"half a message": {stack.TCP, "half_message", func(c net.Conn) {
			write(c, []byte("OPTIONS sip:x@y SIP/2.0\r\nVia: "))
			_ = c.(*net.TCPConn).CloseWrite()
		}},
		"slow message":       {stack.TCP, "slow", func(c net.Conn) { drip(c, "OPTIONS sip:x@y SIP/2.0\r\nVia: SIP/2.0/TCP ") }},
		"silence":            {stack.TCP, "idle", func(net.Conn) {}},
		"HTTP":               {stack.TCP, "garbage", func(c net.Conn) { write(c, []byte("GET / HTTP/1.1\r\nHost: x\r\n\r\n")) }},
		"silence before TLS": {stack.TLS, "tls_handshake", func(net.Conn) {}},
		"noise before TLS":   {stack.TLS, "tls_handshake", func(c net.Conn) { write(c, noise(300)) }},
		"SIP without TLS":    {stack.TLS, "tls_handshake", func(c net.Conn) { write(c, []byte("OPTIONS sip:x@y SIP/2.0\r\n\r\n")) }},
	}
	phone := stacktest.DialTLS(t, e.addr(stack.TLS), client)
	phone.Send(request(phone, "REGISTER", "first", "first")...)
	phone.Code(200)
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			label := "sip_" + strings.ToLower(c.transport)
			before := e.counted(t, "linehall_dropped_total", label, c.reason)
			conn := dial(t, e.addr(c.transport))
			c.act(conn)
			eventually(t, "counted as "+c.reason, func() bool {
				return e.counted(t, "linehall_dropped_total", label, c.reason) > before
			})
			closed(t, conn)
		})
	}
	phone.Send(request(phone, "OPTIONS", "last", "last")...)
	phone.Code(200)
	eventually(t, "no connection left but the phone's", func() bool { return e.counted(t, "linehall_sip_connections") <= 1 })
}

func write(c net.Conn, b []byte) { _, _ = c.Write(b) } // the other side may have hung up

func noise(n int) []byte {
	b := make([]byte, n)
	_, _ = rand.Read(b)
	b[0] = 0xff
	return b
}

// drip sends a byte every 20 ms until the other side hangs up.
func drip(c net.Conn, text string) {
	go func() {
		for i := 0; ; i++ {
			if _, err := c.Write([]byte{text[i%len(text)]}); err != nil {
				return
			}
			time.Sleep(20 * time.Millisecond)
		}
	}()
}

func closed(t *testing.T, c net.Conn) {
	t.Helper()
	_ = c.SetReadDeadline(time.Now().Add(10 * time.Second)) // of a live socket
	b := make([]byte, 4096)
	for {
		if _, err := c.Read(b); err != nil {
			var timeout net.Error
			if errors.As(err, &timeout) && timeout.Timeout() {
				t.Error("the connection is still open")
			}
			return
		}
	}
}

func TestConnectionsPerSourceAreBounded(t *testing.T) {
	e := start(t, stack.Options{Limits: stack.Limits{ConnsPerSource: 4}}, nil)
	var all []net.Conn
	for range 6 {
		all = append(all, dial(t, e.addr(stack.TCP)))
	}
	eventually(t, "two refused", func() bool {
		return e.counted(t, "linehall_dropped_total", "sip_tcp", "too_many_connections") == 2
	})
	_ = all[0].Close()
	eventually(t, "room again", func() bool { return e.counted(t, "linehall_sip_connections") == 3 })
	p := stacktest.DialTCP(t, e.addr(stack.TCP))
	p.Send(request(p, "OPTIONS", "room", "room")...)
	p.Code(200)
}

// A phone that was authenticated may be silent for long; others may not.
func TestTrustedConnectionsStay(t *testing.T) {
	e := start(t, stack.Options{Limits: hurried}, func(s *stack.Stack) {
		s.Handle(sip.MESSAGE, func(_ context.Context, req *stack.Request) {
			_ = req.Tx.Respond(s.NewResponse(req, 403, "Forbidden"))
		})
		s.Handle(sip.REGISTER, func(_ context.Context, req *stack.Request) {
			req.Trust()
			_ = req.Tx.Respond(s.NewResponse(req, 200, "OK"))
		})
	})
	trusted, other := stacktest.DialTCP(t, e.addr(stack.TCP)), stacktest.DialTCP(t, e.addr(stack.TCP))
	trusted.Send(request(trusted, "REGISTER", "t1", "t1")...)
	trusted.Code(200)
	other.Send(request(other, "MESSAGE", "t2", "t2")...)
	other.Code(403)
	other.Closed()
	trusted.Send(request(trusted, "OPTIONS", "t3", "t3")...)
	trusted.Code(200)
}

// Hazard 6: a request to phone A goes to phone A, whoever connected last.
// Hazard 24: nobody dials a phone whose connection is gone.
func TestStreamsReachTheirPhone(t *testing.T) {
	closedFlows := make(chan stack.Flow, 4)
	flows := make(chan stack.Flow, 2)
	e := start(t, stack.Options{}, func(s *stack.Stack) {
		s.OnFlowClosed(func(f stack.Flow) { closedFlows <- f })
		s.Handle(sip.MESSAGE, func(_ context.Context, req *stack.Request) {
			flows <- req.Flow
			_ = req.Tx.Respond(s.NewResponse(req, 200, "OK"))
		})
	})
	var phones []*stacktest.Peer
	var where []stack.Flow
	for i := range 2 {
		p := stacktest.DialTCP(t, e.addr(stack.TCP))
		p.Send(request(p, "MESSAGE", fmt.Sprint("m", i), fmt.Sprint("m", i))...)
		p.Code(200)
		phones, where = append(phones, p), append(where, <-flows)
	}
	for i, p := range phones {
		tx, err := e.Request(t.Context(), newRequest(sip.INFO), where[i])
		if err != nil {
			t.Fatal(err)
		}
		m := p.Request("INFO")
		if !strings.Contains(m.Header("Via"), "SIP/2.0/TCP "+e.addr(stack.TCP).String()) {
			t.Errorf("via %s", m.Header("Via"))
		}
		tx.Terminate()
	}
	pending, err := e.Request(t.Context(), newRequest(sip.INVITE), where[0])
	if err != nil {
		t.Fatal(err)
	}
	// A listener where the phone was: a dial would be seen.
	phones[0].Close()
	if f := <-closedFlows; f != where[0] {
		t.Errorf("closed %s", f)
	}
	for range pending.Responses() {
		t.Error("a response over a closed connection")
	}
	if !errors.Is(pending.Err(), stack.ErrFlowGone) {
		t.Errorf("pending transaction ended with %v", pending.Err())
	}
	l, err := net.ListenTCP("tcp", net.TCPAddrFromAddrPort(where[0].Remote))
	if err != nil {
		t.Skipf("the phone's port is taken: %v", err)
	}
	defer l.Close() //nolint:errcheck // the test ends
	if _, err := e.Request(t.Context(), newRequest(sip.INFO), where[0]); !errors.Is(err, stack.ErrFlowGone) {
		t.Errorf("request over a closed connection: %v", err)
	}
	if e.Alive(where[0]) || !e.Alive(where[1]) {
		t.Error("liveness is wrong")
	}
	_ = l.SetDeadline(time.Now().Add(200 * time.Millisecond)) // of a live listener
	if c, err := l.Accept(); err == nil {
		_ = c.Close()
		t.Error("the stack dialled the phone")
	}
}

// A peer that stops reading loses its connection; nobody waits for it.
func TestPeerThatDoesNotRead(t *testing.T) {
	var flow atomic.Value
	e := start(t, stack.Options{Limits: stack.Limits{WriteQueue: 16}}, func(s *stack.Stack) {
		s.Handle(sip.MESSAGE, func(_ context.Context, req *stack.Request) {
			flow.Store(req.Flow)
			_ = req.Tx.Respond(s.NewResponse(req, 200, "OK"))
		})
	})
	p := stacktest.DialTCP(t, e.addr(stack.TCP))
	p.Send(request(p, "MESSAGE", "deaf", "deaf")...)
	p.Code(200)
	body := []byte(strings.Repeat("x", 60000))
	began := time.Now()
	for i := 0; ; i++ {
		req := newRequest(sip.INFO)
		req.SetBody(body)
		tx, err := e.Request(t.Context(), req, flow.Load().(stack.Flow))
		if err != nil {
			break
		}
		tx.Terminate()
		if i > 10000 {
			t.Fatal("the queue has no end")
		}
	}
	if d := time.Since(began); d > 5*time.Second {
		t.Errorf("waited %s for a deaf peer", d)
	}
	if e.counted(t, "linehall_dropped_total", "sip_tcp", "write_queue") == 0 {
		t.Error("not counted")
	}
}

// The rate is one of messages: a hundred in one segment are a hundred.
func TestRateLimitCountsMessagesOfAStream(t *testing.T) {
	e := start(t, stack.Options{Limits: stack.Limits{SourceRate: 0.001, SourceBurst: 10}}, nil)
	c := dial(t, e.addr(stack.TCP))
	var flood strings.Builder
	for i := range 100 {
		fmt.Fprintf(&flood, "OPTIONS sip:linehall.test SIP/2.0\r\nVia: SIP/2.0/TCP 127.0.0.1;branch=z9hG4bK%d\r\nMax-Forwards: 70\r\n"+
			"From: <sip:a@b>;tag=1\r\nTo: <sip:c@d>\r\nCall-ID: %d\r\nCSeq: 1 OPTIONS\r\nContent-Length: 0\r\n\r\n", i, i)
	}
	write(c, []byte(flood.String()))
	closed(t, c)
	if n := e.counted(t, "linehall_dropped_total", "sip_tcp", "rate_limit"); n != 1 {
		t.Errorf("%v connections given up for their rate", n)
	}
	if n := e.counted(t, "linehall_sip_requests_total"); n > 10 {
		t.Errorf("%v requests taken", n)
	}
}
