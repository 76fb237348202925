package plan_test

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"linehall/internal/database"
	"linehall/provisioning/phone"
	"linehall/provisioning/plan"
)

func file(extension string, settings ...string) plan.File {
	f := plan.File{
		MAC: "00:15:65:00:" + extension[:2] + ":" + extension[2:], Extension: extension, Site: "hq", Model: "T54W", Brand: "yealink",
		Resync: phone.Resync{Event: "check-sync"},
	}
	for i := 0; i < len(settings); i += 2 {
		f.Settings = append(f.Settings, phone.Line{Key: settings[i], Value: settings[i+1]})
	}
	return f
}

func TestComparePlansKeyByKeyAndShowsNoSecret(t *testing.T) {
	before := file("8001", "a", "1", "password", "SECRET-aabbcc", "url", "https://x/t/SECRET/", "old", "x", "same", "s")
	after := file("8001", "a", "2", "password", "SECRET-ddeeff", "url", "https://x/t/SECRET/", "same", "s", "static.network.vlan.id", "20")
	gone, fresh := file("8002", "a", "1"), file("8003", "a", "1")
	p := plan.Compare(map[string]plan.File{before.MAC: before, gone.MAC: gone}, []plan.File{fresh, after})
	want := []plan.Change{
		{MAC: after.MAC, Extension: "8001", Site: "hq", Brand: "yealink", Model: "T54W", Kind: plan.Changed, Restarts: true, Keys: []plan.KeyChange{
			{"a", new("1"), new("2")},
			{"password", new("***"), new("***")},
			{"static.network.vlan.id", nil, new("20")},
			{"old", new("x"), nil},
		}},
		{MAC: gone.MAC, Extension: "8002", Brand: "yealink", Kind: plan.Gone, Keys: []plan.KeyChange{}},
		{MAC: fresh.MAC, Extension: "8003", Site: "hq", Brand: "yealink", Model: "T54W", Kind: plan.New, Keys: []plan.KeyChange{}},
	}
	if diff := cmp.Diff(want, p.Changes, cmpopts.IgnoreUnexported(plan.Change{})); diff != "" {
		t.Errorf("changes (-want +got):\n%s", diff)
	}
	again := plan.Compare(map[string]plan.File{gone.MAC: gone, before.MAC: before}, []plan.File{after, fresh})
	after.Settings[0].Value = "3"
	other := plan.Compare(map[string]plan.File{before.MAC: before, gone.MAC: gone}, []plan.File{fresh, after})
	if p.Digest != again.Digest || p.Digest == other.Digest {
		t.Errorf("digests %s, %s, %s", p.Digest, again.Digest, other.Digest)
	}
	if one, two := plan.Fingerprint("a", "x"), plan.Fingerprint("b", "x"); one == two || plan.Fingerprint("", "x") != "" {
		t.Errorf("fingerprints %s, %s", one, two)
	}
}

func TestLimits(t *testing.T) {
	p := plan.Compare(nil, []plan.File{file("8001"), file("8002"), file("8003")})
	for limit, want := range map[string]int{
		"": 3, "site=hq": 3, "site=branch1": 0, "extension=8001,extension=8003": 2, "mac=0015.6500.8002": 1, "model=T54W, extension=8002": 1,
	} {
		l, err := plan.ParseLimit(limit)
		if got := len(p.Only(l).Changes); err != nil || got != want || p.Only(l).Digest != p.Digest {
			t.Errorf("%q: %d phones, %v", limit, got, err)
		}
	}
	for _, limit := range []string{"site", "colour=red", "site="} {
		if _, err := plan.ParseLimit(limit); err == nil {
			t.Errorf("%q was taken", limit)
		}
	}
}

// fleet are phones that come when they are told, except those named.
type fleet struct {
	mu                                       sync.Mutex
	told, rotated                            []string
	offline, busy, strangers, deaf, refusing []string
	onTell                                   func(told int)
}

func (f *fleet) State(_, extension string) plan.State {
	return plan.State{
		Registered: !slices.Contains(f.offline, extension), InCall: slices.Contains(f.busy, extension), Enrolled: !slices.Contains(f.strangers, extension),
	}
}

func (f *fleet) Resync(_ context.Context, extension, event string) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.told = append(f.told, extension+" "+event)
	if f.onTell != nil {
		f.onTell(len(f.told))
	}
	if slices.Contains(f.refusing, extension) {
		return errors.New("answered 489")
	}
	return nil
}

func (f *fleet) Rotate(_ context.Context, extension string) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.rotated = append(f.rotated, extension)
	return nil
}

func (f *fleet) Fetched(mac string) <-chan struct{} {
	c := make(chan struct{})
	if extension := mac[12:14] + mac[15:]; !slices.Contains(f.deaf, extension) {
		close(c)
	}
	return c
}

func open(t *testing.T) *plan.Store {
	t.Helper()
	db, err := database.Open(t.Context(), filepath.Join(t.TempDir(), "test.db"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := db.Close(); err != nil {
			t.Error(err)
		}
	})
	store := plan.NewStore(db)
	if applied, err := store.Applied(t.Context()); err != nil || len(applied) > 0 {
		t.Fatalf("before there were plans: %v, %v", applied, err)
	}
	if err := database.Migrate(t.Context(), db, plan.Schema()); err != nil {
		t.Fatal(err)
	}
	return store
}

func current(t *testing.T, store *plan.Store, wanted []plan.File) plan.Plan {
	t.Helper()
	applied, err := store.Applied(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return plan.Compare(applied, wanted)
}

func wish(n int) []plan.File {
	var wanted []plan.File
	for i := range n {
		wanted = append(wanted, file(fmt.Sprint(8001+i), "a", "1", "empty", ""))
	}
	return wanted
}

func TestAnApplyTellsEachPhoneAndLeavesThoseInACall(t *testing.T) {
	store, wanted := open(t), wish(6)
	phones := &fleet{offline: []string{"8001"}, busy: []string{"8002"}, strangers: []string{"8003"}, deaf: []string{"8004"}, refusing: []string{"8005"}}
	results := map[string]string{}
	run := func() error {
		return plan.Run(t.Context(), current(t, store, wanted), plan.Options{Batch: 2, MaxFailures: 9, Patience: time.Millisecond}, phones, store, time.Now,
			func(o plan.Outcome) { results[o.Change.Extension] = o.Result })
	}
	if err := run(); err != nil {
		t.Fatal(err)
	}
	want := map[string]string{
		"8001": plan.Offline, "8002": plan.InCall, "8003": plan.NotEnrolled, "8004": plan.Failed, "8005": plan.Failed, "8006": plan.Fetched,
	}
	if diff := cmp.Diff(want, results); diff != "" {
		t.Errorf("results (-want +got):\n%s", diff)
	}
	*phones = fleet{}
	clear(results)
	if err := run(); err != nil || len(results) != 3 {
		t.Errorf("the rest: %v, %v", results, err)
	}
	if p := current(t, store, wanted); len(p.Changes) > 0 {
		t.Errorf("a plan without a change has %d", len(p.Changes))
	}
	if p := current(t, store, wanted[1:]); len(p.Changes) != 1 || p.Changes[0].Kind != plan.Gone {
		t.Errorf("a row that is gone: %+v", p.Changes)
	}
	wanted = wanted[1:]
	if err := run(); err != nil || results["8001"] != plan.Removed || len(current(t, store, wanted).Changes) > 0 {
		t.Errorf("removed: %v, %v", results, err)
	}
}

func TestAnApplyStopsAfterFailures(t *testing.T) {
	store, wanted := open(t), wish(9)
	phones := &fleet{refusing: []string{"8001", "8003", "8004"}}
	err := plan.Run(t.Context(), current(t, store, wanted), plan.Options{Batch: 2, MaxFailures: 2, Patience: time.Second}, phones, store, time.Now, func(plan.Outcome) {})
	if !errors.Is(err, plan.ErrStopped) || len(phones.told) != 4 {
		t.Errorf("%v after %v", err, phones.told)
	}
}

func TestAnApplyThatWasKilledIsRepeatedForTheRest(t *testing.T) {
	store, wanted := open(t), wish(10)
	ctx, kill := context.WithCancel(t.Context())
	phones := &fleet{onTell: func(told int) {
		if told == 5 {
			kill()
		}
	}}
	options := plan.Options{Batch: 2, MaxFailures: 3, Patience: time.Second}
	if err := plan.Run(ctx, current(t, store, wanted), options, phones, store, time.Now, func(plan.Outcome) {}); !errors.Is(err, context.Canceled) {
		t.Fatalf("killed: %v", err)
	}
	if left := len(current(t, store, wanted).Changes); left != 6 {
		t.Errorf("%d phones are left, want those from the fifth on", left)
	}
	again := &fleet{}
	if err := plan.Run(t.Context(), current(t, store, wanted), options, again, store, time.Now, func(plan.Outcome) {}); err != nil || len(again.told) != 6 {
		t.Errorf("repeated: %v, %v", again.told, err)
	}
	once := open(t)
	if err := plan.Run(t.Context(), current(t, once, wanted), options, &fleet{}, once, time.Now, func(plan.Outcome) {}); err != nil {
		t.Fatal(err)
	}
	if a, b := current(t, store, wanted).Digest, current(t, once, wanted).Digest; a != b {
		t.Errorf("killed and repeated ends in %s, done at once in %s", a, b)
	}
}

func TestBatchesPause(t *testing.T) {
	store, wanted := open(t), wish(5)
	p := current(t, store, wanted)
	var at []time.Duration
	synctest.Test(t, func(t *testing.T) {
		begin := time.Now()
		phones := &fleet{onTell: func(int) { at = append(at, time.Since(begin)) }, refusing: []string{"8001", "8002", "8003", "8004", "8005"}}
		err := plan.Run(context.Background(), p, plan.Options{Batch: 2, Pause: time.Minute, MaxFailures: 99, Patience: time.Second}, phones, store, time.Now, func(plan.Outcome) {})
		if err != nil {
			t.Error(err)
		}
	})
	if want := []time.Duration{0, 0, time.Minute, time.Minute, 2 * time.Minute}; !slices.Equal(want, at) {
		t.Errorf("told at %v", at)
	}
}

// A new password goes to phones that are away as well, not to those that have no file yet or are in a call.
func TestAnApplyRotatesPasswords(t *testing.T) {
	store, wanted := open(t), wish(5)
	if err := plan.Run(t.Context(), current(t, store, wanted), plan.Options{Batch: 9, MaxFailures: 9, Patience: time.Second}, &fleet{}, store, time.Now, func(plan.Outcome) {}); err != nil {
		t.Fatal(err)
	}
	wanted[4] = file("8005", "a", "2")
	before := current(t, store, wanted)
	p := before.Rotate(wanted, func(f plan.File) bool { return f.Extension != "8004" })
	if len(before.Changes) != 1 || len(p.Changes) != 4 || p.Digest != before.Digest || !p.Changes[0].Rotates || len(p.Changes[0].Keys) > 0 || !p.Changes[3].Rotates || len(p.Changes[3].Keys) != 2 {
		t.Errorf("plan with new passwords: %+v", p)
	}
	phones := &fleet{offline: []string{"8001"}, busy: []string{"8002"}, strangers: []string{"8003"}}
	if err := plan.Run(t.Context(), p, plan.Options{Batch: 1, MaxFailures: 9, Patience: time.Second}, phones, store, time.Now, func(plan.Outcome) {}); err != nil {
		t.Fatal(err)
	}
	if !slices.Equal(phones.rotated, []string{"8001", "8005"}) || len(phones.told) != 1 {
		t.Errorf("rotated %v, told %v", phones.rotated, phones.told)
	}
}

// When the maintenance window ends, the phones that were not told stay in the next plan.
func TestAnApplyEndsWithTheWindow(t *testing.T) {
	store, wanted := open(t), wish(6)
	phones := &fleet{}
	options := plan.Options{Batch: 2, MaxFailures: 9, Patience: time.Second, Open: func(time.Time) bool { return len(phones.told) < 4 }}
	err := plan.Run(t.Context(), current(t, store, wanted), options, phones, store, time.Now, func(plan.Outcome) {})
	if left := len(current(t, store, wanted).Changes); !errors.Is(err, plan.ErrClosed) || len(phones.told) != 4 || left != 2 {
		t.Errorf("%v after %v, %d left", err, phones.told, left)
	}
}
