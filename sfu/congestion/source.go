package congestion

import (
	"sync"
	"time"

	"linehall/internal/site"
	"linehall/media/line"
)

// Source watches what one publisher sends up the line: when its voice arrives, and what is missing. Its methods may be called
// by any goroutine.
type Source struct {
	pool *Pool

	mu      sync.Mutex // guards all below; taken before the pool's
	site    site.ID
	path    *path
	started bool
	newest  uint32
	elapsed int64 // the unwrapped timestamp, in ticks
}

// voiceClock is the rate of Opus timestamps (RFC 7587 §4.1).
const voiceClock = 48000

// Voice takes the timestamp of a voice packet. A browser sends its voice when it was spoken, before everything else, so that
// what the packets take longer is the line's queue.
func (s *Source) Voice(timestamp uint32, now time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	ahead := int64(int32(timestamp - s.newest)) //nolint:gosec // two's complement on purpose
	if !s.started || ahead > 10*voiceClock || ahead < -10*voiceClock {
		s.restart() // another stream, or the clock was set
		ahead = 0
	}
	s.newest, s.elapsed = timestamp, s.elapsed+ahead
	spoken := time.Duration(s.elapsed) * time.Second / voiceClock
	s.pool.mu.Lock()
	s.path.arrive(now, time.Duration(now.UnixNano())-spoken)
	s.pool.mu.Unlock()
}

func (s *Source) restart() {
	s.started, s.elapsed = true, 0
	s.pool.mu.Lock()
	s.path.rebase()
	s.path.slots = [slots]pathSlot{}
	s.pool.mu.Unlock()
}

// Count takes what arrived and what did not since the last time, before any repair.
func (s *Source) Count(arrived, lost int, now time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.pool.mu.Lock()
	defer s.pool.mu.Unlock()
	s.path.count(now, arrived, lost)
}

// Move takes the publisher to another site's line.
func (s *Source) Move(id site.ID) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if id == s.site {
		return
	}
	s.pool.mu.Lock()
	defer s.pool.mu.Unlock()
	s.leave()
	s.site, s.path = id, &path{}
	d := s.pool.direction(id, line.Up)
	d.paths = append(d.paths, s.path)
	s.pool.wake()
}

// Close takes the publisher out of the pool.
func (s *Source) Close() {
	if s == nil {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.pool.mu.Lock()
	defer s.pool.mu.Unlock()
	s.leave()
}
