package call_test

import (
	"strings"
	"testing"

	"linehall/sip/cdr"
)

const instance = `;+sip.instance="<urn:uuid:00000000-0000-1000-8000-000A95A0E128>"`

// flow registers one flow of an instance.
func (p *phone) flow(regID, instance string, headers ...[2]string) *message {
	p.t.Helper()
	p.call = token()
	p.authenticated(func() *message {
		m := p.fresh("REGISTER", "sip:"+domain, "sip:"+p.ext+"@"+domain, append(headers, [2]string{"Expires", "300"}, [2]string{"Supported", "outbound, gruu, path"})...)
		for i, h := range m.headers {
			if h[0] == "Contact" {
				m.headers[i][1] += instance
				if regID != "" {
					m.headers[i][1] += ";reg-id=" + regID
				}
			}
		}
		return m
	})
	return p.status("REGISTER", 200)
}

func isInvite(m *message) bool { return !m.response() && m.method() == "INVITE" }

// RFC 5626 §6: a phone with two flows rings once, over the one that lives.
func TestFlowsOfOnePhoneRingOnce(t *testing.T) {
	t.Parallel()
	x := newExchange(t, labOptions{})
	a := newPhone(t, x, "8001", "UDP", "127.0.0.1")
	one, two := newPhone(t, x, "8002", "TCP", "127.0.0.1"), newPhone(t, x, "8002", "TCP", "127.0.0.1")
	a.register()
	one.flow("1", instance)
	two.flow("2", instance)
	a.invite("8002", sdpFrom(a.local))
	inv := two.request("INVITE") // the newest
	one.quiet("a second INVITE to the same phone", isInvite)
	two.send(two.reply(inv, 486, "Busy Here", ""))
	if res := a.final("INVITE"); res.code() != 486 { // an answer of the phone's: its other flow is not tried
		t.Errorf("got:\n%s", res.text())
	}
	one.quiet("an INVITE after the phone has answered", isInvite)

	_ = two.conn.Close()
	eventually(t, "the connection is gone", func() bool { return x.connections() == 1 })
	k := connect(t, a, one)
	k.hangUp(k.da)
}

// RFC 5626 §6: a flow that turns out to be gone is replaced by the phone's other flow.
func TestFlowFailover(t *testing.T) {
	t.Parallel()
	x := newExchange(t, labOptions{})
	a := newPhone(t, x, "8001", "UDP", "127.0.0.1")
	one, two := newPhone(t, x, "8002", "UDP", "127.0.0.1"), newPhone(t, x, "8002", "UDP", "127.0.0.1")
	a.register()
	one.flow("1", instance)
	two.flow("2", instance)
	a.invite("8002", sdpFrom(a.local))
	inv := two.request("INVITE")
	two.send(two.reply(inv, 430, "Flow Failed", "")) // what an edge proxy says
	again := one.request("INVITE")
	one.tag = token()
	one.send(one.reply(again, 200, "OK", sdpFrom(one.local)))
	ok := a.status("INVITE", 200)
	da, db := a.dialogOfCaller(ok), one.dialogOfCallee(again)
	one.request("ACK")
	da.send("ACK", "")
	(&talk{a: a, b: one, da: da, db: db, invite: again, ok: ok}).hangUp(da)
	if r := x.wantRecords(1)[0]; r.Result != cdr.Answered || len(r.Legs) != 1 {
		t.Errorf("record %+v", r)
	}
	// Both fail: the caller hears what a silent phone sounds like.
	a.invite("8002", sdpFrom(a.local))
	for _, p := range []*phone{two, one} {
		inv := p.request("INVITE")
		p.send(p.reply(inv, 430, "Flow Failed", ""))
	}
	if res := a.final("INVITE"); res.code() != 480 {
		t.Errorf("got:\n%s", res.text())
	}
}

// RFC 5627: a request to a GRUU rings that instance alone, as Request-URI and as the target of requests in a dialog.
func TestGRUUReachesItsInstance(t *testing.T) {
	t.Parallel()
	x := newExchange(t, labOptions{})
	a := newPhone(t, x, "8001", "UDP", "127.0.0.1")
	one, two := newPhone(t, x, "8002", "UDP", "127.0.0.1"), newPhone(t, x, "8002", "UDP", "127.0.0.1")
	a.register()
	contact := one.flow("", instance).header("Contact")
	two.flow("", strings.Replace(instance, "0E128", "0E129", 1))
	param := func(name string) string {
		_, rest, _ := strings.Cut(contact, name+`="`)
		value, _, _ := strings.Cut(rest, `"`)
		return value
	}
	for _, gruu := range []string{param("pub-gruu"), param("temp-gruu")} {
		t.Run(gruu[:9], func(t *testing.T) {
			a.call, a.tag = token(), token()
			a.authenticated(func() *message {
				m := a.fresh("INVITE", gruu, gruu, [2]string{"Content-Type", "application/sdp"})
				m.body = sdpFrom(a.local)
				return m
			})
			inv := one.request("INVITE")
			if got := strings.Fields(inv.first)[1]; got != uriOf(one.contact()) {
				t.Errorf("Request-URI %s", got)
			}
			two.quiet("an INVITE to another instance", isInvite)
			// The phone names itself by its GRUU (RFC 5627 §4.4), and is addressed by its contact.
			one.tag = token()
			answer := one.reply(inv, 200, "OK", sdpFrom(one.local))
			for i, h := range answer.headers {
				if h[0] == "Contact" {
					answer.headers[i][1] = "<" + gruu + ">"
				}
			}
			one.send(answer)
			ok := a.status("INVITE", 200)
			da := a.dialogOfCaller(ok)
			if ack := one.request("ACK"); strings.Fields(ack.first)[1] != uriOf(one.contact()) {
				t.Errorf("got %s", ack.first)
			}
			da.send("ACK", "")
			da.send("BYE", "")
			bye := one.request("BYE")
			if strings.Fields(bye.first)[1] != uriOf(one.contact()) {
				t.Errorf("got %s", bye.first)
			}
			one.send(one.reply(bye, 200, "OK", ""))
			a.status("BYE", 200)
		})
	}
	for gruu, code := range map[string]int{
		"sip:8002@linehall.test;gr=urn:uuid:00000000-0000-1000-8000-FFFFFFFFFFFF": 480, // not registered now
		"sip:tgruu.AAAABBBBCCCCDDDD@linehall.test;gr":                             404,
		"sip:8999@linehall.test;gr=urn:uuid:00000000-0000-1000-8000-000A95A0E128": 404,
	} {
		a.call, a.tag = token(), token()
		a.authenticated(func() *message {
			m := a.fresh("INVITE", gruu, gruu, [2]string{"Content-Type", "application/sdp"})
			m.body = sdpFrom(a.local)
			return m
		})
		if res := a.final("INVITE"); res.code() != code {
			t.Errorf("%s: got %s", gruu, res.first)
		}
	}
}

// RFC 3327 §5.3: what goes to a phone behind a proxy takes the Path as its route set.
func TestPathIsTheRouteSet(t *testing.T) {
	t.Parallel()
	x := newExchange(t, labOptions{})
	a, edge := newPhone(t, x, "8001", "UDP", "127.0.0.1"), newPhone(t, x, "8002", "UDP", "127.0.0.1")
	a.register()
	edge.flow("", instance, [2]string{"Path", "<sip:token1@127.0.0.1:5999;lr;ob>, <sip:inner@10.0.0.1;lr>"})
	a.invite("8002", sdpFrom(a.local))
	inv := edge.request("INVITE")
	routes := strings.Join(inv.all("Route"), ", ")
	if routes != "<sip:token1@127.0.0.1:5999;lr;ob>, <sip:inner@10.0.0.1;lr>" || strings.Fields(inv.first)[1] != uriOf(edge.contact()) {
		t.Errorf("got:\n%s", inv.text())
	}
	edge.send(edge.reply(inv, 486, "Busy Here", ""))
	a.final("INVITE")
}

// RFC 3261 §18.1.1: a request too big for a datagram takes the phone's connection, if it has one; else it goes in fragments.
func TestBigRequests(t *testing.T) {
	t.Parallel()
	x := newExchange(t, labOptions{})
	a := newPhone(t, x, "8001", "TCP", "127.0.0.1")
	stream, datagrams := newPhone(t, x, "8002", "TCP", "127.0.0.1"), newPhone(t, x, "8002", "UDP", "127.0.0.1")
	a.register()
	stream.flow("1", instance)
	datagrams.flow("2", instance)
	big := sdpFrom(a.local, "a=x:"+strings.Repeat("y", 2000))
	refuse := func(p *phone) {
		t.Helper()
		inv := p.request("INVITE")
		if !strings.Contains(inv.body, strings.Repeat("y", 2000)) {
			t.Errorf("got:\n%s", inv.text())
		}
		p.send(p.reply(inv, 486, "Busy Here", ""))
		a.final("INVITE")
	}
	a.invite("8002", sdpFrom(a.local))
	inv := datagrams.request("INVITE") // the newest flow, and it fits
	datagrams.send(datagrams.reply(inv, 486, "Busy Here", ""))
	a.final("INVITE")
	a.invite("8002", big)
	refuse(stream)
	_ = stream.conn.Close()
	eventually(t, "the connection is gone", func() bool { return x.connections() == 1 })
	a.invite("8002", big)
	refuse(datagrams)
}
