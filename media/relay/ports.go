package relay

import (
	"math/rand/v2"
	"sync"
	"time"
)

// ports hands out pairs of ports, an even one for RTP and the odd one above it for RTCP (RFC 3550 §11). Each search
// begins at a random pair, so that nobody can guess the next one, and passes over pairs that were released lately; when
// only such are left, the one that rested longest serves: a call is worth more than the rest.
type ports struct {
	first      uint16
	quarantine time.Duration
	start      time.Time

	mu    sync.Mutex // guards pairs
	pairs []pair
}

type pair struct {
	used bool
	rest time.Duration // until then, since start
}

func newPorts(first, last uint16, quarantine time.Duration) *ports {
	return &ports{first: first, quarantine: quarantine, start: time.Now(), pairs: make([]pair, (int(last)-int(first)+1)/2)}
}

// take returns the RTP port of a free pair.
func (p *ports) take() (uint16, bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	now, oldest := time.Since(p.start), -1
	begin := rand.IntN(len(p.pairs)) //nolint:gosec // spreads load and hinders guessing; the latch is the protection
	for i := range p.pairs {
		at := (begin + i) % len(p.pairs)
		switch c := &p.pairs[at]; {
		case c.used:
		case c.rest <= now:
			c.used = true
			return p.port(at), true
		case oldest < 0 || c.rest < p.pairs[oldest].rest:
			oldest = at
		}
	}
	if oldest < 0 {
		return 0, false
	}
	p.pairs[oldest].used = true
	return p.port(oldest), true
}

// claim takes a certain pair, for a call that had it before a restart; its rest does not matter.
func (p *ports) claim(port uint16) bool {
	at := (int(port) - int(p.first)) / 2
	if port < p.first || port%2 != 0 || at >= len(p.pairs) {
		return false
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.pairs[at].used {
		return false
	}
	p.pairs[at].used = true
	return true
}

// put gives a pair back to rest.
func (p *ports) put(port uint16) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.pairs[(port-p.first)/2] = pair{rest: time.Since(p.start) + p.quarantine}
}

func (p *ports) port(at int) uint16 { return p.first + uint16(2*at) } //nolint:gosec // within the range
