package call_test

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"linehall/sip/call"
	"linehall/sip/cdr"
	"linehall/sip/route"
)

// routes is a router made of a table: the called number's plan.
type routes map[string]route.Plan

func (r routes) Route(_ context.Context, req route.Request) route.Plan {
	if p, ok := r[req.Decision.Number]; ok {
		return p
	}
	return route.Plan{First: &route.Stage{Extensions: req.Decision.Targets}}
}

// to is a stage that rings extensions.
func to(extensions ...string) *route.Stage { return &route.Stage{Extensions: extensions} }

// steps writes a record's legs down as "stage extension code".
func steps(r cdr.Record) []string {
	var out []string
	for _, l := range r.Legs {
		out = append(out, fmt.Sprintf("%d %s %d", l.Stage, l.Extension, l.Code))
	}
	return out
}

func wantSteps(t *testing.T, r cdr.Record, want ...string) {
	t.Helper()
	if diff := cmp.Diff(want, steps(r)); diff != "" {
		t.Errorf("legs (-want +got):\n%s", diff)
	}
}

// three are registered phones of 8001, 8002 and 8003.
func three(t *testing.T, o labOptions) (x *exchange, a, b, c *phone) {
	t.Helper()
	x = newExchange(t, o)
	a, b, c = newPhone(t, x, "8001", "UDP", "127.0.0.11"), newPhone(t, x, "8002", "UDP", "127.0.0.12"), newPhone(t, x, "8003", "TCP", "127.0.0.13")
	for _, p := range []*phone{a, b, c} {
		p.register()
	}
	return x, a, b, c
}

// fail refuses an INVITE and takes the ACK.
func (p *phone) fail(inv *message, code int, reason string, extra ...[2]string) {
	p.t.Helper()
	p.send(p.reply(inv, code, reason, "", extra...))
	p.request("ACK")
}

// pickUp answers an INVITE of the caller a's call and returns the call.
func (p *phone) pickUp(a *phone, inv *message) *talk {
	p.t.Helper()
	p.tag = token()
	p.send(p.reply(inv, 180, "Ringing", ""))
	p.send(p.reply(inv, 200, "OK", sdpFrom(p.local)))
	ok := a.status("INVITE", 200)
	da, db := a.dialogOfCaller(ok), p.dialogOfCallee(inv)
	p.request("ACK")
	da.send("ACK", "")
	return &talk{a: a, b: p, da: da, db: db, invite: inv, ok: ok}
}

func TestForwardOnBusy(t *testing.T) {
	x, a, b, c := three(t, labOptions{router: routes{"8002": {First: &route.Stage{
		Extensions: []string{"8002"},
		Busy:       &route.Stage{Extensions: []string{"8003"}, Diversion: &route.Diversion{From: "8002", Reason: route.UserBusy}},
	}}}})
	a.invite("8002", sdpFrom(a.local))
	b.fail(b.request("INVITE"), 486, "Busy Here")
	c.pickUp(a, c.request("INVITE")).hangUpFrom(a)
	r := x.wantRecords(1)[0]
	wantSteps(t, r, "1 8002 486", "2 8003 200")
	if r.To != "8003" || r.Dialled != "8002" || r.Result != cdr.Answered {
		t.Errorf("record %+v", r)
	}
}

func TestForwardOnNoAnswer(t *testing.T) {
	x, a, b, c := three(t, labOptions{router: routes{"8002": {First: &route.Stage{
		Extensions: []string{"8002"}, Ring: 200 * time.Millisecond, NoAnswer: to("8003"),
	}}}})
	a.invite("8002", sdpFrom(a.local))
	inv := b.request("INVITE")
	b.send(b.reply(inv, 180, "Ringing", ""))
	a.status("INVITE", 180)
	cancel := b.request("CANCEL")
	b.send(b.reply(cancel, 200, "OK", ""))
	b.fail(inv, 487, "Request Terminated")
	c.pickUp(a, c.request("INVITE")).hangUpFrom(a)
	wantSteps(t, x.wantRecords(1)[0], "1 8002 487", "2 8003 200")
}

func TestForwardWhenUnreachable(t *testing.T) {
	x := newExchange(t, labOptions{router: routes{"8002": {First: &route.Stage{Extensions: []string{"8002"}, Unreachable: to("8003")}}}})
	a, c := newPhone(t, x, "8001", "UDP", "127.0.0.11"), newPhone(t, x, "8003", "UDP", "127.0.0.13")
	a.register()
	c.register()
	a.invite("8002", sdpFrom(a.local))
	c.pickUp(a, c.request("INVITE")).hangUpFrom(a)
	wantSteps(t, x.wantRecords(1)[0], "1 8002 480", "2 8003 200")
}

// A forward to a phone that is not there either ends with what the first one said.
func TestForwardToNobody(t *testing.T) {
	x, a, b := phones(t, labOptions{router: routes{"8002": {First: &route.Stage{Extensions: []string{"8002"}, Busy: to("8003")}}}})
	a.invite("8002", sdpFrom(a.local))
	b.fail(b.request("INVITE"), 486, "Busy Here")
	res := a.final("INVITE")
	if res.code() != 486 {
		t.Errorf("%d, want 486", res.code())
	}
	r := x.wantRecords(1)[0]
	wantSteps(t, r, "1 8002 486", "2 8003 480")
	if r.Result != cdr.Busy {
		t.Errorf("result %s", r.Result)
	}
}

func TestRouterRefuses(t *testing.T) {
	x, a, _ := phones(t, labOptions{router: routes{"8002": {Refuse: &route.Refusal{Code: 480, Text: "do not disturb"}}}})
	a.invite("8002", sdpFrom(a.local))
	res := a.final("INVITE")
	if res.code() != 480 || res.header("Warning") == "" {
		t.Errorf("%s, Warning %q", res.first, res.header("Warning"))
	}
	if r := x.wantRecords(1)[0]; r.Reason != "do not disturb" {
		t.Errorf("reason %q", r.Reason)
	}
}

// A plan that cannot be is not the caller's problem: the number rings.
func TestUnusablePlanRings(t *testing.T) {
	_, a, b := phones(t, labOptions{router: routes{"8002": {}}})
	a.invite("8002", sdpFrom(a.local))
	b.pickUp(a, b.request("INVITE")).hangUpFrom(a)
}

// RFC 3261 §16.6: phones of lower preference ring after the others.
func TestSerialForkingByPreference(t *testing.T) {
	x := newExchange(t, labOptions{limits: call.Limits{Ring: 400 * time.Millisecond}})
	a := newPhone(t, x, "8001", "UDP", "127.0.0.11")
	desk, mobile := newPhone(t, x, "8002", "UDP", "127.0.0.12"), newPhone(t, x, "8002", "UDP", "127.0.0.14")
	a.register()
	desk.register()
	mobile.registerWith(";q=0.5")
	a.invite("8002", sdpFrom(a.local))
	inv := desk.request("INVITE")
	desk.send(desk.reply(inv, 180, "Ringing", ""))
	mobile.quiet("INVITE", func(m *message) bool { return !m.response() && m.method() == "INVITE" })
	desk.request("CANCEL")
	desk.fail(inv, 487, "Request Terminated")
	mobile.pickUp(a, mobile.request("INVITE")).hangUpFrom(a)
	wantSteps(t, x.wantRecords(1)[0], "1 8002 487", "1 8002 200")
}

func TestCallWaitingLimit(t *testing.T) {
	limited := &route.Stage{Extensions: []string{"8002"}, Limits: map[string]int{"8002": 1}}
	x, a, b, c := three(t, labOptions{router: routes{"8002": {First: limited}}})
	k := connect(t, a, b)
	c.invite("8002", sdpFrom(c.local))
	if res := c.final("INVITE"); res.code() != 486 {
		t.Errorf("second call: %s", res.first)
	}
	b.quiet("INVITE", func(m *message) bool { return !m.response() && m.method() == "INVITE" })
	k.hangUp(k.da)
	eventually(t, "released", func() bool { return len(x.calls.Snapshot()) == 0 })
	k = connect(t, c, b)
	k.hangUp(k.da)
}

// Who loses the call to another phone is not busy with it.
func TestOnlyWhoTalksIsBusy(t *testing.T) {
	group := &route.Stage{Extensions: []string{"8002", "8003"}, Limits: map[string]int{"8002": 1, "8003": 1}}
	x, a, b, c := three(t, labOptions{router: routes{"8002": {First: group}}})
	a.invite("8002", sdpFrom(a.local))
	inv, lost := b.request("INVITE"), c.request("INVITE")
	c.send(c.reply(lost, 180, "Ringing", ""))
	k := b.pickUp(a, inv)
	c.request("CANCEL")
	c.fail(lost, 487, "Request Terminated")
	d := newPhone(t, x, "8009", "UDP", "127.0.0.19")
	d.register()
	d.invite("8002", sdpFrom(d.local))
	k2 := c.pickUp(d, c.request("INVITE"))
	k2.hangUp(k2.da)
	k.hangUp(k.da)
	eventually(t, "released", func() bool { return len(x.calls.Snapshot()) == 0 })
}

func TestCancelInTheSecondStage(t *testing.T) {
	x, a, b, c := three(t, labOptions{router: routes{"8002": {First: &route.Stage{Extensions: []string{"8002"}, Busy: to("8003")}}}})
	invite := a.invite("8002", sdpFrom(a.local))
	b.fail(b.request("INVITE"), 486, "Busy Here")
	inv := c.request("INVITE")
	c.send(c.reply(inv, 180, "Ringing", ""))
	a.status("INVITE", 180)
	a.cancel(invite)
	a.status("CANCEL", 200)
	a.status("INVITE", 487)
	c.request("CANCEL")
	c.fail(inv, 487, "Request Terminated")
	if r := x.wantRecords(1)[0]; r.Result != cdr.Cancelled {
		t.Errorf("result %s", r.Result)
	}
}

// The handset that is lifted while the forward rings already gets the call.
func TestAnswerAfterTheForwardBegan(t *testing.T) {
	x, a, b, c := three(t, labOptions{router: routes{"8002": {First: &route.Stage{
		Extensions: []string{"8002"}, Ring: 200 * time.Millisecond, NoAnswer: to("8003"),
	}}}})
	a.invite("8002", sdpFrom(a.local))
	inv := b.request("INVITE")
	b.send(b.reply(inv, 180, "Ringing", ""))
	second := c.request("INVITE")
	c.send(c.reply(second, 180, "Ringing", ""))
	k := b.pickUp(a, inv)
	c.request("CANCEL")
	c.fail(second, 487, "Request Terminated")
	k.hangUpFrom(a)
	if r := x.wantRecords(1)[0]; r.To != "8002" {
		t.Errorf("the record says %s", r.To)
	}
}

// The reserve of an emergency call rings when the duty desk cannot be reached.
func TestEmergencyReserveAfterASilentDesk(t *testing.T) {
	x, a, b, c := three(t, labOptions{members: []string{"8002"}, router: routes{"110": {Refuse: &route.Refusal{Code: 486}}}})
	a.invite("110", sdpFrom(a.local))
	b.fail(b.request("INVITE"), 480, "Temporarily Unavailable")
	c.pickUp(a, c.request("INVITE")).hangUpFrom(a)
	if r := x.wantRecords(1)[0]; r.Class != "emergency" || r.To != "8003" {
		t.Errorf("record %+v", r)
	}
}
