package call_test

import (
	"strings"
	"testing"

	"linehall/internal/site"
	"linehall/sip/call"
	"linehall/sip/cdr"
)

const aKey = "a=crypto:1 AES_CM_128_HMAC_SHA1_80 inline:WVNfX19zZW1jdGwgKCkgewkyMjA7fQp9CnVubGVz"

// secure is a description with SRTP only, optional one that leaves the choice (RFC 8643).
func secure(addr string, lines ...string) string {
	return strings.Replace(sdpFrom(addr, append(lines, aKey)...), "RTP/AVP", "RTP/SAVP", 1)
}

func optional(addr string) string { return sdpFrom(addr, aKey) }

// either offers both as two media (older phones' way); chosen answers it with SRTP.
func either(addr string) string {
	return secure(addr) + "m=audio 42000 RTP/AVP 8\r\n"
}

func chosen(addr string) string { return secure(addr) + "m=audio 0 RTP/AVP 8\r\n" }

// A call under each policy: what may be offered, and over what.
func TestSRTPPolicy(t *testing.T) {
	t.Parallel()
	const off, offered, required = site.SRTPOff, site.SRTPOffered, site.SRTPRequired
	for _, tt := range []struct {
		name      string
		srtp      [2]site.SRTP
		transport [2]string
		offer     func(string) string
		answer    func(string) string
		warning   string // of the 488; "": the call is made
		srtpCall  bool
	}{
		{"clear where nobody minds", [2]site.SRTP{off, off}, [2]string{"UDP", "UDP"}, func(a string) string { return sdpFrom(a) }, func(a string) string { return sdpFrom(a) }, "", false},
		{"encrypted where nobody asks", [2]site.SRTP{off, off}, [2]string{"UDP", "UDP"}, func(a string) string { return secure(a) }, func(a string) string { return secure(a) }, "", true},
		{"clear where it is offered", [2]site.SRTP{}, [2]string{"UDP", "UDP"}, func(a string) string { return sdpFrom(a) }, func(a string) string { return sdpFrom(a) }, "", false},
		{"encrypted where it is offered", [2]site.SRTP{offered, offered}, [2]string{"TLS", "TLS"}, func(a string) string { return secure(a) }, func(a string) string { return secure(a) }, "", true},
		{"optional, answered clear", [2]site.SRTP{offered, offered}, [2]string{"TLS", "TLS"}, optional, func(a string) string { return sdpFrom(a) }, "", false},
		{"optional, answered encrypted", [2]site.SRTP{offered, offered}, [2]string{"TLS", "TLS"}, optional, optional, "", true},
		{"required, clear", [2]site.SRTP{off, required}, [2]string{"TLS", "TLS"}, func(a string) string { return sdpFrom(a) }, nil, "encrypted media is required", false},
		{"required, encrypted", [2]site.SRTP{required, off}, [2]string{"TLS", "TLS"}, func(a string) string { return secure(a) }, func(a string) string { return secure(a) }, "", true},
		{"required, keys in clear from the caller", [2]site.SRTP{off, required}, [2]string{"UDP", "TLS"}, func(a string) string { return secure(a) }, nil, "use TLS", false},
		{"required, keys in clear to the callee", [2]site.SRTP{required, off}, [2]string{"TLS", "TCP"}, func(a string) string { return secure(a) }, nil, "use TLS", false},
		{"required, either, answered encrypted", [2]site.SRTP{required, off}, [2]string{"TLS", "TLS"}, either, chosen, "", true},
		{"required, optional, answered clear", [2]site.SRTP{off, required}, [2]string{"TLS", "TLS"}, optional, func(a string) string { return sdpFrom(a) }, "encrypted media is required", false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			x := newExchange(t, labOptions{srtp: tt.srtp})
			a, b := newPhone(t, x, "8001", tt.transport[0], "127.0.0.11"), newPhone(t, x, "2001", tt.transport[1], "127.0.1.12")
			a.register()
			b.register()
			own := a.invite("2001", tt.offer(a.local))
			if tt.answer != nil {
				inv := b.request("INVITE")
				if strings.Contains(own.body, "SAVP") != strings.Contains(inv.body, "SAVP") || strings.Contains(own.body, aKey) != strings.Contains(inv.body, aKey) {
					t.Errorf("the offer lost its keys:\n%s", inv.body)
				}
				b.tag = token()
				b.send(b.reply(inv, 200, "OK", tt.answer(b.local)))
			}
			if tt.warning != "" {
				res := a.status("INVITE", 488)
				a.send(a.ackFailure(own, res))
				if !strings.Contains(res.header("Warning"), tt.warning) {
					t.Errorf("Warning %s", res.header("Warning"))
				}
				if tt.answer != nil {
					b.request("ACK")
					b.send(b.reply(b.request("BYE"), 200, "OK", ""))
				}
				if r := x.wantRecords(1)[0]; r.Code != 488 || r.Result != cdr.Refused && r.Result != cdr.Failed {
					t.Errorf("record %+v", r)
				}
				return
			}
			ok := a.status("INVITE", 200)
			d := a.dialogOfCaller(ok)
			d.send("ACK", "")
			b.request("ACK")
			eventually(t, "established", func() bool { return state(x) == call.StateEstablished })
			if got := x.calls.Snapshot()[0].SRTP; got != tt.srtpCall {
				t.Errorf("srtp %v", got)
			}
			d.send("BYE", "")
			b.send(b.reply(b.request("BYE"), 200, "OK", ""))
			if r := x.wantRecords(1)[0]; r.SRTP != tt.srtpCall {
				t.Errorf("record %+v", r)
			}
		})
	}
}

// What was encrypted stays so, unless the policy of both ends is off.
func TestNoSilentDowngrade(t *testing.T) {
	t.Parallel()
	for _, policy := range []site.SRTP{site.SRTPOffered, site.SRTPOff} {
		x := newExchange(t, labOptions{srtp: [2]site.SRTP{policy, policy}})
		a, b := newPhone(t, x, "8001", "TLS", "127.0.0.11"), newPhone(t, x, "2001", "TLS", "127.0.1.12")
		a.register()
		b.register()
		a.invite("2001", secure(a.local))
		inv := b.request("INVITE")
		b.tag = token()
		b.send(b.reply(inv, 200, "OK", secure(b.local)))
		ok := a.status("INVITE", 200)
		k := &talk{a: a, b: b, da: a.dialogOfCaller(ok), db: b.dialogOfCallee(inv)}
		k.da.send("ACK", "")
		b.request("ACK")
		if policy == site.SRTPOff {
			reinvite(t, k, k.da, sdpFrom(a.local), sdpFrom(b.local))
			eventually(t, "clear", func() bool { return !x.calls.Snapshot()[0].SRTP })
			k.hangUp(k.da)
			continue
		}
		own := k.da.send("INVITE", sdpFrom(a.local))
		res := a.status("INVITE", 488)
		a.send(a.ackFailure(own, res))
		if !strings.Contains(res.header("Warning"), "stays so") && !strings.Contains(res.header("Warning"), "stays encrypted") {
			t.Errorf("Warning %s", res.header("Warning"))
		}
		// An encrypted offer that is answered in clear: the caller keeps what it had, and so does
		// the phone.
		own = k.da.send("INVITE", secure(a.local, "a=sendonly"))
		in := b.request("INVITE")
		b.send(b.reply(in, 200, "OK", sdpFrom(b.local)))
		b.request("ACK")
		a.send(a.ackFailure(own, a.status("INVITE", 488)))
		back := b.request("INVITE")
		if !strings.Contains(back.body, "SAVP") || strings.Contains(back.body, "sendonly") {
			t.Errorf("the old session came back as\n%s", back.body)
		}
		b.send(b.reply(back, 200, "OK", secure(b.local)))
		b.request("ACK")
		reinvite(t, k, k.db, secure(b.local, "a=sendonly"), secure(a.local, "a=recvonly"))
		if !x.calls.Snapshot()[0].SRTP {
			t.Error("not encrypted any more")
		}
		k.hangUp(k.da)
	}
}

// An emergency call is made in whatever way there is.
func TestSRTPNeverStopsEmergencies(t *testing.T) {
	t.Parallel()
	x := newExchange(t, labOptions{srtp: [2]site.SRTP{site.SRTPRequired, site.SRTPRequired}})
	a, b := newPhone(t, x, "8001", "UDP", "127.0.0.11"), newPhone(t, x, "8002", "UDP", "127.0.0.12")
	a.register()
	b.register()
	a.invite("119", sdpFrom(a.local))
	inv := b.request("INVITE")
	b.send(b.reply(inv, 200, "OK", sdpFrom(b.local)))
	a.status("INVITE", 200)
}

// secureTrunk is a trunk with one gateway over a transport and a policy, and a phone of 8001.
func secureTrunk(t *testing.T, policy, gateway, transport string) (p *pstn, g, a *phone) {
	t.Helper()
	p, _, _ = newTrunk(t, labOptions{srtp: [2]site.SRTP{site.SRTPOff, site.SRTPOff}}, 0)
	g, a = newPhone(t, p.x, "gw1", gateway, "127.0.9.1"), newPhone(t, p.x, "8001", transport, "127.0.0.21")
	p.wantConnected(g)
	p.mu.Lock()
	p.gateways, p.srtp = []*phone{g}, policy
	p.mu.Unlock()
	return p, g, a
}

// The policy of a trunk holds beside that of the site, whose phones may do as they like here: what crosses it is never
// silently in clear where it is required, neither are the keys.
func TestSRTPPolicyOfATrunk(t *testing.T) {
	t.Parallel()
	clear := func(a string) string { return sdpFrom(a) }
	locked := func(a string) string { return secure(a) }
	for _, tt := range []struct {
		name, policy, gateway, phone string
		offer, answer                func(string) string
		warning                      string // of the 488; "": the call is made
		srtp                         bool
	}{
		{"off, in clear", "off", "UDP", "UDP", clear, clear, "", false},
		{"off, encrypted passes", "off", "UDP", "UDP", locked, locked, "", true},
		{"optional, in clear", "optional", "TLS", "TLS", clear, clear, "", false},
		{"optional, encrypted", "optional", "TLS", "TLS", locked, locked, "", true},
		{"optional, the gateway chooses", "optional", "TLS", "TLS", optional, clear, "", false},
		{"required, encrypted", "required", "TLS", "TLS", locked, locked, "", true},
		{"required, in clear", "required", "TLS", "TLS", clear, nil, "encrypted media is required", false},
		{"required, the gateway answers in clear", "required", "TLS", "TLS", optional, clear, "encrypted media is required", false},
		{"required, keys in clear to the gateway", "required", "TCP", "TLS", locked, nil, "use TLS", false},
		{"required, keys in clear from the phone", "required", "TLS", "UDP", locked, nil, "use TLS", false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			p, g, a := secureTrunk(t, tt.policy, tt.gateway, tt.phone)
			own := a.invite("013800000000", tt.offer(a.local))
			var inv *message
			if tt.answer == nil {
				g.quiet("INVITE", func(m *message) bool { return !m.response() && m.method() == "INVITE" })
			} else {
				inv = g.request("INVITE")
				if strings.Contains(own.body, "SAVP") != strings.Contains(inv.body, "SAVP") || strings.Contains(own.body, aKey) != strings.Contains(inv.body, aKey) {
					t.Errorf("the offer lost its keys:\n%s", inv.body)
				}
				g.tag = token()
				g.send(g.reply(inv, 200, "OK", tt.answer(g.local)))
			}
			if tt.warning != "" {
				res := a.status("INVITE", 488)
				a.send(a.ackFailure(own, res))
				if !strings.Contains(res.header("Warning"), tt.warning) {
					t.Errorf("Warning %s", res.header("Warning"))
				}
				if tt.answer != nil {
					g.request("ACK")
					g.send(g.reply(g.request("BYE"), 200, "OK", ""))
				}
				return
			}
			k := &talk{a: a, b: g, da: a.dialogOfCaller(a.status("INVITE", 200)), db: g.dialogOfCallee(inv)}
			k.da.send("ACK", "")
			g.request("ACK")
			eventually(t, "established", func() bool { return state(p.x) == call.StateEstablished })
			if got := p.x.calls.Snapshot()[0].SRTP; got != tt.srtp {
				t.Errorf("srtp %v", got)
			}
			if tt.srtp && tt.policy != "off" { // what is encrypted stays so
				k.db.send("INVITE", clear(g.local), [2]string{"Content-Type", "application/sdp"})
				res := g.status("INVITE", 488)
				if !strings.Contains(res.header("Warning"), "stays encrypted") && !strings.Contains(res.header("Warning"), "required") {
					t.Errorf("a downgrade: Warning %s", res.header("Warning"))
				}
			}
			k.hangUp(k.da)
		})
	}
}

func TestSRTPPolicyOfATrunkForIncomingCalls(t *testing.T) {
	t.Parallel()
	for _, encrypted := range []bool{false, true} {
		p, g, _ := secureTrunk(t, "required", "TLS", "TLS")
		b := newPhone(t, p.x, "8002", "TLS", "127.0.0.22")
		b.register()
		g.call, g.tag = token(), token()
		body := sdpFrom(g.local)
		if encrypted {
			body = secure(g.local)
		}
		in := g.inviteMessage("04715550002", body)
		g.send(in)
		if !encrypted {
			res := g.status("INVITE", 488)
			g.send(g.ackFailure(in, res))
			b.quiet("INVITE", func(m *message) bool { return !m.response() && m.method() == "INVITE" })
			continue
		}
		inv := b.request("INVITE")
		if !strings.Contains(inv.body, aKey) {
			t.Errorf("the offer lost its keys:\n%s", inv.body)
		}
		b.tag = token()
		b.send(b.reply(inv, 200, "OK", secure(b.local)))
		d := g.dialogOfCaller(g.status("INVITE", 200))
		d.send("ACK", "")
		b.request("ACK")
		eventually(t, "established and encrypted", func() bool { s := p.x.calls.Snapshot(); return len(s) == 1 && s[0].SRTP })
		d.send("BYE", "")
		b.send(b.reply(b.request("BYE"), 200, "OK", ""))
	}
}
