package schedule

import (
	"context"
	"crypto/rand"
	"database/sql"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"linehall/internal/secret"
	"linehall/sfu/chair"
)

const (
	// Early is how long before its start a meeting takes its room: who comes then is in it, and is asked for its PIN.
	Early = 15 * time.Minute
	// keepCancelled is how long calendars are told that a meeting was cancelled.
	keepCancelled = 60 * 24 * time.Hour
	maxSeries     = 2000
)

// ErrNotFound means that there is no such plan or feed.
var ErrNotFound = errors.New("no such scheduled meeting")

// ErrFull means that there are too many plans.
var ErrFull = fmt.Errorf("there are %d scheduled meetings: cancel old ones first", maxSeries)

// Venue is a place that can be called.
type Venue struct{ ID, Name string }

// Room is where meetings can be planned.
type Room struct {
	Number, Name string
	Venues       []Venue
}

// Service holds the plans.
type Service struct {
	store store
	now   func() time.Time

	mu     sync.RWMutex // guards all below; not held over database work except by writers, who hold write
	zone   *time.Location
	rooms  []Room
	series map[string]*Series // values are never written to: a change puts a new one

	write sync.Mutex // one change at a time, so that two cannot take the same hour; taken before mu
}

// Open reads the plans. The zero time zone is UTC until Apply.
func Open(ctx context.Context, db *sql.DB, box *secret.Box) (*Service, error) {
	s := &Service{store: store{db, box}, now: time.Now, zone: time.UTC, series: map[string]*Series{}}
	list, err := s.store.load(ctx)
	if err != nil {
		return nil, fmt.Errorf("schedule: %w", err)
	}
	for _, one := range list {
		s.series[one.ID] = one
	}
	return s, nil
}

// Apply takes the organisation's time zone and the rooms in which meetings can be planned. Plans of rooms that are gone stay.
func (s *Service) Apply(zone *time.Location, rooms []Room) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.zone, s.rooms = zone, rooms
}

// Zone is the organisation's time zone.
func (s *Service) Zone() *time.Location {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return s.zone
}

// List returns the plans of a room, or of all, those that begin first first.
func (s *Service) List(room string) []*Series {
	s.mu.RLock()
	defer s.mu.RUnlock()
	var list []*Series
	for _, one := range s.series {
		if room == "" || one.Room == room {
			list = append(list, one)
		}
	}
	slices.SortFunc(list, func(a, b *Series) int {
		return strings.Compare(a.Date+a.Time+a.ID, b.Date+b.Time+b.ID)
	})
	return list
}

// Find returns a plan; it must not be changed.
func (s *Service) Find(id string) (*Series, error) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	if one := s.series[id]; one != nil {
		return one, nil
	}
	return nil, ErrNotFound
}

// Next returns when a plan takes place next, or does now.
func (s *Service) Next(one *Series) (Occurrence, bool) { return one.next(s.Zone(), s.now()) }

// Between lists the meetings in a room, or in all, that are on between two moments, in order.
func (s *Service) Between(room string, from, to time.Time) []Occurrence {
	s.mu.RLock()
	zone, all := s.zone, slices.Collect(maps.Values(s.series))
	s.mu.RUnlock()
	var list []Occurrence
	for _, one := range all {
		if room != "" && one.Room != room {
			continue
		}
		one.each(zone, from, to, func(o Occurrence) bool {
			list = append(list, o)
			return true
		})
	}
	slices.SortFunc(list, func(a, b Occurrence) int {
		return cmpOr(a.StartsAt.Compare(b.StartsAt), strings.Compare(a.Key(), b.Key()))
	})
	return list
}

func cmpOr(a, b int) int {
	if a != 0 {
		return a
	}
	return b
}

// Booking says what a room is for at a moment: the meeting that is on, or the one that begins within Early.
func (s *Service) Booking(room string, at time.Time) (chair.Booking, bool) {
	list := s.Between(room, at, at.Add(Early))
	if len(list) == 0 {
		return chair.Booking{}, false
	}
	return booking(list[0]), true // the one that is on began before the one that will
}

// NextBooking is the next meeting of a room that has not begun.
func (s *Service) NextBooking(room string, at time.Time) (chair.Booking, bool) {
	for _, o := range s.Between(room, at, at.AddDate(0, 0, 14)) {
		if o.StartsAt.After(at) {
			return booking(o), true
		}
	}
	return chair.Booking{}, false
}

func booking(o Occurrence) chair.Booking {
	return chair.Booking{
		Key: o.Key(), Title: o.Series.Title, StartsAt: o.StartsAt, EndsAt: o.EndsAt, AutoEnd: o.Series.AutoEnd, Venues: slices.Clone(o.Series.Venues),
	}
}

// PIN is what guests are asked for in a booked meeting; "": what the room asks for.
func (s *Service) PIN(key string) string {
	id, _, _ := strings.Cut(key, "/")
	one, err := s.Find(id)
	if err != nil {
		return ""
	}
	return one.PIN.Reveal()
}

// Create schedules a meeting.
func (s *Service) Create(ctx context.Context, p Plan, by string) (*Series, error) {
	s.write.Lock()
	defer s.write.Unlock()
	now := s.now().Truncate(time.Second)
	if err := s.sweep(ctx, now); err != nil {
		return nil, err
	}
	one := &Series{Plan: p.normal(), ID: "m" + strings.ToLower(rand.Text()[:10]), CreatedBy: by, CreatedAt: now, UpdatedAt: now}
	if err := s.judge(one, now); err != nil {
		return nil, err
	}
	return one, s.put(ctx, one)
}

// Check says what is wrong with a plan, as Create would for "" or Change for a series, without doing anything.
func (s *Service) Check(id string, p Plan) error {
	return s.judge(&Series{Plan: p.normal(), ID: id}, s.now())
}

// Change replaces the plan of a series. Without a PIN it keeps the one it has, unless clearPIN.
func (s *Service) Change(ctx context.Context, id string, p Plan, clearPIN bool) (*Series, error) {
	return s.alter(ctx, id, func(one *Series) {
		if p.PIN == "" && !clearPIN {
			p.PIN = one.PIN
		}
		one.Plan, one.CancelledAt = p.normal(), time.Time{}
	})
}

// Cancel calls a meeting off. Calendars that subscribe to it are told for keepCancelled.
func (s *Service) Cancel(ctx context.Context, id string) (*Series, error) {
	s.write.Lock()
	defer s.write.Unlock()
	old, err := s.Find(id)
	if err != nil || !old.CancelledAt.IsZero() {
		return old, err
	}
	one := *old
	one.Sequence++
	one.UpdatedAt = s.now().Truncate(time.Second)
	one.CancelledAt = one.UpdatedAt
	return &one, s.put(ctx, &one)
}

// Skip strikes one day of a series out, or takes that back.
func (s *Service) Skip(ctx context.Context, id, date string, skip bool) (*Series, error) {
	return s.alter(ctx, id, func(one *Series) {
		one.Skipped = slices.DeleteFunc(slices.Clone(one.Skipped), func(d string) bool { return d == date })
		if skip {
			one.Skipped = append(one.Skipped, date)
		}
		one.Plan = one.normal()
	})
}

func (s *Service) alter(ctx context.Context, id string, change func(*Series)) (*Series, error) {
	s.write.Lock()
	defer s.write.Unlock()
	old, err := s.Find(id)
	if err != nil {
		return nil, err
	}
	now := s.now().Truncate(time.Second)
	one := *old
	change(&one)
	one.Sequence++ // RFC 5545 §3.8.7.4: every significant change
	one.UpdatedAt = now
	if err := s.judge(&one, now); err != nil {
		return nil, err
	}
	return &one, s.put(ctx, &one)
}

// judge says whether a series can take place.
func (s *Service) judge(one *Series, now time.Time) error {
	s.mu.RLock()
	zone, rooms, all := s.zone, s.rooms, slices.Collect(maps.Values(s.series))
	s.mu.RUnlock()
	if err := one.check(rooms); err != nil {
		return err
	}
	var found complaints
	switch _, ok := one.next(zone, now); {
	case !ok && one.Weekly():
		found.add("weekdays", CodeNever, "no day of the series is still to come")
	case !ok:
		found.add("date", CodePast, "that time is over")
	case one.collides(zone, now):
		found.add("minutes", CodeOverlap, "each meeting takes longer than there is time until the next")
	}
	known := false
	for _, other := range all {
		if other.ID == one.ID {
			known = true
			continue
		}
		if other.Room != one.Room {
			continue
		}
		if o, hit := overlap(zone, one, other, now); hit {
			found.add("time", CodeOverlap, "the room has %q from %s", other.Title, o.StartsAt.Format("2006-01-02 15:04"))
			break
		}
	}
	if !known && len(all) >= maxSeries {
		return ErrFull
	}
	return found.err()
}

func (s *Service) put(ctx context.Context, one *Series) error {
	if err := s.store.save(ctx, one); err != nil {
		return fmt.Errorf("scheduled meeting %s: %w", one.ID, err)
	}
	s.mu.Lock()
	s.series[one.ID] = one
	s.mu.Unlock()
	return nil
}

// sweep forgets what was cancelled long ago, and single meetings a year after they were.
func (s *Service) sweep(ctx context.Context, now time.Time) error {
	for _, one := range s.List("") {
		gone := !one.CancelledAt.IsZero() && now.Sub(one.CancelledAt) > keepCancelled
		if one.CancelledAt.IsZero() {
			_, coming := one.next(s.Zone(), now.AddDate(-1, 0, 0))
			gone = !coming
		}
		if !gone {
			continue
		}
		if err := s.store.remove(ctx, one.ID); err != nil {
			return fmt.Errorf("scheduled meeting %s: %w", one.ID, err)
		}
		s.mu.Lock()
		delete(s.series, one.ID)
		s.mu.Unlock()
	}
	return nil
}
