package call_test

import (
	"strings"
	"testing"

	"linehall/sip/call"
	"linehall/sip/cdr"
)

func TestCallAndBye(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct{ name, ta, ipa, exta, tb, ipb, extb, path string }{
		{"inside a site over UDP", "UDP", "127.0.0.11", "8001", "UDP", "127.0.0.12", "8002", "direct"},
		{"across sites over UDP", "UDP", "127.0.0.11", "8001", "UDP", "127.0.1.12", "2001", "relay"},
		{"TCP to UDP", "TCP", "127.0.0.11", "8001", "UDP", "127.0.1.12", "2001", "relay"},
		{"UDP to TCP", "UDP", "127.0.0.11", "8001", "TCP", "127.0.1.12", "2001", "relay"},
	} {
		for _, ends := range []string{"caller", "callee"} {
			t.Run(tt.name+", "+ends+" ends", func(t *testing.T) {
				x := newExchange(t, labOptions{})
				a, b := newPhone(t, x, tt.exta, tt.ta, tt.ipa), newPhone(t, x, tt.extb, tt.tb, tt.ipb)
				a.register()
				b.register()
				k := connect(t, a, b)
				if got := k.invite.header("From"); !strings.Contains(got, `李 \"Li\"`) || strings.Contains(got, "boss") {
					t.Errorf("caller's identity is not ours: %s", got)
				}
				if got := k.invite.header("P-Asserted-Identity"); !strings.Contains(got, "<sip:8001@linehall.test>") {
					t.Errorf("P-Asserted-Identity: %q", got)
				}
				if got := strings.Fields(k.invite.first)[1]; got != uriOf(b.contact()) {
					t.Errorf("Request-URI %s is not the registered contact %s", got, b.contact())
				}
				if strings.Contains(k.invite.body, "o=phone 42 1") {
					t.Error("the other leg's o= line passed through")
				}
				eventually(t, "established", func() bool {
					s := x.calls.Snapshot()
					return len(s) == 1 && s[0].State == call.StateEstablished && string(s[0].Path) == tt.path && s[0].Recoverable
				})
				if ends == "caller" {
					k.hangUp(k.da)
				} else {
					k.hangUp(k.db)
				}
				r := x.wantRecords(1)[0]
				if r.Result != cdr.Answered || r.EndedBy != ends || r.Path != tt.path || r.From != tt.exta || r.To != tt.extb || r.Codec != "PCMA" {
					t.Errorf("record %+v", r)
				}
				eventually(t, "no call left", func() bool { return len(x.calls.Snapshot()) == 0 })
			})
		}
	}
}

func TestCancel(t *testing.T) {
	t.Parallel()
	x := newExchange(t, labOptions{})
	a, b, b2 := newPhone(t, x, "8001", "UDP", "127.0.0.11"), newPhone(t, x, "8002", "UDP", "127.0.0.12"), newPhone(t, x, "8002", "TCP", "127.0.0.13")
	a.register()
	b.register()
	b2.register()
	inv := a.invite("8002", sdpFrom(a.local))
	ringing := b.request("INVITE")
	b.send(b.reply(ringing, 180, "Ringing", ""))
	ringing2 := b2.request("INVITE")
	b2.send(b2.reply(ringing2, 180, "Ringing", ""))
	a.status("INVITE", 180)
	a.status("INVITE", 180)
	a.cancel(inv)
	a.status("CANCEL", 200)
	res := a.status("INVITE", 487)
	a.send(a.ackFailure(inv, res))
	for _, p := range []struct {
		p   *phone
		inv *message
	}{{b, ringing}, {b2, ringing2}} {
		c := p.p.request("CANCEL")
		p.p.send(p.p.reply(c, 200, "OK", ""))
		p.p.send(p.p.reply(p.inv, 487, "Request Terminated", ""))
		p.p.request("ACK")
	}
	r := x.wantRecords(1)[0]
	if r.Result != cdr.Cancelled || r.Code != 487 || r.EndedBy != "caller" || len(r.Legs) != 2 {
		t.Errorf("record %+v", r)
	}
}
