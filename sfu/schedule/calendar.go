package schedule

import (
	"bytes"
	"fmt"
	"strings"
	"time"
	"unicode/utf8"
)

// Links say where meetings are joined.
type Links struct {
	Domain string                     // of UIDs; must stay the same
	Page   func(number string) string // URL of a room's page
}

const (
	utcForm   = "20060102T150405Z"
	localForm = "20060102T150405"
	// lineOctets is the longest line without its end (RFC 5545 §3.1).
	lineOctets = 75
	// refresh is how often subscribers should look.
	refresh = "PT15M"
)

// Calendar writes plans as an iCalendar object (RFC 5545).
func (s *Service) Calendar(list []*Series, name string, links Links) []byte {
	zone := s.Zone()
	w := &calendarWriter{}
	w.line("BEGIN:VCALENDAR")
	w.line("VERSION:2.0")
	w.line("PRODID:-//Linehall//Meetings//EN")
	w.line("CALSCALE:GREGORIAN")
	w.line("METHOD:PUBLISH")
	w.line("NAME:" + escape(name)) // RFC 7986 §5.1
	w.line("X-WR-CALNAME:" + escape(name))
	w.line("X-WR-TIMEZONE:" + zone.String())
	w.line("REFRESH-INTERVAL;VALUE=DURATION:" + refresh) // RFC 7986 §5.7
	w.line("X-PUBLISHED-TTL:" + refresh)
	w.zone(zone, s.now())
	for _, one := range list {
		s.event(w, one, zone, links)
	}
	w.line("END:VCALENDAR")
	return w.out.Bytes()
}

func (s *Service) event(w *calendarWriter, one *Series, zone *time.Location, links Links) {
	first, ok := one.first(zone)
	if !ok {
		return
	}
	w.line("BEGIN:VEVENT")
	w.line("UID:" + one.ID + "@" + links.Domain)
	w.line("DTSTAMP:" + one.UpdatedAt.UTC().Format(utcForm))
	w.line("CREATED:" + one.CreatedAt.UTC().Format(utcForm))
	w.line("LAST-MODIFIED:" + one.UpdatedAt.UTC().Format(utcForm))
	w.line(fmt.Sprintf("SEQUENCE:%d", one.Sequence))
	w.line("DTSTART;TZID=" + zone.String() + ":" + first.Format(localForm))
	w.line(fmt.Sprintf("DURATION:PT%dM", one.Minutes))
	if one.Weekly() {
		w.line("RRULE:" + one.rule(zone))
		for _, d := range one.Skipped {
			if at, err := time.Parse(dateForm, d); err == nil {
				w.line("EXDATE;TZID=" + zone.String() + ":" + one.startOn(zone, at).Format(localForm))
			}
		}
	}
	w.line("SUMMARY:" + escape(one.Title))
	w.line("LOCATION:" + escape(strings.TrimSpace(s.roomName(one.Room)+" "+one.Room)))
	description := one.Notes
	if page := links.Page(one.Room); page != "" {
		description = strings.TrimSpace(description + "\n" + page)
		w.line("URL:" + page)
	}
	w.line("DESCRIPTION:" + escape(description))
	w.line("STATUS:" + map[bool]string{true: "CONFIRMED", false: "CANCELLED"}[one.CancelledAt.IsZero()])
	w.line("TRANSP:OPAQUE")
	w.line("END:VEVENT")
}

func (s *Service) roomName(number string) string {
	s.mu.RLock()
	defer s.mu.RUnlock()
	for _, r := range s.rooms {
		if r.Number == number {
			return r.Name
		}
	}
	return ""
}

// first is when a series begins, whether or not that day is struck out: DTSTART is an instance of the rule (RFC 5545
// §3.8.2.4), and EXDATE takes it away.
func (s *Series) first(zone *time.Location) (time.Time, bool) {
	whole := *s
	whole.Skipped, whole.CancelledAt = nil, time.Time{}
	o, ok := whole.next(zone, time.Date(1999, time.January, 1, 0, 0, 0, 0, time.UTC))
	return o.StartsAt, ok
}

// rule is the recurrence rule (RFC 5545 §3.3.10). UNTIL is in UTC, as it has to be beside a start with a zone.
func (s *Series) rule(zone *time.Location) string {
	names := [...]string{"SU", "MO", "TU", "WE", "TH", "FR", "SA"}
	var days []string
	for _, d := range s.Weekdays {
		days = append(days, names[d])
	}
	rule := "FREQ=WEEKLY;BYDAY=" + strings.Join(days, ",")
	if until, err := time.Parse(dateForm, s.Until); err == nil {
		rule += ";UNTIL=" + s.startOn(zone, until).UTC().Format(utcForm)
	}
	return rule
}

// calendarWriter writes folded lines.
type calendarWriter struct{ out bytes.Buffer }

// line folds at 75 octets without breaking a character.
func (w *calendarWriter) line(text string) {
	room := lineOctets
	for len(text) > room {
		cut := room
		for !utf8.RuneStart(text[cut]) {
			cut--
		}
		w.out.WriteString(text[:cut] + "\r\n ")
		text, room = text[cut:], lineOctets-1 // the space counts
	}
	w.out.WriteString(text + "\r\n")
}

// escape writes a text value (RFC 5545 §3.3.11).
func escape(text string) string {
	return strings.NewReplacer(`\`, `\\`, ";", `\;`, ",", `\,`, "\r\n", `\n`, "\n", `\n`).Replace(text)
}

// zone describes the time zone (RFC 5545 §3.6.5): its changes from a year ago to ten years ahead, or, when there are none, what
// has held for ever. The changes are listed, not ruled: the embedded database does not tell rules.
func (w *calendarWriter) zone(zone *time.Location, now time.Time) {
	w.line("BEGIN:VTIMEZONE")
	w.line("TZID:" + zone.String())
	at := now.AddDate(-1, 0, 0).In(zone)
	name, offset := at.Zone()
	start, _ := at.ZoneBounds()
	before := offset
	if !start.IsZero() {
		_, before = start.Add(-time.Second).In(zone).Zone()
	}
	_, end := at.ZoneBounds()
	if end.IsZero() { // Asia/Shanghai since 1991
		start, before = time.Date(1970, 1, 1, 0, 0, 0, 0, zone), offset
	}
	for {
		w.observance(start, before, offset, name, at.IsDST())
		_, end := at.ZoneBounds()
		if end.IsZero() || end.After(now.AddDate(10, 0, 0)) {
			break
		}
		before, start, at = offset, end, end.In(zone)
		name, offset = at.Zone()
	}
	w.line("END:VTIMEZONE")
}

func (w *calendarWriter) observance(start time.Time, before, after int, name string, summer bool) {
	kind := "STANDARD"
	if summer {
		kind = "DAYLIGHT"
	}
	w.line("BEGIN:" + kind)
	w.line("DTSTART:" + start.In(time.FixedZone("", before)).Format(localForm)) // by the clocks before the change
	w.line("TZOFFSETFROM:" + offsetText(before))
	w.line("TZOFFSETTO:" + offsetText(after))
	w.line("TZNAME:" + name)
	w.line("END:" + kind)
}

func offsetText(seconds int) string {
	sign := "+"
	if seconds < 0 {
		sign, seconds = "-", -seconds
	}
	return fmt.Sprintf("%s%02d%02d", sign, seconds/3600, seconds/60%60)
}
