package line

import (
	"slices"
	"sync"

	"linehall/internal/site"
)

// Elastic is a share of what reservations leave on one line. Its budget moves with every call that comes and goes.
type Elastic struct {
	ledger  *Ledger
	class   Class // 0: a watcher
	account *account
	changed func(Rate)

	// guarded by ledger.mu
	budget Rate
	use    Rate
	closed bool

	// delivery guards who runs changed: one goroutine at a time, which repeats until nothing is pending. It is taken
	// without ledger.mu held, and not held while changed runs.
	delivery struct {
		sync.Mutex
		running, pending bool
	}
}

// Elastic opens a share for class on the line of a site. Its budget is usable, or what the line was measured to carry if that
// is less (Restrict), − every reservation − what elastic leases of more important classes use, divided equally among the elastic leases of the same class; at least 0; Unlimited
// where the site has no line.
//
// changed is called with each new budget, not with the first one (see Budget): in the goroutine that changed the
// ledger, without locks held, never twice at a time, and always with the latest budget. It must not block (post to the
// owner's mailbox) and may call the ledger. After Close at most a call that has begun already is still running.
func (l *Ledger) Elastic(class Class, id site.ID, changed func(Rate)) *Elastic {
	return l.open(class.known(), id, changed)
}

// Watch follows what content and video have together on the line of a site, and takes nothing of it: for whoever paces what all
// of them send. It is everything that is not reserved and that bulk does not use.
func (l *Ledger) Watch(id site.ID, changed func(Rate)) *Elastic { return l.open(0, id, changed) }

func (l *Ledger) open(class Class, id site.ID, changed func(Rate)) *Elastic {
	l.mu.Lock()
	a := l.account(id)
	e := &Elastic{ledger: l, class: class, account: a, changed: changed}
	a.elastics = append(a.elastics, e)
	others := slices.DeleteFunc(a.rebudget(), func(o *Elastic) bool { return o == e })
	l.mu.Unlock()
	deliver(others)
	return e
}

// Budget returns what may be sent and received now.
func (e *Elastic) Budget() Rate {
	e.ledger.mu.Lock()
	defer e.ledger.mu.Unlock()
	return e.budget
}

// Use says what the owner has given out of its budget; less important classes get what is left.
func (e *Elastic) Use(r Rate) {
	e.ledger.mu.Lock()
	var changed []*Elastic
	if !e.closed && e.class != 0 {
		e.use = r.Max(Rate{})
		changed = e.account.rebudget()
	}
	e.ledger.mu.Unlock()
	deliver(changed)
}

// Close gives the share back. It may be called more than once, also from changed.
func (e *Elastic) Close() {
	e.ledger.mu.Lock()
	var changed []*Elastic
	if !e.closed {
		e.closed = true
		e.account.elastics = slices.DeleteFunc(e.account.elastics, func(o *Elastic) bool { return o == e })
		changed = e.account.rebudget()
	}
	e.ledger.mu.Unlock()
	deliver(changed)
}

// rebudget computes every elastic budget of the line and returns the leases whose budget changed. The ledger is locked.
func (a *account) rebudget() []*Elastic {
	if len(a.elastics) == 0 {
		return nil
	}
	var count [classes]int64
	var used [classes]Rate
	for _, e := range a.elastics {
		count[e.class]++
		used[e.class] = used[e.class].Plus(e.use)
	}
	var changed []*Elastic
	for _, e := range a.elastics {
		budget := Rate{Up: a.left(e.class, Up, used, count), Down: a.left(e.class, Down, used, count)}
		if budget != e.budget {
			e.budget = budget
			changed = append(changed, e)
		}
	}
	return changed
}

func (a *account) left(class Class, d Direction, used [classes]Rate, count [classes]int64) int64 {
	if a.line == nil {
		return Unlimited
	}
	left := a.elasticUsable(d) - a.reserved(d)
	if a.bulk && class != 0 && class < Bulk { // a watcher sees what bulk uses
		left -= a.bulkFloor(d)
	}
	if class == 0 {
		return max(0, left-used[Bulk].In(d))
	}
	for c := Emergency; c < class; c++ {
		left -= used[c].In(d)
	}
	return max(0, left) / count[class]
}

// deliver calls changed of each lease; nobody holds a lock.
func deliver(leases []*Elastic) {
	for _, e := range leases {
		e.notify()
	}
}

// notify hands the latest budget to changed, or leaves that to the goroutine that is already at it.
func (e *Elastic) notify() {
	e.delivery.Lock()
	e.delivery.pending = true
	if e.delivery.running {
		e.delivery.Unlock()
		return
	}
	e.delivery.running = true
	e.delivery.Unlock()

	for e.next() {
		e.call()
	}
}

// next reports whether there is a budget to hand out; if not, this goroutine no longer runs the delivery.
func (e *Elastic) next() bool {
	e.delivery.Lock()
	defer e.delivery.Unlock()
	e.delivery.running = e.delivery.pending
	e.delivery.pending = false
	return e.delivery.running
}

func (e *Elastic) call() {
	e.ledger.mu.Lock()
	budget, closed := e.budget, e.closed
	e.ledger.mu.Unlock()
	if closed || e.changed == nil {
		return
	}
	finished := false
	defer func() {
		if !finished { // changed panicked: its owner recovers at its edge, the lease must still deliver afterwards
			e.delivery.Lock()
			e.delivery.running = false
			e.delivery.Unlock()
		}
	}()
	e.changed(budget)
	finished = true
}
