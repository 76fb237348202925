package line

import (
	"errors"

	"linehall/internal/site"
)

// ErrReleased is the error of Resize after Release.
var ErrReleased = errors.New("lease was released")

// Lease is a firm reservation on one or more lines. Release it exactly when the packets stop.
type Lease struct {
	ledger *Ledger
	class  Class
	holds  map[site.ID]Rate // guarded by ledger.mu; nil after Release
}

// Reserve takes the demands on all their lines at once or on none. Demands for the same site add up; sites without a
// line cost nothing. The error is a *Refused that names the first line without room.
//
// When Reserve returns, the elastic leases that must shrink have been told.
func (l *Ledger) Reserve(class Class, demands ...Demand) (*Lease, error) {
	lease := &Lease{ledger: l, class: class.known(), holds: map[site.ID]Rate{}}
	if err := lease.Resize(demands...); err != nil {
		return nil, err
	}
	return lease, nil
}

// Reclaim is Reserve for calls that are established already, after a restart: it is never refused.
func (l *Ledger) Reclaim(class Class, demands ...Demand) *Lease {
	lease := &Lease{ledger: l, class: class.known(), holds: map[site.ID]Rate{}}
	l.mu.Lock()
	changed := lease.book(sum(demands))
	l.mu.Unlock()
	deliver(changed)
	return lease
}

// Resize replaces what the lease holds, all or nothing: on a *Refused the lease is what it was. A line where the lease
// does not grow is never the reason for a refusal.
func (s *Lease) Resize(demands ...Demand) error {
	l, wanted := s.ledger, sum(demands)
	l.mu.Lock()
	if s.holds == nil {
		l.mu.Unlock()
		return ErrReleased
	}
	if refused := s.check(wanted); refused != nil {
		l.account(refused.Site).refused[s.class]++
		l.mu.Unlock()
		l.logRefusal(refused)
		return refused
	}
	changed := s.book(wanted)
	l.mu.Unlock()
	deliver(changed)
	return nil
}

// Release gives everything back. It may be called more than once.
func (s *Lease) Release() {
	if s == nil {
		return
	}
	s.ledger.mu.Lock()
	var changed []*Elastic
	if s.holds != nil {
		changed = s.book(nil)
		s.holds = nil
	}
	s.ledger.mu.Unlock()
	deliver(changed)
}

// check looks for a line on which the lease grows beyond what is free. The ledger is locked.
func (s *Lease) check(wanted []Demand) *Refused {
	if s.class == Emergency {
		return nil
	}
	for _, w := range wanted {
		a := s.ledger.account(w.Site)
		for d := range Direction(directions) {
			grow := w.Rate.In(d) - s.holds[w.Site].In(d)
			if free := a.free(s.class, d); grow > 0 && grow > free {
				return &Refused{Site: w.Site, Direction: d, Class: s.class, Wanted: grow, Free: max(0, free)}
			}
		}
	}
	return nil
}

// book replaces the holds by wanted and returns the elastic leases whose budget changed. The ledger is locked.
func (s *Lease) book(wanted []Demand) []*Elastic {
	touched := map[site.ID]bool{}
	for id, r := range s.holds {
		s.ledger.account(id).add(s.class, Rate{Up: -r.Up, Down: -r.Down})
		touched[id] = true
	}
	clear(s.holds)
	for _, w := range wanted {
		s.ledger.account(w.Site).add(s.class, w.Rate)
		s.holds[w.Site] = w.Rate
		touched[w.Site] = true
	}
	var changed []*Elastic
	for id := range touched {
		changed = append(changed, s.ledger.account(id).rebudget()...)
	}
	return changed
}

func (a *account) add(class Class, r Rate) {
	a.firm[Up][class] += r.Up
	a.firm[Down][class] += r.Down
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
