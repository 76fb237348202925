package stack

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"linehall/internal/observe"
)

// streamListener accepts connections of one TCP or TLS listener.
type streamListener struct {
	stack     *Stack
	transport string
	listener  net.Listener
	addr      netip.AddrPort
}

// streamKeepAlive finds out within a minute that a peer has vanished.
var streamKeepAlive = net.KeepAliveConfig{Enable: true, Idle: 30 * time.Second, Interval: 10 * time.Second, Count: 3} //nolint:gochecknoglobals // a constant

func listenStream(ctx context.Context, s *Stack, l Listen) (*streamListener, error) {
	lc := net.ListenConfig{
		Control:         setTOS,
		KeepAliveConfig: streamKeepAlive,
	}
	ln, err := lc.Listen(ctx, "tcp", l.Address)
	if err != nil {
		return nil, err //nolint:wrapcheck // the caller names transport and address
	}
	addr := ln.Addr().(*net.TCPAddr).AddrPort() //nolint:errcheck,forcetypeassert // of a TCP listener
	return &streamListener{stack: s, transport: l.Transport, listener: ln, addr: addr}, nil
}

// run accepts until the listener is closed. A connection's handshake and
// reading happen in its own goroutine: a silent peer delays nobody.
func (l *streamListener) run(ctx context.Context) error {
	s := l.stack
	for {
		conn, err := l.listener.Accept()
		if err != nil {
			if ctx.Err() != nil || errors.Is(err, net.ErrClosed) {
				return nil
			}
			// Out of descriptors, or a peer that left the queue: neither ends the listener.
			s.opts.Dropped.Count(listenerLabel(l.transport), "accept_error")
			s.log.Warn("connection not accepted", observe.Listener, l.transport, observe.Err, err)
			select {
			case <-ctx.Done():
				return nil
			case <-time.After(50 * time.Millisecond):
			}
			continue
		}
		mark(conn)
		flow := Flow{Transport: l.transport, Local: tcpAddr(conn.LocalAddr()), Remote: tcpAddr(conn.RemoteAddr())}
		if s.admit.keptOut(flow.Remote, flow.Transport) {
			s.opts.Dropped.Count(listenerLabel(l.transport), string(banned))
			_ = conn.Close()
			continue
		}
		c := s.conns.admit(s, flow, conn)
		if c == nil {
			s.opts.Dropped.Count(listenerLabel(l.transport), "too_many_connections")
			_ = conn.Close()
			continue
		}
		s.work.Go(func() { c.serve(ctx) })
	}
}

// streamConn is one connection: a reader (serve), a writer, and what is queued
// between. The queue is bounded; when it is full the peer has stopped reading
// for longer than any phone may, and the connection is closed.
type streamConn struct {
	stack   *Stack
	flow    Flow
	secure  bool
	raw     io.Closer
	conn    net.Conn   // raw, or TLS over it
	web     *webSocket // instead of conn
	queue   chan []byte
	trusted atomic.Bool // its peer was authenticated

	once   sync.Once
	closed chan struct{}
}

func (c *streamConn) serve(ctx context.Context) {
	s := c.stack
	defer s.conns.leave(c)
	defer c.close()
	if c.secure && !c.handshake(ctx) {
		return
	}
	s.conns.enter(c)
	s.work.Go(c.write)
	read := c.read
	if c.web != nil {
		read = c.readWeb
	}
	if reason := read(); reason != "" {
		s.opts.Dropped.Count(c.flow.listener(), string(reason))
	}
	c.close()
	s.conns.leave(c)
	if s.conns.get(c.flow) != nil { // the phone is connected again, in the same words
		return
	}
	s.clients.flowClosed(c.flow)
	s.servers.flowClosed(c.flow)
	for _, f := range s.closed {
		f(c.flow)
	}
}

func (c *streamConn) handshake(ctx context.Context) bool {
	ctx, cancel := context.WithTimeout(ctx, c.stack.limits.Handshake)
	defer cancel()
	t := tls.Server(c.conn, c.stack.opts.TLS)
	if err := t.HandshakeContext(ctx); err != nil {
		c.stack.opts.Dropped.Count(c.flow.listener(), "tls_handshake")
		c.stack.log.Debug("tls handshake failed", observe.Remote, c.flow.Remote, observe.Err, err)
		return false
	}
	c.conn = t
	return true
}

// read feeds the framer until the connection ends; it returns why the
// connection was given up, or nothing when the peer closed it.
func (c *streamConn) read() verdict {
	s := c.stack
	f := newFramer(s.limits)
	buf := make([]byte, 16<<10)
	heard := time.Now()
	served := false // a message was understood
	deadline := heard.Add(s.limits.FirstMessage)
	for {
		if err := c.conn.SetReadDeadline(deadline); err != nil {
			return ""
		}
		n, err := c.conn.Read(buf)
		if errors.Is(err, os.ErrDeadlineExceeded) && !f.partial() && time.Since(heard) < c.idle() {
			deadline = heard.Add(c.idle()) // authenticated since the deadline was set
			continue
		}
		if err != nil {
			return readVerdict(err, f.partial())
		}
		heard = time.Now()
		started := f.partial()
		f.add(buf[:n])
		for frames := 0; ; frames++ {
			frame, kind := f.next()
			// What one read brings may be many messages: each costs a token, and a
			// read without any costs one as well.
			if kind != frameNone || frames == 0 {
				if s.admit.keptOut(c.flow.Remote, c.flow.Transport) {
					return banned
				}
				if !s.admit.allow(c.flow.Remote.Addr(), time.Now()) {
					return rateLimit
				}
			}
			if kind == frameNone {
				break
			}
			if v, ok := c.frame(frame, kind); !ok {
				if served {
					c.lastAnswers()
				}
				return v
			}
			served = served || kind == frameMessage
			started = false
		}
		switch {
		case !f.partial():
			deadline = time.Now().Add(c.idle())
		case !started: // the first bytes of a message: it has to end in time
			deadline = time.Now().Add(s.limits.MessageTime)
		}
	}
}

// lastAnswers gives handlers the time to answer what came before the stream lost
// its meaning (a Content-Length that is too short, RFC 4475 §3.1.1.8).
func (c *streamConn) lastAnswers() {
	select {
	case <-c.closed:
	case <-c.stack.ctx.Done():
	case <-time.After(handlerHead):
		c.flush()
	}
}

// frame handles what the framer found and reports whether the connection may go on.
func (c *streamConn) frame(frame []byte, kind frameKind) (verdict, bool) {
	out := &outlet{flow: c.flow, conn: c}
	switch kind {
	case framePing:
		return "", c.send([]byte("\r\n")) == nil
	case frameMessage:
		c.stack.ingest(frame, out, nil)
		return "", true
	case frameLost: // a message whose end cannot be known: answer what can be answered and hang up
		c.stack.malformed(frame, out)
		c.flush()
		return "framing", false
	case frameNone, frameGarbage:
		return garbage, false
	case frameTooLarge:
		return tooLarge, false
	}
	return garbage, false
}

func (c *streamConn) idle() time.Duration {
	if c.trusted.Load() {
		return c.stack.limits.IdleTrusted
	}
	return c.stack.limits.IdleUnknown
}

func readVerdict(err error, partial bool) verdict {
	var timeout net.Error
	switch {
	case errors.As(err, &timeout) && timeout.Timeout() && partial:
		return "slow"
	case errors.As(err, &timeout) && timeout.Timeout():
		return "idle"
	case partial:
		return "half_message"
	}
	return ""
}

// send queues one message; b is taken. It never blocks.
func (c *streamConn) send(b []byte) error {
	select {
	case <-c.closed:
		return ErrFlowGone
	default:
	}
	select {
	case c.queue <- b:
		return nil
	default:
		c.stack.opts.Dropped.Count(c.flow.listener(), "write_queue")
		c.close()
		return fmt.Errorf("%w: the peer does not read", ErrFlowGone)
	}
}

// flush waits until the writer has taken what is queued, for a last answer.
func (c *streamConn) flush() {
	select {
	case c.queue <- nil:
	case <-c.closed:
		return
	}
	select {
	case <-c.closed:
	case <-time.After(c.stack.limits.WriteTime):
	}
}

func (c *streamConn) write() {
	defer c.close()
	for {
		select {
		case <-c.closed:
			return
		case b := <-c.queue:
			if b == nil { // from flush: this was the last word
				return
			}
			if c.put(b) != nil {
				return
			}
		}
	}
}

// put writes one message.
func (c *streamConn) put(b []byte) error {
	if c.web != nil {
		return c.web.write(b, c.stack.limits.WriteTime)
	}
	if err := c.conn.SetWriteDeadline(time.Now().Add(c.stack.limits.WriteTime)); err != nil {
		return err //nolint:wrapcheck // it only ends the writer
	}
	_, err := c.conn.Write(b)
	return err //nolint:wrapcheck // see above
}

func (c *streamConn) close() {
	c.once.Do(func() {
		close(c.closed)
		_ = c.raw.Close() // TLS close_notify would have to wait for the peer
	})
}

// connTable holds the live connections and counts them per source.
type connTable struct {
	limits Limits

	mu       sync.Mutex // guards the fields below
	all      map[*streamConn]bool
	byFlow   map[Flow]*streamConn
	byRemote map[netip.AddrPort]*streamConn // TCP, for Dial
	source   map[netip.Addr]int
	closed   bool
}

func newConnTable(l Limits) *connTable {
	return &connTable{
		limits: l, all: make(map[*streamConn]bool),
		byFlow: make(map[Flow]*streamConn), byRemote: make(map[netip.AddrPort]*streamConn), source: make(map[netip.Addr]int),
	}
}

func (t *connTable) roomLocked(key netip.Addr) bool {
	return !t.closed && len(t.all) < t.limits.Conns && t.source[key] < t.limits.ConnsPerSource
}

// admit counts a new connection, or returns nil when there are too many.
func (t *connTable) admit(s *Stack, flow Flow, raw io.Closer) *streamConn {
	t.mu.Lock()
	defer t.mu.Unlock()
	key := SourceKey(flow.Remote.Addr())
	if !t.roomLocked(key) {
		return nil
	}
	c := &streamConn{
		stack: s, secure: flow.Transport == TLS, raw: raw, flow: flow,
		queue:  make(chan []byte, t.limits.WriteQueue),
		closed: make(chan struct{}),
	}
	c.conn, _ = raw.(net.Conn)
	c.web, _ = raw.(*webSocket)
	t.all[c] = true
	t.source[key]++
	return c
}

// enter makes the connection reachable by its flow.
func (t *connTable) enter(c *streamConn) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.byFlow[c.flow] = c
	if c.flow.Transport == TCP {
		t.byRemote[c.flow.Remote] = c
	}
}

func (t *connTable) leave(c *streamConn) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if !t.all[c] {
		return
	}
	delete(t.all, c)
	if t.byFlow[c.flow] == c {
		delete(t.byFlow, c.flow)
	}
	if t.byRemote[c.flow.Remote] == c {
		delete(t.byRemote, c.flow.Remote)
	}
	key := SourceKey(c.flow.Remote.Addr())
	if t.source[key]--; t.source[key] <= 0 {
		delete(t.source, key)
	}
}

func (t *connTable) get(f Flow) *streamConn {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.byFlow[f]
}

// towards finds a TCP connection with that peer, whoever opened it.
func (t *connTable) towards(remote netip.AddrPort) *streamConn {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.byRemote[remote]
}

// enlist counts a goroutine that will open a connection, unless the stack ends.
func (t *connTable) enlist(s *Stack) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.closed {
		return false
	}
	s.work.Add(1) // under the lock, so that Run does not wait yet
	return true
}

func (t *connTable) size() int {
	t.mu.Lock()
	defer t.mu.Unlock()
	return len(t.all)
}

func (t *connTable) closeAll() {
	t.mu.Lock()
	t.closed = true
	all := make([]*streamConn, 0, len(t.all))
	for c := range t.all {
		all = append(all, c)
	}
	t.mu.Unlock()
	for _, c := range all {
		c.close()
	}
}

func tcpAddr(a net.Addr) netip.AddrPort {
	if t, ok := a.(*net.TCPAddr); ok {
		return unmap(t.AddrPort())
	}
	return netip.AddrPort{}
}
