package room_test

import (
	"path/filepath"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"linehall/internal/auth"
	"linehall/internal/database"
	"linehall/sfu/chair"
	"linehall/sfu/room"
	"linehall/sfu/signal"
)

// planned is a schedule of a few bookings, which a test changes.
type planned struct {
	mu   sync.Mutex
	list []chair.Booking // in order
	pins map[string]string
}

func (p *planned) set(list ...chair.Booking) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.list = list
}

func (p *planned) Booking(_ string, at time.Time) (chair.Booking, bool) {
	return p.find(func(b chair.Booking) bool { return at.Add(15*time.Minute).After(b.StartsAt) && at.Before(b.EndsAt) })
}

func (p *planned) NextBooking(_ string, at time.Time) (chair.Booking, bool) {
	return p.find(func(b chair.Booking) bool { return b.StartsAt.After(at) })
}

func (p *planned) find(fits func(chair.Booking) bool) (chair.Booking, bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if i := slices.IndexFunc(p.list, fits); i >= 0 {
		return p.list[i], true
	}
	return chair.Booking{}, false
}

func (p *planned) PIN(key string) string { return p.pins[key] }

func booked(key string, from, to time.Duration) chair.Booking {
	now := time.Now()
	return chair.Booking{Key: key, Title: "题" + key, StartsAt: now.Add(from), EndsAt: now.Add(to), AutoEnd: true, Venues: []string{"hq", "branch1", "branch2"}}
}

func (c *client) minuted(action, target string) {
	c.t.Helper()
	c.await("minutes of "+action, func() bool {
		return slices.ContainsFunc(c.minutes, func(m signal.Minute) bool { return m.Action == action && m.Target == target })
	})
}

func TestAScheduledMeetingCallsItsVenues(t *testing.T) {
	t.Parallel()
	plan := &planned{}
	w := chairWorld(t, nil, worldOptions{plan: plan})
	tv := w.joinAs(t, "branch1", map[string]any{"standby": true})
	third := w.joinAs(t, "branch3", map[string]any{"standby": true})
	tv.await("standing by", func() bool {
		return tv.standby.Venue == "branch1" && tv.standby.Meeting == "" && tv.standby.NextAt == 0
	})
	hq := w.joinAs(t, "hq", nil)
	hq.order("an ad hoc meeting", func(m signal.Meeting) bool { return m.Title == "" && m.EndsAt == nil })
	plan.set(booked("a", time.Second, time.Hour), booked("b", 2*time.Hour, 3*time.Hour))
	tv.await("what comes", func() bool { return tv.standby.NextTitle == "题a" || tv.standby.NextTitle == "题b" })
	tv.await("the call", func() bool { return tv.standby.Called && tv.standby.Title == "题a" && tv.standby.CalledBy.Zh == "" })
	hq.order("the scheduled meeting", func(m signal.Meeting) bool {
		return m.Title == "题a" && m.EndsAt != nil && m.Venues[1].Called && m.Venues[1].StandsBy && m.Venues[2].Called && !m.Venues[0].Called && !m.Venues[3].Called
	})
	third.await("told, not called", func() bool { return third.standby.Meeting != "" && !third.standby.Called })

	in := w.joinAs(t, "branch1", nil)
	in.await("welcome", func() bool { return in.welcome.Participant != "" })
	tv.await("the ringing ends", func() bool { return !tv.standby.Called && tv.standby.Present == 2 })

	page := w.joinAs(t, "hq", map[string]any{"control": true})
	page.act(chair.RequestChair, nil)
	page.order("a chair", func(m signal.Meeting) bool { return m.You.Chair })
	page.minuted(chair.CallVenue, "branch2")
	page.minuted(chair.Booked, "")
	page.act(chair.CallVenue, map[string]any{"target": "branch4"})
	page.refusal(chair.CallVenue, "unreachable")
	page.act(chair.CallVenue, map[string]any{"target": "branch3"})
	third.await("the chair calls", func() bool { return third.standby.Called && third.standby.CalledBy.En == "Venue hq" })
	third.send(map[string]any{"type": "decline"})
	third.await("declined", func() bool { return !third.standby.Called })
	page.minuted(chair.Declined, "")
	page.act(chair.Extend, map[string]any{"seconds": 2 * 3600})
	page.refusal(chair.Extend, "booked")
	page.act(chair.Extend, map[string]any{"seconds": 900})
	page.order("extended", func(m signal.Meeting) bool { return time.Until(*m.EndsAt) > 70*time.Minute })

	// The chair closes early: it does not begin again by itself.
	page.act(chair.End, nil)
	tv.await("over", func() bool { return tv.standby.Meeting == "" })
	again := w.joinAs(t, "hq", nil)
	again.order("ad hoc", func(m signal.Meeting) bool { return m.Title == "" && m.EndsAt == nil })
	// The next one takes it over without anybody being thrown out, and the one after that ends it.
	plan.set(booked("c", 0, time.Hour))
	again.order("taken over", func(m signal.Meeting) bool { return m.Title == "题c" })
	plan.set(booked("d", 0, time.Hour))
	again.await("ended by the next", func() bool { return again.ended == signal.Over })
	tv.await("the next", func() bool { return tv.standby.Title == "题d" && tv.standby.Called })
}

func TestAScheduledMeetingHasItsOwnPIN(t *testing.T) {
	t.Parallel()
	plan := &planned{pins: map[string]string{"a": "135790"}}
	w := chairWorld(t, func(s *room.Settings) { s.PIN = "1111" }, worldOptions{plan: plan})
	w.who = func(name string) auth.Principal {
		return auth.Principal{Kind: auth.KindUser, Role: auth.User, Name: name}
	}
	plan.set(booked("a", 10*time.Minute, time.Hour)) // begins soon: it is what the room is for
	wrong := w.joinAs(t, "zhang", map[string]any{"pin": "1111"})
	wrong.await("the room's PIN is not the meeting's", func() bool { return refused(wrong, "pin_wrong") })
	right := w.joinAs(t, "zhang", map[string]any{"pin": "135790"})
	right.order("in the meeting", func(m signal.Meeting) bool { return m.Title == "题a" })
	plan.set(booked("b", 10*time.Minute, time.Hour)) // moved: the one that has begun stays what it is
	again := w.joinAs(t, "li", map[string]any{"pin": "135790"})
	again.await("welcome", func() bool { return again.welcome.Participant != "" })
}

func TestAMeetingThatWasClosedDoesNotBeginAgainAfterARestart(t *testing.T) {
	t.Parallel()
	db, err := database.Open(t.Context(), filepath.Join(t.TempDir(), "x.db"))
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close() //nolint:errcheck // of a test
	if err := database.Migrate(t.Context(), db, room.Schema()); err != nil {
		t.Fatal(err)
	}
	plan := &planned{}
	b := booked("a", 0, time.Hour)
	plan.set(b)
	life := func() (*world, *room.Book, func()) {
		conn, err := db.Conn(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		writer, err := database.NewWriter(t.Context(), conn)
		if err != nil {
			t.Fatal(err)
		}
		book, err := room.OpenBook(t.Context(), db, writer, discard(), prometheus.NewRegistry())
		if err != nil {
			t.Fatal(err)
		}
		w := chairWorld(t, nil, worldOptions{book: book, plan: plan})
		return w, book, func() { w.stop(); writer.Close(); _ = conn.Close() }
	}
	w, _, end := life()
	hq := w.joinAs(t, "hq", nil)
	hq.order("booked", func(m signal.Meeting) bool { return m.Title == "题a" })
	id := hq.meeting.ID
	end()
	w, _, end = life()
	hq = w.joinAs(t, "hq", nil)
	hq.order("carried on", func(m signal.Meeting) bool { return m.ID == id && m.Title == "题a" })
	hq.act(chair.RequestChair, nil)
	hq.order("a chair", func(m signal.Meeting) bool { return m.You.Chair })
	hq.act(chair.End, nil)
	hq.await("ended", func() bool { return hq.ended == signal.Over })
	end()
	w, book, end := life()
	defer end()
	hq = w.joinAs(t, "hq", nil)
	hq.order("another meeting, ad hoc", func(m signal.Meeting) bool { return m.ID != id && m.Title == "" })
	list, err := book.Meetings(t.Context(), "9000", 10)
	if err != nil || list[len(list)-1].Booking == nil || list[len(list)-1].Booking.Key != "a" {
		t.Errorf("%v %+v", err, list)
	}
}
