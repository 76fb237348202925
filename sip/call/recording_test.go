package call_test

import (
	"context"
	"encoding/base64"
	"errors"
	"net/http"
	"strings"
	"testing"

	"linehall/internal/audit"
	"linehall/media/record"
	"linehall/sip/call"
)

// unaudited takes every event.
type unaudited struct{}

func (unaudited) Append(context.Context, audit.Event) error { return nil }

// recorded is a laboratory in which calls are recorded by these rules, without an announcement.
func recorded(mode record.Mode, rules ...record.RuleConfig) labOptions {
	c := record.DefaultConfig()
	c.Default, c.Rules, c.Announce = mode, rules, record.NoAnnouncement
	return labOptions{recording: &c}
}

func recording(x *exchange) record.State {
	if s := x.calls.Snapshot(); len(s) == 1 {
		return s[0].Recording
	}
	return ""
}

// A call that the rules want to be recorded passes us, also inside a site, and is recorded from the answer on; one that they
// do not is direct as before.
func TestRecordedByRule(t *testing.T) {
	t.Parallel()
	x := newExchange(t, recorded(record.Never, record.RuleConfig{Name: "desk", Extensions: []string{"8009"}, Mode: record.Always}))
	a, b, c := newPhone(t, x, "8001", "UDP", "127.0.0.11"), newPhone(t, x, "8009", "UDP", "127.0.0.12"), newPhone(t, x, "8002", "UDP", "127.0.0.13")
	for _, p := range []*phone{a, b, c} {
		p.register()
	}
	k := connect(t, a, b)
	if port(k.invite.body) == "40000" {
		t.Error("the media does not pass us")
	}
	eventually(t, "recorded", func() bool { return recording(x) == record.On })
	reinvite(t, k, k.da, sdpFrom(a.local, "a=sendonly"), sdpFrom(b.local, "a=recvonly"))
	if s := x.calls.Snapshot()[0]; s.Recording != record.On || !s.MayRecord || s.Path != "relay" {
		t.Errorf("on hold: %+v", s)
	}
	if err := x.calls.Record(t.Context(), x.calls.Snapshot()[0].ID, true, "anna"); !errors.Is(err, record.ErrRecording) {
		t.Errorf("a second time: %v", err)
	}
	k.hangUp(k.da)
	if r := x.wantRecords(1)[0].Recording; r == nil || len(r.IDs) != 1 || r.Rule != "desk" || r.By != "recording rule desk" || r.Reason != "" {
		t.Errorf("record %+v", r)
	}

	k = connect(t, a, c)
	if port(k.invite.body) != "40000" {
		t.Error("a call that nobody records passes us")
	}
	eventually(t, "established", func() bool { return state(x) == call.StateEstablished })
	if err := x.calls.Record(t.Context(), x.calls.Snapshot()[0].ID, true, "anna"); !errors.Is(err, record.ErrForbidden) {
		t.Errorf("against the rules: %v", err)
	}
	k.hangUp(k.da)
	if r := x.wantRecords(2)[0].Recording; r != nil {
		t.Errorf("record %+v", r)
	}
}

// A party begins and ends a recording by keys, by the record key of its phone, and by a code beside the call; an operator by
// a word.
func TestRecordedOnDemand(t *testing.T) {
	t.Parallel()
	x, k := acrossSites(t, recorded(record.OnDemand))
	eventually(t, "may be recorded", func() bool { return len(x.calls.Snapshot()) == 1 && x.calls.Snapshot()[0].MayRecord })
	id := x.calls.Snapshot()[0].ID
	press := func(from *dlg, keys string) {
		other := k.b
		if from == k.db {
			other = k.a
		}
		for _, key := range keys {
			from.send("INFO", "Signal="+string(key)+"\r\nDuration=100\r\n", [2]string{"Content-Type", "application/dtmf-relay"})
			other.send(other.reply(other.request("INFO"), 200, "OK", ""))
			from.p.status("INFO", 200)
		}
	}
	want := func(how string, s record.State) {
		t.Helper()
		eventually(t, how, func() bool { return recording(x) == s })
	}
	press(k.da, "1*22")
	want("on by keys", record.On)
	press(k.db, "*22")
	want("off by the other's keys", record.Off)
	press(k.da, "*")
	press(k.db, "22")
	want("still off", record.Off)

	k.db.send("INFO", "", [2]string{"Record", "on"})
	k.b.status("INFO", 200)
	want("on by the phone's key", record.On)
	k.da.send("INFO", "", [2]string{"Record", "off"})
	k.a.status("INFO", 200)
	want("off by the phone's key", record.Off)

	if on, err := x.calls.ToggleRecording(t.Context(), "2001"); err != nil || !on {
		t.Errorf("by code: %v, %v", on, err)
	}
	want("on by code", record.On)
	if on, err := x.calls.ToggleRecording(t.Context(), "2001"); err != nil || on {
		t.Errorf("by code again: %v, %v", on, err)
	}
	if _, err := x.calls.ToggleRecording(t.Context(), "8002"); !errors.Is(err, call.ErrNotYours) {
		t.Errorf("somebody else: %v", err)
	}
	if err := x.calls.Record(t.Context(), id, true, "anna"); err != nil {
		t.Error(err)
	}
	want("on by an operator", record.On)
	if err := x.calls.Record(t.Context(), "none", true, "anna"); !errors.Is(err, call.ErrUnknownCall) {
		t.Errorf("no such call: %v", err)
	}
	k.hangUp(k.da)
	if r := x.wantRecords(1)[0].Recording; r == nil || len(r.IDs) != 4 || r.By != "anna" {
		t.Errorf("record %+v", r)
	}
}

// What the rules want no party ends; an operator may, unless they require it.
func TestRecordingThatMustStay(t *testing.T) {
	t.Parallel()
	for _, mode := range []record.Mode{record.Always, record.Required} {
		x, k := acrossSites(t, recorded(mode))
		eventually(t, "recorded", func() bool { return recording(x) == record.On })
		k.da.send("INFO", "", [2]string{"Record", "off"})
		k.a.status("INFO", 403)
		err := x.calls.Record(t.Context(), x.calls.Snapshot()[0].ID, false, "anna")
		if stays := errors.Is(err, call.ErrMustStay); stays != (mode == record.Required) || !stays && err != nil {
			t.Errorf("%s: %v", mode, err)
		}
		k.hangUp(k.da)
		x.wantRecords(1)
	}
}

// After a crash the call is recorded on, in another file.
func TestRecordingGoesOnAfterACrash(t *testing.T) {
	t.Parallel()
	o := recorded(record.OnDemand)
	x, k := acrossSites(t, o)
	eventually(t, "may be recorded", func() bool { return len(x.calls.Snapshot()) == 1 && x.calls.Snapshot()[0].MayRecord })
	k.da.send("INFO", "", [2]string{"Record", "on"})
	k.a.status("INFO", 200)
	eventually(t, "recorded", func() bool { return recording(x) == record.On })
	x.kill()
	x.start(o)
	eventually(t, "recorded again", func() bool { return recording(x) == record.On })
	k.hangUp(k.da)
	if r := x.wantRecords(1)[0].Recording; r == nil || len(r.IDs) != 2 || r.By != "phone 8001" {
		t.Errorf("record %+v", r)
	}
}

// SRTP that the phones would keep to themselves ends here when the rules want a recording; one that cannot end here is
// refused where they require it, and else says why it is not recorded.
func TestRecordingOfEncryptedCalls(t *testing.T) {
	t.Parallel()
	unknown := func(addr string) string {
		key := base64.StdEncoding.EncodeToString(make([]byte, 30))
		return strings.Replace(sdpFrom(addr, "a=crypto:1 F8_128_HMAC_SHA1_80 inline:"+key), "RTP/AVP", "RTP/SAVP", 1)
	}
	for _, tt := range []struct {
		name  string
		mode  record.Mode
		offer func(string) string
		ours  bool // the callee gets keys of ours
		want  record.State
		why   string
	}{
		{"ends here", record.Always, func(a string) string { return secure(a) }, true, record.On, ""},
		{"required and ends here", record.Required, func(a string) string { return secure(a) }, true, record.On, ""},
		{"cannot end here", record.Always, unknown, false, record.Off, record.ErrEncrypted.Error()},
		{"on demand stays", record.OnDemand, func(a string) string { return secure(a) }, false, record.Off, ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			x := newExchange(t, recorded(tt.mode))
			a, b := newPhone(t, x, "8001", "TLS", "127.0.0.11"), newPhone(t, x, "2001", "TLS", "127.0.1.12")
			a.register()
			b.register()
			own := a.invite("2001", tt.offer(a.local))
			inv := b.request("INVITE")
			if ours := !strings.Contains(inv.body, "inline:"+strings.Split(strings.Split(own.body, "inline:")[1], "\r\n")[0]); ours != tt.ours || !strings.Contains(inv.body, "SAVP") {
				t.Errorf("offered\n%s", inv.body)
			}
			b.tag = token()
			answer := tt.offer(b.local)
			b.send(b.reply(inv, 200, "OK", answer))
			ok := a.status("INVITE", 200)
			k := &talk{a: a, b: b, da: a.dialogOfCaller(ok), db: b.dialogOfCallee(inv)}
			k.da.send("ACK", "")
			b.request("ACK")
			eventually(t, "established", func() bool { return state(x) == call.StateEstablished })
			eventually(t, "recorded or not", func() bool { return recording(x) == tt.want })
			if tt.mode == record.OnDemand {
				k.da.send("INFO", "", [2]string{"Record", "on"})
				if res := a.status("INFO", http.StatusForbidden); !strings.Contains(res.header("Warning"), record.ErrEncrypted.Error()) {
					t.Errorf("Warning %s", res.header("Warning"))
				}
				tt.why = record.ErrEncrypted.Error()
			}
			k.hangUp(k.da)
			if r := x.wantRecords(1)[0].Recording; r == nil || r.Reason != tt.why {
				t.Errorf("record %+v", r)
			}
		})
	}
	t.Run("required and cannot", func(t *testing.T) {
		x := newExchange(t, recorded(record.Required))
		a, b := newPhone(t, x, "8001", "TLS", "127.0.0.11"), newPhone(t, x, "2001", "TLS", "127.0.1.12")
		a.register()
		b.register()
		own := a.invite("2001", unknown(a.local))
		res := a.status("INVITE", 488)
		a.send(a.ackFailure(own, res))
		if !strings.Contains(res.header("Warning"), "recorded") {
			t.Errorf("Warning %s", res.header("Warning"))
		}
	})
}

// A call that changes hands is recorded by the rules about those who talk.
func TestRecordingOfATransferredCall(t *testing.T) {
	t.Parallel()
	x, k, c := threePhones(t, recorded(record.Always))
	eventually(t, "recorded", func() bool { return recording(x) == record.On })
	k.da.send("REFER", "", [2]string{"Refer-To", "<sip:" + c.ext + "@" + domain + ">"})
	k.a.status("REFER", 202)
	inv := c.request("INVITE")
	c.tag = token()
	c.send(c.reply(inv, 200, "OK", sdpFrom(c.local)))
	c.request("ACK")
	k.b.answerOffer(sdpFrom(k.b.local))
	eventually(t, "the new call is recorded", func() bool {
		for _, s := range x.calls.Snapshot() {
			if s.To.Extension == c.ext && s.Recording == record.On {
				return true
			}
		}
		return false
	})
}
