package worker_test

import (
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"linehall/internal/worker"
)

// Tasks run beside each other, a goroutine that is idle takes the next one, and none is left after the end.
func TestPool(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		quit := make(chan struct{})
		p := worker.New(quit)
		var work sync.WaitGroup
		together := make(chan struct{})
		for range 2 { // each needs the other
			p.Run(&work, func() {
				select {
				case together <- struct{}{}:
				case <-together:
				}
			})
		}
		work.Wait()
		synctest.Wait()
		ran := false
		p.Run(&work, func() { ran = true })
		work.Wait()
		if !ran {
			t.Error("the third task did not run")
		}
		time.Sleep(time.Minute) // idle goroutines go by themselves; synctest fails if one stays
		p.Run(&work, func() {})
		work.Wait()
		close(quit)
		p.Wait()
	})
}
