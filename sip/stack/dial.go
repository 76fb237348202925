package stack

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strings"
	"sync"

	"github.com/emiago/sipgo/sip"

	"linehall/internal/observe"
)

// Dial returns a TCP connection to a peer that listens at remote: the one there
// is, or a new one (RFC 3261 §18.1.1). The new one is read, limited and counted
// like an accepted one and lives with the stack, not with ctx; the flow's Local
// has the port of our listener, because that is where the peer reaches us.
// Callers that want the same remote at once share one attempt.
//
// It is for contacts that DialBack accepts, and for gateways. See DialTLS for
// servers whose certificate can be checked; a phone's cannot. Every failure is
// ErrFlowGone.
func (s *Stack) Dial(ctx context.Context, transport string, remote netip.AddrPort) (Flow, error) {
	remote = unmap(remote)
	if transport != TCP || !remote.IsValid() || remote.Port() == 0 {
		return Flow{}, fmt.Errorf("dial %s %s: %w", transport, remote, ErrFlowGone)
	}
	a, err := s.dials.join(s, remote) //nolint:contextcheck // an attempt is shared and outlives who began it
	if err != nil {
		return Flow{}, fmt.Errorf("dial %s %s: %w", transport, remote, err)
	}
	select {
	case <-a.done:
	case <-ctx.Done():
		return Flow{}, fmt.Errorf("dial %s %s: %w: %w", transport, remote, ErrFlowGone, context.Cause(ctx))
	}
	if a.err != nil {
		return Flow{}, fmt.Errorf("dial %s %s: %w: %w", transport, remote, ErrFlowGone, a.err)
	}
	return a.flow, nil
}

// Datagram returns the UDP flow to a peer that listens at remote, from the
// first socket of its family and from the address that the kernel would take.
func (s *Stack) Datagram(ctx context.Context, remote netip.AddrPort) (Flow, error) {
	remote = unmap(remote)
	for _, u := range s.sockets {
		a := u.addr.Addr().Unmap()
		if u.addr == insideNear || a.Is4() != remote.Addr().Is4() && !a.IsUnspecified() { // the one inside leads nowhere else
			continue
		}
		if a.IsUnspecified() {
			a = sourceTowards(ctx, remote).Unmap()
		}
		return Flow{Transport: UDP, Local: netip.AddrPortFrom(a, u.addr.Port()), Remote: remote}, nil
	}
	return Flow{}, fmt.Errorf("UDP %s: %w: %w", remote, ErrFlowGone, errNoListener)
}

// DialBack says where a phone listens that was last seen on flow and names
// itself by contact, when its connection may be opened from our side: over TCP,
// and only if the contact is the very address that the phone was seen at. Any
// other address is another host's, or means nothing outside of its NAT.
func DialBack(flow Flow, contact *sip.Uri) (netip.AddrPort, bool) {
	transport, _ := contact.UriParams.Get("transport")
	if flow.Transport != TCP || !strings.EqualFold(contact.Scheme, "sip") || !strings.EqualFold(transport, TCP) || contact.UriParams.Has("maddr") {
		return netip.AddrPort{}, false
	}
	host, err := netip.ParseAddr(strings.Trim(contact.Host, "[]"))
	if err != nil || host.Unmap() != flow.Remote.Addr().Unmap() {
		return netip.AddrPort{}, false
	}
	port := contact.Port
	if port == 0 {
		port = sip.DefaultTcpPort
	}
	if port < 0 || port > 65535 {
		return netip.AddrPort{}, false
	}
	return netip.AddrPortFrom(host.Unmap(), uint16(port)), true
}

// Why a dial fails before a packet is sent.
var (
	errTooManyDials = errors.New("too many dials at once")
	errNoRoom       = errors.New("too many connections")
	errNoListener   = errors.New("no listener of that transport and family")
)

// dialler keeps the attempts under way: one per remote.
type dialler struct {
	mu    sync.Mutex // guards under
	under map[netip.AddrPort]*attempt
}

// attempt is one dial; flow and err are valid once done is closed.
type attempt struct {
	done chan struct{}
	flow Flow
	err  error
}

func newDialler() *dialler { return &dialler{under: make(map[netip.AddrPort]*attempt)} }

// join returns the attempt for remote, which may have succeeded long ago.
func (d *dialler) join(s *Stack, remote netip.AddrPort) (*attempt, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if a := d.under[remote]; a != nil {
		return a, nil
	}
	a := &attempt{done: make(chan struct{})}
	if c := s.conns.towards(remote); c != nil {
		a.flow = c.flow
		close(a.done)
		return a, nil
	}
	if len(d.under) >= s.limits.Dials {
		return nil, fmt.Errorf("%w: %w", ErrFlowGone, errTooManyDials)
	}
	if !s.conns.enlist(s) {
		return nil, fmt.Errorf("%w: %w", ErrFlowGone, ErrClosed)
	}
	d.under[remote] = a
	go func() {
		defer s.work.Done()
		c, err := s.connect(remote)
		if err == nil {
			a.flow = c.flow
		}
		a.err = err
		d.mu.Lock()
		delete(d.under, remote)
		d.mu.Unlock()
		close(a.done)
		if err == nil {
			c.serve(s.ctx)
		}
	}()
	return a, nil
}

// connect opens a connection and makes it reachable; nobody reads it yet.
func (s *Stack) connect(remote netip.AddrPort) (*streamConn, error) {
	local, err := s.dialFrom(TCP, remote.Addr())
	if err != nil {
		return nil, err
	}
	dialer := net.Dialer{Timeout: s.limits.DialTime, Control: setTOS, KeepAliveConfig: streamKeepAlive}
	if !local.Addr().IsUnspecified() {
		dialer.LocalAddr = net.TCPAddrFromAddrPort(netip.AddrPortFrom(local.Addr(), 0))
	}
	conn, err := dialer.DialContext(s.ctx, "tcp", remote.String())
	if err != nil {
		s.log.Debug("phone not reached", observe.Remote, remote, observe.Err, err)
		return nil, err //nolint:wrapcheck // Dial names the peer
	}
	flow := Flow{
		Transport: TCP, Remote: remote,
		Local: netip.AddrPortFrom(tcpAddr(conn.LocalAddr()).Addr(), local.Port()),
	}
	c := s.conns.admit(s, flow, conn)
	if c == nil {
		s.opts.Dropped.Count(flow.listener(), "too_many_connections")
		_ = conn.Close()
		return nil, errNoRoom
	}
	// An authenticated phone named this address: the connection may be as silent
	// as the one it replaces.
	c.trusted.Store(true)
	s.conns.enter(c)
	return c, nil
}

// dialFrom is the listener that a peer is to see as our address: the first
// of the same transport and family, if there is one.
func (s *Stack) dialFrom(transport string, remote netip.Addr) (netip.AddrPort, error) {
	for _, l := range s.streams {
		a := l.addr.Addr().Unmap()
		if l.transport == transport && (a.Is4() == remote.Is4() || a.IsUnspecified()) {
			return netip.AddrPortFrom(a, l.addr.Port()), nil
		}
	}
	return netip.AddrPort{}, errNoListener
}
