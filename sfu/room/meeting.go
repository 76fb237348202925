package room

import (
	"crypto/rand"
	"slices"
	"time"

	"linehall/internal/observe"
	"linehall/sfu/chair"
	"linehall/sfu/signal"
)

const (
	// emptyTime is how long a meeting without anybody is carried on.
	emptyTime = 10 * time.Minute
	// aliveInterval is how often it is noted that a meeting goes on (staleAfter).
	aliveInterval = time.Minute
	recentMinutes = 200 // entries, and chat lines, that who comes is told
)

// session is what a room keeps of its meeting besides the order: what was said lately, and who waits outside.
type session struct {
	minutes    []signal.Minute
	chats      []signal.ChatLine
	guests     []*guest
	emptySince time.Time // zero: somebody is there
	aliveAt    time.Time
}

// restoreMeeting carries on the meeting that was under way when the process ended.
func (r *Room) restoreMeeting(now time.Time) {
	r.held = r.manager.options.Book.lastBooking(r.ctx, r.config.Number)
	state, minutes, ok := r.manager.options.Book.open(r.ctx, r.config.Number, now)
	if !ok {
		return
	}
	r.meeting = chair.Restore(state, now)
	r.meeting.SetVenues(r.venuePersons())
	r.session = session{emptySince: now, aliveAt: now}
	r.remember(minutes)
	r.log.Info("meeting carried on", "meeting", state.Meeting)
}

// openMeeting begins a meeting if there is none.
func (r *Room) openMeeting(now time.Time) {
	if r.meeting != nil {
		return
	}
	id := r.config.Number + "-" + now.UTC().Format("20060102T150405Z") + "-" + rand.Text()[:4]
	r.meeting = chair.New(id, now)
	r.meeting.SetVenues(r.venuePersons())
	r.session = session{guests: r.guests}
	minutes := []chair.Minute{{At: now, Action: chair.Opened}}
	if b, ok := r.booking(now); ok {
		minutes = append(minutes, r.meeting.Book(b, now)...)
	}
	r.record(minutes, now)
}

func (r *Room) venuePersons() []chair.Person {
	list := make([]chair.Person, 0, len(r.venues))
	for i := range r.venues {
		v := &r.venues[i]
		list = append(list, chair.Person{Member: v.ID, Name: chair.Name(v.Name), MayChair: r.chairs(v)})
	}
	return list
}

// record puts entries into the minutes, stores the order as it is now and shows the entries to chair pages.
func (r *Room) record(minutes []chair.Minute, now time.Time) {
	r.manager.options.Book.save(r.config, r.meeting.Clone(), minutes, now, false)
	r.aliveAt = now
	if len(minutes) == 0 {
		return
	}
	r.remember(minutes)
	fresh := r.minutes[max(0, len(r.minutes)-len(minutes)):]
	for _, p := range r.participants {
		if p.control {
			p.send(signal.Minutes{Type: "minutes", List: slices.Clone(fresh)})
		}
	}
}

// remember keeps the latest entries for who comes.
func (r *Room) remember(minutes []chair.Minute) {
	for _, m := range minutes {
		if m.Action == chair.Chat {
			r.chats = appendBounded(r.chats, signal.ChatLine{At: m.At, Member: m.Actor, Name: signal.Text(m.ActorName), Text: m.Detail})
			continue // shown as chat
		}
		r.minutes = appendBounded(r.minutes, signal.Minute{
			At: m.At, Actor: m.Actor, ActorName: signal.Text(m.ActorName), Action: m.Action, Target: m.Target, TargetName: signal.Text(m.TargetName), Detail: m.Detail,
		})
	}
}

func appendBounded[T any](list []T, one T) []T {
	if len(list) >= recentMinutes {
		list = slices.Delete(list, 0, len(list)-recentMinutes+1)
	}
	return append(list, one)
}

// settle carries out what an act or time has brought.
func (r *Room) settle(out chair.Outcome, now time.Time) {
	r.record(out.Minutes, now)
	if out.Cancel != "" {
		r.cancelPhone(out.Cancel)
	}
	if out.End {
		r.endMeeting(signal.Over, now)
		return
	}
	if out.Chat != "" {
		line := r.chats[len(r.chats)-1]
		for _, p := range r.participants {
			p.send(signal.Chat{Type: "chat", Lines: []signal.ChatLine{line}})
		}
		return // nothing else has changed
	}
	if len(out.Call) > 0 {
		r.call(out.Call, r.nameOf(out.Minutes[0].Actor), now.Add(ringTime))
	}
	if out.Drop != "" {
		r.dismiss(out.Drop, signal.Dropped)
	}
	for _, id := range out.Admit {
		r.admitGuests(id)
	}
	if out.Away != "" {
		r.turnAway(out.Away)
	}
	r.followRecording(now)
	r.obey()
}

// obey makes tracks and pictures follow the order, and tells everyone.
func (r *Room) obey() {
	for _, p := range r.participants {
		p.applyMute()
	}
	r.listChanged()
	r.tellMeeting()
}

// dismiss removes everybody who is a member.
func (r *Room) dismiss(member, reason string) {
	for _, p := range slices.Clone(r.participants) {
		if p.member == member {
			r.remove(p, reason)
		}
	}
}

// endMeeting ends the meeting for all.
func (r *Room) endMeeting(reason string, now time.Time) {
	ended := r.meeting
	r.endTaping(reason)
	r.endDials()
	r.meeting = nil // those who are removed now do not leave it: it is over
	r.manager.options.Book.save(r.config, ended.Clone(), nil, now, true)
	r.log.Info("meeting ended", "meeting", ended.State().Meeting, observe.Reason, reason)
	for _, g := range r.guests {
		g.client.End(reason)
	}
	r.session = session{}
	if b := ended.State().Booking; b != nil {
		r.held = b.Key
	}
	clear(r.calls)
	for _, p := range slices.Clone(r.participants) {
		r.remove(p, reason)
	}
	r.tellStandbys()
}

// tickMeeting does what time brings.
func (r *Room) tickMeeting(now time.Time) {
	if r.meeting == nil {
		return
	}
	if out := r.meeting.Tick(now); len(out.Minutes) > 0 {
		r.settle(out, now)
	}
	if r.meeting == nil || r.ticks%slowTicks != 0 {
		return
	}
	if r.forgetDials(now) {
		r.tellMeeting()
	}
	r.meeting.ChairHere(r.chairReachable(), now)
	switch empty := r.crowd() == 0; {
	case !empty:
		r.emptySince = time.Time{}
	case r.emptySince.IsZero():
		r.emptySince = now
	case now.Sub(r.emptySince) > emptyTime && !r.awaited(now):
		r.record([]chair.Minute{{At: now, Action: chair.LeftEmpty}}, now)
		r.endMeeting(signal.Over, now)
		return
	}
	if now.Sub(r.aliveAt) > aliveInterval {
		r.record(nil, now)
	}
	if r.ticks%(2*slowTicks) == 0 {
		r.tellQuality()
	}
}

// chairReachable says whether the chair sits at a chair page.
func (r *Room) chairReachable() bool {
	member := r.meeting.State().Chair
	return slices.ContainsFunc(r.participants, func(p *participant) bool { return p.control && p.member == member && p.client != nil })
}

// arrived notes in the meeting that somebody is in the room.
func (r *Room) arrived(p *participant, now time.Time) {
	if p.hidden() {
		r.meeting.ChairHere(r.chairReachable(), now)
		return
	}
	r.record(r.meeting.Joined(p.person(), now), now)
	delete(r.calls, p.member)
	r.tellStandbys()
}

// departed notes that somebody is gone, unless another page of the same member is still there.
func (r *Room) departed(p *participant, now time.Time) {
	if r.meeting == nil || p.hidden() || slices.ContainsFunc(r.participants, func(o *participant) bool { return !o.hidden() && o.member == p.member }) {
		return
	}
	r.record(r.meeting.Left(p.member, now), now)
	r.tellStandbys()
}
