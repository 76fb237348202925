package gateway

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"time"

	"linehall/media/srtp"
)

// State is what a leg needs to go on in the next process. It holds keys: encrypt it before it is stored. A DTLS connection
// does not come back: its keys do, and no more is asked of it until the browser brings another certificate. One that has not
// begun yet needs our certificate.
type State struct {
	Name        string         `json:"name,omitempty"` // states of earlier versions have none
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
func (h *Hold) State() *State {
	l := h.Leg
	l.mu.Lock()
	defer l.mu.Unlock()
	st := &State{Name: l.name, Names: l.names, Fingerprint: l.fingerprint, Client: l.client, Remote: l.remote}
	if p := l.selected.Load(); p != nil {
		st.At, st.Peer = p.via.Local(), p.remote
	}
	h.saved.Store(l.secured.Load())
	if s := l.session.Load(); s != nil {
		saved := s.State()
		st.SRTP = &saved
	} else if key, err := x509.MarshalPKCS8PrivateKey(l.certificate.PrivateKey); err == nil {
		st.Certificate, st.Key = l.certificate.Certificate[0], key
	}
	return st
}

// Stale reports whether State would say something new that a restart needs: keys, or how far the browser has come.
func (h *Hold) Stale() bool {
	s := h.session.Load()
	return h.saved.Load() != h.secured.Load() || s != nil && s.Stale()
}

var errState = errors.New("state of a browser leg cannot be read")

// Restore opens a leg of before a restart under its names. Media flows at once if the browser had connected. A leg that several
// paths held comes back with the first of them; the others share it.
func (g *Gateway) Restore(st *State) (*Hold, error) {
	if len(st.Names) == 0 || len(st.Names) > 2 {
		return nil, errState
	}
	name := st.Name
	if name == "" {
		name = st.Names[0].Fragment
	}
	if h, ok := g.Adopt(name); ok {
		if err := h.learn(st.Names); err != nil {
			h.Close()
			return nil, err
		}
		return h, nil
	}
	h := g.leg()
	l := h.Leg
	l.name, l.seen, l.names, l.fingerprint, l.client, l.remote = name, time.Now(), st.Names, st.Fingerprint, st.Client, st.Remote
	for i, c := range l.names {
		if err := g.o.Plane.Join(c.Fragment, l); err != nil {
			l.names = l.names[:i]
			h.Close()
			return nil, fmt.Errorf("names of a browser leg: %w", err)
		}
	}
	if st.SRTP == nil {
		key, err := x509.ParsePKCS8PrivateKey(st.Key)
		if err != nil || len(st.Certificate) == 0 {
			h.Close()
			return nil, errState
		}
		l.certificate = tls.Certificate{Certificate: [][]byte{st.Certificate}, PrivateKey: key}
		return h, g.enter(h)
	}
	session, err := srtp.Restore(*st.SRTP)
	if err != nil {
		h.Close()
		return nil, fmt.Errorf("keys of a browser leg: %w", err)
	}
	l.session.Store(session)
	if via, ok := g.o.Plane.Outlet(st.At); ok && st.Peer.IsValid() {
		p := &pair{via: via, media: via.Sender(), remote: st.Peer}
		l.pairs = []*pair{p}
		l.selected.Store(p)
		via.Claim(st.Peer, l)
	}
	return h, g.enter(h)
}

// learn takes names of a leg that another state of it did not have: ICE was restarted between the two.
func (h *Hold) learn(names []credential) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, c := range names {
		if slices.Contains(h.names, c) {
			continue
		}
		if err := h.g.o.Plane.Join(c.Fragment, h.Leg); err != nil {
			return fmt.Errorf("names of a browser leg: %w", err)
		}
		h.names = append(slices.Clip(h.names), c)
	}
	return nil
}
