package rooms_test

import (
	"net/netip"
	"testing"
	"time"

	"linehall/cmd/linesim/rooms"
	"linehall/cmd/linesim/venue"
	"linehall/cmd/linesim/venue/venuetest"
)

// patience is how long a venue may take on a machine that is busy with other things.
const patience = time.Minute

func links(t *testing.T, room *venuetest.Room, names ...string) []venue.Link {
	t.Helper()
	var list []venue.Link
	for _, name := range names {
		link, err := venue.ParseLink(room.Link(name))
		if err != nil {
			t.Fatal(err)
		}
		list = append(list, link)
	}
	return list
}

func TestAMeetingPassesWhenEverybodySeesEverybody(t *testing.T) {
	room := venuetest.Start(t)
	r, err := rooms.Run(t.Context(), rooms.Plan{
		Links: links(t, room, "hq", "branch1"), TLS: room.TLS(), Server: netip.MustParseAddr("127.0.0.1"),
		Duration: 3 * time.Second, Settle: time.Second, MinRate: 8, Within: patience,
	})
	if err != nil || !r.OK {
		t.Errorf("%v: %v", err, r.Failures)
	}
	if r.Picture.Count != 2 {
		t.Errorf("first picture measured %d times", r.Picture.Count)
	}
}

func TestAnAbsentVenueFailsTheMeeting(t *testing.T) {
	room := venuetest.Start(t)
	list := links(t, room, "hq", "branch1")
	list[1].Token = "revoked"
	ctx := t.Context()
	r, err := rooms.Run(ctx, rooms.Plan{
		Links: list, TLS: room.TLS(), Server: netip.MustParseAddr("127.0.0.1"), Duration: time.Second, Settle: time.Second, MinRate: 8,
	})
	if err != nil {
		t.Fatal(err)
	}
	if r.OK || len(r.Failures) < 2 {
		t.Errorf("failures %v", r.Failures)
	}
}

func TestVenuesLeaveAndComeBack(t *testing.T) {
	room := venuetest.Start(t)
	r, err := rooms.Run(t.Context(), rooms.Plan{
		Links: links(t, room, "hq", "branch1"), TLS: room.TLS(), Server: netip.MustParseAddr("127.0.0.1"), Churn: 4, Settle: time.Second, Within: patience,
	})
	if err != nil || !r.OK || r.Churned != 4 {
		t.Errorf("%v: churned %d, %v", err, r.Churned, r.Failures)
	}
	if n := room.Present(); n != 0 {
		t.Errorf("%d still in the room", n)
	}
}
