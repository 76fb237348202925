package bulk

import (
	"context"
	"net"
	"net/http"
	"net/netip"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"linehall/internal/site"
	"linehall/media/line"
)

const (
	// receiveBuffer is small: what a sender has under way is not held back any more. 16 KB are 65 ms of 2 Mbit/s.
	receiveBuffer = 16 << 10
	// message is the largest one of signalling that goes first.
	message = 4 << 10
)

// Shaper has a bucket for each site with a line.
type Shaper struct {
	ledger *line.Ledger
	atlas  *site.Atlas

	mu      sync.Mutex // guards buckets
	buckets map[site.ID]*Bucket
}

// New makes a shaper.
func New(l *line.Ledger, a *site.Atlas) *Shaper {
	return &Shaper{ledger: l, atlas: a, buckets: map[site.ID]*Bucket{}}
}

// Bucket is that of an address; nil where there is no line.
func (s *Shaper) Bucket(at netip.Addr) *Bucket {
	id, ok := s.atlas.Locate(at.Unmap())
	if !ok {
		return nil
	}
	if where, ok := s.atlas.Site(id); !ok || where.Line == nil {
		return nil
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	b := s.buckets[id]
	if b == nil {
		b = newBucket(s.ledger, id)
		s.buckets[id] = b
	}
	return b
}

// Listener holds back what its connections carry.
func (s *Shaper) Listener(l net.Listener) net.Listener { return &listener{l, s} }

// Buffers gives the connections of a listener small receive buffers where they cross a line: for a listener that others wrap
// before Listener does.
func (s *Shaper) Buffers(l net.Listener) net.Listener { return &buffers{l, s} }

type buffers struct {
	net.Listener
	shaper *Shaper
}

func (l *buffers) Accept() (net.Conn, error) {
	c, err := l.Listener.Accept()
	if err == nil && l.shaper.of(c) != nil {
		narrow(c)
	}
	return c, err //nolint:wrapcheck // it stands for the listener
}

// of is the bucket of a connection's other end.
func (s *Shaper) of(c net.Conn) *Bucket {
	from, err := netip.ParseAddrPort(c.RemoteAddr().String())
	if err != nil {
		return nil
	}
	return s.Bucket(from.Addr())
}

func narrow(c net.Conn) {
	if tcp, ok := c.(*net.TCPConn); ok {
		_ = tcp.SetReadBuffer(receiveBuffer) // without it the sender is slowed down a little later
	}
}

type listener struct {
	net.Listener
	shaper *Shaper
}

func (l *listener) Accept() (net.Conn, error) {
	c, err := l.Listener.Accept()
	if err != nil {
		return nil, err //nolint:wrapcheck // it stands for the listener
	}
	b := l.shaper.of(c)
	if b == nil {
		return c, nil
	}
	narrow(c)
	return newConn(c, b), nil
}

// Conn is a connection over a line.
type Conn struct {
	net.Conn
	bucket    *Bucket
	signals   atomic.Bool // it became a WebSocket
	closed    context.Context
	close     context.CancelFunc
	deadlines [2]atomic.Int64 // unix nanoseconds, 0: none; of line.Up (reads) and line.Down (writes)
}

func newConn(c net.Conn, b *Bucket) *Conn {
	closed, closing := context.WithCancel(context.Background())
	return &Conn{Conn: c, bucket: b, closed: closed, close: closing}
}

// Watch lets signalling go first: it is the ConnState of a server whose connections may become WebSockets.
func Watch(c net.Conn, state http.ConnState) {
	if state != http.StateHijacked {
		return
	}
	if secure, ok := c.(interface{ NetConn() net.Conn }); ok {
		c = secure.NetConn()
	}
	if held, ok := c.(*Conn); ok {
		held.signals.Store(true)
	}
}

// wait waits for a turn, until the connection is closed or its deadline is over.
func (c *Conn) wait(d line.Direction, octets int) error {
	ctx := c.closed
	if at := c.deadlines[d].Load(); at != 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithDeadlineCause(ctx, time.Unix(0, at), os.ErrDeadlineExceeded)
		defer cancel()
	}
	if err := c.bucket.Wait(ctx, d, octets); err != nil {
		if c.closed.Err() != nil {
			return net.ErrClosed
		}
		return os.ErrDeadlineExceeded
	}
	return nil
}

// Write sends what the line has room for, piece by piece.
func (c *Conn) Write(b []byte) (n int, err error) {
	if c.signals.Load() && len(b) <= message {
		c.bucket.Pass(line.Down, len(b))
		return c.Conn.Write(b) //nolint:wrapcheck // it stands for the connection
	}
	for n < len(b) {
		piece := b[n:min(len(b), n+segment)]
		if err := c.wait(line.Down, len(piece)); err != nil {
			return n, err
		}
		m, err := c.Conn.Write(piece)
		n += m
		if err != nil {
			return n, err //nolint:wrapcheck // as above
		}
	}
	return n, nil
}

// Read takes what came no faster than the line has room for more. What has come is given out in any case.
func (c *Conn) Read(b []byte) (int, error) {
	n, err := c.Conn.Read(b[:min(len(b), segment)])
	if c.signals.Load() {
		c.bucket.Pass(line.Up, n)
	} else {
		_ = c.wait(line.Up, n) // a deadline ends the waiting, the octets are there
	}
	return n, err //nolint:wrapcheck // it stands for the connection
}

// Close ends waiting too.
func (c *Conn) Close() error {
	c.close()
	return c.Conn.Close() //nolint:wrapcheck // it stands for the connection
}

func (c *Conn) keep(t time.Time, directions ...line.Direction) {
	at := int64(0)
	if !t.IsZero() {
		at = t.UnixNano()
	}
	for _, d := range directions {
		c.deadlines[d].Store(at)
	}
}

// SetDeadline bounds waiting too.
func (c *Conn) SetDeadline(t time.Time) error {
	c.keep(t, line.Up, line.Down)
	return c.Conn.SetDeadline(t) //nolint:wrapcheck // as above
}

// SetReadDeadline bounds waiting too.
func (c *Conn) SetReadDeadline(t time.Time) error {
	c.keep(t, line.Up)
	return c.Conn.SetReadDeadline(t) //nolint:wrapcheck // as above
}

// SetWriteDeadline bounds waiting too.
func (c *Conn) SetWriteDeadline(t time.Time) error {
	c.keep(t, line.Down)
	return c.Conn.SetWriteDeadline(t) //nolint:wrapcheck // as above
}
