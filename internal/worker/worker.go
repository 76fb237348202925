// Package worker runs short tasks in goroutines that are used again: what handles a SIP message has a deep stack, and
// growing a new one for each is a tenth of what a REGISTER costs.
package worker

import (
	"sync"
	"time"
)

// idleTime is how long a goroutine without work stays: a burst of tasks leaves none behind for long.
const idleTime = 10 * time.Second

// Pool runs tasks at once, each in a goroutine of its own. There is no bound here: whoever makes the tasks has one. It is
// safe for concurrent use.
type Pool struct {
	quit  <-chan struct{} // the end of idling
	idle  chan func()     // unbuffered: only a goroutine that waits takes
	group sync.WaitGroup
}

// New returns a pool whose goroutines do not wait for work any more when quit is closed.
func New(quit <-chan struct{}) *Pool { return &Pool{quit: quit, idle: make(chan func())} }

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
		case <-p.quit:
			return
		}
	}
}

// Wait returns when every goroutine has ended; quit was closed before, and nobody calls Run any more.
func (p *Pool) Wait() { p.group.Wait() }
