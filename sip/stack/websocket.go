package stack

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"net/netip"
	"strings"
	"sync/atomic"
	"time"
	"unicode/utf8"

	"github.com/coder/websocket"
)

// Subprotocol is SIP's name among WebSocket subprotocols (RFC 7118 §4.1).
const Subprotocol = "sip"

// ServeWebSocket upgrades the request and speaks SIP over it until the connection ends: RFC 7118. It wants the
// subprotocol "sip" and an Origin that is the request's own host or one of Options.Origins; a client that is no browser
// sends none. Who the phone is, digest decides: the request needs no session.
//
// The handshake has the deadlines of the HTTP server in front, and a goroutine of its own: it holds up nobody. Behind it
// the connection is one like those over TCP: counted and limited with them, one reader, a bounded queue with one writer,
// and reachable only as long as it lives. What differs is that a WebSocket message is a SIP message (§5), and that we
// ping (§6): a browser cannot.
func (s *Stack) ServeWebSocket(w http.ResponseWriter, r *http.Request) {
	flow := Flow{Transport: WS, Remote: remoteOf(r), Local: localOf(r)}
	if r.TLS != nil {
		flow.Transport = WSS
	}
	refuse := func(reason, text string, code int) {
		s.opts.Dropped.Count(flow.listener(), reason)
		http.Error(w, text, code)
	}
	switch {
	case !s.running.Load():
		refuse("not_running", "SIP is not served now", http.StatusServiceUnavailable)
		return
	case upgrade(r) && !offers(r, Subprotocol):
		refuse("no_subprotocol", "WebSocket subprotocol "+Subprotocol+" required", http.StatusBadRequest)
		return
	case s.admit.keptOut(flow.Remote, flow.Transport):
		refuse(string(banned), "forbidden", http.StatusForbidden)
		return
	}
	web := newWebSocket()
	c := s.conns.admit(s, flow, web) // before the answer: who has seen the 101 has a place
	if c == nil {
		w.Header().Set("Retry-After", "5")
		refuse("too_many_connections", "too many connections", http.StatusServiceUnavailable)
		return
	}
	if !s.conns.enlist(s) {
		s.conns.leave(c)
		refuse("not_running", "SIP is not served now", http.StatusServiceUnavailable)
		return
	}
	defer s.work.Done()
	socket, err := websocket.Accept(w, r, &websocket.AcceptOptions{
		Subprotocols: []string{Subprotocol}, OriginPatterns: s.opts.Origins, CompressionMode: websocket.CompressionDisabled,
	})
	if err != nil {
		s.conns.leave(c)
		c.close()
		s.opts.Dropped.Count(flow.listener(), "upgrade_refused")
		return // Accept has answered
	}
	socket.SetReadLimit(int64(s.limits.MessageBytes))
	web.socket = socket
	c.serve(r.Context())
}

// webSocket is the far end of a connection that a browser opened. The end of ctx ends reading and writing.
type webSocket struct {
	socket *websocket.Conn // from the upgrade on, before anybody reads or writes
	ctx    context.Context //nolint:containedctx // the connection's life
	cancel context.CancelFunc
	born   time.Time
	spoke  atomic.Int64 // Unix nanoseconds of the last message, 0 before the first
}

func newWebSocket() *webSocket {
	w := &webSocket{born: time.Now()}
	w.ctx, w.cancel = context.WithCancel(context.Background())
	return w
}

// Close ends the connection without waiting for the peer, nor for the lock of a TLS connection.
func (w *webSocket) Close() error {
	w.cancel()
	return nil
}

// write sends one SIP message as one WebSocket message (RFC 7118 §5): as text when it is UTF-8.
func (w *webSocket) write(b []byte, limit time.Duration) error {
	ctx, cancel := context.WithTimeout(w.ctx, limit)
	defer cancel()
	kind := websocket.MessageText
	if !utf8.Valid(b) {
		kind = websocket.MessageBinary
	}
	return w.socket.Write(ctx, kind, b)
}

// readWeb hands on message after message; it returns why the connection was given up, or nothing when the peer closed it.
func (c *streamConn) readWeb() verdict {
	defer c.web.socket.CloseNow() //nolint:errcheck // whatever is left of it
	defer c.close()
	var given atomic.Pointer[verdict] // by the watch
	c.stack.work.Go(func() {
		if v := c.watch(); v != "" {
			given.Store(&v)
			c.close()
		}
	})
	for {
		data, v, err := c.message()
		switch {
		case given.Load() != nil:
			return *given.Load()
		case err != nil:
			return v
		}
		c.web.spoke.Store(time.Now().UnixNano())
		if c.stack.admit.keptOut(c.flow.Remote, c.flow.Transport) {
			return banned
		}
		if !c.stack.admit.allow(c.flow.Remote.Addr(), time.Now()) {
			return rateLimit
		}
		if v, ok := c.webMessage(data); !ok {
			return v
		}
	}
}

// message reads the next WebSocket message, whatever its type: what has begun must end in time.
func (c *streamConn) message() ([]byte, verdict, error) {
	_, r, err := c.web.socket.Reader(c.web.ctx)
	if err != nil {
		return nil, "", err //nolint:wrapcheck // it only ends the loop
	}
	late := time.AfterFunc(c.stack.limits.MessageTime, c.close)
	data, err := io.ReadAll(r)
	inTime := late.Stop()
	switch {
	case err == nil:
		return data, "", nil
	case errors.Is(err, websocket.ErrMessageTooBig):
		return nil, tooLarge, err //nolint:wrapcheck // see above
	case !inTime:
		return nil, "slow", err //nolint:wrapcheck // see above
	}
	return nil, "half_message", err //nolint:wrapcheck // see above
}

// webMessage handles one message and reports whether the connection may go on. Content-Length may be missing, as in a
// datagram (RFC 7118 §5).
func (c *streamConn) webMessage(data []byte) (verdict, bool) {
	switch {
	case isKeepAlive(data):
		if len(data) == 4 { // RFC 5626 §3.5.1 works here too (RFC 7118 §6)
			return "", c.send([]byte("\r\n")) == nil
		}
		return "", true
	case !looksLikeSIP(data):
		return garbage, false
	}
	c.stack.ingest(data, &outlet{flow: c.flow, conn: c}, nil)
	return "", true
}

// watch pings the peer, which nobody else does: a browser whose machine sleeps or whose network changed does not close
// its connection. It returns when the connection ends, or with the reason for which it has to.
func (c *streamConn) watch() verdict {
	l := c.stack.limits
	tick := time.NewTicker(min(l.WebPing, l.FirstMessage, l.IdleUnknown))
	defer tick.Stop()
	for {
		select {
		case <-c.web.ctx.Done():
			return ""
		case <-tick.C:
		}
		spoke := c.web.spoke.Load()
		if spoke == 0 && time.Since(c.web.born) >= l.FirstMessage || spoke != 0 && time.Since(time.Unix(0, spoke)) >= c.idle() {
			return "idle"
		}
		ctx, cancel := context.WithTimeout(c.web.ctx, l.WriteTime)
		err := c.web.socket.Ping(ctx)
		cancel()
		if err != nil && c.web.ctx.Err() == nil {
			return "no_pong"
		}
	}
}

// upgrade reports whether the request asks for a WebSocket at all; what does not gets 426.
func upgrade(r *http.Request) bool { return strings.EqualFold(r.Header.Get("Upgrade"), "websocket") }

func offers(r *http.Request, name string) bool {
	for _, h := range r.Header.Values("Sec-Websocket-Protocol") {
		for p := range strings.SplitSeq(h, ",") {
			if strings.EqualFold(strings.TrimSpace(p), name) {
				return true
			}
		}
	}
	return false
}

func remoteOf(r *http.Request) netip.AddrPort {
	a, _ := netip.ParseAddrPort(r.RemoteAddr) // of a TCP connection
	return unmap(a)
}

func localOf(r *http.Request) netip.AddrPort {
	a, _ := r.Context().Value(http.LocalAddrContextKey).(net.Addr)
	if a == nil {
		return netip.AddrPort{}
	}
	return tcpAddr(a)
}
