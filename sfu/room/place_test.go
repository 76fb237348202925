package room_test

import (
	"context"
	"net/netip"
	"testing"
	"time"

	"linehall/internal/site"
	"linehall/media/line"
	"linehall/sfu/signal"
)

// filming makes a venue that has joined and sends.
func (w *world) filming(ctx context.Context, tb testing.TB, venue string, layers map[string]int) *client {
	tb.Helper()
	c := w.join(tb, venue, "", nil)
	c.await("welcome", func() bool { return c.welcome.Participant != "" })
	c.startPublish(layers)
	go c.film(ctx, 2)
	return c
}

func TestAVenueThatJoinsTwiceKeepsTheNewerConnection(t *testing.T) {
	t.Parallel()
	w := newWorld(t, worldOptions{})
	first := w.join(t, "hq", "", nil)
	first.await("welcome", func() bool { return first.welcome.Participant != "" })
	second := w.join(t, "hq", "", nil)
	second.await("welcome", func() bool { return second.welcome.Participant != "" })
	first.await("replaced", func() bool { return first.ended == signal.Replaced })
	second.await("alone", func() bool { return len(second.people) == 1 })
	if first.welcome.Participant == second.welcome.Participant {
		t.Error("the newer connection has the older's id without its token")
	}
	second.close()
}

func TestAParticipantResumesItsPlace(t *testing.T) {
	t.Parallel()
	w := newWorld(t, worldOptions{})
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	a := w.filming(ctx, t, "hq", map[string]int{"": 360})
	b := w.filming(ctx, t, "branch1", map[string]int{"": 360})
	b.await("picture", func() bool { return b.sees(a) })
	b.watch(360)
	until(t, "frames", func() bool { _, n := b.of(a.id()).count(); return n > 5 })
	_ = b.socket.CloseNow() // the WebSocket breaks, the media goes on
	<-b.done
	again := w.join(t, "branch1", b.welcome.Resume, nil)
	again.subscribe, again.received = b.subscribe, b.received // the page is the same one
	again.await("welcome", func() bool { return again.welcome.Participant != "" })
	if again.welcome.Participant != b.welcome.Participant || again.welcome.Instance != b.welcome.Instance {
		t.Errorf("resumed as %s of %s, was %s of %s", again.welcome.Participant, again.welcome.Instance, b.welcome.Participant, b.welcome.Instance)
	}
	again.await("slots", func() bool { return len(again.slots.Video) > 0 && again.slots.Video[0].Participant == a.id() })
	_, before := again.of(a.id()).count()
	until(t, "more frames", func() bool { _, n := again.of(a.id()).count(); return n > before+25 })
	if n := len(w.manager.Snapshot()[0].Participants); n != 2 {
		t.Errorf("%d participants", n)
	}
}

func TestAReloadedPageResumesWithNewConnections(t *testing.T) {
	t.Parallel()
	w := newWorld(t, worldOptions{})
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	a := w.filming(ctx, t, "hq", map[string]int{"": 360})
	b := w.filming(ctx, t, "branch1", map[string]int{"": 360})
	b.await("picture", func() bool { return b.sees(a) })
	b.watch(360)
	until(t, "frames", func() bool { _, n := b.of(a.id()).count(); return n > 5 })
	again := w.join(t, "branch1", b.welcome.Resume, nil) // while the old connection still stands
	again.await("welcome", func() bool { return again.welcome.Participant == b.id() })
	b.await("replaced", func() bool { return b.ended == signal.Replaced })
	again.startPublish(map[string]int{"": 360})
	go again.film(ctx, 2)
	until(t, "frames again", func() bool { _, n := again.of(a.id()).count(); return n > 25 })
	a.watch(360)
	until(t, "frames of the new page", func() bool { _, n := a.of(b.id()).count(); return n > 25 })
}

func TestAfterARestartTheVenueHasItsPlaceBack(t *testing.T) {
	t.Parallel()
	w := newWorld(t, worldOptions{})
	a := w.join(t, "hq", "", nil)
	a.await("welcome", func() bool { return a.welcome.Participant != "" })
	w.stop()
	a.await("shutdown", func() bool { return a.ended == signal.Shutdown })
	next := newWorld(t, worldOptions{})
	again := next.join(t, "hq", a.welcome.Resume, nil) // a token of the instance before
	again.await("welcome", func() bool { return again.welcome.Participant != "" })
	if again.welcome.Instance == a.welcome.Instance {
		t.Error("the instance did not change")
	}
	if again.welcome.Venue == nil || again.welcome.Venue.ID != "hq" {
		t.Errorf("welcome at %+v", again.welcome.Venue)
	}
	again.close()
}

func TestOnlyVenuesOfTheRoomEnter(t *testing.T) {
	t.Parallel()
	w := newWorld(t, worldOptions{})
	c := w.join(t, "elsewhere", "", nil)
	c.await("forbidden", func() bool { return len(c.errors) == 1 && c.errors[0].Code == signal.Forbidden })
}

func TestAMutedVenueIsNotForwarded(t *testing.T) {
	t.Parallel()
	w := newWorld(t, worldOptions{})
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	a := w.filming(ctx, t, "hq", map[string]int{"": 360})
	b := w.join(t, "branch1", "", nil)
	b.await("picture", func() bool { return b.sees(a) })
	b.watch(360)
	until(t, "frames", func() bool { _, n := b.of(a.id()).count(); return n > 5 })
	a.send(map[string]any{"type": "mute", "media": "video", "muted": true})
	a.send(map[string]any{"type": "mute", "media": "audio", "muted": true})
	b.await("muted", func() bool {
		return b.people[0].VideoMuted && b.people[0].AudioMuted && len(b.slots.Video) > 0 && b.slots.Video[0].Reason == signal.ReasonMuted
	})
	before, since := -1, time.Now()
	until(t, "half a second without a packet of the muted camera", func() bool { // after what was under way
		if n, _ := b.first().count(); n != before {
			before, since = n, time.Now()
		}
		return time.Since(since) > 500*time.Millisecond
	})
	a.send(map[string]any{"type": "mute", "media": "video", "muted": false})
	until(t, "frames again", func() bool { n, _ := b.of(a.id()).count(); return n > before+20 })
}

func TestTheLayerFollowsTheSizeOfThePicture(t *testing.T) {
	t.Parallel()
	w := newWorld(t, worldOptions{})
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	a := w.filming(ctx, t, "hq", map[string]int{"l": 180, "m": 360, "h": 720})
	b := w.join(t, "branch1", "", nil)
	b.await("picture", func() bool { return b.sees(a) })
	show := func(height int) {
		b.send(map[string]any{"type": "want", "views": []signal.View{{Participant: a.id(), Media: "camera", Height: height}}})
	}
	show(180)
	until(t, "180 lines", func() bool { return b.of(a.id()).sawHeight(180) })
	show(720)
	until(t, "720 lines", func() bool { return b.of(a.id()).sawHeight(720) })
	a.await("the high layer is commanded", func() bool { return a.layers.Camera[2].Active && a.layers.Camera[0].Active })
	show(100)
	a.await("the high layer is paused, the lowest is not", func() bool { return !a.layers.Camera[2].Active && a.layers.Camera[0].Active })
	r := b.of(a.id())
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.backward > 0 {
		t.Errorf("time ran backward %d times", r.backward)
	}
}

func narrow(up, down int64) []site.Site {
	list := []site.Site{{ID: "hq", Name: "hq", Main: true, Subnets: []netip.Prefix{netip.MustParsePrefix("192.0.2.0/24")}}}
	for _, id := range demoVenues[1:] {
		list = append(list, site.Site{ID: site.ID(id), Name: id, Line: &site.Line{Up: up, Down: down, Overhead: site.Ethernet}})
	}
	return list
}

func TestACallTakesItsRateFromVideoAndGivesItBack(t *testing.T) {
	t.Parallel()
	var ledger *line.Ledger
	w := newWorld(t, worldOptions{sites: narrow(2_000_000, 2_000_000), ledger: &ledger})
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	a := w.filming(ctx, t, "hq", map[string]int{"l": 180, "m": 360, "h": 720})
	b := w.join(t, "branch1", "", nil)
	b.await("picture", func() bool { return b.sees(a) })
	b.watch(720)
	until(t, "720 lines", func() bool { return b.of(a.id()).sawHeight(720) })
	lease, err := ledger.Reserve(line.Voice, line.Demand{Site: "branch1", Rate: line.Rate{Up: 1_400_000, Down: 1_400_000}})
	if err != nil {
		t.Fatal(err)
	}
	start := time.Now()
	b.await("a smaller picture because of the line", func() bool {
		return len(b.slots.Video) > 0 && b.slots.Video[0].Reason == signal.ReasonLine && b.slots.Video[0].RID != "h"
	})
	t.Logf("video gave way after %v", time.Since(start)) // one second is the goal; a busy machine takes its time
	b.await("the line is tight", func() bool { return b.line.State == "tight" && b.line.Down.CapacityBps == 2_000_000 })
	lease.Release()
	b.await("the large picture again", func() bool {
		return len(b.slots.Video) > 0 && b.slots.Video[0].RID == "h" && b.slots.Video[0].Reason == ""
	})
	until(t, "video is measured on the line", func() bool {
		for _, s := range ledger.Snapshot() {
			if s.Site != "branch1" || s.Direction != line.Down {
				continue
			}
			if used := s.Reserved + s.Elastic; used > 2_000_000 {
				t.Errorf("%d bit/s are given out of 2 Mbit/s", used)
			}
			for _, c := range s.Classes {
				if c.Class == line.Video && c.Measured > 0 {
					return true
				}
			}
		}
		return false
	})
}

func TestALineWithoutRoomForThreeVoicesCarriesFewer(t *testing.T) {
	t.Parallel()
	var ledger *line.Ledger
	w := newWorld(t, worldOptions{sites: narrow(1_000_000, 1_000_000), ledger: &ledger})
	if _, err := ledger.Reserve(line.Voice, line.Demand{Site: "branch1", Rate: line.Rate{Up: 850_000, Down: 850_000}}); err != nil {
		t.Fatal(err)
	}
	b := w.join(t, "branch1", "", nil)
	b.await("welcome", func() bool { return b.welcome.Participant != "" })
	for _, s := range ledger.Snapshot() {
		if s.Site != "branch1" || s.Direction != line.Down {
			continue
		}
		for _, c := range s.Classes {
			if c.Class == line.ConferenceAudio && (c.Reserved < 120_000 || c.Reserved > 150_000) {
				t.Errorf("%d bit/s for voices, want two of 66 kbit/s", c.Reserved)
			}
		}
	}
	b.close()
	until(t, "the reservation is released", func() bool {
		for _, s := range ledger.Snapshot() {
			if s.Site == "branch1" && s.Reserved > 850_000 {
				return false
			}
		}
		return true
	})
}

func TestContentIsASecondPicture(t *testing.T) {
	t.Parallel()
	w := newWorld(t, worldOptions{})
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	a := w.filming(ctx, t, "hq", map[string]int{"": 360})
	b := w.join(t, "branch1", "", nil)
	b.await("picture", func() bool { return b.sees(a) })
	a.send(map[string]any{"type": "content", "active": true})
	b.await("content is announced", func() bool { return b.people[0].HasContent })
	b.send(map[string]any{"type": "want", "views": []signal.View{
		{Participant: a.id(), Media: "camera", Height: 180}, {Participant: a.id(), Media: "content", Height: 1080},
	}})
	b.await("two pictures", func() bool {
		return len(b.slots.Video) > 1 && b.slots.Video[1].Media == "content" && b.slots.Video[1].Participant != ""
	})
	a.await("content is commanded", func() bool { return a.layers.Content.Active && a.layers.Content.MaxBitrateBps > 0 })
}

func TestAMoveToAFullLineKeepsTheVoicesUntilThereIsRoom(t *testing.T) {
	t.Parallel()
	var ledger *line.Ledger
	sites := narrow(2_000_000, 2_000_000)
	sites[2].Subnets = []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")} // media comes from branch2
	w := newWorld(t, worldOptions{sites: sites, ledger: &ledger})
	full, err := ledger.Reserve(line.ConferenceAudio, line.Demand{Site: "branch2", Rate: line.Rate{Up: 2_000_000, Down: 2_000_000}})
	if err != nil {
		t.Fatal(err)
	}
	b := w.join(t, "branch1", "", nil)
	until(t, "media from somewhere", func() bool {
		s := w.manager.Snapshot()[0].Participants
		return len(s) == 1 && s[0].Address != ""
	})
	if s := w.manager.Snapshot()[0].Participants[0]; s.Site != "branch1" {
		t.Errorf("at %s, whose line is full", s.Site)
	}
	if bps := voicesOf(ledger, "branch1"); bps < 180_000 {
		t.Errorf("%d bit/s are left for voices, want three of 66 kbit/s", bps)
	}
	full.Release()
	until(t, "the voices are on the other line", func() bool {
		return voicesOf(ledger, "branch2") > 180_000 && voicesOf(ledger, "branch1") == 0 && w.manager.Snapshot()[0].Participants[0].Site == "branch2"
	})
	b.close()
}
