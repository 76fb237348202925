package call_test

import (
	"strings"
	"testing"
	"time"

	"linehall/sip/call"
)

// brisk makes intervals short enough for a test: refreshes every second.
var brisk = call.Limits{SessionExpires: 2 * time.Second, MinSE: time.Second}

// timed connects two phones; the headers are those of the caller's INVITE and the callee's 200.
func timed(t *testing.T, l call.Limits, invite, ok [][2]string) (*exchange, *talk) {
	t.Helper()
	x, a, b := phones(t, labOptions{limits: l})
	a.invite(b.ext, sdpFrom(a.local), invite...)
	inv := b.request("INVITE")
	b.tag = token()
	b.send(b.reply(inv, 200, "OK", sdpFrom(b.local), ok...))
	res := a.status("INVITE", 200)
	k := &talk{a: a, b: b, da: a.dialogOfCaller(res), db: b.dialogOfCallee(inv), invite: inv, ok: res}
	b.request("ACK")
	k.da.send("ACK", "")
	eventually(t, "established", func() bool { return state(x) == call.StateEstablished })
	return x, k
}

func h(name, value string) [2]string { return [2]string{name, value} }

// Each leg has a timer of its own, and its headers say so.
func TestSessionTimerTerms(t *testing.T) {
	t.Parallel()
	_, k := timed(t, call.Limits{}, [][2]string{h("Supported", "timer"), h("Session-Expires", "600;refresher=uac")}, nil)
	if got := k.invite.header("Session-Expires"); got != "1800;refresher=uac" || !strings.Contains(k.invite.header("Supported"), "timer") {
		t.Errorf("to the callee: Session-Expires %q, Supported %q", got, k.invite.header("Supported"))
	}
	if got := k.ok.header("Session-Expires"); got != "600;refresher=uac" || k.ok.header("Require") != "timer" {
		t.Errorf("to the caller: Session-Expires %q, Require %q", got, k.ok.header("Require"))
	}
	k.da.send("UPDATE", "", h("Supported", "timer"), h("x", "600;refresher=uac"), h("Min-SE", "90"))
	if up := k.a.status("UPDATE", 200); up.header("Session-Expires") != "600;refresher=uac" {
		t.Errorf("refresh by the caller: %q", up.header("Session-Expires"))
	}
	k.hangUp(k.db)
}

func TestSessionIntervalTooSmall(t *testing.T) {
	t.Parallel()
	_, a, b := phones(t, labOptions{})
	inv := a.invite("8002", sdpFrom(a.local), h("Supported", "timer"), h("Session-Expires", "30"))
	res := a.status("INVITE", 422)
	a.send(a.ackFailure(inv, res))
	if res.header("Min-SE") != "90" {
		t.Errorf("Min-SE %q", res.header("Min-SE"))
	}
	inv = a.invite("8002", sdpFrom(a.local), h("Session-Expires", "many"))
	a.send(a.ackFailure(inv, a.status("INVITE", 400)))
	b.quiet("INVITE", func(m *message) bool { return m.method() == "INVITE" })
}

// A phone that wants a longer interval gets its INVITE again (RFC 4028 §7.3).
func TestSessionIntervalRaised(t *testing.T) {
	t.Parallel()
	_, a, b := phones(t, labOptions{})
	a.invite("8002", sdpFrom(a.local))
	inv := b.request("INVITE")
	b.send(b.reply(inv, 422, "Session Interval Too Small", "", h("Min-SE", "7200")))
	b.request("ACK")
	again := b.request("INVITE")
	if again.header("Session-Expires") != "7200;refresher=uac" || again.header("Min-SE") != "7200" || again.header("Call-ID") != inv.header("Call-ID") || again.seq() == inv.seq() || again.body != inv.body {
		t.Errorf("second INVITE:\n%s", again.text())
	}
	b.send(b.reply(again, 200, "OK", sdpFrom(b.local), h("Session-Expires", "7200;refresher=uac")))
	ok := a.status("INVITE", 200)
	k := &talk{a: a, b: b, da: a.dialogOfCaller(ok), db: b.dialogOfCallee(again)}
	k.da.send("ACK", "")
	k.hangUp(k.da)
}

// One that can never be pleased is not called, and the caller hears why not in its own terms.
func TestSessionIntervalNeverEnough(t *testing.T) {
	t.Parallel()
	_, a, b := phones(t, labOptions{})
	inv := a.invite("8002", sdpFrom(a.local))
	for _, wish := range []string{"2000", "3000", "4000"} {
		in := b.request("INVITE")
		b.send(b.reply(in, 422, "Session Interval Too Small", "", h("Min-SE", wish)))
		b.request("ACK")
	}
	a.send(a.ackFailure(inv, a.status("INVITE", 480)))
}

// We refresh with an UPDATE without a body where the phone allows it, else with a re-INVITE
// that changes nothing.
func TestSessionRefresh(t *testing.T) {
	t.Parallel()
	x, k := timed(t, brisk, [][2]string{h("Supported", "timer"), h("Allow", "INVITE, ACK, BYE, UPDATE")}, [][2]string{h("Session-Expires", "2;refresher=uac")})
	for range 2 {
		up := k.a.request("UPDATE")
		if up.body != "" || up.header("Session-Expires") != "2;refresher=uac" {
			t.Errorf("refresh of the caller:\n%s", up.text())
		}
		k.a.send(k.a.reply(up, 200, "OK", "", h("Session-Expires", "2;refresher=uac")))
		in := k.b.request("INVITE")
		if in.body != k.invite.body {
			t.Errorf("refresh of the callee changed the session:\n%s\n%s", in.body, k.invite.body)
		}
		k.b.send(k.b.reply(in, 200, "OK", sdpFrom(k.b.local), h("Session-Expires", "2;refresher=uac")))
		k.b.request("ACK")
	}
	if state(x) != call.StateEstablished {
		t.Error("the call has ended")
	}
	k.hangUp(k.da)
}

// A refresh that met the phone's own offer is repeated later; the phone's offer passes.
func TestSessionRefreshGlare(t *testing.T) {
	t.Parallel()
	x, k := timed(t, brisk, nil, [][2]string{h("Session-Expires", "2;refresher=uac")})
	in := k.b.request("INVITE")
	own := k.db.send("INVITE", sdpFrom(k.b.local, "a=sendonly"))
	k.b.send(k.b.ackFailure(own, k.b.status("INVITE", 491)))
	k.b.send(k.b.reply(in, 491, "Request Pending", ""))
	again := k.b.request("INVITE")
	if again.body != in.body {
		t.Errorf("second try:\n%s", again.body)
	}
	k.b.send(k.b.reply(again, 200, "OK", sdpFrom(k.b.local)))
	k.b.request("ACK")
	reinvite(t, k, k.db, sdpFrom(k.b.local, "a=sendonly"), sdpFrom(k.a.local, "a=recvonly"))
	eventually(t, "held", func() bool { return state(x) == call.StateHeld })
	k.hangUp(k.da)
}

// An answer to a refresh that changes the session reaches the other phone.
func TestSessionRefreshChangesSession(t *testing.T) {
	t.Parallel()
	_, k := timed(t, brisk, nil, [][2]string{h("Session-Expires", "2;refresher=uac")})
	in := k.b.request("INVITE")
	moved := strings.Replace(sdpFrom(k.b.local), "40000", "41000", 1)
	k.b.send(k.b.reply(in, 200, "OK", moved))
	k.b.request("ACK")
	told := k.a.request("INVITE")
	if !strings.Contains(told.body, "m=audio 41000") {
		t.Errorf("the caller is told:\n%s", told.body)
	}
	k.a.send(k.a.reply(told, 200, "OK", sdpFrom(k.a.local)))
	k.a.request("ACK")
	k.hangUp(k.db)
}

// A phone that had agreed to refresh and forgot is asked, and its call goes on; one that does
// not answer either has gone.
func TestSessionRefreshMissed(t *testing.T) {
	for _, tt := range []struct {
		name  string
		reply int // 0: silence
		ends  bool
	}{{"forgot", 200, false}, {"will not", 405, false}, {"does not know the call", 481, true}, {"silent", 0, true}} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			x, k := timed(t, call.Limits{SessionExpires: 6 * time.Second, MinSE: time.Second}, [][2]string{h("Supported", "timer"), h("Session-Expires", "6;refresher=uac"), h("Allow", "UPDATE")}, nil)
			if got := k.ok.header("Session-Expires"); got != "6;refresher=uac" {
				t.Fatalf("Session-Expires %q", got)
			}
			up := k.a.request("UPDATE")
			if tt.reply != 0 {
				k.a.send(k.a.reply(up, tt.reply, "Reply", "", h("Session-Expires", "6;refresher=uac")))
			}
			if tt.reply == 405 { // by re-INVITE then
				in := k.a.request("INVITE")
				k.a.send(k.a.reply(in, 403, "Forbidden", ""))
				k.a.request("ACK")
			}
			if !tt.ends {
				k.a.quiet("BYE", func(m *message) bool { return m.method() == "BYE" })
				k.hangUp(k.da)
				return
			}
			bye := k.b.request("BYE")
			if !strings.Contains(bye.header("Reason"), "session timer expired") {
				t.Errorf("Reason %q", bye.header("Reason"))
			}
			k.b.send(k.b.reply(bye, 200, "OK", ""))
			if r := x.wantRecords(1)[0]; r.EndedBy != "system" {
				t.Errorf("record %+v", r)
			}
		})
	}
}

// Without an agreement nothing expires, whatever the phone forgets.
func TestNoSessionTimerNoEnd(t *testing.T) {
	t.Parallel()
	x, k := timed(t, call.Limits{SessionExpires: time.Second, MinSE: time.Second}, nil, nil)
	if v := k.ok.header("Session-Expires"); v != "" {
		t.Errorf("Session-Expires %q for a phone that has none", v)
	}
	for _, p := range []*phone{k.a, k.b} {
		p.quiet("request", func(m *message) bool { return !m.response() && m.method() != "OPTIONS" })
	}
	time.Sleep(1200 * time.Millisecond) // more than the interval: that nothing happens takes time
	if state(x) != call.StateEstablished {
		t.Error("the call has ended")
	}
	k.hangUp(k.db)
}

// The timer is part of what a crash leaves behind.
func TestSessionTimerAfterRestart(t *testing.T) {
	t.Parallel()
	x, k := timed(t, brisk, [][2]string{h("Supported", "timer"), h("Session-Expires", "4;refresher=uas"), h("Allow", "UPDATE")}, nil)
	x.wantAcked()
	x.kill()
	x.start(labOptions{limits: brisk})
	up := k.a.request("UPDATE")
	if up.header("Session-Expires") != "4;refresher=uac" {
		t.Errorf("refresh:\n%s", up.text())
	}
	k.a.send(k.a.reply(up, 200, "OK", "", h("Session-Expires", "4;refresher=uac")))
	k.hangUp(k.db)
}
