package line

import (
	"cmp"
	"log/slog"
	"slices"

	"linehall/internal/observe"
	"linehall/internal/site"
)

// Who gives way to whom. Every lease that may give way has a rank:
//
//	0      firm leases of content, video and bulk
//	1..5   calls, by precedence
//	6      emergency calls; conference audio is outside of this: it neither gives way nor makes others do so
//
// A lease takes the place of lower ranks only. From the highest rank that is needed downwards, the ledger takes as few
// leases of a rank as will do if everything below gives way too; among leases that would do equally well, the newest.
// A lease that turns out not to be needed is spared.

// amount is what a lease takes of one line: up, down (bit/s) and calls.
type amount [3]int64

const calls = 2 // index into an amount, after Up and Down

func (n amount) negative() amount { return amount{-n[0], -n[1], -n[2]} }

// shortage is what a reservation lacks, per line.
type shortage map[site.ID]amount

func (s shortage) met() bool {
	for _, n := range s {
		if n != (amount{}) {
			return false
		}
	}
	return true
}

// without is what is still lacking once these leases are gone.
func (s shortage) without(leases ...*Lease) shortage {
	rest := make(shortage, len(s))
	for id, n := range s {
		for _, l := range leases {
			for dim, held := range l.holds[id] {
				n[dim] = max(0, n[dim]-held)
			}
		}
		rest[id] = n
	}
	return rest
}

// gain says how much of the shortage a lease would end, each dimension of each line counting as one.
func (s shortage) gain(l *Lease) (gain float64) {
	for id, n := range s {
		for dim, lack := range n {
			if lack > 0 {
				gain += float64(min(lack, l.holds[id][dim])) / float64(lack)
			}
		}
	}
	return gain
}

const emergencyRank = 1 + precedences

func (s *Lease) rank() int {
	switch s.holder.Class {
	case Emergency:
		return emergencyRank
	case Priority, Voice:
		return 1 + int(s.holder.Precedence)
	default:
		return 0
	}
}

// victims chooses who gives way to s; if even all of them are too few, it returns them all. The ledger is locked.
func (l *Ledger) victims(s *Lease, short shortage) []*Lease {
	if s.holder.Class == ConferenceAudio {
		return nil
	}
	var ranks [emergencyRank][]*Lease
	for id := range short {
		for o := range l.account(id).leases {
			if o != s && o.holder.Preempted != nil && o.holder.Class != ConferenceAudio && o.rank() < s.rank() && !slices.Contains(ranks[o.rank()], o) {
				ranks[o.rank()] = append(ranks[o.rank()], o)
			}
		}
	}
	var chosen []*Lease
	for rank := len(ranks) - 1; rank >= 0; rank-- {
		all := short.without(chosen...)
		least := all
		for _, below := range ranks[:rank] {
			least = least.without(below...)
		}
		slices.SortFunc(ranks[rank], newestFirst)
		chosen = append(chosen, least.cover(ranks[rank], all)...)
	}
	return chosen
}

func newestFirst(a, b *Lease) int {
	return cmp.Or(b.holder.Since.Compare(a.holder.Since), cmp.Compare(b.serial, a.serial))
}

// cover takes as few of these leases (newest first) as end the shortage: one that ends it alone, or else the one that
// ends most of it, and on with the rest. Among several that end it, the one that ends most of all, of what lower ranks
// would have to give otherwise; among equals, the newest. On one line with equal rates both ways that is exact; where two
// lines are short it is at least without waste.
func (s shortage) cover(leases []*Lease, all shortage) (chosen []*Lease) {
	left := slices.Clone(leases)
	for rest := s; !rest.met() && len(left) > 0; rest = s.without(chosen...) {
		best, most, ends := -1, 0.0, false
		for i, l := range left {
			gain, end := rest.gain(l), rest.without(l).met()
			if end {
				gain = all.without(chosen...).gain(l)
			}
			if end && !ends || end == ends && gain > most {
				best, most, ends = i, gain, end
			}
		}
		if best < 0 {
			break
		}
		chosen = append(chosen, left[best])
		left = slices.Delete(left, best, best+1)
	}
	return s.spare(chosen)
}

// spare lets go of those that are not needed, the oldest first.
func (s shortage) spare(chosen []*Lease) []*Lease {
	if !s.without(chosen...).met() {
		return chosen
	}
	slices.SortFunc(chosen, newestFirst)
	for i := range slices.Backward(chosen) {
		if others := slices.Delete(slices.Clone(chosen), i, i+1); s.without(others...).met() {
			chosen = others
		}
	}
	return chosen
}

// told is a preemption that its lease has to hear of.
type told struct {
	lease *Lease
	by    Preemption
}

// preemptions notes who has to be told what. The ledger is locked.
func (s *Lease) preemptions(victims []*Lease, wanted []Demand) []told {
	out := make([]told, 0, len(victims))
	for _, v := range victims {
		by := Preemption{By: s.holder.Name, Class: s.holder.Class, Precedence: s.holder.Precedence}
		for _, w := range wanted {
			if _, both := v.holds[w.Site]; both && s.ledger.account(w.Site).line != nil {
				by.Site = w.Site
				break
			}
		}
		out = append(out, told{v, by})
	}
	return out
}

// evict takes everything from the victims. The ledger is locked.
func (l *Ledger) evict(victims []*Lease) []*Elastic {
	var changed []*Elastic
	for _, v := range victims {
		for id := range v.holds {
			if a := l.account(id); a.line != nil {
				a.preempted[v.holder.Class]++
			}
		}
		l.preempted[v.holder.Class]++
		changed = append(changed, v.end(ErrPreempted)...)
	}
	return changed
}

// tell calls back; nobody holds a lock.
func (l *Ledger) tell(all []told) {
	for _, t := range all {
		l.log.Info("lease gave way", slog.String("holder", t.lease.holder.Name), slog.String("to", t.by.By),
			slog.String(observe.Site, string(t.by.Site)), slog.String(observe.Class, t.by.Class.String()))
		t.lease.holder.Preempted(t.by)
	}
}
