package pace

import (
	"context"
	"slices"
	"sync"
	"time"

	"github.com/pion/rtp"
	"github.com/prometheus/client_golang/prometheus"
)

const (
	// burstTime is what may leave at once: as much as the line carries in this time, at least one full packet. A voice waits no
	// longer behind it.
	burstTime = 4 * time.Millisecond
	// fullPacket is the largest packet that leaves as a burst of one.
	fullPacket = 1500
	// shortestPause bounds how often the goroutine wakes.
	shortestPause = time.Millisecond
	// roundPackets bounds what one site sends in one round.
	roundPackets = 64
)

// Batch collects the datagrams of a round; it is the media plane.
type Batch interface {
	Begin()
	End()
}

// Writer takes a packet when its time has come. It is called by the goroutine of Run.
type Writer interface {
	WriteRTP(header *rtp.Header, payload []byte) (int, error)
}

// Pacer sends for all sites.
type Pacer struct {
	batch   Batch
	metrics metrics
	wake    chan struct{} // a site has something to send again

	mu    sync.Mutex // guards sites
	sites []*Site
}

// What is refused, as a label.
const (
	refusedFrame  = "frame"
	refusedRepair = "retransmission"
)

type metrics struct {
	waited   prometheus.Histogram
	refused  *prometheus.CounterVec
	deferred prometheus.Counter
}

// New makes a pacer; nothing is sent before Run. A nil registry keeps its metrics private.
func New(batch Batch, registry prometheus.Registerer) *Pacer {
	p := &Pacer{batch: batch, wake: make(chan struct{}, 1), metrics: metrics{
		waited: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name: "linehall_sfu_pace_seconds", Help: "How long packets waited for their turn on a leased line.",
			Buckets: []float64{0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2},
		}),
		refused: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "linehall_sfu_pace_refused_total", Help: "Frames and retransmissions for which a line had no time.",
		}, []string{"kind"}),
		deferred: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "linehall_sfu_keyframes_deferred_total", Help: "Tries to ask for a keyframe that had to wait because another one was on the line.",
		}),
	}}
	for _, kind := range []string{refusedFrame, refusedRepair} {
		p.metrics.refused.WithLabelValues(kind)
	}
	if registry != nil {
		registry.MustRegister(p.metrics.waited, p.metrics.refused, p.metrics.deferred)
	}
	return p
}

// Site makes the queue of a line. It holds nothing back until its rate is set.
func (p *Pacer) Site() *Site {
	s := &Site{pacer: p, at: time.Now(), credit: fullPacket}
	s.rate.Store(unlimited)
	p.mu.Lock()
	p.sites = append(p.sites, s)
	p.mu.Unlock()
	return s
}

// Run sends until ctx ends.
func (p *Pacer) Run(ctx context.Context) {
	timer := time.NewTimer(0)
	defer timer.Stop()
	var sites []*Site
	for {
		p.mu.Lock()
		sites = append(sites[:0], p.sites...)
		p.mu.Unlock()
		if pause, waiting := p.round(sites, time.Now()); waiting {
			timer.Reset(max(pause, shortestPause))
		} else {
			timer.Stop()
		}
		select {
		case <-ctx.Done():
			return
		case <-p.wake:
		case <-timer.C:
		}
	}
}

// round sends what is due and says when the next packet is, if one waits.
func (p *Pacer) round(sites []*Site, now time.Time) (pause time.Duration, waiting bool) {
	p.batch.Begin()
	defer p.batch.End()
	for _, s := range sites {
		if d, more := s.send(now); more && (!waiting || d < pause) {
			pause, waiting = d, true
		}
	}
	return pause, waiting
}

// rouse wakes the goroutine.
func (p *Pacer) rouse() {
	select {
	case p.wake <- struct{}{}:
	default: // it is about to look anyway
	}
}

// packet waits for its turn. Its memory is used again.
type packet struct {
	flow    *Flow
	to      Writer
	header  rtp.Header
	payload []byte
	wire    int
	at      time.Time
	keyEnd  bool // the last of a keyframe
}

// fifo is a queue of packets that keeps its memory.
type fifo struct {
	list  []*packet
	first int
}

func (q *fifo) empty() bool { return q.first == len(q.list) }

func (q *fifo) push(p *packet) {
	if q.first > 0 && len(q.list) == cap(q.list) {
		q.list = slices.Delete(q.list, 0, q.first)
		q.first = 0
	}
	q.list = append(q.list, p)
}

func (q *fifo) pop() *packet {
	p := q.list[q.first]
	q.list[q.first] = nil
	q.first++
	if q.empty() {
		q.list, q.first = q.list[:0], 0
	}
	return p
}
