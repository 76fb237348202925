package digest

import (
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"hash"
	"sync"
	"time"
)

// A nonce is base64url of
//
//	0        8        16                32
//	+--------+--------+-----------------+
//	| time   | random | HMAC-SHA-256/128|
//	+--------+--------+-----------------+
//
// time is Unix nanoseconds of issue, big endian. Nothing binds it to a source:
// a phone behind a NAT may change its port between challenge and answer.
const (
	nonceBytes = 32
	macOffset  = 16
)

// nonces issues nonces without memory and remembers, for those that were used,
// which counts have been seen.
type nonces struct {
	macs     *sync.Pool // of hash.Hash, keyed: a new one costs more than its use
	lifetime time.Duration
	limit    int

	mu    sync.Mutex // guards the fields below
	used  map[[8]byte]*window
	ring  [][8]byte // the remembered nonces, oldest use at next
	next  int
	floor int64 // nonces issued at or before it are stale: their windows may be forgotten
}

// window is the sliding window of counts of one nonce: bit i of seen is count
// highest-i. Requests of one phone may overtake each other, so a lower count is
// good once; a phone rarely has more than a few requests under way.
type window struct {
	issued  int64
	highest uint32
	seen    uint64
}

func newNonces(lifetime time.Duration, limit int) *nonces {
	return &nonces{macs: keyedMACs(), lifetime: lifetime, limit: limit, used: make(map[[8]byte]*window)}
}

// keyedMACs is a pool of HMAC-SHA-256 under one random key.
func keyedMACs() *sync.Pool {
	key := randomKey()
	return &sync.Pool{New: func() any { return hmac.New(sha256.New, key) }}
}

func (n *nonces) issue(now time.Time) string {
	var b [nonceBytes]byte
	binary.BigEndian.PutUint64(b[:], uint64(now.UnixNano())) //nolint:gosec // positive until 2262
	_, _ = rand.Read(b[8:macOffset])                         // never fails, see crypto/rand
	copy(b[macOffset:], n.mac(b[:macOffset]))
	return base64.RawURLEncoding.EncodeToString(b[:])
}

func (n *nonces) mac(b []byte) []byte {
	m := n.macs.Get().(hash.Hash) //nolint:errcheck,forcetypeassert // the pool holds nothing else
	defer n.macs.Put(m)
	m.Reset()
	m.Write(b)
	return m.Sum(nil)[:nonceBytes-macOffset]
}

// use reports whether the nonce is ours and alive and the count is new, and
// marks it used. It is called only after the response has been verified: state
// moves after authentication. A count of 0 means no qop: the nonce is good once.
func (n *nonces) use(text string, count uint32, now time.Time) bool {
	id, issued, ok := n.open(text)
	if !ok {
		return false
	}
	if age := now.UnixNano() - issued; age < 0 || age > int64(n.lifetime) {
		return false
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	if issued <= n.floor {
		return false
	}
	w := n.used[id]
	if w == nil {
		w = n.remember(id, issued)
		if count == 0 {
			w.highest, w.seen = ^uint32(0), ^uint64(0)
			return true
		}
	}
	return w.take(count)
}

// open takes a nonce of ours apart, whatever its age.
func (n *nonces) open(text string) (id [8]byte, issued int64, ok bool) {
	b, err := base64.RawURLEncoding.DecodeString(text)
	if err != nil || len(b) != nonceBytes || !hmac.Equal(b[macOffset:], n.mac(b[:macOffset])) {
		return id, 0, false
	}
	copy(id[:], b[8:macOffset])
	return id, int64(binary.BigEndian.Uint64(b)), true //nolint:gosec // our own number
}

// remember makes room: the window that goes takes all nonces of its age with
// it, so that none of them can be replayed.
func (n *nonces) remember(id [8]byte, issued int64) *window {
	w := &window{issued: issued}
	if len(n.ring) < n.limit {
		n.ring = append(n.ring, id)
	} else {
		old := n.ring[n.next]
		n.floor = max(n.floor, n.used[old].issued)
		delete(n.used, old)
		n.ring[n.next] = id
		n.next = (n.next + 1) % n.limit
	}
	n.used[id] = w
	return w
}

func (w *window) take(count uint32) bool {
	switch {
	case count == 0:
		return false
	case count > w.highest:
		if shift := count - w.highest; shift < 64 {
			w.seen = w.seen<<shift | 1
		} else {
			w.seen = 1
		}
		w.highest = count
		return true
	case w.highest-count >= 64:
		return false
	}
	bit := uint64(1) << (w.highest - count)
	if w.seen&bit != 0 {
		return false
	}
	w.seen |= bit
	return true
}
