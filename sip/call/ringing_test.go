package call_test

import (
	"strings"
	"testing"
	"time"

	"linehall/sip/call"
	"linehall/sip/cdr"
)

// rings makes a call that rings and waits until the store has it.
func rings(t *testing.T, x *exchange, a, b *phone, extra ...[2]string) (own, inv *message) {
	t.Helper()
	a.register()
	b.register()
	own = a.invite(b.ext, sdpFrom(a.local), extra...)
	inv = b.request("INVITE")
	b.tag = token()
	b.send(b.reply(inv, 180, "Ringing", ""))
	a.status("INVITE", 180)
	x.wantStored(b.tag)
	return own, inv
}

// wantStored waits until a call's state with that text in it is in the database.
func (x *exchange) wantStored(text string) {
	x.t.Helper()
	eventually(x.t, "stored", func() bool {
		var state string
		err := x.db.QueryRowContext(x.t.Context(), "SELECT state FROM call_state").Scan(&state)
		return err == nil && strings.Contains(state, text)
	})
}

// wantAcked waits until the store knows that the callers have acknowledged the answers.
func (x *exchange) wantAcked() {
	x.t.Helper()
	eventually(x.t, "acknowledged", func() bool {
		var calls, waiting int
		err := x.db.QueryRowContext(x.t.Context(), `SELECT count(*), count(CASE WHEN state LIKE '%"answer":%' THEN 1 END) FROM call_state`).Scan(&calls, &waiting)
		return err == nil && calls > 0 && waiting == 0
	})
}

// sameRequest is a retransmission of an INVITE.
func sameRequest(t *testing.T, p *phone, inv *message) *message {
	t.Helper()
	p.wantRepeated()
	again := p.request("INVITE")
	if again.header("Via") != inv.header("Via") || again.header("CSeq") != inv.header("CSeq") || again.body != inv.body {
		t.Errorf("not a retransmission:\n%s\nof\n%s", again.text(), inv.text())
	}
	return again
}

// A call that rings over UDP when the process dies rings on: the phone's answer is the call's.
func TestRingingRecovered(t *testing.T) {
	t.Parallel()
	for _, ip := range []string{"127.0.0.12 8002", "127.0.1.12 2001"} {
		at, ext, _ := strings.Cut(ip, " ")
		x := newExchange(t, labOptions{})
		a, b := newPhone(t, x, "8001", "UDP", "127.0.0.11"), newPhone(t, x, ext, "UDP", at)
		own, inv := rings(t, x, a, b)
		id := x.calls.Snapshot()[0].ID
		x.kill()
		x.start(labOptions{})
		if s := x.calls.Snapshot(); len(s) != 1 || s[0].ID != id || s[0].State != call.StateRinging {
			t.Fatalf("after the restart: %+v", s)
		}
		a.wantRepeated()
		b.send(b.reply(sameRequest(t, b, inv), 180, "Ringing", ""))
		a.status("INVITE", 180)
		a.wantRepeated()
		a.send(own) // a retransmission of the caller's is absorbed
		a.status("INVITE", 180)
		b.send(b.reply(inv, 200, "OK", sdpFrom(b.local)))
		ok := a.status("INVITE", 200)
		if !strings.Contains(ok.body, "m=audio") {
			t.Errorf("no answer in\n%s", ok.text())
		}
		k := &talk{a: a, b: b, da: a.dialogOfCaller(ok), db: b.dialogOfCallee(inv)}
		b.request("ACK")
		k.da.send("ACK", "")
		eventually(t, "established", func() bool { return state(x) == call.StateEstablished })
		re := reinvite(t, k, k.da, sdpFrom(a.local, "a=sendonly"), sdpFrom(b.local, "a=recvonly"))
		if port(re.body) != port(inv.body) {
			t.Errorf("media port %s, was %s", port(re.body), port(inv.body))
		}
		k.hangUp(k.db)
		if r := x.wantRecords(1)[0]; r.ID != id || r.Result != cdr.Answered {
			t.Errorf("record %+v", r)
		}
		eventually(t, "the line is free", func() bool { return x.ledger.Snapshot()[0].Reserved == 0 })
	}
}

// The caller gives up after the restart.
func TestRingingRecoveredCancel(t *testing.T) {
	t.Parallel()
	x := newExchange(t, labOptions{})
	a, b := newPhone(t, x, "8001", "UDP", "127.0.0.11"), newPhone(t, x, "8002", "UDP", "127.0.0.12")
	own, inv := rings(t, x, a, b)
	x.kill()
	x.start(labOptions{})
	b.send(b.reply(sameRequest(t, b, inv), 180, "Ringing", ""))
	a.cancel(own)
	a.status("CANCEL", 200)
	a.send(a.ackFailure(own, a.status("INVITE", 487)))
	c := b.request("CANCEL")
	if strings.Split(c.header("Via"), "branch=")[1] != strings.Split(inv.header("Via"), "branch=")[1] {
		t.Errorf("CANCEL of another transaction: %s", c.header("Via"))
	}
	b.send(b.reply(c, 200, "OK", ""))
	b.send(b.reply(inv, 487, "Request Terminated", ""))
	b.request("ACK")
	if r := x.wantRecords(1)[0]; r.Result != cdr.Cancelled {
		t.Errorf("record %+v", r)
	}
}

// The phone answered, or declined, while nobody was there: it repeats itself.
func TestAnsweredWhileAway(t *testing.T) {
	t.Parallel()
	for _, code := range []int{200, 486} {
		x := newExchange(t, labOptions{})
		a, b := newPhone(t, x, "8001", "UDP", "127.0.0.11"), newPhone(t, x, "8002", "UDP", "127.0.0.12")
		own, inv := rings(t, x, a, b)
		x.kill()
		x.start(labOptions{})
		sameRequest(t, b, inv)
		if code != 200 {
			b.send(b.reply(inv, 486, "Busy Here", ""))
			b.request("ACK")
			a.send(a.ackFailure(own, a.status("INVITE", 486)))
			continue
		}
		b.send(b.reply(inv, 200, "OK", sdpFrom(b.local)))
		ok := a.status("INVITE", 200)
		k := &talk{a: a, b: b, da: a.dialogOfCaller(ok), db: b.dialogOfCallee(inv)}
		k.da.send("ACK", "")
		k.hangUp(k.da)
	}
}

// A caller's connection does not outlive the process: its call ends, the phone stops ringing.
func TestRingingOverTCPEnds(t *testing.T) {
	t.Parallel()
	x := newExchange(t, labOptions{})
	a, b := newPhone(t, x, "8001", "TCP", "127.0.0.11"), newPhone(t, x, "8002", "UDP", "127.0.0.12")
	_, inv := rings(t, x, a, b)
	x.kill()
	x.start(labOptions{})
	b.send(b.reply(sameRequest(t, b, inv), 180, "Ringing", ""))
	b.send(b.reply(b.request("CANCEL"), 200, "OK", ""))
	b.send(b.reply(inv, 487, "Request Terminated", ""))
	b.request("ACK")
	x.wantRecords(1)
}

// The state of reliable responses comes back as well.
func TestReliableRecovered(t *testing.T) {
	t.Parallel()
	x := newExchange(t, labOptions{})
	a, b := newPhone(t, x, "8001", "UDP", "127.0.0.11"), newPhone(t, x, "8002", "UDP", "127.0.0.12")
	a.register()
	b.register()
	own := a.invite("8002", sdpFrom(a.local), h("Supported", "100rel"))
	inv := b.request("INVITE")
	b.tag = token()
	progress := b.reliably(inv, 183, 77, sdpFrom(b.local))
	b.send(progress)
	b.send(b.reply(wantPrack(t, b, "77", inv), 200, "OK", ""))
	early := a.status("INVITE", 183)
	x.wantStored(b.tag)
	x.kill()
	x.start(labOptions{})
	sameRequest(t, b, inv)
	b.send(progress) // what it said last
	b.quiet("a second PRACK", func(m *message) bool { return m.method() == "PRACK" })
	a.wantRepeated()
	if again := a.status("INVITE", 183); again.header("RSeq") != early.header("RSeq") || again.body != early.body {
		t.Errorf("repeated as\n%s", again.text())
	}
	d := a.dialogOfCaller(early)
	d.send("PRACK", "", rack(early))
	a.status("PRACK", 200)
	b.send(b.reply(inv, 200, "OK", ""))
	a.status("INVITE", 200)
	d.ack(own)
	b.request("ACK")
	eventually(t, "established", func() bool { return state(x) == call.StateEstablished })
	(&talk{a: a, b: b, da: d, db: b.dialogOfCallee(inv)}).hangUp(d)
}

// Our 2xx was on its way, or lost: it is repeated until the ACK, as before.
func TestAnswerWithoutAckRecovered(t *testing.T) {
	t.Parallel()
	x := newExchange(t, labOptions{})
	a, b := newPhone(t, x, "8001", "UDP", "127.0.0.11"), newPhone(t, x, "8002", "UDP", "127.0.0.12")
	a.register()
	b.register()
	a.invite("8002", sdpFrom(a.local))
	inv := b.request("INVITE")
	b.tag = token()
	b.send(b.reply(inv, 200, "OK", sdpFrom(b.local)))
	first := a.status("INVITE", 200)
	x.kill()
	x.start(labOptions{})
	a.wantRepeated()
	ok := a.status("INVITE", 200)
	if ok.body != first.body || ok.header("To") != first.header("To") {
		t.Errorf("repeated as\n%s", ok.text())
	}
	b.request("ACK")
	k := &talk{a: a, b: b, da: a.dialogOfCaller(ok), db: b.dialogOfCallee(inv)}
	k.da.send("ACK", "")
	reinvite(t, k, k.db, sdpFrom(b.local, "a=sendonly"), sdpFrom(a.local, "a=recvonly"))
	eventually(t, "held", func() bool { return state(x) == call.StateHeld })
	k.da.send("UPDATE", "") // what came before it is stored when it is answered
	a.status("UPDATE", 200)
	x.kill() // and a held call comes back held
	x.start(labOptions{})
	if state(x) != call.StateHeld {
		t.Errorf("state %s", state(x))
	}
	k.hangUp(k.da)
	if r := x.wantRecords(1)[0]; r.Result != cdr.Answered {
		t.Errorf("record %+v", r)
	}
}

// Our 2xx to a re-INVITE was on its way, or lost: it is repeated, and its ACK makes the new session the call's.
func TestReanswerWithoutAckRecovered(t *testing.T) {
	t.Parallel()
	for _, from := range []string{"caller", "callee"} {
		x, k := acrossSites(t, labOptions{})
		asks, other, d := k.a, k.b, k.da
		if from == "callee" {
			asks, other, d = k.b, k.a, k.db
		}
		d.send("INVITE", sdpFrom(asks.local, "a=sendonly"))
		in := other.request("INVITE")
		other.send(other.reply(in, 200, "OK", sdpFrom(other.local, "a=recvonly")))
		other.request("ACK")
		first := asks.status("INVITE", 200)
		x.wantStored(`"reanswer":`)
		x.kill()
		x.start(labOptions{})
		asks.wantRepeated()
		if again := asks.status("INVITE", 200); again.body != first.body || again.header("CSeq") != first.header("CSeq") {
			t.Errorf("repeated as\n%s", again.text())
		}
		if from == "caller" {
			d.send("ACK", "")
		} else { // it did so while nobody was there
			d.send("UPDATE", "")
			asks.status("UPDATE", 200)
		}
		eventually(t, "held", func() bool { return state(x) == call.StateHeld })
		reinvite(t, k, d, sdpFrom(asks.local), sdpFrom(other.local))
		eventually(t, "taken out of hold", func() bool { return state(x) == call.StateEstablished })
		k.hangUp(d)
	}
}

// The answer to a re-INVITE without an offer comes in its ACK: a crash between the 2xx and that one does not bring the old
// session back, whether the ACK comes after the restart or is repeated because our 2xx is.
func TestLateReanswerWithoutAckRecovered(t *testing.T) {
	t.Parallel()
	for _, from := range []string{"caller", "callee"} {
		x, k := acrossSites(t, labOptions{})
		asks, other, d := k.a, k.b, k.da
		if from == "callee" {
			asks, other, d = k.b, k.a, k.db
		}
		d.send("INVITE", "")
		in := other.request("INVITE")
		offer := other.reply(in, 200, "OK", sdpFrom(other.local, "a=sendonly"))
		other.send(offer)
		first := asks.status("INVITE", 200)
		x.wantStored(`"late":true`)
		x.kill()
		x.start(labOptions{})
		asks.wantRepeated()
		if again := asks.status("INVITE", 200); again.body != first.body {
			t.Errorf("repeated as\n%s", again.text())
		}
		other.send(offer) // it waits for its ACK
		d.send("ACK", sdpFrom(asks.local, "a=recvonly"))
		if ack := other.request("ACK"); !strings.Contains(ack.body, "a=recvonly") {
			t.Errorf("acknowledged with\n%s", ack.text())
		}
		eventually(t, "held", func() bool { return state(x) == call.StateHeld })
		reinvite(t, k, d, sdpFrom(asks.local), sdpFrom(other.local))
		eventually(t, "taken out of hold", func() bool { return state(x) == call.StateEstablished })
		k.hangUp(d)
	}
}

// The connection of whoever asked for an offer goes with the process: it hears the offer again over its next one, and its
// answer arrives. If it does not come back, the other phone keeps its old session.
func TestLateReanswerOverAConnectionRecovered(t *testing.T) {
	t.Parallel()
	for _, returns := range []bool{true, false} {
		var o labOptions
		if !returns {
			o.limits.T1 = 20 * time.Millisecond // so that waiting for it is soon over
		}
		x := newExchange(t, o)
		asks, other := newPhone(t, x, "8001", "TCP", "127.0.0.11"), newPhone(t, x, "2001", "UDP", "127.0.1.12")
		asks.register()
		other.register()
		k := connect(t, asks, other)
		k.da.send("INVITE", "")
		other.send(other.reply(other.request("INVITE"), 200, "OK", sdpFrom(other.local, "a=sendonly")))
		first := asks.status("INVITE", 200)
		x.wantStored(`"late":true`)
		x.kill()
		x.start(o)
		back := func() {
			_ = asks.conn.Close()
			asks.open("127.0.0.11")
			old := asks.call
			asks.register()
			asks.call = old
		}
		if returns {
			asks.wantRepeated()
			back()
			if again := asks.status("INVITE", 200); again.body != first.body {
				t.Errorf("repeated as\n%s", again.text())
			}
			k.da.send("ACK", sdpFrom(asks.local, "a=recvonly"))
			if ack := other.request("ACK"); !strings.Contains(ack.body, "a=recvonly") {
				t.Errorf("acknowledged with\n%s", ack.text())
			}
			eventually(t, "held", func() bool { return state(x) == call.StateHeld })
		} else {
			if ack := other.request("ACK"); !strings.Contains(ack.body, "m=audio 0 ") {
				t.Errorf("acknowledged with\n%s", ack.text())
			}
			back()
		}
		reinvite(t, k, k.db, sdpFrom(other.local), sdpFrom(asks.local))
		eventually(t, "established", func() bool { return state(x) == call.StateEstablished })
		k.hangUp(k.db)
	}
}
