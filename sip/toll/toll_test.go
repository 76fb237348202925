package toll_test

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"

	"linehall/internal/database"
	"linehall/sip/dialplan"
	"linehall/sip/toll"
)

// limits are fixed ones: of each terminal, and of each trunk.
type limits struct{ terminal, trunk dialplan.LimitConfig }

func (l limits) TerminalLimit(class string, _ dialplan.Toll) dialplan.LimitConfig {
	if class == "leader" {
		return dialplan.LimitConfig{}
	}
	return l.terminal
}

func (l limits) TrunkLimit(string, dialplan.Toll) dialplan.LimitConfig { return l.trunk }

func open(t *testing.T, o toll.Options) *toll.Ledger {
	t.Helper()
	l, err := toll.Open(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	return l
}

var phone8001 = toll.Account{Kind: toll.Terminal, Name: "8001", Toll: dialplan.International}

func why(t *testing.T, err error) toll.Reason {
	t.Helper()
	if err == nil {
		return ""
	}
	var r *toll.Refused
	if !errors.As(err, &r) {
		t.Fatalf("%T: %v", err, err)
	}
	return r.Reason
}

func TestLimits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		registry := prometheus.NewRegistry()
		l := open(t, toll.Options{Limits: limits{terminal: dialplan.LimitConfig{CallsPerHour: 4, AtOnce: 2, NumbersPerHour: 2}}, Registerer: registry})
		claim := func(call, number string, want toll.Reason) {
			t.Helper()
			if got := why(t, l.Claim(call, phone8001, "", number)); got != want {
				t.Errorf("call %s to %s: %q, want %q", call, number, got, want)
			}
		}
		claim("a", "+1", "")
		claim("a", "+1", "") // the next way to the same number
		claim("b", "+2", "")
		claim("c", "+1", toll.AtOnce)
		l.Release("a")
		claim("c", "+3", toll.Numbers)
		claim("c", "+1", "")
		l.Release("b")
		l.Release("c")
		claim("d", "+2", "")
		l.Release("d")
		claim("e", "+2", toll.PerHour)
		if err := l.Claim("f", toll.Account{Kind: toll.Terminal, Name: "8002", Toll: dialplan.International}, "", "+9"); err != nil {
			t.Errorf("somebody else: %v", err)
		}
		if err := l.Claim("f", toll.Account{Kind: toll.Terminal, Name: "8001", Toll: dialplan.Local}, "", "+9"); err != nil {
			t.Errorf("another kind of call: %v", err)
		}
		if err := l.Claim("f", phone8001, "leader", "+9"); err != nil {
			t.Errorf("a class without limit: %v", err)
		}
		l.Release("f")
		time.Sleep(time.Hour)
		claim("g", "+5", "")
		claim("h", "+6", "")
		for reason, want := range map[string]float64{"calls_per_hour": 1, "at_once": 1, "numbers_per_hour": 1, "trunk_at_once": 0} {
			if got := counter(t, registry, reason); got != want {
				t.Errorf("%v refused for %s, want %v", got, reason, want)
			}
		}
	})
}

func counter(t *testing.T, registry *prometheus.Registry, reason string) float64 {
	t.Helper()
	families, err := registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range families {
		for _, m := range f.GetMetric() {
			if f.GetName() == "linehall_calls_toll_refused_total" && m.GetLabel()[0].GetValue() == reason {
				return m.GetCounter().GetValue()
			}
		}
	}
	t.Fatalf("no count of %s", reason)
	return 0
}

// A call that tries one trunk after the other is one call of each; a call whose party another call takes over counts on.
func TestCallsMoveBetweenTrunksAndOwners(t *testing.T) {
	l := open(t, toll.Options{Limits: limits{trunk: dialplan.LimitConfig{AtOnce: 1}}})
	a, b := toll.Account{Kind: toll.Trunk, Name: "a", Toll: dialplan.Local}, toll.Account{Kind: toll.Trunk, Name: "b", Toll: dialplan.Local}
	try := func(call string, account toll.Account, want toll.Reason) {
		t.Helper()
		if got := why(t, l.Claim(call, account, "", "10086")); got != want {
			t.Errorf("call %s over %s: %q, want %q", call, account.Name, got, want)
		}
	}
	try("1", a, "")
	try("2", a, toll.AtOnce)
	l.Leave("1", "a")
	try("1", b, "")
	try("2", a, "")
	try("1", a, toll.AtOnce)
	l.Move("1", "3")
	l.Release("1")
	try("4", b, toll.AtOnce)
	if diff := cmp.Diff([]toll.Account{b}, l.Held("3")); diff != "" {
		t.Errorf("held (-want +got):\n%s", diff)
	}
	l.Release("3")
	try("4", b, "")
	want := []toll.Standing{
		{Account: toll.Account{Kind: toll.Terminal, Name: "8001", Toll: dialplan.Local}},
		{Account: a, Limit: dialplan.LimitConfig{AtOnce: 1}, Use: toll.Use{Calls: 2, Numbers: 1, Now: 1}, Over: &toll.Refused{Account: a, Number: "1", Reason: toll.AtOnce, Most: 1}},
	}
	if diff := cmp.Diff(want, l.Look("8001", "", []string{"a"}, dialplan.Local, "1")); diff != "" {
		t.Errorf("look (-want +got):\n%s", diff)
	}
}

// The hour survives a restart, and so do the calls at once when the call core takes them up.
func TestRestart(t *testing.T) {
	ctx := t.Context()
	db, err := database.Open(ctx, filepath.Join(t.TempDir(), "test.db"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { db.Close() })
	if err := database.Migrate(ctx, db, toll.Schema()); err != nil {
		t.Fatal(err)
	}
	o := toll.Options{DB: db, Limits: limits{terminal: dialplan.LimitConfig{CallsPerHour: 3, AtOnce: 1}}}
	l := open(t, o)
	for i := range 2 {
		if err := l.Claim(fmt.Sprint(i), phone8001, "", "+1"); err != nil {
			t.Fatal(err)
		}
		if i == 0 {
			l.Release("0")
		}
	}
	held := l.Held("1")
	stop(t, l)
	l = open(t, o)
	l.Resume("1", held)
	if got := why(t, l.Claim("2", phone8001, "", "+1")); got != toll.AtOnce {
		t.Errorf("beside the call of before: %q", got)
	}
	l.Release("1")
	if err := l.Claim("2", phone8001, "", "+1"); err != nil {
		t.Error(err)
	}
	l.Release("2")
	if got := why(t, l.Claim("3", phone8001, "", "+1")); got != toll.PerHour {
		t.Errorf("the fourth call: %q", got)
	}
}

func stop(t *testing.T, l *toll.Ledger) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := l.Run(ctx); !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
}

// A streak of refusals is told to the audit log when it begins and every ten minutes, not once per call.
func TestRefusalsAreAudited(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var mu sync.Mutex
		var told []int
		l := open(t, toll.Options{Limits: limits{}, Audit: func(_ context.Context, r toll.Refusals) error {
			mu.Lock()
			defer mu.Unlock()
			told = append(told, r.Count)
			return nil
		}})
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error, 1)
		go func() { done <- l.Run(ctx) }()
		refuse := func() {
			if got := why(t, l.Forbid("x", phone8001, "+882123")); got != toll.Forbidden {
				t.Errorf("forbidden: %q", got)
			}
			time.Sleep(time.Minute + time.Second) // never at the moment of a sweep
		}
		for range 12 {
			refuse()
		}
		if r := l.Refusing(); len(r) != 1 || r[0].Count != 12 || r[0].Account != phone8001 {
			t.Errorf("alarm: %+v", r)
		}
		time.Sleep(20 * time.Minute)
		if r := l.Refusing(); len(r) != 0 {
			t.Errorf("alarm after a quiet while: %+v", r)
		}
		refuse()
		cancel()
		<-done
		if diff := cmp.Diff([]int{1, 10, 12, 1}, told); diff != "" {
			t.Errorf("audited (-want +got):\n%s", diff)
		}
	})
}
