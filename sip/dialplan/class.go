package dialplan

import (
	"fmt"
	"slices"
	"time"

	"linehall/internal/setting"
)

// Toll is how far a call goes. The order counts: a class that reaches one reaches all before it.
type Toll string

// The tolls, from nothing to everything.
const (
	Nowhere       Toll = "none" // emergency and duty numbers only
	Internal      Toll = "internal"
	Local         Toll = "local"
	LongDistance  Toll = "long_distance"
	International Toll = "international"
)

var tolls = []Toll{Nowhere, Internal, Local, LongDistance, International} //nolint:gochecknoglobals // a constant list, in order

// Tolls lists the accepted values of "reach".
func Tolls() []string { return words(tolls) }

// RuleTolls lists the accepted values of a rule's "class".
func RuleTolls() []string { return words(tolls[2:]) }

// within reports whether a class that reaches limit may make a call of toll t.
func (t Toll) within(limit Toll) bool { return slices.Index(tolls, t) <= slices.Index(tolls, limit) }

// Priority is the precedence of a call, with the names of the dsn namespace (RFC 4412 §10.2).
type Priority string

// The priorities, lowest first.
const (
	Routine       Priority = "routine"
	PriorityLevel Priority = "priority"
	Immediate     Priority = "immediate"
	Flash         Priority = "flash"
	FlashOverride Priority = "flash_override"
)

var priorities = []Priority{Routine, PriorityLevel, Immediate, Flash, FlashOverride} //nolint:gochecknoglobals // a constant list, in order

// Priorities lists the accepted values of "priority".
func Priorities() []string { return words(priorities) }

// Level is 0 for routine (also for "") up to 4 for flash override.
func (p Priority) Level() int { return max(0, slices.Index(priorities, p)) }

func words[T ~string](list []T) []string {
	out := make([]string, 0, len(list))
	for _, w := range list {
		out = append(out, string(w))
	}
	return out
}

// ClassConfig is a class of service.
type ClassConfig struct {
	// Reach is how far terminals of this class may call: none, internal,
	// local, long_distance or international; "" is international.
	Reach Toll `yaml:"reach"`
	// Deny lists patterns (see Pattern) that terminals of this class may not
	// dial. Emergency numbers and the duty desk can always be dialled.
	Deny []string `yaml:"deny"`
	// ForbiddenHours limit the reach at times of the week.
	ForbiddenHours []HoursConfig `yaml:"forbidden_hours"`
	// Priority is the precedence of calls of this class: routine, priority,
	// immediate, flash or flash_override; "" is routine.
	Priority Priority `yaml:"priority"`
	// Private says that this class may call private numbers.
	Private bool `yaml:"private"`
	// Withhold says that the number of these callers is not shown.
	Withhold bool `yaml:"withhold"`
	// Tolls are limits of this class instead of the organisation's.
	Tolls ClassTollsConfig `yaml:"tolls"`
	// Barge says whose calls terminals of this class may join.
	Barge BargeConfig `yaml:"barge"`
}

// HoursConfig limits a class at a time of the week.
type HoursConfig struct {
	Days  Days  `yaml:"days"`
	From  Clock `yaml:"from"`
	To    Clock `yaml:"to"`
	Reach Toll  `yaml:"reach"` // what is left; "" is internal
}

func (h HoursConfig) span() SpanConfig { return SpanConfig{Days: h.Days, From: h.From, To: h.To} }

// reach returns how far the class may call at that moment, and the hours that limit it.
func (c ClassConfig) reach(at time.Time) (limit Toll, why string) {
	limit = c.Reach
	if limit == "" {
		limit = International
	}
	for _, h := range c.ForbiddenHours {
		left := h.Reach
		if left == "" {
			left = Internal
		}
		if h.span().Covers(at) && !limit.within(left) {
			limit, why = left, fmt.Sprintf(" in its forbidden hours %s", h.span())
		}
	}
	return limit, why
}

func (c ClassConfig) validate() error {
	var found setting.Complaints
	if c.Reach != "" {
		found.OneOf("reach", string(c.Reach), Tolls())
	}
	if c.Priority != "" {
		found.OneOf("priority", string(c.Priority), Priorities())
	}
	for i, text := range c.Deny {
		if _, err := ParsePattern(text); err != nil {
			found.Add(setting.Index("deny", i), "%s", err)
		}
	}
	found.Merge("barge", c.Barge.validate())
	for i, h := range c.ForbiddenHours {
		path := setting.Index("forbidden_hours", i)
		found.Merge(path, h.span().validate())
		if h.Reach != "" {
			found.OneOf(path+".reach", string(h.Reach), Tolls())
		}
	}
	return found.Err()
}
