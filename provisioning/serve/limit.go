package serve

import (
	"net/netip"
	"sync"
	"time"

	"golang.org/x/time/rate"
)

// perSource is what one address may ask for in the long run.
const perSource rate.Limit = 10

const (
	// burst is what it may ask for at once: a site behind one address has up
	// to 70 phones with four files each.
	burst = 400
	// maxSources bounds the table; it is fed by the network.
	maxSources = 4096
	// idle is when a source's bucket is full again and can be forgotten.
	idle = burst / 10 * time.Second
)

// limiter keeps a token bucket per source address.
type limiter struct {
	now func() time.Time

	mu      sync.Mutex // guards sources
	sources map[netip.Addr]*source
}

type source struct {
	bucket *rate.Limiter
	last   time.Time
}

// allow reports whether the source may ask now. When the table is full of
// busy sources, new ones are refused: that is a flood of forged addresses.
func (l *limiter) allow(from netip.Addr) bool {
	now := l.now()
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.sources == nil {
		l.sources = map[netip.Addr]*source{}
	}
	s, ok := l.sources[from]
	if !ok {
		if len(l.sources) >= maxSources {
			l.forget(now)
		}
		if len(l.sources) >= maxSources {
			return false
		}
		s = &source{bucket: rate.NewLimiter(perSource, burst)}
		l.sources[from] = s
	}
	s.last = now
	return s.bucket.AllowN(now, 1)
}

func (l *limiter) forget(now time.Time) {
	for from, s := range l.sources {
		if now.Sub(s.last) > idle {
			delete(l.sources, from)
		}
	}
}
