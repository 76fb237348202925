package call_test

import (
	"encoding/base64"
	"fmt"
	"strings"
	"testing"

	"linehall/internal/secret"
	"linehall/internal/site"
	"linehall/media/srtp"
	"linehall/sip/call"
)

// cryptoOf is the first key of a body that the test understands.
func cryptoOf(t *testing.T, body string) srtp.Crypto {
	t.Helper()
	for line := range strings.Lines(body) {
		if v, ok := strings.CutPrefix(strings.TrimSpace(line), "a=crypto:"); ok {
			c, err := srtp.ParseCrypto(v)
			if err != nil {
				t.Fatal(err)
			}
			return c
		}
	}
	t.Fatalf("no keys in\n%s", body)
	return srtp.Crypto{}
}

// A phone with SRTP only calls one without, one without calls one with SRTP only, and two that share no suite call each
// other: the call is made, each side has keys of its own with us or none, and they stay in later offers.
func TestSRTPEndsHere(t *testing.T) {
	t.Parallel()
	key := base64.StdEncoding.EncodeToString(make([]byte, 28))
	for _, tt := range []struct {
		name          string
		offer, answer func(string, ...string) string
		attempts      int // INVITEs until the phone takes one
		srtp          bool
	}{
		{"to a phone without", secure, sdpFrom, 3, false},
		{"from a phone without", sdpFrom, nil, 2, false},
		{"no suite in common", gcmOnly, secure, 2, true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			x := newExchange(t, labOptions{srtp: [2]site.SRTP{site.SRTPOffered, site.SRTPOff}})
			a, b := newPhone(t, x, "8001", "TLS", "127.0.0.11"), newPhone(t, x, "2001", "TLS", "127.0.1.12")
			a.register()
			b.register()
			a.invite("2001", tt.offer(a.local))
			inv := b.request("INVITE")
			for range tt.attempts - 1 {
				b.send(b.reply(inv, 488, "Not Acceptable Here", ""))
				b.request("ACK")
				inv = b.request("INVITE")
			}
			b.tag = token()
			answer := tt.answer
			if answer == nil {
				answer = secure
			}
			if strings.Contains(inv.body, "SAVP") != strings.Contains(answer(b.local), "SAVP") || strings.Contains(inv.body, "WVNf") || strings.Contains(inv.body, key) {
				t.Fatalf("offered\n%s", inv.body)
			}
			reply := answer(b.local)
			if strings.Contains(inv.body, "SAVP") { // its first suite is the answer's
				first := cryptoOf(t, inv.body)
				if first.Key.Suite != srtp.AESCM128HMACSHA180 {
					t.Fatalf("%v first", first.Key.Suite)
				}
			}
			b.send(b.reply(inv, 200, "OK", reply))
			ok := a.status("INVITE", 200)
			k := &talk{a: a, b: b, da: a.dialogOfCaller(ok), db: b.dialogOfCallee(inv)}
			k.da.send("ACK", "")
			b.request("ACK")
			if strings.Contains(ok.body, "WVNf") && strings.Contains(reply, "WVNf") {
				t.Errorf("the other side's key came through:\n%s", ok.body)
			}
			if own := tt.offer(a.local); strings.Contains(own, "SAVP") {
				if c := cryptoOf(t, ok.body); !strings.Contains(ok.body, "SAVP") || c.Tag != cryptoOf(t, own).Tag || c.Key.Suite != cryptoOf(t, own).Key.Suite {
					t.Errorf("answered\n%s", ok.body)
				}
			} else if strings.Contains(ok.body, "SAVP") || strings.Contains(ok.body, "crypto") {
				t.Errorf("answered\n%s", ok.body)
			}
			eventually(t, "established", func() bool { return state(x) == call.StateEstablished })
			if s := x.calls.Snapshot()[0]; s.SRTP != tt.srtp || s.Path != "relay" {
				t.Errorf("srtp %v, path %s", s.SRTP, s.Path)
			}

			// Hold by either side: each is offered what it has.
			k.da.send("INVITE", tt.offer(a.local, "a=sendonly"))
			re := b.request("INVITE")
			if strings.Contains(re.body, "SAVP") != strings.Contains(reply, "SAVP") || !strings.Contains(re.body, "sendonly") {
				t.Errorf("hold came as\n%s", re.body)
			}
			if strings.Contains(reply, "SAVP") && !cryptoOf(t, re.body).Key.Equal(cryptoOf(t, inv.body).Key) {
				t.Error("another key without need")
			}
			b.send(b.reply(re, 200, "OK", answer(b.local, "a=recvonly")))
			b.request("ACK")
			held := a.status("INVITE", 200)
			k.da.send("ACK", "")
			if strings.Contains(tt.offer(a.local), "SAVP") && !cryptoOf(t, held.body).Key.Equal(cryptoOf(t, ok.body).Key) {
				t.Error("another key for the caller")
			}
			k.hangUp(k.da)
		})
	}
}

// Where one end requires encryption from phone to phone nothing ends here, and no key of ours goes over a flow that others
// can read.
func TestSRTPDoesNotEndHere(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		srtp      [2]site.SRTP
		transport string
		offer     func(string) string
	}{
		"required": {[2]site.SRTP{site.SRTPRequired, site.SRTPOff}, "TLS", func(a string) string { return secure(a) }},
		"UDP":      {[2]site.SRTP{}, "UDP", func(a string) string { return sdpFrom(a) }},
	} {
		t.Run(name, func(t *testing.T) {
			x := newExchange(t, labOptions{srtp: tt.srtp})
			a, b := newPhone(t, x, "8001", tt.transport, "127.0.0.11"), newPhone(t, x, "2001", tt.transport, "127.0.1.12")
			a.register()
			b.register()
			own := a.invite("2001", tt.offer(a.local))
			b.send(b.reply(b.request("INVITE"), 488, "Not Acceptable Here", ""))
			b.request("ACK")
			a.send(a.ackFailure(own, a.status("INVITE", 488)))
		})
	}
}

// Keys are encrypted at rest, whoever made them: those of phones that keep SRTP from end to end as well.
func TestKeysAreStoredEncrypted(t *testing.T) {
	t.Parallel()
	box, err := secret.Open(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	x := newExchange(t, labOptions{secrets: box})
	a, b := newPhone(t, x, "8001", "TLS", "127.0.0.11"), newPhone(t, x, "2001", "TLS", "127.0.1.12")
	a.register()
	b.register()
	states := map[string]bool{}
	look := func() {
		rows, err := x.db.QueryContext(t.Context(), "SELECT state FROM call_state")
		if err != nil {
			t.Fatal(err)
		}
		defer rows.Close()
		for rows.Next() {
			var state string
			if err := rows.Scan(&state); err != nil {
				t.Fatal(err)
			}
			states[state] = true
		}
		if err := rows.Err(); err != nil {
			t.Fatal(err)
		}
	}
	a.invite("2001", secure(a.local))
	inv := b.request("INVITE")
	eventually(t, "the ringing call is stored", func() bool { look(); return len(states) > 0 })
	b.tag = token()
	b.send(b.reply(inv, 200, "OK", secure(b.local)))
	ok := a.status("INVITE", 200)
	look()
	k := &talk{a: a, b: b, da: a.dialogOfCaller(ok), db: b.dialogOfCallee(inv)}
	k.da.send("ACK", "")
	b.request("ACK")
	before := len(states)
	eventually(t, "the answered call is stored", func() bool { look(); return len(states) > before })
	for state := range states {
		if !strings.HasPrefix(state, `{"sealed":`) {
			t.Errorf("stored in clear: %.100s", state)
		}
	}
	k.hangUp(k.da)
}

// gcmOnly is a phone with SRTP whose one suite the others lack.
func gcmOnly(addr string, lines ...string) string {
	key := base64.StdEncoding.EncodeToString(make([]byte, 28))
	return strings.Replace(sdpFrom(addr, append(lines, "a=crypto:3 AEAD_AES_128_GCM inline:"+key)...), "RTP/AVP", "RTP/SAVP", 1)
}

// wantProtection checks that a body is what its reader talks, with a key of ours where it is SRTP.
func wantProtection(t *testing.T, who, body, own string) {
	t.Helper()
	switch secured := strings.Contains(own, "SAVP"); {
	case secured != strings.Contains(body, "SAVP"), secured != strings.Contains(body, "a=crypto:"):
		t.Errorf("%s has\n%s\nand talks\n%s", who, body, own)
	case secured && cryptoOf(t, body).Key.Suite != cryptoOf(t, own).Key.Suite:
		t.Errorf("%s has another suite:\n%s", who, body)
	case strings.Contains(body, "WVNf"):
		t.Errorf("%s has the other side's key:\n%s", who, body)
	}
}

// wantSecured waits until the call shows which of its legs are encrypted.
func wantSecured(t *testing.T, x *exchange, legs [2]bool, here bool) {
	t.Helper()
	eventually(t, fmt.Sprintf("encrypted legs %v, here %v", legs, here), func() bool {
		for _, s := range x.calls.Snapshot() {
			if len(s.Legs) == 2 && s.State == call.StateEstablished && [2]bool{s.Legs[0].SRTP, s.Legs[1].SRTP} == legs && s.SRTPHere == here && s.SRTP == (legs[0] && legs[1]) {
				return true
			}
		}
		return false
	})
}

// Who picks up a call has made an offer of its own: each side gets what it talks.
func TestSRTPEndsHereInAPickup(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name           string
		caller, picker func(string, ...string) string
		legs           [2]bool
		here           bool
	}{
		{"a caller with SRTP, a picker without", secure, sdpFrom, [2]bool{true, false}, true},
		{"a caller without, a picker with SRTP", sdpFrom, secure, [2]bool{false, true}, true},
		{"no suite in common", gcmOnly, secure, [2]bool{true, true}, true},
		{"one suite", secure, secure, [2]bool{true, true}, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			x := newExchange(t, labOptions{pickup: map[string][]string{"8003": {"8002"}}, srtp: [2]site.SRTP{site.SRTPOffered, site.SRTPOffered}})
			a, b, c := newPhone(t, x, "2001", "TLS", "127.0.1.11"), newPhone(t, x, "8002", "TLS", "127.0.0.12"), newPhone(t, x, "8003", "TLS", "127.0.0.13")
			for _, p := range []*phone{a, b, c} {
				p.register()
			}
			a.invite("8002", tt.caller(a.local))
			in := b.request("INVITE")
			b.tag = token()
			b.send(b.reply(in, 180, "Ringing", ""))
			a.status("INVITE", 180)
			c.invite("*8", tt.picker(c.local))
			b.elsewhere(in)
			okA, okC := a.status("INVITE", 200), c.status("INVITE", 200)
			da, dc := a.dialogOfCaller(okA), c.dialogOfCaller(okC)
			da.send("ACK", "")
			dc.send("ACK", "")
			if tt.here {
				wantProtection(t, "the caller", okA.body, tt.caller(a.local))
				wantProtection(t, "the picker", okC.body, tt.picker(c.local))
			} else if !strings.Contains(okA.body, "WVNf") || !strings.Contains(okC.body, "WVNf") {
				t.Errorf("the key does not go through:\n%s\n%s", okA.body, okC.body)
			}
			wantSecured(t, x, tt.legs, tt.here)
			(&talk{a: a, b: c, da: da, db: dc}).hangUp(dc)
			if r := x.wantRecords(1)[0]; r.SRTPCaller != tt.legs[0] || r.SRTPCallee != tt.legs[1] || r.SRTPHere != tt.here || r.Path != "relay" {
				t.Errorf("record %+v", r)
			}
		})
	}
}

// Where the caller makes no offer, the callee's is turned into what the caller can use; one that cannot use it is asked
// again before the callee has its answer.
func TestSRTPEndsHereForLateOffers(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name           string
		transport      string // the caller's
		caller, callee func(string, ...string) string
		again          bool
	}{
		{"a caller without, over UDP", "UDP", sdpFrom, secure, false},
		{"a caller without, over TLS", "TLS", sdpFrom, secure, true},
		{"a caller with SRTP only", "TLS", secure, sdpFrom, true},
		{"no suite in common", "TLS", secure, gcmOnly, true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			x := newExchange(t, labOptions{srtp: [2]site.SRTP{site.SRTPOffered, site.SRTPOffered}})
			a, b := newPhone(t, x, "8001", tt.transport, "127.0.0.11"), newPhone(t, x, "2001", "TLS", "127.0.1.12")
			a.register()
			b.register()
			a.invite("2001", "")
			in := b.request("INVITE")
			b.tag = token()
			b.send(b.reply(in, 200, "OK", tt.callee(b.local)))
			ok := a.status("INVITE", 200)
			da := a.dialogOfCaller(ok)
			if tt.again {
				da.send("ACK", strings.Replace(tt.caller(a.local), "m=audio 40000", "m=audio 0", 1))
				re := a.request("INVITE")
				if strings.Contains(tt.caller(a.local), "AVP") && !strings.Contains(tt.caller(a.local), "SAVP") { // keys of ours were no use either
					a.send(a.reply(re, 200, "OK", strings.Replace(tt.caller(a.local), "m=audio 40000 RTP/AVP", "m=audio 0 RTP/SAVP", 1)))
					a.request("ACK")
					re = a.request("INVITE")
				}
				wantProtection(t, "the caller", re.body, tt.caller(a.local))
				a.send(a.reply(re, 200, "OK", tt.caller(a.local)))
				a.request("ACK")
			} else {
				wantProtection(t, "the caller", ok.body, tt.caller(a.local))
				da.send("ACK", tt.caller(a.local))
			}
			ack := b.request("ACK")
			wantProtection(t, "the callee", ack.body, tt.callee(b.local))
			if strings.Contains(ack.body, "m=audio 0") {
				t.Errorf("rejected:\n%s", ack.body)
			}
			secured := func(f func(string, ...string) string) bool { return strings.Contains(f("127.0.0.1:1"), "SAVP") }
			wantSecured(t, x, [2]bool{secured(tt.caller), secured(tt.callee)}, true)
			k := &talk{a: a, b: b, da: da, db: b.dialogOfCallee(in)}
			k.hangUp(k.db)
		})
	}
}

// Two parties that a transfer brings together talk although one has SRTP and the other one does not: who is on the phone
// is offered at once what it talks there.
func TestSRTPEndsHereAfterATransfer(t *testing.T) {
	t.Parallel()
	for _, attended := range []bool{false, true} {
		t.Run(map[bool]string{false: "blind", true: "attended"}[attended], func(t *testing.T) {
			x := newExchange(t, labOptions{srtp: [2]site.SRTP{site.SRTPOffered, site.SRTPOffered}})
			a, b, c := newPhone(t, x, "8001", "TLS", "127.0.0.11"), newPhone(t, x, "2001", "TLS", "127.0.1.12"), newPhone(t, x, "8003", "UDP", "127.0.0.13")
			for _, p := range []*phone{a, b, c} {
				p.register()
			}
			a.invite("2001", secure(a.local))
			inv := b.request("INVITE")
			b.tag = token()
			b.send(b.reply(inv, 200, "OK", secure(b.local)))
			ok := a.status("INVITE", 200)
			k := &talk{a: a, b: b, da: a.dialogOfCaller(ok), db: b.dialogOfCallee(inv)}
			k.da.send("ACK", "")
			b.request("ACK")
			wantSecured(t, x, [2]bool{true, true}, false)
			to := "8003@" + domain
			if attended {
				second := *b
				second.tag = token()
				k2 := connect(t, &second, c)
				k2.da.send("INFO", "") // behind the ACK
				info := c.request("INFO")
				c.send(c.reply(info, 200, "OK", ""))
				second.status("INFO", 200)
				to += "?Replaces=" + escaped(replacesOf(k2.da, ""))
			}
			if res := k.db.refer("<sip:" + to + ">"); res.code() != 202 {
				t.Fatalf("REFER: %s", res.first)
			}
			next := c.request("INVITE")
			if !attended { // what it talks is not known
				c.send(c.reply(next, 488, "Not Acceptable Here", ""))
				c.request("ACK")
				next = c.request("INVITE")
				c.tag = token()
			}
			wantProtection(t, "the target", next.body, sdpFrom(c.local))
			c.send(c.reply(next, 200, "OK", sdpFrom(c.local)))
			c.request("ACK")
			re := a.request("INVITE")
			wantProtection(t, "the party", re.body, secure(a.local))
			a.send(a.reply(re, 200, "OK", secure(a.local)))
			a.request("ACK")
			wantSecured(t, x, [2]bool{true, false}, true)
		})
	}
}
