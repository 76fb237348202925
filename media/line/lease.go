package line

import (
	"errors"
	"time"

	"linehall/internal/site"
)

var (
	// ErrReleased is the error of Resize after Release.
	ErrReleased = errors.New("lease was released")
	// ErrPreempted is the error of Resize after a more important call has taken the lease's place.
	ErrPreempted = errors.New("lease gave way to a more important call")
)

// Holder is who holds a lease.
type Holder struct {
	Class      Class
	Precedence Precedence // a call above PrecedenceRoutine is of class Priority and may end lower ones
	Name       string     // a call's id, for those who have to give way to it
	Since      time.Time  // when the call began: the newest gives way first; zero: now
	// Preempted is called once when a more important call has taken the lease's place: in that call's goroutine, without
	// locks held. It must not block. The lease holds nothing any more; the packets should stop soon. Nil: the lease never
	// gives way.
	Preempted func(Preemption)
}

// Preemption says to whom a lease gave way, and where.
type Preemption struct {
	By         string // Holder.Name
	Class      Class
	Precedence Precedence
	Site       site.ID // a line on which both were
}

// Lease is a firm reservation on one or more lines. Release it exactly when the packets stop.
type Lease struct {
	ledger *Ledger
	holder Holder
	serial uint64 // order of opening

	// guarded by ledger.mu
	holds map[site.ID]amount // nil after the end
	over  error              // why it ended
}

// Open returns a lease that holds nothing yet.
func (l *Ledger) Open(h Holder) *Lease {
	h.Class, h.Precedence = h.Class.known(), h.Precedence.known()
	switch {
	case h.Class == Voice && h.Precedence > PrecedenceRoutine:
		h.Class = Priority
	case h.Class == Priority && h.Precedence == PrecedenceRoutine:
		h.Precedence = PrecedencePriority
	}
	if h.Since.IsZero() {
		h.Since = time.Now()
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.serial++
	return &Lease{ledger: l, holder: h, serial: l.serial, holds: map[site.ID]amount{}}
}

// Class returns the class that the lease counts as: a Voice call with a Precedence is of class Priority.
func (s *Lease) Class() Class { return s.holder.Class }

// Reserve opens a lease that never gives way to others, and takes the demands on all their lines at once or on none.
// Demands for the same site add up; sites without a line cost nothing. The error is a *Refused that names the first line
// without room.
//
// When Reserve returns, the elastic leases that must shrink have been told.
func (l *Ledger) Reserve(class Class, demands ...Demand) (*Lease, error) {
	lease := l.Open(Holder{Class: class})
	if err := lease.Resize(demands...); err != nil {
		return nil, err
	}
	return lease, nil
}

// Resize replaces what the lease holds, all or nothing: on a *Refused the lease is what it was. A line where the lease
// does not grow is never the reason for a refusal. Less important leases that stand in the way lose everything they hold
// and are told before Resize returns, see Holder.Preempted.
func (s *Lease) Resize(demands ...Demand) error {
	err := s.resize(sum(demands), true)
	if refused, ok := errors.AsType[*Refused](err); ok {
		s.ledger.refuse(refused)
	}
	return err
}

// Try is a Resize for what is not worth that anybody gives way, such as a call's picture: nobody loses a lease, and even
// an emergency takes no more than the line has. A refusal is not counted.
func (s *Lease) Try(demands ...Demand) error { return s.resize(sum(demands), false) }

// Reclaim replaces what the lease holds without asking: after a restart, established calls are on the line already.
func (s *Lease) Reclaim(demands ...Demand) {
	l := s.ledger
	l.mu.Lock()
	var changed []*Elastic
	if s.holds != nil {
		changed = s.book(sum(demands))
	}
	l.mu.Unlock()
	deliver(changed)
}

func (s *Lease) resize(wanted []Demand, firm bool) error {
	l := s.ledger
	l.mu.Lock()
	if s.holds == nil {
		defer l.mu.Unlock()
		return s.over
	}
	victims, refused := s.admit(wanted, firm)
	if refused != nil {
		l.mu.Unlock()
		return refused
	}
	told := s.preemptions(victims, wanted)
	changed := l.evict(victims)
	changed = append(changed, s.book(wanted)...)
	l.mu.Unlock()
	deliver(changed)
	l.tell(told)
	return nil
}

// Release gives everything back. It may be called more than once.
func (s *Lease) Release() {
	if s == nil {
		return
	}
	s.ledger.mu.Lock()
	changed := s.end(ErrReleased)
	s.ledger.mu.Unlock()
	deliver(changed)
}

// end empties the lease for good. The ledger is locked.
func (s *Lease) end(why error) []*Elastic {
	if s.holds == nil {
		return nil
	}
	changed := s.book(nil)
	s.holds, s.over = nil, why
	return changed
}

// admit decides whether the lease may hold wanted: as things are, or if others give way. The ledger is locked.
func (s *Lease) admit(wanted []Demand, firm bool) (victims []*Lease, refused *Refused) {
	short := shortage{}
	var obstacles []*Refused
	for _, w := range wanted {
		a := s.ledger.account(w.Site)
		grow := s.growth(w)
		if a.isDown() && grow[calls] > 0 && s.holder.Class != Emergency {
			return nil, &Refused{Site: w.Site, Class: s.holder.Class, Cause: LineDown}
		}
		for dim, g := range grow {
			if free := a.free(s.holder.Class, dim); g > 0 && g > free {
				lack := short[w.Site]
				lack[dim] = g - free
				short[w.Site] = lack
				obstacles = append(obstacles, refusal(w.Site, s.holder.Class, dim, g, free))
			}
		}
	}
	switch {
	case len(obstacles) == 0:
		return nil, nil
	case !firm:
		return nil, obstacles[0]
	}
	victims = s.ledger.victims(s, short)
	rest := short.without(victims...)
	if s.holder.Class == Emergency || rest.met() {
		return victims, nil
	}
	for _, o := range obstacles { // the line that stays full, not one on which others would have given way
		if rest[o.Site] != (amount{}) {
			return nil, o
		}
	}
	return nil, obstacles[0]
}

func refusal(id site.ID, class Class, dim int, wanted, free int64) *Refused {
	if dim == calls {
		return &Refused{Site: id, Class: class, Cause: TooManyCalls}
	}
	return &Refused{Site: id, Direction: Direction(dim), Class: class, Wanted: wanted, Free: max(0, free)} //nolint:gosec // 0 or 1
}

// growth is what the lease would take of a line more than it does. The ledger is locked.
func (s *Lease) growth(w Demand) amount {
	grow := s.amount(w)
	for dim, n := range s.holds[w.Site] {
		grow[dim] -= n
	}
	return grow
}

// amount is what a demand takes of its line.
func (s *Lease) amount(w Demand) amount {
	n := amount{Up: w.Rate.Up, Down: w.Rate.Down}
	if s.holder.Class <= Voice && w.Rate != (Rate{}) {
		n[calls] = 1
	}
	return n
}

// book replaces the holds by wanted and returns the elastic leases whose budget changed. The ledger is locked.
func (s *Lease) book(wanted []Demand) []*Elastic {
	touched := map[site.ID]bool{}
	for id, n := range s.holds {
		s.ledger.account(id).take(s, n.negative())
		touched[id] = true
	}
	clear(s.holds)
	for _, w := range wanted {
		n := s.amount(w)
		s.ledger.account(w.Site).take(s, n)
		s.holds[w.Site] = n
		touched[w.Site] = true
	}
	var changed []*Elastic
	for id := range touched {
		a := s.ledger.account(id)
		if _, held := s.holds[id]; held {
			a.leases[s] = struct{}{}
		} else {
			delete(a.leases, s)
		}
		changed = append(changed, a.rebudget()...)
	}
	return changed
}

func (a *account) take(s *Lease, n amount) {
	a.firm[Up][s.holder.Class] += n[Up]
	a.firm[Down][s.holder.Class] += n[Down]
	if n[calls] != 0 {
		a.calls[s.rank()-1] += n[calls]
	}
}

// sum merges demands for the same site, keeps their order and ignores negative rates.
func sum(demands []Demand) []Demand {
	out := make([]Demand, 0, len(demands))
next:
	for _, d := range demands {
		d.Rate = d.Rate.Max(Rate{})
		for i := range out {
			if out[i].Site == d.Site {
				out[i].Rate = out[i].Rate.Plus(d.Rate)
				continue next
			}
		}
		out = append(out, d)
	}
	return out
}
