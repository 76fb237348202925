package call_test

import (
	"strings"
	"testing"
	"time"

	"linehall/sip/call"
)

// What a caller withholds no phone learns, neither in the INVITE nor later in the dialog; the
// record keeps it.
func TestPrivacyOfCaller(t *testing.T) {
	t.Parallel()
	for _, value := range []string{"id", "user;id", "header", "ID, critical", "by code"} {
		x, a, b := phones(t, labOptions{})
		number, wish := "8002", h("Privacy", value)
		if value == "by code" {
			number, wish = "*678002", h("X-Nothing", "")
		}
		a.invite(number, sdpFrom(a.local), wish, h("Subject", "from 8001"))
		inv := b.request("INVITE")
		hiddenFromLamps(t, x)
		b.tag = token()
		if from := inv.header("From"); !strings.HasPrefix(from, `"Anonymous" <sip:anonymous@anonymous.invalid>`) {
			t.Errorf("From %s", from)
		}
		b.send(b.reply(inv, 200, "OK", sdpFrom(b.local)))
		ok := a.status("INVITE", 200)
		k := &talk{a: a, b: b, da: a.dialogOfCaller(ok), db: b.dialogOfCallee(inv)}
		k.da.send("ACK", "")
		ack := b.request("ACK")
		re := reinvite(t, k, k.da, sdpFrom(a.local, "a=sendonly"), sdpFrom(b.local, "a=recvonly"))
		for _, m := range []*message{inv, ack, re} {
			text := strings.ReplaceAll(m.text(), "127.0.0.11", "")
			if strings.Contains(text, "8001") || strings.Contains(text, "Li") && m.header("From") != "" && strings.Contains(m.header("From"), "Li") || m.header("P-Asserted-Identity") != "" {
				t.Errorf("Privacy: %s gives the caller away:\n%s", value, m.text())
			}
		}
		hiddenFromLamps(t, x)
		k.hangUp(k.da)
		if r := x.wantRecords(1)[0]; r.From != "8001" {
			t.Errorf("record %+v", r)
		}
	}
}

// hiddenFromLamps: who watches the called does not learn who calls, and who watches the caller not whom.
func hiddenFromLamps(t *testing.T, x *exchange) {
	t.Helper()
	var dialogs []call.DialogInfo
	eventually(t, "two dialogs", func() bool {
		dialogs = x.calls.Snapshot()[0].Dialogs
		return len(dialogs) == 2
	})
	for _, d := range dialogs {
		if d.RemoteExtension != "anonymous" || d.RemoteDisplay != "Anonymous" || strings.Contains(d.RemoteTarget, "8001") || strings.Contains(d.RemoteTarget, "8002") {
			t.Errorf("lamps show %+v", d)
		}
	}
}

func TestPrivacyNoneAndCritical(t *testing.T) {
	t.Parallel()
	_, a, b := phones(t, labOptions{})
	own := a.invite("8002", sdpFrom(a.local), h("Privacy", "none"))
	inv := b.request("INVITE")
	if !strings.Contains(inv.header("P-Asserted-Identity"), "8001") {
		t.Errorf("P-Asserted-Identity %q", inv.header("P-Asserted-Identity"))
	}
	b.send(b.reply(inv, 486, "Busy Here", ""))
	a.send(a.ackFailure(own, a.status("INVITE", 486)))
	own = a.invite("8002", sdpFrom(a.local), h("Privacy", "session;critical"))
	a.send(a.ackFailure(own, a.status("INVITE", 500)))
}

// The desk that takes an emergency call sees who calls.
func TestPrivacyEndsAtEmergencies(t *testing.T) {
	t.Parallel()
	_, a, b := phones(t, labOptions{})
	a.invite("110", sdpFrom(a.local), h("Privacy", "id"))
	inv := b.request("INVITE")
	if !strings.Contains(inv.header("From"), "8001") || !strings.Contains(inv.header("P-Asserted-Identity"), "8001") {
		t.Errorf("to the duty desk:\n%s", inv.text())
	}
	b.send(b.reply(inv, 486, "Busy Here", ""))
}

// A callee that withholds its identity is not shown to the caller.
func TestPrivacyOfCallee(t *testing.T) {
	t.Parallel()
	_, a, b := phones(t, labOptions{})
	a.invite("8002", sdpFrom(a.local))
	inv := b.request("INVITE")
	b.tag = token()
	b.send(b.reply(inv, 180, "Ringing", "", h("Privacy", "id")))
	if res := a.status("INVITE", 180); res.header("P-Asserted-Identity") != "" {
		t.Errorf("180 with %q", res.header("P-Asserted-Identity"))
	}
	b.send(b.reply(inv, 200, "OK", sdpFrom(b.local)))
	ok := a.status("INVITE", 200)
	if ok.header("P-Asserted-Identity") != "" {
		t.Errorf("200 with %q", ok.header("P-Asserted-Identity"))
	}
	k := &talk{a: a, b: b, da: a.dialogOfCaller(ok), db: b.dialogOfCallee(inv)}
	k.da.send("ACK", "")
	k.hangUp(k.da)
}

// Phones that know only Remote-Party-ID get it beside P-Asserted-Identity; in every message
// that shows a name.
func TestRemotePartyID(t *testing.T) {
	t.Parallel()
	x := newExchange(t, labOptions{})
	a, b := newPhone(t, x, "8001", "UDP", "127.0.0.11"), newPhone(t, x, "8002", "UDP", "127.0.0.12")
	a.register()
	b.agent = "Cisco-CP7960G/8.0"
	b.register()
	a.invite("8002", sdpFrom(a.local), h("User-Agent", "Cisco/SPA504G-7.6.2"))
	inv := b.request("INVITE")
	b.tag = token()
	if got := inv.header("Remote-Party-ID"); got != `"李 \"Li\"" <sip:8001@linehall.test>;party=calling;screen=yes;privacy=off` {
		t.Errorf("INVITE: %s", got)
	}
	b.send(b.reply(inv, 180, "Ringing", ""))
	if got := a.status("INVITE", 180).header("Remote-Party-ID"); got != `"Wang" <sip:8002@linehall.test>;party=called;screen=yes;privacy=off` {
		t.Errorf("180: %s", got)
	}
	b.send(b.reply(inv, 200, "OK", sdpFrom(b.local)))
	ok := a.status("INVITE", 200)
	if ok.header("Remote-Party-ID") == "" || ok.header("P-Asserted-Identity") == "" {
		t.Errorf("200:\n%s", ok.text())
	}
	k := &talk{a: a, b: b, da: a.dialogOfCaller(ok), db: b.dialogOfCallee(inv)}
	k.da.send("ACK", "")
	b.request("ACK")
	re := reinvite(t, k, k.da, sdpFrom(a.local, "a=sendonly"), sdpFrom(b.local, "a=recvonly"))
	if !strings.Contains(re.header("Remote-Party-ID"), "party=calling") {
		t.Errorf("re-INVITE: %s", re.header("Remote-Party-ID"))
	}
	k.hangUp(k.db)
}

// Phones that lose a race stop ringing without a missed call; those that nobody answered show one.
func TestReasonOfCancel(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name string
		do   func(a, b *phone, own, inv *message)
		want string
	}{
		{"answered elsewhere", func(_, b *phone, _, inv *message) { b.send(b.reply(inv, 200, "OK", sdpFrom(b.local))) }, `SIP;cause=200;text="Call completed elsewhere"`},
		{"declined elsewhere", func(_, b *phone, _, inv *message) { b.send(b.reply(inv, 603, "Decline", "")) }, `SIP;cause=603;text="Decline"`},
		{"the caller's reason", func(a, _ *phone, own, _ *message) { a.cancelBecause(own, `Q.850;cause=16;text="Terminated"`) }, `Q.850;cause=16;text="Terminated"`},
		{"the caller gives up", func(a, _ *phone, own, _ *message) { a.cancel(own) }, ""},
		{"nobody answers", func(*phone, *phone, *message, *message) {}, ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			x := newExchange(t, labOptions{limits: call.Limits{Ring: time.Second}})
			a, b, b2 := newPhone(t, x, "8001", "UDP", "127.0.0.11"), newPhone(t, x, "8002", "UDP", "127.0.0.12"), newPhone(t, x, "8002", "UDP", "127.0.0.13")
			a.register()
			b.register()
			b2.register()
			own := a.invite("8002", sdpFrom(a.local))
			inv, inv2 := b.request("INVITE"), b2.request("INVITE")
			b2.send(b2.reply(inv2, 180, "Ringing", ""))
			b.send(b.reply(inv, 180, "Ringing", ""))
			a.status("INVITE", 180)
			a.status("INVITE", 180)
			tt.do(a, b, own, inv)
			if got := b2.request("CANCEL").header("Reason"); got != tt.want {
				t.Errorf("Reason %q, want %q", got, tt.want)
			}
		})
	}
}

// The Reason of a BYE reaches the other side; a line end cannot, nor can a novel.
func TestReasonOfBye(t *testing.T) {
	t.Parallel()
	_, k := acrossSites(t, labOptions{})
	k.da.send("BYE", "", h("Reason", `Q.850;cause=31`), h("Reason", `SIP;cause=200;text="done"`), h("Reason", "SIP;text=\""+strings.Repeat("x", 300)+"\""), h("Reason", "<>;cause=1"))
	bye := k.b.request("BYE")
	if got := strings.Join(bye.all("Reason"), " | "); got != `Q.850;cause=31 | SIP;cause=200;text="done"` {
		t.Errorf("Reason %s", got)
	}
	k.b.send(k.b.reply(bye, 200, "OK", ""))
}
