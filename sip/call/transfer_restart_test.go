package call_test

import (
	"context"
	"net"
	"slices"
	"strings"
	"testing"
	"time"

	"linehall/sip/call"
	"linehall/sip/cdr"
	"linehall/sip/route"
	"linehall/sip/stack"
)

// wantStates waits until as many calls are stored, one for each text, that contain it.
func (x *exchange) wantStates(texts ...string) {
	x.t.Helper()
	var states []string
	eventually(x.t, "stored: "+strings.Join(texts, " and "), func() bool {
		rows, err := x.db.QueryContext(x.t.Context(), "SELECT state FROM call_state")
		if err != nil {
			return false
		}
		defer rows.Close()
		states = nil
		for rows.Next() {
			var state string
			if rows.Scan(&state) != nil {
				return false
			}
			states = append(states, state)
		}
		left := slices.Clone(states)
		for _, text := range texts {
			at := slices.IndexFunc(left, func(s string) bool { return strings.Contains(s, text) })
			if at < 0 {
				return false
			}
			left = slices.Delete(left, at, at+1)
		}
		return rows.Err() == nil && len(left) == 0
	})
}

// wantLinked waits until the store knows that the parties of every call have been brought together.
func (x *exchange) wantLinked() {
	x.t.Helper()
	eventually(x.t, "linked", func() bool {
		left := -1
		err := x.db.QueryRowContext(x.t.Context(), `SELECT count(*) FROM call_state WHERE instr(state, '"link":')`).Scan(&left)
		return err == nil && left == 0
	})
}

// lose removes the state that contains a text, as if it had never been written.
func (x *exchange) lose(text string) {
	x.t.Helper()
	var id string
	err := x.db.QueryRowContext(x.t.Context(), "DELETE FROM call_state WHERE instr(state, ?) RETURNING id", text).Scan(&id)
	if err != nil {
		x.t.Fatal(err)
	}
}

func (x *exchange) restart(o labOptions) {
	x.t.Helper()
	x.kill()
	x.start(o)
}

// wantNothing waits until no call, no state and no reservation is left.
func (x *exchange) wantNothing() {
	x.t.Helper()
	eventually(x.t, "no call left", func() bool { return len(x.calls.Snapshot()) == 0 && x.ledger.Snapshot()[0].Reserved == 0 })
	x.wantStates()
}

// transferRings has the party of a call moved to a phone that rings, both stored.
func transferRings(t *testing.T) (x *exchange, k *talk, c *phone, inv *message) {
	t.Helper()
	x, k, c = threePhones(t, labOptions{})
	if res := k.db.refer("<sip:8003@" + domain + ">"); res.code() != 202 {
		t.Fatalf("REFER: %s", res.first)
	}
	k.db.told("100")
	inv = c.request("INVITE")
	c.tag = token()
	c.send(c.reply(inv, 180, "Ringing", ""))
	k.db.told("180")
	x.wantStates(c.tag, `"transfer":`)
	return x, k, c, inv
}

// moved answers the target's INVITE and follows the party to it.
func moved(x *exchange, k *talk, c *phone, inv *message) {
	x.t.Helper()
	c.send(c.reply(inv, 200, "OK", sdpFrom(c.local)))
	c.request("ACK")
	k.a.answerOffer(sdpFrom(k.a.local))
	rest := &talk{a: k.a, b: c, da: k.da, db: c.dialogOfCallee(inv)}
	eventually(x.t, "the two talk", func() bool {
		s := x.calls.Snapshot()
		return len(s) == 1 && s[0].From.Extension == k.a.ext && s[0].To.Extension == c.ext && s[0].State == call.StateEstablished
	})
	reinvite(x.t, rest, rest.db, sdpFrom(c.local, "a=sendonly"), sdpFrom(k.a.local, "a=recvonly"))
	rest.hangUp(rest.db)
	x.wantNothing()
}

// A transfer whose target rings when the process dies goes on: the target rings, its answer reaches
// the party, and the transferor is told.
func TestTransferRestarted(t *testing.T) {
	t.Parallel()
	x, k, c, inv := transferRings(t)
	x.restart(labOptions{})
	c.send(c.reply(sameRequest(t, c, inv), 180, "Ringing", ""))
	k.db.told("180")
	c.send(c.reply(inv, 200, "OK", sdpFrom(c.local)))
	c.request("ACK")
	k.a.answerOffer(sdpFrom(k.a.local))
	if state := k.db.told("200"); !strings.HasPrefix(state, "terminated") {
		t.Errorf("Subscription-State %q", state)
	}
	k.b.bye()
	rest := &talk{a: k.a, b: c, da: k.da, db: c.dialogOfCallee(inv)}
	reinvite(t, rest, rest.db, sdpFrom(c.local, "a=sendonly"), sdpFrom(k.a.local, "a=recvonly"))
	rest.hangUp(rest.da)
	records := x.wantRecords(2)
	if first, second := records[1], records[0]; first.Reason != "transferred" || second.TransferredBy != k.b.ext || second.Linked[0] != first.ID || second.Result != cdr.Answered {
		t.Errorf("records %+v", records)
	}
	x.wantNothing()
}

// The target declines after the restart: the call is as it was.
func TestTransferRestartedFails(t *testing.T) {
	t.Parallel()
	x, k, c, inv := transferRings(t)
	x.restart(labOptions{})
	sameRequest(t, c, inv)
	c.send(c.reply(inv, 486, "Busy Here", ""))
	c.request("ACK")
	if state := k.db.told("486"); !strings.HasPrefix(state, "terminated") {
		t.Errorf("Subscription-State %q", state)
	}
	reinvite(t, k, k.db, sdpFrom(k.b.local), sdpFrom(k.a.local))
	k.hangUp(k.da)
	x.wantNothing()
}

// A transferor that has hung up before the restart left the party alone; it waits on for the target.
func TestPartyWaitsOverRestart(t *testing.T) {
	t.Parallel()
	for _, end := range []string{"answer", "decline", "hang up"} {
		t.Run(end, func(t *testing.T) {
			x, k, c, inv := transferRings(t)
			k.db.send("BYE", "")
			k.b.status("BYE", 200)
			x.wantStates(`"seat":`)
			x.restart(labOptions{})
			sameRequest(t, c, inv)
			switch end {
			case "answer":
				moved(x, k, c, inv)
				return
			case "decline":
				c.send(c.reply(inv, 486, "Busy Here", ""))
				if bye := k.a.bye(); !strings.Contains(bye.header("Reason"), "cause=486") {
					t.Errorf("Reason %q", bye.header("Reason"))
				}
			default:
				c.send(c.reply(inv, 180, "Ringing", ""))
				k.da.send("BYE", "")
				k.a.status("BYE", 200)
				c.send(c.reply(c.request("CANCEL"), 200, "OK", ""))
				c.send(c.reply(inv, 487, "Request Terminated", ""))
			}
			c.request("ACK")
			x.wantRecords(2)
			x.wantNothing()
		})
	}
}

// Each of the two calls may be missing after a crash: what is left ends or goes on by itself.
func TestTransferHalfRestored(t *testing.T) {
	t.Parallel()
	t.Run("without the attempt", func(t *testing.T) {
		x, k, c, _ := transferRings(t)
		x.lose(c.tag)
		x.restart(labOptions{})
		if state := k.db.told("503"); !strings.HasPrefix(state, "terminated") {
			t.Errorf("Subscription-State %q", state)
		}
		reinvite(t, k, k.db, sdpFrom(k.b.local), sdpFrom(k.a.local))
		k.hangUp(k.da)
		x.wantNothing()
	})
	t.Run("without the call", func(t *testing.T) {
		x, _, c, inv := transferRings(t)
		x.lose(`"transfer":`)
		x.restart(labOptions{})
		c.send(c.reply(sameRequest(t, c, inv), 180, "Ringing", ""))
		c.send(c.reply(c.request("CANCEL"), 200, "OK", ""))
		c.send(c.reply(inv, 487, "Request Terminated", ""))
		c.request("ACK")
		x.wantNothing()
	})
}

// The party was stored with the next call, and still with the one that gave it away: it belongs to
// the next one, and the other one ends without a word to it.
func TestPartyStoredTwice(t *testing.T) {
	t.Parallel()
	x, k, c, inv := transferRings(t)
	c.send(c.reply(inv, 200, "OK", sdpFrom(c.local)))
	c.request("ACK")
	k.a.answerOffer(sdpFrom(k.a.local))
	k.b.request("NOTIFY") // it is told, and its BYE waits for its answer
	x.wantStates(`"transferred_by":"`+k.b.ext, `"handed":true`)
	x.wantLinked()
	x.restart(labOptions{})
	k.b.bye()
	k.a.quiet("a BYE", func(m *message) bool { return m.method() == "BYE" })
	rest := &talk{a: k.a, b: c, da: k.da, db: c.dialogOfCallee(inv)}
	reinvite(t, rest, rest.db, sdpFrom(c.local, "a=sendonly"), sdpFrom(k.a.local, "a=recvonly"))
	rest.hangUp(rest.da)
	x.wantRecords(2)
	x.wantNothing()
}

// The target has answered and the party has not heard of it: both are brought together again.
func TestLinkRestarted(t *testing.T) {
	t.Parallel()
	x, k, c, inv := transferRings(t)
	c.send(c.reply(inv, 200, "OK", sdpFrom(c.local)))
	c.request("ACK")
	k.a.request("INVITE")
	x.wantStates(`"link":`, `"handed":true`)
	x.restart(labOptions{})
	k.b.bye()
	if re := c.answerOffer(sdpFrom(c.local)); !strings.Contains(re.body, "m=audio") {
		t.Errorf("the target is offered\n%s", re.body)
	}
	if re := k.a.answerOffer(sdpFrom(k.a.local)); !strings.Contains(re.header("P-Asserted-Identity"), "8003") {
		t.Errorf("the party talks to %q", re.header("P-Asserted-Identity"))
	}
	rest := &talk{a: k.a, b: c, da: k.da, db: c.dialogOfCallee(inv)}
	reinvite(t, rest, rest.db, sdpFrom(c.local, "a=sendonly"), sdpFrom(k.a.local, "a=recvonly"))
	rest.hangUp(rest.da)
	x.wantNothing()
}

// joining has an attended transfer under way, of which the target has heard and the store has both calls of the transferor.
func joining(t *testing.T) (x *exchange, k, k2 *talk, re *message) {
	t.Helper()
	x, k, k2 = consult(t)
	k.db.refer("<sip:8003@" + domain + "?Replaces=" + escaped(replacesOf(k2.da, "")) + ">")
	k.db.told("100")
	re = k2.b.request("INVITE") // from the party's call, which is not stored
	x.wantStates(`"named":`, `"handed":true`)
	eventually(t, "all records begun", func() bool {
		var n int
		err := x.db.QueryRowContext(t.Context(), "SELECT count(*) FROM cdr").Scan(&n)
		return err == nil && n == 3
	})
	return x, k, k2, re
}

// joined follows an attended transfer to its end.
func joined(x *exchange, k, k2 *talk) {
	x.t.Helper()
	k.a.answerOffer(sdpFrom(k.a.local))
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
	rest := &talk{a: k.a, b: k2.b, da: k.da, db: k2.db}
	reinvite(x.t, rest, rest.da, sdpFrom(k.a.local, "a=sendonly"), sdpFrom(k2.b.local, "a=recvonly"))
	rest.hangUp(rest.db)
	records := x.wantRecords(4)
	if r := records[0]; r.From != k.a.ext || r.To != k2.b.ext || r.Result != cdr.Answered || r.TransferredBy != "2001" {
		x.t.Errorf("the record of the party's call: %+v", r)
	}
	if r := records[1]; r.Result != cdr.Failed || r.Reason != "interrupted by a restart" {
		x.t.Errorf("the record of the attempt before the crash: %+v", r)
	}
	x.wantNothing()
}

// An attended transfer under way at a crash is begun anew: the party and the target talk, and the transferor is told.
func TestAttendedTransferRestarted(t *testing.T) {
	t.Parallel()
	x, k, k2, _ := joining(t)
	x.restart(labOptions{})
	k2.b.answerOffer(sdpFrom(k2.b.local))
	joined(x, k, k2)
}

// The target had answered before the crash, which nobody has acknowledged: it refuses to be asked again until that is done.
func TestAttendedTransferRestartedGlare(t *testing.T) {
	t.Parallel()
	x, k, k2, re := joining(t)
	x.restart(labOptions{})
	again := k2.b.request("INVITE")
	k2.b.send(k2.b.reply(again, 491, "Request Pending", ""))
	k2.b.send(k2.b.reply(re, 200, "OK", sdpFrom(k2.b.local))) // repeated
	acks := map[string]bool{}
	for len(acks) < 2 {
		acks[k2.b.request("ACK").header("CSeq")] = true
	}
	k2.b.answerOffer(sdpFrom(k2.b.local))
	joined(x, k, k2)
}

// The target does not want to, after the crash: both calls go on, each with its session.
func TestAttendedTransferRestartedFails(t *testing.T) {
	t.Parallel()
	x, k, k2, _ := joining(t)
	x.restart(labOptions{})
	re := k2.b.request("INVITE")
	k2.b.send(k2.b.reply(re, 603, "Decline", ""))
	k2.b.request("ACK")
	k.db.told("603")
	k2.b.answerOffer(sdpFrom(k2.b.local)) // its old session
	reinvite(t, k, k.db, sdpFrom(k.b.local), sdpFrom(k.a.local))
	k2.hangUp(k2.db)
	k.hangUp(k.da)
	x.wantNothing()
}

// The consultation of a transfer rings over a restart, for the party.
func TestSemiAttendedTransferRestarted(t *testing.T) {
	t.Parallel()
	x, k, c := threePhones(t, labOptions{})
	b := *k.b
	b.tag = token()
	inv := b.invite("8003", sdpFrom(b.local))
	in := c.request("INVITE")
	c.tag = token()
	c.send(c.reply(in, 180, "Ringing", ""))
	ringing := b.dialogOfCaller(b.status("INVITE", 180))
	k.db.refer("<sip:8003@" + domain + "?Replaces=" + escaped(replacesOf(ringing, "")) + ">")
	b.send(b.ackFailure(inv, b.status("INVITE", 487)))
	k.db.told("180")
	x.wantStates(`"transfer":`, `"connected":`)
	x.restart(labOptions{})
	sameRequest(t, c, in)
	c.send(c.reply(in, 200, "OK", sdpFrom(c.local)))
	c.request("ACK")
	if re := c.answerOffer(sdpFrom(c.local)); !strings.Contains(re.header("P-Asserted-Identity"), "8001") {
		t.Errorf("the target talks to %s", re.header("P-Asserted-Identity"))
	}
	k.a.answerOffer(sdpFrom(k.a.local))
	k.db.told("200")
	k.b.bye()
	rest := &talk{a: k.a, b: c, da: k.da, db: c.dialogOfCallee(in)}
	reinvite(t, rest, rest.db, sdpFrom(c.local, "a=sendonly"), sdpFrom(k.a.local, "a=recvonly"))
	rest.hangUp(rest.db)
	x.wantNothing()
}

// A call of ours goes on over two restarts, while either of its parties rings.
func TestOriginateRestarted(t *testing.T) {
	t.Parallel()
	x := newExchange(t, labOptions{})
	a, b := newPhone(t, x, "8001", "UDP", "127.0.0.11"), newPhone(t, x, "2001", "UDP", "127.0.1.12")
	a.register()
	b.register()
	if _, err := x.calls.Originate(t.Context(), call.Origination{From: "8001", To: "2001"}); err != nil {
		t.Fatal(err)
	}
	in := a.request("INVITE")
	a.tag = token()
	a.send(a.reply(in, 180, "Ringing", ""))
	x.wantStates(a.tag)
	x.restart(labOptions{})
	sameRequest(t, a, in)
	a.send(a.reply(in, 200, "OK", sdpFrom(a.local)))
	if ack := a.request("ACK"); !strings.Contains(ack.body, "a=inactive") {
		t.Errorf("the ACK carries\n%s", ack.body)
	}
	out := b.request("INVITE")
	b.tag = token()
	b.send(b.reply(out, 180, "Ringing", ""))
	x.wantStates(b.tag)
	x.restart(labOptions{})
	sameRequest(t, b, out)
	k := &talk{a: a, b: b, da: a.dialogOfCallee(in)}
	moved(x, k, b, out)
	r := x.wantRecords(2)[0]
	if r.From != "8001" || r.To != "2001" || !r.Originated || r.Result != cdr.Answered {
		t.Errorf("record %+v", r)
	}
}

// lostRouter does not answer while the process lives.
type lostRouter struct{ ports map[string]string }

func (r *lostRouter) Route(ctx context.Context, _ route.Request) route.Plan {
	for ctx.Err() == nil {
		if socket, err := (&net.ListenConfig{}).ListenPacket(ctx, "udp", r.ports[stack.UDP]); err == nil {
			_ = socket.Close()
			break
		}
		time.Sleep(time.Millisecond)
	}
	return route.Plan{}
}

// Whom such a call rings was not found yet: it is looked for again.
func TestOriginateRestartedEarly(t *testing.T) {
	t.Parallel()
	router := &lostRouter{}
	x := newExchange(t, labOptions{router: router})
	router.ports = x.ports
	a, b := newPhone(t, x, "8001", "UDP", "127.0.0.11"), newPhone(t, x, "2001", "UDP", "127.0.1.12")
	a.register()
	b.register()
	if _, err := x.calls.Originate(t.Context(), call.Origination{From: "8001", To: "2001"}); err != nil {
		t.Fatal(err)
	}
	in := a.request("INVITE")
	a.tag = token()
	a.send(a.reply(in, 200, "OK", sdpFrom(a.local)))
	a.request("ACK")
	x.wantStates(`"seat":`)
	x.restart(labOptions{})
	out := b.request("INVITE")
	b.tag = token()
	moved(x, &talk{a: a, b: b, da: a.dialogOfCallee(in)}, b, out)
}
