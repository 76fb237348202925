package congestion_test

import (
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/pion/interceptor/pkg/twcc"
	"github.com/pion/rtcp"

	"linehall/internal/site"
	"linehall/media/line"
	"linehall/sfu/congestion"
)

// bottleneck is a line in a model of time: a queue that is served at a rate, losses, jitter, receivers that report ten times a
// second, calls that take no notice, and a room that gives out what the verdict leaves, a second late.
type bottleneck struct {
	t   *testing.T
	now time.Time
	rng *rand.Rand

	contract, rate int64
	queueMost      time.Duration
	delay, jitter  time.Duration
	loss           float64
	policed        bool // drops instead of queueing
	deaf           bool // no reports come back
	calls          int64
	demand         int64

	pool      *congestion.Pool
	receivers []*receiver
	verdict   line.Verdict
	video     int64 // bit/s of now
	planned   []plan
	credit    float64
	free      time.Time // when the line has sent everything that waits
	sent      []sample
	queues    []time.Duration // met by packets since the last reset
	tokens    float64
}

type plan struct {
	at  time.Time
	bps int64
}

type sample struct {
	at     time.Time
	octets int
}

type receiver struct {
	sender   *congestion.Sender
	recorder *twcc.Recorder
	on       []landing
	skew     time.Duration
	extra    func() time.Duration // its own wireless network
	loss     float64
	remb     bool // speaks REMB instead
	got      []sample
	said     int64
}

type landing struct {
	at     time.Time
	number uint16
	octets int
}

func newBottleneck(t *testing.T, receivers int) *bottleneck {
	t.Helper()
	b := &bottleneck{
		t: t, now: time.Unix(1_800_000_000, 0), rng: rand.New(rand.NewPCG(5, 38)), //nolint:gosec // a model
		contract: 2_000_000, rate: 2_000_000, queueMost: 300 * time.Millisecond, delay: 8 * time.Millisecond, calls: 400_000, demand: 5_000_000,
	}
	b.pool = congestion.NewPool(b)
	for i := range receivers {
		r := &receiver{recorder: twcc.NewRecorder(1), skew: time.Duration(i+1) * time.Hour}
		r.sender = b.pool.Sender(func(int) int { b.packet(r, 315); return 315 })
		r.sender.Move("branch1")
		b.receivers = append(b.receivers, r)
	}
	return b
}

func (b *bottleneck) usable() int64 { return b.contract * 85 / 100 }

func (b *bottleneck) Load(_ site.ID, d line.Direction) (line.Load, bool) {
	if d != line.Down {
		return line.Load{}, false
	}
	octets := 0
	b.sent = slices.DeleteFunc(b.sent, func(s sample) bool { return b.now.Sub(s.at) > time.Second })
	for _, s := range b.sent {
		octets += s.octets
	}
	return line.Load{Measured: int64(octets)*8 + b.calls, Usable: b.usable(), Given: b.calls + b.budget()}, true
}

func (b *bottleneck) Restrict(_ site.ID, _ line.Direction, v line.Verdict) {
	if v.Limit > b.usable() || v.Limit < 0 {
		b.t.Fatalf("the limit of %d is above the contract's %d", v.Limit, b.usable())
	}
	b.verdict = v
	b.planned = append(b.planned, plan{b.now.Add(700 * time.Millisecond), b.budget()})
}

// budget is what the room may send.
func (b *bottleneck) budget() int64 {
	limit := b.usable()
	if b.verdict.Limit > 0 {
		limit = min(limit, b.verdict.Limit)
	}
	return min(b.demand, max(0, limit-b.calls-100_000))
}

// cross sends octets into the line and says when they come out.
func (b *bottleneck) cross(octets int) (at time.Time, ok bool) {
	if b.free.Before(b.now) {
		b.free = b.now
	}
	took := time.Duration(int64(octets) * 8 * int64(time.Second) / b.rate)
	if b.policed {
		b.tokens = min(20_000, b.tokens)
		if b.tokens < float64(octets) {
			return time.Time{}, false
		}
		b.tokens -= float64(octets)
		return b.now.Add(took), true
	}
	if b.free.Sub(b.now) > b.queueMost {
		return time.Time{}, false
	}
	b.queues = append(b.queues, b.free.Sub(b.now))
	b.free = b.free.Add(took)
	return b.free, true
}

func (b *bottleneck) packet(r *receiver, octets int) {
	number := r.sender.Stamp(b.now, octets)
	b.sent = append(b.sent, sample{b.now, octets})
	at, ok := b.cross(octets)
	if !ok || b.rng.Float64() < b.loss || b.rng.Float64() < r.loss {
		return
	}
	at = at.Add(b.delay)
	if b.jitter > 0 {
		at = at.Add(time.Duration(b.rng.Int64N(int64(b.jitter))))
	}
	if r.extra != nil {
		at = at.Add(r.extra())
	}
	r.on = append(r.on, landing{at, number, octets})
}

// run lets time pass.
func (b *bottleneck) run(d time.Duration) {
	b.t.Helper()
	b.queues = b.queues[:0]
	for end := b.now.Add(d); b.now.Before(end); {
		b.now = b.now.Add(time.Millisecond)
		b.step()
	}
}

func (b *bottleneck) step() {
	ms := b.now.UnixMilli()
	b.tokens += float64(b.rate) / 8 / 1000
	for len(b.planned) > 0 && !b.now.Before(b.planned[0].at) {
		b.video, b.planned = b.planned[0].bps, b.planned[1:]
	}
	if ms%20 == 0 {
		for _, r := range b.receivers {
			b.packet(r, 170) // a voice
		}
		b.cross(int(b.calls / 8 / 50))
	}
	b.credit += float64(b.video) / 8 / 1000
	for i := 0; b.credit > 1100; i++ {
		b.packet(b.receivers[b.rng.IntN(len(b.receivers))], 1100)
		b.credit -= 1100
	}
	if ms%20 == 10 {
		b.pool.Pad(b.now)
	}
	if ms%100 == 50 {
		for _, r := range b.receivers {
			b.report(r)
		}
		b.pool.Look(b.now)
		if len(b.planned) == 0 && b.video != b.budget() {
			b.planned = append(b.planned, plan{b.now.Add(700 * time.Millisecond), b.budget()})
		}
	}
}

// report is the receiver's word on what came until a moment ago.
func (b *bottleneck) report(r *receiver) {
	slices.SortStableFunc(r.on, func(x, y landing) int { return x.at.Compare(y.at) })
	rest := r.on[:0]
	for _, l := range r.on {
		if l.at.After(b.now.Add(-20 * time.Millisecond)) {
			rest = append(rest, l)
			continue
		}
		r.recorder.Record(2, l.number, l.at.Add(r.skew).UnixMicro())
		r.got = append(r.got, sample{l.at, l.octets})
	}
	r.on = rest
	packets := r.recorder.BuildFeedbackPacket()
	if b.deaf {
		return
	}
	if r.remb {
		r.got = slices.DeleteFunc(r.got, func(s sample) bool { return b.now.Sub(s.at) > time.Second })
		octets := 0
		for _, s := range r.got {
			octets += s.octets
		}
		if b.now.UnixMilli()%1000 == 50 { // as libwebrtc: 8 % a second up, not above 1.5 of what comes; 85 % of it when it comes late
			if b.free.Sub(b.now) > 50*time.Millisecond {
				r.said = int64(octets) * 8 * 85 / 100
			} else {
				r.said = max(min(r.said*108/100+10_000, int64(octets)*12+10_000), 300_000)
			}
			r.sender.Estimate(r.said, b.now)
		}
		return
	}
	for _, p := range packets {
		text, err := p.Marshal()
		if err != nil {
			b.t.Fatal(err)
		}
		var again rtcp.TransportLayerCC
		if err := again.Unmarshal(text); err != nil {
			b.t.Fatal(err)
		}
		r.sender.Feedback(&again, b.now)
	}
}

// queue is the one that a share of the packets did not exceed since the last run began.
func (b *bottleneck) queue(share float64) time.Duration {
	sorted := slices.Clone(b.queues)
	slices.Sort(sorted)
	if len(sorted) == 0 {
		return 0
	}
	return sorted[int(float64(len(sorted)-1)*share)]
}

// limit is what is in force.
func (b *bottleneck) limit() int64 {
	if b.verdict.Limit == 0 {
		return b.usable()
	}
	return b.verdict.Limit
}
