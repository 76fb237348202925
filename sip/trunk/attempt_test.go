package trunk

import (
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/emiago/sipgo/sip"
	"github.com/google/go-cmp/cmp"

	"linehall/sip/dialplan"
	"linehall/sip/stack"
)

func gateways(ways []Attempt) string {
	var names []string
	for _, w := range ways {
		names = append(names, w.Trunk+"/"+w.Gateway)
	}
	return strings.Join(names, " ")
}

func TestAttemptsFollowPriorityHealthAndRoom(t *testing.T) {
	bubble(t, func(l *lab) {
		t := l.t
		first, second := provider("192.0.2.8"), provider("192.0.2.11")
		second.Name = "second"
		backup := DefaultGateway()
		backup.Address, backup.Priority = "192.0.2.9", 2
		first.Gateways = append(first.Gateways, backup)
		first.Probe, second.Probe = 0, 0
		first.Gateways[0].MaxCalls, first.MaxCalls = 2, 3
		l.apply(first, second)
		time.Sleep(time.Second)
		o := Outgoing{Trunks: []string{"provider", "second", "unknown"}, Number: "+8613800000000"}
		step := func(name, want string) {
			t.Helper()
			if got := gateways(l.s.Attempts(t.Context(), o)); got != want {
				t.Errorf("%s: %s, want %s", name, got, want)
			}
		}
		step("all live", "provider/192.0.2.8 provider/192.0.2.9 second/192.0.2.11")
		l.own["provider/192.0.2.8"] = 2
		step("one gateway is full", "provider/192.0.2.9 second/192.0.2.11")
		l.own["provider"] = 3
		step("the trunk is full", "second/192.0.2.11")
		o.Emergency = true
		step("an emergency call knows no room", "provider/192.0.2.8 provider/192.0.2.9 second/192.0.2.11")
		o.Emergency = false
		clear(l.own)
		for range failuresDown {
			l.s.Report("provider", "192.0.2.8", 408)
		}
		step("one gateway is down", "provider/192.0.2.9 second/192.0.2.11")
		o.Emergency = true
		step("an emergency call tries it last", "provider/192.0.2.9 second/192.0.2.11 provider/192.0.2.8")
		o.Emergency = false
		for range failuresDown {
			l.s.Report("provider", "192.0.2.9", 408)
			l.s.Report("second", "192.0.2.11", 408)
		}
		step("all are down: our belief may be old", "provider/192.0.2.8 provider/192.0.2.9 second/192.0.2.11")
	})
}

func TestWeightsShareTheCalls(t *testing.T) {
	a, b := &gateway{cfg: GatewayConfig{Weight: 3}}, &gateway{cfg: GatewayConfig{Weight: 1}}
	tr := &trunk{gateways: []*gateway{a, b}}
	first := 0
	const draws = 4000
	for range draws {
		if tr.ordered()[0] == a {
			first++
		}
	}
	if share := float64(first) / draws; share < 0.70 || share > 0.80 {
		t.Errorf("the gateway with three quarters of the weight was first in %.2f", share)
	}
}

func TestAttemptShowsNothingInternal(t *testing.T) {
	bubble(t, func(l *lab) {
		t := l.t
		c := provider("192.0.2.9:5070")
		c.Probe, c.Format = 0, dialplan.NationalFmt
		c.Auth = AuthConfig{User: "acct", Password: "secret"}
		c.Identity = IdentityConfig{Number: "04715550000", Own: true}
		c.DIDs = []dialplan.DIDConfig{{Number: "04715551234", To: "8001"}, {Number: "0471666XXXX", Digits: 4}}
		l.apply(c)
		time.Sleep(time.Second)
		for _, tt := range []struct {
			name                string
			o                   Outgoing
			uri, from, asserted string
			headers             [][2]string
		}{
			{"a mobile number", Outgoing{Number: "+8613800000000", Extension: "8009", Name: "董"}, "sip:13800000000@192.0.2.9:5070", "sip:04716668009@192.0.2.9", "", nil},
			{"a DID of its own", Outgoing{Number: "+864715550100", Extension: "8001"}, "sip:04715550100@192.0.2.9:5070", "sip:04715551234@192.0.2.9", "", nil},
			{"nobody of ours", Outgoing{Number: "+12025550100"}, "sip:0012025550100@192.0.2.9:5070", "sip:04715550000@192.0.2.9", "", nil},
			{"withheld", Outgoing{Number: "10086", Extension: "8001", Withheld: true}, "sip:10086@192.0.2.9:5070", "sip:anonymous@anonymous.invalid", "sip:04715551234@192.0.2.9", [][2]string{{"Privacy", "id"}}},
			{"emergency", Outgoing{Number: "110", Extension: "8001", Withheld: true, Emergency: true, Identity: "+864715559999"}, "sip:110@192.0.2.9:5070", "sip:04715559999@192.0.2.9", "", nil},
			{"a sharp", Outgoing{Number: "12#4"}, "sip:12%234@192.0.2.9:5070", "sip:04715550000@192.0.2.9", "", nil},
		} {
			tt.o.Trunks = []string{"provider"}
			got := l.s.Attempts(t.Context(), tt.o)
			if len(got) != 1 {
				t.Fatalf("%s: %d attempts", tt.name, len(got))
			}
			a := got[0]
			if tt.asserted == "" {
				tt.asserted = tt.from
			}
			if a.URI != tt.uri || a.From != tt.from || a.Asserted != tt.asserted || a.Contact != "acct" || a.FromName+a.Name != map[bool]string{true: "Anonymous"}[tt.o.Withheld && !tt.o.Emergency] {
				t.Errorf("%s: %+v", tt.name, a)
			}
			if diff := cmp.Diff(tt.headers, a.Headers); diff != "" {
				t.Errorf("%s: headers (-want +got):\n%s", tt.name, diff)
			}
			var uri sip.Uri
			if err := sip.ParseUri(a.URI, &uri); err != nil {
				t.Errorf("%s: %v", tt.name, err)
			}
			value, err := l.s.Authorize(a.Trunk, a.Gateway, `Digest realm="x", nonce="y"`, "INVITE", a.URI, nil)
			if err != nil || !strings.Contains(value, `username="acct"`) || strings.Contains(value, "secret") {
				t.Errorf("%s: %q, %v", tt.name, value, err)
			}
		}
	})
}

func incoming(t *testing.T, from, uri string, headers ...string) *stack.Request {
	t.Helper()
	raw := "INVITE " + uri + " SIP/2.0\r\n" + strings.Join(headers, "\r\n") + "\r\nVia: SIP/2.0/UDP 192.0.2.9;branch=z9hG4bKx\r\nCall-ID: c\r\nCSeq: 1 INVITE\r\nContent-Length: 0\r\n\r\n"
	msg, err := sip.ParseMessage([]byte(raw))
	if err != nil {
		t.Fatalf("%v\n%s", err, raw)
	}
	return &stack.Request{Request: msg.(*sip.Request), Flow: stack.Flow{ //nolint:errcheck,forcetypeassert // an INVITE
		Transport: stack.UDP, Local: netip.MustParseAddrPort(ourAddress), Remote: netip.MustParseAddrPort(from),
	}}
}

func TestIdentify(t *testing.T) {
	bubble(t, func(l *lab) {
		t := l.t
		first, second := provider("192.0.2.9"), account1(provider("192.0.2.9"))
		second.Name = "second"
		first.Probe, second.Probe = 0, 0
		first.Identify = []netip.Prefix{netip.MustParsePrefix("198.51.100.0/24")}
		first.MaxCalls = 1
		first.DIDs = []dialplan.DIDConfig{{Number: "0471555XXXX", Digits: 4}}
		gw := l.gateway("192.0.2.9:5060")
		gw.answers((&registrar{user: "04715550000", password: "secret", nonce: "n1"}).answer)
		l.apply(first, second)
		time.Sleep(time.Second)
		from, to := "From: \"Li\" <sip:013900000000@192.0.2.9>;tag=1", "To: <sip:04715551234@192.0.2.1>"
		for _, tt := range []struct {
			name    string
			req     *stack.Request
			want    Incoming
			unknown bool
		}{
			{"by address and DID", incoming(t, "192.0.2.9:5060", "sip:+864715551234@192.0.2.1", from, to), Incoming{Trunk: "provider", Gateway: "192.0.2.9", From: "13900000000", Name: "Li", Number: "+864715551234", SRTP: "off", TrunkCalls: 1}, false},
			{"another port", incoming(t, "192.0.2.9:40000", "sip:04715551234@192.0.2.1", from, to), Incoming{Trunk: "provider", Gateway: "192.0.2.9", From: "13900000000", Name: "Li", Number: "04715551234", SRTP: "off", TrunkCalls: 1}, false},
			{"by the account", incoming(t, "192.0.2.9:5060", "sip:04715550000@192.0.2.1", from, to), Incoming{Trunk: "second", Gateway: "192.0.2.9", From: "13900000000", Name: "Li", Number: "04715551234", SRTP: "off"}, false},
			{"the called party's own header", incoming(t, "192.0.2.9:5060", "sip:04715550000@192.0.2.1", from, to, "P-Called-Party-ID: <sip:04715559999@provider.example>"), Incoming{Trunk: "second", Gateway: "192.0.2.9", From: "13900000000", Name: "Li", Number: "04715559999", SRTP: "off"}, false},
			{"by the list", incoming(t, "198.51.100.7:5060", "sip:04715551234@192.0.2.1", from, to), Incoming{Trunk: "provider", From: "13900000000", Name: "Li", Number: "04715551234", SRTP: "off", TrunkCalls: 1}, false},
			{"the network's word", incoming(t, "198.51.100.7:5060", "sip:04715551234@192.0.2.1", from, to, "P-Asserted-Identity: \"Wang\" <tel:+8613911111111;x=y>"), Incoming{Trunk: "provider", From: "13911111111", Name: "Wang", Number: "04715551234", SRTP: "off", TrunkCalls: 1}, false},
			{"withheld", incoming(t, "198.51.100.7:5060", "sip:04715551234@192.0.2.1", from, to, "Privacy: id; critical", "P-Asserted-Identity: <sip:+8613911111111@x>"), Incoming{Trunk: "provider", Number: "04715551234", SRTP: "off", TrunkCalls: 1}, false},
			{"anonymous", incoming(t, "198.51.100.7:5060", "sip:04715551234@192.0.2.1", "From: <sip:anonymous@anonymous.invalid>;tag=1", to), Incoming{Trunk: "provider", Number: "04715551234", SRTP: "off", TrunkCalls: 1}, false},
			{"a stranger", incoming(t, "203.0.113.5:5060", "sip:04715551234@192.0.2.1", from, to), Incoming{}, true},
		} {
			got, ok := l.s.Identify(tt.req)
			if ok == tt.unknown {
				t.Errorf("%s: known %v", tt.name, ok)
			}
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Errorf("%s (-want +got):\n%s", tt.name, diff)
			}
		}
	})
}

func FuzzAddress(f *testing.F) {
	for _, s := range []string{`"Li" <sip:+8613@x;user=phone>`, "tel:+86-138;phone-context=x", "<sip:a:b@c>", "sip:%31%32@x", "<", `"\"<sip:1@2>`, "sips:%0d%0a@x"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, text string) {
		user, name, ok := address(text)
		if !ok && user+name != "" {
			t.Errorf("%q is refused and yet %q %q", text, user, name)
		}
		if strings.ContainsAny(user+name, "\r\n\x00") || strings.ContainsAny(user, "<>\"@ ") || len(user) > 64 || len(name) > 128 {
			t.Errorf("%q became %q %q", text, user, name)
		}
	})
}
