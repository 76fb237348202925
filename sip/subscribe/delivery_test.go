package subscribe

import (
	"testing"
	"time"

	"pgregory.net/rapid"
)

var testPace = pace{interval: 200 * time.Millisecond, backoff: time.Second, longest: time.Minute, maxFailures: 3}

func TestDelivery(t *testing.T) {
	t0 := time.Unix(1000, 0)
	for _, tt := range []struct {
		name string
		do   func(d *delivery)
		due  time.Duration // after t0; -1: nothing to send
		over bool
	}{
		{"nothing happened", func(*delivery) {}, -1, false},
		{"changed", func(d *delivery) { d.changed(t0) }, -1000 * time.Second, false},
		{"in flight", func(d *delivery) { d.changed(t0); d.sent(t0, testPace); d.changed(t0) }, -1, false},
		{"delivered, nothing new", func(d *delivery) { d.changed(t0); d.sent(t0, testPace); d.answered(delivered, 0, t0, testPace) }, -1, false},
		{"delivered, something new", func(d *delivery) {
			d.changed(t0)
			d.sent(t0, testPace)
			d.changed(t0)
			d.answered(delivered, 0, t0, testPace)
		}, 200 * time.Millisecond, false},
		{"unanswered once", func(d *delivery) { d.changed(t0); d.sent(t0, testPace); d.answered(busy, 0, t0, testPace) }, time.Second, false},
		{"unanswered twice", func(d *delivery) {
			for range 2 {
				d.changed(t0)
				d.sent(t0, testPace)
				d.answered(busy, 0, t0, testPace)
			}
		}, 2 * time.Second, false},
		{"asked to wait", func(d *delivery) { d.changed(t0); d.sent(t0, testPace); d.answered(busy, 9*time.Second, t0, testPace) }, 9 * time.Second, false},
		{"unanswered too often", func(d *delivery) {
			for range 3 {
				d.changed(t0)
				d.sent(t0, testPace)
				d.answered(busy, 0, t0, testPace)
			}
		}, -1, true},
		{"unknown to the phone", func(d *delivery) { d.changed(t0); d.sent(t0, testPace); d.answered(unknown, 0, t0, testPace) }, -1, true},
		{"connection gone", func(d *delivery) { d.changed(t0); d.sent(t0, testPace); d.answered(gone, 0, t0, testPace) }, time.Minute, false},
		{"and back", func(d *delivery) {
			d.changed(t0)
			d.sent(t0, testPace)
			d.answered(gone, 0, t0, testPace)
			d.wake(t0)
		}, 0, false},
		{"back before we knew that it had gone", func(d *delivery) {
			d.changed(t0)
			d.sent(t0, testPace)
			d.wake(t0)
			d.answered(gone, 0, t0, testPace)
		}, 200 * time.Millisecond, false},
		{"ended while in flight", func(d *delivery) {
			d.changed(t0)
			d.sent(t0, testPace)
			d.end(reasonTimeout, t0)
			d.answered(delivered, 0, t0, testPace)
		}, 200 * time.Millisecond, false},
		{"the last one answered", func(d *delivery) {
			d.end(reasonTimeout, t0)
			d.sent(t0, testPace)
			d.answered(delivered, 0, t0, testPace)
		}, -1, true},
		{"the last one lost", func(d *delivery) {
			d.end(reasonTimeout, t0)
			d.sent(t0, testPace)
			d.answered(busy, 0, t0, testPace)
		}, -1, true},
		{"the last one without a connection", func(d *delivery) {
			d.end(reasonTimeout, t0)
			d.sent(t0, testPace)
			d.answered(gone, 0, t0, testPace)
		}, -1, true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var d delivery
			tt.do(&d)
			at, ok := d.due()
			if ok != (tt.due != -1) || d.over != tt.over {
				t.Fatalf("due %v, over %v", ok, d.over)
			}
			if ok && tt.due >= 0 && !at.Equal(t0.Add(tt.due)) {
				t.Errorf("due after %s, want %s", at.Sub(t0), tt.due)
			}
		})
	}
}

// Whatever happens: never two in flight, a change is never forgotten, and what is over stays so.
func TestDeliveryProperty(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var d delivery
		now := time.Unix(1000, 0)
		news := false // something changed since the last NOTIFY left
		for range rapid.IntRange(1, 60).Draw(t, "steps") {
			now = now.Add(time.Duration(rapid.IntRange(0, 3000).Draw(t, "ms")) * time.Millisecond)
			over := d.over
			switch rapid.IntRange(0, 4).Draw(t, "event") {
			case 0:
				d.changed(now)
				news = news || !d.over
			case 1:
				if at, ok := d.due(); ok && !at.After(now) {
					if d.flight {
						t.Fatal("two in flight")
					}
					d.sent(now, testPace)
					news = false
				}
			case 2:
				if d.flight {
					v := verdict(rapid.IntRange(0, 4).Draw(t, "verdict"))
					d.answered(v, 0, now, testPace)
					news = news || v != delivered
				}
			case 3:
				d.wake(now)
			case 4:
				if rapid.IntRange(0, 9).Draw(t, "end") == 0 {
					d.end(reasonTimeout, now)
					news = news || !d.over && !d.last
				}
			}
			if over && !d.over {
				t.Fatal("it came back")
			}
			if _, ok := d.due(); news && !d.over && !d.flight && !ok {
				t.Fatalf("a change is forgotten: %+v", d)
			}
		}
	})
}

func TestCounterWaitsForTheStore(t *testing.T) {
	c := counter{Value: 5, Ceiling: 7}
	for _, want := range []uint32{6, 7} {
		if v, ok := c.next(); !ok || v != want {
			t.Errorf("%d %v, want %d", v, ok, want)
		}
	}
	if _, ok := c.next(); ok {
		t.Error("passed the ceiling that the store knows")
	}
}
