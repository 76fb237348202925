package feature

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"linehall/internal/directory"
	"linehall/sip/dialplan"
	"linehall/sip/route"
)

// told writes what a code came to in one line.
func told(s route.Served) string {
	switch {
	case s.Refuse != nil:
		return fmt.Sprintf("%d %s", s.Refuse.Code, s.Refuse.Text)
	case s.Dial != "":
		return strings.TrimSpace(fmt.Sprintf("dial %s %s", s.Dial, s.Alert))
	}
	return s.Show
}

// Codes dialled one after the other at 8001's phone (or at), as FEATURE or FEATURE ARGUMENT.
func TestCodes(t *testing.T) {
	t.Parallel()
	type dialled struct{ code, want string }
	for _, tt := range []struct {
		name   string
		at     string
		before func(*office)
		codes  []dialled
		want   Settings
	}{
		{name: "forward", codes: []dialled{
			{"forward_always", "404 No forward number"},
			{"forward_always 8002", "Forward to 8002"},
			{"status", "Forward to 8002"},
			{"forward_always_off", "Forward off"},
			{"forward_always", "Forward to 8002"},
			{"forward_busy 8003#", "Busy to 8003"},
			{"forward_busy_off", "Busy off"},
			{"forward_no_answer 8003", "No answer to 8003"},
			{"forward_unreachable 8100", "Unreachable to 8100"},
		}, want: Settings{Always: to("8002"), Busy: Forward{To: "8003"}, NoAnswer: to("8003"), Unreachable: to("8100")}},
		{name: "forward, all off", codes: []dialled{{"forward_always 8002", "Forward to 8002"}, {"forward_busy 8002", "Busy to 8002"}, {"forward_off", "All forwards off"}, {"status", "Nothing set"}}, want: Settings{Always: Forward{To: "8002"}, Busy: Forward{To: "8002"}}},
		{name: "forward to where nobody may", codes: []dialled{
			{"forward_always 8001", "403 8001 not allowed"}, {"forward_busy 110", "403 110 not allowed"}, {"forward_busy *78", "403 *78 not allowed"}, {"forward_busy 4711", "403 4711 not allowed"}, {"forward_busy " + strings.Repeat("1", 40), "403 " + strings.Repeat("1", 40) + " not allowed"},
		}},
		{name: "toll fraud", at: "8006", codes: []dialled{{"forward_always 013800000000", "403 013800000000 not allowed"}, {"speed_dial_store 01*013800000000", "403 013800000000 not allowed"}}},
		{name: "do not disturb", codes: []dialled{
			{"do_not_disturb", "Do not disturb on"}, {"do_not_disturb", "Do not disturb off"}, {"do_not_disturb_on", "Do not disturb on"}, {"do_not_disturb_on", "Do not disturb on"}, {"status", "Do not disturb on"}, {"do_not_disturb_off", "Do not disturb off"},
		}},
		{name: "call waiting", codes: []dialled{{"call_waiting", "Call waiting off"}, {"call_waiting", "Call waiting on"}, {"call_waiting", "Call waiting off"}}, want: Settings{CallLimit: 1}},
		{name: "anonymous", codes: []dialled{{"block_anonymous", "Anonymous blocked"}, {"block_anonymous_off", "Anonymous accepted"}, {"block_anonymous", "Anonymous blocked"}}, want: Settings{BlockAnonymous: true}},
		{name: "speed dials", codes: []dialled{
			{"speed_dial 1", "404 Speed dial 01 is empty"},
			{"speed_dial_store 1*8002", "Speed dial 01 = 8002"},
			{"speed_dial 1", "dial 8002"},
			{"speed_dial 01#", "dial 8002"},
			{"speed_dial_store 07013800000000", "Speed dial 07 = 013800000000"},
			{"speed_dial 7", "dial 013800000000"},
			{"speed_dial_store 07", "Speed dial 07 deleted"},
			{"speed_dial 07", "404 Speed dial 07 is empty"},
			{"speed_dial_store 08*72", "403 72 not allowed"},
			{"speed_dial_store 09**72", "403 *72 not allowed"},
			{"speed_dial_store x", "484 Wrong input"},
			{"speed_dial 123", "484 Wrong input"},
		}, want: Settings{SpeedDials: map[string]string{"01": "8002"}}},
		{name: "call back", before: func(o *office) { o.noteCall("8005", "8001", false) }, codes: []dialled{{"call_back", "dial 8005"}}},
		{name: "call back, withheld", before: func(o *office) { o.noteCall("8005", "8001", true) }, codes: []dialled{{"call_back", "404 Caller's number withheld"}}},
		{name: "call back, nobody", codes: []dialled{{"call_back", "404 No last caller"}}},
		{name: "groups", codes: []dialled{{"group_out 8100", "Out of group 8100"}, {"group_in", "In group 8100 8101 8102 8103"}, {"group_out", "Out of group 8100 8101 8102 8103"}, {"group_in 8100", "In group 8100"}, {"group_in 8999", "404 Not a group member"}}, want: Settings{LoggedOut: []string{"8101", "8102", "8103"}}},
		{name: "no member", at: "8005", codes: []dialled{{"group_in", "404 Not a group member"}}},
		{name: "intercom", codes: []dialled{{"intercom 8002", "dial 8002 intercom"}, {"intercom 8100", "404 8100 not allowed"}, {"intercom 4711", "404 4711 not allowed"}}},
		{name: "boss", before: func(o *office) { o.force("8001", Settings{Boss: Boss{Secretary: "8002"}}) }, codes: []dialled{{"boss_secretary", "Secretary on"}, {"status", "Secretary on"}, {"boss_secretary", "Secretary off"}}, want: Settings{Boss: Boss{Secretary: "8002"}}},
		{name: "no boss", codes: []dialled{{"boss_secretary", "404 No secretary set"}}},
		{name: "completion", codes: []dialled{{"call_completion", "404 Nothing to call back"}, {"call_completion 8002", "8002: will call back"}, {"call_completion 8002", "8002: will call back"}, {"call_completion 8001", "404 Nothing to call back"}, {"call_completion 013800000000", "404 Nothing to call back"}, {"call_completion_off", "Call backs off: 1"}}},
		{name: "claim without claims", codes: []dialled{{"claim 8002", "501 Feature not served"}}},
		{name: "claim", at: "8004", before: func(o *office) { o.ClaimWith(lender{}) }, codes: []dialled{{"claim 8002", "This becomes 8002"}, {"claim 8003", "403 8003 not allowed"}, {"claim 8005", "500 Not stored"}}},
		{name: "later", codes: []dialled{{"voicemail", "501 Feature not served"}, {"park", "501 Feature not served"}}},
		{name: "a foreign phone", at: "4711", codes: []dialled{{"do_not_disturb", "403 Not for this phone"}}},
		{name: "no phone", at: " ", codes: []dialled{{"do_not_disturb", "403 Not for this phone"}}},
		{name: "a disabled phone", at: "8009", codes: []dialled{{"do_not_disturb", "403 Not for this phone"}}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			o := newOffice(t, nil)
			if tt.at == "" {
				tt.at = "8001"
			}
			if tt.before != nil {
				tt.before(o)
			}
			for _, d := range tt.codes {
				name, argument, _ := strings.Cut(d.code, " ")
				if got := told(o.Dial(t.Context(), directory.Terminal{Extension: strings.TrimSpace(tt.at), Class: o.people[tt.at].Class}, name, argument)); got != d.want {
					t.Errorf("%s: %q, want %q", d.code, got, d.want)
				}
			}
			if diff := cmp.Diff(tt.want, o.Settings(tt.at), cmpEmpty()); diff != "" {
				t.Errorf("settings: %s", diff)
			}
		})
	}
}

// The secretary switches the boss's calls, and says so in the record.
func TestSecretarySwitches(t *testing.T) {
	t.Parallel()
	o := newOffice(t, nil)
	o.set(t, "8001", func(s *Settings) { s.Boss = Boss{Secretary: "8002"} })
	if got := told(o.Dial(t.Context(), o.people["8002"], "boss_secretary", "")); got != "Secretary on" {
		t.Errorf("got %q", got)
	}
	if !o.Settings("8001").Boss.On || o.Settings("8002").Boss.On {
		t.Error("the wrong one was switched")
	}
	last := o.journal.events[len(o.journal.events)-1]
	if last.Actor != "phone 8002" || last.Object != "8001" || last.Action != "terminal.features" {
		t.Errorf("recorded as %+v", last)
	}
}

// Logging in at a desk, leaving it, and codes that the guest dials there.
func TestHotDeskCodes(t *testing.T) {
	t.Parallel()
	o := newOffice(t, nil)
	if err := o.SetPIN(t.Context(), "8001", "4821"); err != nil {
		t.Fatal(err)
	}
	at := func(desk, name, argument string) string {
		return told(o.Dial(t.Context(), o.Acting(o.people[desk]), name, argument))
	}
	for _, step := range []struct{ name, argument, want string }{
		{"hot_desk_out", "", "404 Nobody logged in"},
		{"hot_desk_in", "8001*1111", "403 Wrong extension or PIN"},
		{"hot_desk_in", "8002*4821", "403 Wrong extension or PIN"},
		{"hot_desk_in", "", "403 Wrong extension or PIN"},
		{"hot_desk_in", "8001*4821", "8001 logged in"},
		{"do_not_disturb", "", "Do not disturb on"},
		{"hot_desk_out", "", "8001 logged out"},
		{"hot_desk_in", "80014821", "8001 logged in"},
	} {
		if got := at("8005", step.name, step.argument); got != step.want {
			t.Errorf("%s %s: %q, want %q", step.name, step.argument, got, step.want)
		}
	}
	if !o.Settings("8001").DoNotDisturb || o.Settings("8005").DoNotDisturb {
		t.Error("the guest's code changed the desk's settings")
	}
	for _, e := range o.journal.events {
		if strings.Contains(fmt.Sprint(e), "4821") || strings.Contains(fmt.Sprint(e), "1111") {
			t.Errorf("a PIN is on record: %+v", e)
		}
	}
}

// Without a record nothing happens.
func TestACodeThatCannotBeRecorded(t *testing.T) {
	t.Parallel()
	o := newOffice(t, nil)
	o.journal.fail = errors.New("disk full")
	if got := told(o.Dial(t.Context(), o.people["8001"], "do_not_disturb", "")); got != "500 Not stored" || o.Settings("8001").DoNotDisturb {
		t.Errorf("%q", got)
	}
}

// Every code of the number plan is served, or named here as somebody else's or later.
func TestEveryCodeOfTheNumberPlan(t *testing.T) {
	t.Parallel()
	elsewhere := []string{"barge", "forced_release", "group_pickup", "hide_number", "listen", "park", "pickup", "voicemail", "whisper"}
	for _, f := range dialplan.Features() {
		if slices.Contains(Codes(), f.Name) == slices.Contains(elsewhere, f.Name) {
			t.Errorf("%s: served %v", f.Name, slices.Contains(Codes(), f.Name))
		}
	}
	for _, name := range Codes() {
		if !slices.Contains(dialplan.FeatureNames(), name) {
			t.Errorf("%s has no place in the number plan", name)
		}
	}
}

func TestTextsInChinese(t *testing.T) {
	t.Parallel()
	o := newOffice(t, nil)
	o.o.Language = func() string { return "zh-CN" }
	for code, want := range map[string]string{"forward_always": "无条件转移至 8002", "forward_busy": "遇忙转移至 8002"} {
		if got := told(o.Dial(t.Context(), o.people["8001"], code, "8002")); got != want {
			t.Errorf("%s: %q", code, got)
		}
	}
}

// Whose calls somebody may pick up: colleagues of pickup groups and ring groups, and bosses.
func TestPickup(t *testing.T) {
	t.Parallel()
	o := newOffice(t, nil)
	o.force("8005", Settings{PickupGroups: []string{"hall", "post"}})
	o.force("8004", Settings{PickupGroups: []string{"post"}, Boss: Boss{Secretary: "8006"}})
	o.force("8006", Settings{PickupGroups: []string{"other"}})
	for _, tt := range []struct {
		picker, ringing string
		want            bool
	}{
		{"8005", "8004", true},
		{"8004", "8005", true},
		{"8005", "8006", false},
		{"8006", "8004", true},
		{"8004", "8006", false},
		{"8001", "8003", true},
		{"8001", "8005", false},
		{"8001", "8001", false},
		{"2001", "8001", false},
	} {
		if got := o.MayPickUp(o.people[tt.picker], tt.ringing); got != tt.want {
			t.Errorf("%s of %s: %v", tt.picker, tt.ringing, got)
		}
	}
}

// lender lends phones that may become 8002.
type lender struct{}

func (lender) ClaimAt(_ context.Context, at directory.Terminal, extension string) error {
	switch {
	case extension == "8003" || at.Extension != "8004":
		return fmt.Errorf("%w: %s", ErrNotClaimed, extension)
	case extension == "8005":
		return errors.New("disk full")
	}
	return nil
}
