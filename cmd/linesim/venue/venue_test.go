package venue_test

import (
	"context"
	"net/netip"
	"strings"
	"testing"
	"time"

	"linehall/cmd/linesim/venue"
	"linehall/cmd/linesim/venue/venuetest"
)

func join(t *testing.T, room *venuetest.Room, name, bind string) *venue.Venue {
	t.Helper()
	link, err := venue.ParseLink(room.Link(name))
	if err != nil {
		t.Fatal(err)
	}
	v, err := venue.New(venue.Config{Link: link, TLS: room.TLS(), Bind: netip.MustParseAddr(bind)})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- v.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	return v
}

// until polls a venue's report: film runs in real time.
func until(t *testing.T, v *venue.Venue, what string, ok func(venue.Report) bool) venue.Report {
	t.Helper()
	deadline := time.Now().Add(time.Minute)
	for time.Now().Before(deadline) {
		if r := v.Report(); ok(r) {
			return r
		}
		time.Sleep(20 * time.Millisecond)
	}
	t.Fatalf("%s: never; last %+v", what, v.Report())
	return venue.Report{}
}

func sees(name string, frames uint64) func(venue.Report) bool {
	return func(r venue.Report) bool {
		for _, s := range r.Seen {
			if s.Venue == name {
				return s.Frames >= frames && s.Voice > 0
			}
		}
		return false
	}
}

func TestVenuesSeeAndHearEachOther(t *testing.T) {
	room := venuetest.Start(t)
	names := map[string]string{"hq": "127.0.0.12", "branch1": "127.0.1.12", "branch2": "127.0.2.12"}
	venues := make(map[string]*venue.Venue)
	for name, bind := range names {
		venues[name] = join(t, room, name, bind)
	}
	for name, v := range venues {
		for other := range names {
			if other == name {
				continue
			}
			r := until(t, v, name+" sees "+other, sees(other, 60))
			for _, s := range r.Seen {
				if s.Venue == other && (s.Height != 360 || s.ColourRight == 0 || s.ColourWrong != 0) {
					t.Errorf("%s sees %s %d lines high, colour right %d wrong %d", name, other, s.Height, s.ColourRight, s.ColourWrong)
				}
			}
			if r.WrongVoices != 0 {
				t.Errorf("%s heard %d packets under a wrong name", name, r.WrongVoices)
			}
		}
	}
}

func TestLostPacketsAreRetransmitted(t *testing.T) {
	room := venuetest.Start(t)
	room.Loss = 25
	a, b := join(t, room, "hq", "127.0.0.12"), join(t, room, "branch1", "127.0.1.12")
	until(t, a, "hq sees branch1", sees("branch1", 90))
	r := until(t, b, "answered", func(r venue.Report) bool { return r.Sent.Resent > 10 })
	if r.Sent.Resent != r.Sent.NACKed {
		t.Errorf("%d of %d packets asked for were sent again", r.Sent.Resent, r.Sent.NACKed)
	}
}

func TestAVenueComesBackAfterItsSignallingBroke(t *testing.T) {
	room := venuetest.Start(t)
	a, _ := join(t, room, "hq", "127.0.0.12"), join(t, room, "branch1", "127.0.1.12")
	until(t, a, "first time", sees("branch1", 10))
	room.Cut()
	r := until(t, a, "second time", func(r venue.Report) bool { return r.Joins == 2 && len(r.Seen) > 0 && r.State == "in" })
	before := r.Seen[0].Frames
	until(t, a, "pictures again", sees("branch1", before+30))
}

func TestAnIdleLayerIsNotSent(t *testing.T) {
	room := venuetest.Start(t)
	room.RID = "l"
	a, b := join(t, room, "hq", "127.0.0.12"), join(t, room, "branch1", "127.0.1.12")
	until(t, a, "picture", sees("branch1", 10))
	room.Order("branch1", map[string]bool{"l": true, "m": false, "h": false})
	until(t, b, "obeyed", func(r venue.Report) bool { return r.Sent.Layers["l"] && !r.Sent.Layers["h"] && r.Sent.Packets > 0 })
	frames := a.Report().Seen[0].Frames
	until(t, a, "the lowest layer goes on", sees("branch1", frames+30))
}

func TestLinksAreCheckedAndNeverRepeatedInErrors(t *testing.T) {
	link, err := venue.ParseLink("https://localhost:8443/room/9000#venue=branch1&token=abc")
	if err != nil || link.Room != "9000" || link.Venue != "branch1" || link.Token != "abc" || link.Base.String() != "https://localhost:8443" {
		t.Errorf("%+v, %v", link, err)
	}
	for _, bad := range []string{"", "https://h/room/9000", "https://h/room/9000#venue=a", "https://h/x/9000#venue=a&token=geheim", "ht tp://h/room/1#token=geheim"} {
		if _, err := venue.ParseLink(bad); err == nil || strings.Contains(err.Error(), "geheim") {
			t.Errorf("%q: %v", bad, err)
		}
	}
}
