package srtp

import (
	"cmp"
	"errors"
	"slices"
	"strings"
)

// State is what outlives the process. It holds both keys: encrypt it before it is stored.
type State struct {
	Local  string  `json:"local,omitempty"`
	Remote string  `json:"remote,omitempty"`
	MKI    int     `json:"mki,omitempty"` // octets of the party's
	Heard  []Heard `json:"heard,omitempty"`
}

// Heard is how far a source of the party has come. What we seal needs no such thing: its sources get new SSRCs.
type Heard struct {
	SSRC    uint32 `json:"ssrc"`
	Index   uint64 `json:"index"`
	Control uint64 `json:"control,omitempty"` // of RTCP, 0: none came
}

// stale is how many packets may come before the state should be saved again: half of what the estimate of an index
// can bridge (RFC 3711 §3.3.1), less what comes until somebody asks.
const stale = 1 << 13

// Stale reports whether so much came since State that it should be saved again.
func (s *Session) Stale() bool {
	return s.opener != nil && s.opener.count.Load()-s.opener.saved.Load() >= stale
}

// State returns what Restore needs.
func (s *Session) State() State {
	var st State
	if s.local.Valid() {
		st.Local = s.local.sdes()
	}
	if s.opener == nil {
		return st
	}
	st.Remote, st.MKI = s.remote.sdes(), s.remote.mki
	o := s.opener
	o.saved.Store(o.count.Load())
	o.mu.Lock()
	defer o.mu.Unlock()
	for _, h := range *o.sources.Load() {
		kept := Heard{SSRC: h.ssrc, Index: h.highest.Load()}
		if h.reports {
			kept.Control = h.control.highest
		}
		st.Heard = append(st.Heard, kept)
	}
	slices.SortFunc(st.Heard, func(a, b Heard) int { return cmp.Compare(a.SSRC, b.SSRC) })
	return st
}

var errState = errors.New("state of an SRTP session cannot be read")

// Restore goes on with a session of before a restart: what the party sends is understood, and not accepted twice as far
// as the state goes; what it gets comes from new SSRCs, so that no index can come twice.
func Restore(st State) (*Session, error) {
	local, err := restoreKey(st.Local, 0)
	if err != nil {
		return nil, err
	}
	remote, err := restoreKey(st.Remote, st.MKI)
	if err != nil || len(st.Heard) > mostSources {
		return nil, errState
	}
	s := NewSession(local, remote)
	if s.opener == nil {
		return s, nil
	}
	var list []*heard
	for _, k := range st.Heard {
		h := &heard{ssrc: k.SSRC}
		if k.Index > 0 { // an index of zero says no more than a new source
			h.began, h.window = true, window{highest: k.Index, used: ^uint64(0)}
			h.highest.Store(k.Index)
		}
		if k.Control > 0 {
			h.reports, h.control = true, window{highest: k.Control, used: ^uint64(0)}
		}
		list = append(list, h)
	}
	s.opener.sources.Store(&list)
	return s, nil
}

func restoreKey(s string, mki int) (Key, error) {
	if s == "" {
		return Key{}, nil
	}
	name, params, _ := strings.Cut(s, " ")
	suite, ok := SuiteNamed(name)
	if !ok || mki < 0 || mki > longestMKI {
		return Key{}, errState
	}
	k, err := parseKey(suite, params)
	if err != nil {
		return Key{}, errState
	}
	k.mki = mki
	return k, nil
}
