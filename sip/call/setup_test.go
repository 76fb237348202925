package call_test

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"linehall/sip/call"
	"linehall/sip/cdr"
)

func phones(t *testing.T, o labOptions) (x *exchange, a, b *phone) {
	t.Helper()
	x = newExchange(t, o)
	a, b = newPhone(t, x, "8001", "UDP", "127.0.0.11"), newPhone(t, x, "8002", "UDP", "127.0.0.12")
	a.register()
	b.register()
	return x, a, b
}

// refused calls a number and checks the final response.
func refused(t *testing.T, x *exchange, a *phone, number string, code int) *message {
	t.Helper()
	inv := a.invite(number, sdpFrom(a.local))
	res := a.final("INVITE")
	a.send(a.ackFailure(inv, res))
	if res.code() != code {
		t.Errorf("%s: %s, want %d", number, res.first, code)
	}
	return res
}

func TestRefusals(t *testing.T) {
	t.Parallel()
	x, a, _ := phones(t, labOptions{})
	for i, tt := range []struct {
		name, number string
		code         int
		warning      string
	}{
		{"unknown number", "4711", 404, ""},
		{"not registered", "8003", 480, ""},
		{"disabled terminal", "8666", 480, ""},
		{"meeting room that nobody holds", "9000", 404, "no such meeting room"},
		{"feature code", "*8", 480, "Nothing rings"},
		{"itself", "8001", 486, ""},
	} {
		res := refused(t, x, a, tt.number, tt.code)
		if !strings.Contains(res.header("Warning"), tt.warning) {
			t.Errorf("%s: Warning %q", tt.name, res.header("Warning"))
		}
		r := x.wantRecords(i + 1)[0]
		if r.Code != tt.code || r.EndedAt == nil || r.Dialled != tt.number {
			t.Errorf("%s: record %+v", tt.name, r)
		}
	}
}

func TestNoCallWithoutAuthentication(t *testing.T) {
	t.Parallel()
	x, a, b := phones(t, labOptions{})
	b.inbox = make(chan *message, 8)
	a.call = token()
	m := a.inviteMessage("8002", sdpFrom(a.local))
	a.send(m)
	challenge := a.final("INVITE")
	a.send(a.ackFailure(m, challenge))
	if challenge.code() != 401 && challenge.code() != 407 {
		t.Fatalf("without credentials: %s", challenge.first)
	}
	m = a.inviteMessage("8002", sdpFrom(a.local))
	a.authorize(m, challenge, "wrong")
	a.send(m)
	again := a.final("INVITE")
	a.send(a.ackFailure(m, again))
	if again.code() != challenge.code() {
		t.Errorf("with a wrong password: %s", again.first)
	}
	// The right password, but another's name.
	m = a.inviteMessage("8002", sdpFrom(a.local))
	for i, h := range m.headers {
		if h[0] == "From" {
			m.headers[i][1] = "<sip:8003@" + domain + ">;tag=" + a.tag
		}
	}
	a.authorize(m, again, a.password())
	a.send(m)
	if res := a.final("INVITE"); res.code() != 403 {
		t.Errorf("as somebody else: %s, want 403", res.first)
	}
	if n := len(x.calls.Snapshot()); n != 0 {
		t.Errorf("%d calls", n)
	}
}

func TestRequireUnknown(t *testing.T) {
	t.Parallel()
	_, a, _ := phones(t, labOptions{})
	a.call = token()
	m := a.inviteMessage("8002", sdpFrom(a.local), [2]string{"Require", "100rel, precondition"})
	a.send(m)
	res := a.final("INVITE")
	if res.code() != 420 || res.header("Unsupported") != "precondition" {
		t.Errorf("%s, Unsupported: %q", res.first, res.header("Unsupported"))
	}
}

// What a phone says about itself or about how a call is to be answered does not pass.
func TestHeadersOfCaller(t *testing.T) {
	t.Parallel()
	_, a, b := phones(t, labOptions{})
	a.invite("8002", sdpFrom(a.local), [2]string{"Alert-Info", "info=alert-autoanswer"}, [2]string{"Supported", "timer, foreign"},
		[2]string{"P-Asserted-Identity", "<sip:boss@linehall.test>"}, [2]string{"Remote-Party-ID", "<sip:boss@linehall.test>"},
		[2]string{"Session-Expires", "1234"}, [2]string{"Subject", "lunch"})
	inv := b.request("INVITE")
	for _, name := range []string{"Alert-Info", "Remote-Party-ID", "Authorization", "Proxy-Authorization"} {
		if v := inv.header(name); v != "" {
			t.Errorf("%s passed: %q", name, v)
		}
	}
	if strings.Contains(inv.header("Supported"), "foreign") || strings.Contains(inv.header("Session-Expires"), "1234") {
		t.Errorf("Supported %q, Session-Expires %q", inv.header("Supported"), inv.header("Session-Expires"))
	}
	if pai := inv.all("P-Asserted-Identity"); len(pai) != 1 || strings.Contains(pai[0], "boss") {
		t.Errorf("P-Asserted-Identity %q", pai)
	}
	if inv.header("Subject") != "lunch" || inv.header("Max-Forwards") != "69" {
		t.Errorf("Subject %q, Max-Forwards %q", inv.header("Subject"), inv.header("Max-Forwards"))
	}
	b.send(b.reply(inv, 486, "Busy Here", ""))
	a.status("INVITE", 486)
}

func TestBusy(t *testing.T) {
	t.Parallel()
	x, a, b := phones(t, labOptions{})
	b2 := newPhone(t, x, "8002", "UDP", "127.0.0.13")
	b2.register()
	inv := a.invite("8002", sdpFrom(a.local))
	for _, p := range []*phone{b, b2} {
		in := p.request("INVITE")
		p.send(p.reply(in, 486, "Busy Here", ""))
		p.request("ACK")
	}
	a.send(a.ackFailure(inv, a.status("INVITE", 486)))
	if r := x.wantRecords(1)[0]; r.Result != cdr.Busy || r.Code != 486 {
		t.Errorf("record %+v", r)
	}
}

func TestNoAnswer(t *testing.T) {
	t.Parallel()
	x, a, b := phones(t, labOptions{limits: call.Limits{Ring: 200 * time.Millisecond}})
	inv := a.invite("8002", sdpFrom(a.local))
	in := b.request("INVITE")
	b.send(b.reply(in, 180, "Ringing", ""))
	a.send(a.ackFailure(inv, a.status("INVITE", 480)))
	c := b.request("CANCEL")
	b.send(b.reply(c, 200, "OK", ""))
	b.send(b.reply(in, 487, "Request Terminated", ""))
	if r := x.wantRecords(1)[0]; r.Result != cdr.NoAnswer || r.Code != 480 || r.EndedBy != "system" {
		t.Errorf("record %+v", r)
	}
}

// The phone answers while our CANCEL is on its way: it is acknowledged and hung up.
func TestAnswerAfterCancel(t *testing.T) {
	t.Parallel()
	x, a, b := phones(t, labOptions{})
	inv := a.invite("8002", sdpFrom(a.local))
	in := b.request("INVITE")
	b.send(b.reply(in, 180, "Ringing", ""))
	a.status("INVITE", 180)
	a.cancel(inv)
	a.send(a.ackFailure(inv, a.status("INVITE", 487)))
	c := b.request("CANCEL")
	b.send(b.reply(in, 200, "OK", sdpFrom(b.local)))
	b.send(b.reply(c, 200, "OK", ""))
	b.request("ACK")
	bye := b.request("BYE")
	b.send(b.reply(bye, 200, "OK", ""))
	if r := x.wantRecords(1)[0]; r.Result != cdr.Cancelled || r.AnsweredAt != nil {
		t.Errorf("record %+v", r)
	}
}

// CANCEL before the phone has said anything: it must wait for the first provisional response.
func TestEarlyCancel(t *testing.T) {
	t.Parallel()
	_, a, b := phones(t, labOptions{})
	inv := a.invite("8002", sdpFrom(a.local))
	in := b.request("INVITE")
	a.cancel(inv)
	a.send(a.ackFailure(inv, a.status("INVITE", 487)))
	b.quiet("CANCEL", func(m *message) bool { return m.method() == "CANCEL" })
	b.send(b.reply(in, 180, "Ringing", ""))
	c := b.request("CANCEL")
	b.send(b.reply(c, 200, "OK", ""))
	b.send(b.reply(in, 487, "Request Terminated", ""))
	b.request("ACK")
}

// Two phones of one extension answer at the same moment.
func TestTwoAnswers(t *testing.T) {
	t.Parallel()
	x, a, b := phones(t, labOptions{})
	b2 := newPhone(t, x, "8002", "TCP", "127.0.0.13")
	b2.register()
	a.invite("8002", sdpFrom(a.local))
	in, in2 := b.request("INVITE"), b2.request("INVITE")
	b.send(b.reply(in, 180, "Ringing", ""))
	b2.send(b2.reply(in2, 180, "Ringing", ""))
	first, second := a.status("INVITE", 180), a.status("INVITE", 180)
	if first.header("To") == second.header("To") {
		t.Error("two forks share a To-tag")
	}
	b.send(b.reply(in, 200, "OK", sdpFrom(b.local)))
	ok := a.status("INVITE", 200)
	if to := ok.header("To"); to != first.header("To") && to != second.header("To") {
		t.Error("the 200 is in neither early dialog")
	}
	da := a.dialogOfCaller(ok)
	da.send("ACK", "")
	b2.send(b2.reply(in2, 200, "OK", sdpFrom(b2.local)))
	b2.request("ACK")
	bye := b2.request("BYE")
	b2.send(b2.reply(bye, 200, "OK", ""))
	b.request("ACK")
	b.quiet("BYE", func(m *message) bool { return m.method() == "BYE" })
	(&talk{a: a, b: b, da: da, db: b.dialogOfCallee(in)}).hangUp(da)
	if r := x.wantRecords(1)[0]; r.Result != cdr.Answered || len(r.Legs) != 2 {
		t.Errorf("record %+v", r)
	}
}

func TestEarlyMedia(t *testing.T) {
	t.Parallel()
	x := newExchange(t, labOptions{})
	a, b := newPhone(t, x, "8001", "UDP", "127.0.0.11"), newPhone(t, x, "2001", "UDP", "127.0.1.12")
	a.register()
	b.register()
	a.invite("2001", sdpFrom(a.local))
	in := b.request("INVITE")
	b.send(b.reply(in, 183, "Session Progress", sdpFrom(b.local)))
	early := a.status("INVITE", 183)
	if !strings.Contains(early.body, "m=audio 2") || strings.Contains(early.body, "m=audio 40000") {
		t.Errorf("early media is not relayed:\n%s", early.body)
	}
	b.send(b.reply(in, 200, "OK", sdpFrom(b.local)))
	ok := a.status("INVITE", 200)
	if ok.body != early.body {
		t.Errorf("the same answer changed from\n%s\nto\n%s", early.body, ok.body)
	}
	b.request("ACK")
	da := a.dialogOfCaller(ok)
	da.send("ACK", "")
	(&talk{a: a, b: b, da: da, db: b.dialogOfCallee(in)}).hangUp(da)
}

func TestLateOffer(t *testing.T) {
	t.Parallel()
	x := newExchange(t, labOptions{})
	a, b := newPhone(t, x, "8001", "UDP", "127.0.0.11"), newPhone(t, x, "2001", "UDP", "127.0.1.12")
	a.register()
	b.register()
	a.invite("2001", "")
	in := b.request("INVITE")
	if in.body != "" {
		t.Fatalf("an offer from nowhere:\n%s", in.body)
	}
	b.send(b.reply(in, 200, "OK", sdpFrom(b.local)))
	ok := a.status("INVITE", 200)
	if ok.body == "" {
		t.Fatal("the offer did not arrive")
	}
	b.quiet("ACK before the answer", func(m *message) bool { return m.method() == "ACK" })
	da := a.dialogOfCaller(ok)
	da.send("ACK", sdpFrom(a.local))
	ack := b.request("ACK")
	if !strings.Contains(ack.body, "m=audio 2") {
		t.Errorf("the answer in the ACK:\n%s", ack.body)
	}
	(&talk{a: a, b: b, da: da, db: b.dialogOfCallee(in)}).hangUp(da)
	if r := x.wantRecords(1)[0]; r.Path != "relay" || r.Codec == "" {
		t.Errorf("record %+v", r)
	}
}

func TestRetransmissions(t *testing.T) {
	_, a, b := phones(t, labOptions{limits: call.Limits{T1: 150 * time.Millisecond}})
	inv := a.invite("8002", sdpFrom(a.local))
	in := b.request("INVITE")
	a.send(inv)
	b.quiet("second call", func(m *message) bool { return !m.response() && m.header("Call-ID") != in.header("Call-ID") })
	b.send(b.reply(in, 180, "Ringing", ""))
	b.send(b.reply(in, 200, "OK", sdpFrom(b.local)))
	b.request("ACK")
	b.send(b.reply(in, 200, "OK", sdpFrom(b.local))) // our ACK was lost
	b.wantRepeated()
	b.request("ACK")
	a.status("INVITE", 200)
	a.wantRepeated()
	ok := a.status("INVITE", 200) // the caller's ACK was lost
	a.wantRepeated()
	a.status("INVITE", 200)
	da := a.dialogOfCaller(ok)
	da.send("ACK", "")
	da.send("ACK", "")
	(&talk{a: a, b: b, da: da, db: b.dialogOfCallee(in)}).hangUp(da)
}

// The caller never acknowledges: after 64*T1 both sides are hung up.
func TestNoAck(t *testing.T) {
	x, a, b := phones(t, labOptions{limits: call.Limits{T1: 10 * time.Millisecond}})
	a.invite("8002", sdpFrom(a.local))
	in := b.request("INVITE")
	b.send(b.reply(in, 200, "OK", sdpFrom(b.local)))
	b.request("ACK")
	for _, p := range []*phone{b, a} {
		bye := p.request("BYE")
		p.send(p.reply(bye, 200, "OK", ""))
	}
	if r := x.wantRecords(1)[0]; r.EndedBy != "system" || r.Reason != "no ACK" {
		t.Errorf("record %+v", r)
	}
}

// The callee hangs up before the caller's ACK: its BYE is answered, ours waits for the ACK.
func TestByeBeforeAck(t *testing.T) {
	t.Parallel()
	_, a, b := phones(t, labOptions{})
	a.invite("8002", sdpFrom(a.local))
	in := b.request("INVITE")
	b.send(b.reply(in, 200, "OK", sdpFrom(b.local)))
	b.request("ACK")
	ok := a.status("INVITE", 200)
	b.dialogOfCallee(in).send("BYE", "")
	b.status("BYE", 200)
	a.quiet("BYE", func(m *message) bool { return m.method() == "BYE" })
	a.dialogOfCaller(ok).send("ACK", "")
	bye := a.request("BYE")
	a.send(a.reply(bye, 200, "OK", ""))
}

func TestByeWhileRinging(t *testing.T) {
	t.Parallel()
	x, a, b := phones(t, labOptions{})
	a.invite("8002", sdpFrom(a.local))
	in := b.request("INVITE")
	b.send(b.reply(in, 180, "Ringing", ""))
	d := a.dialogOfCaller(a.status("INVITE", 180))
	d.send("BYE", "")
	a.status("BYE", 200)
	a.status("INVITE", 487)
	c := b.request("CANCEL")
	b.send(b.reply(c, 200, "OK", ""))
	b.send(b.reply(in, 487, "Request Terminated", ""))
	if r := x.wantRecords(1)[0]; r.Result != cdr.Cancelled {
		t.Errorf("record %+v", r)
	}
}

// 8000 and 119 ring the duty desk together; one desk's "decline" does not silence the other.
func TestDutyDesk(t *testing.T) {
	t.Parallel()
	for _, number := range []string{"8000", "119"} {
		t.Run(number, func(t *testing.T) {
			x, a, b := phones(t, labOptions{})
			desk := newPhone(t, x, "8009", "UDP", "127.0.0.19")
			desk.register()
			a.invite(number, sdpFrom(a.local))
			in, in2 := b.request("INVITE"), desk.request("INVITE")
			b.send(b.reply(in, 603, "Decline", ""))
			b.request("ACK")
			desk.send(desk.reply(in2, 200, "OK", sdpFrom(desk.local)))
			ok := a.status("INVITE", 200)
			desk.request("ACK")
			da := a.dialogOfCaller(ok)
			da.send("ACK", "")
			(&talk{a: a, b: desk, da: da, db: desk.dialogOfCallee(in2)}).hangUp(da)
			want := "voice"
			if number == "119" {
				want = "emergency"
			}
			if r := x.wantRecords(1)[0]; r.To != "8009" || r.Dialled != number || r.Class != want {
				t.Errorf("record %+v", r)
			}
		})
	}
}

// An emergency call with nobody at the duty desk rings who is there.
func TestEmergencyWithoutDesk(t *testing.T) {
	t.Parallel()
	_, a, b := phones(t, labOptions{members: []string{"8009"}})
	a.invite("110", sdpFrom(a.local))
	in := b.request("INVITE")
	b.send(b.reply(in, 486, "Busy Here", ""))
	a.status("INVITE", 486)
}

// A line that is full refuses a call with 488 and Warning 370, but never an emergency.
func TestLineFull(t *testing.T) {
	t.Parallel()
	x := newExchange(t, labOptions{line: 50_000, members: []string{"8009"}})
	a, b, desk := newPhone(t, x, "2001", "UDP", "127.0.1.11"), newPhone(t, x, "8002", "UDP", "127.0.0.12"), newPhone(t, x, "8009", "UDP", "127.0.0.13")
	a.register()
	b.register()
	desk.register()
	res := refused(t, x, a, "8002", 488)
	if w := res.header("Warning"); !strings.HasPrefix(w, "370 ") {
		t.Errorf("Warning %q", w)
	}
	b.quiet("INVITE", func(m *message) bool { return m.method() == "INVITE" })
	a.invite("119", sdpFrom(a.local))
	in := desk.request("INVITE")
	desk.send(desk.reply(in, 200, "OK", sdpFrom(desk.local)))
	ok := a.status("INVITE", 200)
	desk.request("ACK")
	da := a.dialogOfCaller(ok)
	da.send("ACK", "")
	(&talk{a: a, b: desk, da: da, db: desk.dialogOfCallee(in)}).hangUp(da)
	eventually(t, "the reservation given back", func() bool { return x.ledger.Snapshot()[0].Reserved == 0 })
}

func TestUnreadableOffer(t *testing.T) {
	t.Parallel()
	_, a, _ := phones(t, labOptions{})
	inv := a.invite("8002", "v=0\r\nm=audio\r\n")
	res := a.final("INVITE")
	a.send(a.ackFailure(inv, res))
	if res.code() != 400 && res.code() != 488 {
		t.Errorf("%s, want 400 or 488", res.first)
	}
}

func TestCallLimits(t *testing.T) {
	t.Parallel()
	x, a, b := phones(t, labOptions{limits: call.Limits{PerTerminal: 1}})
	c := newPhone(t, x, "8003", "UDP", "127.0.0.14")
	c.register()
	k := connect(t, a, b)
	if res := refused(t, x, c, "8002", 486); res.header("Contact") != "" {
		t.Error("a refusal with a Contact")
	}
	dlgCall := a.call
	refused(t, x, a, "8003", 403)
	a.call = dlgCall
	k.hangUp(k.da)
	eventually(t, "released", func() bool { return len(x.calls.Snapshot()) == 0 })
	k = connect(t, c, b)
	k.hangUp(k.db)
}

func TestTotalLimitSparesEmergency(t *testing.T) {
	t.Parallel()
	x, a, b := phones(t, labOptions{limits: call.Limits{Calls: 1}, members: []string{"8009"}})
	c, desk := newPhone(t, x, "8003", "UDP", "127.0.0.14"), newPhone(t, x, "8009", "UDP", "127.0.0.15")
	c.register()
	desk.register()
	k := connect(t, a, b)
	if res := refused(t, x, c, "8009", 503); res.header("Retry-After") == "" {
		t.Error("503 without Retry-After")
	}
	c.invite("119", sdpFrom(c.local))
	in := desk.request("INVITE")
	desk.send(desk.reply(in, 486, "Busy Here", ""))
	c.status("INVITE", 486)
	k.hangUp(k.da)
}

func TestHangupByOperator(t *testing.T) {
	t.Parallel()
	x, a, b := phones(t, labOptions{})
	connect(t, a, b)
	eventually(t, "established", func() bool { s := x.calls.Snapshot(); return len(s) == 1 && s[0].State == call.StateEstablished })
	if err := x.calls.Hangup(t.Context(), x.calls.Snapshot()[0].ID, "line needed"); err != nil {
		t.Fatal(err)
	}
	for _, p := range []*phone{a, b} {
		bye := p.request("BYE")
		if !strings.Contains(bye.header("Reason"), "line needed") {
			t.Errorf("Reason %q", bye.header("Reason"))
		}
		p.send(p.reply(bye, 200, "OK", ""))
	}
	if r := x.wantRecords(1)[0]; r.EndedBy != "operator" || r.Reason != "line needed" {
		t.Errorf("record %+v", r)
	}
	if err := x.calls.Hangup(t.Context(), "nobody", ""); err == nil {
		t.Error("an unknown call was hung up")
	}
}

func TestDrain(t *testing.T) {
	t.Parallel()
	x, a, b := phones(t, labOptions{})
	inv := a.invite("8002", sdpFrom(a.local))
	in := b.request("INVITE")
	b.send(b.reply(in, 180, "Ringing", ""))
	a.status("INVITE", 180)
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if err := x.calls.Drain(ctx); err == nil {
		t.Error("drained although a phone rings")
	}
	b.send(b.reply(in, 486, "Busy Here", ""))
	a.send(a.ackFailure(inv, a.status("INVITE", 486)))
	if err := x.calls.Drain(t.Context()); err != nil {
		t.Error(err)
	}
	refused(t, x, a, "8002", 503)
}

// A defect in one call ends that call with a word to everybody, and no other.
func TestPanicStaysInItsCall(t *testing.T) {
	t.Parallel()
	x, a, b := phones(t, labOptions{hook: func(i call.Info) {
		if i.State == call.StateEstablished && i.From.Extension == "8003" {
			panic("a defect")
		}
	}})
	c, d := newPhone(t, x, "8003", "UDP", "127.0.0.13"), newPhone(t, x, "8009", "UDP", "127.0.0.14")
	c.register()
	d.register()
	k := connect(t, a, b)
	bad := connect(t, c, d) // the owner falls over when it shows the answered call
	for _, p := range []*phone{bad.a, bad.b} {
		bye := p.request("BYE")
		p.send(p.reply(bye, 200, "OK", ""))
	}
	if r := x.wantRecords(1)[0]; r.From != "8003" || r.Reason != "internal error" {
		t.Errorf("record %+v", r)
	}
	k.hangUp(k.da)
	x.wantRecords(2)
}

// Fifty calls at once: nothing leaks, every record is there.
func TestManyCalls(t *testing.T) {
	x, a, b := phones(t, labOptions{limits: call.Limits{PerTerminal: 100}})
	for range 25 {
		k := connect(t, a, b)
		k.hangUp(k.da)
		k = connect(t, b, a)
		k.hangUp(k.db)
	}
	records := x.wantRecords(50)
	seen := map[string]bool{}
	for _, r := range records {
		if seen[r.ID] || r.Result != cdr.Answered {
			t.Errorf("record %+v", r)
		}
		seen[r.ID] = true
	}
	if got := fmt.Sprint(len(seen)); got != "50" {
		t.Error(got)
	}
}
