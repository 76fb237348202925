package room

import (
	"time"

	"linehall/sfu/chair"
	"linehall/sfu/signal"
)

// Schedule knows what rooms are booked for. Its methods answer from memory.
type Schedule interface {
	// Booking is the meeting that is on in a room, or begins within minutes.
	Booking(room string, at time.Time) (chair.Booking, bool)
	// NextBooking is the next one that has not begun.
	NextBooking(room string, at time.Time) (chair.Booking, bool)
	// PIN is what guests of a booked meeting are asked for; "": what the room asks for.
	PIN(key string) string
}

// unscheduled has no bookings.
type unscheduled struct{}

func (unscheduled) Booking(string, time.Time) (chair.Booking, bool) { return chair.Booking{}, false }

func (unscheduled) NextBooking(string, time.Time) (chair.Booking, bool) {
	return chair.Booking{}, false
}
func (unscheduled) PIN(string) string { return "" }

const (
	// ringTime is how long the page of a venue rings that the chair calls.
	ringTime = time.Minute
	// gatherTime is how long it rings at the start of a scheduled meeting: until the last one has come into the room.
	gatherTime = 5 * time.Minute
)

// agenda is what the schedule has brought about.
type agenda struct {
	held  string // booking whose meeting has ended: it does not begin again
	rung  string // booking whose venues were called
	calls map[string]ringing
}

// ringing is a call to a venue.
type ringing struct {
	by    signal.Text // who calls; empty: the schedule
	until time.Time
}

// booking is the scheduled meeting that the room is for, unless it has been held.
func (r *Room) booking(now time.Time) (chair.Booking, bool) {
	b, ok := r.manager.options.Schedule.Booking(r.config.Number, now)
	return b, ok && b.Key != r.held
}

// followSchedule begins what is due: a scheduled meeting takes over what goes on without a plan, and ends the one before it.
func (r *Room) followSchedule(now time.Time) {
	for venue, c := range r.calls {
		if !now.Before(c.until) {
			delete(r.calls, venue)
			r.tellMeeting()
			r.tellStandbys()
		}
	}
	if b, ok := r.booking(now); ok && !now.Before(b.StartsAt) {
		if r.meeting != nil {
			if mine := r.meeting.State().Booking; mine != nil && mine.Key != b.Key {
				r.record([]chair.Minute{{At: now, Action: chair.TimeUp}}, now)
				r.endMeeting(signal.Over, now)
			} else if mine == nil {
				r.record(r.meeting.Book(b, now), now)
				r.tellMeeting()
			}
		}
		r.openMeeting(now)
	}
	r.gather(now)
	r.tellStandbys() // the plan may have changed
}

// gather calls the venues of the scheduled meeting once it is time.
func (r *Room) gather(now time.Time) {
	if r.meeting == nil {
		return
	}
	b := r.meeting.State().Booking
	if b == nil || b.Key == r.rung || now.Before(b.StartsAt) {
		return
	}
	r.rung = b.Key
	until := b.StartsAt.Add(gatherTime)
	if !now.Before(until) {
		return // we have come up again long after it began
	}
	var absent []string
	var minutes []chair.Minute
	for _, p := range r.venuePersons() {
		for _, id := range b.Venues {
			if p.Member == id && !r.meeting.Present(id) {
				absent = append(absent, id)
				minutes = append(minutes, chair.Minute{At: now, Action: chair.CallVenue, Target: id, TargetName: p.Name})
			}
		}
	}
	r.record(minutes, now)
	r.call(absent, signal.Text{}, until)
	r.tellMeeting()
}

// call has the pages of venues ring.
func (r *Room) call(venues []string, by signal.Text, until time.Time) {
	if r.calls == nil {
		r.calls = map[string]ringing{}
	}
	for _, id := range venues {
		r.calls[id] = ringing{by, until}
	}
	if len(venues) > 0 {
		r.tellStandbys()
	}
}

func (r *Room) called(venue string, now time.Time) bool { return now.Before(r.calls[venue].until) }

// awaited says whether a meeting without anybody is kept because people may still come to it.
func (r *Room) awaited(now time.Time) bool {
	b := r.meeting.State().Booking
	return b != nil && now.Before(b.EndsAt)
}

// pin is what guests are asked for now.
func (r *Room) pin(now time.Time) string {
	key := ""
	if r.meeting == nil {
		if b, ok := r.booking(now); ok {
			key = b.Key
		}
	} else if b := r.meeting.State().Booking; b != nil {
		key = b.Key
	}
	if key != "" {
		if pin := r.manager.options.Schedule.PIN(key); pin != "" {
			return pin
		}
	}
	return r.config.PIN.Reveal()
}

// possible judges what an act needs besides the order of the meeting: pages that can ring, an hour that is free.
func (r *Room) possible(q signal.Request, now time.Time) error {
	switch q.Act {
	case chair.CallVenue:
		if q.Target != chair.Everybody && !r.standsBy(q.Target) && !r.meeting.Present(q.Target) {
			return chair.ErrNoPage
		}
	case chair.Extend:
		from := now
		if end := r.meeting.State().EndsAt; end.After(now) {
			from = end
		}
		next, ok := r.manager.options.Schedule.NextBooking(r.config.Number, now)
		if mine := r.meeting.State().Booking; ok && (mine == nil || mine.Key != next.Key) && next.StartsAt.Before(from.Add(time.Duration(q.Seconds)*time.Second)) {
			return chair.ErrBooked
		}
	}
	return nil
}
