package stack

import (
	"os"
	"path/filepath"
	"runtime"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus/testutil"

	"linehall/sip/stack/stacktest"
)

// Mutated torture messages leave nothing behind: no panic, and the heap is what it was.
func TestMutatedMessages(t *testing.T) {
	files, err := filepath.Glob("testdata/rfc*/*.dat")
	if err != nil || len(files) < 60 {
		t.Fatalf("%d seeds: %v", len(files), err)
	}
	var seeds [][]byte
	for _, file := range files {
		raw, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		seeds = append(seeds, raw)
	}
	synctest.Test(t, func(t *testing.T) { mutated(t, seeds) })
}

func mutated(t *testing.T, seeds [][]byte) {
	t.Helper()
	feed, panics := reader(t)
	m := stacktest.NewMutator(1, seeds...)
	run := func(n int) (answers int, heap uint64) {
		for range n {
			answers += len(feed(m.Next()))
		}
		time.Sleep(time.Minute) // of the bubble: Timer L of a 2xx holds its transaction for 32 s
		var stats runtime.MemStats
		runtime.GC()
		runtime.GC() // pools give back what they hold after the second
		runtime.ReadMemStats(&stats)
		return answers, stats.HeapAlloc
	}
	const messages = 8000
	_, before := run(messages)
	answers, after := run(messages)
	if n := testutil.ToFloat64(panics); n != 0 {
		t.Errorf("%v panics", n)
	}
	if answers < messages/4 {
		t.Errorf("%d of %d were answered: the faults are too coarse to test anything", answers, messages)
	}
	if after > before+before/10+128<<10 { // of under a megabyte, other tests' left-overs count
		t.Errorf("the heap grew from %d to %d bytes", before, after)
	}
	t.Logf("%d of %d answered, heap %d, then %d bytes", answers, messages, before, after)
}
