package call

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"linehall/sip/route"
)

// run feeds events and returns the actions of the last one.
func feed(m *machine, events ...event) []action {
	var last []action
	for _, ev := range events {
		last = m.step(ev)
	}
	return last
}

// calling is a machine whose only stage rings one branch per group, all at once.
func calling(groups []string) *machine {
	m := newMachine(&route.Stage{})
	var branches []branch
	for _, g := range groups {
		branches = append(branches, branch{Group: g, Progress: branchWaiting})
	}
	m.step(evOpened{branches})
	return m
}

func TestMachine(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name   string
		groups []string
		events []event
		want   []action // of the last event
		phase  phase
	}{
		{
			"ringing is relayed",
			[]string{"a"},
			[]event{evProvisional{0, "t", 180}},
			[]action{acRelay{0, "t", 180}},
			phaseRinging,
		},
		{"100 is not", []string{"a"}, []event{evProvisional{0, "", 100}}, nil, phaseRinging},
		{
			"first answer wins and cancels the others",
			[]string{"a", "a", "b"},
			[]event{evProvisional{0, "t", 180}, evAnswer{1, "u"}},
			[]action{acCancel{0}, acCancel{2}, acAnswer{1, "u"}},
			phaseAnswering,
		},
		{
			"second answer is dropped",
			[]string{"a", "a"},
			[]event{evAnswer{1, "u"}, evAnswerTaken{}, evAnswer{0, "t"}},
			[]action{acDrop{0, "t"}},
			phaseAccepted,
		},
		{
			"second fork of the winner is dropped",
			[]string{"a"},
			[]event{evAnswer{0, "u"}, evAnswerTaken{}, evAck{}, evAnswer{0, "v"}},
			[]action{acDrop{0, "v"}},
			phaseUp,
		},
		{
			"a ringing call gives way",
			[]string{"a"},
			[]event{evProvisional{0, "t", 180}, evPreempted{488, "p"}},
			[]action{acCancel{0}, acReject{488, -1}, acEnd{cause{488, "system", "p"}}},
			phaseEnded,
		},
		{
			"an established call gives way",
			[]string{"a"},
			[]event{evAnswer{0, "t"}, evAnswerTaken{}, evAck{}, evPreempted{488, "p"}},
			[]action{acBye{caller, "p"}, acBye{callee, "p"}, acEnd{cause{200, "system", "p"}}},
			phaseEnded,
		},
		{"an ended call has no place to give", []string{"a"}, []event{evCallerGone{}, evPreempted{488, "p"}}, nil, phaseEnded},
		{
			"cancel",
			[]string{"a", "b"},
			[]event{evFailure{0, 486}, evCallerGone{"cancelled"}},
			[]action{acCancel{1}, acReject{487, -1}, acEnd{cause{487, "caller", "cancelled"}}},
			phaseEnded,
		},
		{
			"the lost race: 200 after CANCEL",
			[]string{"a"},
			[]event{evCallerGone{"cancelled"}, evAnswer{0, "t"}},
			[]action{acDrop{0, "t"}},
			phaseEnded,
		},
		{"CANCEL after the answer changes nothing", []string{"a"}, []event{evAnswer{0, "t"}, evAnswerTaken{}, evCallerGone{}}, nil, phaseAccepted},
		{
			"the phone leaves while its peer is fetched",
			[]string{"a"},
			[]event{evAnswer{0, "t"}, evBye{callee}},
			[]action{acReject{480, -1}, acEnd{cause{480, "callee", "hung up before the answer could go on"}}},
			phaseEnded,
		},
		{
			"handed over",
			[]string{"a"},
			[]event{evAnswer{0, "t"}, evAnswerTaken{}, evAck{}, evHandedOver{By: callee}},
			[]action{acBye{callee, "transferred"}, acEnd{cause{200, "callee", "transferred"}}},
			phaseEnded,
		},
		{
			"cancelled while the answer is stored",
			[]string{"a"},
			[]event{evAnswer{0, "t"}, evCallerGone{"cancelled"}},
			[]action{acBye{callee, "caller gone"}, acReject{487, -1}, acEnd{cause{487, "caller", "cancelled"}}},
			phaseEnded,
		},
		{
			"all busy",
			[]string{"a", "a"},
			[]event{evFailure{0, 486}, evFailure{1, 486}},
			[]action{acReject{486, 0}, acEnd{cause{486, "callee", ""}}},
			phaseEnded,
		},
		{
			"busy beats silence",
			[]string{"a", "a"},
			[]event{evFailure{0, 408}, evFailure{1, 486}},
			[]action{acReject{486, 1}, acEnd{cause{486, "callee", ""}}},
			phaseEnded,
		},
		{
			"503 becomes 500",
			[]string{"a"},
			[]event{evFailure{0, 503}},
			[]action{acReject{500, 0}, acEnd{cause{500, "callee", ""}}},
			phaseEnded,
		},
		{
			"decline ends its own extension only",
			[]string{"a", "a", "b"},
			[]event{evFailure{0, 603}},
			[]action{acCancel{1}},
			phaseRinging,
		},
		{
			"the other desk answers after a decline",
			[]string{"a", "b"},
			[]event{evFailure{0, 603}, evAnswer{1, "t"}},
			[]action{acAnswer{1, "t"}},
			phaseAnswering,
		},
		{
			"decline decides when nobody is left",
			[]string{"a", "b"},
			[]event{evFailure{1, 486}, evFailure{0, 603}},
			[]action{acReject{603, 0}, acEnd{cause{603, "callee", ""}}},
			phaseEnded,
		},
		{
			"no answer",
			[]string{"a"},
			[]event{evProvisional{0, "t", 180}, evRingTimeout{}},
			[]action{acCancel{0}, acReject{480, -1}, acEnd{cause{480, "system", "no answer"}}},
			phaseEnded,
		},
		{
			"media refused",
			[]string{"a"},
			[]event{evAnswer{0, "t"}, evAnswerRefused{488}},
			[]action{acBye{callee, "media refused"}, acReject{488, 0}, acEnd{cause{488, "system", "media refused"}}},
			phaseEnded,
		},
		{
			"callee hangs up",
			[]string{"a"},
			[]event{evAnswer{0, "t"}, evAnswerTaken{}, evAck{}, evBye{callee}},
			[]action{acBye{caller, ""}, acEnd{cause{200, "callee", ""}}},
			phaseEnded,
		},
		{
			"caller hangs up while ringing",
			[]string{"a"},
			[]event{evBye{caller}},
			[]action{acCancel{0}, acReject{487, -1}, acEnd{cause{487, "caller", "bye"}}},
			phaseEnded,
		},
		{
			"operator hangs up",
			[]string{"a"},
			[]event{evAnswer{0, "t"}, evAnswerTaken{}, evHangup{"operator", "test"}},
			[]action{acBye{caller, "test"}, acBye{callee, "test"}, acEnd{cause{200, "operator", "test"}}},
			phaseEnded,
		},
		{"an ended call stays ended", []string{"a"}, []event{evFailure{0, 404}, evHangup{"operator", ""}, evRingTimeout{}}, nil, phaseEnded},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			m := calling(tt.groups)
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

// Whatever happens in whatever order, a call ends once, its caller gets one final response and
// an answered branch is either the call's, or dropped, or said good-bye to.
func TestMachineProperties(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		n := rapid.IntRange(1, 4).Draw(t, "branches")
		groups := make([]string, n)
		for i := range groups {
			groups[i] = rapid.SampledFrom([]string{"a", "b"}).Draw(t, "group")
		}
		m := calling(groups)
		final, ended, answers := 0, 0, 0
		done := make([]bool, n)
		var count func(actions []action)
		count = func(actions []action) {
			for _, a := range actions {
				switch a := a.(type) {
				case acDeflect:
					count(m.step(evDeflected{a.Branch, nil}))
				case acReject:
					final++
					if a.Code < 300 || a.Code == 503 || a.Code == 401 {
						t.Fatalf("the caller was given %d", a.Code)
					}
				case acAnswer:
					answers++
				case acEnd:
					ended++
				case acCancel:
					if done[a.Branch] {
						t.Fatalf("branch %d was cancelled after its end", a.Branch)
					}
				case acRelay:
					if answers > 0 || ended > 0 {
						t.Fatal("a provisional response after the end of the set-up")
					}
				}
			}
		}
		for range rapid.IntRange(0, 30).Draw(t, "events") {
			b := rapid.IntRange(0, n-1).Draw(t, "branch")
			kind := rapid.IntRange(0, 9).Draw(t, "kind")
			if done[b] && kind <= 2 {
				kind = 9 // a transaction has one final response
			}
			switch kind {
			case 0:
				count(m.step(evProvisional{b, "t", 180}))
			case 1:
				done[b] = true
				was := m.Phase
				got := m.step(evAnswer{b, "t"})
				if was != phaseRinging {
					if diff := cmp.Diff([]action{acDrop{b, "t"}}, got); diff != "" {
						t.Fatal(diff)
					}
				}
				count(got)
				if m.Phase == phaseAnswering { // the shell reports the answer's fate at once
					if rapid.Bool().Draw(t, "usable") {
						count(m.step(evAnswerTaken{}))
					} else {
						count(m.step(evAnswerRefused{488}))
					}
				}
			case 2:
				done[b] = true
				count(m.step(evFailure{b, rapid.SampledFrom([]int{302, 401, 404, 408, 430, 480, 486, 487, 488, 500, 503, 600, 603}).Draw(t, "code")}))
			case 3:
				count(m.step(evCallerGone{"cancelled"}))
			case 4:
				count(m.step(evRingTimeout{}))
			case 5:
				count(m.step(evAck{}))
			case 6:
				count(m.step(evBye{caller}))
			case 7:
				count(m.step(evHangup{"operator", "x"}))
			}
		}
		for b := range n { // every transaction ends some time
			if !done[b] {
				count(m.step(evFailure{b, 487}))
			}
		}
		if m.Phase == phaseAccepted || m.Phase == phaseUp {
			if answers != 1 || final != 0 || ended != 0 {
				t.Fatalf("established with %d answers, %d final responses, %d ends", answers, final, ended)
			}
			count(m.step(evBye{callee}))
			if final != 0 || ended != 1 {
				t.Fatalf("hung up: %d final responses, %d ends", final, ended)
			}
		} else if ended != 1 || answers == 0 && final != 1 || final > 1 {
			t.Fatalf("ended with %d answers, %d final responses, %d ends", answers, final, ended)
		}
		if !m.quiet() {
			t.Fatal("the owner would never end")
		}
	})
}

func TestExchange(t *testing.T) {
	t.Parallel()
	var x exchange
	if code := x.admit(caller); code != 0 {
		t.Fatalf("free: %d", code)
	}
	if code := x.admit(callee); code != 491 {
		t.Errorf("glare: %d, want 491", code)
	}
	if code := x.admit(caller); code != 500 {
		t.Errorf("twice from one side: %d, want 500", code)
	}
	x.done()
	if code := x.admit(callee); code != 0 {
		t.Errorf("free again: %d", code)
	}
}

func TestBestBranch(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name  string
		codes []int
		want  int // the code that the caller gets
	}{
		{"6xx first", []int{486, 603, 302}, 603},
		{"redirection before busy", []int{486, 302}, 302},
		{"busy before line full", []int{488, 486}, 486},
		{"line full before silence", []int{408, 488}, 488},
		{"4xx before 5xx", []int{500, 404}, 404},
		{"the first of equals", []int{404, 410}, 404},
		{"a phone's challenge", []int{401}, 480},
		{"a lost connection", []int{430}, 480},
		{"Timer C", []int{487}, 480},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			var branches []branch
			for _, c := range tt.codes {
				branches = append(branches, branch{Code: c})
			}
			if got := relayedCode(branches[bestBranch(branches)].Code); got != tt.want {
				t.Errorf("got %d, want %d", got, tt.want)
			}
		})
	}
}

func TestNewIDSorts(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		a, b := rapid.Int64Range(0, 1<<47).Draw(t, "a"), rapid.Int64Range(0, 1<<47).Draw(t, "b")
		ia, ib := newID(time.UnixMilli(a)), newID(time.UnixMilli(b))
		if len(ia) != 26 || (a < b) != (ia < ib) && a != b {
			t.Fatalf("%d %s, %d %s", a, ia, b, ib)
		}
	})
}
