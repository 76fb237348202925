package room

import (
	"slices"
	"time"

	"linehall/sfu/chair"
	"linehall/sfu/signal"
)

// tellMeeting tells everyone the order of the meeting.
func (r *Room) tellMeeting() {
	if r.meeting == nil {
		return
	}
	r.tellStandbys()
	m := r.shownMeeting()
	for _, p := range r.participants {
		p.tellMeeting(m)
	}
}

// brief tells somebody who came (again) how the meeting stands.
func (p *participant) brief() {
	r := p.room
	if r.meeting == nil {
		return
	}
	p.tellMeeting(r.shownMeeting())
	p.send(signal.Chat{Type: "chat", Whole: true, Lines: slices.Clone(r.chats)})
	if p.control {
		p.send(signal.Minutes{Type: "minutes", Whole: true, List: slices.Clone(r.minutes)})
	}
}

func (p *participant) tellMeeting(m signal.Meeting) {
	r := p.room
	m.You = signal.You{
		Member: p.member, Chair: m.Chair != "" && m.Chair == p.member, MayChair: p.mayChair(), MayRevoke: p.actor().MayRevoke,
		ChairPIN: r.config.ChairPIN.Reveal() != "", Waiting: []signal.Guest{}, Calls: []signal.PhoneCall{},
	}
	if m.You.Chair {
		m.You.Calls = r.shownDials()
		for _, g := range r.guests {
			m.You.Waiting = append(m.You.Waiting, signal.Guest{ID: g.id, Name: signal.Text(g.person.Name), At: g.at})
		}
	} else {
		m.View = ""
	}
	p.send(m)
}

func (r *Room) shownMeeting() signal.Meeting {
	s, now := r.meeting.State(), time.Now()
	m := signal.Meeting{
		Type: "meeting", ID: s.Meeting, StartedAt: s.StartedAt, Chair: s.Chair, OnAir: s.OnAir, Floor: s.Floor, View: s.View,
		Requests: []signal.FloorRequest{}, MuteAll: s.MuteAll, MayUnmute: s.MayUnmute, ContentLocked: s.ContentLocked, Presenter: s.Presenter,
		Locked: s.Locked, WaitingRoom: s.WaitingRoom, Layout: string(s.Layout), Forced: s.Forced, Banner: s.Banner, Caption: s.Caption,
		ChairPresent: r.meeting.Present(s.Chair) || r.chairReachable(), EndsAt: momentOrNull(s.EndsAt), Venues: []signal.VenueState{},
	}
	if s.Booking != nil {
		m.Title = s.Booking.Title
	}
	if s.Chair != "" {
		name := r.nameOf(s.Chair)
		m.ChairName = &name
	}
	if s.Recording != nil {
		m.Recording = &signal.Taping{Since: s.Recording.Since, ByName: signal.Text(s.Recording.ByName), Tracks: s.Recording.Tracks}
	}
	for _, q := range s.Requests {
		m.Requests = append(m.Requests, signal.FloorRequest{Member: q.Member, Name: signal.Text(q.Name), At: q.At})
	}
	if p := s.Poll; p != nil {
		m.Poll = &signal.Poll{Order: p.Order, Seconds: int(p.Interval.Seconds()), SkipAbsent: p.SkipAbsent, Paused: p.Paused, Current: p.Order[p.At], NextAt: p.Next}
	}
	if s.Roll != nil {
		m.Roll = shownRoll(s.Roll)
	}
	for _, v := range r.venues {
		m.Venues = append(m.Venues, signal.VenueState{
			ID: v.ID, Name: signal.Text(v.Name), Site: string(v.Site), Present: r.meeting.Present(v.ID), Dropped: s.Dropped[v.ID],
			StandsBy: r.standsBy(v.ID), Called: r.called(v.ID, now),
		})
	}
	return m
}

func shownRoll(r *chair.Roll) *signal.Roll {
	shown := &signal.Roll{StartedAt: r.StartedAt, Until: r.Until, ClosedAt: momentOrNull(r.ClosedAt), Entries: make([]signal.RollEntry, 0, len(r.Entries))}
	for _, e := range r.Entries {
		shown.Entries = append(shown.Entries, signal.RollEntry{Member: e.Member, Name: signal.Text(e.Name), Present: e.Present, AnsweredAt: momentOrNull(e.AnsweredAt)})
	}
	return shown
}

func (r *Room) nameOf(member string) signal.Text {
	for _, p := range r.participants {
		if p.member == member {
			return p.name
		}
	}
	for _, v := range r.venues {
		if v.ID == member {
			return signal.Text(v.Name)
		}
	}
	if name, ok := r.meeting.State().Known[member]; ok {
		return signal.Text(name)
	}
	return signal.Text{Zh: member, En: member}
}

func momentOrNull(t time.Time) *time.Time {
	if t.IsZero() {
		return nil
	}
	return &t
}

// tellQuality tells chair pages how everyone's line is.
func (r *Room) tellQuality() {
	if !slices.ContainsFunc(r.participants, func(p *participant) bool { return p.control }) {
		return
	}
	m := signal.Quality{Type: "quality", List: []signal.QualityLine{}}
	for _, p := range r.participants {
		if p.hidden() {
			continue
		}
		state := p.sent.line.State
		if state == "" {
			state = lineNone
		}
		m.List = append(m.List, signal.QualityLine{
			Participant: p.id, Line: state, PublishBps: p.stats.PublishBps, SubscribeBps: p.stats.SubscribeBps,
			LossPercent: p.stats.LossFraction * 100, RTTMs: float64(p.stats.RTT.Microseconds()) / 1000,
		})
	}
	for _, p := range r.participants {
		if p.control {
			p.send(m)
		}
	}
}
