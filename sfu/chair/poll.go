package chair

import (
	"strings"
	"time"
)

// startPoll shows venues one after the other to everybody: in the given order, or all of the room's in theirs.
func (m *Meeting) startPoll(a Act, by Actor, now time.Time) (Outcome, string, error) {
	interval := time.Duration(a.Seconds) * time.Second
	if interval < MinInterval || interval > MaxInterval {
		return Outcome{}, "", bad("venues change every %v to %v", MinInterval, MaxInterval)
	}
	order, err := m.pollOrder(a.Order, by.Member)
	if err != nil {
		return Outcome{}, "", err
	}
	m.s.Poll = &Poll{Order: order, Interval: interval, SkipAbsent: a.On, At: len(order) - 1}
	out := Outcome{Minutes: []Minute{m.turn(now)}}
	return out, strings.Join(order, " ") + ", " + seconds(interval), nil
}

// pollOrder checks an order; without one it is every venue of the room but the chair's.
func (m *Meeting) pollOrder(order []string, chair string) ([]string, error) {
	if len(order) > MaxOrder {
		return nil, bad("a poll has at most %d venues", MaxOrder)
	}
	var list []string
	for _, member := range order {
		if !m.Present(member) && !m.belongs(member) {
			return nil, ErrAbsent
		}
		list = append(list, member)
	}
	if len(list) > 0 {
		return list, nil
	}
	for _, v := range m.venues {
		if v.Member != chair {
			list = append(list, v.Member)
		}
	}
	if len(list) == 0 {
		return nil, ErrNotNow
	}
	return list, nil
}

func (m *Meeting) belongs(member string) bool {
	for _, v := range m.venues {
		if v.Member == member {
			return true
		}
	}
	return false
}

// turn moves the poll to its next venue. When all are absent and to be skipped, what is on air stays.
func (m *Meeting) turn(now time.Time) Minute {
	p := m.s.Poll
	p.Next = now.Add(p.Interval)
	for range p.Order {
		p.At = (p.At + 1) % len(p.Order)
		if member := p.Order[p.At]; !p.SkipAbsent || m.Present(member) {
			m.s.OnAir = member
			break
		}
	}
	return Minute{At: now, Action: PollTurn, Target: m.s.OnAir, TargetName: m.nameOf(m.s.OnAir)}
}

func (m *Meeting) nextInPoll(_ Act, _ Actor, now time.Time) (Outcome, string, error) {
	if m.s.Poll == nil {
		return Outcome{}, "", ErrNotNow
	}
	return Outcome{Minutes: []Minute{m.turn(now)}}, "", nil
}

func (m *Meeting) pausePoll(a Act, _ Actor, now time.Time) (Outcome, string, error) {
	if m.s.Poll == nil {
		return Outcome{}, "", ErrNotNow
	}
	m.s.Poll.Paused = a.On
	m.s.Poll.Next = now.Add(m.s.Poll.Interval)
	return Outcome{}, onOff(a.On), nil
}

// stopPoll ends the poll; the venue that is on air stays there until the next order.
func (m *Meeting) stopPoll(Act, Actor, time.Time) (Outcome, string, error) {
	if m.s.Poll == nil {
		return Outcome{}, "", ErrNotNow
	}
	m.s.Poll = nil
	return Outcome{}, "", nil
}
