package call_test

import (
	"fmt"
	"strings"
	"testing"

	"linehall/sip/call"
	"linehall/sip/cdr"
)

// three phones: a talks to b, and b will move a to c.
func threePhones(t *testing.T, o labOptions) (x *exchange, k *talk, c *phone) {
	t.Helper()
	x, k = acrossSites(t, o)
	c = newPhone(t, x, "8003", "UDP", "127.0.0.13")
	c.register()
	return x, k, c
}

// refer sends a REFER and returns its final response.
func (d *dlg) refer(to string, extra ...[2]string) *message {
	d.p.t.Helper()
	d.send("REFER", "", append([][2]string{{"Refer-To", to}}, extra...)...)
	return d.p.final("REFER")
}

// progress takes the next NOTIFY of a REFER, answers it and returns its status line.
func (d *dlg) progress() (status, state string) {
	d.p.t.Helper()
	n := d.p.request("NOTIFY")
	if !strings.HasPrefix(n.header("Event"), "refer") || !strings.HasPrefix(n.header("Content-Type"), "message/sipfrag") {
		d.p.t.Errorf("NOTIFY %s", n.text())
	}
	d.p.send(d.p.reply(n, 200, "OK", ""))
	return strings.TrimSpace(n.body), n.header("Subscription-State")
}

// told waits for the NOTIFY that begins with a status line.
func (d *dlg) told(want string) (state string) {
	d.p.t.Helper()
	for {
		status, state := d.progress()
		if strings.HasPrefix(status, "SIP/2.0 "+want) {
			return state
		}
		if strings.HasPrefix(state, "terminated") {
			d.p.t.Fatalf("%s: told %q, want %s", d.p.ext, status, want)
		}
	}
}

// bye takes a BYE.
func (p *phone) bye() *message {
	p.t.Helper()
	b := p.request("BYE")
	p.send(p.reply(b, 200, "OK", ""))
	return b
}

// answer takes a request with an offer, answers it and waits for the ACK.
func (p *phone) answerOffer(body string) *message {
	p.t.Helper()
	in := p.request("INVITE")
	p.send(p.reply(in, 200, "OK", body))
	p.request("ACK")
	return in
}

// The subscription that a REFER makes is prolonged and ended by SUBSCRIBE like any other (RFC 3515 §2.4.4); the transfer goes
// on without it.
func TestReferSubscriptionIsRefreshed(t *testing.T) {
	t.Parallel()
	_, k, c := threePhones(t, labOptions{})
	by := k.db
	subscribe := func(event, expires string, code int) *message {
		t.Helper()
		by.send("SUBSCRIBE", "", h("Event", event), h("Expires", expires))
		res := by.p.final("SUBSCRIBE")
		if res.code() != code {
			t.Errorf("SUBSCRIBE %s: %s, want %d", event, res.first, code)
		}
		return res
	}
	subscribe("refer", "60", 481) // there is none yet
	if res := by.refer("<sip:8003@" + domain + ">"); res.code() != 202 {
		t.Fatalf("REFER: %s", res.first)
	}
	by.told("100")
	inv := c.request("INVITE")
	c.tag = token()
	c.send(c.reply(inv, 180, "Ringing", ""))
	by.told("180")
	subscribe("dialog", "60", 489)
	subscribe("refer;id=999", "60", 481)
	if res := subscribe("refer", "60", 200); res.header("Expires") != "60" || res.header("Contact") == "" {
		t.Errorf("Expires %q, Contact %q", res.header("Expires"), res.header("Contact"))
	}
	var left int
	if status, state := by.progress(); !strings.HasPrefix(status, "SIP/2.0 180") {
		t.Errorf("told %q", status)
	} else if _, err := fmt.Sscanf(state, "active;expires=%d", &left); err != nil || left < 55 || left > 60 {
		t.Errorf("Subscription-State %q", state)
	}
	if res := subscribe("refer", "0", 200); res.header("Expires") != "0" {
		t.Errorf("Expires %q", res.header("Expires"))
	}
	if status, state := by.progress(); !strings.HasPrefix(status, "SIP/2.0 180") || state != "terminated;reason=timeout" {
		t.Errorf("told %q, %q", status, state)
	}
	c.send(c.reply(inv, 200, "OK", sdpFrom(c.local)))
	c.request("ACK")
	k.a.answerOffer(sdpFrom(k.a.local))
	by.p.bye()
}

func TestBlindTransfer(t *testing.T) {
	t.Parallel()
	for _, transferor := range []string{"callee", "caller"} {
		t.Run(transferor, func(t *testing.T) {
			x, k, c := threePhones(t, labOptions{})
			by, party, partyDialog := k.db, k.a, k.da
			if transferor == "caller" {
				by, party, partyDialog = k.da, k.b, k.db
			}
			res := by.refer("<sip:8003@" + domain + ">")
			if res.code() != 202 {
				t.Fatalf("REFER: %s", res.first)
			}
			if state := by.told("100"); !strings.HasPrefix(state, "active") {
				t.Errorf("Subscription-State %q", state)
			}
			inv := c.request("INVITE")
			if !strings.Contains(inv.header("From"), "sip:"+party.ext+"@") || !strings.Contains(inv.header("P-Asserted-Identity"), party.ext) {
				t.Errorf("the target is called by %s, %s", inv.header("From"), inv.header("P-Asserted-Identity"))
			}
			if want := "<sip:" + by.p.ext + "@" + domain + ">"; inv.header("Referred-By") != want {
				t.Errorf("Referred-By %q, want %q", inv.header("Referred-By"), want)
			}
			if !strings.Contains(inv.body, "m=audio") {
				t.Fatalf("no offer:\n%s", inv.body)
			}
			c.tag = token()
			c.send(c.reply(inv, 180, "Ringing", ""))
			by.told("180")
			c.send(c.reply(inv, 200, "OK", sdpFrom(c.local)))
			c.request("ACK")
			re := party.answerOffer(sdpFrom(party.local))
			if pai := re.header("P-Asserted-Identity"); !strings.Contains(pai, "8003") {
				t.Errorf("the party talks to %q", pai)
			}
			if state := by.told("200"); !strings.HasPrefix(state, "terminated") {
				t.Errorf("Subscription-State %q", state)
			}
			by.p.bye()
			eventually(t, "one call of the two", func() bool {
				s := x.calls.Snapshot()
				return len(s) == 1 && s[0].From.Extension == party.ext && s[0].To.Extension == "8003" && s[0].State == call.StateEstablished
			})
			first := x.wantRecords(1)[0]
			if first.Result != cdr.Answered || first.EndedBy != transferor || first.Reason != "transferred" || len(first.Linked) != 1 {
				t.Errorf("record %+v", first)
			}
			rest := &talk{a: party, b: c, da: partyDialog, db: c.dialogOfCallee(inv)}
			reinvite(t, rest, rest.db, sdpFrom(c.local, "a=sendonly"), sdpFrom(party.local, "a=recvonly"))
			reinvite(t, rest, rest.da, sdpFrom(party.local), sdpFrom(c.local))
			rest.hangUp(rest.db)
			second := x.wantRecords(2)[0]
			if second.From != party.ext || second.To != "8003" || second.TransferredBy != by.p.ext || second.ID != first.Linked[0] || second.Linked[0] != first.ID || second.Result != cdr.Answered {
				t.Errorf("record %+v", second)
			}
			eventually(t, "the line given back", func() bool { return x.ledger.Snapshot()[0].Reserved == 0 })
		})
	}
}

// What a new party answers differently is brought to the other one, until both agree.
func TestTransferDifferences(t *testing.T) {
	t.Parallel()
	_, k, c := threePhones(t, labOptions{})
	k.da.refer("<sip:8003@" + domain + ">")
	inv := c.request("INVITE")
	c.send(c.reply(inv, 200, "OK", sdpFrom(c.local)))
	c.request("ACK")
	// The party answers with one codec of the three.
	only := strings.Replace(sdpFrom(k.b.local), "RTP/AVP 8 0 101", "RTP/AVP 0 101", 1)
	k.b.answerOffer(only)
	again := c.answerOffer(strings.Replace(sdpFrom(c.local), "RTP/AVP 8 0 101", "RTP/AVP 0 101", 1))
	if !strings.Contains(again.body, "RTP/AVP 0 101") {
		t.Errorf("the target hears of\n%s", again.body)
	}
	// Its answer changes what the party sees once more.
	last := k.b.answerOffer(only)
	if !strings.Contains(last.body, "RTP/AVP 0 101") {
		t.Errorf("the party hears of\n%s", last.body)
	}
	k.a.bye()
	rest := &talk{a: k.b, b: c, da: k.db, db: c.dialogOfCallee(inv)}
	reinvite(t, rest, rest.da, only, sdpFrom(c.local))
	rest.hangUp(rest.da)
}

// The party was on hold; its target is offered a talk, not the hold.
func TestTransferFromHold(t *testing.T) {
	t.Parallel()
	x, k, c := threePhones(t, labOptions{})
	reinvite(t, k, k.da, sdpFrom(k.a.local, "a=sendonly"), sdpFrom(k.b.local, "a=recvonly"))
	eventually(t, "held", func() bool { return state(x) == call.StateHeld })
	k.da.refer("<sip:8003@" + domain + ">")
	inv := c.request("INVITE")
	if strings.Contains(inv.body, "a=recvonly") {
		t.Errorf("the target is offered\n%s", inv.body)
	}
	c.send(c.reply(inv, 200, "OK", sdpFrom(c.local)))
	k.b.answerOffer(sdpFrom(k.b.local))
	k.a.bye()
}

// A target that does not answer leaves the call as it was.
func TestTransferFails(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		code int
		want string
	}{{486, "486"}, {603, "603"}, {404, "404"}} {
		x, k, c := threePhones(t, labOptions{})
		k.db.refer("<sip:8003@" + domain + ">")
		inv := c.request("INVITE")
		c.send(c.reply(inv, tt.code, "No", ""))
		c.request("ACK")
		if state := k.db.told(tt.want); !strings.HasPrefix(state, "terminated") {
			t.Errorf("Subscription-State %q", state)
		}
		reinvite(t, k, k.db, sdpFrom(k.b.local), sdpFrom(k.a.local)) // the call is back
		// And it can be transferred again.
		if res := k.db.refer("<sip:8003@" + domain + ">"); res.code() != 202 {
			t.Errorf("second REFER: %s", res.first)
		}
		n := k.b.request("NOTIFY")
		if !strings.Contains(n.header("Event"), ";id=") {
			t.Errorf("Event %q of the dialog's second REFER", n.header("Event"))
		}
		k.b.send(k.b.reply(n, 200, "OK", ""))
		inv = c.request("INVITE")
		c.send(c.reply(inv, 486, "Busy Here", ""))
		k.db.told("486")
		k.hangUp(k.da)
		x.wantRecords(3)
	}
}

// A target that cannot use the party's description is asked for its own (RFC 3725 flow IV).
func TestTransferFallsBackToALateOffer(t *testing.T) {
	t.Parallel()
	_, k, c := threePhones(t, labOptions{})
	k.db.refer("<sip:8003@" + domain + ">")
	inv := c.request("INVITE")
	c.send(c.reply(inv, 488, "Not Acceptable Here", ""))
	c.request("ACK")
	inv = c.request("INVITE")
	if inv.body != "" {
		t.Fatalf("an offer again:\n%s", inv.body)
	}
	c.tag = token()
	offer := strings.Replace(sdpFrom(c.local), "RTP/AVP 8 0 101", "RTP/AVP 9", 1)
	c.send(c.reply(inv, 200, "OK", offer))
	re := k.a.request("INVITE")
	if !strings.Contains(re.body, "RTP/AVP 9") {
		t.Errorf("the party is offered\n%s", re.body)
	}
	k.a.send(k.a.reply(re, 200, "OK", strings.Replace(sdpFrom(k.a.local), "RTP/AVP 8 0 101", "RTP/AVP 9", 1)))
	k.a.request("ACK")
	if ack := c.request("ACK"); !strings.Contains(ack.body, "RTP/AVP 9") {
		t.Errorf("the ACK carries\n%s", ack.body)
	}
	k.db.told("200")
	k.b.bye()
	rest := &talk{a: k.a, b: c, da: k.da, db: c.dialogOfCallee(inv)}
	rest.hangUp(rest.da)
}

func TestReferRefused(t *testing.T) {
	t.Parallel()
	x, k, _ := threePhones(t, labOptions{})
	for _, tt := range []struct {
		name, to string
		code     int
	}{
		{"unknown number", "<sip:4711@" + domain + ">", 404},
		{"another domain", "<sip:8003@elsewhere.example>", 403},
		{"no number", "<sip:" + domain + ">", 404},
		{"another scheme", "<http://x/>", 416},
		{"another method", "<sip:8003@" + domain + ";method=BYE>", 603},
		{"garbage", "<<<", 400},
		{"broken Replaces", "<sip:8003@" + domain + "?Replaces=nothing>", 400},
	} {
		if res := k.db.refer(tt.to); res.code() != tt.code {
			t.Errorf("%s: %s, want %d", tt.name, res.first, tt.code)
		}
	}
	k.db.send("REFER", "")
	if res := k.b.final("REFER"); res.code() != 400 {
		t.Errorf("no Refer-To: %s", res.first)
	}
	k.b.call = token()
	k.b.send(k.b.fresh("REFER", "sip:8003@"+domain, "sip:8003@"+domain, [2]string{"Refer-To", "<sip:8003@" + domain + ">"}))
	if res := k.b.final("REFER"); res.code() != 403 {
		t.Errorf("outside of a call: %s", res.first)
	}
	k.hangUp(k.da)
	x.wantRecords(1)
}

// RFC 4488: no subscription, no NOTIFY.
func TestReferWithoutSubscription(t *testing.T) {
	t.Parallel()
	_, k, c := threePhones(t, labOptions{})
	res := k.db.refer("<sip:8003@"+domain+">", [2]string{"Refer-Sub", "false"}, [2]string{"Supported", "norefersub"})
	if res.code() != 202 || res.header("Refer-Sub") != "false" {
		t.Fatalf("%s, Refer-Sub %q", res.first, res.header("Refer-Sub"))
	}
	inv := c.request("INVITE")
	c.send(c.reply(inv, 200, "OK", sdpFrom(c.local)))
	k.a.answerOffer(sdpFrom(k.a.local))
	b := k.b.next("BYE, and no NOTIFY", func(m *message) bool { return !m.response() })
	if b.method() != "BYE" {
		t.Errorf("instead of BYE: %s", b.first)
	}
	k.b.send(k.b.reply(b, 200, "OK", ""))
}

// A transferor that does not wait: the party stays, and is hung up when nobody answers.
func TestTransferorHangsUp(t *testing.T) {
	t.Parallel()
	for _, answers := range []bool{true, false} {
		t.Run(fmt.Sprintf("answered %v", answers), func(t *testing.T) {
			x, k, c := threePhones(t, labOptions{})
			k.db.refer("<sip:8003@" + domain + ">")
			inv := c.request("INVITE")
			c.tag = token()
			c.send(c.reply(inv, 180, "Ringing", ""))
			k.db.send("BYE", "")
			k.b.status("BYE", 200)
			if r := x.wantRecords(1)[0]; r.Reason != "transferred" || r.EndedBy != "callee" {
				t.Errorf("record %+v", r)
			}
			k.a.quiet("BYE", func(m *message) bool { return m.method() == "BYE" })
			k.da.send("OPTIONS", "")
			k.a.status("OPTIONS", 200)
			if !answers {
				c.send(c.reply(inv, 486, "Busy Here", ""))
				c.request("ACK")
				if b := k.a.bye(); !strings.Contains(b.header("Reason"), "cause=486") {
					t.Errorf("Reason %q", b.header("Reason"))
				}
				x.wantRecords(2)
				return
			}
			c.send(c.reply(inv, 200, "OK", sdpFrom(c.local)))
			k.a.answerOffer(sdpFrom(k.a.local))
			rest := &talk{a: k.a, b: c, da: k.da, db: c.dialogOfCallee(inv)}
			rest.hangUp(rest.da)
		})
	}
}

// The party hangs up in every moment of its transfer.
func TestPartyHangsUp(t *testing.T) {
	t.Parallel()
	t.Run("while it rings", func(t *testing.T) {
		x, k, c := threePhones(t, labOptions{})
		k.db.refer("<sip:8003@" + domain + ">")
		inv := c.request("INVITE")
		c.send(c.reply(inv, 180, "Ringing", ""))
		k.db.told("180")
		k.da.send("BYE", "")
		k.a.status("BYE", 200)
		k.db.told("487")
		k.b.bye()
		cancel := c.request("CANCEL")
		c.send(c.reply(cancel, 200, "OK", ""))
		c.send(c.reply(inv, 487, "Request Terminated", ""))
		x.wantRecords(2)
	})
	t.Run("after the transferor", func(t *testing.T) {
		x, k, c := threePhones(t, labOptions{})
		k.db.refer("<sip:8003@" + domain + ">")
		inv := c.request("INVITE")
		c.send(c.reply(inv, 180, "Ringing", ""))
		k.db.send("BYE", "")
		k.b.status("BYE", 200)
		x.wantRecords(1)
		k.da.send("BYE", "")
		k.a.status("BYE", 200)
		cancel := c.request("CANCEL")
		c.send(c.reply(cancel, 200, "OK", ""))
		c.send(c.reply(inv, 487, "Request Terminated", ""))
		x.wantRecords(2)
	})
	t.Run("while it is connected", func(t *testing.T) {
		x, k, c := threePhones(t, labOptions{})
		k.db.refer("<sip:8003@" + domain + ">")
		inv := c.request("INVITE")
		c.send(c.reply(inv, 200, "OK", sdpFrom(c.local)))
		c.request("ACK")
		re := k.a.request("INVITE")
		k.da.send("BYE", "")
		k.a.status("BYE", 200)
		k.a.send(k.a.reply(re, 487, "Request Terminated", ""))
		c.bye()
		x.wantRecords(2)
	})
}

func TestTargetHangsUpAtOnce(t *testing.T) {
	t.Parallel()
	x, k, c := threePhones(t, labOptions{})
	k.db.refer("<sip:8003@" + domain + ">")
	inv := c.request("INVITE")
	c.send(c.reply(inv, 200, "OK", sdpFrom(c.local)))
	c.request("ACK")
	c.dialogOfCallee(inv).send("BYE", "")
	c.status("BYE", 200)
	// The party was fetched meanwhile, or not: either way the transferor hears the end.
	for _, state := k.db.progress(); !strings.HasPrefix(state, "terminated"); _, state = k.db.progress() {
	}
	eventually(t, "the attempt ended", func() bool { return len(x.calls.Snapshot()) <= 1 })
}

// Both transfer at once: the second is asked to wait.
func TestTransferTwice(t *testing.T) {
	t.Parallel()
	_, k, c := threePhones(t, labOptions{})
	k.db.refer("<sip:8003@" + domain + ">")
	inv := c.request("INVITE")
	for _, d := range []*dlg{k.da, k.db} {
		if res := d.refer("<sip:8002@" + domain + ">"); res.code() != 491 {
			t.Errorf("second REFER: %s", res.first)
		}
	}
	c.send(c.reply(inv, 486, "Busy Here", ""))
	k.db.told("486")
	k.hangUp(k.da)
}

// Glare: the party's own re-INVITE crosses ours; ours is repeated.
func TestTransferGlare(t *testing.T) {
	t.Parallel()
	_, k, c := threePhones(t, labOptions{})
	k.db.refer("<sip:8003@" + domain + ">")
	inv := c.request("INVITE")
	c.send(c.reply(inv, 200, "OK", sdpFrom(c.local)))
	re := k.a.request("INVITE")
	cross := k.da.send("INVITE", sdpFrom(k.a.local, "a=sendonly"))
	k.a.send(k.a.ackFailure(cross, k.a.status("INVITE", 491)))
	k.a.send(k.a.reply(re, 491, "Request Pending", ""))
	k.a.request("ACK")
	k.a.answerOffer(sdpFrom(k.a.local))
	k.db.told("200")
	k.b.bye()
	rest := &talk{a: k.a, b: c, da: k.da, db: c.dialogOfCallee(inv)}
	rest.hangUp(rest.da)
}

// A call of before the restart is transferred like any other, and the new call survives one.
func TestTransferAndRestart(t *testing.T) {
	t.Parallel()
	x, k, c := threePhones(t, labOptions{})
	eventually(t, "established", func() bool { return state(x) == call.StateEstablished })
	x.stop()
	x.start(labOptions{})
	k.db.refer("<sip:8003@" + domain + ">")
	inv := c.request("INVITE")
	c.send(c.reply(inv, 200, "OK", sdpFrom(c.local)))
	k.a.answerOffer(sdpFrom(k.a.local))
	k.db.told("200")
	k.b.bye()
	eventually(t, "one call", func() bool { return len(x.calls.Snapshot()) == 1 })
	x.stop()
	x.start(labOptions{})
	s := x.calls.Snapshot()
	if len(s) != 1 || s[0].To.Extension != "8003" {
		t.Fatalf("after the restart: %+v", s)
	}
	rest := &talk{a: k.a, b: c, da: k.da, db: c.dialogOfCallee(inv)}
	reinvite(t, rest, rest.db, sdpFrom(c.local, "a=sendonly"), sdpFrom(k.a.local, "a=recvonly"))
	rest.hangUp(rest.da)
	if r := x.wantRecords(2)[0]; r.TransferredBy != "2001" || r.Result != cdr.Answered {
		t.Errorf("record %+v", r)
	}
}

// The party refuses what the target can do, and is asked for an offer of its own.
func TestTransferPartyRefusesTheOffer(t *testing.T) {
	t.Parallel()
	_, k, c := threePhones(t, labOptions{})
	k.db.refer("<sip:8003@" + domain + ">")
	inv := c.request("INVITE")
	c.send(c.reply(inv, 200, "OK", sdpFrom(c.local)))
	c.request("ACK")
	re := k.a.request("INVITE")
	k.a.send(k.a.reply(re, 488, "Not Acceptable Here", ""))
	k.a.request("ACK")
	re = k.a.request("INVITE")
	if re.body != "" {
		t.Fatalf("an offer again:\n%s", re.body)
	}
	k.a.send(k.a.reply(re, 200, "OK", strings.Replace(sdpFrom(k.a.local), "8 0 101", "18", 1)))
	again := c.answerOffer(strings.Replace(sdpFrom(c.local), "8 0 101", "18", 1))
	if !strings.Contains(again.body, "RTP/AVP 18") {
		t.Errorf("the target is offered\n%s", again.body)
	}
	if ack := k.a.request("ACK"); !strings.Contains(ack.body, "RTP/AVP 18") {
		t.Errorf("the ACK carries\n%s", ack.body)
	}
	k.db.told("200")
	k.b.bye()
	rest := &talk{a: k.a, b: c, da: k.da, db: c.dialogOfCallee(inv)}
	rest.hangUp(rest.da)
}
