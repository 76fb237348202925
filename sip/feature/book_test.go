package feature

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"linehall/internal/setting"
)

// Every complaint names its field.
func TestSettingsThatBreakARule(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		extension string
		edit      func(*Settings)
		path      string
	}{
		{"8001", func(s *Settings) { s.Always = Forward{On: true} }, "always.to"},
		{"8001", func(s *Settings) { s.Busy = to("12a") }, "busy.to"},
		{"8001", func(s *Settings) { s.NoAnswer = to(strings.Repeat("1", 33)) }, "no_answer.to"},
		{"8001", func(s *Settings) { s.NoAnswerSeconds = 3 }, "no_answer_seconds"},
		{"8001", func(s *Settings) { s.CallLimit = -1 }, "call_limit"},
		{"8001", func(s *Settings) { s.AfterHours = Hours{to("8002"), "25:00", "08:00"} }, "after_hours.from"},
		{"8001", func(s *Settings) { s.AfterHours = Hours{to("8002"), "08:00", "08:00"} }, "after_hours.until"},
		{"8001", func(s *Settings) { s.Boss.On = true }, "boss.secretary"},
		{"8001", func(s *Settings) { s.Boss.Secretary = "4711" }, "boss.secretary"},
		{"8001", func(s *Settings) { s.Boss.Secretary = "8001" }, "boss.secretary"},
		{"8001", func(s *Settings) { s.Boss.Allow = make([]string, maxAllowed+1) }, "boss.allow"},
		{"8001", func(s *Settings) { s.SpeedDials = map[string]string{"1": "8002"} }, "speed_dials.1"},
		{"8001", func(s *Settings) { s.SpeedDials = map[string]string{"01": "x"} }, "speed_dials.01"},
		{"8001", func(s *Settings) { s.PickupGroups = []string{"a b"} }, "pickup_groups[0]"},
		{"8001", func(s *Settings) { s.PickupGroups = []string{"a", "a"} }, "pickup_groups[1]"},
		{"8001", func(s *Settings) { s.LoggedOut = []string{"8999"} }, "logged_out[0]"},
		{"8001", func(s *Settings) { s.Always = to("8001") }, "always.to"},
		{"8001", func(s *Settings) { s.Always = to("110") }, "always.to"},
		{"8001", func(s *Settings) { s.Always = to("9000") }, "always.to"},
		{"8001", func(s *Settings) { s.Always = to("*78") }, "always.to"},
		{"8006", func(s *Settings) { s.Busy = to("013800000000") }, "busy.to"},
	} {
		o := newOffice(t, nil)
		_, err := o.Change(t.Context(), tt.extension, tt.edit)
		var paths []string
		for _, c := range setting.Unfold(err) {
			paths = append(paths, c.Path)
		}
		if !slices.Equal(paths, []string{tt.path}) {
			t.Errorf("%s: complaints %v", tt.path, err)
		}
		if diff := cmp.Diff(Settings{}, o.Settings(tt.extension)); diff != "" {
			t.Errorf("%s: a refused change changed %s", tt.path, diff)
		}
	}
	if _, err := newOffice(t, nil).Change(t.Context(), "4711", func(*Settings) {}); !errors.Is(err, ErrUnknown) {
		t.Errorf("unknown extension: %v", err)
	}
}

// What was allowed when it was set does not keep other settings from being changed.
func TestAForwardThatIsNotAllowedAnyMoreStays(t *testing.T) {
	t.Parallel()
	o := newOffice(t, nil)
	o.force("8006", Settings{Always: to("013800000000")})
	o.set(t, "8006", func(s *Settings) { s.DoNotDisturb = true })
	o.set(t, "8006", func(s *Settings) { s.Always.On = false })
	if _, err := o.Change(t.Context(), "8006", func(s *Settings) { s.Always.On = true }); err == nil {
		t.Error("switched on again")
	}
}

func TestSettingsSurviveARestart(t *testing.T) {
	t.Parallel()
	db := openDB(t)
	o := newOffice(t, db)
	want := Settings{
		Always: to("8002"), NoAnswer: Forward{To: "8003"}, NoAnswerSeconds: 30, DoNotDisturb: true, CallLimit: 2, BlockAnonymous: true,
		AfterHours: Hours{to("8002"), "18:00", "08:00"}, Boss: Boss{On: true, Secretary: "8002", Allow: []string{"8003"}},
		SpeedDials: map[string]string{"07": "8005"}, PickupGroups: []string{"hall"}, LoggedOut: []string{"8100"},
	}
	var told []string
	o.OnChange(func(e string) { told = append(told, e) })
	o.set(t, "8001", func(s *Settings) { *s = want })
	if err := o.SetPIN(t.Context(), "8002", "4821"); err != nil {
		t.Fatal(err)
	}
	if _, err := o.LogIn(t.Context(), "8003", "8002", "4821"); err != nil {
		t.Fatal(err)
	}
	o.noteCall("8005", "8001", false)
	if _, err := o.Complete(t.Context(), o.people["8005"], ""); err != nil {
		t.Fatal(err)
	}
	o.saveLastCallers(t.Context())
	if !slices.Equal(told, []string{"8001", "8002", "8003"}) {
		t.Errorf("told of %v", told)
	}
	again := newOffice(t, db)
	if diff := cmp.Diff(want, again.Settings("8001")); diff != "" {
		t.Errorf("settings: %s", diff)
	}
	if d, ok := again.DeskOf("8002"); !ok || d.Desk != "8003" {
		t.Errorf("desk: %+v", d)
	}
	if number, _, ok := again.LastCaller("8001"); !ok || number != "8005" {
		t.Errorf("last caller %q", number)
	}
	if diff := cmp.Diff(o.Completions(), again.Completions()); diff != "" {
		t.Errorf("completions: %s", diff)
	}
	if _, err := again.LogIn(t.Context(), "8004", "8002", "4821"); err != nil {
		t.Errorf("PIN: %v", err)
	}
}

// The receiver of settings owns them.
func TestSettingsAreCopies(t *testing.T) {
	t.Parallel()
	o := newOffice(t, nil)
	o.set(t, "8001", func(s *Settings) { s.SpeedDials = map[string]string{"01": "8002"} })
	mine := o.Settings("8001")
	mine.SpeedDials["01"] = "8003"
	if o.Settings("8001").SpeedDials["01"] != "8002" {
		t.Error("somebody else wrote to the settings")
	}
}

// A database that does not take a change leaves everything as it was, and says so.
func TestAChangeThatIsNotStored(t *testing.T) {
	t.Parallel()
	db := openDB(t)
	o := newOffice(t, db)
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := o.Change(t.Context(), "8001", func(s *Settings) { s.DoNotDisturb = true }); !errors.Is(err, ErrStore) {
		t.Errorf("got %v", err)
	}
	if o.Settings("8001").DoNotDisturb {
		t.Error("in force, and lost at the next start")
	}
	if err := o.SetPIN(t.Context(), "8001", "4821"); !errors.Is(err, ErrStore) {
		t.Errorf("PIN: %v", err)
	}
}

func TestPINs(t *testing.T) {
	t.Parallel()
	o := newOffice(t, nil)
	for _, pin := range []string{"123", "12345678901", "48a1", "8001", "7777", "1234", "4321", "0123"} {
		if err := o.SetPIN(t.Context(), "8001", pin); err == nil {
			t.Errorf("%s was accepted", pin)
		}
	}
	if err := o.SetPIN(t.Context(), "4711", "4821"); !errors.Is(err, ErrUnknown) {
		t.Errorf("unknown extension: %v", err)
	}
	if o.HasPIN("8001") {
		t.Error("has a PIN")
	}
}

// Wrong PINs lock the desk, then it opens again; the answer is the same for extensions without a
// PIN and for those that do not exist.
func TestWrongPINsLockOut(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		o := newOffice(t, nil)
		if err := o.SetPIN(t.Context(), "8001", "4821"); err != nil {
			t.Fatal(err)
		}
		try := func(desk, guest, pin string) error {
			_, err := o.LogIn(t.Context(), desk, guest, pin)
			return err
		}
		for i, guest := range []string{"8001", "8002", "4711", "8001", "8001"} {
			if err := try("8005", guest, "1111"); !errors.Is(err, ErrPIN) {
				t.Fatalf("try %d: %v", i, err)
			}
		}
		if err := try("8005", "8001", "4821"); !errors.Is(err, ErrLocked) {
			t.Fatalf("locked desk: %v", err)
		}
		if err := try("8004", "8001", "4821"); err != nil {
			t.Fatalf("another desk: %v", err)
		}
		time.Sleep(firstWait + time.Second)
		if err := try("8005", "8001", "1111"); !errors.Is(err, ErrPIN) {
			t.Fatalf("after the wait: %v", err)
		}
		if err := try("8005", "8001", "4821"); !errors.Is(err, ErrLocked) {
			t.Fatalf("locked again at once: %v", err)
		}
		time.Sleep(2*firstWait + time.Second)
		if err := try("8005", "8001", "4821"); err != nil {
			t.Fatalf("the right one: %v", err)
		}
	})
}

// Many desks together lock the extension that they guess about.
func TestGuessingFromManyDesks(t *testing.T) {
	t.Parallel()
	o := newOffice(t, nil)
	if err := o.SetPIN(t.Context(), "8001", "4821"); err != nil {
		t.Fatal(err)
	}
	for range freeOfGuest + 1 {
		o.mu.Lock()
		o.locks.fail("guest 8001", freeOfGuest, time.Now())
		o.mu.Unlock()
	}
	if _, err := o.LogIn(t.Context(), "8002", "8001", "4821"); !errors.Is(err, ErrLocked) {
		t.Errorf("got %v", err)
	}
}

func TestDesks(t *testing.T) {
	t.Parallel()
	o := newOffice(t, nil)
	for _, e := range []string{"8001", "8006"} {
		if err := o.SetPIN(t.Context(), e, "4821"); err != nil {
			t.Fatal(err)
		}
	}
	seat := func(desk, guest string) {
		t.Helper()
		if _, err := o.LogIn(t.Context(), desk, guest, "4821"); err != nil {
			t.Fatal(err)
		}
	}
	seat("8002", "8001")
	if got := o.Acting(o.people["8002"]); got.Extension != "8001" {
		t.Errorf("the desk acts as %s", got.Extension)
	}
	seat("8003", "8001") // walks on
	if got := o.Acting(o.people["8002"]); got.Extension != "8002" {
		t.Errorf("the desk that was left acts as %s", got.Extension)
	}
	seat("8003", "8006") // somebody else sits down
	guest := o.Acting(o.people["8003"])
	if guest.Extension != "8006" || guest.Class != "inside" {
		t.Errorf("acts as %+v", guest)
	}
	if _, away := o.DeskOf("8001"); away {
		t.Error("8001 still sits there")
	}
	lookup := o.ActingLocations(o.phones)
	if got := lookup.Lookup("8006@linehall.test"); len(got) != 1 || got[0].AOR != "8003@linehall.test" {
		t.Errorf("calls of 8006 ring at %+v", got)
	}
	if got := lookup.Lookup("8003@linehall.test"); len(got) != 1 || got[0].AOR != "8003@linehall.test" {
		t.Errorf("calls of the desk itself ring at %+v", got)
	}
	if was, err := o.LogOut(t.Context(), "8003"); err != nil || !was {
		t.Errorf("log-out: %v, %v", was, err)
	}
	if was, err := o.LogOut(t.Context(), "8003"); err != nil || was {
		t.Errorf("log-out again: %v, %v", was, err)
	}
	if got := o.Acting(o.people["8003"]); got.Extension != "8003" {
		t.Errorf("after the log-out acts as %s", got.Extension)
	}
	o.people["8001"] = o.people["8009"] // disabled meanwhile
	if _, err := o.LogIn(t.Context(), "8002", "8001", "4821"); !errors.Is(err, ErrPIN) {
		t.Errorf("a disabled guest: %v", err)
	}
}

// A stay ends at night, or when it has lasted long enough; Run does it.
func TestStaysEnd(t *testing.T) {
	t.Parallel()
	day := func(hour int) time.Time { return time.Date(2026, 11, 27, hour, 0, 0, 0, time.UTC) }
	for _, tt := range []struct {
		now, want time.Time
		night     string
	}{
		{day(9), day(21), ""},
		{day(9), day(21), "22:00"},
		{day(11), day(22), "22:00"},
		{day(22), day(34), "22:00"},
		{day(23), day(24 + 8), "08:00"},
	} {
		if got := (HotDeskConfig{Stay: 12 * time.Hour, Night: tt.night}).ends(tt.now); !got.Equal(tt.want) {
			t.Errorf("from %s, night %q: until %s", tt.now, tt.night, got)
		}
	}
	synctest.Test(t, func(t *testing.T) {
		o := newOffice(t, nil)
		if err := o.SetPIN(t.Context(), "8001", "4821"); err != nil {
			t.Fatal(err)
		}
		ended := make(chan error)
		ctx, stop := context.WithCancel(t.Context())
		go func() { ended <- o.Run(ctx) }()
		if _, err := o.LogIn(t.Context(), "8002", "8001", "4821"); err != nil {
			t.Fatal(err)
		}
		time.Sleep(24 * time.Hour)
		synctest.Wait()
		if list := o.Desks(); len(list) != 0 {
			t.Errorf("still there: %+v", list)
		}
		stop()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
}

func TestConfigNamesThePlaceOfEveryMistake(t *testing.T) {
	t.Parallel()
	if err := DefaultConfig().Validate(); err != nil {
		t.Fatal(err)
	}
	bad := Config{HotDesk: HotDeskConfig{Stay: time.Second, Night: "late"}}
	var paths []string
	for _, c := range setting.Unfold(bad.Validate()) {
		paths = append(paths, c.Path)
	}
	if diff := cmp.Diff([]string{"hot_desk.stay", "hot_desk.night", "completion.expires", "tones"}, paths); diff != "" {
		t.Error(diff)
	}
}
