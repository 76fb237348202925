package chair_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"linehall/sfu/chair"
)

// table is a meeting with a main venue that may be chair, three branches and somebody of the staff, and a clock.
type table struct {
	t   *testing.T
	m   *chair.Meeting
	now time.Time
}

func name(member string) chair.Name { return chair.Name{Zh: "会场" + member, En: member} }

func sit(t *testing.T) *table {
	t.Helper()
	now := time.Date(2026, 12, 1, 9, 0, 0, 0, time.UTC)
	x := &table{t: t, m: chair.New("m1", now), now: now}
	venues := []chair.Person{}
	for _, v := range []string{"hq", "a", "b", "c", "away"} {
		venues = append(venues, chair.Person{Member: v, Name: name(v), MayChair: v == "hq"})
	}
	x.m.SetVenues(venues)
	for _, member := range []string{"hq", "a", "b", "c"} {
		x.join(member)
	}
	return x
}

func (x *table) join(member string) {
	x.m.Joined(chair.Person{Member: member, Name: name(member), MayChair: member == "hq"}, x.now)
}

func (x *table) by(member string) chair.Actor {
	return chair.Actor{Member: member, Name: name(member), MayChair: member == "hq" || member == "user:anna", MayRevoke: member == "user:anna", Controller: member == "user:anna"}
}

// try does an act and returns what came of it.
func (x *table) try(member string, a chair.Act) (chair.Outcome, error) {
	x.now = x.now.Add(time.Second)
	return x.m.Do(a, x.by(member), x.now)
}

// do is an act that has to be taken; it returns what came of it.
func (x *table) do(member string, a chair.Act) chair.Outcome {
	x.t.Helper()
	out, err := x.try(member, a)
	if err != nil {
		x.t.Fatalf("%s by %s: %v", a.Name, member, err)
	}
	return out
}

// refused is an act that has to be refused for a reason, and must not change anything.
func (x *table) refused(member string, a chair.Act, want error) {
	x.t.Helper()
	before := x.m.Clone()
	_, err := x.try(member, a)
	if !errors.Is(err, want) {
		x.t.Errorf("%s by %s: %v, want %v", a.Name, member, err, want)
	}
	if diff := cmp.Diff(before, x.m.Clone()); diff != "" {
		x.t.Errorf("%s by %s was refused and changed something: %s", a.Name, member, diff)
	}
}

func (x *table) silent(want ...string) {
	x.t.Helper()
	var got []string
	for _, member := range []string{"hq", "a", "b", "c", "late"} {
		if x.m.State().Silent(member) {
			got = append(got, member)
		}
	}
	if diff := cmp.Diff(want, got); diff != "" {
		x.t.Errorf("silent: %s", diff)
	}
}

func (x *table) led() *table {
	x.t.Helper()
	x.do("hq", chair.Act{Name: chair.RequestChair})
	return x
}

func TestTheChairIsRequestedReleasedAndRevoked(t *testing.T) {
	x := sit(t)
	request := chair.Act{Name: chair.RequestChair}
	x.refused("a", request, chair.ErrForbidden)
	x.refused("a", chair.Act{Name: chair.ReleaseChair}, chair.ErrNotChair)
	x.do("hq", request)
	x.refused("hq", request, chair.ErrNotNow)
	x.refused("user:anna", request, chair.ErrChairHeld)
	x.refused("hq", chair.Act{Name: chair.RevokeChair}, chair.ErrForbidden)
	out := x.do("user:anna", chair.Act{Name: chair.RevokeChair})
	if out.Minutes[0].Detail != "hq" {
		t.Errorf("the minutes do not say from whom: %+v", out.Minutes)
	}
	x.refused("user:anna", chair.Act{Name: chair.RevokeChair}, chair.ErrNoChair)
	x.refused("hq", chair.Act{Name: chair.Discussion}, chair.ErrNotChair)
	x.do("user:anna", request)
	x.do("user:anna", chair.Act{Name: chair.ReleaseChair})
	if c := x.m.State().Chair; c != "" {
		t.Errorf("released, and %q is chair", c)
	}
}

func TestTheChairOfSomebodyWhoIsAwayIsKeptForAWhile(t *testing.T) {
	x := sit(t).led()
	x.m.Left("hq", x.now)
	x.refused("user:anna", chair.Act{Name: chair.RequestChair}, chair.ErrChairHeld)
	x.join("hq")
	x.now = x.now.Add(chair.ChairGrace)
	x.refused("user:anna", chair.Act{Name: chair.RequestChair}, chair.ErrChairHeld)
	x.m.Left("hq", x.now)
	x.m.ChairHere(true, x.now) // at its chair page
	x.now = x.now.Add(chair.ChairGrace)
	x.refused("user:anna", chair.Act{Name: chair.RequestChair}, chair.ErrChairHeld)
	x.m.ChairHere(false, x.now)
	x.now = x.now.Add(chair.ChairGrace)
	x.do("user:anna", chair.Act{Name: chair.RequestChair})
}

func TestTheFloorMutesAllButTheChairAndWhoHasIt(t *testing.T) {
	x := sit(t).led()
	x.do("a", chair.Act{Name: chair.RequestFloor})
	x.refused("a", chair.Act{Name: chair.RequestFloor}, chair.ErrNotNow)
	x.do("b", chair.Act{Name: chair.RequestFloor})
	x.do("c", chair.Act{Name: chair.RequestFloor})
	x.do("c", chair.Act{Name: chair.WithdrawFloor})
	if q := x.m.State().Requests; len(q) != 2 || q[0].Member != "a" || q[1].Member != "b" {
		t.Errorf("requests: %+v", q)
	}
	x.refused("user:anna", chair.Act{Name: chair.RequestFloor}, chair.ErrForbidden) // is not there to speak
	x.m.Left("a", x.now)
	x.do("hq", chair.Act{Name: chair.GiveFloor, Target: "b"})
	x.join("a")
	x.silent("a", "c")
	if s := x.m.State(); s.OnAir != "b" || s.Floor != "b" || len(s.Requests) != 0 {
		t.Errorf("floor given: on air %q, floor %q, requests %v", s.OnAir, s.Floor, s.Requests)
	}
	x.join("late")
	x.silent("a", "c", "late")
	x.do("hq", chair.Act{Name: chair.AllowUnmute, On: true})
	if _, err := x.m.Unmute(x.by("a"), x.now); !errors.Is(err, chair.ErrMuted) {
		t.Errorf("a spoke into somebody's floor: %v", err)
	}
	x.do("hq", chair.Act{Name: chair.MuteOne, Target: "a"}) // a dialogue
	x.silent("c", "late")
	x.do("hq", chair.Act{Name: chair.GiveFloor, Target: "c"})
	x.silent("a", "b", "late")
	x.do("hq", chair.Act{Name: chair.GiveFloor}) // taken back
	x.silent("a", "b", "c", "late")
	x.do("hq", chair.Act{Name: chair.Discussion})
	x.silent()
	if s := x.m.State(); s.OnAir != "" || s.Floor != "" || s.MuteAll {
		t.Errorf("discussion: %+v", s)
	}
}

func TestMutesOfOneAndOfAll(t *testing.T) {
	x := sit(t).led()
	x.do("hq", chair.Act{Name: chair.MuteOne, Target: "a", On: true})
	x.silent("a")
	if _, err := x.m.Unmute(x.by("a"), x.now); !errors.Is(err, chair.ErrMuted) {
		t.Errorf("unmuted itself: %v", err)
	}
	x.do("hq", chair.Act{Name: chair.AllowUnmute, On: true})
	minutes, err := x.m.Unmute(x.by("a"), x.now)
	if err != nil || len(minutes) != 1 || minutes[0].Action != chair.UnmuteSelf {
		t.Errorf("unmute: %v %v", minutes, err)
	}
	x.silent()
	x.do("hq", chair.Act{Name: chair.MuteAll, On: true})
	x.silent("a", "b", "c")
	x.m.Left("a", x.now)
	x.join("a")
	x.join("late")
	x.silent("a", "b", "c", "late")
	x.do("hq", chair.Act{Name: chair.MuteOne, Target: "b"})
	x.m.Left("b", x.now)
	x.join("b") // what the chair allowed stays allowed
	x.silent("a", "c", "late")
	x.do("hq", chair.Act{Name: chair.MuteAll})
	x.silent()
	x.do("hq", chair.Act{Name: chair.CameraOff, Target: "c", On: true})
	if !x.m.State().Dark("c") {
		t.Error("the camera is still on")
	}
	x.refused("hq", chair.Act{Name: chair.MuteOne, Target: "away", On: true}, chair.ErrAbsent)
}

func TestAPollShowsVenuesInTurn(t *testing.T) {
	x := sit(t).led()
	x.refused("hq", chair.Act{Name: chair.NextInPoll}, chair.ErrNotNow)
	x.refused("hq", chair.Act{Name: chair.StartPoll, Seconds: 10, Order: []string{"nobody"}}, chair.ErrAbsent)
	x.do("hq", chair.Act{Name: chair.StartPoll, Seconds: 10, On: true})
	onAir := func(want string) {
		t.Helper()
		if got := x.m.State().OnAir; got != want {
			t.Errorf("on air: %q, want %q", got, want)
		}
	}
	onAir("a")
	pass := func(d time.Duration) { x.now = x.now.Add(d); x.m.Tick(x.now) }
	pass(9 * time.Second)
	onAir("a")
	pass(time.Second)
	onAir("b")
	x.do("hq", chair.Act{Name: chair.NextInPoll})
	onAir("c")
	pass(10 * time.Second) // "away" is skipped
	onAir("a")
	x.do("hq", chair.Act{Name: chair.PausePoll, On: true})
	pass(time.Minute)
	onAir("a")
	x.do("hq", chair.Act{Name: chair.PausePoll})
	pass(10 * time.Second)
	onAir("b")
	x.do("hq", chair.Act{Name: chair.Broadcast, Target: "c"})
	if x.m.State().Poll != nil {
		t.Error("a broadcast does not end the poll")
	}
	x.do("hq", chair.Act{Name: chair.StartPoll, Seconds: 5, Order: []string{"b", "away"}})
	pass(5 * time.Second)
	onAir("away") // not skipped
	x.do("hq", chair.Act{Name: chair.StopPoll})
	pass(time.Minute)
	onAir("away")
}

func TestARollCallEndsInASheet(t *testing.T) {
	x := sit(t).led()
	x.refused("a", chair.Act{Name: chair.AnswerRoll}, chair.ErrNotNow)
	x.do("hq", chair.Act{Name: chair.StartRoll, Seconds: 30})
	x.do("hq", chair.Act{Name: chair.AnswerRoll})
	x.do("a", chair.Act{Name: chair.AnswerRoll})
	x.refused("a", chair.Act{Name: chair.AnswerRoll}, chair.ErrNotNow)
	x.join("late")
	x.do("late", chair.Act{Name: chair.AnswerRoll})
	x.m.Left("c", x.now)
	x.now = x.now.Add(30 * time.Second)
	out := x.m.Tick(x.now)
	if len(out.Minutes) != 1 || out.Minutes[0].Detail != "answered: hq a late; no answer: b; absent: c away" {
		t.Errorf("result: %+v", out.Minutes)
	}
	x.refused("b", chair.Act{Name: chair.AnswerRoll}, chair.ErrNotNow)
	if r := x.m.State().Roll; r.Open() || len(r.Entries) != 6 {
		t.Errorf("sheet: %+v", r)
	}
}

func TestLocksWaitingRoomAndDrop(t *testing.T) {
	x := sit(t).led()
	admission := func(member string) string {
		v, err := x.m.Admission(chair.Person{Member: member, MayChair: member == "hq"})
		if err != nil {
			return err.Error()
		}
		return map[chair.Admission]string{chair.Enter: "enter", chair.Wait: "wait"}[v]
	}
	x.do("hq", chair.Act{Name: chair.KeepWaiting, On: true})
	x.m.Left("b", x.now)
	for member, want := range map[string]string{"late": "wait", "b": "enter", "hq": "enter"} {
		if got := admission(member); got != want {
			t.Errorf("waiting room, %s: %s", member, got)
		}
	}
	if out := x.do("hq", chair.Act{Name: chair.KeepWaiting}); len(out.Admit) != 1 || out.Admit[0] != chair.Everybody {
		t.Errorf("the end of the waiting room leaves people outside: %+v", out)
	}
	x.do("hq", chair.Act{Name: chair.LockRoom, On: true})
	for member, want := range map[string]string{"late": chair.ErrLocked.Error(), "b": "enter"} {
		if got := admission(member); got != want {
			t.Errorf("locked, %s: %s", member, got)
		}
	}
	x.do("hq", chair.Act{Name: chair.GiveFloor, Target: "c"})
	if out := x.do("hq", chair.Act{Name: chair.DropVenue, Target: "c"}); out.Drop != "c" {
		t.Errorf("drop: %+v", out)
	}
	if s := x.m.State(); s.OnAir != "" || s.Floor != "" {
		t.Errorf("a dropped venue keeps the floor: %+v", s)
	}
	if got := admission("c"); got != chair.ErrDropped.Error() {
		t.Errorf("dropped: %s", got)
	}
	x.refused("hq", chair.Act{Name: chair.AddVenue, Target: "a"}, chair.ErrNotNow)
	x.do("hq", chair.Act{Name: chair.AddVenue, Target: "c"})
	if got := admission("c"); got != "enter" {
		t.Errorf("added again: %s", got)
	}
}

func TestContentIsLocked(t *testing.T) {
	x := sit(t).led()
	x.do("hq", chair.Act{Name: chair.LockContent, On: true, Target: "a"})
	for member, want := range map[string]bool{"hq": true, "a": true, "b": false} {
		if got := x.m.State().MayShare(member); got != want {
			t.Errorf("%s may share: %v", member, got)
		}
	}
	x.do("hq", chair.Act{Name: chair.LockContent})
	if !x.m.State().MayShare("b") {
		t.Error("still locked")
	}
}

func TestWhatEachLayoutShows(t *testing.T) {
	for _, test := range []struct {
		layout chair.Layout
		forced bool
		member string
		want   chair.Scene
	}{
		{chair.Auto, false, "b", chair.Scene{Main: "a", Others: chair.AnyHeight}},
		{chair.Single, false, "b", chair.Scene{Main: "a", Others: chair.AnyHeight}}, // a proposal only
		{chair.Single, true, "b", chair.Scene{Main: "a", Others: 0}},
		{chair.Corner, true, "b", chair.Scene{Main: "a", Others: 0}},
		{chair.Speaker, true, "b", chair.Scene{Main: "a", Others: 180}},
		{chair.Grid, true, "b", chair.Scene{Main: "", Others: chair.AnyHeight}},
		{chair.Lecture, true, "b", chair.Scene{Main: "a", Others: 0}},
		{chair.Lecture, true, "a", chair.Scene{Main: "hq", Others: chair.AnyHeight}}, // who speaks sees the audience
		{chair.Single, true, "hq", chair.Scene{Main: "c", Others: chair.AnyHeight}},  // the chair views another
		{chair.Single, true, "a", chair.Scene{Main: "hq", Others: 0}},
	} {
		t.Run(fmt.Sprintf("%s %v %s", test.layout, test.forced, test.member), func(t *testing.T) {
			x := sit(t).led()
			x.do("hq", chair.Act{Name: chair.Broadcast, Target: "a"})
			x.do("hq", chair.Act{Name: chair.ViewVenue, Target: "c"})
			x.do("hq", chair.Act{Name: chair.SetLayout, Layout: test.layout, On: test.forced})
			if diff := cmp.Diff(test.want, x.m.Scene(test.member)); diff != "" {
				t.Error(diff)
			}
			x.m.Left("a", x.now)
			if scene := x.m.Scene("b"); scene.Main != "" || scene.Others != chair.AnyHeight {
				t.Errorf("who is absent leaves the screens dark: %+v", scene)
			}
		})
	}
}

func TestTextsAreBounded(t *testing.T) {
	x := sit(t).led()
	x.do("hq", chair.Act{Name: chair.SetBanner, Text: "休会十分钟"})
	x.do("hq", chair.Act{Name: chair.SetCaption, Text: "请各分会场准备"})
	if s := x.m.State(); s.Banner != "休会十分钟" || s.Caption != "请各分会场准备" {
		t.Errorf("texts: %+v", s)
	}
	for name, text := range map[string]string{
		"long": strings.Repeat("长", chair.MaxText+1), "control": "a\x00b", "bidi": "a\u202eb", "not UTF-8": "\xff",
	} {
		if _, err := x.try("hq", chair.Act{Name: chair.SetBanner, Text: text}); err == nil {
			t.Errorf("%s: taken", name)
		}
	}
	if out := x.do("a", chair.Act{Name: chair.Chat, Text: " 收到 "}); out.Chat != "收到" || out.Minutes[0].Detail != "收到" {
		t.Errorf("chat: %+v", out)
	}
	if _, err := x.try("a", chair.Act{Name: chair.Chat, Text: "  "}); err == nil {
		t.Error("an empty message was taken")
	}
}

func TestAMeetingEndsByItsTimeOrByTheChair(t *testing.T) {
	x := sit(t).led()
	x.do("hq", chair.Act{Name: chair.Extend, Seconds: 600})
	x.do("hq", chair.Act{Name: chair.Extend, Seconds: 600})
	if left := x.m.State().EndsAt.Sub(x.now).Round(time.Minute); left != 20*time.Minute {
		t.Errorf("left: %v", left)
	}
	for _, seconds := range []int{0, -1, 1 << 30} {
		if _, err := x.try("hq", chair.Act{Name: chair.Extend, Seconds: seconds}); err == nil {
			t.Errorf("extended by %d s", seconds)
		}
	}
	if out := x.m.Tick(x.now); out.End {
		t.Error("ended early")
	}
	if out := x.m.Tick(x.now.Add(20 * time.Minute)); !out.End || out.Minutes[0].Action != chair.TimeUp {
		t.Errorf("time is up: %+v", out)
	}
	if out := x.do("hq", chair.Act{Name: chair.End}); !out.End {
		t.Errorf("end: %+v", out)
	}
}

func TestAStoredMeetingGoesOn(t *testing.T) {
	x := sit(t).led()
	x.do("a", chair.Act{Name: chair.RequestFloor})
	x.do("hq", chair.Act{Name: chair.GiveFloor, Target: "b"})
	x.do("a", chair.Act{Name: chair.RequestFloor})
	x.do("hq", chair.Act{Name: chair.SetLayout, Layout: chair.Speaker, On: true})
	x.do("hq", chair.Act{Name: chair.StartRoll})
	stored, err := json.Marshal(x.m.Clone())
	if err != nil {
		t.Fatal(err)
	}
	var s chair.State
	if err := json.Unmarshal(stored, &s); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(x.m.Clone(), s); diff != "" {
		t.Error(diff)
	}
	x.m = chair.Restore(s, x.now)
	for _, member := range []string{"b", "a", "c", "late"} {
		x.join(member)
	}
	x.silent("a", "c", "late")
	x.refused("user:anna", chair.Act{Name: chair.RequestChair}, chair.ErrChairHeld)
	x.join("hq")
	x.do("hq", chair.Act{Name: chair.Discussion})
}

// Whatever pages ask for, only the chair leads, what is refused changes nothing, and nothing grows without bound.
func TestAnyActsInAnyOrder(t *testing.T) {
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	random := rand.New(rand.NewPCG(seed, 1))
	names := []string{
		chair.RequestChair, chair.ReleaseChair, chair.RevokeChair, chair.StartRoll, chair.AnswerRoll, chair.CloseRoll, chair.ViewVenue, chair.Broadcast,
		chair.GiveFloor, chair.RequestFloor, chair.WithdrawFloor, chair.DeclineFloor, chair.Discussion, chair.StartPoll, chair.NextInPoll, chair.PausePoll,
		chair.StopPoll, chair.MuteOne, chair.MuteAll, chair.AllowUnmute, chair.CameraOff, chair.LockContent, chair.LockRoom, chair.KeepWaiting, chair.Admit,
		chair.TurnAway, chair.SetLayout, chair.SetBanner, chair.SetCaption, chair.Chat, chair.AddVenue, chair.DropVenue, chair.Extend, chair.End, "nonsense",
	}
	members := []string{"hq", "a", "b", "c", "away", "user:anna", "late", "", strings.Repeat("x", 300)}
	pick := func(list []string) string { return list[random.IntN(len(list))] }
	x := sit(t)
	for range 3000 {
		before := x.m.Clone()
		a := chair.Act{Name: pick(names), On: random.IntN(2) == 0, Text: pick([]string{"", "x", strings.Repeat("x", 2000)}), Layout: chair.Layout(pick([]string{"", "grid", "lecture", "?"})), Seconds: random.IntN(9000) - 100}
		if random.IntN(2) == 0 {
			a.Target = pick(members)
		}
		for range random.IntN(3) {
			a.Order = append(a.Order, pick(members))
		}
		by := pick(members)
		out, err := x.try(by, a)
		if err != nil {
			if diff := cmp.Diff(before, x.m.Clone()); diff != "" {
				t.Fatalf("%+v by %s was refused (%v) and changed something: %s", a, by, err, diff)
			}
		} else if free := map[string]bool{chair.RequestChair: true, chair.RevokeChair: true, chair.AnswerRoll: true, chair.RequestFloor: true, chair.WithdrawFloor: true, chair.Chat: true}; by != before.Chair && !free[a.Name] {
			t.Fatalf("%s led as %q while %q was chair", a.Name, by, before.Chair)
		} else if len(out.Minutes) == 0 {
			t.Fatalf("%s is not in the minutes", a.Name)
		}
		switch random.IntN(12) {
		case 0:
			x.join(pick(members[:7]))
		case 1:
			x.m.Left(pick(members), x.now)
		case 2:
			x.m.Tick(x.now)
		}
		s := x.m.State()
		if s.Chair != "" && s.Silent(s.Chair) {
			t.Fatalf("after %+v the chair %s is muted", a, s.Chair)
		}
		if s.Floor != "" && x.m.Present(s.Floor) && s.Silent(s.Floor) && a.Name != chair.MuteOne && !before.Muted[s.Floor] {
			t.Fatalf("after %+v who has the floor is muted", a)
		}
		if text, err := json.Marshal(s); err != nil || len(text) > 20_000 {
			t.Fatalf("the state has %d octets, %v", len(text), err)
		}
	}
}
