// Package worker runs short tasks in goroutines that are used again: what handles a SIP message has a deep stack, and
// growing a new one for each is a tenth of what a REGISTER costs.
package worker

import (
	"context"
	"sync"
	"time"
)

// idleTime is how long a goroutine without work stays: a burst of tasks leaves none behind for long.
const idleTime = 10 * time.Second

// Pool runs tasks at once, each in a goroutine of its own. There is no bound here: whoever makes the tasks has one. It is
// safe for concurrent use.
type Pool struct {
	ctx   context.Context //nolint:containedctx // the end of idling
	idle  chan func()     // unbuffered: only a goroutine that waits takes
	group sync.WaitGroup
}

// New returns a pool whose goroutines do not wait for work any more when ctx has ended.
func New(ctx context.Context) *Pool { return &Pool{ctx: ctx, idle: make(chan func())} }

// Run starts f, which counts as work; a new goroutine is made when none waits.
func (p *Pool) Run(work *sync.WaitGroup, f func()) {
	work.Add(1)
	task := func() {
		defer work.Done()
		f()
	}
	select {
	case p.idle <- task:
	default:
		p.group.Go(func() { p.serve(task) })
	}
}

func (p *Pool) serve(task func()) {
	timer := time.NewTimer(idleTime)
	defer timer.Stop()
	for {
		task()
		timer.Reset(idleTime)
		select {
		case task = <-p.idle:
		case <-timer.C:
			return
		case <-p.ctx.Done():
			return
		}
	}
}

// Wait returns when every goroutine has ended; the pool's context has ended before, and nobody calls Run any more.
func (p *Pool) Wait() { p.group.Wait() }
