package stack_test

import (
	"context"
	"crypto/tls"
	"errors"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/coder/websocket"
	"github.com/emiago/sipgo/sip"

	"linehall/sip/stack"
	"linehall/sip/stack/stacktest"
)

// web serves the stack's WebSockets in clear and over TLS, as the appliance's HTTPS port does.
func web(t *testing.T, e *endpoint) (ws, wss string, client *tls.Config) {
	t.Helper()
	server, client := certificates(t)
	plain := httptest.NewServer(http.HandlerFunc(e.ServeWebSocket))
	t.Cleanup(plain.Close)
	secure := httptest.NewUnstartedServer(http.HandlerFunc(e.ServeWebSocket))
	secure.TLS = server
	secure.StartTLS()
	t.Cleanup(secure.Close)
	eventually(t, "SIP is served", func() bool { // Run has begun; until then 503
		res, err := plain.Client().Get(plain.URL) //nolint:noctx // local
		if err != nil {
			return false
		}
		_ = res.Body.Close()
		return res.StatusCode == http.StatusUpgradeRequired
	})
	return "ws" + strings.TrimPrefix(plain.URL, "http") + "/sip", "wss" + strings.TrimPrefix(secure.URL, "https") + "/sip", client
}

// anonymous is a request of a browser, which does not know its own address (RFC 7118 §5).
func anonymous(transport, method, id string) []string {
	return []string{
		method + " sip:8002@linehall.test SIP/2.0",
		"Via: SIP/2.0/" + transport + " df7jal23ls0d.invalid;branch=z9hG4bK" + id,
		"Max-Forwards: 70",
		"From: <sip:8001@linehall.test>;tag=" + id,
		"To: <sip:8002@linehall.test>",
		"Call-ID: " + id,
		"CSeq: 1 " + method,
		"Contact: <sip:8001@df7jal23ls0d.invalid;transport=ws>",
	}
}

func TestWebSocket(t *testing.T) {
	flows := make(chan stack.Flow, 1)
	e := start(t, stack.Options{}, func(s *stack.Stack) {
		s.Handle(sip.REGISTER, func(_ context.Context, req *stack.Request) {
			_ = req.Tx.Respond(s.NewResponse(req, 200, "OK"))
			flows <- req.Flow
		})
	})
	ws, wss, config := web(t, e)
	for name, url := range map[string]string{"WS": ws, "WSS": wss} {
		t.Run(name, func(t *testing.T) {
			p := stacktest.DialWS(t, url, "", config)
			p.Send(anonymous(name, "REGISTER", name)...)
			m := p.Final()
			if m.Code != 200 || !strings.HasPrefix(m.Header("Via"), "SIP/2.0/"+name+" df7jal23ls0d.invalid;") || !strings.Contains(m.Header("Via"), "received=127.0.0.1") {
				t.Errorf("got:\n%s", m.Raw)
			}
			flow := <-flows
			if flow.Transport != name || !flow.Web() || !e.Alive(flow) || flow.Remote != p.Local || flow.Local != p.Remote {
				t.Errorf("flow %s", flow)
			}
			// A request of ours takes the connection, whatever host the Contact names.
			req := outgoing(t, "OPTIONS", "sip:8001@df7jal23ls0d.invalid;transport=ws")
			tx, err := e.Request(t.Context(), req, flow)
			if err != nil {
				t.Fatal(err)
			}
			defer tx.Terminate()
			asked := p.Await(func(m stacktest.Message) bool { return m.Method == "OPTIONS" })
			if asked.Start != "OPTIONS sip:8001@df7jal23ls0d.invalid;transport=ws SIP/2.0" || !strings.HasPrefix(asked.Header("Via"), "SIP/2.0/"+name+" 127.0.0.1:") {
				t.Errorf("got:\n%s", asked.Raw)
			}
			if uri := e.ContactURI(flow, "8002"); uri.String() != "sip:8002@"+flow.Local.String()+";transport=ws" {
				t.Errorf("our contact is %s", uri.String())
			}
			answer(p, asked, "200 OK")
			if res := <-tx.Responses(); res == nil || res.StatusCode != 200 {
				t.Errorf("answer %v", res)
			}
			// And when it is gone, nobody is dialled.
			_ = p.Socket.Close(websocket.StatusNormalClosure, "")
			eventually(t, "the flow is gone", func() bool { return !e.Alive(flow) })
			if _, err := e.Request(t.Context(), outgoing(t, "OPTIONS", "sip:8001@df7jal23ls0d.invalid;transport=ws"), flow); !errors.Is(err, stack.ErrFlowGone) {
				t.Errorf("err %v", err)
			}
		})
	}
}

// RFC 7118 §4.1 and RFC 6455 §4.2: what does not ask for SIP, or comes from a page of somebody else, is not upgraded.
func TestWebSocketHandshake(t *testing.T) {
	e := start(t, stack.Options{Origins: []string{"phones.linehall.test"}}, nil)
	ws, _, _ := web(t, e)
	host := strings.TrimSuffix(strings.TrimPrefix(ws, "ws://"), "/sip")
	for name, c := range map[string]struct {
		upgrade, protocol, origin string
		code                      int
	}{
		"its own page":            {"websocket", "sip", "http://" + host, 101},
		"a configured page":       {"websocket", "sip", "https://phones.linehall.test", 101},
		"no browser":              {"websocket", "sip", "", 101},
		"among others":            {"websocket", "msrp, SIP", "", 101},
		"another page":            {"websocket", "sip", "https://evil.example", 403},
		"no subprotocol":          {"websocket", "", "", 400},
		"another subprotocol":     {"websocket", "msrp", "", 400},
		"no upgrade":              {"", "", "", 426},
		"an upgrade to something": {"h2c", "sip", "", 426},
	} {
		t.Run(name, func(t *testing.T) {
			r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://"+host+"/sip", http.NoBody)
			if err != nil {
				t.Fatal(err)
			}
			for k, v := range map[string]string{
				"Upgrade": c.upgrade, "Connection": "Upgrade", "Sec-WebSocket-Version": "13", "Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ==",
				"Sec-WebSocket-Protocol": c.protocol, "Origin": c.origin,
			} {
				if v != "" {
					r.Header.Set(k, v)
				}
			}
			transport := &http.Transport{}
			defer transport.CloseIdleConnections()
			res, err := (&http.Client{Transport: transport}).Do(r)
			if err != nil {
				t.Fatal(err)
			}
			_ = res.Body.Close()
			if res.StatusCode != c.code {
				t.Errorf("got %s", res.Status)
			}
		})
	}
}

// RFC 7118 §5 and §6, RFC 6455 §5.4 and §5.5.
func TestWebSocketFraming(t *testing.T) {
	e := start(t, stack.Options{}, nil)
	ws, _, _ := web(t, e)
	p := stacktest.DialWS(t, ws, "", nil)
	message := func(id string) string {
		return strings.Join(anonymous("WS", "OPTIONS", id), "\r\n") + "\r\n\r\n" // no Content-Length: it is not needed here
	}
	answered := func(t *testing.T, id string) {
		t.Helper()
		if m := p.Final(); m.Code != 200 || m.Header("Call-ID") != id {
			t.Errorf("got:\n%s", m.Raw)
		}
	}
	t.Run("text", func(t *testing.T) {
		p.Write(message("text"))
		answered(t, "text")
	})
	t.Run("binary", func(t *testing.T) {
		if err := p.Socket.Write(t.Context(), websocket.MessageBinary, []byte(message("binary"))); err != nil {
			t.Fatal(err)
		}
		answered(t, "binary")
	})
	t.Run("in fragments", func(t *testing.T) {
		w, err := p.Socket.Writer(t.Context(), websocket.MessageText)
		if err != nil {
			t.Fatal(err)
		}
		for part := range strings.SplitAfterSeq(message("fragments"), "\r\n") {
			if _, err := w.Write([]byte(part)); err != nil {
				t.Fatal(err)
			}
		}
		if err := w.Close(); err != nil {
			t.Fatal(err)
		}
		answered(t, "fragments")
	})
	t.Run("keep-alive", func(t *testing.T) {
		p.Write("\r\n\r\n")
		p.Write("\r\n")
		p.Write(message("keep-alive"))
		answered(t, "keep-alive")
	})
	t.Run("larger than a frame of 32 KiB", func(t *testing.T) {
		p.Write(strings.TrimSuffix(message("large"), "\r\n") + "Content-Type: text/plain\r\n\r\n" + strings.Repeat("x", 40<<10))
		answered(t, "large")
	})
	t.Run("malformed, then the next", func(t *testing.T) {
		p.Write(strings.Replace(message("bad"), "CSeq: 1 OPTIONS", "CSeq: one OPTIONS", 1))
		if m := p.Final(); m.Code != 400 {
			t.Errorf("got %s", m.Start)
		}
		p.Write(message("good"))
		answered(t, "good")
	})
}

// A ping is answered, also one with a payload in the middle of traffic, and ours want an answer.
func TestWebSocketPing(t *testing.T) {
	e := start(t, stack.Options{Limits: stack.Limits{WebPing: 20 * time.Millisecond, WriteTime: 2 * time.Second}}, nil)
	ws, _, _ := web(t, e)
	before := e.counted(t, "linehall_dropped_total", "sip_ws")
	pings := make(chan struct{}, 64)
	answering := true
	socket, _, err := websocket.Dial(t.Context(), ws, &websocket.DialOptions{ //nolint:bodyclose // of an upgrade
		Subprotocols: []string{"sip"}, HTTPClient: &http.Client{Transport: &http.Transport{DisableKeepAlives: true}},
		OnPingReceived: func(context.Context, []byte) bool {
			select {
			case pings <- struct{}{}:
			default:
			}
			return answering
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	defer socket.CloseNow() //nolint:errcheck // it has ended
	read := make(chan error, 1)
	go func() {
		for {
			if _, _, err := socket.Read(context.Background()); err != nil {
				read <- err
				return
			}
		}
	}()
	if err := socket.Ping(t.Context()); err != nil {
		t.Errorf("our ping: %v", err)
	}
	if err := socket.Write(t.Context(), websocket.MessageText, []byte(strings.Join(anonymous("WS", "OPTIONS", "ping"), "\r\n")+"\r\n\r\n")); err != nil {
		t.Fatal(err)
	}
	<-pings
	<-pings
	if e.counted(t, "linehall_dropped_total", "sip_ws") != before {
		t.Error("a connection that answers pings was given up")
	}
	_ = socket.CloseNow()
	<-read
}

func TestSilentWebSocketsAreClosed(t *testing.T) {
	limits := hurried
	limits.WriteTime = 2 * time.Second
	e := start(t, stack.Options{Limits: limits}, func(s *stack.Stack) {
		s.Handle(sip.REGISTER, func(_ context.Context, req *stack.Request) {
			req.Trust()
			_ = req.Tx.Respond(s.NewResponse(req, 200, "OK"))
		})
	})
	ws, _, _ := web(t, e)
	phone := stacktest.DialWS(t, ws, "", nil)
	phone.Send(anonymous("WS", "REGISTER", "trusted")...)
	phone.Code(200)
	reading := make(chan struct{})
	go func() { // pongs are sent by who reads
		defer close(reading)
		for {
			if _, ok := phone.Read(time.Minute); !ok {
				return
			}
		}
	}()
	for name, c := range map[string]struct {
		reason string
		act    func(p *stacktest.Peer)
	}{
		"silence": {"idle", func(p *stacktest.Peer) { go p.Read(time.Minute) }},
		"no pong": {"no_pong", func(p *stacktest.Peer) { p.Send(anonymous("WS", "REGISTER", "no-pong")...) }},
		"garbage": {"garbage", func(p *stacktest.Peer) { p.Write("GET / HTTP/1.1\r\n\r\n") }},
		"too large": {"too_large", func(p *stacktest.Peer) { // who is cut off in the middle of it may see a reset
			_ = p.Socket.Write(context.Background(), websocket.MessageText, []byte("OPTIONS sip:x@y SIP/2.0\r\nX: "+strings.Repeat("x", 70000)))
		}},
		"half a message": {"slow", func(p *stacktest.Peer) {
			p.Send(anonymous("WS", "REGISTER", "half")...)
			go func() { // pongs are sent by who reads
				for _, ok := p.Read(time.Minute); ok; _, ok = p.Read(time.Minute) {
				}
			}()
			w, err := p.Socket.Writer(context.Background(), websocket.MessageText)
			if err == nil {
				_, _ = w.Write([]byte("OPTIONS sip:x@y SIP/2.0\r\n"))
				_, _ = w.Write([]byte(strings.Repeat("x", 8192))) // out of the buffer
			}
		}},
	} {
		t.Run(name, func(t *testing.T) {
			before := e.counted(t, "linehall_dropped_total", "sip_ws", c.reason)
			p := stacktest.DialWS(t, ws, "", nil)
			c.act(p)
			eventually(t, "counted as "+c.reason, func() bool { return e.counted(t, "linehall_dropped_total", "sip_ws", c.reason) > before })
		})
	}
	eventually(t, "the phone alone is left", func() bool { return e.counted(t, "linehall_sip_connections") == 1 })
	_ = phone.Socket.CloseNow()
	<-reading
}

// sipgo's accept loop upgrades inline; ours never waits for a peer.
func TestWebSocketHandshakeBlocksNobody(t *testing.T) {
	e := start(t, stack.Options{Limits: stack.Limits{ConnsPerSource: 4}}, nil)
	ws, wss, config := web(t, e)
	for _, url := range []string{ws, wss} {
		for range 8 { // silent connections before TLS, before HTTP, and in the middle of a request
			c := dialHost(t, url)
			_, _ = c.Write([]byte("GET /sip HT"))
		}
	}
	for name, url := range map[string]string{"WS": ws, "WSS": wss} {
		p := stacktest.DialWS(t, url, "", config)
		p.Send(anonymous(name, "OPTIONS", "past-"+name)...)
		p.Code(200)
	}
	stacktest.DialWS(t, ws, "", config)
	stacktest.DialWS(t, ws, "", config)
	_, res, err := websocket.Dial(t.Context(), ws, &websocket.DialOptions{ //nolint:bodyclose // read by the library
		Subprotocols: []string{"sip"}, HTTPClient: &http.Client{Transport: &http.Transport{DisableKeepAlives: true}},
	})
	if err == nil || res == nil || res.StatusCode != http.StatusServiceUnavailable || res.Header.Get("Retry-After") == "" {
		t.Errorf("the fifth connection of an address: %v, %v", res, err)
	}
}

// A peer that does not read is disconnected, and what is sent to it does not wait.
func TestWebSocketSlowReader(t *testing.T) {
	flows := make(chan stack.Flow, 1)
	e := start(t, stack.Options{Limits: stack.Limits{WriteQueue: 8, WriteTime: 300 * time.Millisecond}}, func(s *stack.Stack) {
		s.Handle(sip.REGISTER, func(_ context.Context, req *stack.Request) {
			_ = req.Tx.Respond(s.NewResponse(req, 200, "OK"))
			flows <- req.Flow
		})
	})
	ws, _, _ := web(t, e)
	p := stacktest.DialWS(t, ws, "", nil)
	p.Send(anonymous("WS", "REGISTER", "slow")...)
	flow := <-flows
	deadline := time.Now().Add(20 * time.Second)
	for e.Alive(flow) {
		if time.Now().After(deadline) {
			t.Fatal("the connection is still open")
		}
		req := outgoing(t, "MESSAGE", "sip:8001@df7jal23ls0d.invalid;transport=ws")
		req.SetBody([]byte(strings.Repeat("x", 30000)))
		tx, err := e.Request(t.Context(), req, flow)
		if err != nil {
			break
		}
		defer tx.Terminate()
	}
}

func dialHost(t *testing.T, url string) net.Conn {
	t.Helper()
	host := strings.TrimSuffix(url[strings.Index(url, "//")+2:], "/sip")
	c, err := (&net.Dialer{}).DialContext(t.Context(), "tcp", host)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	return c
}

// outgoing is a request of ours to a contact.
func outgoing(t *testing.T, method sip.RequestMethod, contact string) *sip.Request {
	t.Helper()
	var uri sip.Uri
	if err := sip.ParseUri(contact, &uri); err != nil {
		t.Fatal(err)
	}
	req := newRequest(method)
	req.Recipient = uri
	return req
}

// answer sends a response to a request of the stack's.
func answer(p *stacktest.Peer, req stacktest.Message, status string) {
	lines := []string{"SIP/2.0 " + status}
	for _, name := range []string{"Via", "From", "To", "Call-ID", "CSeq"} {
		for _, v := range req.Headers(name) {
			lines = append(lines, name+": "+v)
		}
	}
	p.Send(lines...)
}
