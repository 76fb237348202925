package sheet

import (
	"fmt"
	"time"
)

// referenceYear is the one whose rules say what a zone does: taking the
// current year would change every file on New Year's Day.
const referenceYear = 2026

// zone is a time zone in the forms that phones want.
type zone struct {
	Name    string // IANA; "" = not known, then nothing about it is written
	Country string // of the zones that phones know by country; "" = other
	Seconds int    // standard time, east of Greenwich
	Summer  bool
	Start   change // of summer time
	End     change
}

// change is when the clock is turned: the week counts from 1, 5 is the last.
type change struct {
	Month, Week, Weekday, Hour int // weekday 0 is Sunday; the hour is by the clock before
	Day                        int // of the month, in the reference year
}

func zoneOf(name string) zone {
	location, err := time.LoadLocation(name)
	if err != nil || name == "" {
		return zone{} // the configuration was checked; a phone without a zone still works
	}
	_, january := time.Date(referenceYear, time.January, 15, 12, 0, 0, 0, location).Zone()
	_, july := time.Date(referenceYear, time.July, 15, 12, 0, 0, 0, location).Zone()
	z := zone{Name: name, Country: countries()[name], Seconds: min(january, july), Summer: january != july}
	if !z.Summer {
		return z
	}
	for at := time.Date(referenceYear, time.January, 1, 0, 0, 0, 0, time.UTC); at.Year() == referenceYear; at = at.Add(time.Hour) {
		_, before := at.Add(-time.Second).In(location).Zone()
		_, after := at.In(location).Zone()
		switch {
		case after > before:
			z.Start = changeAt(at, before)
		case after < before:
			z.End = changeAt(at, before)
		}
	}
	return z
}

func changeAt(at time.Time, offset int) change {
	local := at.Add(time.Duration(offset) * time.Second).UTC()
	week := (local.Day()-1)/7 + 1
	if local.AddDate(0, 0, 7).Month() != local.Month() {
		week = 5
	}
	return change{Month: int(local.Month()), Week: week, Weekday: int(local.Weekday()), Hour: local.Hour(), Day: local.Day()}
}

// countries are the zones that some phones name by their country.
func countries() map[string]string {
	return map[string]string{
		"Asia/Shanghai": "CHN", "Asia/Chongqing": "CHN", "Asia/Hong_Kong": "CHN", "Europe/Berlin": "GER", "Europe/Paris": "FRA",
		"Europe/Rome": "ITA", "America/New_York": "USA", "America/Chicago": "USA", "America/Los_Angeles": "USA",
	}
}

// Hours writes +8 or +5:30.
func (z zone) Hours() string {
	sign, seconds := z.signed()
	text := fmt.Sprintf("%s%d", sign, seconds/3600)
	if minutes := seconds % 3600 / 60; minutes != 0 {
		text += fmt.Sprintf(":%02d", minutes)
	}
	return text
}

// Clock writes +08:00.
func (z zone) Clock() string {
	sign, seconds := z.signed()
	return fmt.Sprintf("%s%02d:%02d", sign, seconds/3600, seconds%3600/60)
}

// Quarters are quarter hours, 32 for UTC+8.
func (z zone) Quarters() int { return z.Seconds / 900 }

// POSIX writes the zone as in POSIX.1 section 8.3, whose sign is that of the
// west: UTC-8, or STD-1DST,M3.5.0/2,M10.5.0/3.
func (z zone) POSIX() string {
	offset := z.Hours()[1:]
	if z.Seconds >= 0 {
		offset = "-" + offset
	}
	if !z.Summer {
		return "UTC" + offset
	}
	rule := func(c change) string { return fmt.Sprintf("M%d.%d.%d/%d", c.Month, c.Week, c.Weekday, c.Hour) }
	return "STD" + offset + "DST," + rule(z.Start) + "," + rule(z.End)
}

func (z zone) signed() (sign string, seconds int) {
	if z.Seconds < 0 {
		return "-", -z.Seconds
	}
	return "+", z.Seconds
}

// Cisco writes month/day/weekday/hour, where the weekday counts from Monday
// and is the first on or after the day, or the last of the month for -1.
func (c change) Cisco() string {
	day, weekday := (c.Week-1)*7+1, c.Weekday
	if c.Week == 5 {
		day = -1
	}
	if weekday == 0 {
		weekday = 7
	}
	return fmt.Sprintf("%d/%d/%d/%d:0:0", c.Month, day, weekday, c.Hour)
}
