package stack

import (
	"net/netip"
	"sync"
	"time"
)

// verdict says what the filter before the parser thinks of a datagram; its
// text is the reason label of linehall_dropped_total.
type verdict string

const (
	admitted  verdict = ""
	keepAlive verdict = "keep_alive"
	stun      verdict = "stun"
	garbage   verdict = "garbage"
	tooLarge  verdict = "too_large"
	rateLimit verdict = "rate_limit"
	banned    verdict = "banned"
)

// admission decides before a byte is parsed: it allocates nothing per datagram
// and remembers a bounded number of sources.
type admission struct {
	limits Limits
	filter Filter // nil: nobody is kept out

	mu      sync.Mutex // guards buckets and order
	buckets map[netip.Addr]*bucket
	order   []netip.Addr // ring of the remembered sources, oldest at next
	next    int
}

type bucket struct {
	tokens float64
	at     time.Time
}

// Filter keeps out sources that somebody else found to be hostile. It is asked
// for each datagram and each message of a stream before anything is parsed,
// when a connection is opened, and for each response: what somebody has asked
// before he was kept out is not answered after it. It must not block.
type Filter interface {
	Admit(remote netip.AddrPort, transport string) bool
}

// Gate holds back requests of senders that nobody vouches for until there is time for them. It is asked for each new
// request outside of dialogs, before its transaction begins; req has no Tx. When it returns false it has the request: it
// calls enter later, once and from any goroutine, or never. It is asked again for each repetition of a request that it
// has, by the key of its transaction. It must not block.
type Gate interface {
	Enter(req *Request, key string, enter func()) bool
}

func newAdmission(l Limits, f Filter) *admission {
	return &admission{limits: l, filter: f, buckets: make(map[netip.Addr]*bucket), order: make([]netip.Addr, 0, l.Sources)}
}

// keptOut reports whether the filter does not want anything from there.
func (a *admission) keptOut(remote netip.AddrPort, transport string) bool {
	return a.filter != nil && !a.filter.Admit(remote, transport)
}

func (a *admission) datagram(data []byte, remote netip.AddrPort) verdict {
	if a.keptOut(remote, UDP) {
		return banned
	}
	if isKeepAlive(data) {
		return keepAlive
	}
	if !a.allow(remote.Addr(), time.Now()) {
		return rateLimit
	}
	switch {
	case len(data) > a.limits.MessageBytes:
		return tooLarge
	case isSTUN(data):
		return stun
	case !looksLikeSIP(data):
		return garbage
	}
	return admitted
}

// isKeepAlive knows CRLF keep-alives and the NULs and single bytes that some
// phones send to hold a NAT binding.
func isKeepAlive(data []byte) bool {
	if len(data) > 4 {
		return false
	}
	for _, c := range data {
		if c != '\r' && c != '\n' && c != 0 {
			return false
		}
	}
	return true
}

// isSTUN follows RFC 8489 §5: two zero bits and the magic cookie.
func isSTUN(data []byte) bool {
	return len(data) >= 20 && data[0]&0xc0 == 0 &&
		data[4] == 0x21 && data[5] == 0x12 && data[6] == 0xa4 && data[7] == 0x42
}

// longestStartLine leaves room for a Request-URI twice as long as we take.
const longestStartLine = 4096

// looksLikeSIP wants a first line of printable characters that mentions SIP/
// within what a start line may take; everything else is not worth a parser.
func looksLikeSIP(data []byte) bool {
	sip := false
	for i, c := range data {
		switch {
		case c == '\r' || c == '\n':
			return sip
		case c < 0x20 || c == 0x7f || i > longestStartLine:
			return false
		case c == '/' && i >= 3 && data[i-3]|0x20 == 's' && data[i-2]|0x20 == 'i' && data[i-1]|0x20 == 'p':
			sip = true
		}
	}
	return false
}

// allow takes a token of the source's bucket. A new source beyond the table's
// size takes the place of the oldest, so a flood of forged addresses costs a
// phone at most the memory of its bucket, which then starts full.
func (a *admission) allow(from netip.Addr, now time.Time) bool {
	key := SourceKey(from)
	a.mu.Lock()
	defer a.mu.Unlock()
	b := a.buckets[key]
	if b == nil {
		b = &bucket{tokens: a.limits.SourceBurst, at: now}
		a.remember(key)
		a.buckets[key] = b
	}
	b.tokens = min(a.limits.SourceBurst, b.tokens+now.Sub(b.at).Seconds()*a.limits.SourceRate)
	b.at = now
	if b.tokens < 1 {
		return false
	}
	b.tokens--
	return true
}

func (a *admission) remember(key netip.Addr) {
	if len(a.order) < cap(a.order) {
		a.order = append(a.order, key)
		return
	}
	delete(a.buckets, a.order[a.next])
	a.order[a.next] = key
	a.next = (a.next + 1) % len(a.order)
}

// SourceKey counts an IPv6 site's /64 as one source.
func SourceKey(a netip.Addr) netip.Addr {
	a = a.Unmap().WithZone("")
	if a.Is6() {
		p, err := a.Prefix(64)
		if err == nil {
			return p.Addr()
		}
	}
	return a
}
