package stack

import (
	"context"
	"crypto/tls"
	"fmt"
	"net"
	"net/netip"
	"sync"

	"linehall/internal/observe"
)

// secureDials remembers the TLS connections that we opened: one per remote and name.
type secureDials struct {
	mu    sync.Mutex // guards flows; held while one connection is opened per key
	flows map[secureKey]*secureDial
}

type secureKey struct {
	remote netip.AddrPort
	name   string
}

// secureDial serialises the attempts for one key.
type secureDial struct {
	mu   sync.Mutex
	flow Flow
}

const mostSecureDials = 256

// DialTLS returns a TLS connection to a server that listens at remote: the one that was opened
// before and lives, or a new one. Its certificate must be good for config.ServerName (RFC 5922);
// nil roots are those of the system. Like Dial it gives a connection that lives with the stack,
// and a flow whose Local has the port of our TLS listener. Every failure is ErrFlowGone.
func (s *Stack) DialTLS(ctx context.Context, remote netip.AddrPort, config *tls.Config) (Flow, error) {
	remote = unmap(remote)
	if config == nil || config.ServerName == "" || !remote.IsValid() || remote.Port() == 0 {
		return Flow{}, fmt.Errorf("dial TLS %s: %w: no server name", remote, ErrFlowGone)
	}
	d, err := s.secure.of(secureKey{remote, config.ServerName})
	if err != nil {
		return Flow{}, fmt.Errorf("dial TLS %s: %w: %w", remote, ErrFlowGone, err)
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if !d.flow.IsZero() && s.Alive(d.flow) {
		return d.flow, nil
	}
	c, err := s.connectTLS(ctx, remote, config)
	if err != nil {
		return Flow{}, fmt.Errorf("dial TLS %s: %w: %w", remote, ErrFlowGone, err)
	}
	d.flow = c.flow
	return c.flow, nil
}

func (t *secureDials) of(key secureKey) (*secureDial, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.flows == nil {
		t.flows = make(map[secureKey]*secureDial)
	}
	if d := t.flows[key]; d != nil {
		return d, nil
	}
	if len(t.flows) >= mostSecureDials {
		return nil, errTooManyDials
	}
	d := &secureDial{}
	t.flows[key] = d
	return d, nil
}

// connectTLS opens a connection, checks who is there and starts to read it.
func (s *Stack) connectTLS(ctx context.Context, remote netip.AddrPort, config *tls.Config) (*streamConn, error) {
	local, err := s.dialFrom(TLS, remote.Addr())
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, s.limits.DialTime+s.limits.Handshake)
	defer cancel()
	dialer := net.Dialer{Timeout: s.limits.DialTime, Control: setTOS, KeepAliveConfig: streamKeepAlive}
	if !local.Addr().IsUnspecified() {
		dialer.LocalAddr = net.TCPAddrFromAddrPort(netip.AddrPortFrom(local.Addr(), 0))
	}
	raw, err := dialer.DialContext(ctx, "tcp", remote.String())
	if err != nil {
		return nil, err //nolint:wrapcheck // DialTLS names the peer
	}
	config = config.Clone()
	config.MinVersion = max(config.MinVersion, tls.VersionTLS12)
	conn := tls.Client(raw, config)
	if err := conn.HandshakeContext(ctx); err != nil {
		_ = raw.Close()
		s.log.Debug("tls handshake failed", observe.Remote, remote, observe.Err, err)
		return nil, err //nolint:wrapcheck // DialTLS names the peer
	}
	flow := Flow{
		Transport: TLS, Remote: remote,
		Local: netip.AddrPortFrom(tcpAddr(raw.LocalAddr()).Addr(), local.Port()),
	}
	c := s.conns.admit(s, flow, raw)
	if c == nil || !s.conns.enlist(s) {
		if c != nil {
			s.conns.leave(c)
		}
		s.opts.Dropped.Count(flow.listener(), "too_many_connections")
		_ = raw.Close()
		return nil, errNoRoom
	}
	c.secure, c.conn = false, conn // the handshake is done, and we were its client
	c.trusted.Store(true)
	s.conns.enter(c)
	go func() { //nolint:gosec // the connection lives with the stack, not with who asked for it
		defer s.work.Done()
		c.serve(s.ctx)
	}()
	return c, nil
}
