package schedule

import (
	"slices"
	"time"
)

// Occurrence is one meeting of a series.
type Occurrence struct {
	Series   *Series
	Date     string // of its start
	StartsAt time.Time
	EndsAt   time.Time
}

// Key names the occurrence for ever.
func (o Occurrence) Key() string { return o.Series.ID + "/" + o.Date }

// each calls f for every occurrence that ends after from and begins before to, in order, until f returns false. Cancelled
// series have none.
func (s *Series) each(zone *time.Location, from, to time.Time, f func(Occurrence) bool) {
	first, err := time.Parse(dateForm, s.Date)
	if err != nil || !s.CancelledAt.IsZero() {
		return
	}
	last := first
	if s.Weekly() {
		last = time.Date(lastYear, time.December, 31, 0, 0, 0, 0, time.UTC)
		if until, err := time.Parse(dateForm, s.Until); err == nil {
			last = until
		}
		// A meeting that began a day before from may still go on, and the zone may be a day off UTC.
		if near := from.UTC().Truncate(24*time.Hour).AddDate(0, 0, -2); near.After(first) {
			first = near
		}
	}
	for d := first; !d.After(last); d = d.AddDate(0, 0, 1) {
		if s.Weekly() && !slices.Contains(s.Weekdays, d.Weekday()) {
			continue
		}
		date := d.Format(dateForm)
		start := s.startOn(zone, d)
		if !start.Before(to) {
			return
		}
		o := Occurrence{Series: s, Date: date, StartsAt: start, EndsAt: start.Add(s.Length())}
		if slices.Contains(s.Skipped, date) || !o.EndsAt.After(from) {
			continue
		}
		if !f(o) {
			return
		}
	}
}

func (s *Series) startOn(zone *time.Location, d time.Time) time.Time {
	clock, err := time.Parse(timeForm, s.Time)
	if err != nil {
		clock = time.Time{} // checked when it was written
	}
	return time.Date(d.Year(), d.Month(), d.Day(), clock.Hour(), clock.Minute(), 0, 0, zone)
}

// next is the first occurrence that ends after from.
func (s *Series) next(zone *time.Location, from time.Time) (Occurrence, bool) {
	var found Occurrence
	ok := false
	s.each(zone, from, from.AddDate(100, 0, 0), func(o Occurrence) bool {
		found, ok = o, true
		return false
	})
	return found, ok
}

// horizon is how far ahead two series are compared: a year and the weeks around it.
const horizon = 400 * 24 * time.Hour

// overlap finds the first time at which two series want the same room.
func overlap(zone *time.Location, a, b *Series, from time.Time) (Occurrence, bool) {
	var list []Occurrence
	b.each(zone, from, from.Add(horizon), func(o Occurrence) bool {
		list = append(list, o)
		return true
	})
	var found Occurrence
	hit := false
	i := 0
	a.each(zone, from, from.Add(horizon), func(o Occurrence) bool {
		for i < len(list) && !list[i].EndsAt.After(o.StartsAt) {
			i++
		}
		if i < len(list) && list[i].StartsAt.Before(o.EndsAt) {
			found, hit = list[i], true
		}
		return !hit
	})
	return found, hit
}

// collides says whether a series is in its own way: a meeting that takes longer than there is time until the next.
func (s *Series) collides(zone *time.Location, from time.Time) bool {
	var before time.Time
	hit, seen := false, 0
	s.each(zone, from, from.Add(horizon), func(o Occurrence) bool {
		hit = o.StartsAt.Before(before)
		before = o.EndsAt
		seen++
		return !hit && seen < 16 // two weeks say it
	})
	return hit
}
