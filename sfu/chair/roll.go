package chair

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"
)

// DefaultRoll is how long a roll call waits for answers.
const (
	DefaultRoll = time.Minute
	maxRoll     = 10 * time.Minute
)

// startRoll asks everybody to answer. The sheet lists the venues of the room, present or not, and whoever else is there.
func (m *Meeting) startRoll(a Act, _ Actor, now time.Time) (Outcome, string, error) {
	wait := DefaultRoll
	if a.Seconds != 0 {
		wait = time.Duration(a.Seconds) * time.Second
	}
	if wait < MinInterval || wait > maxRoll {
		return Outcome{}, "", bad("a roll call waits %v to %v", MinInterval, maxRoll)
	}
	r := &Roll{StartedAt: now, Until: now.Add(wait)}
	for _, v := range m.venues {
		r.Entries = append(r.Entries, RollEntry{Member: v.Member, Name: v.Name, Present: m.Present(v.Member)})
	}
	var others []RollEntry
	for member, p := range m.present {
		if !m.belongs(member) {
			others = append(others, RollEntry{Member: member, Name: p.Name, Present: true})
		}
	}
	slices.SortFunc(others, func(a, b RollEntry) int { return cmp.Compare(a.Member, b.Member) })
	r.Entries = append(r.Entries, others...)
	m.s.Roll = r
	return Outcome{}, seconds(wait), nil
}

func (m *Meeting) answerRoll(_ Act, by Actor, now time.Time) (Outcome, string, error) {
	if !m.s.Roll.Open() {
		return Outcome{}, "", ErrNotNow
	}
	i := slices.IndexFunc(m.s.Roll.Entries, func(e RollEntry) bool { return e.Member == by.Member })
	if i < 0 { // came after it began
		m.s.Roll.Entries = append(m.s.Roll.Entries, RollEntry{Member: by.Member, Name: by.Name})
		i = len(m.s.Roll.Entries) - 1
	}
	e := &m.s.Roll.Entries[i]
	if !e.AnsweredAt.IsZero() {
		return Outcome{}, "", ErrNotNow
	}
	e.Present, e.AnsweredAt = true, now
	return Outcome{}, "", nil
}

func (m *Meeting) endRoll(_ Act, _ Actor, now time.Time) (Outcome, string, error) {
	if !m.s.Roll.Open() {
		return Outcome{}, "", ErrNotNow
	}
	return Outcome{}, m.closeRoll(now), nil
}

// closeRoll ends the roll call and says its result.
func (m *Meeting) closeRoll(now time.Time) string {
	r := m.s.Roll
	r.ClosedAt = now
	var answered, silent, absent []string
	for i := range r.Entries {
		e := &r.Entries[i]
		switch {
		case !e.AnsweredAt.IsZero():
			answered = append(answered, e.Member)
		case m.Present(e.Member):
			e.Present = true
			silent = append(silent, e.Member)
		default:
			e.Present = false
			absent = append(absent, e.Member)
		}
	}
	return fmt.Sprintf("answered: %s; no answer: %s; absent: %s", list(answered), list(silent), list(absent))
}

func list(members []string) string {
	if len(members) == 0 {
		return "-"
	}
	return strings.Join(members, " ")
}
