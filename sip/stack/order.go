package stack

import (
	"sync"
	"time"

	"github.com/emiago/sipgo/sip"
)

// handlerHead is how long a handler that has started keeps the next request of
// its Call-ID waiting at most: enough for a mailbox post or a database read on a
// busy machine, short against T1, after which peers repeat themselves.
const handlerHead = 200 * time.Millisecond

// ordering starts handlers of one Call-ID in the order in which their requests
// arrived (BYE after ACK, UPDATE after PRACK), without letting one that blocks
// hold up the dialog.
type ordering struct {
	mu   sync.Mutex // guards last
	last map[string]*turn
}

type turn struct {
	o       *ordering
	callID  string
	before  *turn         // nil when there is none
	started chan struct{} // closed when the handler starts
	done    chan struct{} // closed when it has ended
}

func newOrdering() *ordering { return &ordering{last: make(map[string]*turn)} }

// enter takes a place in the line; it is called in order of arrival.
func (o *ordering) enter(callID string) *turn {
	t := &turn{o: o, callID: callID, started: make(chan struct{}), done: make(chan struct{})}
	o.mu.Lock()
	defer o.mu.Unlock()
	t.before = o.last[callID]
	o.last[callID] = t
	return t
}

// free reports whether no handler of the Call-ID runs or waits.
func (o *ordering) free(callID string) bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.last[callID] == nil
}

// wait returns when the previous handler has ended, or has started and had its
// time: handlers start in order in any case.
func (t *turn) wait() {
	defer close(t.started)
	if t.before == nil {
		return
	}
	<-t.before.started
	timer := time.NewTimer(handlerHead)
	defer timer.Stop()
	select {
	case <-t.before.done:
	case <-timer.C:
	}
	t.before = nil // let it go
}

func (t *turn) leave() {
	close(t.done)
	t.o.mu.Lock()
	defer t.o.mu.Unlock()
	if t.o.last[t.callID] == t {
		delete(t.o.last, t.callID)
	}
}

// earlyCancels holds CANCELs that overtook their INVITE in the network. It is
// bounded: when it is full, a CANCEL gets 481 at once.
type earlyCancels struct {
	limit int

	mu      sync.Mutex // guards waiting
	waiting map[string]*earlyCancel
}

type earlyCancel struct {
	req   *sip.Request
	out   *outlet
	timer *time.Timer
}

func newEarlyCancels(limit int) *earlyCancels {
	return &earlyCancels{limit: limit, waiting: make(map[string]*earlyCancel)}
}

// hold keeps the CANCEL for T1 and then calls expired, unless the INVITE comes.
func (e *earlyCancels) hold(key string, req *sip.Request, out *outlet, expired func()) bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.waiting[key] != nil {
		return true
	}
	if len(e.waiting) >= e.limit {
		return false
	}
	c := &earlyCancel{req: req, out: out}
	c.timer = time.AfterFunc(sip.T1, func() {
		if e.take(key) != nil {
			expired()
		}
	})
	e.waiting[key] = c
	return true
}

func (e *earlyCancels) take(key string) *earlyCancel {
	e.mu.Lock()
	defer e.mu.Unlock()
	c := e.waiting[key]
	if c != nil {
		c.timer.Stop()
		delete(e.waiting, key)
	}
	return c
}

func (e *earlyCancels) close() {
	e.mu.Lock()
	defer e.mu.Unlock()
	for key, c := range e.waiting {
		c.timer.Stop()
		delete(e.waiting, key)
	}
}
