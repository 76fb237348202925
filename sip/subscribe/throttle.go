package subscribe

import (
	"context"
	"math"
	"sync/atomic"
	"time"
)

// throttle lowers the rate of NOTIFYs while the machine is short of CPU. A timer that fires late
// says that goroutines wait for their turn, and those that set up calls wait as long as ours:
// lamps step back first. The rate falls fast and comes back within half a second.
type throttle struct {
	share  atomic.Uint64 // bits of a float64 in [leastShare, 1]
	active chan struct{} // capacity 1: NOTIFYs are leaving
}

const (
	leastShare  = 0.05
	probeEvery  = 10 * time.Millisecond
	probeFor    = time.Second          // after the last NOTIFY
	tolerated   = 4 * time.Millisecond // a timer's lateness: less than the delay that a call may suffer
	shareStep   = 1.0 / 40             // per probe: back in 400 ms
	shareFactor = 0.7                  // per late probe
)

func newThrottle() *throttle {
	t := &throttle{active: make(chan struct{}, 1)}
	t.share.Store(math.Float64bits(1))
	return t
}

// rate is what is left of a rate.
func (t *throttle) rate(full int) int {
	return max(1, int(float64(full)*math.Float64frombits(t.share.Load())))
}

// probed takes the lateness of one probe.
func (t *throttle) probed(late time.Duration) {
	share := math.Float64frombits(t.share.Load())
	if late > tolerated {
		share = max(leastShare, share*shareFactor)
	} else {
		share = min(1, share+shareStep)
	}
	t.share.Store(math.Float64bits(share))
}

// run probes while NOTIFYs leave.
func (t *throttle) run(ctx context.Context) error {
	timer := time.NewTimer(time.Hour)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-t.active:
		}
		for until := time.Now().Add(probeFor); time.Now().Before(until); {
			began := time.Now()
			timer.Reset(probeEvery)
			select {
			case <-ctx.Done():
				return nil
			case <-timer.C:
			}
			t.probed(time.Since(began) - probeEvery)
			select {
			case <-t.active:
				until = time.Now().Add(probeFor)
			default:
			}
		}
	}
}
