package dialplan_test

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"linehall/internal/directory"
	"linehall/internal/site"
	"linehall/sip/dialplan"
)

// monday is a working day, 10:00 in China.
var monday = time.Date(2026, time.November, 30, 2, 0, 0, 0, time.UTC) //nolint:gochecknoglobals // a constant

type terminals []directory.Terminal

func (ts terminals) ByExtension(ext string) (directory.Terminal, bool) {
	for _, t := range ts {
		if t.Extension == ext {
			return t, true
		}
	}
	return directory.Terminal{}, false
}

func (ts terminals) All() []directory.Terminal { return ts }

func demo(tb testing.TB, edit func(*dialplan.Config)) *dialplan.Plan {
	tb.Helper()
	table, err := site.NewTable([]site.Site{
		{ID: "hq", Name: "局机关", Main: true, Prefix: "8"},
		{ID: "branch1", Name: "林东", Prefix: "2", Line: &site.Line{Up: 2e6, Down: 2e6}},
	})
	if err != nil {
		tb.Fatal(err)
	}
	cfg := dialplan.Config{
		Emergency: []string{"110", "119", "120"}, Duty: "8000", DutyMembers: []string{"8001", "8002"},
		Features: map[string]string{"pickup": "*8"},
		Classes:  map[string]dialplan.ClassConfig{"lobby": {Deny: []string{"800X", "11X", "0."}}},
		Rules:    []dialplan.RuleConfig{{Name: "old numbers", Match: "7XXX", Strip: 1, Prepend: "8"}},
	}
	if edit != nil {
		edit(&cfg)
	}
	plan, err := dialplan.New(cfg, table, terminals{
		{Extension: "8001", Site: "hq", State: directory.Active},
		{Extension: "8002", Site: "hq", State: directory.Active},
		{Extension: "8003", Site: "hq", State: directory.Active},
		{Extension: "8004", Site: "hq", State: directory.Spare},
		{Extension: "2001", Site: "branch1", State: directory.Active},
	})
	if err != nil {
		tb.Fatal(err)
	}
	return plan
}

func TestDecide(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name, class, dialled string
		kind                 dialplan.Kind
		number               string
		targets              []string
	}{
		{"extension", "", "2001", dialplan.Extension, "2001", []string{"2001"}},
		{"separators", "", "(20)0-1", dialplan.Extension, "2001", []string{"2001"}},
		{"site prefix", "", "22001", dialplan.Extension, "2001", []string{"2001"}},
		{"prefix of another site", "", "82001", dialplan.Unknown, "82001", nil},
		{"duty", "", "8000", dialplan.Duty, "8000", []string{"8001", "8002"}},
		{"emergency", "", "119", dialplan.Emergency, "119", []string{"8001", "8002"}},
		{"emergency passes class", "lobby", "110", dialplan.Emergency, "110", []string{"8001", "8002"}},
		{"duty passes class", "lobby", "8000", dialplan.Duty, "8000", []string{"8001", "8002"}},
		{"class denies", "lobby", "8003", dialplan.Forbidden, "8003", nil},
		{"room", "", "9000", dialplan.Room, "9000", []string{"9000"}},
		{"last room", "", "9099", dialplan.Room, "9099", []string{"9099"}},
		{"room and PIN", "", "9000*2468", dialplan.Room, "9000", []string{"9000"}},
		{"behind the rooms", "", "9100", dialplan.Unknown, "9100", nil},
		{"feature", "", "*8", dialplan.Feature, "*8", nil},
		{"rule", "", "7003", dialplan.Extension, "8003", []string{"8003"}},
		{"rule to nothing", "", "7999", dialplan.Unknown, "8999", nil},
		{"unknown", "", "4711", dialplan.Unknown, "4711", nil},
		{"nothing", "", "", dialplan.Unknown, "", nil},
		{"more than an emergency number", "", "1190", dialplan.Unknown, "1190", nil},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			d := demo(t, nil).Decide(dialplan.Caller{Extension: "8003", Class: tt.class}, tt.dialled, monday)
			if d.Kind != tt.kind || d.Number != tt.number {
				t.Errorf("got %s %q, want %s %q", d.Kind, d.Number, tt.kind, tt.number)
			}
			if diff := cmp.Diff(tt.targets, d.Targets); diff != "" {
				t.Errorf("targets (-want +got):\n%s", diff)
			}
			if len(d.Steps) == 0 {
				t.Error("a decision without an explanation")
			}
		})
	}
}

func TestEmergencyReserve(t *testing.T) {
	t.Parallel()
	d := demo(t, nil).Decide(dialplan.Caller{Extension: "2001"}, "110", monday)
	// The spare phone and the duty desk itself are not in it.
	if diff := cmp.Diff([]string{"8003"}, d.Reserve); diff != "" {
		t.Errorf("reserve (-want +got):\n%s", diff)
	}
}

// No class, feature, extension or rule that passes the configuration's checks changes what an
// emergency number means.
func TestEmergencyCannotBeShadowed(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		cfg := dialplan.DefaultConfig()
		deny := rapid.SliceOfN(rapid.StringMatching(`[0-9XZN]{1,4}\.?`), 0, 5).Draw(t, "deny")
		cfg.Classes = map[string]dialplan.ClassConfig{"c": {Deny: deny}}
		for _, match := range rapid.SliceOfN(rapid.StringMatching(`[0-9XZN]{1,4}`), 0, 5).Draw(t, "rules") {
			cfg.Rules = append(cfg.Rules, dialplan.RuleConfig{Name: "r", Match: match, Prepend: "9"})
		}
		table, err := site.NewTable([]site.Site{{ID: "hq", Name: "hq", Main: true, Prefix: "1"}})
		if err != nil {
			t.Fatal(err)
		}
		plan, err := dialplan.New(cfg, table, terminals{{Extension: "10", Site: "hq"}, {Extension: "110", Site: "hq"}})
		if err != nil {
			t.Skip("the configuration refuses it")
		}
		number := rapid.SampledFrom(cfg.Emergency).Draw(t, "number")
		if d := plan.Decide(dialplan.Caller{Extension: "10", Class: "c"}, number, monday); d.Kind != dialplan.Emergency {
			t.Fatalf("%s became %s: %v", number, d.Kind, d.Steps)
		}
	})
}

func FuzzDecide(f *testing.F) {
	for _, s := range []string{"2001", "119", "*8", "7003", "", "99999999999999", "%32"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, dialled string) {
		d := demo(t, nil).Decide(dialplan.Caller{Extension: "8001"}, dialled, monday)
		if d.Kind == dialplan.Emergency && !slices.Contains([]string{"110", "119", "120"}, strings.TrimSpace(d.Number)) {
			t.Errorf("%q became the emergency number %q", dialled, d.Number)
		}
	})
}
