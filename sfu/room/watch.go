package room

import (
	"context"
	"fmt"
	"slices"
	"time"

	"linehall/internal/observe"
	"linehall/internal/site"
	"linehall/sfu/chair"
	"linehall/sfu/forward"
	"linehall/sfu/peer"
	"linehall/sfu/signal"
)

const (
	kindWatcher = "watcher"
	// watchHeight is how tall a watcher wants a camera, contentHeight a shared screen.
	watchHeight = 720
)

// Feed is what somebody who watches gets: slots that the room makes follow what is to be seen and heard. Whoever holds it
// binds them, to a connection or a sink.
type Feed struct {
	Video *forward.Slot
	Audio []*forward.Slot
}

// Person is a member by the name that all know.
type Person struct {
	Member string // "" = nobody
	Name   signal.Text
}

// Cast is who is on the slots of a feed.
type Cast struct {
	Picture Person
	Content bool // the picture is a shared screen
	Voices  []Person
}

// watcher is a participant that nobody sees: the recorder. The lines and publishers serve it as they serve everybody.
type watcher struct {
	member  string // whom it watches; "": the programme
	height  int
	changed func(Cast) // must not wait; nil: does not care
	last    Cast
}

// hidden says whether the participant is in no list: a chair page or a watcher.
func (p *participant) hidden() bool { return p.control || p.watch != nil }

// crowd counts those who take part, chair pages among them.
func (r *Room) crowd() int {
	n := 0
	for _, p := range r.participants {
		if p.watch == nil {
			n++
		}
	}
	return n
}

// enterWatcher gives somebody a feed.
func (r *Room) enterWatcher(id site.ID, voices int, w *watcher) (*participant, error) {
	p := &participant{
		room: r, id: newID(), kind: kindWatcher, joinedAt: time.Now(), site: id, watch: w,
		needed: map[stepKey]time.Time{}, askedAt: map[string]time.Time{}, absent: map[string]time.Time{},
	}
	p.video, p.audio, p.voices = make([]videoSlot, 1), make([]audioSlot, voices), voices
	p.peer = peer.New(peer.Options{
		Plane: r.manager.options.Plane, Log: r.log.With(observe.Participant, p.id), Metrics: r.manager.metrics,
		Dropped: r.manager.options.Dropped, Voices: voices, Videos: 1,
	})
	if err := p.reserve(id); err != nil {
		return nil, fmt.Errorf("%w: %w", signal.ErrFull, err)
	}
	r.participants = append(r.participants, p)
	p.setMeters()
	r.dirty = true
	return p, nil
}

// mainSite is where the appliance is, and its recorder.
func (r *Room) mainSite() site.ID {
	if atlas := r.manager.options.Atlas; atlas != nil {
		return atlas.Main()
	}
	return ""
}

func (p *participant) feed() Feed {
	return Feed{Video: p.peer.VideoSlots()[0], Audio: p.peer.AudioSlots()}
}

// frameWatched works out what a watcher is to be sent.
func (p *participant) frameWatched() {
	p.shown = p.shown[:0]
	r := p.room
	if p.watch.member != "" {
		if o := r.seatOf(p.watch.member); o != nil {
			p.shown = append(p.shown, signal.View{Participant: o.id, Media: signal.MediaCamera, Height: p.watch.height})
		}
		return
	}
	o, content := r.programme()
	switch {
	case o == nil:
	case content:
		p.shown = append(p.shown, signal.View{Participant: o.id, Media: signal.MediaContent, Height: contentHeight})
	default:
		p.shown = append(p.shown, signal.View{Participant: o.id, Media: signal.MediaCamera, Height: p.watch.height})
	}
}

// programme is whose picture the meeting is about: a shared screen, who is on air, who speaks, the chair, anybody.
func (r *Room) programme() (p *participant, content bool) {
	now := time.Now()
	visible := func(p *participant) bool { return p != nil && !p.hidden() && p.hasVideo && !p.dark() }
	for _, p := range r.participants {
		if u := p.peer.Uplink(); !p.hidden() && p.shares() && u != nil && u.Track(forward.Content).Live(now) {
			return p, true
		}
	}
	wanted := []string{r.speaker.member}
	if r.meeting != nil {
		s := r.meeting.State()
		wanted = []string{s.OnAir, r.speaker.member, s.Chair}
	}
	for _, member := range wanted {
		if p := r.seatOf(member); visible(p) {
			return p, false
		}
	}
	for _, p := range r.participants {
		if visible(p) {
			return p, false
		}
	}
	return nil, false
}

// speaker is who counts as the one who speaks; not every cough changes that.
type speaker struct {
	member string
	next   string
	since  time.Time // next has been the loudest
}

// speakerTime is how long somebody has to be the loudest before the programme shows them.
const speakerTime = 1500 * time.Millisecond

// note takes the loudest voice, "": nobody speaks; true: the speaker has changed.
func (s *speaker) note(member string, now time.Time) bool {
	switch {
	case member == "" || member == s.member:
		s.next = ""
	case member != s.next:
		s.next, s.since = member, now
	case now.Sub(s.since) >= speakerTime || s.member == "":
		s.member, s.next = member, ""
		return true
	}
	return false
}

// tellCast tells a watcher who is on its slots, if that changed.
func (p *participant) tellCast() {
	w := p.watch
	person := func(id string) Person {
		if o := p.room.find(id); o != nil {
			return Person{Member: o.member, Name: o.name}
		}
		return Person{}
	}
	c := Cast{Picture: person(p.video[0].participant), Content: p.video[0].content()}
	for _, a := range p.audio {
		c.Voices = append(c.Voices, person(a.participant))
	}
	if w.changed == nil || c.Picture == w.last.Picture && c.Content == w.last.Content && slices.Equal(c.Voices, w.last.Voices) {
		return
	}
	w.last = c
	w.changed(c)
}

func (r *Room) leaveWatcher(p *participant) {
	if r.end(p, "") {
		r.dirty = true
	}
}

// ErrNoMeeting means that there is nothing to look at or to record.
var ErrNoMeeting = &chair.Error{Code: "no_meeting", Text: "there is no meeting in this room now"}

// ask has the room do something and waits for its answer until ctx ends; what nobody waits for any more is undone.
func ask[T any](ctx context.Context, r *Room, do func() (T, error), undo func(T)) (T, error) {
	type answer struct {
		value T
		err   error
	}
	var none T
	reply := make(chan answer) // unbuffered: what was sent has arrived
	if !r.post(func() {
		if ctx.Err() != nil {
			return
		}
		a := answer{err: errAdmission} // of a panic
		defer func() {
			select {
			case reply <- a:
			case <-ctx.Done():
				if a.err == nil && undo != nil {
					undo(a.value)
				}
			}
		}()
		a.value, a.err = do()
	}) {
		return none, peer.ErrBusy
	}
	select {
	case a := <-reply:
		return a.value, a.err
	case <-r.done:
		return none, errClosed
	case <-ctx.Done():
		return none, context.Cause(ctx)
	}
}
