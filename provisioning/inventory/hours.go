package inventory

import (
	"fmt"
	"strings"
	"time"
)

// Hours are the time of day in which phones may be disturbed, like
// 22:00-05:30; the zero value is all day. From is in it, To is not.
type Hours struct {
	From, To time.Duration // since midnight
	Set      bool
}

// ParseHours reads 22:00-05:30; "" is all day.
func ParseHours(text string) (Hours, error) {
	if text == "" {
		return Hours{}, nil
	}
	from, to, ok := strings.Cut(text, "-")
	begin, errFrom := time.Parse("15:04", strings.TrimSpace(from))
	end, errTo := time.Parse("15:04", strings.TrimSpace(to))
	if !ok || errFrom != nil || errTo != nil || begin.Equal(end) {
		return Hours{}, fmt.Errorf("%q is no time of day; write it like 22:00-05:30", text)
	}
	midnight := time.Date(begin.Year(), begin.Month(), begin.Day(), 0, 0, 0, 0, time.UTC)
	return Hours{From: begin.Sub(midnight), To: end.Sub(midnight), Set: true}, nil
}

// Contains reports whether the clock of that moment, in its own zone, is
// within the hours.
func (h Hours) Contains(at time.Time) bool {
	if !h.Set {
		return true
	}
	hour, minute, second := at.Clock()
	since := time.Duration(hour)*time.Hour + time.Duration(minute)*time.Minute + time.Duration(second)*time.Second
	if h.From < h.To {
		return h.From <= since && since < h.To
	}
	return since >= h.From || since < h.To
}
