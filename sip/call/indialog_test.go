package call_test

import (
	"strings"
	"testing"
	"time"

	"linehall/sip/call"
	"linehall/sip/cdr"
)

func acrossSites(t *testing.T, o labOptions) (*exchange, *talk) {
	t.Helper()
	x := newExchange(t, o)
	a, b := newPhone(t, x, "8001", "UDP", "127.0.0.11"), newPhone(t, x, "2001", "UDP", "127.0.1.12")
	a.register()
	b.register()
	return x, connect(t, a, b)
}

func state(x *exchange) call.State {
	if s := x.calls.Snapshot(); len(s) == 1 {
		return s[0].State
	}
	return ""
}

// reinvite sends an offer from one side and lets the other answer it.
func reinvite(t *testing.T, k *talk, from *dlg, offer, answer string) (asSeen *message) {
	t.Helper()
	other := k.b
	if from == k.db {
		other = k.a
	}
	from.send("INVITE", offer)
	in := other.request("INVITE")
	other.send(other.reply(in, 200, "OK", answer))
	other.request("ACK")
	from.p.status("INVITE", 200)
	from.send("ACK", "")
	return in
}

func TestHoldAndResume(t *testing.T) {
	t.Parallel()
	x, k := acrossSites(t, labOptions{})
	for _, from := range []*dlg{k.da, k.db} {
		answering := k.b
		if from == k.db {
			answering = k.a
		}
		for _, hold := range []string{"a=sendonly", "a=inactive", "c=IN IP4 0.0.0.0"} {
			eventually(t, "established", func() bool { return state(x) == call.StateEstablished })
			offer := sdpFrom(from.p.local, hold)
			if strings.HasPrefix(hold, "c=") {
				offer = strings.Replace(sdpFrom(from.p.local), "c=IN IP4 "+strings.Split(from.p.local, ":")[0], hold, 1)
			}
			in := reinvite(t, k, from, offer, sdpFrom(answering.local, "a=recvonly"))
			if !strings.Contains(in.body, hold) {
				t.Errorf("%s did not pass:\n%s", hold, in.body)
			}
			eventually(t, "held", func() bool { return state(x) == call.StateHeld })
			reinvite(t, k, from, sdpFrom(from.p.local, "a=sendrecv"), sdpFrom(answering.local))
		}
	}
	k.hangUp(k.da)
}

// The o= version rises by one with each change and stays when nothing changed (RFC 3264 §8).
func TestOriginVersion(t *testing.T) {
	t.Parallel()
	_, k := acrossSites(t, labOptions{})
	origin := func(m *message) string {
		_, rest, _ := strings.Cut(m.body, "o=")
		line, _, _ := strings.Cut(rest, "\r\n")
		return line
	}
	first := strings.Fields(origin(k.invite))
	same := strings.Fields(origin(reinvite(t, k, k.da, strings.Replace(sdpFrom(k.a.local), "42 1", "99 7", 1), sdpFrom(k.b.local))))
	held := strings.Fields(origin(reinvite(t, k, k.da, sdpFrom(k.a.local, "a=sendonly"), sdpFrom(k.b.local, "a=recvonly"))))
	if same[1] != first[1] || same[2] != first[2] {
		t.Errorf("unchanged session: %v after %v", same, first)
	}
	if held[1] != first[1] || held[2] == first[2] {
		t.Errorf("changed session: %v after %v", held, first)
	}
	k.hangUp(k.db)
}

func TestUpdateOffer(t *testing.T) {
	t.Parallel()
	x, k := acrossSites(t, labOptions{})
	k.db.send("UPDATE", sdpFrom(k.b.local, "a=sendonly"))
	up := k.a.request("UPDATE")
	if !strings.Contains(up.body, "a=sendonly") {
		t.Errorf("offer:\n%s", up.body)
	}
	k.a.send(k.a.reply(up, 200, "OK", sdpFrom(k.a.local, "a=recvonly")))
	if ok := k.b.status("UPDATE", 200); !strings.Contains(ok.body, "a=recvonly") {
		t.Errorf("answer:\n%s", ok.body)
	}
	eventually(t, "held", func() bool { return state(x) == call.StateHeld })
	k.hangUp(k.da)
}

func TestReinviteWithoutOffer(t *testing.T) {
	t.Parallel()
	_, k := acrossSites(t, labOptions{})
	k.da.send("INVITE", "")
	in := k.b.request("INVITE")
	if in.body != "" {
		t.Fatalf("an offer from nowhere:\n%s", in.body)
	}
	k.b.send(k.b.reply(in, 200, "OK", sdpFrom(k.b.local)))
	ok := k.a.status("INVITE", 200)
	if !strings.Contains(ok.body, "m=audio") {
		t.Fatal("no offer in the 200")
	}
	k.da.send("ACK", sdpFrom(k.a.local))
	if ack := k.b.request("ACK"); !strings.Contains(ack.body, "m=audio") {
		t.Fatal("no answer in the ACK")
	}
	k.hangUp(k.da)
}

// A refused offer leaves the session as it was, and the next one works.
func TestReinviteRefused(t *testing.T) {
	t.Parallel()
	x, k := acrossSites(t, labOptions{})
	reserved := x.ledger.Snapshot()[0].Reserved
	k.da.send("INVITE", sdpFrom(k.a.local, "m=video 40002 RTP/AVP 96", "a=rtpmap:96 H264/90000"))
	in := k.b.request("INVITE")
	k.b.send(k.b.reply(in, 488, "Not Acceptable Here", ""))
	k.b.request("ACK")
	res := k.a.status("INVITE", 488)
	k.da.send("ACK", "")
	_ = res
	eventually(t, "the reservation of before", func() bool { return x.ledger.Snapshot()[0].Reserved == reserved })
	reinvite(t, k, k.db, sdpFrom(k.b.local, "a=sendonly"), sdpFrom(k.a.local, "a=recvonly"))
	k.hangUp(k.da)
}

func TestGlare(t *testing.T) {
	t.Parallel()
	_, k := acrossSites(t, labOptions{})
	k.da.send("INVITE", sdpFrom(k.a.local, "a=sendonly"))
	in := k.b.request("INVITE")
	glare := k.db.send("INVITE", sdpFrom(k.b.local, "a=sendonly"))
	k.b.send(k.b.ackFailure(glare, k.b.status("INVITE", 491)))
	second := k.da.send("INVITE", sdpFrom(k.a.local)) // one at a time from one side, too
	res := k.a.status("INVITE", 500)
	if res.header("Retry-After") == "" {
		t.Error("500 without Retry-After (RFC 3261 §14.2)")
	}
	k.a.send(k.a.ackFailure(second, res))
	k.da.seq--
	k.b.send(k.b.reply(in, 200, "OK", sdpFrom(k.b.local, "a=recvonly")))
	k.b.request("ACK")
	k.a.status("INVITE", 200)
	k.da.send("ACK", "")
	k.da.seq++
	reinvite(t, k, k.db, sdpFrom(k.b.local), sdpFrom(k.a.local))
	k.hangUp(k.db)
}

func TestCancelledReinvite(t *testing.T) {
	t.Parallel()
	for _, late := range []bool{false, true} {
		_, k := acrossSites(t, labOptions{})
		re := k.da.send("INVITE", sdpFrom(k.a.local, "a=sendonly"))
		in := k.b.request("INVITE")
		k.b.send(k.b.reply(in, 180, "Ringing", ""))
		k.a.cancel(re)
		k.a.send(k.a.ackFailure(re, k.a.status("INVITE", 487)))
		c := k.b.request("CANCEL")
		k.b.send(k.b.reply(c, 200, "OK", ""))
		if !late {
			k.b.send(k.b.reply(in, 487, "Request Terminated", ""))
			k.b.request("ACK")
		} else {
			// The lost race: the phone took the offer that its peer has given up. It gets the old
			// session back.
			k.b.send(k.b.reply(in, 200, "OK", sdpFrom(k.b.local, "a=recvonly")))
			k.b.request("ACK")
			back := k.b.request("INVITE")
			if strings.Contains(back.body, "a=sendonly") || !strings.Contains(back.body, "m=audio") {
				t.Errorf("the old session came back as\n%s", back.body)
			}
			k.b.send(k.b.reply(back, 200, "OK", sdpFrom(k.b.local)))
			k.b.request("ACK")
		}
		update(t, k)
		k.hangUp(k.da)
	}
}

// update sends an offer until its turn has come.
func update(t *testing.T, k *talk) {
	t.Helper()
	for range 50 {
		k.da.send("UPDATE", sdpFrom(k.a.local))
		select {
		case up := <-k.b.inbox:
			if up.method() != "UPDATE" {
				t.Fatalf("instead of UPDATE: %s", up.first)
			}
			k.b.send(k.b.reply(up, 200, "OK", sdpFrom(k.b.local)))
			k.a.status("UPDATE", 200)
			return
		case res := <-k.a.inbox:
			if c := res.code(); c != 491 && c != 500 {
				t.Fatalf("instead of 491: %s", res.first)
			}
		}
	}
	t.Fatal("the exchange never ended")
}

func TestRequestsCross(t *testing.T) {
	t.Parallel()
	_, k := acrossSites(t, labOptions{})
	for _, from := range []*dlg{k.da, k.db} {
		other := k.b
		if from == k.db {
			other = k.a
		}
		from.send("INFO", "Signal=5\r\nDuration=100\r\n", [2]string{"Content-Type", "application/dtmf-relay"})
		info := other.request("INFO")
		if info.body != "Signal=5\r\nDuration=100\r\n" || info.header("Content-Type") != "application/dtmf-relay" {
			t.Errorf("INFO arrived as %s", info.text())
		}
		other.send(other.reply(info, 200, "OK", ""))
		from.p.status("INFO", 200)

		from.send("OPTIONS", "")
		opt := other.request("OPTIONS")
		other.send(other.reply(opt, 200, "OK", "", [2]string{"Accept", "application/sdp"}))
		if ok := from.p.status("OPTIONS", 200); ok.header("Accept") != "application/sdp" {
			t.Error("the answer to OPTIONS lost its Accept")
		}
		from.send("INFO", "")
		info = other.request("INFO")
		other.send(other.reply(info, 415, "Unsupported Media Type", ""))
		from.p.status("INFO", 415)
	}
	k.hangUp(k.da)
}

func TestOutsideOfAnyDialog(t *testing.T) {
	t.Parallel()
	x, k := acrossSites(t, labOptions{})
	d := *k.da
	d.remote = strings.Split(d.remote, ";tag=")[0] + ";tag=nobody"
	for _, method := range []string{"BYE", "INVITE", "INFO", "UPDATE", "PRACK"} {
		d.send(method, "")
		if res := k.a.final(method); res.code() != 481 {
			t.Errorf("%s: %s, want 481", method, res.first)
		}
	}
	// The right tags from a foreign host are not enough.
	thief := newPhone(t, x, "8003", "UDP", "127.0.0.66")
	stolen := *k.da
	stolen.p = thief
	stolen.send("BYE", "")
	if res := thief.final("BYE"); res.code() != 403 {
		t.Errorf("stolen BYE: %s, want 403", res.first)
	}
	k.hangUp(k.da)
	k.da.send("INFO", "")
	if res := k.a.final("INFO"); res.code() != 481 {
		t.Errorf("after the end: %s", res.first)
	}
}

func TestOutOfOrder(t *testing.T) {
	t.Parallel()
	_, k := acrossSites(t, labOptions{})
	k.da.seq -= 5
	k.da.send("INFO", "")
	k.a.status("INFO", 500)
	k.da.seq += 5
	k.hangUp(k.da)
}

// A phone that has vanished: two unanswered probes end the call; one that answers, with
// whatever code, keeps it.
func TestProbes(t *testing.T) {
	t.Parallel()
	x, k := acrossSites(t, labOptions{limits: call.Limits{Probe: 100 * time.Millisecond}})
	for range 3 {
		probe := k.a.request("OPTIONS")
		k.a.send(k.a.reply(probe, 405, "Method Not Allowed", ""))
		probe = k.b.request("OPTIONS")
		k.b.send(k.b.reply(probe, 200, "OK", ""))
	}
	if state(x) != call.StateEstablished {
		t.Fatal("a healthy call was ended")
	}
	for range 2 {
		probe := k.b.request("OPTIONS")
		k.b.send(k.b.reply(probe, 481, "Call Does Not Exist", ""))
	}
	bye := k.a.request("BYE")
	k.a.send(k.a.reply(bye, 200, "OK", ""))
	bye = k.b.request("BYE")
	k.b.send(k.b.reply(bye, 481, "Call Does Not Exist", ""))
	if r := x.wantRecords(1)[0]; r.EndedBy != "system" || !strings.Contains(r.Reason, "vanished") {
		t.Errorf("record %+v", r)
	}
}

// A phone that answers a re-INVITE with 481 does not know the call: it is over.
func TestReinvite481(t *testing.T) {
	t.Parallel()
	x, k := acrossSites(t, labOptions{})
	re := k.da.send("INVITE", sdpFrom(k.a.local, "a=sendonly"))
	in := k.b.request("INVITE")
	k.b.send(k.b.reply(in, 481, "Call Does Not Exist", ""))
	k.a.send(k.a.ackFailure(re, k.a.status("INVITE", 481)))
	bye := k.a.request("BYE")
	k.a.send(k.a.reply(bye, 200, "OK", ""))
	if r := x.wantRecords(1)[0]; r.Result != cdr.Answered || r.EndedBy != "system" {
		t.Errorf("record %+v", r)
	}
}
