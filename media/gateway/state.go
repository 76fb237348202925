package gateway

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net/netip"
	"time"

	"linehall/media/srtp"
)

// State is what a leg needs to go on in the next process. It holds keys: encrypt it before it is stored. A DTLS connection
// does not come back: its keys do, and no more is asked of it until the browser brings another certificate. One that has not
// begun yet needs our certificate.
type State struct {
	Names       []credential   `json:"names"`
	Fingerprint string         `json:"fingerprint"`
	Client      bool           `json:"client,omitempty"`
	Remote      Remote         `json:"remote"`
	At          netip.AddrPort `json:"at,omitzero"`   // our end of the selected pair
	Peer        netip.AddrPort `json:"peer,omitzero"` // the browser's
	SRTP        *srtp.State    `json:"srtp,omitempty"`
	Certificate []byte         `json:"certificate,omitempty"`
	Key         []byte         `json:"key,omitempty"`
}

// State returns what Restore needs.
func (l *Leg) State() *State {
	l.mu.Lock()
	defer l.mu.Unlock()
	st := &State{Names: l.names, Fingerprint: l.fingerprint, Client: l.client, Remote: l.remote}
	if p := l.selected.Load(); p != nil {
		st.At, st.Peer = p.via.Local(), p.remote
	}
	l.fresh.Store(false)
	if s := l.session.Load(); s != nil {
		saved := s.State()
		st.SRTP = &saved
	} else if key, err := x509.MarshalPKCS8PrivateKey(l.certificate.PrivateKey); err == nil {
		st.Certificate, st.Key = l.certificate.Certificate[0], key
	}
	return st
}

// Stale reports whether State would say something new that a restart needs: keys, or how far the browser has come.
func (l *Leg) Stale() bool {
	s := l.session.Load()
	return l.fresh.Load() || s != nil && s.Stale()
}

var errState = errors.New("state of a browser leg cannot be read")

// Restore opens a leg of before a restart under its names. Media flows at once if the browser had connected.
func (g *Gateway) Restore(st *State) (*Leg, error) {
	if len(st.Names) == 0 || len(st.Names) > 2 {
		return nil, errState
	}
	now := time.Now()
	l := &Leg{g: g, began: now, seen: now, names: st.Names, fingerprint: st.Fingerprint, client: st.Client, remote: st.Remote}
	l.ctx, l.cancel = context.WithCancel(g.ctx)
	for i, c := range l.names {
		if err := g.o.Plane.Join(c.Fragment, l); err != nil {
			l.names = l.names[:i]
			l.Close()
			return nil, fmt.Errorf("names of a browser leg: %w", err)
		}
	}
	if st.SRTP == nil {
		key, err := x509.ParsePKCS8PrivateKey(st.Key)
		if err != nil || len(st.Certificate) == 0 {
			l.Close()
			return nil, errState
		}
		l.certificate = tls.Certificate{Certificate: [][]byte{st.Certificate}, PrivateKey: key}
		return l, g.enter(l)
	}
	session, err := srtp.Restore(*st.SRTP)
	if err != nil {
		l.Close()
		return nil, fmt.Errorf("keys of a browser leg: %w", err)
	}
	l.session.Store(session)
	if via, ok := g.o.Plane.Outlet(st.At); ok && st.Peer.IsValid() {
		p := &pair{via: via, media: via.Sender(), remote: st.Peer}
		l.pairs = []*pair{p}
		l.selected.Store(p)
		via.Claim(st.Peer, l)
	}
	return l, g.enter(l)
}
