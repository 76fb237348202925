package gateway

import (
	"encoding/binary"
	"net/netip"
	"strings"
	"time"

	"github.com/pion/stun/v4"

	"linehall/media/webrtc"
)

// nominationAge is how long a nomination holds against one of a pair with less priority. A browser that nominates
// aggressively says so in each check of each pair, every 2.5 s at most; then the best pair counts (RFC 8445 §8.1.1 has done
// away with that, browsers have not).
const nominationAge = 5 * time.Second

// Check answers a connectivity check (RFC 8445 §7.3); it is a webrtc.Endpoint.
func (l *Leg) Check(b []byte, from netip.AddrPort, via webrtc.Outlet) {
	defer l.g.recovered(l)
	m := &stun.Message{Raw: b}
	if m.Decode() != nil || stun.Fingerprint.Check(m) != nil {
		l.g.unclean.Inc()
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	i, integrity := l.named(m)
	if i < 0 || l.closed || integrity.Check(m) != nil {
		l.g.unclean.Inc()
		return
	}
	if m.Contains(stun.AttrICEControlled) { // we are lite, and never control (§7.3.1.1)
		l.reply(m, from, via, integrity, stun.NewType(stun.MethodBinding, stun.ClassErrorResponse), stun.CodeRoleConflict)
		return
	}
	p := l.pair(m, from, via)
	now := time.Now()
	l.seen = now
	l.lapsed.Store(false)
	if m.Contains(stun.AttrUseCandidate) {
		l.nominate(p, now)
		l.settle(i)
	} else if l.selected.Load() == nil {
		l.selected.Store(p)
	}
	l.reply(m, from, via, integrity, stun.BindingSuccess, &stun.XORMappedAddress{IP: from.Addr().AsSlice(), Port: int(from.Port())})
	l.secure()
}

// named finds which of our names a check is for; -1: none.
func (l *Leg) named(m *stun.Message) (int, stun.MessageIntegrity) {
	var username stun.Username
	if username.GetFrom(m) != nil {
		return -1, nil
	}
	ours, _, _ := strings.Cut(username.String(), ":")
	for i, c := range l.names {
		if c.Fragment == ours {
			return i, stun.NewShortTermIntegrity(c.Password)
		}
	}
	return -1, nil
}

// reply sends a response. The browser repeats a check whose response is lost.
func (l *Leg) reply(m *stun.Message, to netip.AddrPort, via webrtc.Outlet, integrity stun.MessageIntegrity, kind stun.MessageType, what stun.Setter) {
	if out, err := stun.Build(m, kind, what, integrity, stun.Fingerprint); err == nil {
		via.Send(out.Raw, to, webrtc.Signal)
	}
}

// pair finds or notes the way that a check took.
func (l *Leg) pair(m *stun.Message, from netip.AddrPort, via webrtc.Outlet) *pair {
	for _, p := range l.pairs {
		if p.remote == from && p.via == via {
			return p
		}
	}
	p := &pair{via: via, media: via.Sender(), remote: from, priority: l.priority(m, via)}
	if len(l.pairs) >= mostPairs {
		for i, old := range l.pairs {
			if old != l.selected.Load() {
				old.via.Release(old.remote, l)
				l.pairs = append(l.pairs[:i], l.pairs[i+1:]...)
				break
			}
		}
	}
	l.pairs = append(l.pairs, p)
	via.Claim(from, l)
	return p
}

// Priority is that of our candidate number i (RFC 8445 §5.1.2): a host candidate of the first component.
func Priority(i int) uint32 {
	return 126<<24 | uint32(65535-min(i, 65535))<<8 | 255 //nolint:gosec // bounded
}

// priority is that of a pair whose other end controls (RFC 8445 §6.1.2.3).
func (l *Leg) priority(m *stun.Message, via webrtc.Outlet) uint64 {
	ours := Priority(0)
	for i, c := range l.g.o.Plane.Candidates() {
		if c == via.Local() {
			ours = Priority(i)
		}
	}
	v, err := m.Get(stun.AttrPriority)
	if err != nil || len(v) != 4 {
		return 0
	}
	theirs := binary.BigEndian.Uint32(v)
	p := uint64(min(theirs, ours))<<32 + 2*uint64(max(theirs, ours))
	if theirs > ours {
		p++
	}
	return p
}

// nominate selects a pair, unless a better one was nominated a moment ago.
func (l *Leg) nominate(p *pair, now time.Time) {
	p.nominated = now
	old := l.selected.Load()
	if old == nil || old.nominated.IsZero() || p.priority >= old.priority || now.Sub(old.nominated) > nominationAge {
		l.selected.Store(p)
	}
}

// settle makes the names that a nomination used the only ones: a restart of ICE is through.
func (l *Leg) settle(i int) {
	if i == 0 {
		return
	}
	for j, c := range l.names {
		if j != i {
			l.g.o.Plane.Leave(c.Fragment)
		}
	}
	l.names = []credential{l.names[i]}
}
