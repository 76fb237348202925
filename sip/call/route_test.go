package call_test

import (
	"context"
	"fmt"
	"slices"
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
	res := p.reply(inv, code, reason, "", extra...)
	if code < 400 { // where to is for the test to say
		res.headers = slices.DeleteFunc(res.headers, func(h [2]string) bool { return h == [2]string{"Contact", p.contact()} })
	}
	p.send(res)
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
	t.Parallel()
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
	t.Parallel()
	x, a, b, c := three(t, labOptions{router: routes{"8002": {First: &route.Stage{
		Extensions: []string{"8002"}, Ring: 2 * time.Second, NoAnswer: to("8003"),
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
	t.Parallel()
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
	t.Parallel()
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
	t.Parallel()
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
	t.Parallel()
	_, a, b := phones(t, labOptions{router: routes{"8002": {}}})
	a.invite("8002", sdpFrom(a.local))
	b.pickUp(a, b.request("INVITE")).hangUpFrom(a)
}

// RFC 3261 §16.6: phones of lower preference ring after the others.
func TestSerialForkingByPreference(t *testing.T) {
	t.Parallel()
	x := newExchange(t, labOptions{limits: call.Limits{Ring: 5 * time.Second}}) // half of it for each
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
	t.Parallel()
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
	t.Parallel()
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
	t.Parallel()
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
	t.Parallel()
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
	t.Parallel()
	x, a, b, c := three(t, labOptions{members: []string{"8002"}, router: routes{"110": {Refuse: &route.Refusal{Code: 486}}}})
	a.invite("110", sdpFrom(a.local))
	b.fail(b.request("INVITE"), 480, "Temporarily Unavailable")
	c.pickUp(a, c.request("INVITE")).hangUpFrom(a)
	if r := x.wantRecords(1)[0]; r.Class != "emergency" || r.To != "8003" {
		t.Errorf("record %+v", r)
	}
}

// The forwarded-to phone sees who forwarded the call and why, the caller hears that it happens.
func TestForwardIsTold(t *testing.T) {
	t.Parallel()
	x, a, b, c := three(t, labOptions{router: routes{"8002": {First: &route.Stage{
		Extensions: []string{"8002"},
		Busy:       &route.Stage{Extensions: []string{"8003"}, Diversion: &route.Diversion{From: "8002", Reason: route.UserBusy}},
	}}}})
	a.invite("8002", sdpFrom(a.local), [2]string{"Diversion", "<sip:9999@linehall.test>;reason=user-busy"}, [2]string{"History-Info", "<sip:9999@linehall.test>;index=1"})
	inv := b.request("INVITE")
	if inv.header("Diversion") != "" || inv.header("History-Info") != "" {
		t.Errorf("a phone's own word passed: %q %q", inv.header("Diversion"), inv.header("History-Info"))
	}
	b.fail(inv, 486, "Busy Here")
	a.status("INVITE", 181)
	inv = c.request("INVITE")
	if diff := cmp.Diff([]string{`"Wang" <sip:8002@linehall.test>;reason=user-busy;counter=1`}, inv.all("Diversion")); diff != "" {
		t.Errorf("Diversion (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff([]string{
		`"Wang" <sip:8002@linehall.test>;index=1`, `"Zhao" <sip:8003@linehall.test;cause=486>;index=1.1;mp=1`,
	}, inv.all("History-Info")); diff != "" {
		t.Errorf("History-Info (-want +got):\n%s", diff)
	}
	c.pickUp(a, inv).hangUpFrom(a)
	r := x.wantRecords(1)[0]
	if len(r.Forwards) != 1 || r.Forwards[0].From != "8002" || r.Forwards[0].To != "8003" || r.Forwards[0].Reason != "user-busy" {
		t.Errorf("forwards in the record: %+v", r.Forwards)
	}
}

func TestIntercomAnswersByItself(t *testing.T) {
	t.Parallel()
	_, a, b := phones(t, labOptions{router: routes{"8002": {First: &route.Stage{Extensions: []string{"8002"}, Alert: route.Intercom}}}})
	a.invite("8002", sdpFrom(a.local), [2]string{"Alert-Info", "<http://evil>;info=alert-autoanswer"})
	inv := b.request("INVITE")
	if diff := cmp.Diff([]string{"<http://linehall>;info=alert-autoanswer;delay=0"}, inv.all("Alert-Info")); diff != "" {
		t.Errorf("Alert-Info (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff([]string{"<sip:linehall.test>;answer-after=0"}, inv.all("Call-Info")); diff != "" {
		t.Errorf("Call-Info (-want +got):\n%s", diff)
	}
	b.pickUp(a, inv).hangUpFrom(a)
}

// A forwards to B, B forwards to A.
func TestForwardingCircle(t *testing.T) {
	t.Parallel()
	by := func(from string) *route.Diversion { return &route.Diversion{From: from, Reason: route.UserBusy} }
	circle := &route.Stage{
		Extensions: []string{"8002"},
		Busy: &route.Stage{
			Extensions: []string{"8003"}, Diversion: by("8002"),
			Busy: &route.Stage{Extensions: []string{"8002"}, Diversion: by("8003")},
		},
	}
	x, a, b, c := three(t, labOptions{router: routes{"8002": {First: circle}}})
	a.invite("8002", sdpFrom(a.local))
	b.fail(b.request("INVITE"), 486, "Busy Here")
	c.fail(c.request("INVITE"), 486, "Busy Here")
	if res := a.final("INVITE"); res.code() != 486 {
		t.Errorf("%s, want 486", res.first)
	}
	b.quiet("INVITE", func(m *message) bool { return !m.response() && m.method() == "INVITE" })
	wantSteps(t, x.wantRecords(1)[0], "1 8002 486", "2 8003 486", "3 8002 482")
}

func TestTooManyForwards(t *testing.T) {
	t.Parallel()
	stage := to("8003")
	for i := range route.MaxDiversions + 1 {
		stage.Diversion = &route.Diversion{From: fmt.Sprintf("81%02d", i), Reason: route.Unconditional}
		stage = &route.Stage{Extensions: []string{fmt.Sprintf("81%02d", i)}, Unreachable: stage}
	}
	_, a, _ := phones(t, labOptions{router: routes{"8002": {First: stage}}})
	a.invite("8002", sdpFrom(a.local))
	if res := a.final("INVITE"); res.code() != 483 || res.header("Warning") == "" {
		t.Errorf("%s, Warning %q; want 483", res.first, res.header("Warning"))
	}
}

// RFC 3261 §8.1.3.4, §16.7: a phone's 302 to a number of ours is a forward.
func TestDeflection(t *testing.T) {
	t.Parallel()
	x, a, b, c := three(t, labOptions{router: routes{}})
	a.invite("8002", sdpFrom(a.local))
	b.fail(b.request("INVITE"), 302, "Moved Temporarily",
		[2]string{"Contact", "<sip:8001@" + domain + ">;q=0.2, <sip:8003@" + domain + ">;q=0.9"})
	a.status("INVITE", 181)
	inv := c.request("INVITE")
	if v := inv.header("Diversion"); v != `"Wang" <sip:8002@linehall.test>;reason=deflection;counter=1` {
		t.Errorf("Diversion %q", v)
	}
	c.pickUp(a, inv).hangUpFrom(a)
	r := x.wantRecords(1)[0]
	wantSteps(t, r, "1 8002 302", "2 8003 200")
	if len(r.Forwards) != 1 || r.Forwards[0].Reason != "deflection" {
		t.Errorf("forwards %+v", r.Forwards)
	}
}

// Where the phone's own class of service ends, or at another host, the caller decides.
func TestDeflectionThatIsNotFollowed(t *testing.T) {
	t.Parallel()
	_, a, b, c := three(t, labOptions{})
	for _, contact := range []string{"<sip:110@" + domain + ">", "<sip:7777@" + domain + ">", "<sip:8003@example.org>", "<sip:8003@127.0.0.77>"} {
		a.invite("8002", sdpFrom(a.local))
		b.fail(b.request("INVITE"), 302, "Moved Temporarily", [2]string{"Contact", contact})
		res := a.status("INVITE", 302)
		if res.header("Contact") != contact {
			t.Errorf("Contact %q, want %q", res.header("Contact"), contact)
		}
	}
	c.quiet("INVITE", func(m *message) bool { return !m.response() && m.method() == "INVITE" })
}

// A deflection to where the call came from is a circle.
func TestDeflectionCircle(t *testing.T) {
	t.Parallel()
	_, a, b, c := three(t, labOptions{})
	a.invite("8002", sdpFrom(a.local))
	b.fail(b.request("INVITE"), 302, "Moved Temporarily", [2]string{"Contact", "<sip:8003@" + domain + ">"})
	c.fail(c.request("INVITE"), 302, "Moved Temporarily", [2]string{"Contact", "<sip:8002@" + domain + ">"})
	if res := a.final("INVITE"); res.code() != 482 {
		t.Errorf("%s, want 482", res.first)
	}
	b.quiet("INVITE", func(m *message) bool { return !m.response() && m.method() == "INVITE" })
}

// One member of a group that deflects does not take the call from the others.
func TestDeflectionInAGroup(t *testing.T) {
	t.Parallel()
	_, a, b, c := three(t, labOptions{members: []string{"8002", "8003"}})
	a.invite("8000", sdpFrom(a.local))
	inv := c.request("INVITE")
	c.send(c.reply(inv, 180, "Ringing", ""))
	b.fail(b.request("INVITE"), 302, "Moved Temporarily", [2]string{"Contact", "<sip:8009@" + domain + ">"})
	c.pickUp(a, inv).hangUpFrom(a)
}

func TestCancelWhileADeflectionRings(t *testing.T) {
	t.Parallel()
	_, a, b, c := three(t, labOptions{})
	invite := a.invite("8002", sdpFrom(a.local))
	b.fail(b.request("INVITE"), 302, "Moved Temporarily", [2]string{"Contact", "<sip:8003@" + domain + ">"})
	inv := c.request("INVITE")
	c.send(c.reply(inv, 180, "Ringing", ""))
	a.status("INVITE", 180)
	a.cancel(invite)
	a.status("INVITE", 487)
	c.request("CANCEL")
	c.fail(inv, 487, "Request Terminated")
}

// A group that is hunted through: nobody answers at the first phone, the second is busy, the third is
// not there, the fourth takes the call.
func TestLinearHunt(t *testing.T) {
	t.Parallel()
	on := func(next *route.Stage, extension string) *route.Stage {
		return &route.Stage{Extensions: []string{extension}, Busy: next, NoAnswer: next, Failed: next}
	}
	hunt := on(on(on(on(nil, "8009"), "2001"), "8003"), "8002")
	hunt.Ring = 200 * time.Millisecond
	x, a, b, c := three(t, labOptions{router: routes{"8002": {First: hunt}}})
	d := newPhone(t, x, "8009", "UDP", "127.0.0.19")
	d.register()
	a.invite("8002", sdpFrom(a.local))
	inv := b.request("INVITE")
	b.send(b.reply(inv, 180, "Ringing", ""))
	b.send(b.reply(b.request("CANCEL"), 200, "OK", ""))
	b.fail(inv, 487, "Request Terminated")
	c.fail(c.request("INVITE"), 486, "Busy Here")
	d.pickUp(a, d.request("INVITE")).hangUpFrom(a)
	wantSteps(t, x.wantRecords(1)[0], "1 8002 487", "2 8003 486", "3 2001 480", "4 8009 200")
}
