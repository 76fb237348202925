package room

import (
	"slices"
	"time"

	"linehall/internal/observe"
	"linehall/sfu/chair"
	"linehall/sfu/signal"
)

// maxStandbys bounds the pages that may wait to be called.
const maxStandbys = 2 * MaxVenues

// standby is a venue's page that waits to be called: it takes no part and sends nothing.
type standby struct {
	venue  *VenueConfig // nil: of somebody who is no venue and is not called
	client signal.Client
	sent   signal.Standby
}

func (r *Room) standBy(venue *VenueConfig, client signal.Client) (*seat, error) {
	if len(r.standbys) >= maxStandbys {
		return nil, signal.ErrFull
	}
	s := &standby{venue: venue, client: client}
	r.standbys = append(r.standbys, s)
	r.tellMeeting() // the chair sees that the venue can be called
	r.tellStandbys()
	return &seat{room: r, client: client, standby: s}, nil
}

// standDown forgets a page.
func (r *Room) standDown(s *standby) {
	before := len(r.standbys)
	r.standbys = slices.DeleteFunc(r.standbys, func(o *standby) bool { return o == s })
	if len(r.standbys) < before {
		r.tellMeeting()
	}
}

func (r *Room) handleStandby(s *standby, q signal.Request) {
	switch q.Type {
	case "leave":
		s.client.End("")
		r.standDown(s)
	case "decline":
		r.decline(s)
	}
}

// decline ends the ringing at a venue.
func (r *Room) decline(s *standby) {
	now := time.Now()
	if s.venue == nil || r.meeting == nil || !r.called(s.venue.ID, now) {
		return
	}
	delete(r.calls, s.venue.ID)
	r.log.Info("call declined", observe.Site, string(s.venue.Site))
	r.record([]chair.Minute{{At: now, Actor: s.venue.ID, ActorName: chair.Name(s.venue.Name), Action: chair.Declined}}, now)
	r.tellMeeting()
}

func (r *Room) standsBy(venue string) bool {
	return slices.ContainsFunc(r.standbys, func(s *standby) bool { return s.venue != nil && s.venue.ID == venue })
}

// tellStandbys tells the pages that wait what goes on, if that has changed for them.
func (r *Room) tellStandbys() {
	if len(r.standbys) == 0 {
		return
	}
	now := time.Now()
	whole := signal.Standby{Type: "standby", Instance: r.manager.instance, Room: signal.RoomRef{Number: r.config.Number, Name: r.config.Name}}
	if r.meeting != nil {
		s := r.meeting.State()
		whole.Meeting = s.Meeting
		if s.Booking != nil {
			whole.Title = s.Booking.Title
		}
		for _, p := range r.participants {
			if !p.hidden() {
				whole.Present++
			}
		}
	}
	if next, ok := r.manager.options.Schedule.NextBooking(r.config.Number, now); ok {
		whole.NextTitle, whole.NextAt, whole.NextUntil = next.Title, next.StartsAt.UnixMilli(), next.EndsAt.UnixMilli()
	}
	for _, s := range r.standbys {
		m := whole
		if s.venue != nil {
			m.Venue, m.VenueName = s.venue.ID, signal.Text(s.venue.Name)
			if c := r.calls[s.venue.ID]; r.called(s.venue.ID, now) {
				m.Called, m.CalledBy, m.CalledUntil = true, c.by, c.until.UnixMilli()
			}
		}
		if m != s.sent {
			s.sent = m
			s.client.Send(m)
		}
	}
}
