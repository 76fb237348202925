package relay

import (
	"sync"
	"time"

	"linehall/media/rtcp"
)

// The quality of each second. Once a second, beside the packet path, the relay looks at what every rated stream has counted
// since, wherever it was counted, and scores that.

const (
	// second is how often streams are scored.
	second = time.Second
	// fixedDelay is what a phone adds to the network: one packet of 20 ms, and as much again to play it out.
	fixedDelay = 40 * time.Millisecond
)

// quality is what a stream knows of its seconds.
type quality struct {
	mu    sync.Mutex // guards what follows; never taken on the packet path
	codec string     // "" : not rated
	begun time.Time  // of the first second with a score
	legs  [2]secondsOf
}

type secondsOf struct {
	before rtcp.Stats
	sum    rtcp.Seconds
}

// Rate has the seconds of both parties scored as sound in that codec (name of the rtpmap); "" ends it.
func (s *Stream) Rate(codec string) {
	s.quality.mu.Lock()
	defer s.quality.mu.Unlock()
	s.quality.codec = codec
}

// Score is what the other side of a leg hears (E-model): the loss of the party's packets and how it is bunched, the delay of
// both ways, and a playout buffer of twice the jitter. trips are the round trips to both parties.
func Score(codec string, s rtcp.Stats, trips [2]time.Duration) float64 {
	return rtcp.MOS(rtcp.Rating(rtcp.Quality{
		Codec: codec, Loss: s.LossRatio(), Burst: s.BurstRatio(), Delay: trips[0]/2 + trips[1]/2 + 2*s.Jitter + fixedDelay,
	}))
}

// score rates what has come since the last time. A second in which a party sent nothing has no score: what was lost in it
// shows with the packet that ends the gap.
func (s *Stream) score(now time.Time) {
	q := &s.quality
	q.mu.Lock()
	defer q.mu.Unlock()
	trips := [2]time.Duration{s.legs[0].trip.Last(), s.legs[1].trip.Last()}
	for i := range q.legs {
		l, stats := &q.legs[i], s.legs[i].rtp().counted()
		since := stats.Since(l.before)
		l.before = stats
		if q.codec == "" || since.Packets+since.Lost == 0 {
			continue
		}
		if q.begun.IsZero() {
			q.begun = now
		}
		l.sum.Add(uint32(now.Sub(q.begun)/second), Score(q.codec, since, trips)) //nolint:gosec // a call lasts less
	}
}

// seconds returns the scores so far.
func (s *Stream) seconds(leg int) rtcp.Seconds {
	s.quality.mu.Lock()
	defer s.quality.mu.Unlock()
	return s.quality.legs[leg].sum
}

// scoreAll scores a second of every stream.
func (r *Relay) scoreAll(now time.Time) {
	r.mu.Lock()
	open := make([]*Stream, 0, len(r.streams))
	for s := range r.streams {
		if !s.spec.Raw {
			open = append(open, s)
		}
	}
	r.mu.Unlock()
	for _, s := range open {
		s.score(now)
	}
}
