package route_test

import (
	"strings"
	"testing"

	"linehall/sip/route"
)

func TestNext(t *testing.T) {
	t.Parallel()
	busy, silent, gone, failed, full := &route.Stage{}, &route.Stage{}, &route.Stage{}, &route.Stage{}, &route.Stage{}
	all := &route.Stage{Busy: busy, NoAnswer: silent, Unreachable: gone, Failed: failed, Full: full}
	for _, tt := range []struct {
		name    string
		stage   *route.Stage
		outcome route.Outcome
		want    *route.Stage
	}{
		{"busy", all, route.OutcomeBusy, busy},
		{"no answer", all, route.OutcomeNoAnswer, silent},
		{"unreachable", all, route.OutcomeUnreachable, gone},
		{"failed", all, route.OutcomeFailed, failed},
		{"full", all, route.OutcomeFull, full},
		{"a full line is unreachable", &route.Stage{Unreachable: gone, Failed: failed}, route.OutcomeFull, gone},
		{"and that is failed", &route.Stage{Failed: failed}, route.OutcomeFull, failed},
		{"unreachable is failed", &route.Stage{Failed: failed}, route.OutcomeUnreachable, failed},
		{"nothing follows nothing", nil, route.OutcomeBusy, nil},
		{"busy is nothing else", &route.Stage{Failed: failed, NoAnswer: silent}, route.OutcomeBusy, nil},
		{"no answer is nothing else", &route.Stage{Failed: failed, Busy: busy}, route.OutcomeNoAnswer, nil},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			if got := tt.stage.Next(tt.outcome); got != tt.want {
				t.Errorf("another stage follows")
			}
		})
	}
}

func TestCheck(t *testing.T) {
	t.Parallel()
	chain := func(n int) *route.Stage {
		s := &route.Stage{Extensions: []string{"1"}}
		for range n - 1 {
			s = &route.Stage{Extensions: []string{"1"}, Busy: s}
		}
		return s
	}
	for name, tt := range map[string]struct {
		plan route.Plan
		want string
	}{
		"one stage":       {route.Plan{First: chain(1)}, ""},
		"deepest":         {route.Plan{First: chain(route.MaxDepth)}, ""},
		"too deep":        {route.Plan{First: chain(route.MaxDepth + 1)}, "behind one another"},
		"nothing":         {route.Plan{}, "without a stage"},
		"no destination":  {route.Plan{First: &route.Stage{}}, "without destination"},
		"two kinds":       {route.Plan{First: &route.Stage{Extensions: []string{"1"}, Outside: &route.Outside{}}}, "and a number outside"},
		"too wide":        {route.Plan{First: &route.Stage{Extensions: make([]string, route.MaxExtensions+1)}}, "ring together"},
		"refusal":         {route.Plan{Refuse: &route.Refusal{Code: 480}}, ""},
		"no such refusal": {route.Plan{Refuse: &route.Refusal{Code: 200}}, "code 200"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			err := tt.plan.Check()
			if (err == nil) != (tt.want == "") || err != nil && !strings.Contains(err.Error(), tt.want) {
				t.Errorf("got %v, want %q", err, tt.want)
			}
		})
	}
}
