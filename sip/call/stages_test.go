package call

import (
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"linehall/sip/route"
)

// waits are branches of the next stage; each is a group, a wave, and whether it is a gateway.
func waits(branches ...branch) evOpened {
	for i := range branches {
		if branches[i].Code == 0 {
			branches[i].Progress = branchWaiting
		} else {
			branches[i].Progress = branchDone
		}
	}
	return evOpened{branches}
}

func TestMachineStages(t *testing.T) {
	t.Parallel()
	second := &route.Stage{Extensions: []string{"second"}}
	gateways := waits(branch{Group: "out", Outside: true}, branch{Group: "out", Outside: true, Wave: 1}, branch{Group: "out", Outside: true, Wave: 2})
	tests := []struct {
		name   string
		stage  route.Stage
		events []event
		want   []action // of the last event
		phase  phase
	}{
		{
			"the first wave is called",
			route.Stage{},
			[]event{waits(branch{Group: "a"}, branch{Group: "a", Wave: 1}, branch{Group: "b"})},
			[]action{acCall{0}, acCall{2}},
			phaseRinging,
		},
		{
			"the next wave follows the failure of all of the one before",
			route.Stage{},
			[]event{waits(branch{Group: "a"}, branch{Group: "a"}, branch{Group: "a", Wave: 1}), evFailure{0, 486}, evFailure{1, 480}},
			[]action{acCall{2}},
			phaseRinging,
		},
		{
			"waves are each group's own",
			route.Stage{},
			[]event{waits(branch{Group: "a"}, branch{Group: "a", Wave: 1}, branch{Group: "b"}), evFailure{0, 486}},
			[]action{acCall{1}},
			phaseRinging,
		},
		{
			"a wave's time is up",
			route.Stage{},
			[]event{waits(branch{Group: "a"}, branch{Group: "a", Wave: 1}, branch{Group: "b"}), evWaveTimeout{}},
			[]action{acCancel{0}, acCall{1}},
			phaseRinging,
		},
		{
			"the last wave rings on",
			route.Stage{},
			[]event{waits(branch{Group: "a"}, branch{Group: "a", Wave: 1}), evWaveTimeout{}, evWaveTimeout{}},
			nil,
			phaseRinging,
		},
		{
			"a phone whose turn is over may still answer",
			route.Stage{},
			[]event{waits(branch{Group: "a"}, branch{Group: "a", Wave: 1}), evWaveTimeout{}, evAnswer{0, "t"}},
			[]action{acCancel{1}, acAnswer{0, "t"}},
			phaseAnswering,
		},
		{
			"a decline skips the other waves",
			route.Stage{},
			[]event{waits(branch{Group: "a"}, branch{Group: "a", Wave: 1}), evFailure{0, 603}},
			[]action{acReject{603, 0}, acEnd{cause{603, "callee", ""}}},
			phaseEnded,
		},
		{
			"busy leads on",
			route.Stage{Busy: second},
			[]event{waits(branch{Group: "a"}), evFailure{0, 486}},
			[]action{acOpen{second, route.OutcomeBusy}},
			phaseRinging,
		},
		{
			"a decline is busy",
			route.Stage{Busy: second},
			[]event{waits(branch{Group: "a"}), evFailure{0, 603}},
			[]action{acOpen{second, route.OutcomeBusy}},
			phaseRinging,
		},
		{
			"busy before anything rang",
			route.Stage{Busy: second},
			[]event{waits(branch{Group: "a", Code: 486})},
			[]action{acOpen{second, route.OutcomeBusy}},
			phaseRinging,
		},
		{
			"not registered",
			route.Stage{Unreachable: second},
			[]event{waits(branch{Group: "a", Code: 480})},
			[]action{acOpen{second, route.OutcomeUnreachable}},
			phaseRinging,
		},
		{
			"silent phones are unreachable",
			route.Stage{Unreachable: second, NoAnswer: &route.Stage{}},
			[]event{waits(branch{Group: "a"}), evFailure{0, 408}},
			[]action{acOpen{second, route.OutcomeUnreachable}},
			phaseRinging,
		},
		{
			"a phone that rang and says 480 did not answer",
			route.Stage{Unreachable: &route.Stage{}, NoAnswer: second},
			[]event{waits(branch{Group: "a"}), evProvisional{0, "t", 180}, evFailure{0, 480}},
			[]action{acOpen{second, route.OutcomeNoAnswer}},
			phaseRinging,
		},
		{
			"a full line overflows",
			route.Stage{Full: second, Failed: &route.Stage{}},
			[]event{waits(branch{Group: "a"}), evFull{0}},
			[]action{acOpen{second, route.OutcomeFull}},
			phaseRinging,
		},
		{
			"another refusal fails",
			route.Stage{Full: &route.Stage{}, Failed: second},
			[]event{waits(branch{Group: "a"}), evFailure{0, 488}},
			[]action{acOpen{second, route.OutcomeFailed}},
			phaseRinging,
		},
		{
			"time is up",
			route.Stage{NoAnswer: second},
			[]event{waits(branch{Group: "a"}, branch{Group: "a", Wave: 1}), evProvisional{0, "t", 180}, evStageTime{}},
			[]action{acCancel{0}, acOpen{second, route.OutcomeNoAnswer}},
			phaseRinging,
		},
		{
			"time is up and nothing ever rang",
			route.Stage{NoAnswer: &route.Stage{}, Unreachable: second},
			[]event{waits(branch{Group: "a"}), evStageTime{}},
			[]action{acCancel{0}, acOpen{second, route.OutcomeUnreachable}},
			phaseRinging,
		},
		{
			"silence is no answer where no edge says otherwise",
			route.Stage{NoAnswer: second},
			[]event{waits(branch{Group: "a"}), evStageTime{}},
			[]action{acCancel{0}, acOpen{second, route.OutcomeNoAnswer}},
			phaseRinging,
		},
		{
			"time is up and nothing follows",
			route.Stage{Busy: second},
			[]event{waits(branch{Group: "a"}), evStageTime{}},
			[]action{acCancel{0}, acReject{480, -1}, acEnd{cause{480, "system", "no answer"}}},
			phaseEnded,
		},
		{
			"the next stage rings",
			route.Stage{Busy: second},
			[]event{waits(branch{Group: "a"}), evFailure{0, 486}, waits(branch{Group: "second"})},
			[]action{acCall{1}},
			phaseRinging,
		},
		{
			"the caller hears the best of all stages",
			route.Stage{Busy: second},
			[]event{waits(branch{Group: "a"}), evFailure{0, 486}, waits(branch{Group: "second"}), evFailure{1, 408}},
			[]action{acReject{486, 0}, acEnd{cause{486, "callee", ""}}},
			phaseEnded,
		},
		{
			"a cancelled phone's 487 changes nothing in the next stage",
			route.Stage{NoAnswer: second},
			[]event{waits(branch{Group: "a"}), evStageTime{}, waits(branch{Group: "second"}), evFailure{0, 487}},
			nil,
			phaseRinging,
		},
		{
			"nor does it decide what the caller hears",
			route.Stage{NoAnswer: second},
			[]event{waits(branch{Group: "a"}), evStageTime{}, waits(branch{Group: "second"}), evFailure{0, 487}, evFailure{1, 486}},
			[]action{acReject{486, 1}, acEnd{cause{486, "callee", ""}}},
			phaseEnded,
		},
		{
			"the handset lifted at the last moment wins",
			route.Stage{NoAnswer: second},
			[]event{waits(branch{Group: "a"}), evStageTime{}, waits(branch{Group: "second"}), evAnswer{0, "t"}},
			[]action{acCancel{1}, acAnswer{0, "t"}},
			phaseAnswering,
		},
		{
			"but not when the next stage has answered",
			route.Stage{NoAnswer: second},
			[]event{waits(branch{Group: "a"}), evStageTime{}, waits(branch{Group: "second"}), evAnswer{1, "u"}, evAnswerTaken{}, evAnswer{0, "t"}},
			[]action{acDrop{0, "t"}},
			phaseAccepted,
		},
		{
			"answered while the next stage is looked for",
			route.Stage{NoAnswer: second},
			[]event{waits(branch{Group: "a"}), evStageTime{}, evAnswer{0, "t"}, evAnswerTaken{}, waits(branch{Group: "second"})},
			nil,
			phaseAccepted,
		},
		{
			"cancelled while the next stage is looked for",
			route.Stage{NoAnswer: second},
			[]event{waits(branch{Group: "a"}), evStageTime{}, evCallerGone{"cancelled"}},
			[]action{acReject{487, -1}, acEnd{cause{487, "caller", "cancelled"}}},
			phaseEnded,
		},
		{
			"cancelled in the next stage",
			route.Stage{NoAnswer: second},
			[]event{waits(branch{Group: "a"}), evStageTime{}, waits(branch{Group: "second"}, branch{Group: "second", Wave: 1}), evCallerGone{"cancelled"}},
			[]action{acCancel{1}, acReject{487, -1}, acEnd{cause{487, "caller", "cancelled"}}},
			phaseEnded,
		},
		{
			"all stages together take too long",
			route.Stage{NoAnswer: second},
			[]event{waits(branch{Group: "a"}), evRingTimeout{}},
			[]action{acCancel{0}, acReject{480, -1}, acEnd{cause{480, "system", "no answer"}}},
			phaseEnded,
		},
		{
			"a redirection is looked at when nobody else answers",
			route.Stage{},
			[]event{waits(branch{Group: "a"}, branch{Group: "b"}), evFailure{0, 302}, evFailure{1, 486}},
			[]action{acDeflect{0}},
			phaseRinging,
		},
		{
			"it leads on",
			route.Stage{Failed: &route.Stage{}},
			[]event{waits(branch{Group: "a"}), evFailure{0, 302}, evDeflected{0, second}},
			[]action{acOpen{second, route.OutcomeDeflected}},
			phaseRinging,
		},
		{
			"where it does not, the caller may",
			route.Stage{},
			[]event{waits(branch{Group: "a"}), evFailure{0, 302}, evDeflected{0, nil}},
			[]action{acReject{302, 0}, acEnd{cause{302, "callee", ""}}},
			phaseEnded,
		},
		{
			"a redirection that was followed is not told",
			route.Stage{},
			[]event{waits(branch{Group: "a"}), evFailure{0, 302}, evDeflected{0, second}, waits(branch{Group: "second"}), evFailure{1, 486}},
			[]action{acReject{486, 1}, acEnd{cause{486, "callee", ""}}},
			phaseEnded,
		},
		{
			"cancelled while it is looked at",
			route.Stage{},
			[]event{waits(branch{Group: "a"}), evFailure{0, 302}, evCallerGone{"cancelled"}, evDeflected{0, second}},
			nil,
			phaseEnded,
		},
		{
			"gateways are tried one by one",
			route.Stage{},
			[]event{gateways},
			[]action{acCall{0}},
			phaseRinging,
		},
		{
			"the next gateway after 503",
			route.Stage{},
			[]event{gateways, evFailure{0, 503}},
			[]action{acCall{1}},
			phaseRinging,
		},
		{
			"the next gateway after a lost connection",
			route.Stage{},
			[]event{gateways, evFailure{0, 430}, evFailure{1, 408}},
			[]action{acCall{2}},
			phaseRinging,
		},
		{
			"no further gateway after busy",
			route.Stage{},
			[]event{gateways, evFailure{0, 486}},
			[]action{acReject{486, 0}, acEnd{cause{486, "callee", ""}}},
			phaseEnded,
		},
		{
			"no further gateway after an unknown number",
			route.Stage{},
			[]event{gateways, evFailure{0, 503}, evFailure{1, 404}},
			[]action{acReject{404, 1}, acEnd{cause{404, "callee", ""}}},
			phaseEnded,
		},
		{
			"a silent gateway is given up for the next one",
			route.Stage{},
			[]event{gateways, evSilence{0}},
			[]action{acCancel{0}, acCall{1}},
			phaseRinging,
		},
		{"a gateway that said 100 is not silent", route.Stage{}, []event{gateways, evProvisional{0, "", 100}, evSilence{0}}, nil, phaseRinging},
		{
			"the last gateway has its whole transaction",
			route.Stage{},
			[]event{gateways, evFailure{0, 503}, evFailure{1, 503}, evSilence{2}},
			nil,
			phaseRinging,
		},
		{
			"no gateway responded",
			route.Stage{Unreachable: second},
			[]event{gateways, evSilence{0}, evFailure{1, 503}, evFailure{2, 500}},
			[]action{acOpen{second, route.OutcomeUnreachable}},
			phaseRinging,
		},
		{"a gateway that rings keeps its turn", route.Stage{}, []event{gateways, evProvisional{0, "t", 180}, evWaveTimeout{}}, nil, phaseRinging},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			m := newMachine(&tt.stage)
			got := feed(m, tt.events...)
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Errorf("actions (-want +got):\n%s", diff)
			}
			if m.Phase != tt.phase {
				t.Errorf("phase %d, want %d", m.Phase, tt.phase)
			}
		})
	}
}

// A tree of stages with random events ends, once, with every branch that was called accounted for.
func TestMachineStageProperties(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		var tree func(depth int) *route.Stage
		tree = func(depth int) *route.Stage {
			if depth == 0 || !rapid.Bool().Draw(t, "edge") {
				return nil
			}
			return &route.Stage{Busy: tree(depth - 1), NoAnswer: tree(depth - 1), Failed: tree(depth - 1)}
		}
		m := newMachine(&route.Stage{Busy: tree(3), NoAnswer: tree(3), Unreachable: tree(3)})
		called, done, cancelled := map[int]bool{}, map[int]bool{}, map[int]bool{}
		final, ended, answers := 0, 0, 0
		deflecting := -1
		count := func(actions []action) {
			for _, a := range actions {
				switch a := a.(type) {
				case acDeflect:
					deflecting = a.Branch
				case acCall:
					if called[a.Branch] || m.Branches[a.Branch].Stage != m.Stages {
						t.Fatalf("branch %d was called twice or out of its stage", a.Branch)
					}
					called[a.Branch] = true
				case acCancel:
					if !called[a.Branch] || done[a.Branch] || cancelled[a.Branch] {
						t.Fatalf("branch %d was cancelled without need", a.Branch)
					}
					cancelled[a.Branch] = true
				case acReject:
					final++
				case acAnswer:
					answers++
				case acEnd:
					ended++
				}
			}
		}
		open := func() {
			if b := deflecting; b >= 0 {
				deflecting = -1
				var next *route.Stage
				if rapid.Bool().Draw(t, "followed") {
					next = &route.Stage{}
				}
				count(m.step(evDeflected{b, next}))
				return
			}
			n := rapid.IntRange(0, 4).Draw(t, "branches")
			var branches []branch
			for range n {
				branches = append(branches, branch{
					Group: rapid.SampledFrom([]string{"a", "b"}).Draw(t, "group"), Wave: rapid.IntRange(0, 2).Draw(t, "wave"),
					Outside: rapid.Bool().Draw(t, "outside"), Code: rapid.SampledFrom([]int{0, 0, 0, 480, 486}).Draw(t, "known"),
				})
			}
			count(m.step(waits(branches...)))
		}
		for range rapid.IntRange(0, 60).Draw(t, "events") {
			if m.Opening && rapid.Bool().Draw(t, "found") {
				open()
			}
			var live []int
			for b := range m.Branches { // in order, so that a failure can be shrunk
				if called[b] && !done[b] {
					live = append(live, b)
				}
			}
			kind := rapid.IntRange(0, 9).Draw(t, "kind")
			if len(live) == 0 && kind < 6 {
				continue
			}
			b := -1
			if len(live) > 0 {
				b = rapid.SampledFrom(live).Draw(t, "branch")
			}
			switch kind {
			case 0:
				count(m.step(evProvisional{b, "t", rapid.SampledFrom([]int{100, 180}).Draw(t, "provisional")}))
			case 1, 2, 3:
				done[b] = true
				count(m.step(evFailure{b, rapid.SampledFrom([]int{302, 404, 408, 430, 480, 486, 488, 500, 503, 603}).Draw(t, "code")}))
			case 4:
				if rapid.IntRange(0, 3).Draw(t, "answer") > 0 {
					break
				}
				done[b] = true
				count(m.step(evAnswer{b, "t"}))
				if m.Phase == phaseAnswering {
					count(m.step(evAnswerTaken{}))
				}
			case 5:
				count(m.step(evSilence{b}))
			case 6:
				count(m.step(evStageTime{}))
			case 7:
				count(m.step(evWaveTimeout{}))
			case 8:
				if rapid.IntRange(0, 9).Draw(t, "cancel") == 0 {
					count(m.step(evCallerGone{"cancelled"}))
				}
			}
		}
		for range 3 * mostStages { // time passes
			if m.Opening {
				open()
			}
			count(m.step(evStageTime{}))
		}
		for b := range called {
			if !done[b] {
				count(m.step(evFailure{b, 487}))
			}
		}
		if m.Phase == phaseAccepted {
			if answers != 1 || final != 0 || ended != 0 {
				t.Fatalf("established with %d answers, %d final responses, %d ends", answers, final, ended)
			}
			count(m.step(evBye{callee}))
		}
		if ended != 1 || final+answers != 1 || !m.quiet() {
			t.Fatalf("%d ends, %d final responses, %d answers, quiet %v", ended, final, answers, m.quiet())
		}
	})
}
