package schedule

import (
	"slices"
	"strings"
	"time"

	"linehall/sfu/chair"
)

// grace is how late somebody may come, and how early go, without being noted for it.
const grace = time.Minute

// Stay is a time for which somebody was there.
type Stay struct {
	From time.Time
	To   time.Time // zero: still there
}

// Attendance is what the minutes say about one member.
type Attendance struct {
	Member    string
	Name      chair.Name
	Stays     []Stay // none: was called and did not come
	Total     time.Duration
	Late      time.Duration // after the start of the booking; 0: in time
	LeftEarly time.Duration // before its end; 0: stayed
}

// Absent says whether somebody who was expected did not come.
func (a *Attendance) Absent() bool { return len(a.Stays) == 0 }

// Attend reads from the minutes who was there from when to when. ended is zero while the meeting goes on. Who was expected
// and is not in the minutes is listed as absent; expected gives names to them.
func Attend(minutes []chair.Minute, b *chair.Booking, ended, now time.Time, expected []chair.Person) []Attendance {
	until := ended
	if until.IsZero() {
		until = now
	}
	list := gather(minutes)
	if b != nil {
		for _, id := range b.Venues {
			if slices.ContainsFunc(list, func(a Attendance) bool { return a.Member == id }) {
				continue
			}
			absent := Attendance{Member: id, Name: chair.Name{Zh: id, En: id}}
			if i := slices.IndexFunc(expected, func(p chair.Person) bool { return p.Member == id }); i >= 0 {
				absent.Name = expected[i].Name
			}
			list = append(list, absent)
		}
	}
	for i := range list {
		list[i].sum(b, ended, until)
	}
	return list
}

// gather turns comings and goings into stays. A restart of the appliance makes no entry when everybody is gone at once: who
// comes again without having left has stayed.
func gather(minutes []chair.Minute) []Attendance {
	var list []Attendance
	for _, m := range minutes {
		if m.Actor == "" || m.Action != chair.Joined && m.Action != chair.Left {
			continue
		}
		i := slices.IndexFunc(list, func(a Attendance) bool { return a.Member == m.Actor })
		if i < 0 {
			if m.Action == chair.Left {
				continue
			}
			i = len(list)
			list = append(list, Attendance{Member: m.Actor, Name: m.ActorName})
		}
		stays := list[i].Stays
		open := len(stays) > 0 && stays[len(stays)-1].To.IsZero()
		switch {
		case m.Action == chair.Joined && !open:
			list[i].Stays = append(list[i].Stays, Stay{From: m.At})
		case m.Action == chair.Left && open:
			stays[len(stays)-1].To = m.At
		}
	}
	slices.SortStableFunc(list, func(a, b Attendance) int {
		if c := a.Stays[0].From.Compare(b.Stays[0].From); c != 0 {
			return c
		}
		return strings.Compare(a.Member, b.Member)
	})
	return list
}

func (a *Attendance) sum(b *chair.Booking, ended, until time.Time) {
	for i := range a.Stays {
		stay := &a.Stays[i]
		if stay.To.IsZero() && !ended.IsZero() {
			stay.To = ended
		}
		to := stay.To
		if to.IsZero() {
			to = until
		}
		a.Total += max(0, to.Sub(stay.From))
	}
	if b == nil || len(a.Stays) == 0 {
		return
	}
	if late := a.Stays[0].From.Sub(b.StartsAt); late > grace {
		a.Late = late
	}
	last := a.Stays[len(a.Stays)-1].To
	due := b.EndsAt
	if !ended.IsZero() && ended.Before(due) {
		due = ended // the chair closed it before
	}
	if early := due.Sub(last); !last.IsZero() && early > grace {
		a.LeftEarly = early
	}
}
