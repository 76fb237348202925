package call_test

import (
	"testing"
	"time"

	"linehall/sip/call"
	"linehall/sip/cdr"
	"linehall/sip/route"
)

// hunting is a hunt group of three, one after the other; whoever is busy or does not answer is passed over.
func hunting(ring time.Duration) routes {
	third := &route.Stage{Extensions: []string{"8003"}, Ring: ring}
	second := &route.Stage{Extensions: []string{"8002"}, Ring: ring, Busy: third, NoAnswer: third, Unreachable: third}
	return routes{"8009": {First: &route.Stage{Extensions: []string{"2001"}, Ring: ring, Busy: second, NoAnswer: second, Unreachable: second}}}
}

// A hunt group over two restarts: the member whose turn it is rings on, those before it are left
// alone, those after it have their turn.
func TestHuntGroupRestarted(t *testing.T) {
	t.Parallel()
	o := labOptions{router: hunting(time.Minute)}
	x := newExchange(t, o)
	a := newPhone(t, x, "8001", "UDP", "127.0.0.11")
	first, second, third := newPhone(t, x, "2001", "UDP", "127.0.1.12"), newPhone(t, x, "8002", "UDP", "127.0.0.12"), newPhone(t, x, "8003", "UDP", "127.0.0.13")
	for _, p := range []*phone{a, first, second, third} {
		p.register()
	}
	a.invite("8009", sdpFrom(a.local))
	first.fail(first.request("INVITE"), 486, "Busy Here")
	inv := second.request("INVITE")
	second.tag = token()
	second.send(second.reply(inv, 180, "Ringing", ""))
	a.status("INVITE", 180)
	x.wantStates(second.tag)
	x.restart(o)
	a.wantRepeated()
	second.send(second.reply(sameRequest(t, second, inv), 180, "Ringing", ""))
	a.status("INVITE", 180)
	if s := x.calls.Snapshot(); len(s) != 1 || s[0].State != call.StateRinging {
		t.Errorf("calls %+v", s)
	}
	second.fail(inv, 486, "Busy Here")
	last := third.request("INVITE")
	if last.header("Call-ID") == inv.header("Call-ID") {
		t.Error("the next member's call is that of the one before")
	}
	third.tag = token()
	third.send(third.reply(last, 180, "Ringing", ""))
	x.wantStates(third.tag)
	x.restart(o)
	sameRequest(t, third, last)
	third.pickUp(a, last).hangUpFrom(a)
	for _, p := range []*phone{first, second} {
		p.quiet("an INVITE", func(m *message) bool { return m.method() == "INVITE" })
	}
	r := x.wantRecords(1)[0]
	wantSteps(t, r, "1 2001 486", "2 8002 486", "3 8003 200")
	if r.Result != cdr.Answered || r.To != "8003" {
		t.Errorf("record %+v", r)
	}
	x.wantNothing()
}

// A member's time goes on while the process is away: the next one has its turn.
func TestTurnOverRestart(t *testing.T) {
	t.Parallel()
	o := labOptions{router: hunting(1500 * time.Millisecond)}
	x := newExchange(t, o)
	a, first, second := newPhone(t, x, "8001", "UDP", "127.0.0.11"), newPhone(t, x, "2001", "UDP", "127.0.1.12"), newPhone(t, x, "8002", "UDP", "127.0.0.12")
	for _, p := range []*phone{a, first, second} {
		p.register()
	}
	a.invite("8009", sdpFrom(a.local))
	inv := first.request("INVITE")
	first.tag = token()
	first.send(first.reply(inv, 180, "Ringing", ""))
	x.wantStates(first.tag)
	x.restart(o)
	first.send(first.reply(sameRequest(t, first, inv), 180, "Ringing", ""))
	first.send(first.reply(first.request("CANCEL"), 200, "OK", ""))
	first.fail(inv, 487, "Request Terminated")
	second.pickUp(a, second.request("INVITE")).hangUpFrom(a)
	wantSteps(t, x.wantRecords(1)[0], "1 2001 487", "2 8002 200")
	x.wantNothing()
}
