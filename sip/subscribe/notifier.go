package subscribe

import (
	"context"
	"log/slog"
	"time"

	"linehall/internal/observe"
	"linehall/sip/stack"
)

// notice is one NOTIFY on its way: a copy of what its subscription was when it became due, so
// that the document is made without a lock.
type notice struct {
	sub     *subscription
	seq     uint32
	version uint32 // of the document, from 0
	state   string // Subscription-State
	full    bool
	numbers []string            // whom to tell of, in order
	before  map[string]seenLamp // what the watcher knows; read only
	flow    stack.Flow
	last    bool
	asked   bool // the last one is an answer

	after map[string]seenLamp // what it knows when this one has arrived
	left  []string            // of whom more follows: it did not fit
}

// notify is the goroutine that sends. It follows the board, expires subscriptions, and lets
// NOTIFYs out at the rate that the calls leave for them (throttle.go).
func (s *Service) notify(ctx context.Context) error {
	timer := time.NewTimer(0)
	defer timer.Stop()
	tokens := bucket{size: burst}
	changed := map[string]aspect{}
	sweep := time.Now()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-timer.C:
		case <-s.wakes:
		}
		s.board.collect(changed)
		if len(changed) > 0 {
			s.spread(changed, time.Now()) //nolint:contextcheck // what it starts lives with the service
			clear(changed)
		}
		if now := time.Now(); !now.Before(sweep) {
			sweep = now.Add(min(s.expirePublished(now), time.Minute))
		}
		timer.Reset(min(s.round(ctx, &tokens), time.Until(sweep)))
	}
}

// burst is how many NOTIFYs may leave at once: a millisecond's worth when nothing else happens,
// so that a late timer costs no rate.
const burst = 32

// spread marks the subscriptions that watch the numbers.
func (s *Service) spread(changed map[string]aspect, now time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for number, what := range changed {
		if what&aspectPhone != 0 {
			s.wakePhone(number, now)
		}
		if what&aspectDialogs != 0 {
			s.tell(topic{eventDialog, number}, now)
		}
		if what&(aspectDialogs|aspectPresence) != 0 {
			s.tell(topic{eventPresence, number}, now)
		}
		if what&aspectMessages != 0 {
			s.tell(topic{eventSummary, number}, now)
		}
		if what&aspectSettings != 0 {
			s.tell(topic{eventFeatures, number}, now)
		}
		if what&(aspectPhone|aspectMessages) != 0 {
			s.offerSummary(number)
		}
	}
}

func (s *Service) tell(t topic, now time.Time) {
	for sub := range s.watching[t] {
		sub.tell(t.number, now)
		s.schedule(sub)
	}
}

// wakePhone lets out what waits for a phone that is back. It looks at all subscriptions: phones
// come back rarely, and an index would have to be kept for each NOTIFY.
func (s *Service) wakePhone(extension string, now time.Time) {
	if s.owned[extension] == 0 {
		return
	}
	bindings := s.o.Locations.Lookup(s.aor(extension))
	for _, sub := range s.subs {
		if sub.owner != extension {
			continue
		}
		// A phone behind a NAT keeps its contact and gets another address.
		for _, b := range bindings {
			if !sub.flow.Stream() && !b.Flow.Stream() && b.Contact == sub.dialog.Target && b.Flow != sub.flow && len(sub.dialog.Routes) == 0 {
				sub.flow = b.Flow
				s.save(sub)
			}
		}
		sub.wake(now)
		s.schedule(sub)
	}
}

// round sends what is due and returns how long to sleep.
func (s *Service) round(ctx context.Context, tokens *bucket) time.Duration {
	rate := s.limits.Rate
	if !s.board.quiet(time.Now()) {
		rate = s.limits.BusyRate
	}
	for ctx.Err() == nil {
		now := time.Now()
		wait := tokens.take(now, s.throttle.rate(rate))
		if wait > 0 {
			return wait
		}
		n, pause := s.next(now)
		if n == nil {
			tokens.giveBack()
			return pause
		}
		poke(s.throttle.active)
		s.launch(ctx, n)
	}
	return time.Hour
}

// next takes the next NOTIFY that is due, or says how long there is none.
func (s *Service) next(now time.Time) (*notice, time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for {
		sub := s.queue.first()
		if sub == nil {
			return nil, time.Hour
		}
		if sub.at.After(now) {
			return nil, sub.at.Sub(now)
		}
		if !sub.expires.After(now) && sub.ending == "" {
			s.log.Debug("subscription expired", slog.String(observe.Extension, sub.owner), slog.String("event", sub.event))
			sub.end(reasonTimeout, now)
		}
		if n := s.ready(sub, now); n != nil {
			return n, 0
		}
	}
}

// ready makes the notice of a subscription at the head of the queue, or puts it elsewhere; mu
// is held.
func (s *Service) ready(sub *subscription, now time.Time) *notice {
	due, ok := sub.due()
	if !ok || due.After(now) {
		s.schedule(sub)
		return nil
	}
	d := s.doors[sub.flow]
	if d != nil && d.flights >= s.limits.PerPhone {
		sub.waiting = true
		d.waiting = append(d.waiting, sub)
		s.queue.drop(sub)
		return nil
	}
	if !s.numbered(sub) {
		s.save(sub)
		s.queue.set(sub, now.Add(s.limits.WriteLag))
		return nil
	}
	n := &notice{
		sub: sub, seq: sub.cseq.Value, version: sub.version.Value - 1, state: sub.state(now),
		full: sub.full, flow: sub.flow, last: sub.ending != "", asked: sub.asked, before: sub.known,
	}
	n.numbers = sub.lamps.numbers
	if sub.list && !n.full {
		n.numbers = make([]string, 0, len(sub.pending))
		for _, number := range sub.lamps.numbers { // in the order of the keys
			if sub.pending[number] {
				n.numbers = append(n.numbers, number)
			}
		}
	}
	sub.full, sub.pending = false, nil
	s.metrics.lag.Observe(now.Sub(sub.since).Seconds())
	sub.sent(now, s.pace)
	if sub.cseq.low() || sub.version.low() {
		s.save(sub)
	}
	if d == nil {
		d = &door{}
		s.doors[sub.flow] = d
	}
	d.flights++
	s.schedule(sub)
	return n
}

// numbered takes the next CSeq and version. It fails while the store has to raise a ceiling;
// one that cannot be written does not stop the lamps.
func (s *Service) numbered(sub *subscription) bool {
	for _, c := range []*counter{&sub.cseq, &sub.version} {
		if c.Value >= c.Ceiling {
			if !s.store.broken.Load() && s.store.db != nil {
				return false
			}
			c.Ceiling += block
		}
	}
	sub.cseq.next()
	sub.version.next()
	return true
}

// landed takes the fate of a notice; mu is not held.
func (s *Service) landed(n *notice, v verdict, after time.Duration, flow stack.Flow) {
	now := time.Now()
	s.mu.Lock()
	defer s.mu.Unlock()
	d := s.doors[n.flow]
	d.flights--
	for len(d.waiting) > 0 {
		next := d.waiting[0]
		d.waiting = d.waiting[1:]
		next.waiting = false
		if s.schedule(next); !next.removed {
			break
		}
	}
	if d.flights == 0 && len(d.waiting) == 0 {
		delete(s.doors, n.flow)
	}
	if !n.sub.removed {
		s.settle(n.sub, n, v, after, flow, now)
	}
	s.wake()
}

func (s *Service) settle(sub *subscription, n *notice, v verdict, after time.Duration, flow stack.Flow, now time.Time) {
	if v == gone && flow.Stream() && !sub.heard {
		// It may have come back before this NOTIFY left over a connection that only looked alive.
		_, sub.heard = s.present(sub.owner, sub.dialog.Target, flow)
	}
	sub.answered(v, after, now, s.pace)
	if sub.over {
		if v != delivered {
			s.log.Info("subscription ended", slog.String(observe.Extension, sub.owner), slog.String("event", sub.event),
				slog.String("resource", sub.resource), slog.Bool("unknown_to_the_phone", v == unknown))
		}
		s.remove(sub)
		return
	}
	if v == delivered {
		sub.known = n.after
		if sub.parked = false; flow != sub.flow {
			sub.flow = flow
			s.save(sub)
		}
		for _, number := range n.left {
			sub.tell(number, now)
		}
		if len(n.left) > 0 {
			sub.hold = now
		}
	} else {
		// The watcher may have got it or not: tell everything with the next one.
		sub.tellAll(now)
	}
	s.schedule(sub)
}

// bucket is a token bucket of one NOTIFY per token.
type bucket struct {
	size   float64
	tokens float64
	last   time.Time
}

// take takes a token or says how long to wait for some.
func (b *bucket) take(now time.Time, rate int) time.Duration {
	b.tokens = min(b.size, b.tokens+now.Sub(b.last).Seconds()*float64(rate))
	b.last = now
	if b.tokens >= 1 {
		b.tokens--
		return 0
	}
	// Some at a time: a timer per NOTIFY would cost more than the NOTIFY.
	return max(time.Duration(float64(time.Second)*min(8, b.size)/float64(rate)), time.Millisecond)
}

func (b *bucket) giveBack() { b.tokens++ }
