package bulk

import (
	"context"
	"sync"
	"time"

	"linehall/internal/site"
	"linehall/media/line"
)

const (
	// segment is what is sent or read at once: the payload of one TCP segment.
	segment = 1400
	// headers are IPv4 and TCP with timestamps (RFC 793, RFC 7323).
	headers = 20 + 32
	// burst may pass at once after a pause: a request, a small answer. 36 ms of a line of 2 Mbit/s.
	burst = 6 * (segment + headers)
	// patience bounds how long a waiter believes in a rate.
	patience = 50 * time.Millisecond
	// linger is how long the guaranteed rate is kept after somebody had to wait.
	linger = 2 * time.Second
)

// Bucket is the share of one site. A nil Bucket holds nothing back.
type Bucket struct {
	site   site.ID
	ledger *line.Ledger
	share  *line.Elastic
	ways   [2]way

	mu     sync.Mutex // guards active and idle
	active bool
	idle   *time.Timer
}

// way is one direction.
type way struct {
	turn chan struct{} // one waiter at a time, in the order of their coming

	mu     sync.Mutex // guards all below
	tokens float64    // octets on the wire; negative after signalling that did not wait
	filled time.Time
}

func newBucket(l *line.Ledger, id site.ID) *Bucket {
	b := &Bucket{site: id, ledger: l}
	for i := range b.ways {
		b.ways[i] = way{turn: make(chan struct{}, 1), tokens: burst, filled: time.Now()}
	}
	b.share = l.Elastic(line.Bulk, id, func(line.Rate) { b.use() })
	return b
}

// Wait returns when so many octets of payload may cross the line, or with the cause of ctx.
func (b *Bucket) Wait(ctx context.Context, d line.Direction, octets int) error {
	if b == nil || octets <= 0 {
		return nil
	}
	w := &b.ways[d]
	select {
	case w.turn <- struct{}{}:
	case <-ctx.Done():
		return context.Cause(ctx)
	}
	defer func() { <-w.turn }()
	wire := b.wire(octets)
	for {
		pause := w.take(time.Now(), wire, b.rate(d))
		if pause == 0 {
			b.count(d, octets)
			return nil
		}
		b.demand()
		timer := time.NewTimer(min(pause, patience))
		select {
		case <-timer.C:
		case <-ctx.Done():
			timer.Stop()
			return context.Cause(ctx)
		}
	}
}

// Pass counts what does not wait; others wait the longer.
func (b *Bucket) Pass(d line.Direction, octets int) {
	if b == nil || octets <= 0 {
		return
	}
	w := &b.ways[d]
	w.mu.Lock()
	w.fill(time.Now(), b.rate(d))
	w.tokens = max(w.tokens-b.wire(octets), -burst)
	w.mu.Unlock()
	b.count(d, octets)
}

// wire is what a payload takes of the line, in octets.
func (b *Bucket) wire(octets int) float64 {
	return float64(octets + packets(octets)*(headers+b.ledger.Overhead(b.site)))
}

func packets(octets int) int { return (octets + segment - 1) / segment }

func (b *Bucket) count(d line.Direction, octets int) {
	n := packets(octets)
	b.ledger.Meter(b.site, d, line.Bulk).Add(int64(n), int64(octets+n*headers))
}

// rate is what a direction may take now, in octets a second: what is left, at least what is guaranteed.
func (b *Bucket) rate(d line.Direction) float64 {
	left := b.share.Budget().In(d)
	if left >= line.Unlimited {
		return 0 // the line is gone since
	}
	return float64(max(left, b.ledger.BulkFloor(b.site, d))) / 8
}

// fill adds what the time since has earned; the caller holds mu.
func (w *way) fill(now time.Time, rate float64) {
	w.tokens = min(burst, w.tokens+rate*now.Sub(w.filled).Seconds())
	w.filled = now
}

// take takes tokens, or says how long to wait for them. Rate 0: nothing is held back.
func (w *way) take(now time.Time, wire, rate float64) time.Duration {
	w.mu.Lock()
	defer w.mu.Unlock()
	if rate == 0 {
		w.filled = now
		return 0
	}
	w.fill(now, rate)
	if w.tokens >= wire {
		w.tokens -= wire
		return 0
	}
	return time.Duration((wire-w.tokens)/rate*float64(time.Second)) + time.Microsecond
}

// demand makes the line keep the guaranteed rate free, until a while after the last call.
func (b *Bucket) demand() {
	b.mu.Lock()
	if b.active {
		b.idle.Reset(linger)
		b.mu.Unlock()
		return
	}
	b.active = true
	b.idle = time.AfterFunc(linger, func() {
		b.mu.Lock()
		b.active = false
		b.mu.Unlock()
		b.ledger.DemandBulk(b.site, false)
		b.use()
	})
	b.mu.Unlock()
	b.ledger.DemandBulk(b.site, true)
	b.use()
}

// use tells the line what is taken of it: all that may be, while somebody waits. Who paces video holds back as much.
func (b *Bucket) use() {
	b.mu.Lock()
	active := b.active
	b.mu.Unlock()
	if b.share == nil {
		return
	}
	rate := line.Rate{}
	if active {
		rate = line.Rate{Up: int64(b.rate(line.Up) * 8), Down: int64(b.rate(line.Down) * 8)}
	}
	b.share.Use(rate)
}
