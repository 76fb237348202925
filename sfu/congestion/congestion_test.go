package congestion_test

import (
	"testing"
	"time"

	"linehall/sfu/congestion"
)

// watch runs and fails when the limit falls under a share of the contract's at any look.
func watch(t *testing.T, b *bottleneck, d time.Duration, least float64) {
	t.Helper()
	for end := b.now.Add(d); b.now.Before(end); {
		b.run(100 * time.Millisecond)
		if float64(b.limit()) < least*float64(b.usable()) {
			t.Fatalf("the limit fell to %d of %d", b.limit(), b.usable())
		}
	}
}

func TestALineAsContractedIsLeftAlone(t *testing.T) {
	for name, set := range map[string]func(*bottleneck){
		"plain":                       func(*bottleneck) {},
		"3 % lost at random":          func(b *bottleneck) { b.loss = 0.03 },
		"80 ms away, 20 ms of jitter": func(b *bottleneck) { b.delay, b.jitter = 80*time.Millisecond, 20*time.Millisecond },
		"both":                        func(b *bottleneck) { b.loss, b.delay, b.jitter = 0.03, 80*time.Millisecond, 20*time.Millisecond },
		"one receiver's network is bad": func(b *bottleneck) {
			b.receivers[1].extra = func() time.Duration { return 150*time.Millisecond - time.Duration(b.now.Unix()%7)*20*time.Millisecond }
			b.receivers[1].loss = 0.25
		},
		"little to send": func(b *bottleneck) { b.demand = 50_000 },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := newBottleneck(t, 2)
			set(b)
			watch(t, b, time.Minute, 1)
			if a := b.verdict.Alarm; a != "" && !(a == congestion.Lossy && b.loss > 0) {
				t.Errorf("alarm %q", a)
			}
		})
	}
}

func TestASlowLineIsFoundAndGivenBack(t *testing.T) {
	for name, set := range map[string]func(*bottleneck){
		"queueing":       func(*bottleneck) {},
		"policing":       func(b *bottleneck) { b.policed = true },
		"lossy, jittery": func(b *bottleneck) { b.loss, b.jitter = 0.03, 20*time.Millisecond },
		"one receiver":   func(b *bottleneck) { b.receivers[1].sender.Close(); b.receivers = b.receivers[:1] },
		"REMB": func(b *bottleneck) {
			for _, r := range b.receivers {
				r.remb = true
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := newBottleneck(t, 2)
			set(b)
			b.run(20 * time.Second)
			if b.verdict.Limit != 0 {
				t.Fatalf("a limit of %d on a line as contracted", b.verdict.Limit)
			}
			b.rate = 1_200_000
			b.run(8 * time.Second)
			if got := b.limit(); got > 1_300_000 || got < 700_000 {
				t.Fatalf("%d after 8 s on a line of %d", got, b.rate)
			}
			b.run(45 * time.Second)
			if got := b.limit(); got > 1_350_000 || got < 900_000 {
				t.Fatalf("%d after 45 s on a line of %d", got, b.rate)
			}
			if b.verdict.Alarm != congestion.Slow {
				t.Fatalf("alarm %q on a line of 1.2 instead of 2 Mbit/s", b.verdict.Alarm)
			}
			if q := b.queue(0.99); q > 100*time.Millisecond && name != "REMB" {
				t.Errorf("p99 of the queue is %s, with probes", q)
			}
			t.Logf("limit %d, queue p50 %s p99 %s", b.limit(), b.queue(0.5), b.queue(0.99))
			b.rate = 2_000_000
			began := b.now
			for b.verdict.Limit != 0 && b.now.Sub(began) < 3*time.Minute {
				b.run(time.Second)
			}
			if b.verdict.Limit != 0 {
				t.Fatalf("still limited to %d three minutes after the line is well", b.verdict.Limit)
			}
			t.Logf("given back after %s", b.now.Sub(began))
			b.run(30 * time.Second)
			if b.verdict.Alarm == congestion.Slow || b.verdict.Limit != 0 {
				t.Errorf("afterwards: %+v", b.verdict)
			}
		})
	}
}

func TestWhatALimitDoesNotChangeIsNotOurs(t *testing.T) {
	for name, set := range map[string]func(*bottleneck){
		"the way is longer":     func(b *bottleneck) { b.delay += 90 * time.Millisecond },
		"many packets get lost": func(b *bottleneck) { b.loss = 0.15 },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := newBottleneck(t, 2)
			b.jitter = 10 * time.Millisecond
			b.run(20 * time.Second)
			set(b)
			b.run(20 * time.Second)
			watch(t, b, 40*time.Second, 0.95)
		})
	}
}

func TestWithoutFeedbackItHalvesOnce(t *testing.T) {
	b := newBottleneck(t, 2)
	b.run(10 * time.Second)
	before := b.limit()
	b.deaf = true
	b.run(4 * time.Second)
	half := b.limit()
	if half > before*6/10 {
		t.Fatalf("%d of %d is still sent to receivers that say nothing", half, before)
	}
	b.run(20 * time.Second)
	if b.limit() != half {
		t.Errorf("%d after %d: the silence halves once", b.limit(), half)
	}
	b.deaf = false
	b.run(3 * time.Second)
	if b.limit() != before {
		t.Errorf("%d after the silence, %d before it", b.limit(), before)
	}
}

func TestNobodyLeftForgetsInTheEnd(t *testing.T) {
	b := newBottleneck(t, 1)
	b.rate = 1_000_000
	b.run(30 * time.Second)
	if b.verdict.Limit == 0 {
		t.Fatal("no limit")
	}
	b.receivers[0].sender.Close()
	b.receivers = nil
	b.calls, b.video, b.demand = 0, 0, 0
	for range 12 * 60 * 10 {
		b.now = b.now.Add(100 * time.Millisecond)
		b.pool.Look(b.now)
	}
	if b.verdict.Limit != 0 || b.verdict.Alarm == congestion.Slow {
		t.Errorf("%+v", b.verdict)
	}
}

// TestWithoutTheVerdictTheLineIsFull is the control: the same line with a room that does not listen.
func TestWithoutTheVerdictTheLineIsFull(t *testing.T) {
	b := newBottleneck(t, 2)
	b.rate = 1_200_000
	b.verdict.Limit = 0
	deafRoom(b, 30*time.Second)
	if q := b.queue(0.5); q < 200*time.Millisecond {
		t.Errorf("a room that does not listen meets a queue of %s: this model proves nothing", q)
	}
}

func deafRoom(b *bottleneck, d time.Duration) {
	b.t.Helper()
	b.queues = b.queues[:0]
	for end := b.now.Add(d); b.now.Before(end); {
		b.now = b.now.Add(time.Millisecond)
		b.verdict.Limit = 0
		b.planned = nil
		b.video = b.budget()
		b.step()
	}
}
