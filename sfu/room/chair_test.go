package room_test

import (
	"context"
	"encoding/json"
	"maps"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"linehall/internal/auth"
	"linehall/internal/database"
	"linehall/internal/setting"
	"linehall/sfu/chair"
	"linehall/sfu/room"
	"linehall/sfu/signal"
)

// act sends an act.
func (c *client) act(name string, fields map[string]any) {
	m := map[string]any{"type": "act", "act": name}
	maps.Copy(m, fields)
	c.send(m)
}

// order waits until the meeting, as this client was told, is as wanted.
func (c *client) order(what string, cond func(m signal.Meeting) bool) {
	c.t.Helper()
	c.await(what, func() bool { return c.meeting.ID != "" && cond(c.meeting) })
}

// refusal waits for the refusal of an act with a code.
func (c *client) refusal(act, code string) {
	c.t.Helper()
	c.await(act+" refused as "+code, func() bool {
		return slices.ContainsFunc(c.errors, func(e signal.Error) bool { return e.Act == act && e.Code == code })
	})
}

// hearing counts what has been received of somebody's voice.
func (c *client) hearing(other *client) int {
	id := other.id()
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, s := range c.slots.Audio {
		if s.Participant == id {
			n, _ := c.received[s.MID].count()
			return n
		}
	}
	return 0
}

// allVoices counts the voice packets received, whoever they are of.
func (c *client) allVoices() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	n := 0
	for _, r := range c.received {
		if r.kind.String() == "audio" {
			packets, _ := r.count()
			n += packets
		}
	}
	return n
}

// hears waits until more of somebody's voice comes.
func (c *client) hears(other *client) {
	c.t.Helper()
	until(c.t, "a voice is heard", func() bool { return c.hearing(other) > 0 })
	before := c.hearing(other)
	until(c.t, "a voice goes on", func() bool { return c.hearing(other) > before+5 })
}

// deaf checks that nothing of any voice comes for a quarter of a second, a dozen packets.
func (c *client) deaf() {
	c.t.Helper()
	until(c.t, "silence", func() bool {
		before := c.allVoices()
		time.Sleep(250 * time.Millisecond)
		return c.allVoices() == before
	})
}

// shows says whether the camera of another is in one of the m-lines, and moving.
func (c *client) watches(other *client) {
	c.t.Helper()
	until(c.t, "the picture is there", func() bool { _, n := c.of(other.id()).count(); return n > 0 })
	_, before := c.of(other.id()).count()
	until(c.t, "the picture moves", func() bool { _, n := c.of(other.id()).count(); return n > before+3 })
}

// blind waits until a camera is in none of the m-lines.
func (c *client) blind(other *client) {
	c.t.Helper()
	id := other.id()
	c.await("the picture is gone", func() bool {
		return !slices.ContainsFunc(c.slots.Video, func(s signal.VideoSlot) bool {
			return s.Participant == id && s.Media == "camera" && s.Reason != signal.ReasonMuted
		})
	})
}

// seated is the world of the acts: the main venue as chair and three branches, all filming.
func seated(t *testing.T, w *world) (hq, a, b, c *client) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	t.Cleanup(cancel)
	hq, a, b, c = w.filming(ctx, t, "hq", map[string]int{"": 360}), w.filming(ctx, t, "branch1", map[string]int{"": 360}), w.filming(ctx, t, "branch2", map[string]int{"": 360}), w.filming(ctx, t, "branch3", map[string]int{"": 360})
	all := []*client{hq, a, b, c}
	for _, one := range all {
		for _, other := range all {
			if other != one {
				one.await("everyone's picture", func() bool { return one.sees(other) })
			}
		}
	}
	hq.act(chair.RequestChair, nil)
	c.order("a chair", func(m signal.Meeting) bool { return m.Chair == "hq" && m.ChairPresent && !m.You.Chair })
	return hq, a, b, c
}

// chairWorld has rooms in which the main venue may be chair; voices enough for all to be heard.
func chairWorld(t *testing.T, change func(*room.Settings), o worldOptions) *world {
	t.Helper()
	config := demoConfig()
	config.Rooms[0].Chairs = []string{"hq"}
	if change != nil {
		change(&config.Rooms[0])
	}
	o.config = &config
	return newWorld(t, o)
}

func TestVoicesFollowTheChair(t *testing.T) {
	t.Parallel()
	w := chairWorld(t, nil, worldOptions{})
	hq, a, b, c := seated(t, w)
	c.hears(a)
	a.act(chair.MuteAll, map[string]any{"on": true})
	a.refusal(chair.MuteAll, chair.ErrNotChair.Code)
	c.hears(b)

	hq.act(chair.MuteOne, map[string]any{"target": "branch1", "on": true})
	a.await("told that it is muted", func() bool {
		return slices.ContainsFunc(a.people, func(p signal.Participant) bool { return p.Member == "branch1" && p.ChairMuted && p.AudioMuted })
	})
	until(t, "a is heard by nobody, though it sends on", func() bool { return c.hearing(a) == 0 && b.hearing(a) == 0 })
	a.send(map[string]any{"type": "mute", "media": "audio", "muted": false})
	a.await("refused", func() bool {
		return slices.ContainsFunc(a.errors, func(e signal.Error) bool { return e.Request == "mute" && e.Code == chair.ErrMuted.Code })
	})
	c.hears(b) // the others go on
	hq.act(chair.AllowUnmute, map[string]any{"on": true})
	a.order("may unmute", func(m signal.Meeting) bool { return m.MayUnmute })
	a.send(map[string]any{"type": "mute", "media": "audio", "muted": false})
	c.hears(a)

	hq.act(chair.GiveFloor, map[string]any{"target": "branch2"})
	c.order("floor", func(m signal.Meeting) bool { return m.Floor == "branch2" && m.OnAir == "branch2" })
	until(t, "only the floor and the chair are heard", func() bool { return c.hearing(a) == 0 && c.hearing(b) > 0 && c.hearing(hq) > 0 })
	c.hears(b)
	c.hears(hq)
	hq.hears(b)
	hq.act(chair.Discussion, nil)
	b.hears(a)
	b.hears(c)

	hq.act(chair.MuteAll, map[string]any{"on": true})
	hq.send(map[string]any{"type": "mute", "media": "audio", "muted": true})
	c.deaf()
	hq.act(chair.MuteAll, nil)
	c.hears(b)
}

func TestPicturesFollowTheChair(t *testing.T) {
	t.Parallel()
	w := chairWorld(t, nil, worldOptions{})
	hq, a, b, c := seated(t, w)
	// c asks for nothing: what it is sent is the programme alone.
	hq.act(chair.Broadcast, map[string]any{"target": "branch1"})
	c.watches(a)
	a.watches(hq) // who is on air sees the chair
	hq.watches(a)
	hq.act(chair.ViewVenue, map[string]any{"target": "branch2"})
	hq.watches(b)
	hq.blind(a)
	c.watches(a) // the others still see the broadcast
	b.order("what the chair views is the chair's own", func(m signal.Meeting) bool { return m.View == "" })

	c.watch(360)
	c.watches(b)
	hq.act(chair.SetLayout, map[string]any{"layout": "single", "on": true})
	c.blind(b)
	c.watches(a)
	hq.act(chair.SetLayout, map[string]any{"layout": "grid", "on": true})
	c.watches(b)
	c.watches(hq)
	hq.act(chair.SetLayout, map[string]any{"layout": "lecture", "on": true})
	c.blind(b)
	c.watches(a)
	// Late joiners get the same.
	late := w.join(t, "branch4", "", nil)
	late.order("late", func(m signal.Meeting) bool { return m.OnAir == "branch1" && m.Layout == "lecture" && m.Forced })
	late.watches(a)
	hq.act(chair.SetLayout, nil)

	hq.act(chair.StartPoll, map[string]any{"seconds": 5, "order": []string{"branch2", "branch5", "branch3"}, "on": true})
	late.watches(b)
	hq.act(chair.NextInPoll, nil) // branch5 is absent
	late.watches(c)
	late.order("turn", func(m signal.Meeting) bool { return m.Poll != nil && m.Poll.Current == "branch3" })
	hq.act(chair.Discussion, nil)
	late.order("poll over", func(m signal.Meeting) bool { return m.Poll == nil && m.OnAir == "" })

	c.watches(a)
	hq.act(chair.CameraOff, map[string]any{"target": "branch1", "on": true})
	c.blind(a)
	a.send(map[string]any{"type": "mute", "media": "video", "muted": false})
	a.await("refused", func() bool {
		return slices.ContainsFunc(a.errors, func(e signal.Error) bool { return e.Code == chair.ErrDark.Code })
	})
	hq.act(chair.CameraOff, map[string]any{"target": "branch1"})
	c.watches(a)
}

func TestSharingIsLocked(t *testing.T) {
	t.Parallel()
	w := chairWorld(t, nil, worldOptions{})
	hq, a, b, _ := seated(t, w)
	shares := func(c *client, member string) bool {
		return slices.ContainsFunc(c.people, func(p signal.Participant) bool { return p.Member == member && p.HasContent })
	}
	a.send(map[string]any{"type": "content", "active": true})
	b.await("a shares", func() bool { return shares(b, "branch1") })
	hq.act(chair.LockContent, map[string]any{"on": true, "target": "branch2"})
	a.order("locked", func(m signal.Meeting) bool { return m.ContentLocked && m.Presenter == "branch2" })
	b.await("a no longer shares", func() bool { return !shares(b, "branch1") })
	a.send(map[string]any{"type": "content", "active": true})
	a.await("refused", func() bool {
		return slices.ContainsFunc(a.errors, func(e signal.Error) bool { return e.Code == chair.ErrContent.Code })
	})
	b.send(map[string]any{"type": "content", "active": true})
	a.await("b shares", func() bool { return shares(a, "branch2") })
}

func TestRequestsRollCallTextsAndChat(t *testing.T) {
	t.Parallel()
	w := chairWorld(t, nil, worldOptions{})
	hq, a, b, c := seated(t, w)
	a.act(chair.RequestFloor, nil)
	hq.order("first request", func(m signal.Meeting) bool { return len(m.Requests) == 1 })
	b.act(chair.RequestFloor, nil)
	hq.order("requests in order", func(m signal.Meeting) bool {
		return len(m.Requests) == 2 && m.Requests[0].Member == "branch1" && m.Requests[0].Name.En == "Venue branch1" && m.Requests[1].Member == "branch2"
	})
	hq.act(chair.GiveFloor, map[string]any{"target": "branch2"})
	a.order("requests cleared", func(m signal.Meeting) bool { return len(m.Requests) == 0 && m.Floor == "branch2" })

	hq.act(chair.StartRoll, map[string]any{"seconds": 60})
	a.order("roll call", func(m signal.Meeting) bool {
		return m.Roll != nil && m.Roll.ClosedAt == nil && len(m.Roll.Entries) == 6
	})
	a.act(chair.AnswerRoll, nil)
	hq.order("answer", func(m signal.Meeting) bool { return m.Roll != nil && m.Roll.Entries[1].AnsweredAt != nil })
	hq.act(chair.CloseRoll, nil)
	c.order("sheet", func(m signal.Meeting) bool {
		if m.Roll == nil {
			return false
		}
		e := m.Roll.Entries
		return m.Roll.ClosedAt != nil && e[1].AnsweredAt != nil && e[2].Present && e[2].AnsweredAt == nil && !e[4].Present
	})

	hq.act(chair.SetBanner, map[string]any{"text": "休会十分钟"})
	hq.act(chair.SetCaption, map[string]any{"text": "请就座"})
	c.order("texts", func(m signal.Meeting) bool { return m.Banner == "休会十分钟" && m.Caption == "请就座" })
	a.act(chair.Chat, map[string]any{"text": "收到"})
	c.await("chat", func() bool {
		return len(c.chat) == 1 && c.chat[0].Text == "收到" && c.chat[0].Name.Zh == "会场branch1"
	})
	for range 20 {
		a.act(chair.Chat, map[string]any{"text": "x"})
	}
	a.refusal(chair.Chat, signal.TooOften)
	late := w.join(t, "branch4", "", nil)
	late.await("what was written before", func() bool { return len(late.chat) >= 2 && late.chat[0].Text == "收到" })

	hq.act(chair.Extend, map[string]any{"seconds": 600})
	c.order("end", func(m signal.Meeting) bool { return m.EndsAt != nil })
	hq.act(chair.End, nil)
	for _, one := range []*client{hq, a, b, c, late} {
		one.await("the end", func() bool { return one.ended == signal.Over })
	}
	again := w.join(t, "branch1", "", nil)
	again.order("a new meeting without the old order", func(m signal.Meeting) bool {
		return m.Chair == "" && m.Banner == "" && m.Roll == nil && !m.MuteAll
	})
}

func TestLocksWaitingRoomAndDroppedVenues(t *testing.T) {
	t.Parallel()
	w := chairWorld(t, nil, worldOptions{})
	hq := w.join(t, "hq", "", nil)
	a := w.join(t, "branch1", "", nil)
	hq.order("meeting", func(m signal.Meeting) bool { return m.You.MayChair })
	a.order("meeting", func(signal.Meeting) bool { return true })
	hq.act(chair.RequestChair, nil)
	hq.act(chair.KeepWaiting, map[string]any{"on": true})
	hq.order("waiting room", func(m signal.Meeting) bool { return m.WaitingRoom })
	b, c := w.join(t, "branch2", "", nil), w.join(t, "branch3", "", nil)
	for _, one := range []*client{b, c} {
		one.await("waiting", func() bool { return one.waiting && one.welcome.Participant == "" })
	}
	hq.order("two wait", func(m signal.Meeting) bool { return len(m.You.Waiting) == 2 })
	a.order("the waiting room, but not who waits", func(m signal.Meeting) bool { return m.WaitingRoom && len(m.You.Waiting) == 0 })
	b.act(chair.RequestFloor, nil) // from outside: nothing happens
	b.send(map[string]any{"type": "ping"})
	b.await("the room has it", func() bool { return b.pongs == 1 })
	guest := func(name string) string {
		hq.mu.Lock()
		defer hq.mu.Unlock()
		for _, g := range hq.meeting.You.Waiting {
			if g.Name.En == name {
				return g.ID
			}
		}
		return ""
	}
	hq.act(chair.Admit, map[string]any{"target": guest("Venue branch2")})
	b.await("admitted", func() bool { return b.welcome.Participant != "" })
	hq.act(chair.TurnAway, map[string]any{"target": guest("Venue branch3")})
	c.await("turned away", func() bool { return c.ended == signal.TurnedAway })
	hq.act(chair.KeepWaiting, nil)
	hq.order("no request of somebody who waited", func(m signal.Meeting) bool { return !m.WaitingRoom && len(m.Requests) == 0 })

	hq.act(chair.LockRoom, map[string]any{"on": true})
	hq.order("locked", func(m signal.Meeting) bool { return m.Locked })
	d := w.join(t, "branch4", "", nil)
	d.await("refused", func() bool {
		return slices.ContainsFunc(d.errors, func(e signal.Error) bool { return e.Request == "join" && e.Code == chair.ErrLocked.Code })
	})
	b.close()
	back := w.join(t, "branch2", "", nil) // was in before
	back.await("welcome", func() bool { return back.welcome.Participant != "" })
	hq.act(chair.DropVenue, map[string]any{"target": "branch2"})
	back.await("dropped", func() bool { return back.ended == signal.Dropped })
	hq.order("gone", func(m signal.Meeting) bool { return !m.Venues[2].Present && m.Venues[2].Dropped })
	once := w.join(t, "branch2", "", nil)
	once.await("refused", func() bool {
		return slices.ContainsFunc(once.errors, func(e signal.Error) bool { return e.Code == chair.ErrDropped.Code })
	})
	hq.act(chair.AddVenue, map[string]any{"target": "branch2"})
	hq.order("added", func(m signal.Meeting) bool { return !m.Venues[2].Dropped })
	again := w.join(t, "branch2", "", nil)
	again.await("welcome", func() bool { return again.welcome.Participant != "" })
}

// A chair page leads without being seen: it takes nobody's place, sends nothing and is in no list.
func TestAChairPageLeadsBesideItsVenue(t *testing.T) {
	t.Parallel()
	w := chairWorld(t, func(s *room.Settings) { s.ChairPIN = setting.Secret("4711") }, worldOptions{})
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	a := w.filming(ctx, t, "branch1", map[string]int{"": 360})
	tv := w.join(t, "hq", "", nil)
	page := w.joinAs(t, "hq", map[string]any{"control": true})
	page.order("may lead", func(m signal.Meeting) bool { return m.You.MayChair && m.You.Member == "hq" })
	page.await("the list", func() bool { return len(page.people) == 2 })
	page.act(chair.RequestChair, nil)
	tv.order("its venue is chair", func(m signal.Meeting) bool { return m.You.Chair })
	page.act(chair.MuteOne, map[string]any{"target": "branch1", "on": true})
	tv.await("muted", func() bool {
		return slices.ContainsFunc(tv.people, func(p signal.Participant) bool { return p.Member == "branch1" && p.ChairMuted })
	})
	page.await("minutes", func() bool {
		return slices.ContainsFunc(page.minutes, func(m signal.Minute) bool {
			return m.Action == chair.MuteOne && m.Actor == "hq" && m.Target == "branch1" && m.Detail == "on"
		})
	})
	page.await("quality", func() bool { return len(page.quality) == 2 })
	page.act(chair.RequestFloor, nil)
	page.refusal(chair.RequestFloor, chair.ErrForbidden.Code)
	page.watch(360)
	page.watches(a)
	if n := page.allVoices(); n != 0 {
		t.Errorf("a chair page was sent %d packets of voice: its room has a loudspeaker already", n)
	}
	// The chair is reachable as long as its page is, with or without its TV.
	tv.close()
	page.order("still there", func(m signal.Meeting) bool { return m.ChairPresent && !m.Venues[0].Present })

	other := w.joinAs(t, "branch2", map[string]any{"control": true})
	other.await("a PIN is asked", func() bool { return refused(other, signal.PINNeeded) })
	for _, want := range []string{signal.PINWrong, signal.PINWrong, signal.PINLocked} {
		wrong := w.joinAs(t, "branch2", map[string]any{"control": true, "pin": "0000"})
		wrong.await(want, func() bool { return refused(wrong, want) })
	}
	right := w.joinAs(t, "branch2", map[string]any{"control": true, "pin": "4711"})
	right.await("locked all the same", func() bool { return refused(right, signal.PINLocked) })
	fine := w.joinAs(t, "branch3", map[string]any{"control": true, "pin": "4711"})
	fine.order("may lead and revoke", func(m signal.Meeting) bool { return m.You.MayChair && m.You.MayRevoke })
	fine.act(chair.RequestChair, nil)
	fine.refusal(chair.RequestChair, chair.ErrChairHeld.Code)
	fine.act(chair.RevokeChair, nil)
	fine.act(chair.RequestChair, nil)
	page.order("lost the chair", func(m signal.Meeting) bool { return m.Chair == "branch3" })
}

func refused(c *client, code string) bool {
	return slices.ContainsFunc(c.errors, func(e signal.Error) bool { return e.Code == code })
}

// The room's PIN is asked of people who are no venue of it.
func TestGuestsAreAskedForThePIN(t *testing.T) {
	t.Parallel()
	w := chairWorld(t, func(s *room.Settings) { s.PIN = setting.Secret("123456") }, worldOptions{})
	w.who = func(name string) auth.Principal {
		switch {
		case slices.Contains(demoVenues, name):
			return auth.Principal{Kind: auth.KindDevice, Role: auth.Room, Room: "9000", Venue: name}
		case name == "chief":
			return auth.Principal{Kind: auth.KindUser, Name: name, Role: auth.Chair}
		}
		return auth.Principal{Kind: auth.KindUser, Name: name, Role: auth.User}
	}
	for _, name := range []string{"hq", "chief"} {
		c := w.join(t, name, "", nil)
		c.await("welcome without a PIN", func() bool { return c.welcome.Participant != "" })
	}
	anna := w.join(t, "anna", "", nil)
	anna.await("asked", func() bool { return refused(anna, signal.PINNeeded) })
	anna = w.joinAs(t, "anna", map[string]any{"pin": "123456"})
	anna.order("in", func(m signal.Meeting) bool { return m.You.Member == "user:anna" && !m.You.MayChair })
	anna.act(chair.RequestChair, nil)
	anna.refusal(chair.RequestChair, chair.ErrForbidden.Code)
	for _, want := range []string{signal.PINWrong, signal.PINWrong, signal.PINLocked} {
		bert := w.joinAs(t, "bert", map[string]any{"pin": "654321"})
		bert.await(want, func() bool { return refused(bert, want) })
	}
}

// An appliance that restarts carries the meeting on: chair, floor and mutes, and the minutes.
func TestChairAndFloorOutliveTheAppliance(t *testing.T) {
	t.Parallel()
	db, err := database.Open(t.Context(), filepath.Join(t.TempDir(), "x.db"))
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close() //nolint:errcheck // of a test
	if err := database.Migrate(t.Context(), db, room.Schema()); err != nil {
		t.Fatal(err)
	}
	life := func() (*world, *room.Book, func()) {
		conn, err := db.Conn(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		writer, err := database.NewWriter(t.Context(), conn)
		if err != nil {
			t.Fatal(err)
		}
		book, err := room.OpenBook(t.Context(), db, writer, discard(), prometheus.NewRegistry())
		if err != nil {
			t.Fatal(err)
		}
		w := chairWorld(t, nil, worldOptions{book: book})
		return w, book, func() { w.stop(); writer.Close(); _ = conn.Close() }
	}
	w, _, end := life()
	hq, _, _, c := seated(t, w)
	hq.act(chair.GiveFloor, map[string]any{"target": "branch2"})
	hq.act(chair.SetBanner, map[string]any{"text": "横幅"})
	c.order("floor", func(m signal.Meeting) bool { return m.Floor == "branch2" && m.Banner != "" })
	meeting := c.meeting.ID
	end()

	w, book, end := life()
	defer end()
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	c = w.filming(ctx, t, "branch3", map[string]int{"": 360})
	c.order("carried on", func(m signal.Meeting) bool {
		return m.ID == meeting && m.Chair == "hq" && !m.ChairPresent && m.Floor == "branch2" && m.OnAir == "branch2" && m.Banner == "横幅" && m.MuteAll
	})
	b := w.filming(ctx, t, "branch2", map[string]int{"": 360})
	a := w.filming(ctx, t, "branch1", map[string]int{"": 360})
	a.hears(b)
	c.watches(b)
	if n := b.hearing(c) + a.hearing(c); n != 0 {
		t.Errorf("%d packets of a voice that was muted before the restart", n)
	}
	hq = w.filming(ctx, t, "hq", map[string]int{"": 360})
	hq.order("chair again", func(m signal.Meeting) bool { return m.You.Chair })
	hq.act(chair.End, nil)
	c.await("the end", func() bool { return c.ended == signal.Over })
	until(t, "the minutes are whole", func() bool {
		list, err := book.Minutes(t.Context(), meeting, 100)
		if err != nil {
			t.Fatal(err)
		}
		var actions []string
		for _, m := range list {
			actions = append(actions, strings.TrimSpace(m.Actor+" "+m.Action))
		}
		text := strings.Join(actions, ", ")
		return strings.HasPrefix(text, "opened, hq joined") && strings.Contains(text, "hq chair.request, hq floor.give, hq banner, branch3 joined") && strings.HasSuffix(text, "hq end")
	})
	meetings, err := book.Meetings(t.Context(), "9000", 10)
	if err != nil || len(meetings) != 1 || meetings[0].ID != meeting || meetings[0].EndedAt.IsZero() {
		t.Errorf("meetings: %+v, %v", meetings, err)
	}
}

// What a page sends beyond all bounds is refused before it reaches the room.
func TestActsBeyondAllBounds(t *testing.T) {
	for name, fields := range map[string]map[string]any{
		"text":   {"text": strings.Repeat("x", 5000)},
		"target": {"target": strings.Repeat("x", 100)},
		"order":  {"order": make([]string, 65)},
		"member": {"order": []string{strings.Repeat("x", 100)}},
		"pin":    {"pin": strings.Repeat("1", 40)},
	} {
		fields["type"] = "act"
		frame, err := json.Marshal(fields)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := signal.Decode(frame); err == nil {
			t.Errorf("%s: taken", name)
		}
	}
}
