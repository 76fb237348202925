package call_test

import (
	"strconv"
	"strings"
	"testing"
	"time"

	"linehall/sip/call"
	"linehall/sip/cdr"
)

const updates = "INVITE, ACK, CANCEL, BYE, PRACK, UPDATE"

// reliably is a provisional response that wants a PRACK.
func (p *phone) reliably(invite *message, code int, rseq uint32, body string) *message {
	return p.reply(invite, code, "Progress", body, h("Require", "100rel"), h("RSeq", strconv.FormatUint(uint64(rseq), 10)), h("Allow", updates))
}

// rack is the value that acknowledges a reliable response.
func rack(res *message) [2]string { return h("RAck", res.header("RSeq")+" "+res.header("CSeq")) }

// ack acknowledges the 2xx of an earlier INVITE.
func (d *dlg) ack(invite *message) {
	m := d.request("ACK", "")
	for i := range m.headers {
		if m.headers[i][0] == "CSeq" {
			m.headers[i][1] = invite.seq() + " ACK"
		}
	}
	d.p.send(m)
}

func wantPrack(t *testing.T, p *phone, rseq string, invite *message) *message {
	t.Helper()
	m := p.request("PRACK")
	if got, want := m.header("RAck"), rseq+" "+invite.seq()+" INVITE"; got != want {
		t.Errorf("RAck %q, want %q", got, want)
	}
	return m
}

// A phone's reliable responses are acknowledged in order, repeated ones and ones out of order
// are not, and a caller that does not know the extension sees ordinary responses.
func TestReliableFromCallee(t *testing.T) {
	t.Parallel()
	x, a, b := phones(t, labOptions{})
	a.invite("8002", sdpFrom(a.local))
	inv := b.request("INVITE")
	if !strings.Contains(inv.header("Supported"), "100rel") {
		t.Errorf("Supported %q", inv.header("Supported"))
	}
	b.tag = token()
	b.send(b.reliably(inv, 180, 4711, ""))
	b.send(b.reply(wantPrack(t, b, "4711", inv), 200, "OK", ""))
	if res := a.status("INVITE", 180); res.header("RSeq") != "" || res.header("Require") != "" {
		t.Errorf("to a caller without 100rel:\n%s", res.text())
	}
	b.send(b.reliably(inv, 180, 4711, ""))                  // repeated
	b.send(b.reliably(inv, 183, 4713, sdpFrom(b.local)))    // too early
	b.send(b.reply(inv, 182, "Queued", "", h("RSeq", "1"))) // not reliable without Require
	a.status("INVITE", 182)
	b.quiet("PRACK", func(m *message) bool { return m.method() == "PRACK" })
	b.send(b.reliably(inv, 183, 4712, sdpFrom(b.local)))
	b.send(b.reply(wantPrack(t, b, "4712", inv), 200, "OK", ""))
	early := a.status("INVITE", 183)
	b.send(b.reply(inv, 200, "OK", "")) // the answer was given
	ok := a.status("INVITE", 200)
	if ok.body == "" || ok.body != early.body {
		t.Errorf("the caller's 183 was not reliable, so its 200 carries the answer:\n%s", ok.text())
	}
	k := &talk{a: a, b: b, da: a.dialogOfCaller(ok), db: b.dialogOfCallee(inv)}
	b.request("ACK")
	k.da.send("ACK", "")
	eventually(t, "established", func() bool { return state(x) == call.StateEstablished })
	reinvite(t, k, k.da, sdpFrom(a.local, "a=sendonly"), sdpFrom(b.local, "a=recvonly"))
	k.hangUp(k.da)
}

// A caller that knows the extension gets every response with a tag reliably: one at a time,
// repeated until its PRACK, the 2xx held until the PRACK of the answer.
func TestReliableToCaller(t *testing.T) {
	t.Parallel()
	for _, header := range []string{"Supported", "Require"} {
		x, a, b := phones(t, labOptions{limits: call.Limits{T1: 150 * time.Millisecond}})
		own := a.invite("8002", sdpFrom(a.local), h(header, "100rel"))
		inv := b.request("INVITE")
		b.tag = token()
		b.send(b.reply(inv, 180, "Ringing", ""))
		ringing := a.status("INVITE", 180)
		if ringing.header("Require") != "100rel" || ringing.header("RSeq") == "" {
			t.Fatalf("not reliable:\n%s", ringing.text())
		}
		a.wantRepeated()
		if again := a.status("INVITE", 180); again.header("RSeq") != ringing.header("RSeq") {
			t.Errorf("repeated with RSeq %s, was %s", again.header("RSeq"), ringing.header("RSeq"))
		}
		b.send(b.reply(inv, 183, "Progress", sdpFrom(b.local)))
		a.quiet("183 before the PRACK", func(m *message) bool { return m.response() && m.code() != 180 })
		d := a.dialogOfCaller(ringing)
		for _, wrong := range []string{"1 " + ringing.header("CSeq"), ringing.header("RSeq") + " 99 INVITE", "x", ""} {
			d.send("PRACK", "", h("RAck", wrong))
			a.status("PRACK", 481)
		}
		d.send("PRACK", "", rack(ringing))
		a.status("PRACK", 200)
		progress := a.status("INVITE", 183)
		if n, _ := strconv.Atoi(ringing.header("RSeq")); progress.header("RSeq") != strconv.Itoa(n+1) || progress.body == "" {
			t.Errorf("183 after RSeq %d:\n%s", n, progress.text())
		}
		b.send(b.reply(inv, 200, "OK", sdpFrom(b.local)))
		a.quiet("200 before the PRACK of the answer", func(m *message) bool { return m.response() && m.code() == 200 })
		d.send("PRACK", "", rack(progress))
		a.status("PRACK", 200)
		if ok := a.status("INVITE", 200); ok.body != "" {
			t.Errorf("the answer was given for good, and comes again:\n%s", ok.text())
		}
		d.ack(own)
		k := &talk{a: a, b: b, da: d, db: b.dialogOfCallee(inv)}
		b.request("ACK")
		eventually(t, "established", func() bool { return state(x) == call.StateEstablished })
		k.hangUp(k.da)
	}
}

// A response without a description does not hold the 2xx up (RFC 3262 §3); its PRACK may come later.
func TestAnswerBeforePrack(t *testing.T) {
	t.Parallel()
	_, a, b := phones(t, labOptions{})
	own := a.invite("8002", sdpFrom(a.local), h("Supported", "100rel"))
	inv := b.request("INVITE")
	b.tag = token()
	b.send(b.reply(inv, 180, "Ringing", ""))
	ringing := a.status("INVITE", 180)
	b.send(b.reply(inv, 200, "OK", sdpFrom(b.local)))
	if ok := a.status("INVITE", 200); ok.body == "" {
		t.Errorf("no answer in\n%s", ok.text())
	}
	d := a.dialogOfCaller(ringing)
	d.send("PRACK", "", rack(ringing))
	a.status("PRACK", 200)
	d.ack(own)
	b.request("ACK")
	(&talk{a: a, b: b, da: d, db: b.dialogOfCallee(inv)}).hangUp(d)
}

// Without a PRACK the INVITE fails after 64*T1, and the phone stops ringing.
func TestNoPrack(t *testing.T) {
	t.Parallel()
	for _, answered := range []bool{false, true} {
		x, a, b := phones(t, labOptions{limits: call.Limits{T1: 5 * time.Millisecond}})
		inv := a.invite("8002", sdpFrom(a.local), h("Supported", "100rel"))
		in := b.request("INVITE")
		b.tag = token()
		b.send(b.reply(in, 183, "Progress", sdpFrom(b.local)))
		if answered {
			b.send(b.reply(in, 200, "OK", sdpFrom(b.local)))
		}
		a.send(a.ackFailure(inv, a.status("INVITE", 504)))
		if answered {
			b.request("ACK")
			b.send(b.reply(b.request("BYE"), 200, "OK", ""))
		} else {
			c := b.request("CANCEL")
			b.send(b.reply(c, 200, "OK", ""))
			b.send(b.reply(in, 487, "Request Terminated", ""))
			b.request("ACK")
		}
		if r := x.wantRecords(1)[0]; r.Result != cdr.Failed || r.Code != 504 || r.EndedBy != "system" {
			t.Errorf("record %+v", r)
		}
	}
}

// While a 2xx waits for its PRACK both sides can still give up.
func TestEndWhileAnswerIsHeld(t *testing.T) {
	t.Parallel()
	for _, by := range []string{"caller", "callee"} {
		x, a, b := phones(t, labOptions{})
		inv := a.invite("8002", sdpFrom(a.local), h("Supported", "100rel"))
		in := b.request("INVITE")
		b.tag = token()
		b.send(b.reply(in, 183, "Progress", sdpFrom(b.local)))
		a.status("INVITE", 183)
		b.send(b.reply(in, 200, "OK", sdpFrom(b.local)))
		if by == "caller" {
			a.cancel(inv)
			a.send(a.ackFailure(inv, a.status("INVITE", 487)))
			b.request("ACK")
			b.send(b.reply(b.request("BYE"), 200, "OK", ""))
		} else {
			b.dialogOfCallee(in).send("BYE", "")
			b.status("BYE", 200)
			a.send(a.ackFailure(inv, a.status("INVITE", 480)))
		}
		if r := x.wantRecords(1)[0]; r.EndedBy != by || r.AnsweredAt != nil {
			t.Errorf("record %+v", r)
		}
	}
}

// An INVITE without an offer: the phone's offer travels in its reliable 183, the caller's answer
// in its PRACK, so that people hear each other before the 2xx.
func TestLateOfferReliably(t *testing.T) {
	t.Parallel()
	x, a, b := phones(t, labOptions{})
	own := a.invite("8002", "", h("Supported", "100rel"))
	inv := b.request("INVITE")
	b.tag = token()
	b.send(b.reliably(inv, 183, 1, sdpFrom(b.local)))
	progress := a.status("INVITE", 183)
	if !strings.Contains(progress.body, "m=audio") || progress.header("RSeq") == "" {
		t.Fatalf("no offer in\n%s", progress.text())
	}
	b.quiet("PRACK before there is an answer", func(m *message) bool { return m.method() == "PRACK" })
	d := a.dialogOfCaller(progress)
	d.send("PRACK", sdpFrom(a.local), rack(progress), h("Content-Type", "application/sdp"))
	prack := wantPrack(t, b, "1", inv)
	if !strings.Contains(prack.body, "m=audio") {
		t.Errorf("no answer in\n%s", prack.text())
	}
	b.send(b.reply(prack, 200, "OK", ""))
	a.status("PRACK", 200)
	b.send(b.reply(inv, 200, "OK", ""))
	if ok := a.status("INVITE", 200); ok.body != "" {
		t.Errorf("another offer:\n%s", ok.text())
	}
	d.ack(own)
	if ack := b.request("ACK"); ack.body != "" {
		t.Errorf("another answer:\n%s", ack.text())
	}
	eventually(t, "established", func() bool { return state(x) == call.StateEstablished })
	k := &talk{a: a, b: b, da: d, db: b.dialogOfCallee(inv)}
	reinvite(t, k, k.db, sdpFrom(b.local, "a=sendonly"), sdpFrom(a.local, "a=recvonly"))
	k.hangUp(k.da)
}

// A caller without 100rel that makes no offer: phones are not asked for what could not go on.
func TestLateOfferUnreliably(t *testing.T) {
	t.Parallel()
	_, a, b := phones(t, labOptions{})
	a.invite("8002", "")
	inv := b.request("INVITE")
	if strings.Contains(inv.header("Supported"), "100rel") {
		t.Errorf("Supported %q", inv.header("Supported"))
	}
	b.send(b.reliably(inv, 183, 1, sdpFrom(b.local))) // it does so all the same
	b.quiet("PRACK", func(m *message) bool { return m.method() == "PRACK" })
	b.send(b.reply(inv, 486, "Busy Here", ""))
	a.status("INVITE", 486)
}

// earlySession is a call whose session is complete on both legs before the 2xx.
func earlySession(t *testing.T) (x *exchange, a, b *phone, own, inv *message, da, db *dlg) {
	t.Helper()
	x, a, b = phones(t, labOptions{})
	own, inv, da, db = earlyBetween(t, a, b)
	return x, a, b, own, inv, da, db
}

func earlyBetween(t *testing.T, a, b *phone) (own, inv *message, da, db *dlg) {
	t.Helper()
	own = a.invite(b.ext, sdpFrom(a.local), h("Supported", "100rel"), h("Allow", updates))
	inv = b.request("INVITE")
	b.tag = token()
	b.send(b.reliably(inv, 183, 1, sdpFrom(b.local)))
	b.send(b.reply(wantPrack(t, b, "1", inv), 200, "OK", ""))
	progress := a.status("INVITE", 183)
	da, db = a.dialogOfCaller(progress), b.dialogOfCallee(inv)
	da.send("PRACK", "", rack(progress))
	a.status("PRACK", 200)
	return own, inv, da, db
}

// Offers before the 2xx, from either side, and the session that remains.
func TestEarlyUpdate(t *testing.T) {
	t.Parallel()
	x, a, b, own, inv, da, db := earlySession(t)
	da.send("UPDATE", sdpFrom(a.local, "a=sendonly"))
	up := b.request("UPDATE")
	if !strings.Contains(up.body, "a=sendonly") {
		t.Errorf("the callee gets\n%s", up.text())
	}
	db.send("UPDATE", sdpFrom(b.local)) // glare
	b.status("UPDATE", 491)
	da.send("UPDATE", sdpFrom(a.local, "a=inactive")) // the second before the first is answered
	if res := a.status("UPDATE", 500); res.header("Retry-After") == "" {
		t.Error("no Retry-After")
	}
	b.send(b.reply(inv, 200, "OK", "")) // waits for the exchange
	b.send(b.reply(up, 200, "OK", sdpFrom(b.local, "a=recvonly")))
	if res := a.status("UPDATE", 200); !strings.Contains(res.body, "a=recvonly") {
		t.Errorf("the caller gets\n%s", res.text())
	}
	a.status("INVITE", 200)
	da.ack(own)
	b.request("ACK")
	eventually(t, "established, held by the UPDATE", func() bool { return state(x) == call.StateHeld })
	(&talk{a: a, b: b, da: da, db: db}).hangUp(db)
}

func TestEarlyUpdateFromCallee(t *testing.T) {
	t.Parallel()
	_, a, b, own, inv, da, db := earlySession(t)
	db.send("UPDATE", sdpFrom(b.local, "a=sendonly"))
	up := a.request("UPDATE")
	a.send(a.reply(up, 488, "Not Acceptable Here", ""))
	b.status("UPDATE", 488)
	da.send("UPDATE", "") // no offer: for us
	a.status("UPDATE", 200)
	da.send("INVITE", sdpFrom(a.local)) // RFC 3261 §14.2
	a.status("INVITE", 500)
	b.send(b.reply(inv, 200, "OK", ""))
	a.status("INVITE", 200)
	da.ack(own)
	b.request("ACK")
	(&talk{a: a, b: b, da: da, db: db}).hangUp(da)
}

// An answer that the asker cannot have: it keeps its session, the other phone gets its own back, and the set-up goes on.
func TestEarlyUpdateUndone(t *testing.T) {
	t.Parallel()
	x := newExchange(t, labOptions{}) // between two sites: the media pass through us
	a, b := newPhone(t, x, "8001", "UDP", "127.0.0.11"), newPhone(t, x, "2001", "UDP", "127.0.1.12")
	a.register()
	b.register()
	for _, glare := range []bool{false, true} {
		own, inv, da, db := earlyBetween(t, a, b)
		da.send("UPDATE", sdpFrom(a.local, "a=sendonly"))
		b.send(b.reply(b.request("UPDATE"), 200, "OK", "this is no description\r\n"))
		a.status("UPDATE", 488)
		back := b.request("UPDATE")
		if glare {
			b.send(b.reply(back, 491, "Request Pending", ""))
			back = b.request("UPDATE")
		}
		if strings.Contains(back.body, "a=sendonly") || back.body == "" {
			t.Errorf("the callee gets back\n%s", back.text())
		}
		b.send(b.reply(inv, 200, "OK", "")) // waits for it
		b.send(b.reply(back, 200, "OK", sdpFrom(b.local)))
		a.status("INVITE", 200)
		da.ack(own)
		b.request("ACK")
		(&talk{a: a, b: b, da: da, db: db}).hangUp(db)
	}
	_, inv, da, _ := earlyBetween(t, a, b) // one that refuses its old session loses the call
	da.send("UPDATE", sdpFrom(a.local, "a=sendonly"))
	b.send(b.reply(b.request("UPDATE"), 200, "OK", "this is no description\r\n"))
	a.status("UPDATE", 488)
	b.send(b.reply(b.request("UPDATE"), 500, "Server Internal Error", ""))
	b.send(b.reply(b.request("CANCEL"), 200, "OK", ""))
	b.send(b.reply(inv, 487, "Request Terminated", ""))
	a.status("INVITE", 488)
}

// A PRACK may bring a new offer (RFC 3262 §5); it goes on as UPDATE.
func TestOfferInPrack(t *testing.T) {
	t.Parallel()
	_, a, b := phones(t, labOptions{})
	a.invite("8002", sdpFrom(a.local), h("Supported", "100rel"), h("Allow", updates))
	inv := b.request("INVITE")
	b.tag = token()
	b.send(b.reliably(inv, 183, 1, sdpFrom(b.local)))
	b.send(b.reply(wantPrack(t, b, "1", inv), 200, "OK", ""))
	progress := a.status("INVITE", 183)
	d := a.dialogOfCaller(progress)
	d.send("PRACK", sdpFrom(a.local, "a=sendonly"), rack(progress), h("Content-Type", "application/sdp"))
	up := b.request("UPDATE")
	b.send(b.reply(up, 200, "OK", sdpFrom(b.local, "a=recvonly")))
	if res := a.status("PRACK", 200); !strings.Contains(res.body, "a=recvonly") {
		t.Errorf("PRACK answered with\n%s", res.text())
	}
	b.send(b.reply(inv, 486, "Busy Here", ""))
	a.status("INVITE", 486)
}

// Before the session is complete on both legs no offer can go on.
func TestEarlyUpdateTooEarly(t *testing.T) {
	t.Parallel()
	_, a, b := phones(t, labOptions{})
	a.invite("8002", sdpFrom(a.local), h("Allow", updates))
	inv := b.request("INVITE")
	b.tag = token()
	b.send(b.reply(inv, 183, "Progress", sdpFrom(b.local)))
	d := a.dialogOfCaller(a.status("INVITE", 183))
	d.send("UPDATE", sdpFrom(a.local))
	a.status("UPDATE", 500)
	b.dialogOfCallee(inv).send("UPDATE", sdpFrom(b.local))
	b.status("UPDATE", 491)
	b.dialogOfCallee(inv).send("PRACK", "", h("RAck", "1 1 INVITE")) // never ours to take
	b.send(b.reply(inv, 486, "Busy Here", ""))
	a.status("INVITE", 486)
}
