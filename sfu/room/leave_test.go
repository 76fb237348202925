package room_test

import (
	"context"
	"math"
	"os"
	"runtime"
	"runtime/pprof"
	"strings"
	"sync"
	"testing"
	"time"
)

// After many joins and leaves, among a venue that stays, nothing is left behind: 40, or 200 with LINEHALL_SOAK set.
func TestNothingIsLeftAfterManyJoins(t *testing.T) {
	if testing.Short() {
		t.Skip("40 joins")
	}
	first, then := 3, 8 // rounds of five
	if os.Getenv("LINEHALL_SOAK") != "" {
		first, then = 6, 40
	} else {
		t.Log("40 joins only: each negotiates two connections with encryption, and 200 take minutes under the race detector; set LINEHALL_SOAK for all")
	}
	w := newWorld(t, worldOptions{})
	w.plain = true // a client that keeps packets for NACKs grows by itself
	stays := w.join(t, "hq", "", nil)
	stays.await("welcome", func() bool { return stays.welcome.Participant != "" })
	stays.startPublish(map[string]int{"": 720})
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	go stays.film(ctx, 1)
	visit := func(venue string) {
		c := w.join(t, venue, "", nil)
		c.await("picture", func() bool { return c.sees(stays) })
		c.startPublish(map[string]int{"": 720})
		c.watch(180)
		until(t, "frames", func() bool { _, n := c.of(stays.id()).count(); return n > 1 })
		c.close()
	}
	// settle waits until no goroutine has ended for a second; while there are more than want it goes on for longer.
	settle := func(want int) (goroutines int, heap uint64) {
		stays.await("alone", func() bool { return len(stays.people) == 1 })
		deadline := time.Now().Add(patience)
		last, since := runtime.NumGoroutine(), time.Now()
		for (time.Since(since) < time.Second || last > want) && time.Now().Before(deadline) {
			time.Sleep(50 * time.Millisecond)
			if n := runtime.NumGoroutine(); n < last {
				last, since = n, time.Now()
			}
		}
		runtime.GC()
		runtime.GC()
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		return last, m.HeapAlloc
	}
	rounds := func(n int) { // five venues at a time
		for range n {
			var all sync.WaitGroup
			for _, venue := range demoVenues[1:] {
				all.Go(func() { visit(venue) })
			}
			all.Wait()
		}
	}
	rounds(first) // pools and tables find their size
	goroutines, heap := settle(math.MaxInt)
	rounds(then)
	after, heapAfter := settle(goroutines)
	t.Logf("goroutines %d, then %d; heap %d KiB, then %d KiB", goroutines, after, heap>>10, heapAfter>>10)
	if after > goroutines {
		var dump strings.Builder
		_ = pprof.Lookup("goroutine").WriteTo(&dump, 1)
		t.Errorf("%d goroutines are left:\n%s", after-goroutines, dump.String())
	}
	if float64(heapAfter) > 1.1*float64(heap) {
		t.Errorf("heap grew from %d to %d KiB", heap>>10, heapAfter>>10)
	}
}
