package feature

import (
	"maps"
	"slices"
	"strings"
	"time"

	"linehall/internal/setting"
)

// Bounds of settings: what a person can oversee, and what a display can show.
const (
	maxNumber    = 32 // digits of a number
	maxAllowed   = 20 // persons who get through to a boss
	maxGroups    = 20 // pickup groups of an extension
	maxCallLimit = 50
	// The shortest and the longest time that a phone may ring before a call is forwarded; ITU-T
	// I.252.3 leaves it to the exchange.
	minNoAnswer = 5 * time.Second
	maxNoAnswer = 2 * time.Minute
	// defaultNoAnswer is four to five rings.
	defaultNoAnswer = 20 * time.Second
)

// Settings are everything that is switched for one extension. The zero value is a telephone as
// it leaves the box. Values are not written to after they were handed over.
type Settings struct {
	Always      Forward `json:"always,omitzero"`
	Busy        Forward `json:"busy,omitzero"`
	NoAnswer    Forward `json:"no_answer,omitzero"`
	Unreachable Forward `json:"unreachable,omitzero"`
	// AfterHours forwards every call within a time of day.
	AfterHours Hours `json:"after_hours,omitzero"`
	// NoAnswerSeconds is how long the phone rings before NoAnswer; 0: 20.
	NoAnswerSeconds int `json:"no_answer_seconds,omitempty"`

	DoNotDisturb   bool `json:"do_not_disturb,omitempty"`
	BlockAnonymous bool `json:"block_anonymous,omitempty"`
	// CallLimit is how many calls the extension may have: with 1 a second caller hears busy, with 2
	// one call waits. On a shared line it is the number of appearances. 0: as the exchange allows.
	CallLimit int `json:"call_limit,omitempty"`

	Boss Boss `json:"boss,omitzero"`
	// SpeedDials are numbers by a code of two digits.
	SpeedDials map[string]string `json:"speed_dials,omitempty"`
	// PickupGroups name the groups whose members pick up each other's calls.
	PickupGroups []string `json:"pickup_groups,omitempty"`
	// LoggedOut are the numbers of the ring groups that leave the extension alone for now.
	LoggedOut []string `json:"logged_out,omitempty"`
}

// Forward sends calls elsewhere. The number is kept while it is off, so that it can be switched
// on again.
type Forward struct {
	On bool   `json:"on"`
	To string `json:"to"`
}

// Hours is a forward by the clock of the appliance's time zone. From later than Until spans
// midnight.
type Hours struct {
	Forward
	From  string `json:"from"`  // 18:00
	Until string `json:"until"` // 08:00
}

// Boss lets a secretary take a boss's calls. The secretary and the persons in Allow reach the
// boss, also while the boss does not want to be disturbed.
type Boss struct {
	On        bool     `json:"on"`
	Secretary string   `json:"secretary"`
	Only      bool     `json:"only"` // the boss's own phone never rings for others; else it rings when the secretary's does not answer
	Allow     []string `json:"allow,omitempty"`
}

// Kind names a forward.
type Kind string

// The kinds of forwards that a number can be set for.
const (
	Always      Kind = "always"
	Busy        Kind = "busy"
	NoAnswer    Kind = "no_answer"
	Unreachable Kind = "unreachable"
	AfterHours  Kind = "after_hours"
)

// kinds lists all forwards, in the order in which people are told of them.
func kinds() []Kind { return []Kind{Always, Busy, NoAnswer, Unreachable, AfterHours} }

// forward returns the forward of a kind, to read or to change.
func (s *Settings) forward(k Kind) *Forward {
	switch k {
	case Busy:
		return &s.Busy
	case NoAnswer:
		return &s.NoAnswer
	case Unreachable:
		return &s.Unreachable
	case AfterHours:
		return &s.AfterHours.Forward
	case Always:
	}
	return &s.Always
}

// NoAnswerAfter is how long the phone rings before a call is forwarded.
func (s *Settings) NoAnswerAfter() time.Duration {
	if s.NoAnswerSeconds == 0 {
		return defaultNoAnswer
	}
	return time.Duration(s.NoAnswerSeconds) * time.Second
}

// passes reports whether a caller reaches the boss directly.
func (b *Boss) passes(number string) bool {
	return number != "" && (number == b.Secretary || slices.Contains(b.Allow, number))
}

// through is passes of a boss whose secretary is on duty.
func (b *Boss) through(number string) bool { return b.On && b.passes(number) }

// covers reports whether the forward by the clock applies now; both ends must be valid.
func (h *Hours) covers(now time.Time) bool {
	from, errFrom := time.Parse(clockForm, h.From)
	until, errUntil := time.Parse(clockForm, h.Until)
	if !h.On || errFrom != nil || errUntil != nil {
		return false
	}
	at := minutes(now)
	begin, end := minutes(from), minutes(until)
	if begin <= end {
		return at >= begin && at < end
	}
	return at >= begin || at < end
}

const clockForm = "15:04"

func minutes(t time.Time) int { return t.Hour()*60 + t.Minute() }

// clone is a copy that may be written to.
func (s Settings) clone() Settings {
	s.SpeedDials = maps.Clone(s.SpeedDials)
	s.PickupGroups = slices.Clone(s.PickupGroups)
	s.LoggedOut = slices.Clone(s.LoggedOut)
	s.Boss.Allow = slices.Clone(s.Boss.Allow)
	return s
}

// Validate checks the form of every value. Whether a number may be dialled is the number plan's
// affair; see Service.Change.
func (s Settings) Validate() error {
	var found setting.Complaints
	for _, k := range kinds() {
		f := s.forward(k)
		if f.To != "" && !dialable(f.To) {
			found.Add(string(k)+".to", "%q is no number: 1 to %d digits, * and #", f.To, maxNumber)
		}
		if f.On && f.To == "" {
			found.Add(string(k)+".to", "a forward needs a number")
		}
	}
	if d := s.NoAnswerAfter(); d < minNoAnswer || d > maxNoAnswer {
		found.Add("no_answer_seconds", "%d is not between %d and %d", s.NoAnswerSeconds, int(minNoAnswer.Seconds()), int(maxNoAnswer.Seconds()))
	}
	if s.CallLimit < 0 || s.CallLimit > maxCallLimit {
		found.Add("call_limit", "%d is not between 0 and %d", s.CallLimit, maxCallLimit)
	}
	s.AfterHours.validate(&found)
	s.Boss.validate(&found)
	for _, code := range slices.Sorted(maps.Keys(s.SpeedDials)) {
		if !speedCode(code) {
			found.Add("speed_dials."+code, "a speed dial's code is two digits")
		} else if !dialable(s.SpeedDials[code]) {
			found.Add("speed_dials."+code, "%q is no number: 1 to %d digits, * and #", s.SpeedDials[code], maxNumber)
		}
	}
	names(&found, "pickup_groups", s.PickupGroups)
	names(&found, "logged_out", s.LoggedOut)
	return found.Err()
}

func (h *Hours) validate(found *setting.Complaints) {
	for path, value := range map[string]string{"after_hours.from": h.From, "after_hours.until": h.Until} {
		if value == "" && !h.On {
			continue
		}
		if _, err := time.Parse(clockForm, value); err != nil {
			found.Add(path, "%q is no time of day; write it like 18:00", value)
		}
	}
	if h.On && h.From == h.Until {
		found.Add("after_hours.until", "the time ends when it begins; forward always instead")
	}
}

func (b *Boss) validate(found *setting.Complaints) {
	if b.On && b.Secretary == "" {
		found.Add("boss.secretary", "a boss's calls need a secretary")
	}
	if b.Secretary != "" && !dialable(b.Secretary) {
		found.Add("boss.secretary", "%q is no extension", b.Secretary)
	}
	if len(b.Allow) > maxAllowed {
		found.Add("boss.allow", "%d persons; at most %d get through", len(b.Allow), maxAllowed)
		return
	}
	for i, number := range b.Allow {
		if !dialable(number) {
			found.Add(setting.Index("boss.allow", i), "%q is no number", number)
		}
	}
}

// names checks a list of group names or numbers.
func names(found *setting.Complaints, path string, list []string) {
	if len(list) > maxGroups {
		found.Add(path, "%d groups; at most %d", len(list), maxGroups)
		return
	}
	for i, name := range list {
		switch {
		case name == "" || len(name) > maxNumber || strings.Trim(name, groupLetters) != "":
			found.Add(setting.Index(path, i), "%q is no group: letters, digits, - and _", name)
		case slices.Index(list, name) < i:
			found.Add(setting.Index(path, i), "%q is there twice", name)
		}
	}
}

const groupLetters = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_"

// dialable reports whether a text can be dialled on a telephone.
func dialable(number string) bool {
	return number != "" && len(number) <= maxNumber && strings.Trim(number, "0123456789*#") == ""
}

func speedCode(code string) bool { return len(code) == 2 && strings.Trim(code, "0123456789") == "" }
