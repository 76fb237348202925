package room

import (
	"context"
	"slices"
	"time"

	"linehall/internal/auth"
	"linehall/internal/observe"
	"linehall/sfu/chair"
	"linehall/sfu/signal"
)

// Recorder records programmes (package program).
type Recorder interface {
	// Record begins the recording of a programme, or carries it on in another part; it does not wait. lost is called at most
	// once, by any goroutine, when the recording ends by itself.
	Record(p Programme, main Feed, lost func(why string)) Recording
}

// Recording is one under way. Its methods do not wait.
type Recording interface {
	Cast(c Cast)
	// Add records a participant in files of its own.
	Add(who Person, f Feed)
	Remove(member string)
	End(why string)
}

// Programme is what is recorded.
type Programme struct {
	ID, Room, RoomName, Meeting string
	Since                       time.Time
	By                          Person
	Tracks                      bool
}

// maxTracks bounds the participants that are recorded by themselves.
const maxTracks = 24

// taping is the recording of a room under way.
type taping struct {
	id        string
	recording Recording
	main      *participant
	single    map[string]*participant // member → its watcher
}

// followRecording begins, carries on or ends the recording as the order of the meeting says.
func (r *Room) followRecording(now time.Time) {
	var want *chair.Recording
	if r.meeting != nil {
		want = r.meeting.State().Recording
	}
	if r.taping != nil && (want == nil || want.ID != r.taping.id) {
		r.endTaping("stopped")
	}
	switch {
	case want == nil:
		return
	case r.taping == nil:
		if why := r.beginTaping(want); why != "" {
			r.settle(r.meeting.RecordingLost(want.ID, why, now), now)
			return
		}
	}
	r.followTracks(want)
}

// beginTaping says why it cannot.
func (r *Room) beginTaping(want *chair.Recording) (why string) {
	recorder := r.manager.options.Recorder
	if recorder == nil {
		return "unavailable"
	}
	t := &taping{id: want.ID, single: map[string]*participant{}}
	w := &watcher{height: watchHeight}
	main, err := r.enterWatcher(r.mainSite(), r.config.Voices, w)
	if err != nil {
		return err.Error()
	}
	t.main = main
	t.recording = recorder.Record(Programme{
		ID: want.ID, Room: r.config.Number, RoomName: r.config.Name, Meeting: r.meeting.State().Meeting, Since: want.Since,
		By: Person{Member: want.By, Name: signal.Text(want.ByName)}, Tracks: want.Tracks,
	}, main.feed(), func(why string) { r.post(func() { r.recordingLost(t, why) }) })
	w.changed = t.recording.Cast
	r.taping = t
	r.log.Info("recording", "recording", t.id)
	return ""
}

// recordingLost takes note that a recording ended by itself.
func (r *Room) recordingLost(t *taping, why string) {
	if r.taping != t {
		return
	}
	r.endTaping(why)
	if r.meeting != nil {
		if out := r.meeting.RecordingLost(t.id, why, time.Now()); len(out.Minutes) > 0 {
			r.settle(out, time.Now())
		}
	}
}

func (r *Room) endTaping(why string) {
	t := r.taping
	if t == nil {
		return
	}
	r.taping = nil
	for _, p := range t.single {
		r.leaveWatcher(p)
	}
	r.leaveWatcher(t.main)
	t.recording.End(why)
	r.log.Info("recording ended", "recording", t.id, observe.Reason, why)
}

// followTracks has everybody recorded who is there, if that is wanted.
func (r *Room) followTracks(want *chair.Recording) {
	t := r.taping
	if t == nil || !want.Tracks {
		return
	}
	for member, p := range t.single {
		if r.seatOf(member) == nil {
			delete(t.single, member)
			r.leaveWatcher(p)
			t.recording.Remove(member)
		}
	}
	for _, o := range slices.Clone(r.participants) {
		if o.hidden() || t.single[o.member] != nil || len(t.single) >= maxTracks {
			continue
		}
		p, err := r.enterWatcher(r.mainSite(), 1, &watcher{member: o.member, height: watchHeight})
		if err != nil {
			r.log.Warn("participant not recorded by itself", observe.Participant, o.id, observe.Err, err)
			continue
		}
		t.single[o.member] = p
		t.recording.Add(Person{Member: o.member, Name: o.name}, p.feed())
	}
}

// Record begins or ends the recording of a room on behalf of somebody who need not be in it.
func (m *Manager) Record(ctx context.Context, number string, who auth.Principal, on, tracks bool) error {
	r := m.room(number)
	if r == nil {
		return signal.ErrNotFound
	}
	_, err := ask(ctx, r, func() (struct{}, error) { //nolint:contextcheck // whoever comes in by it lives longer than the request
		var none struct{}
		if r.meeting == nil {
			return none, ErrNoMeeting
		}
		now := time.Now()
		act := chair.Act{Name: chair.StopRecord}
		if on {
			act = chair.Act{Name: chair.StartRecord, On: tracks}
		}
		by := chair.Actor{Member: memberOf(who, "local"), Name: chair.Name{Zh: who.Name, En: who.Name}, MayRevoke: leads(who)}
		out, err := r.meeting.Do(act, by, now)
		if err != nil {
			return none, err //nolint:wrapcheck // it carries its code
		}
		r.settle(out, now)
		return none, nil
	}, nil)
	return err
}
