package schedule_test

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"linehall/sfu/chair"
	"linehall/sfu/schedule"
)

func TestAttendance(t *testing.T) {
	nine := time.Date(2026, time.December, 1, 1, 0, 0, 0, time.UTC)
	at := func(minute int) time.Time { return nine.Add(time.Duration(minute) * time.Minute) }
	entry := func(minute int, who, what string) chair.Minute {
		return chair.Minute{At: at(minute), Actor: who, ActorName: chair.Name{Zh: who}, Action: what}
	}
	minutes := []chair.Minute{
		{At: at(-5), Action: chair.Opened},
		entry(-5, "hq", chair.Joined), entry(12, "branch1", chair.Joined), entry(13, "hq", chair.GiveFloor),
		entry(20, "branch2", chair.Joined), entry(30, "branch1", chair.Left), entry(31, "branch1", chair.Joined),
		entry(40, "branch2", chair.Left), entry(41, "ghost", chair.Left),
		entry(45, "hq", chair.Joined), // after a restart of the appliance
	}
	b := &chair.Booking{Key: "m/2026-12-01", StartsAt: nine, EndsAt: at(60), Venues: []string{"hq", "branch1", "branch3"}}
	expected := []chair.Person{{Member: "branch3", Name: chair.Name{Zh: "北山"}}}
	got := schedule.Attend(minutes, b, at(60), at(90), expected)
	want := []schedule.Attendance{
		{Member: "hq", Name: chair.Name{Zh: "hq"}, Stays: []schedule.Stay{{at(-5), at(60)}}, Total: 65 * time.Minute},
		{
			Member: "branch1", Name: chair.Name{Zh: "branch1"}, Stays: []schedule.Stay{{at(12), at(30)}, {at(31), at(60)}}, Total: 47 * time.Minute,
			Late: 12 * time.Minute,
		},
		{
			Member: "branch2", Name: chair.Name{Zh: "branch2"}, Stays: []schedule.Stay{{at(20), at(40)}}, Total: 20 * time.Minute,
			Late: 20 * time.Minute, LeftEarly: 20 * time.Minute,
		},
		{Member: "branch3", Name: chair.Name{Zh: "北山"}},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	// While it goes on nobody has left whose stay is open.
	got = schedule.Attend(minutes, b, time.Time{}, at(50), nil)
	if !got[0].Stays[0].To.IsZero() || got[0].Total != 55*time.Minute || got[2].LeftEarly != 20*time.Minute || !got[3].Absent() {
		t.Errorf("%+v", got)
	}
	// A chair that closes early sends nobody away early; ad hoc meetings have no hours.
	if got = schedule.Attend(minutes, b, at(50), at(90), nil); got[0].LeftEarly != 0 || got[2].LeftEarly != 10*time.Minute {
		t.Errorf("%+v", got)
	}
	if got = schedule.Attend(minutes, nil, at(60), at(90), nil); len(got) != 3 || got[1].Late != 0 {
		t.Errorf("%+v", got)
	}
}
