package pace

import (
	"math"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/pion/rtp"
)

const (
	unlimited = math.MaxInt64
	// thinDelay is the wait beyond which only frames of the base are admitted, maxDelay that beyond which none are: a keyframe
	// of the largest picture may take that long on the narrowest line.
	thinDelay = 200 * time.Millisecond
	maxDelay  = time.Second
	// maxQueued bounds the octets of a site whatever its rate.
	maxQueued = 4 << 20
	// maxRepairs bounds the retransmissions that wait; the receiver asks again for those that are refused.
	maxRepairs = 64
	// A claim to a keyframe ends by itself when none came, or when it does not get through.
	claimTime = 1500 * time.Millisecond
	flyTime   = 3 * time.Second
)

// Site is the queue of one line, towards the branch.
type Site struct {
	pacer    *Pacer
	rate     atomic.Int64 // bit/s on the wire; unlimited: nothing is held back
	overhead atomic.Int64 // octets that the line adds to an IP packet

	mu      sync.Mutex // guards all below; nothing is sent while it is held
	queued  [classes]int
	repairs fifo
	flows   []*Flow
	turn    int     // whose turn it is
	credit  float64 // octets that may leave now
	at      time.Time
	claim   claim
	free    []*packet
	out     []*packet // of the round under way; owned by the goroutine of Run
}

type class uint8

const (
	repair class = iota
	content
	video
	classes
)

// claim is a keyframe on its way.
type claim struct {
	flow  *Flow
	since time.Time
	came  bool // it is in the queue
}

// Flow is one m-line of a subscriber behind the line.
type Flow struct {
	site    *Site
	held    atomic.Int32 // packets in waiting, to be read without the lock
	waiting fifo
	class   class // of its frames
	closed  bool
}

// SetRate sets what content, video and retransmissions may take together, in bit/s on the wire. It may be called from
// anywhere and takes effect at once. Without a line: nothing is held back.
func (s *Site) SetRate(bps int64, overhead int, line bool) {
	if !line {
		bps = unlimited
	}
	s.overhead.Store(int64(overhead))
	if bps = max(0, bps); s.rate.Swap(bps) != bps {
		s.pacer.rouse()
	}
}

// Flow adds an m-line.
func (s *Site) Flow() *Flow {
	f := &Flow{site: s, class: video}
	s.mu.Lock()
	s.flows = append(s.flows, f)
	s.mu.Unlock()
	return f
}

// SetContent says whether the m-line shows a shared screen.
func (f *Flow) SetContent(shared bool) {
	f.site.mu.Lock()
	defer f.site.mu.Unlock()
	to := video
	if shared {
		to = content
	}
	for _, p := range f.waiting.list[f.waiting.first:] {
		f.site.queued[f.class] -= p.wire
		f.site.queued[to] += p.wire
	}
	f.class = to
}

// Close drops what waits.
func (f *Flow) Close() {
	s := f.site
	s.mu.Lock()
	defer s.mu.Unlock()
	f.closed = true
	for !f.waiting.empty() {
		p := f.waiting.pop()
		f.held.Add(-1)
		s.queued[f.class] -= p.wire
		s.recycle(p)
	}
	if s.claim.flow == f {
		s.claim = claim{}
	}
	s.flows = slices.DeleteFunc(s.flows, func(o *Flow) bool { return o == f })
}

// Admit says at the first packet of a frame whether there is time for it: for every frame, for those of the base only, or for
// none.
func (f *Flow) Admit() (all, base bool) {
	s := f.site
	rate := s.rate.Load()
	if rate == unlimited {
		return true, true
	}
	s.mu.Lock()
	waiting := s.queued[repair] + s.queued[content]
	if f.class == video {
		waiting += s.queued[video]
	}
	s.mu.Unlock()
	if waiting == 0 && rate > 0 {
		return true, true
	}
	delay := time.Duration(maxDelay)
	if rate > 0 {
		delay = time.Duration(float64(waiting) * 8 / float64(rate) * float64(time.Second))
	}
	base = delay < maxDelay && waiting < maxQueued
	if !base {
		s.pacer.metrics.refused.WithLabelValues(refusedFrame).Inc()
	}
	return delay < thinDelay, base
}

// Claim asks for the right to ask for a keyframe; the flow keeps it until the keyframe has left.
func (f *Flow) Claim(now time.Time) bool {
	s := f.site
	if s.rate.Load() == unlimited {
		return true
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	c := &s.claim
	over := c.flow == nil || now.Sub(c.since) > claimTime && !c.came || now.Sub(c.since) > flyTime
	switch {
	case f.closed:
		return false
	case c.flow == f && !over:
		return true
	case !over:
		s.pacer.metrics.deferred.Inc()
		return false
	}
	*c = claim{flow: f, since: now}
	return true
}

// Send takes a packet of a frame that was admitted, or part of which was; false: nothing is held back, the caller sends. Header
// and payload are borrowed until it returns; the header has no extensions.
func (f *Flow) Send(to Writer, h *rtp.Header, payload []byte, octets int, keyframe bool) bool {
	s := f.site
	if s.rate.Load() == unlimited && f.held.Load() == 0 {
		return false
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if f.closed {
		return false
	}
	idle := s.idle()
	p := s.packet(f, to, h, payload, octets)
	p.keyEnd = keyframe && h.Marker
	if keyframe && s.claim.flow == f {
		s.claim.came = true
	}
	f.waiting.push(p)
	f.held.Add(1)
	s.queued[f.class] += p.wire
	if idle {
		s.pacer.rouse()
	}
	return true
}

// Repair takes a retransmission. sent: the caller need not; otherwise nothing is held back. A refused one counts as sent: it is
// asked for again.
func (f *Flow) Repair(to Writer, h *rtp.Header, payload []byte, octets int) (sent bool) {
	s := f.site
	if s.rate.Load() == unlimited {
		return false
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.repairs.list)-s.repairs.first >= maxRepairs || f.closed {
		s.pacer.metrics.refused.WithLabelValues(refusedRepair).Inc()
		return true
	}
	idle := s.idle()
	p := s.packet(f, to, h, payload, octets)
	s.repairs.push(p)
	s.queued[repair] += p.wire
	if idle {
		s.pacer.rouse()
	}
	return true
}

// idle says that nothing waits; the caller holds mu.
func (s *Site) idle() bool { return s.queued[repair]+s.queued[content]+s.queued[video] == 0 }

// packet copies one; the caller holds mu.
func (s *Site) packet(f *Flow, to Writer, h *rtp.Header, payload []byte, octets int) *packet {
	var p *packet
	if n := len(s.free); n > 0 {
		p, s.free = s.free[n-1], s.free[:n-1]
	} else {
		p = &packet{payload: make([]byte, 0, fullPacket)}
	}
	p.flow, p.to, p.header, p.payload = f, to, *h, append(p.payload[:0], payload...)
	p.wire, p.at, p.keyEnd = octets+int(s.overhead.Load()), time.Now(), false
	return p
}

// recycle keeps a packet's memory; the caller holds mu.
func (s *Site) recycle(p *packet) {
	p.flow, p.to = nil, nil
	s.free = append(s.free, p)
}

// send lets go what is due, and says when the next one is, if one waits. Called by the goroutine of Run.
func (s *Site) send(now time.Time) (pause time.Duration, waiting bool) {
	s.mu.Lock()
	s.out = s.out[:0]
	s.refill(now)
	for s.credit > 0 && len(s.out) < roundPackets {
		p := s.next()
		if p == nil {
			break
		}
		s.credit -= float64(p.wire)
		s.out = append(s.out, p)
	}
	waiting = !s.idle()
	if waiting {
		pause = s.untilCredit()
	}
	s.mu.Unlock()
	for _, p := range s.out {
		s.pacer.metrics.waited.Observe(now.Sub(p.at).Seconds())
		_, _ = p.to.WriteRTP(&p.header, p.payload) // the connection is closing; its owner knows
	}
	s.finish()
	return pause, waiting
}

// finish takes back what was sent, and ends the claim of a keyframe that is through.
func (s *Site) finish() {
	if len(s.out) == 0 {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, p := range s.out {
		if p.keyEnd && s.claim.flow == p.flow {
			s.claim = claim{}
		}
		s.recycle(p)
	}
}

// refill gives the credit of the time passed.
func (s *Site) refill(now time.Time) {
	passed := now.Sub(s.at)
	s.at = now
	rate := s.rate.Load()
	if rate == unlimited {
		s.credit = unlimited
		return
	}
	perSecond := float64(rate) / 8
	most := max(fullPacket, perSecond*burstTime.Seconds())
	s.credit = min(most, s.credit+perSecond*max(0, passed.Seconds()))
}

// untilCredit is the time until something may leave.
func (s *Site) untilCredit() time.Duration {
	rate := s.rate.Load()
	switch {
	case s.credit > 0:
		return 0
	case rate == 0:
		return maxDelay // a new rate wakes the goroutine
	}
	return time.Duration(-s.credit * 8 / float64(rate) * float64(time.Second))
}

// next takes the packet whose turn it is; nil: none waits.
func (s *Site) next() *packet {
	if !s.repairs.empty() {
		p := s.repairs.pop()
		s.queued[repair] -= p.wire
		return p
	}
	for _, c := range []class{content, video} {
		if s.queued[c] == 0 {
			continue
		}
		for range s.flows {
			s.turn = (s.turn + 1) % len(s.flows)
			if f := s.flows[s.turn]; f.class == c && !f.waiting.empty() {
				p := f.waiting.pop()
				f.held.Add(-1)
				s.queued[c] -= p.wire
				return p
			}
		}
	}
	return nil
}
