package call_test

import (
	"strings"
	"testing"

	"linehall/sip/call"
	"linehall/sip/cdr"
)

// replacesOf is the Replaces of a dialog as its phone knows it.
func replacesOf(d *dlg, more string) string {
	tag := func(nameAddr string) string { _, t, _ := strings.Cut(nameAddr, ";tag="); return t }
	return d.id + ";to-tag=" + tag(d.remote) + ";from-tag=" + tag(d.local) + more
}

func escaped(s string) string {
	return strings.NewReplacer(";", "%3B", "=", "%3D", "@", "%40").Replace(s)
}

// consult: a talks to b, and b to c.
func consult(t *testing.T) (x *exchange, k, k2 *talk) {
	t.Helper()
	x, k = acrossSites(t, labOptions{})
	c := newPhone(t, x, "8003", "UDP", "127.0.0.13")
	c.register()
	reinvite(t, k, k.db, sdpFrom(k.b.local, "a=sendonly"), sdpFrom(k.a.local, "a=recvonly"))
	b := *k.b // the same phone's second call has tags of its own
	b.tag = token()
	k2 = connect(t, &b, c)
	k2.da.send("INFO", "") // behind the ACK
	info := c.request("INFO")
	c.send(c.reply(info, 200, "OK", ""))
	b.status("INFO", 200)
	return x, k, k2
}

func TestAttendedTransfer(t *testing.T) {
	t.Parallel()
	for _, direction := range []string{"first call names the second", "second names the first"} {
		t.Run(direction, func(t *testing.T) {
			x, k, k2 := consult(t)
			by, named, party, target := k.db, k2.da, k.a, k2.b
			if direction == "second names the first" {
				by, named, party, target = k2.da, k.db, k2.b, k.a
			}
			res := by.refer("<sip:" + target.ext + "@" + domain + "?Replaces=" + escaped(replacesOf(named, "")) + ">")
			if res.code() != 202 {
				t.Fatalf("REFER: %s", res.first)
			}
			re := target.answerOffer(sdpFrom(target.local))
			if strings.Contains(re.body, "a=recvonly") || !strings.Contains(re.header("P-Asserted-Identity"), party.ext) {
				t.Errorf("the target is offered %s\n%s", re.header("P-Asserted-Identity"), re.body)
			}
			re = party.answerOffer(sdpFrom(party.local))
			if !strings.Contains(re.header("P-Asserted-Identity"), target.ext) {
				t.Errorf("the party talks to %s", re.header("P-Asserted-Identity"))
			}
			// Both dialogs of the transferor end, and it hears of the success. In which order is open.
			ended, told := 0, false
			for ended < 2 || !told {
				m := k.b.next("BYE or NOTIFY", func(m *message) bool { return !m.response() && (m.method() == "BYE" || m.method() == "NOTIFY") })
				k.b.send(k.b.reply(m, 200, "OK", ""))
				switch {
				case m.method() == "BYE":
					ended++
				case strings.HasPrefix(m.body, "SIP/2.0 200"):
					told = true
				}
			}
			records := x.wantRecords(2)
			for _, r := range records {
				if r.Reason != "transferred" || r.Result != cdr.Answered || len(r.Linked) == 0 {
					t.Errorf("record %+v", r)
				}
			}
			rest := &talk{a: k.a, b: k2.b, da: k.da, db: k2.db}
			reinvite(t, rest, rest.da, sdpFrom(k.a.local, "a=sendonly"), sdpFrom(k2.b.local, "a=recvonly"))
			reinvite(t, rest, rest.db, sdpFrom(k2.b.local), sdpFrom(k.a.local))
			rest.hangUp(rest.da)
			r := x.wantRecords(3)[0]
			if r.From != party.ext || r.To != target.ext || r.TransferredBy != "2001" || len(r.Linked) != 2 || r.Result != cdr.Answered {
				t.Errorf("record %+v", r)
			}
			eventually(t, "the line given back", func() bool { return x.ledger.Snapshot()[0].Reserved == 0 })
		})
	}
}

// The target of an attended transfer refuses: both calls of the transferor go on.
func TestAttendedTransferFails(t *testing.T) {
	t.Parallel()
	x, k, k2 := consult(t)
	k.db.refer("<sip:8003@" + domain + "?Replaces=" + escaped(replacesOf(k2.da, "")) + ">")
	re := k2.b.request("INVITE")
	k2.b.send(k2.b.reply(re, 603, "Decline", ""))
	k2.b.request("ACK")
	k.db.told("603")
	eventually(t, "two calls again", func() bool { return len(x.calls.Snapshot()) == 2 })
	reinvite(t, k, k.db, sdpFrom(k.b.local), sdpFrom(k.a.local))
	k2.hangUp(k2.db)
	k.hangUp(k.da)
}

// The consultation rings: it rings on, and who answers talks to the party.
func TestSemiAttendedTransfer(t *testing.T) {
	t.Parallel()
	for _, answers := range []bool{true, false} {
		x, k := acrossSites(t, labOptions{})
		c := newPhone(t, x, "8003", "UDP", "127.0.0.13")
		c.register()
		b := *k.b
		b.tag = token()
		inv := b.invite("8003", sdpFrom(b.local))
		in := c.request("INVITE")
		c.tag = token()
		c.send(c.reply(in, 180, "Ringing", ""))
		ringing := b.dialogOfCaller(b.status("INVITE", 180))
		res := k.db.refer("<sip:8003@" + domain + "?Replaces=" + escaped(replacesOf(ringing, "")) + ">")
		if res.code() != 202 {
			t.Fatalf("REFER: %s", res.first)
		}
		b.send(b.ackFailure(inv, b.status("INVITE", 487)))
		b.cancel(inv) // as phones do; too late to matter
		k.db.told("180")
		c.quiet("CANCEL", func(m *message) bool { return m.method() == "CANCEL" })
		if !answers {
			c.send(c.reply(in, 486, "Busy Here", ""))
			k.db.told("486")
			k.hangUp(k.da)
			x.wantRecords(2)
			continue
		}
		c.send(c.reply(in, 200, "OK", sdpFrom(c.local)))
		c.request("ACK")
		re := c.answerOffer(sdpFrom(c.local))
		if !strings.Contains(re.header("P-Asserted-Identity"), "8001") {
			t.Errorf("the target talks to %s", re.header("P-Asserted-Identity"))
		}
		k.a.answerOffer(sdpFrom(k.a.local))
		k.db.told("200")
		k.b.bye()
		rest := &talk{a: k.a, b: c, da: k.da, db: c.dialogOfCallee(in)}
		reinvite(t, rest, rest.db, sdpFrom(c.local, "a=sendonly"), sdpFrom(k.a.local, "a=recvonly"))
		rest.hangUp(rest.db)
		if r := x.wantRecords(2)[0]; r.From != "8001" || r.To != "8003" || r.TransferredBy != "2001" {
			t.Errorf("record %+v", r)
		}
	}
}

func TestAttendedTransferRefused(t *testing.T) {
	t.Parallel()
	_, k, k2 := consult(t)
	for _, tt := range []struct {
		name, replaces string
		code           int
	}{
		{"no such dialog", "nothing;to-tag=1;from-tag=2", 404},
		{"its own dialog", replacesOf(k.db, ""), 404},
	} {
		if res := k.db.refer("<sip:8003@" + domain + "?Replaces=" + escaped(tt.replaces) + ">"); res.code() != tt.code {
			t.Errorf("%s: %s, want %d", tt.name, res.first, tt.code)
		}
	}
	// Somebody else's dialog: the other end of the transferor's own call counts as one.
	k.db.refer("<sip:8003@" + domain + "?Replaces=" + escaped(replacesOf(k2.db, "")) + ">")
	k.db.told("403")
	// Right tags but one.
	k.db.refer("<sip:8003@" + domain + "?Replaces=" + escaped(strings.Replace(replacesOf(k2.da, ""), "from-tag=", "from-tag=x", 1)) + ">")
	k.db.told("481")
	k2.hangUp(k2.da)
	k.hangUp(k.da)
}

// INVITE with Replaces: the same person's other phone takes the call.
func TestReplaces(t *testing.T) {
	t.Parallel()
	for _, late := range []bool{false, true} {
		x, k := acrossSites(t, labOptions{})
		d := newPhone(t, x, "2001", "UDP", "127.0.1.13")
		d.call = token()
		offer := sdpFrom(d.local)
		if late {
			offer = ""
		}
		d.invite("8001", offer, [2]string{"Replaces", replacesOf(k.db, "")}, [2]string{"Require", "replaces"})
		re := k.a.request("INVITE")
		if late != (re.body == "") {
			t.Errorf("late %v, the peer is offered\n%s", late, re.body)
		}
		k.a.send(k.a.reply(re, 200, "OK", sdpFrom(k.a.local)))
		ok := d.status("INVITE", 200)
		dd := d.dialogOfCaller(ok)
		answer := ""
		if late {
			answer = sdpFrom(d.local)
		}
		dd.send("ACK", answer)
		k.a.request("ACK")
		b := k.b.bye()
		if !strings.Contains(b.header("Reason"), "replaced") {
			t.Errorf("Reason %q", b.header("Reason"))
		}
		if r := x.wantRecords(1)[0]; r.Reason != "replaced" {
			t.Errorf("record %+v", r)
		}
		rest := &talk{a: k.a, b: d, da: k.da, db: dd}
		reinvite(t, rest, rest.da, sdpFrom(k.a.local, "a=sendonly"), sdpFrom(d.local, "a=recvonly"))
		rest.hangUp(rest.db)
		x.wantRecords(2)
	}
}

// The peer does not want to: the old call goes on.
func TestReplacesFails(t *testing.T) {
	t.Parallel()
	x, k := acrossSites(t, labOptions{})
	d := newPhone(t, x, "2001", "UDP", "127.0.1.13")
	inv := d.invite("8001", sdpFrom(d.local), [2]string{"Replaces", replacesOf(k.db, "")})
	re := k.a.request("INVITE")
	k.a.send(k.a.reply(re, 488, "Not Acceptable Here", ""))
	d.send(d.ackFailure(inv, d.status("INVITE", 488)))
	eventually(t, "the old call alone", func() bool { return state(x) == call.StateEstablished })
	reinvite(t, k, k.db, sdpFrom(k.b.local, "a=sendonly"), sdpFrom(k.a.local, "a=recvonly"))
	// Given up while the peer is asked: it gets its old session back.
	inv = d.invite("8001", sdpFrom(d.local), [2]string{"Replaces", replacesOf(k.db, "")})
	re = k.a.request("INVITE")
	k.a.send(k.a.reply(re, 100, "Trying", ""))
	d.cancel(inv)
	d.send(d.ackFailure(inv, d.status("INVITE", 487)))
	k.a.send(k.a.reply(re, 200, "OK", sdpFrom(k.a.local)))
	k.a.request("ACK")
	k.a.answerOffer(sdpFrom(k.a.local))
	k.hangUp(k.da)
}

func TestReplacesRefused(t *testing.T) {
	t.Parallel()
	x, k := acrossSites(t, labOptions{})
	d := newPhone(t, x, "8003", "UDP", "127.0.0.13")
	for _, tt := range []struct {
		name     string
		replaces []string
		code     int
	}{
		{"no such dialog", []string{"nothing;to-tag=1;from-tag=2"}, 481},
		{"unreadable", []string{"nothing"}, 400},
		{"two", []string{"a;to-tag=1;from-tag=2", "b;to-tag=1;from-tag=2"}, 400},
		{"early only", []string{replacesOf(k.db, ";early-only")}, 486},
		{"a stranger", []string{replacesOf(k.db, "")}, 403},
	} {
		var headers [][2]string
		for _, r := range tt.replaces {
			headers = append(headers, [2]string{"Replaces", r})
		}
		inv := d.invite("8001", sdpFrom(d.local), headers...)
		res := d.final("INVITE")
		d.send(d.ackFailure(inv, res))
		if res.code() != tt.code {
			t.Errorf("%s: %s, want %d", tt.name, res.first, tt.code)
		}
	}
	k.hangUp(k.da)
	x.wantRecords(6)
}
