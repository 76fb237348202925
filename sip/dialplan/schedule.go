package dialplan

import (
	"fmt"
	"strings"
	"time"

	"linehall/internal/setting"
)

// SpanConfig is a time of the week: on these days, from one time of day to another. A span whose
// end is not after its beginning runs over midnight into the next day.
type SpanConfig struct {
	Days Days  `yaml:"days"` // mon-fri, or sat,sun; "" = every day
	From Clock `yaml:"from"` // "08:30"
	To   Clock `yaml:"to"`   // "17:30"; "24:00" is the end of the day
}

// Covers reports whether the moment lies in the span; at is in the organisation's time zone.
func (s SpanConfig) Covers(at time.Time) bool {
	now := Clock(at.Hour()*60 + at.Minute())
	if s.From < s.To {
		return s.Days.Has(at.Weekday()) && now >= s.From && now < s.To
	}
	return s.Days.Has(at.Weekday()) && now >= s.From || s.Days.Has(before(at.Weekday())) && now < s.To
}

func before(d time.Weekday) time.Weekday { return (d + 6) % 7 }

func (s SpanConfig) validate() error {
	var found setting.Complaints
	if s.From == s.To {
		found.Add("to", "the time from %s to %s is empty; a whole day is 00:00 to 24:00", s.From, s.To)
	}
	return found.Err()
}

func (s SpanConfig) String() string {
	return fmt.Sprintf("%s %s-%s", s.Days, s.From, s.To)
}

// Days is a set of days of the week.
type Days uint8

var dayNames = []string{"sun", "mon", "tue", "wed", "thu", "fri", "sat"} //nolint:gochecknoglobals // a constant list, by time.Weekday

const everyDay Days = 1<<7 - 1

// Has reports whether the day is in the set; the zero set is every day.
func (d Days) Has(day time.Weekday) bool { return d == 0 || d&(1<<day) != 0 }

// UnmarshalText reads "mon-fri", "sat,sun" or "mon-wed, fri".
func (d *Days) UnmarshalText(text []byte) error {
	*d = 0
	if strings.TrimSpace(string(text)) == "" {
		return nil
	}
	for part := range strings.SplitSeq(strings.ToLower(string(text)), ",") {
		first, last, isRange := strings.Cut(strings.TrimSpace(part), "-")
		a, err := dayOf(first)
		if err != nil {
			return err
		}
		b := a
		if isRange {
			if b, err = dayOf(last); err != nil {
				return err
			}
		}
		for day := a; ; day = (day + 1) % 7 {
			*d |= 1 << day
			if day == b {
				break
			}
		}
	}
	return nil
}

func dayOf(word string) (int, error) {
	word = strings.TrimSpace(word)
	for i, name := range dayNames {
		if word == name || (len(word) > 3 && word == strings.ToLower(time.Weekday(i).String())) {
			return i, nil
		}
	}
	return 0, fmt.Errorf("unknown day %q; write them like mon-fri or sat,sun", word)
}

// MarshalText writes the set.
func (d Days) MarshalText() ([]byte, error) { return []byte(d.String()), nil }

// String writes ranges that begin on Monday: "mon-fri", "mon-sun" for every day.
func (d Days) String() string {
	if d == 0 {
		d = everyDay
	}
	var parts []string
	for i := 0; i < 7; i++ {
		if d&(1<<((i+1)%7)) == 0 {
			continue
		}
		last := i
		for last < 6 && d&(1<<((last+2)%7)) != 0 {
			last++
		}
		name := dayNames[(i+1)%7]
		switch {
		case last == i+1:
			name += "," + dayNames[(last+1)%7]
		case last > i:
			name += "-" + dayNames[(last+1)%7]
		}
		parts = append(parts, name)
		i = last
	}
	return strings.Join(parts, ",")
}

// Clock is a time of day in minutes since midnight, written "08:30".
type Clock int

const dayMinutes = 24 * 60

// UnmarshalText reads "08:30", and "24:00" as the end of the day.
func (c *Clock) UnmarshalText(text []byte) error {
	word := strings.TrimSpace(string(text))
	hour, minute, ok := strings.Cut(word, ":")
	h, okHour := twoDigits(hour)
	m, okMinute := twoDigits(minute)
	if !ok || !okHour || !okMinute || len(minute) != 2 || m > 59 || h*60+m > dayMinutes {
		return fmt.Errorf("%q is no time of day; write it like \"08:30\", at most \"24:00\"", word)
	}
	*c = Clock(h*60 + m)
	return nil
}

func twoDigits(s string) (int, bool) {
	if len(s) == 0 || len(s) > 2 {
		return 0, false
	}
	n := 0
	for _, c := range s {
		if c < '0' || c > '9' {
			return 0, false
		}
		n = n*10 + int(c-'0')
	}
	return n, true
}

// MarshalText writes "08:30".
func (c Clock) MarshalText() ([]byte, error) { return []byte(c.String()), nil }

// String writes "08:30".
func (c Clock) String() string { return fmt.Sprintf("%02d:%02d", int(c)/60, int(c)%60) }

// Dates is one day or an inclusive range of days: 2026-10-01..2026-10-07.
type Dates struct{ First, Last string }

// UnmarshalText reads "2026-10-01" or "2026-10-01..2026-10-07".
func (d *Dates) UnmarshalText(text []byte) error {
	word := strings.TrimSpace(string(text))
	first, last, isRange := strings.Cut(word, "..")
	if !isRange {
		last = first
	}
	for _, day := range []string{first, last} {
		if _, err := time.Parse(time.DateOnly, day); err != nil {
			return fmt.Errorf("%q is no date; write it like 2026-10-01, a range like 2026-10-01..2026-10-07", day)
		}
	}
	if last < first {
		return fmt.Errorf("the dates %q end before they begin; did you mean %q?", word, last+".."+first)
	}
	*d = Dates{First: first, Last: last}
	return nil
}

// MarshalText writes what UnmarshalText reads.
func (d Dates) MarshalText() ([]byte, error) { return []byte(d.String()), nil }

// String writes what UnmarshalText reads.
func (d Dates) String() string {
	if d.First == d.Last {
		return d.First
	}
	return d.First + ".." + d.Last
}

// Has reports whether the day of at lies in the range.
func (d Dates) Has(at time.Time) bool {
	day := at.Format(time.DateOnly) // ISO dates sort like time
	return d.First <= day && day <= d.Last
}

// CalendarConfig says when the organisation, or a part of it, is open.
type CalendarConfig struct {
	Name string       `yaml:"name"`
	Open []SpanConfig `yaml:"open"`
	// Holidays are closed whatever the weekday says.
	Holidays []Dates `yaml:"holidays"`
	// Workdays are open like a Monday although they fall on a weekend (调休).
	Workdays []Dates `yaml:"workdays"`
}

// Hours is what a calendar says of a moment.
type Hours string

// The hours.
const (
	Open    Hours = "open"
	Closed  Hours = "closed"
	Holiday Hours = "holiday"
)

// At says whether it is open at that moment, which is in the organisation's time zone. A workday
// wins over a holiday that it lies in.
func (c CalendarConfig) At(at time.Time) Hours {
	switch {
	case covered(c.Workdays, at):
		at = onMonday(at)
	case covered(c.Holidays, at):
		return Holiday
	}
	for _, span := range c.Open {
		if span.Covers(at) {
			return Open
		}
	}
	return Closed
}

func covered(ranges []Dates, at time.Time) bool {
	for _, r := range ranges {
		if r.Has(at) {
			return true
		}
	}
	return false
}

// onMonday is the same time of day on a Monday. The arithmetic is in UTC, where every day has 24 hours.
func onMonday(at time.Time) time.Time {
	return time.Date(2001, time.January, 1, at.Hour(), at.Minute(), 0, 0, time.UTC) // a Monday
}

func (c CalendarConfig) validate() error {
	var found setting.Complaints
	if c.Name == "" {
		found.Add("name", "a calendar needs a name")
	}
	if len(c.Open) == 0 {
		found.Add("open", "calendar %q is never open", c.Name)
	}
	for i, span := range c.Open {
		found.Merge(setting.Index("open", i), span.validate())
	}
	for i, day := range c.Holidays {
		for j, other := range c.Holidays[:i] {
			if day.First <= other.Last && other.First <= day.Last {
				found.Add(setting.Index("holidays", i), "%s overlaps %s at place %d", day, other, j+1)
			}
		}
	}
	return found.Err()
}
