package guard

import (
	"fmt"
	"testing"
	"time"
)

// asker is somebody who asks for one number after the other, through the gate.
type asker struct {
	every time.Duration
	port  func(i int) int
	st    Standing
	from  string
}

// run asks for so long, looks at the line as Run does, and returns how many answers there were and the bans.
func (a asker) run(c *core, length time.Duration) (answers int, bans []Ban) {
	who := func() Standing { return a.st }
	nobody := func() bool { return false }
	waits, looked := map[int]bool{}, begin
	for at, i := time.Duration(0), 0; at < length && len(bans) == 0; at, i = at+a.every, i+1 {
		now, remote, what := begin.Add(at), from(a.port(i)), c.hash(a.from, fmt.Sprint(8001+i))
		if c.enter(now, remote, what, false, a.st, nobody) {
			if bans = c.challenged(now, remote, what, who); len(bans) == 0 {
				answers++
			}
		} else {
			waits[a.port(i)] = true
		}
		if now.Sub(looked) < lookEvery {
			continue
		}
		looked = now
		for port := range waits {
			if len(bans) == 0 {
				bans = c.scan(now, from(port), who, true)
			}
		}
		clear(waits)
	}
	return answers, bans
}

// However fast somebody goes through the numbers: fewer than twenty answers, and a ban.
func TestScansAtAnyRate(t *testing.T) {
	t.Parallel()
	one, each := func(int) int { return 0 }, func(i int) int { return i % 2000 }
	for _, v := range []struct {
		name string
		port func(i int) int
		st   Standing
		kind Kind // "": slowed down only
	}{
		{"one port", one, Standing{}, Address},
		{"a new port each", each, Standing{}, Address},
		{"one port beside phones", one, Standing{Address: true}, Flow},
		{"a new port each, beside phones", each, Standing{Address: true}, ""},
	} {
		for _, rate := range []int{1, 2, 3, 4, 5, 6, 8, 10, 20, 50, 100, 1000, 5000} {
			c := newCore(config, 10000)
			a := asker{every: time.Second / time.Duration(rate), port: v.port, st: v.st}
			answers, bans := a.run(c, 25*time.Second)
			switch {
			case v.kind == "":
				if most := 16*9 + 1; answers > most || len(bans) != 0 {
					t.Errorf("%s, %d/s: %d answers, want at most %d in 25 s; bans %+v", v.name, rate, answers, most, bans)
				}
			case answers >= 20 || len(bans) == 0 || bans[0].Kind != v.kind || bans[0].Reason != Scan:
				t.Errorf("%s, %d/s: %d answers, bans %+v", v.name, rate, answers, bans)
			}
		}
	}
}

// What phones do passes: they answer, and those of a building that have not begun to answer wait a moment.
func TestPhonesPassTheGate(t *testing.T) {
	t.Parallel()
	nobody := func() bool { return false }
	c := newCore(config, 1000)
	enter := func(at time.Duration, port int, user string) bool {
		return c.enter(begin.Add(at), from(port), c.hash(user, user), false, Standing{}, nobody)
	}
	for i := range 16 {
		if !enter(0, i, fmt.Sprint(i)) {
			t.Fatalf("phone %d waits", i)
		}
	}
	if enter(0, 16, "16") {
		t.Error("the seventeenth phone does not wait")
	}
	if !c.enter(begin, from(3), c.hash("3", "3"), true, Standing{}, nobody) {
		t.Error("an answer waits")
	}
	c.answered(from(3), c.hash("3", "3"))
	c.succeeded(begin, from(3), "3")
	if !enter(0, 16, "16") || !enter(0, 17, "17") || enter(0, 18, "18") {
		t.Error("one answer does not make room for two")
	}
	if !enter(0, 3, "40") {
		t.Error("a phone waits that was right")
	}
	// Those that were lost on the way are late; what they had extra is halved, and they are no scan.
	if !enter(patience, 18, "18") {
		t.Error("the place of a lost phone is not free")
	}
	if enter(patience, 19, "8001") != true {
		t.Error("no place after all were lost")
	}
}

// A phone that is registered from the address is not kept waiting by a scan from there, not even with a new port.
func TestPhonesAtHomePassAScan(t *testing.T) {
	t.Parallel()
	c := newCore(config, 1000)
	st := Standing{Address: true}
	asker{every: time.Millisecond, port: func(i int) int { return i }, st: st}.run(c, 100*time.Millisecond)
	at := begin.Add(100 * time.Millisecond)
	home, stranger := func() bool { return true }, func() bool { return false }
	if c.enter(at, from(2000), c.hash("7", "7"), false, st, stranger) {
		t.Error("a stranger has a place before the scanner's questions are late")
	}
	if !c.enter(at, from(2000), c.hash("7", "7"), false, st, home) {
		t.Error("a phone that is at home here waits")
	}
	if c.enter(at, from(2001), c.hash("7", "7"), false, st, home) {
		t.Error("its question is asked twice at once")
	}
	if !c.enter(at, from(0), c.hash("9", "9"), false, Standing{Address: true, Flow: true}, stranger) || !c.enter(at, from(0), c.hash("9", "9"), false, Standing{Gateway: true}, stranger) {
		t.Error("a registered phone or a gateway waits")
	}
}

// While the machine was busy nobody could answer.
func TestTimeThatDoesNotCount(t *testing.T) {
	t.Parallel()
	c := newCore(config, 1000)
	who := func() Standing { return Standing{} }
	asker{every: time.Millisecond, port: func(int) int { return 0 }}.run(c, 100*time.Millisecond)
	c.excuse(from(0), false, 2*time.Second)
	c.excuse(from(0), true, 2*time.Second)
	if bans := c.scan(begin.Add(4*time.Second), from(0), who, true); len(bans) != 0 {
		t.Errorf("shut out: %+v", bans)
	}
	if bans := c.scan(begin.Add(6*time.Second), from(0), who, true); len(bans) != 1 {
		t.Errorf("not shut out: %+v", bans)
	}
}
