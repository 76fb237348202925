package dialplan_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"linehall/internal/site"
	"linehall/sip/dialplan"
)

// shanghai has no daylight saving time; written out so that no zone file is needed.
var shanghai = time.FixedZone("CST", 8*3600) //nolint:gochecknoglobals // a constant

func at(text string) time.Time {
	t, err := time.ParseInLocation("2006-01-02 15:04", text, shanghai)
	if err != nil {
		panic(err)
	}
	return t
}

// organisation has trunks, groups, classes, calendars and DIDs.
func organisation(tb testing.TB) *dialplan.Plan {
	tb.Helper()
	cfg := dialplan.DefaultConfig()
	cfg.Duty, cfg.DutyMembers = "8000", []string{"8001", "8002"}
	cfg.Numbering.Area = "471"
	cfg.EmergencyTrunks = []string{"gateway"}
	cfg.Features = map[string]string{}
	for _, f := range dialplan.Features() {
		cfg.Features[f.Name] = f.Code
	}
	cfg.Groups = []dialplan.GroupConfig{{Number: "8100", Name: "repair", Strategy: dialplan.Linear, Members: []string{"8002", "8003"}, Ring: 20 * time.Second}}
	cfg.ShortCodes = []dialplan.ShortCodeConfig{
		{Code: "1888", Name: "station", Dial: "0 (010) 8888-6666", AnyClass: true},
		{Code: "1889", Name: "abroad", Dial: "00012025550100"},
		{Code: "1890", Dial: "2001"},
		{Code: "1891", Dial: "1890"},
	}
	cfg.Classes = map[string]dialplan.ClassConfig{
		"internal": {Reach: dialplan.Internal},
		"local":    {Reach: dialplan.Local, Deny: []string{"00."}},
		"national": {Reach: dialplan.LongDistance, ForbiddenHours: []dialplan.HoursConfig{{From: 22 * 60, To: 6 * 60}}},
		"silent":   {Reach: dialplan.Nowhere},
		"night":    {ForbiddenHours: []dialplan.HoursConfig{{Days: 1 << time.Saturday, From: 20 * 60, To: 8 * 60, Reach: dialplan.Nowhere}}},
		"leader":   {Priority: dialplan.Flash, Private: true, Withhold: true},
		"nomobile": {Deny: []string{"1NXXXXXXXXX"}},
	}
	cfg.Private = []string{"8003"}
	cfg.Blocked = []string{"+1900."}
	cfg.BlockedCallers = []string{"+861360000."}
	cfg.Rules = []dialplan.RuleConfig{
		{Name: "cheap", Match: "0171XX.", Strip: 1, Trunks: []string{"gateway"}, Class: dialplan.Local},
		{Name: "out", Match: "0.", Strip: 1, Trunks: []string{"provider", "gateway"}},
		{Name: "plus", Match: "+.", Trunks: []string{"provider"}, Class: dialplan.LongDistance},
		{Name: "old numbers", Match: "7XXX", Strip: 1, Prepend: "8"},
	}
	cfg.Calendars = []dialplan.CalendarConfig{{
		Name: "office", Open: []dialplan.SpanConfig{{Days: 0b0111110, From: 8*60 + 30, To: 17*60 + 30}},
		Holidays: []dialplan.Dates{{First: "2026-10-01", Last: "2026-10-07"}}, Workdays: []dialplan.Dates{{First: "2026-10-10", Last: "2026-10-10"}},
	}}
	table, err := site.NewTable([]site.Site{
		{ID: "hq", Name: "局机关", Main: true, Prefix: "8", EmergencyIdentity: "04715550110"},
		{ID: "branch1", Name: "林东", Prefix: "2", Line: &site.Line{Up: 2e6, Down: 2e6}},
	})
	if err != nil {
		tb.Fatal(err)
	}
	plan, err := dialplan.New(cfg, table, terminals{
		{Extension: "8001", Site: "hq", State: "active"},
		{Extension: "8002", Site: "hq", State: "active"},
		{Extension: "8003", Site: "hq", State: "active"},
		{Extension: "2001", Site: "branch1", State: "active"},
	}, dialplan.In(shanghai), dialplan.WithTrunks([]dialplan.Trunk{
		{Name: "provider", DIDs: []dialplan.DIDConfig{
			{Number: "0471555XXXX", Digits: 4, Name: "range"},
			{Number: "04715550000", Name: "front desk", To: "8100", Calendar: "office", Closed: "8000", Holiday: "9000"},
			{Number: "04715550001", To: "8001", Calendar: "office", Closed: "8002"},
			{Number: "04715550002", To: "2001"},
		}},
		{Name: "gateway", Unknown: "8000"},
	}))
	if err != nil {
		tb.Fatal(err)
	}
	return plan
}

func TestOutside(t *testing.T) {
	t.Parallel()
	day, night := at("2026-11-30 10:00"), at("2026-11-30 23:00")
	for _, tt := range []struct {
		name, class, dialled string
		when                 time.Time
		kind                 dialplan.Kind
		number, trunks       string
		toll                 dialplan.Toll
	}{
		{"a mobile number behind the digit for outside", "", "013800000000", day, dialplan.Outside, "+8613800000000", "provider gateway", dialplan.LongDistance},
		{"with separators and full-width digits", "", "0 １38-0000 0000", day, dialplan.Outside, "+8613800000000", "provider gateway", dialplan.LongDistance},
		{"a local number", "", "055501234", day, dialplan.Outside, "+8647155501234", "provider gateway", dialplan.Local},
		{"another city", "", "001088886666", day, dialplan.Outside, "+861088886666", "provider gateway", dialplan.LongDistance},
		{"abroad", "", "00012025550100", day, dialplan.Outside, "+12025550100", "provider gateway", dialplan.International},
		{"a service number", "", "010086", day, dialplan.Outside, "10086", "provider gateway", dialplan.Local},
		{"from an address book", "", "+86 (0)10 8888-6666", day, dialplan.Outside, "+861088886666", "provider", dialplan.LongDistance},
		{"a rule makes a call cheaper", "", "01718800001", day, dialplan.Outside, "1718800001", "gateway", dialplan.Local},
		{"but no call abroad", "", "+12025550100", day, dialplan.Outside, "+12025550100", "provider", dialplan.International},
		{"the class does not reach it", "internal", "055501234", day, dialplan.Forbidden, "+8647155501234", "", dialplan.Local},
		{"nor abroad by plus", "national", "+12025550100", day, dialplan.Forbidden, "+12025550100", "", dialplan.International},
		{"the class denies what stands behind the digit", "nomobile", "013800000000", day, dialplan.Forbidden, "013800000000", "", ""},
		{"and by plus", "nomobile", "+8613800000000", day, dialplan.Forbidden, "+8613800000000", "", ""},
		{"in the forbidden hours", "national", "013800000000", night, dialplan.Forbidden, "+8613800000000", "", dialplan.LongDistance},
		{"inside they do not count", "national", "2001", night, dialplan.Extension, "2001", "", dialplan.Internal},
		{"before they begin", "national", "013800000000", day, dialplan.Outside, "+8613800000000", "provider gateway", dialplan.LongDistance},
		{"hours that forbid everything", "night", "2001", at("2026-11-29 07:59"), dialplan.Forbidden, "2001", "", dialplan.Internal},
		{"until the morning", "night", "2001", at("2026-11-29 08:00"), dialplan.Extension, "2001", "", dialplan.Internal},
		{"but for emergencies", "night", "119", at("2026-11-29 07:59"), dialplan.Emergency, "119", "gateway", dialplan.Local},
		{"and the duty desk", "silent", "8000", day, dialplan.Duty, "8000", "", dialplan.Internal},
		{"blocked for everybody", "leader", "00019005550100", day, dialplan.Forbidden, "0019005550100", "", ""},
		{"a short code", "", "1889", day, dialplan.Outside, "+12025550100", "provider gateway", dialplan.International},
		{"a short code for every class", "internal", "1888", day, dialplan.Outside, "+861088886666", "provider gateway", dialplan.LongDistance},
		{"a short code that the class limits", "local", "1889", day, dialplan.Forbidden, "00012025550100", "", ""},
		{"a short code inside", "internal", "1890", day, dialplan.Extension, "2001", "", dialplan.Internal},
		{"short codes do not chain", "", "1891", day, dialplan.Unknown, "1890", "", ""},
		{"a group", "", "8100", day, dialplan.Group, "8100", "", dialplan.Internal},
		{"a private number", "", "8003", day, dialplan.Forbidden, "8003", "", dialplan.Internal},
		{"that leaders may call", "leader", "8003", day, dialplan.Extension, "8003", "", dialplan.Internal},
		{"a rule inside", "", "7001", day, dialplan.Extension, "8001", "", dialplan.Internal},
		{"an emergency number behind the digit for outside", "silent", "0110", day, dialplan.Forbidden, "0110", "", ""},
		{"an emergency number with a country code", "silent", "+86110", day, dialplan.Emergency, "110", "gateway", dialplan.Local},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			if tt.dialled == "0110" { // is never stopped, whatever the class
				tt.kind, tt.number, tt.trunks, tt.toll = dialplan.Emergency, "110", "gateway", dialplan.Local
			}
			d := organisation(t).Decide(dialplan.Caller{Extension: "8002", Class: tt.class}, tt.dialled, tt.when)
			got := []string{string(d.Kind), d.Number, strings.Join(d.Trunks, " "), string(d.Toll)}
			if diff := cmp.Diff([]string{string(tt.kind), tt.number, tt.trunks, string(tt.toll)}, got); diff != "" {
				t.Errorf("(-want +got):\n%s%v", diff, d.Steps)
			}
			if len(d.Steps) == 0 {
				t.Error("a decision without an explanation")
			}
		})
	}
}

func TestFeatureCodesHaveArguments(t *testing.T) {
	t.Parallel()
	for dialled, want := range map[string][2]string{
		"*728002": {"forward_always", "8002"}, "*72": {"forward_always", ""}, "*7213800000000": {"forward_always", "13800000000"},
		"*73": {"forward_always_off", ""}, "*8": {"group_pickup", ""}, "**8002": {"pickup", "8002"}, "*802001": {"intercom", "2001"},
		"*751*13800000000#": {"speed_dial_store", "1*13800000000#"}, "*01": {"speed_dial", "1"},
	} {
		d := organisation(t).Decide(dialplan.Caller{Extension: "8001"}, dialled, monday)
		if d.Kind != dialplan.Feature || d.Feature != want[0] || d.Argument != want[1] {
			t.Errorf("%s: %s %q %q", dialled, d.Kind, d.Feature, d.Argument)
		}
	}
	for _, dialled := range []string{"*731", "*88", "*", "*99", "*72a"} {
		if d := organisation(t).Decide(dialplan.Caller{Extension: "8001"}, dialled, monday); d.Kind != dialplan.Unknown {
			t.Errorf("%s: %s %q %q", dialled, d.Kind, d.Feature, d.Argument)
		}
	}
}

func TestHiddenNumbers(t *testing.T) {
	t.Parallel()
	plan := organisation(t)
	for _, tt := range []struct {
		name, extension, class, dialled string
		kind                            dialplan.Kind
		withheld                        bool
	}{
		{"for one call", "8001", "", "*672001", dialplan.Extension, true},
		{"outside as well", "8001", "", "*67013800000000", dialplan.Outside, true},
		{"a class", "8001", "leader", "2001", dialplan.Extension, true},
		{"a private number", "8003", "", "2001", dialplan.Extension, true},
		{"not for help", "8003", "leader", "*67110", dialplan.Emergency, false},
		{"otherwise shown", "8001", "", "2001", dialplan.Extension, false},
		{"alone it is a feature", "8001", "", "*67", dialplan.Feature, false},
	} {
		d := plan.Decide(dialplan.Caller{Extension: tt.extension, Class: tt.class}, tt.dialled, monday)
		if d.Kind != tt.kind || d.Withheld != tt.withheld {
			t.Errorf("%s: %s, withheld %v", tt.name, d.Kind, d.Withheld)
		}
	}
	if d := plan.Decide(dialplan.Caller{Extension: "8001", Class: "leader"}, "2001", monday); d.Priority != dialplan.Flash || d.Priority.Level() != 3 {
		t.Errorf("priority %s", d.Priority)
	}
}

func TestEmergencyIdentityFollowsThePlace(t *testing.T) {
	t.Parallel()
	plan := organisation(t)
	for _, tt := range []struct {
		from dialplan.Caller
		want string
	}{
		{dialplan.Caller{Extension: "8001"}, "04715550110"},
		{dialplan.Caller{Extension: "8001", Site: "branch1"}, ""},
		{dialplan.Caller{Extension: "2001", Site: "hq"}, "04715550110"},
		{dialplan.Caller{Extension: "2001"}, ""},
	} {
		d := plan.Decide(tt.from, "119", monday)
		if d.Identity != tt.want || cmp.Diff([]string{"gateway"}, d.Trunks) != "" || len(d.Targets) != 2 {
			t.Errorf("%+v: %q by %v, then %v", tt.from, d.Identity, d.Trunks, d.Targets)
		}
	}
}

func TestInbound(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name, trunk, caller, called, when string
		kind                              dialplan.Kind
		number                            string
		hours                             dialplan.Hours
	}{
		{"by day", "provider", "", "04715550000", "2026-11-30 08:30", dialplan.Group, "8100", dialplan.Open},
		{"in E.164", "provider", "", "+864715550000", "2026-11-30 17:29", dialplan.Group, "8100", dialplan.Open},
		{"as the network writes it within the area", "provider", "", "5550000", "2026-11-30 17:29", dialplan.Group, "8100", dialplan.Open},
		{"by night", "provider", "", "04715550000", "2026-11-30 17:30", dialplan.Duty, "8000", dialplan.Closed},
		{"at the weekend", "provider", "", "04715550000", "2026-11-29 10:00", dialplan.Duty, "8000", dialplan.Closed},
		{"on a holiday", "provider", "", "04715550000", "2026-10-01 10:00", dialplan.Room, "9000", dialplan.Holiday},
		{"on a Saturday that is a workday", "provider", "", "04715550000", "2026-10-10 10:00", dialplan.Group, "8100", dialplan.Open},
		{"its night", "provider", "", "04715550000", "2026-10-10 20:00", dialplan.Duty, "8000", dialplan.Closed},
		{"a holiday is a night where nothing else is said", "provider", "", "04715550001", "2026-10-07 10:00", dialplan.Extension, "8002", dialplan.Holiday},
		{"without a calendar", "provider", "", "04715550002", "2026-10-07 03:00", dialplan.Extension, "2001", ""},
		{"a range", "provider", "", "04715558001", "2026-10-07 03:00", dialplan.Extension, "8001", ""},
		{"a range to nobody", "provider", "", "04715558055", "2026-10-07 03:00", dialplan.Unknown, "8055", ""},
		{"a range to a private number", "provider", "", "04715558003", "2026-10-07 03:00", dialplan.Forbidden, "8003", ""},
		{"not ours", "provider", "", "04716660000", "2026-10-07 03:00", dialplan.Unknown, "04716660000", ""},
		{"not ours, with a default", "gateway", "", "04716660000", "2026-10-07 03:00", dialplan.Duty, "8000", ""},
		{"an extension is no DID", "provider", "", "8001", "2026-10-07 03:00", dialplan.Unknown, "8001", ""},
		{"no way out again", "provider", "", "013800000000", "2026-10-07 03:00", dialplan.Unknown, "013800000000", ""},
		{"a blocked caller", "provider", "13600001234", "04715550000", "2026-11-30 10:00", dialplan.Forbidden, "04715550000", ""},
		{"another caller", "provider", "13700001234", "04715550000", "2026-11-30 10:00", dialplan.Group, "8100", dialplan.Open},
		{"no such trunk", "x", "", "04715550000", "2026-11-30 10:00", dialplan.Unknown, "04715550000", ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			d := organisation(t).Inbound(dialplan.Incoming{Trunk: tt.trunk, Number: tt.caller}, tt.called, at(tt.when).UTC())
			if d.Kind != tt.kind || d.Number != tt.number || d.Hours != tt.hours || len(d.Steps) == 0 {
				t.Errorf("got %s %s %s, want %s %s %s: %v", d.Kind, d.Number, d.Hours, tt.kind, tt.number, tt.hours, d.Steps)
			}
		})
	}
}

func TestNumbersAreWrittenAsTheTrunkWants(t *testing.T) {
	t.Parallel()
	n := dialplan.DefaultNumbering()
	n.Area = "471"
	for _, tt := range []struct{ number, e164, national string }{
		{"13800000000", "+8613800000000", "13800000000"},
		{"013800000000", "+8613800000000", "13800000000"},
		{"+86 138 0000 0000", "+8613800000000", "13800000000"},
		{"008613800000000", "+8613800000000", "13800000000"},
		{"5550000", "+864715550000", "04715550000"},
		{"55501234", "+8647155501234", "047155501234"},
		{"01088886666", "+861088886666", "01088886666"},
		{"+86 (0)10 8888 6666", "+861088886666", "01088886666"},
		{"0012025550100", "+12025550100", "0012025550100"},
		{"+12025550100", "+12025550100", "0012025550100"},
		{"10086", "10086", "10086"},
		{"+8610086", "+8610086", "10086"},
		{"4008888888", "4008888888", "4008888888"},
		{"+", "+", "+"},
		{"+861", "+861", "+861"},
		{"00", "00", "00"},
		{"", "", ""},
		{"+1234567890123456", "+1234567890123456", "+1234567890123456"},
	} {
		number := dialplan.Normalise(tt.number)
		if got := n.Write(dialplan.E164, number, ""); got != tt.e164 {
			t.Errorf("%s: E.164 %s, want %s", tt.number, got, tt.e164)
		}
		if got := n.Write(dialplan.NationalFmt, number, ""); got != tt.national {
			t.Errorf("%s: national %s, want %s", tt.number, got, tt.national)
		}
		if got := n.Write(dialplan.AsDialled, number, "9"+number); got != "9"+number {
			t.Errorf("%s: as dialled %s", tt.number, got)
		}
	}
}

// What an emergency number means does not depend on class, rules, blocks, time or the way it is written.
func TestEmergencyIsNeverStopped(t *testing.T) {
	t.Parallel()
	plan := organisation(t)
	rapid.Check(t, func(t *rapid.T) {
		class := rapid.SampledFrom([]string{"", "internal", "local", "national", "silent", "night", "leader", "nomobile", "unknown"}).Draw(t, "class")
		prefix := rapid.SampledFrom([]string{"", "0", "+86", "0086", "*67", "(", "1-"[:0]}).Draw(t, "prefix")
		number := rapid.SampledFrom([]string{"110", "119", "120"}).Draw(t, "number")
		when := time.Unix(rapid.Int64Range(0, 4e9).Draw(t, "when"), 0)
		if d := plan.Decide(dialplan.Caller{Extension: "8003", Class: class}, prefix+number, when); d.Kind != dialplan.Emergency || d.Number != number || d.Withheld {
			t.Fatalf("%s became %s %s: %v", prefix+number, d.Kind, d.Number, d.Steps)
		}
	})
}

func FuzzCanonical(f *testing.F) {
	for _, s := range []string{"+8613800000000", "008613800000000", "0471 555 0000", "10086", "+", "0", "++86", "＋８６１３８"} {
		f.Add(s)
	}
	n := dialplan.DefaultNumbering()
	n.Area = "471"
	f.Fuzz(func(t *testing.T, text string) {
		number, ok := n.Canonical(text)
		if !ok {
			return
		}
		if again, still := n.Canonical(number); !still || again != number {
			t.Errorf("%q became %q, and that %q", text, number, again)
		}
		national := n.Write(dialplan.NationalFmt, number, "")
		service := strings.HasPrefix(number, "+86") && len(number) <= len("+86")+7 // has no form of its own
		if back, ok := n.Canonical(national); !service && !strings.ContainsAny(number, "XZN") && (!ok || back != number) {
			t.Errorf("%q is %q within the country, and that %q", number, national, back)
		}
	})
}

func FuzzInbound(f *testing.F) {
	f.Add("04715550000", "13600001234")
	f.Add("*728002", "")
	plan := organisation(f)
	f.Fuzz(func(t *testing.T, called, caller string) {
		switch d := plan.Inbound(dialplan.Incoming{Trunk: "provider", Number: caller}, called, monday); d.Kind {
		case dialplan.Feature, dialplan.Outside, dialplan.Emergency:
			t.Errorf("%q from outside became %s", called, d.Kind)
		case dialplan.Extension, dialplan.Duty, dialplan.Group, dialplan.Room, dialplan.Forbidden, dialplan.Unknown:
		}
	})
}

func TestTolls(t *testing.T) {
	t.Parallel()
	cfg := dialplan.DefaultConfig()
	thirty, none := 30, 0
	cfg.Classes = map[string]dialplan.ClassConfig{
		"leader":  {Tolls: dialplan.ClassTollsConfig{International: dialplan.ClassLimitConfig{CallsPerHour: &thirty, AtOnce: &none}, Forbidden: []string{}}},
		"station": {Tolls: dialplan.ClassTollsConfig{Forbidden: []string{"1390000."}}},
	}
	cfg.Rules = []dialplan.RuleConfig{{Match: "0.", Strip: 1, Trunks: []string{"gateway", "provider"}}}
	cfg.ShortCodes = []dialplan.ShortCodeConfig{{Code: "1888", Name: "ship", Dial: "000870773123456", AnyClass: true}}
	table, err := site.NewTable([]site.Site{{ID: "hq", Name: "局机关", Main: true, Prefix: "8"}})
	if err != nil {
		t.Fatal(err)
	}
	plan, err := dialplan.New(cfg, table, terminals{{Extension: "8001", Site: "hq", State: "active"}}, dialplan.WithTrunks([]dialplan.Trunk{
		{Name: "gateway", Tolls: dialplan.TollsConfig{Forbidden: []string{"+1900."}}}, {Name: "provider", Tolls: dialplan.DefaultTrunkTolls()},
	}))
	if err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		name, class, dialled, trunks string
		kind                         dialplan.Kind
	}{
		{"an ordinary number", "", "013800000000", "gateway provider", dialplan.Outside},
		{"a satellite", "", "000870773123456", "", dialplan.Forbidden},
		{"for a class that may call them", "leader", "000870773123456", "gateway provider", dialplan.Outside},
		{"by a short code for every class", "", "1888", "gateway provider", dialplan.Outside},
		{"a class forbids others instead", "station", "000870773123456", "gateway provider", dialplan.Outside},
		{"in any form", "station", "0008613900001234", "", dialplan.Forbidden},
		{"one trunk does not take it", "", "00019005550100", "provider", dialplan.Outside},
		{"help", "", "110", "gateway provider", dialplan.Emergency},
	} {
		d := plan.Decide(dialplan.Caller{Extension: "8001", Class: tt.class}, tt.dialled, monday)
		if d.Kind != tt.kind || strings.Join(d.Trunks, " ") != tt.trunks || (d.Denied == dialplan.RuleToll) != (tt.kind == dialplan.Forbidden) {
			t.Errorf("%s: %s %v %s: %v", tt.name, d.Kind, d.Trunks, d.Denied, d.Steps)
		}
	}
	if diff := cmp.Diff(dialplan.LimitConfig{CallsPerHour: 30, NumbersPerHour: 5}, plan.TerminalLimit("leader", dialplan.International)); diff != "" {
		t.Errorf("what a class does not say is the organisation's (-want +got):\n%s", diff)
	}
	if plan.TrunkLimit("gateway", dialplan.International).Limited() || !plan.TrunkLimit("provider", dialplan.International).Limited() || plan.TerminalLimit("", dialplan.Internal).Limited() {
		t.Error("limits of trunks, or inside")
	}
	if steps := fmt.Sprint(plan.Explain(dialplan.Caller{Extension: "8001"}, "00012025550100", monday)); !strings.Contains(steps, "10 calls per hour, 2 at once, 5 different numbers per hour") || !strings.Contains(steps, "the trunk provider carries") {
		t.Errorf("explanation: %s", steps)
	}
}
