package chair

import (
	"maps"
	"slices"
	"time"
	"unicode"
	"unicode/utf8"
)

// ChairGrace is how long the place of a chair that is away is kept before somebody else may take it: longer than a restart
// of the appliance, shorter than a meeting's patience.
const ChairGrace = 30 * time.Second

// Meeting is a meeting under way.
type Meeting struct {
	s         State
	present   map[string]Person
	venues    []Person  // that belong to the room, whether or not they are there
	chairAway time.Time // since when the chair is not present; zero: it is, or there is none
}

// New begins a meeting.
func New(id string, now time.Time) *Meeting {
	return Restore(State{Meeting: id, StartedAt: now}, now)
}

// Restore carries on a meeting that was stored. Nobody is present yet.
func Restore(s State, now time.Time) *Meeting {
	for _, m := range []*map[string]bool{&s.Muted, &s.CameraOff, &s.Dropped} {
		if *m == nil {
			*m = map[string]bool{}
		}
	}
	if s.Known == nil {
		s.Known = map[string]Name{}
	}
	m := &Meeting{s: s, present: map[string]Person{}}
	if s.Chair != "" {
		m.chairAway = now
	}
	return m
}

// State is the order as it is; the caller reads it before its next call and does not change it.
func (m *Meeting) State() *State { return &m.s }

// Clone copies the state, for the store.
func (m *Meeting) Clone() State {
	s := m.s
	s.Requests = slices.Clone(s.Requests)
	s.Muted, s.CameraOff, s.Dropped, s.Known = maps.Clone(s.Muted), maps.Clone(s.CameraOff), maps.Clone(s.Dropped), maps.Clone(s.Known)
	if s.Poll != nil {
		p := *s.Poll
		p.Order = slices.Clone(p.Order)
		s.Poll = &p
	}
	if s.Roll != nil {
		r := *s.Roll
		r.Entries = slices.Clone(r.Entries)
		s.Roll = &r
	}
	if s.Recording != nil {
		r := *s.Recording
		s.Recording = &r
	}
	return s
}

// Book makes it the meeting that was scheduled.
func (m *Meeting) Book(b Booking, now time.Time) []Minute {
	m.s.Booking = &b
	if b.AutoEnd {
		m.s.EndsAt = b.EndsAt
	}
	return []Minute{{At: now, Action: Booked, Detail: b.Title}}
}

// SetVenues says which venues belong to the room.
func (m *Meeting) SetVenues(venues []Person) { m.venues = venues }

// Present says whether a member is in the room.
func (m *Meeting) Present(member string) bool {
	_, ok := m.present[member]
	return ok
}

// Admission judges who comes in.
type Admission int

// The judgements.
const (
	Enter Admission = iota
	Wait
)

// Admission says whether somebody may come in, has to wait, or is refused.
func (m *Meeting) Admission(p Person) (Admission, error) {
	_, known := m.s.Known[p.Member]
	switch {
	case m.s.Dropped[p.Member]:
		return Enter, ErrDropped
	case p.MayChair || known:
		return Enter, nil
	case m.s.Locked:
		return Enter, ErrLocked
	case len(m.s.Known) >= MaxMembers:
		return Enter, ErrLocked
	case m.s.WaitingRoom:
		return Wait, nil
	}
	return Enter, nil
}

// Joined notes that somebody is in the room.
func (m *Meeting) Joined(p Person, now time.Time) []Minute {
	_, again := m.present[p.Member]
	_, known := m.s.Known[p.Member]
	m.present[p.Member] = p
	m.s.Known[p.Member] = p.Name
	if p.Member == m.s.Chair {
		m.chairAway = time.Time{}
	}
	if again {
		return nil
	}
	if m.s.MuteAll && !known && p.Member != m.s.Chair {
		m.s.Muted[p.Member] = true
	}
	return []Minute{{At: now, Actor: p.Member, ActorName: p.Name, Action: Joined}}
}

// Left notes that somebody is gone.
func (m *Meeting) Left(member string, now time.Time) []Minute {
	p, ok := m.present[member]
	if !ok {
		return nil
	}
	delete(m.present, member)
	m.s.Requests = slices.DeleteFunc(m.s.Requests, func(r Request) bool { return r.Member == member })
	if member == m.s.Chair {
		m.chairAway = now
	}
	return []Minute{{At: now, Actor: member, ActorName: p.Name, Action: Left}}
}

// ChairHere tells that the chair is reachable though not seen: at a chair page.
func (m *Meeting) ChairHere(here bool, now time.Time) {
	switch {
	case m.s.Chair == "" || here || m.Present(m.s.Chair):
		m.chairAway = time.Time{}
	case m.chairAway.IsZero():
		m.chairAway = now
	}
}

// nameOf finds a name for a member key.
func (m *Meeting) nameOf(member string) Name {
	if p, ok := m.present[member]; ok {
		return p.Name
	}
	for _, v := range m.venues {
		if v.Member == member {
			return v.Name
		}
	}
	return m.s.Known[member]
}

// Do judges an act and carries it out. An error means that nothing has changed.
func (m *Meeting) Do(a Act, by Actor, now time.Time) (Outcome, error) {
	rule, ok := rules[a.Name]
	if !ok {
		return Outcome{}, errUnknownAct
	}
	if err := m.permitted(rule, a, by); err != nil {
		return Outcome{}, err
	}
	out, detail, err := rule.do(m, a, by, now)
	if err != nil {
		return Outcome{}, err
	}
	entry := Minute{At: now, Actor: by.Member, ActorName: by.Name, Action: a.Name, Target: a.Target, TargetName: m.nameOf(a.Target), Detail: detail}
	out.Minutes = append([]Minute{entry}, out.Minutes...)
	return out, nil
}

// rule says who may do an act, what its target has to be, and what it does.
type rule struct {
	who    who
	target target
	do     func(m *Meeting, a Act, by Actor, now time.Time) (Outcome, string, error)
}

type who int

const (
	chairOnly who = iota
	anyone
	seated // not from a chair page: it is about being there
	leader // the chair, and whoever may revoke it
)

type target int

const (
	noTarget target = iota
	presentMember
	presentOrNobody
	anyMember // may be absent
)

func (m *Meeting) permitted(r rule, a Act, by Actor) error {
	switch {
	case by.Member == "":
		return ErrForbidden
	case r.who == chairOnly && m.s.Chair != by.Member, r.who == leader && m.s.Chair != by.Member && !by.MayRevoke:
		return ErrNotChair
	case r.who == seated && (by.Controller || !m.Present(by.Member)):
		return ErrForbidden
	}
	switch r.target {
	case noTarget:
		if a.Target != "" {
			return bad("%s has no target", a.Name)
		}
	case presentMember, presentOrNobody:
		if a.Target == "" && r.target == presentOrNobody {
			return nil
		}
		if !m.Present(a.Target) {
			return ErrAbsent
		}
	case anyMember:
		if a.Target == "" || len(a.Target) > 80 {
			return bad("%s needs a target", a.Name)
		}
	}
	return nil
}

// Tick does what time brings.
func (m *Meeting) Tick(now time.Time) Outcome {
	var out Outcome
	if m.s.Poll != nil && !m.s.Poll.Paused && !now.Before(m.s.Poll.Next) {
		out.Minutes = append(out.Minutes, m.turn(now))
	}
	if m.s.Roll.Open() && !now.Before(m.s.Roll.Until) {
		out.Minutes = append(out.Minutes, Minute{At: now, Action: CloseRoll, Detail: m.closeRoll(now)})
	}
	if !m.s.EndsAt.IsZero() && !now.Before(m.s.EndsAt) {
		out.End = true
		out.Minutes = append(out.Minutes, Minute{At: now, Action: TimeUp})
	}
	return out
}

// clean makes a line of text fit for a page: no control characters, a bounded number of runes.
func clean(s string, most int) (string, error) {
	if !utf8.ValidString(s) || utf8.RuneCountInString(s) > most {
		return "", bad("a text has at most %d characters", most)
	}
	for _, r := range s {
		if r != '\n' && (unicode.IsControl(r) || unicode.In(r, unicode.Bidi_Control)) {
			return "", bad("a text has no control characters")
		}
	}
	return s, nil
}
