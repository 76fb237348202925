package stack

import (
	"context"
	"sync"
	"time"
)

// workerIdle is how long a worker without work stays: a burst of handlers leaves none behind for long.
const workerIdle = 10 * time.Second

// workers runs handlers in goroutines that are used again: a handler's stack is deep, and growing a new one each time is a
// tenth of what a REGISTER costs. There is no bound here; transactions have one (Limits.Transactions).
type workers struct {
	ctx   context.Context //nolint:containedctx // the end of idling
	idle  chan func()     // unbuffered: only a worker that waits takes
	group sync.WaitGroup
}

func newWorkers(ctx context.Context) *workers { return &workers{ctx: ctx, idle: make(chan func())} }

// run starts f, which counts as work of the stack; a new goroutine is made when none waits.
func (w *workers) run(work *sync.WaitGroup, f func()) {
	work.Add(1)
	task := func() {
		defer work.Done()
		f()
	}
	select {
	case w.idle <- task:
	default:
		w.group.Go(func() { w.serve(task) })
	}
}

func (w *workers) serve(task func()) {
	timer := time.NewTimer(workerIdle)
	defer timer.Stop()
	for {
		task()
		timer.Reset(workerIdle)
		select {
		case task = <-w.idle:
		case <-timer.C:
			return
		case <-w.ctx.Done():
			return
		}
	}
}

// wait returns when every worker has ended; their context has ended before.
func (w *workers) wait() { w.group.Wait() }
