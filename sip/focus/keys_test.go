package focus

import (
	"testing"
	"time"
)

func TestCodes(t *testing.T) {
	t.Parallel()
	now := time.Unix(1000, 0)
	for name, c := range map[string]struct {
		keys string
		want []Act
	}{
		"mute":                       {"*6", []Act{ToggleMute}},
		"digits alone mean nothing":  {"5612", nil},
		"a star begins anew":         {"**5", []Act{ToggleHand}},
		"an unknown code is dropped": {"*05*6", []Act{ToggleMute}},
		"the end takes two nines":    {"*9*99", []Act{EndMeeting}},
		"one nine and another key":   {"*91*7", []Act{AnswerRoll}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var k collector
			var got []Act
			for _, key := range []byte(c.keys) {
				if a := k.code(key, now); a != 0 {
					got = append(got, a)
				}
			}
			if len(got) != len(c.want) || len(got) > 0 && got[0] != c.want[0] {
				t.Errorf("%q gives %v, want %v", c.keys, got, c.want)
			}
		})
	}
	var k collector
	k.code('*', now)
	if a := k.code('6', now.Add(codePause+time.Second)); a != 0 {
		t.Errorf("a code goes on after a pause: %v", a)
	}
}

func TestPINEntry(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		keys    string
		lengths []int
		pin     string
		whole   bool
	}{
		"by its length":           {"2468", []int{4}, "2468", true},
		"a longer one may follow": {"2468", []int{4, 6}, "2468", false},
		"ended by a hash":         {"24680#", nil, "24680", true},
		"begun anew":              {"99*2468", []int{4}, "2468", true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var k collector
			pin, try, whole := "", false, false
			for _, key := range []byte(c.keys) {
				pin, try, whole = k.pin(key, c.lengths)
			}
			if pin != c.pin || !try || whole != c.whole {
				t.Errorf("%q, try %v, whole %v; want %q, whole %v", pin, try, whole, c.pin, c.whole)
			}
		})
	}
}

func TestWrongPINsAreCountedByCaller(t *testing.T) {
	t.Parallel()
	p, now := newPINs(), time.Unix(1000, 0)
	for range callerTries {
		if p.blocked("8001", now) {
			t.Fatal("blocked too early")
		}
		p.failed("8001", now)
	}
	if !p.blocked("8001", now) || p.blocked("8002", now) || p.blocked(outside, now) {
		t.Error("only 8001 is to be blocked")
	}
	if p.blocked("8001", now.Add(pinWindow+time.Second)) {
		t.Error("blocked for ever")
	}
	for range outsideTries {
		p.failed(outside, now)
	}
	if !p.blocked(outside, now) {
		t.Error("guessing from outside is not limited over all numbers together")
	}
}
