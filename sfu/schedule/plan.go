package schedule

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"linehall/internal/setting"
)

// Bounds of a plan.
const (
	MaxTitle   = 80  // runes
	MaxNotes   = 500 // runes
	MaxMinutes = 24 * 60
	MaxVenues  = 64
	MaxSkipped = 200 // days struck out
	MinPIN     = 4
	MaxPIN     = 16
)

const (
	dateForm = "2006-01-02"
	timeForm = "15:04"
	// lastYear bounds dates, so that nothing has to be searched for ever.
	lastYear = 2099
)

// Plan is what somebody wants to be scheduled.
type Plan struct {
	Room    string `json:"room"`
	Title   string `json:"title"`
	Notes   string `json:"notes"`
	Date    string `json:"date"` // 2006-01-02: the day, or the first one
	Time    string `json:"time"` // 15:04, by the organisation's clocks
	Minutes int    `json:"minutes"`
	// Weekdays make it a series; none: it takes place once.
	Weekdays []time.Weekday `json:"weekdays"`
	Until    string         `json:"until"`   // last day of a series; "": open end
	Skipped  []string       `json:"skipped"` // days of a series on which it does not take place
	Venues   []string       `json:"venues"`  // are called at the start
	AutoEnd  bool           `json:"auto_end"`
	// PIN is asked of guests instead of the room's; "": the room's.
	PIN setting.Secret `json:"-"`
}

// Series is a plan with its history.
type Series struct {
	Plan

	ID          string
	Sequence    int
	CreatedBy   string
	CreatedAt   time.Time
	UpdatedAt   time.Time
	CancelledAt time.Time // zero: it takes place
}

// Weekly says whether it repeats.
func (p *Plan) Weekly() bool { return len(p.Weekdays) > 0 }

// Length is how long it takes.
func (p *Plan) Length() time.Duration { return time.Duration(p.Minutes) * time.Minute }

// Code says for pages what is wrong with a field.
type Code string

// The codes.
const (
	CodeRequired = Code("required")
	CodeUnknown  = Code("unknown")
	CodeTooLong  = Code("too_long")
	CodeFormat   = Code("format")
	CodeRange    = Code("range")
	CodePast     = Code("past")
	CodeNever    = Code("never")   // no day fits
	CodeOverlap  = Code("overlap") // the room is taken
)

// FieldError is what is wrong with one field of a plan.
type FieldError struct {
	Field string // as in the JSON of a plan; "pin"
	Code  Code
	Text  string
}

func (e *FieldError) Error() string { return e.Field + ": " + e.Text }

// complaints collects errors of fields.
type complaints struct{ list []error }

func (c *complaints) add(field string, code Code, format string, args ...any) {
	c.list = append(c.list, &FieldError{field, code, fmt.Sprintf(format, args...)})
}

func (c *complaints) err() error { return errors.Join(c.list...) }

// Fields unfolds what Create and Change refuse.
func Fields(err error) []*FieldError {
	if joined, ok := err.(interface{ Unwrap() []error }); ok {
		var list []*FieldError
		for _, one := range joined.Unwrap() {
			list = append(list, Fields(one)...)
		}
		return list
	}
	if one, ok := errors.AsType[*FieldError](err); ok {
		return []*FieldError{one}
	}
	return nil
}

// normal brings a plan into the one form in which it is stored.
func (p Plan) normal() Plan {
	p.Title, p.Notes = strings.TrimSpace(p.Title), strings.TrimSpace(p.Notes)
	p.Weekdays = slices.Compact(slices.Sorted(slices.Values(p.Weekdays)))
	p.Skipped = slices.Compact(slices.Sorted(slices.Values(p.Skipped)))
	p.Venues = slices.Clone(p.Venues)
	if !p.Weekly() {
		p.Until, p.Skipped = "", nil
	}
	return p
}

// check says which fields break which rules, apart from those that need other plans.
func (p *Plan) check(rooms []Room) error {
	var found complaints
	i := slices.IndexFunc(rooms, func(r Room) bool { return r.Number == p.Room })
	if i < 0 {
		found.add("room", CodeUnknown, "there is no room %q", p.Room)
	}
	text(&found, "title", p.Title, MaxTitle)
	if p.Title == "" {
		found.add("title", CodeRequired, "a meeting needs a title")
	}
	text(&found, "notes", p.Notes, MaxNotes)
	if p.Minutes < 1 || p.Minutes > MaxMinutes {
		found.add("minutes", CodeRange, "a meeting takes 1 minute to %d hours", MaxMinutes/60)
	}
	if len(p.Venues) > MaxVenues {
		found.add("venues", CodeTooLong, "at most %d venues", MaxVenues)
	}
	for j, v := range p.Venues {
		if i >= 0 && !slices.ContainsFunc(rooms[i].Venues, func(o Venue) bool { return o.ID == v }) {
			found.add("venues", CodeUnknown, "venue %q does not belong to room %s", v, p.Room)
		} else if slices.Contains(p.Venues[:j], v) {
			found.add("venues", CodeFormat, "venue %q is named twice", v)
		}
	}
	if pin := p.PIN.Reveal(); pin != "" && (len(pin) < MinPIN || len(pin) > MaxPIN || strings.Trim(pin, "0123456789") != "") {
		found.add("pin", CodeFormat, "a PIN has %d to %d digits: it is typed on phones", MinPIN, MaxPIN)
	}
	p.checkDays(&found)
	return found.err()
}

func (p *Plan) checkDays(found *complaints) {
	if _, err := time.Parse(timeForm, p.Time); err != nil {
		found.add("time", CodeFormat, "a time is written 09:30")
	}
	first, ok := day(found, "date", p.Date)
	for _, w := range p.Weekdays {
		if w < time.Sunday || w > time.Saturday {
			found.add("weekdays", CodeFormat, "there is no such weekday")
		}
	}
	if len(p.Skipped) > MaxSkipped {
		found.add("skipped", CodeTooLong, "at most %d days are struck out", MaxSkipped)
	}
	for _, d := range p.Skipped {
		day(found, "skipped", d)
	}
	if p.Until == "" {
		return
	}
	if last, fine := day(found, "until", p.Until); ok && fine && last.Before(first) {
		found.add("until", CodeRange, "the last day is before the first")
	}
}

func day(found *complaints, field, value string) (time.Time, bool) {
	d, err := time.Parse(dateForm, value)
	switch {
	case err != nil:
		found.add(field, CodeFormat, "a day is written 2026-12-01")
	case d.Year() < 2000 || d.Year() > lastYear:
		found.add(field, CodeRange, "a day is between 2000 and %d", lastYear)
	default:
		return d, true
	}
	return d, false
}

func text(found *complaints, field, value string, most int) {
	if utf8.RuneCountInString(value) > most {
		found.add(field, CodeTooLong, "at most %d characters", most)
	}
	if !utf8.ValidString(value) || strings.ContainsFunc(value, func(r rune) bool { return r != '\n' && (unicode.IsControl(r) || unicode.In(r, unicode.Bidi_Control)) }) {
		found.add(field, CodeFormat, "no control characters")
	}
}
