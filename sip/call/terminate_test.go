package call_test

import (
	"encoding/base64"
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
	key := base64.StdEncoding.EncodeToString(make([]byte, 28))
	gcm := func(addr string, lines ...string) string {
		return strings.Replace(sdpFrom(addr, append(lines, "a=crypto:3 AEAD_AES_128_GCM inline:"+key)...), "RTP/AVP", "RTP/SAVP", 1)
	}
	plain := sdpFrom
	for _, tt := range []struct {
		name          string
		offer, answer func(string, ...string) string
		attempts      int // INVITEs until the phone takes one
		srtp          bool
	}{
		{"to a phone without", secure, plain, 3, false},
		{"from a phone without", plain, nil, 2, false},
		{"no suite in common", gcm, secure, 2, true},
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
