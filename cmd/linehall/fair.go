package main

import (
	"net"
	"net/netip"
	"sync"

	"linehall/internal/observe"
)

// fairListener closes connections of an address that has as many as one may have.
type fairListener struct {
	net.Listener

	most    int
	dropped *observe.Dropped

	mu   sync.Mutex // guards open
	open map[netip.Addr]int
}

// Accept returns the next connection that may stay.
func (l *fairListener) Accept() (net.Conn, error) {
	for {
		connection, err := l.Listener.Accept()
		if err != nil {
			return nil, err
		}
		source := sourceOf(connection)
		if l.enter(source) {
			return &fairConn{Conn: connection, leave: sync.OnceFunc(func() { l.leave(source) })}, nil
		}
		l.dropped.Count("https", "too_many_connections")
		_ = connection.Close() // nobody has read or written it
	}
}

func (l *fairListener) enter(source netip.Addr) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.open == nil {
		l.open = map[netip.Addr]int{}
	}
	if l.open[source] >= l.most {
		return false
	}
	l.open[source]++
	return true
}

func (l *fairListener) leave(source netip.Addr) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.open[source]--; l.open[source] <= 0 {
		delete(l.open, source)
	}
}

func sourceOf(connection net.Conn) netip.Addr {
	address, err := netip.ParseAddrPort(connection.RemoteAddr().String())
	if err != nil {
		return netip.Addr{} // all of unknown origin share one place
	}
	return address.Addr().Unmap()
}

// fairConn gives its place back when it is closed.
type fairConn struct {
	net.Conn

	leave func()
}

// Close closes the connection once.
func (c *fairConn) Close() error {
	c.leave()
	return c.Conn.Close()
}
