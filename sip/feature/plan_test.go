package feature

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"linehall/internal/directory"
	"linehall/sip/dialplan"
	"linehall/sip/route"
)

// draw writes a plan in one line: who rings, how long, forwarded by whom, and what follows.
func draw(p route.Plan) string {
	if p.Refuse != nil {
		return fmt.Sprintf("%d %s", p.Refuse.Code, p.Refuse.Text)
	}
	return drawStage(p.First)
}

func drawStage(s *route.Stage) string {
	var b strings.Builder
	b.WriteString(strings.Join(s.Extensions, "+"))
	if s.Outside != nil {
		fmt.Fprintf(&b, "%s via %s", s.Outside.Number, strings.Join(s.Outside.Trunks, ","))
	}
	if s.Ring > 0 {
		fmt.Fprintf(&b, " %s", s.Ring)
	}
	if s.Alert != "" {
		fmt.Fprintf(&b, " %s", s.Alert)
	}
	if s.Diversion != nil {
		fmt.Fprintf(&b, " <%s %s", s.Diversion.From, s.Diversion.Reason)
	}
	for _, e := range s.Extensions {
		if n := s.Limits[e]; n > 0 {
			fmt.Fprintf(&b, " %s<=%d", e, n)
		}
	}
	if s.Busy != nil && s.Busy == s.NoAnswer && s.Busy == s.Unreachable && s.Busy == s.Failed {
		return b.String() + " (else " + drawStage(s.Busy) + ")"
	}
	for _, next := range []struct {
		name  string
		stage *route.Stage
	}{{"busy", s.Busy}, {"silent", s.NoAnswer}, {"away", s.Unreachable}, {"failed", s.Failed}, {"full", s.Full}} {
		if next.stage != nil {
			fmt.Fprintf(&b, " (%s %s)", next.name, drawStage(next.stage))
		}
	}
	return b.String()
}

// request is a call of an extension, or with a + of a number outside.
func (o *office) request(t *testing.T, from, number string, edit ...func(*route.Request)) route.Request {
	t.Helper()
	r := route.Request{Number: from, Decision: o.o.Plan.Decide(dialplan.Caller{Extension: from}, number, o.now())}
	if strings.HasPrefix(from, "+") || from == "" {
		r.Trunk = "t"
	} else {
		r.Caller = o.people[from]
	}
	for _, f := range edit {
		f(&r)
	}
	return r
}

func to(number string) Forward { return Forward{On: true, To: number} }

// What rings for a call of 8005 (or of from) to 8001 (or to number), by settings.
func TestWhatRings(t *testing.T) {
	t.Parallel()
	intercom := func(r *route.Request) { r.Alert = route.Intercom }
	diverted := func(by ...string) func(*route.Request) {
		return func(r *route.Request) {
			for _, e := range by {
				r.Diversions = append(r.Diversions, route.Diversion{From: e, Reason: route.Unconditional})
			}
		}
	}
	withheld := func(r *route.Request) { r.Decision.Withheld = true }
	for _, tt := range []struct {
		name     string
		settings map[string]Settings
		from     string
		number   string
		edit     func(*route.Request)
		absent   []string
		want     string
		step     string // in the explanation
	}{
		{name: "nothing set", want: "8001"},
		{name: "own number", from: "8001", want: "486 The caller's own number"},
		{name: "not in use", number: "8009", want: "480 Not in use"},
		{name: "unregistered phones are the core's affair", absent: []string{"8001"}, want: "8001"},

		{name: "always", settings: map[string]Settings{"8001": {Always: to("8002")}}, want: "8002 <8001 unconditional"},
		{name: "always, off", settings: map[string]Settings{"8001": {Always: Forward{To: "8002"}}}, want: "8001"},
		{name: "always twice", settings: map[string]Settings{"8001": {Always: to("8002")}, "8002": {Always: to("8003")}}, want: "8003 <8002 unconditional"},
		{name: "always, and it goes on", settings: map[string]Settings{"8001": {Always: to("8002")}, "8002": {Busy: to("8003")}}, want: "8002 <8001 unconditional (busy 8003 <8002 user-busy)"},
		{name: "busy", settings: map[string]Settings{"8001": {Busy: to("8002")}}, want: "8001 (busy 8002 <8001 user-busy)"},
		{name: "no answer", settings: map[string]Settings{"8001": {NoAnswer: to("8002")}}, want: "8001 20s (silent 8002 <8001 no-answer)"},
		{name: "no answer, own time", settings: map[string]Settings{"8001": {NoAnswer: to("8002"), NoAnswerSeconds: 8}}, want: "8001 8s (silent 8002 <8001 no-answer)"},
		{name: "unreachable", settings: map[string]Settings{"8001": {Unreachable: to("8002")}}, want: "8001 (away 8002 <8001 unavailable)"},
		{
			name: "all three", settings: map[string]Settings{"8001": {Busy: to("8002"), NoAnswer: to("8003"), Unreachable: to("8000")}},
			want: "8001 20s (busy 8002 <8001 user-busy) (silent 8003 <8001 no-answer) (away 8004+8005 <8001 unavailable)",
		},
		{name: "to a group", settings: map[string]Settings{"8001": {Always: to("8101")}}, want: "8001 15s <8001 unconditional 8001<=1 (else 8002 15s 8002<=1 (else 8003 15s 8003<=1))"},
		{name: "outside", settings: map[string]Settings{"8001": {Always: to("013800000000")}}, want: "+8613800000000 via t <8001 unconditional"},
		{name: "outside when busy", settings: map[string]Settings{"8001": {Busy: to("013800000000")}}, want: "8001 (busy +8613800000000 via t <8001 user-busy)"},
		{
			name: "the class was taken away meanwhile", number: "8006", settings: map[string]Settings{"8006": {Always: to("013800000000"), Busy: to("013800000000")}},
			want: "8006", step: "ignored: 8006 may not call 013800000000",
		},
		{name: "to an emergency number", settings: map[string]Settings{"8001": {Always: to("110")}}, want: "8001", step: "ignored: 110 is emergency"},
		{name: "to nothing", settings: map[string]Settings{"8001": {Always: to("4711")}}, want: "8001", step: "ignored: 4711 is unknown"},
		{name: "to a code", settings: map[string]Settings{"8001": {Always: to("*72")}}, want: "8001", step: "ignored: *72 is feature"},
		{name: "to the caller", settings: map[string]Settings{"8001": {Always: to("8005")}}, want: "8001", step: "8005 is the caller"},
		{
			name: "a loop", settings: map[string]Settings{"8001": {Always: to("8002")}, "8002": {Always: to("8003")}, "8003": {Always: to("8001")}},
			want: "8003 <8002 unconditional", step: "a loop: the call has been at 8001 (8001, 8002, 8003)",
		},
		{name: "to itself", settings: map[string]Settings{"8001": {Always: to("8001")}}, want: "8001", step: "a loop"},
		{name: "a loop through another exchange", settings: map[string]Settings{"8001": {Always: to("8002")}}, edit: diverted("8002"), want: "8001", step: "a loop"},
		{name: "forwarded too often", settings: map[string]Settings{"8001": {Always: to("8002")}}, edit: diverted("1", "2", "3", "4", "5"), want: "8001", step: "forwarded 5 times"},

		{name: "do not disturb", settings: map[string]Settings{"8001": {DoNotDisturb: true}}, want: "480 Do not disturb"},
		{name: "do not disturb, forward busy", settings: map[string]Settings{"8001": {DoNotDisturb: true, Busy: to("8002")}}, want: "8002 <8001 do-not-disturb"},
		{name: "do not disturb, forward busy that does not count", settings: map[string]Settings{"8001": {DoNotDisturb: true, Busy: to("8001")}}, want: "480 Do not disturb"},
		{name: "do not disturb, forward always", settings: map[string]Settings{"8001": {DoNotDisturb: true, Always: to("8002")}}, want: "8002 <8001 unconditional"},
		{name: "forwarded to who does not want it", settings: map[string]Settings{"8001": {Always: to("8002")}, "8002": {DoNotDisturb: true}}, want: "480 Do not disturb"},
		{name: "and only when busy", settings: map[string]Settings{"8001": {Busy: to("8002")}, "8002": {DoNotDisturb: true}}, want: "8001"},
		{name: "call limit", settings: map[string]Settings{"8001": {CallLimit: 2, Busy: to("8002")}}, want: "8001 8001<=2 (busy 8002 <8001 user-busy)"},

		{name: "after hours", settings: map[string]Settings{"8001": {AfterHours: Hours{to("8002"), "00:00", "23:59"}}}, want: "8002 <8001 time-of-day"},
		{name: "anonymous from outside", from: "", settings: map[string]Settings{"8001": {BlockAnonymous: true}}, edit: func(r *route.Request) { *r = route.Request{Trunk: "t", Decision: r.Decision} }, want: "433 Anonymous calls are not accepted"},
		{name: "number withheld", settings: map[string]Settings{"8001": {BlockAnonymous: true}}, edit: withheld, want: "433 Anonymous calls are not accepted"},
		{name: "a number is shown", from: "+8613800000000", settings: map[string]Settings{"8001": {BlockAnonymous: true}}, want: "8001"},

		{
			name: "boss, secretary first", settings: map[string]Settings{"8001": {Boss: Boss{On: true, Secretary: "8002"}}},
			want: "8002 20s <8001 unconditional (else 8001)",
		},
		{name: "boss, secretary only", settings: map[string]Settings{"8001": {Boss: Boss{On: true, Secretary: "8002", Only: true}}}, want: "8002 <8001 unconditional"},
		{
			name:     "boss, secretary only, who forwards",
			settings: map[string]Settings{"8001": {Boss: Boss{On: true, Secretary: "8002", Only: true}}, "8002": {Busy: to("8003")}},
			want:     "8002 <8001 unconditional (busy 8003 <8002 user-busy)",
		},
		{name: "boss, off", settings: map[string]Settings{"8001": {Boss: Boss{Secretary: "8002", Only: true}}}, want: "8001"},
		{name: "the secretary calls", from: "8002", settings: map[string]Settings{"8001": {Boss: Boss{On: true, Secretary: "8002", Only: true}, DoNotDisturb: true}}, want: "8001"},
		{name: "a person of the list", from: "8003", settings: map[string]Settings{"8001": {Boss: Boss{On: true, Secretary: "8002", Only: true, Allow: []string{"8003"}}, DoNotDisturb: true}}, want: "8001"},
		{name: "somebody else, and no wish to be disturbed", settings: map[string]Settings{"8001": {Boss: Boss{On: true, Secretary: "8002"}, DoNotDisturb: true}}, want: "8002 20s <8001 unconditional"},
		{name: "the secretary does not want to", settings: map[string]Settings{"8001": {Boss: Boss{On: true, Secretary: "8002"}}, "8002": {DoNotDisturb: true}}, want: "8001"},
		{name: "the secretary transfers the call", settings: map[string]Settings{"8001": {Boss: Boss{On: true, Secretary: "8002", Only: true}}}, edit: func(r *route.Request) { r.By = "8002" }, want: "8001"},
		{name: "somebody else transfers the call", settings: map[string]Settings{"8001": {Boss: Boss{On: true, Secretary: "8002", Only: true}}}, edit: func(r *route.Request) { r.By = "8003" }, want: "8002 <8001 unconditional"},
		{name: "the secretary sends the call on", settings: map[string]Settings{"8001": {Boss: Boss{On: true, Secretary: "8002", Only: true}}}, edit: diverted("8002"), want: "8001"},
		{
			name:     "boss and secretary for each other",
			settings: map[string]Settings{"8001": {Boss: Boss{On: true, Secretary: "8002", Only: true}}, "8002": {Always: to("8001")}},
			want:     "8002 <8001 unconditional", step: "a loop",
		},

		{name: "intercom", edit: intercom, want: "8001 intercom 8001<=1"},
		{name: "intercom is not forwarded", edit: intercom, settings: map[string]Settings{"8001": {Always: to("8002"), Busy: to("8002")}}, want: "8001 intercom 8001<=1"},
		{name: "intercom, do not disturb", edit: intercom, settings: map[string]Settings{"8001": {DoNotDisturb: true}}, want: "480 Do not disturb"},

		{name: "emergency", number: "110", settings: map[string]Settings{"8004": {DoNotDisturb: true, Always: to("8001")}}, want: "8004+8005"},
		{name: "duty desk", number: "8000", settings: map[string]Settings{"8004": {DoNotDisturb: true, Always: to("8001")}}, want: "8004+8005"},
		{name: "outside number", number: "013800000000", want: "+8613800000000 via t"},

		{name: "group, all", number: "8100", want: "8001+8002+8003 15s 8001<=1 8002<=1 8003<=1 (else 8004+8005 <8100 no-answer)"},
		{
			name: "group without those who are not there", number: "8100", absent: []string{"8001"}, settings: map[string]Settings{"8002": {LoggedOut: []string{"8100"}}, "8003": {Always: to("8006")}},
			want: "8003 15s 8003<=1 (else 8004+8005 <8100 no-answer)", step: "8002 is logged out",
		},
		{
			name: "nobody is there", number: "8100", absent: []string{"8001"}, settings: map[string]Settings{"8002": {DoNotDisturb: true}, "8003": {LoggedOut: []string{"8100"}}},
			want: "8004+8005 <8100 no-answer",
		},
		{name: "nobody, and no overflow", number: "8101", absent: []string{"8001", "8002", "8003"}, want: "480 Nobody of the group is there"},
		{name: "a member calls", number: "8101", from: "8002", want: "8001 15s 8001<=1 (else 8003 15s 8003<=1)"},
		{
			name: "overflow to a group with the same members", number: "8102", absent: []string{"8002", "8003"},
			want: "8001 15s 8001<=1 (else 8001 15s <8102 no-answer 8001<=1 (else 8004+8005 <8100 no-answer))",
		},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			o := newOffice(t, nil)
			for e, s := range tt.settings {
				o.force(e, s)
			}
			for _, e := range tt.absent {
				o.phones.set(e, false)
			}
			from, number := tt.from, tt.number
			if from == "" {
				from = "8005"
			}
			if number == "" {
				number = "8001"
			}
			r := o.request(t, from, number)
			if tt.edit != nil {
				tt.edit(&r)
			}
			plan, steps := o.Explain(r)
			if got := draw(plan); got != tt.want {
				t.Errorf("got  %s\nwant %s", got, tt.want)
			}
			if err := plan.Check(); err != nil {
				t.Errorf("the core would not take it: %v", err)
			}
			if text := fmt.Sprint(steps); len(steps) == 0 && tt.want != "+8613800000000 via t" || !strings.Contains(text, tt.step) {
				t.Errorf("explanation %s\nwithout %q", text, tt.step)
			}
		})
	}
}

// A hunt group with more members than stages rings the rest together.
func TestLongHuntGroups(t *testing.T) {
	t.Parallel()
	p := staff()
	var members []string
	for i := range 20 {
		e := fmt.Sprint(7000 + i)
		p[e] = directory.Terminal{Extension: e, State: directory.Active}
		members = append(members, e)
	}
	v := fixed{people: p, groups: map[string]dialplan.GroupConfig{"7100": {Number: "7100", Strategy: dialplan.Linear, Members: members, Ring: time.Second, Overflow: "8001"}}}
	pl := &planner{view: v, req: route.Request{Caller: p["8002"], Decision: dialplan.Decision{Kind: dialplan.Group, Number: "7100", Group: "7100"}}}
	plan := pl.plan()
	if err := plan.Check(); err != nil {
		t.Fatal(err)
	}
	stages, rung := 0, 0
	for s := plan.First; s != nil; s = s.Busy {
		stages++
		rung += len(s.Extensions)
	}
	if stages != route.MaxDepth || rung != len(members)+1 {
		t.Errorf("%d stages ring %d: %s", stages, rung, draw(plan))
	}
}

// fixed is a view without surroundings.
type fixed struct {
	people people
	book   map[string]Settings
	groups map[string]dialplan.GroupConfig
}

func (v fixed) terminal(e string) (directory.Terminal, bool) { return v.people.ByExtension(e) }
func (v fixed) settings(e string) Settings                   { return v.book[e] }
func (v fixed) there(string) bool                            { return true }
func (v fixed) guest(string) string                          { return "" }
func (v fixed) now() time.Time                               { return time.Unix(0, 0) }
func (v fixed) order(g dialplan.GroupConfig) []string        { return g.Members }

func (v fixed) group(number string) (dialplan.GroupConfig, bool) {
	g, ok := v.groups[number]
	return g, ok
}

func (v fixed) decide(_ dialplan.Caller, number string) dialplan.Decision {
	d := dialplan.Decision{Kind: dialplan.Unknown, Number: number}
	switch {
	case v.groups[number].Number != "":
		d.Kind, d.Group = dialplan.Group, number
	case v.people[number].Extension != "":
		d.Kind, d.Targets = dialplan.Extension, []string{number}
	case strings.HasPrefix(number, "0"):
		d.Kind, d.Trunks = dialplan.Outside, []string{"t"}
	}
	return d
}

// Whatever is set, a plan is one that the core takes, bounded, and rings neither the caller nor
// somebody who does not want to be disturbed.
func TestAnySettingsMakeAPlan(t *testing.T) {
	t.Parallel()
	numbers := []string{"1", "2", "3", "4", "5", "6", "90", "91", "0555", "77"}
	extensions := numbers[:6]
	rapid.Check(t, func(t *rapid.T) {
		v := fixed{people: people{}, book: map[string]Settings{}, groups: map[string]dialplan.GroupConfig{}}
		forward := func(name string) Forward {
			return Forward{On: rapid.Bool().Draw(t, name), To: rapid.SampledFrom(numbers).Draw(t, name)}
		}
		for _, e := range extensions {
			v.people[e] = directory.Terminal{Extension: e, State: directory.Active}
			v.book[e] = Settings{
				Always: Forward{On: rapid.IntRange(0, 3).Draw(t, "always") == 0, To: rapid.SampledFrom(numbers).Draw(t, "always")},
				Busy:   forward("busy"), NoAnswer: forward("no answer"), Unreachable: forward("unreachable"),
				DoNotDisturb: rapid.IntRange(0, 4).Draw(t, "dnd") == 0, BlockAnonymous: rapid.Bool().Draw(t, "anonymous"),
				Boss: Boss{On: rapid.IntRange(0, 3).Draw(t, "boss") == 0, Secretary: rapid.SampledFrom(numbers).Draw(t, "secretary"), Only: rapid.Bool().Draw(t, "only")},
			}
		}
		for _, g := range []string{"90", "91"} {
			v.groups[g] = dialplan.GroupConfig{
				Number: g, Strategy: rapid.SampledFrom([]dialplan.Strategy{dialplan.RingAll, dialplan.Linear}).Draw(t, "strategy"),
				Members: rapid.SliceOfNDistinct(rapid.SampledFrom(extensions), 1, 6, rapid.ID).Draw(t, "members"), Overflow: rapid.SampledFrom(append(numbers, "")).Draw(t, "overflow"),
			}
		}
		caller := rapid.SampledFrom(extensions).Draw(t, "caller")
		d := v.decide(dialplan.Caller{}, rapid.SampledFrom(numbers[:9]).Draw(t, "number"))
		p := &planner{view: v, req: route.Request{Caller: v.people[caller], Number: caller, Decision: d}}
		plan := p.plan()
		if err := plan.Check(); err != nil {
			t.Fatalf("%v: %s", err, draw(plan))
		}
		if p.stages > maxStages+20 { // those beyond are counted and not made
			t.Fatalf("%d stages", p.stages)
		}
		every(plan.First, func(s *route.Stage) {
			for _, e := range s.Extensions {
				if e == caller {
					t.Fatalf("the caller rings: %s", draw(plan))
				}
				if own := v.book[e]; own.DoNotDisturb && !own.Boss.passes(caller) {
					t.Fatalf("%s rings: %s", e, draw(plan))
				}
			}
		})
	})
}

func every(s *route.Stage, f func(*route.Stage)) {
	if s == nil {
		return
	}
	f(s)
	for _, next := range []*route.Stage{s.Busy, s.NoAnswer, s.Unreachable, s.Failed, s.Full} {
		every(next, f)
	}
}
