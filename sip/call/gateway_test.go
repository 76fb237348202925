package call_test

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"linehall/sip/call"
	"linehall/sip/cdr"
	"linehall/sip/digest"
	"linehall/sip/route"
	"linehall/sip/stack"
)

// pstn is a trunk made of the test's own gateways: phones that never register.
type pstn struct {
	mu       sync.Mutex
	x        *exchange
	gateways []*phone
	silence  time.Duration
	down     []*phone // cannot be connected to
	asked    []call.Outgoing
	reports  []string
	again    func() stack.Flow // opens a lost connection again
	most     call.Capacity
	srtp     string
	gate     chan struct{} // Attempts waits for it
	names    []string      // of the gateways' trunks; without one they are all of "pstn"
}

// newTrunk is an exchange with n gateways and a phone of 8001 and of 8002.
func newTrunk(t *testing.T, o labOptions, n int) (p *pstn, a, b *phone) {
	t.Helper()
	p = &pstn{}
	o.trunks = p
	x := newExchange(t, o)
	p.mu.Lock()
	p.x = x
	for i := range n {
		p.gateways = append(p.gateways, newPhone(t, x, fmt.Sprintf("gw%d", i+1), "UDP", fmt.Sprintf("127.0.9.%d", i+1)))
	}
	p.mu.Unlock()
	a, b = newPhone(t, x, "8001", "UDP", "127.0.0.11"), newPhone(t, x, "8002", "UDP", "127.0.0.12")
	a.register()
	b.register()
	return p, a, b
}

func (p *pstn) Attempts(_ context.Context, o call.Outgoing) []call.Attempt {
	p.mu.Lock()
	p.asked = append(p.asked, o)
	gate := p.gate
	p.mu.Unlock()
	if gate != nil {
		<-gate
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	var out []call.Attempt
	for i, g := range p.gateways {
		flow := p.flow(g)
		ours := call.Identity{Name: "Linehall", URI: "sip:+864715550000@" + g.local}
		trunk := "pstn"
		if i < len(p.names) {
			trunk = p.names[i]
		}
		a := call.Attempt{
			Trunk: trunk, Gateway: g.ext, URI: "sip:" + o.Number + "@" + g.local, Flow: flow, Site: "hq",
			From: ours, Asserted: ours, Contact: "linehall", Headers: [][2]string{{"Privacy", "none"}}, Patience: p.silence, Most: p.most, SRTP: p.srtp,
		}
		if slices.Contains(p.down, g) {
			a.Flow = stack.Flow{}
			a.Connect = func(context.Context) (stack.Flow, error) { return stack.Flow{}, stack.ErrFlowGone }
		} else if g.ext == "gw2" {
			a.Connect = func(context.Context) (stack.Flow, error) { return flow, nil }
		}
		out = append(out, a)
	}
	return out
}

func (p *pstn) flow(g *phone) stack.Flow {
	return stack.Flow{Transport: g.transport, Local: netip.MustParseAddrPort(p.x.ports[g.transport]), Remote: netip.MustParseAddrPort(g.local)}
}

// wantConnected waits until the exchange has a gateway's connection: it accepts it, and ends the handshake, in its own time.
func (p *pstn) wantConnected(g *phone) {
	g.t.Helper()
	eventually(g.t, g.ext+" connected", func() bool { return p.x.stack.Alive(p.flow(g)) })
}

func (p *pstn) Report(trunk, gateway string, code int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.reports = append(p.reports, fmt.Sprintf("%s %s %d", trunk, gateway, code))
}

func (p *pstn) Identify(req *stack.Request) (call.Incoming, bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, g := range p.gateways {
		if req.Flow.Remote.String() == g.local {
			return call.Incoming{
				Trunk: "pstn", Gateway: g.ext, Site: "hq", From: req.From().Address.User, Name: "Customer",
				Number: req.Recipient.User, Trusted: true, Most: p.most, SRTP: p.srtp,
			}, true
		}
	}
	return call.Incoming{}, false
}

func (p *pstn) Authorize(trunk, _, challenge, method, uri string, body []byte) (string, error) {
	if trunk != "pstn" {
		return "", errors.New("another trunk")
	}
	return digest.Answer(challenge, method, uri, "linehall", "s3cret", body)
}

func (p *pstn) Reconnect(_ context.Context, _, _ string, gone stack.Flow) (stack.Flow, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.again == nil {
		return gone, stack.ErrFlowGone
	}
	return p.again(), nil
}

func (p *pstn) wantReports(t *testing.T, want ...string) {
	t.Helper()
	eventually(t, "reports", func() bool {
		p.mu.Lock()
		defer p.mu.Unlock()
		return len(p.reports) >= len(want)
	})
	p.mu.Lock()
	defer p.mu.Unlock()
	if diff := cmp.Diff(want, p.reports); diff != "" {
		t.Errorf("reports (-want +got):\n%s", diff)
	}
}

// A call outside is ours from end to end: the gateway learns nothing about the phone.
func TestCallOverAGateway(t *testing.T) {
	t.Parallel()
	p, a, _ := newTrunk(t, labOptions{}, 1)
	g := p.gateways[0]
	a.invite("013800000000", sdpFrom(a.local), [2]string{"User-Agent", "Yealink SIP-T46U 108.86.0.20"}, [2]string{"Subject", "secret"})
	inv := g.request("INVITE")
	for _, h := range inv.headers {
		if strings.Contains(h[1], "8001") || strings.Contains(h[1], domain) || strings.Contains(h[1], "127.0.0.11") || strings.Contains(h[1], "Yealink") || strings.Contains(h[1], "secret") {
			t.Errorf("the gateway sees %s: %s", h[0], h[1])
		}
	}
	if want := `"Linehall" <sip:+864715550000@` + g.local + ">"; inv.header("P-Asserted-Identity") != want || inv.header("Privacy") != "none" {
		t.Errorf("P-Asserted-Identity %q, Privacy %q", inv.header("P-Asserted-Identity"), inv.header("Privacy"))
	}
	if !strings.HasPrefix(inv.first, "INVITE sip:+8613800000000@"+g.local) {
		t.Errorf("request line %q", inv.first)
	}
	if strings.Contains(inv.body, "127.0.0.11") {
		t.Errorf("the gateway sees where the phone is:\n%s", inv.body)
	}
	k := g.pickUp(a, inv)
	if n := p.x.calls.Active("pstn", "gw1"); n != 1 {
		t.Errorf("%d calls over the gateway", n)
	}
	// What the phone sends later is hidden as well, and so are its answers.
	k.da.send("INFO", "x", [2]string{"Content-Type", "text/plain"}, [2]string{"User-Agent", "Yealink"})
	info := g.request("INFO")
	if strings.Contains(info.text(), "Yealink") || strings.Contains(info.text(), "8001") {
		t.Errorf("the gateway sees\n%s", info.text())
	}
	res := g.reply(info, 200, "OK", "")
	g.send(res)
	a.status("INFO", 200)
	k.hangUp(k.da)
	p.wantReports(t, "pstn gw1 200")
	r := p.x.wantRecords(1)[0]
	wantSteps(t, r, "1 +8613800000000 200")
	if l := r.Legs[0]; l.Trunk != "pstn" || l.Gateway != "gw1" || r.To != "+8613800000000" || r.Result != cdr.Answered {
		t.Errorf("record %+v", r)
	}
	eventually(t, "the line is free", func() bool { return p.x.calls.Active("pstn", "") == 0 })
}

func TestNextGatewayAfterAFailure(t *testing.T) {
	t.Parallel()
	p, a, _ := newTrunk(t, labOptions{}, 3)
	p.mu.Lock()
	p.down = p.gateways[1:2]
	p.mu.Unlock()
	a.invite("013800000000", sdpFrom(a.local))
	p.gateways[0].fail(p.gateways[0].request("INVITE"), 503, "Service Unavailable")
	g := p.gateways[2]
	k := g.pickUp(a, g.request("INVITE"))
	k.hangUp(k.db)
	p.wantReports(t, "pstn gw1 503", "pstn gw2 430", "pstn gw3 200")
	wantSteps(t, p.x.wantRecords(1)[0], "1 +8613800000000 503", "1 +8613800000000 430", "1 +8613800000000 200")
	eventually(t, "the lines are free", func() bool { return p.x.calls.Active("pstn", "") == 0 })
}

// Busy is an answer of whoever is called: the other gateway could only repeat it.
func TestNoOtherGatewayAfterBusy(t *testing.T) {
	t.Parallel()
	p, a, _ := newTrunk(t, labOptions{}, 2)
	a.invite("013800000000", sdpFrom(a.local))
	p.gateways[0].fail(p.gateways[0].request("INVITE"), 486, "Busy Here", [2]string{"Warning", `399 10.1.2.3 "busy"`})
	if res := a.final("INVITE"); res.code() != 486 {
		t.Errorf("%s, want 486", res.first)
	}
	p.gateways[1].quiet("INVITE", func(m *message) bool { return !m.response() })
	wantSteps(t, p.x.wantRecords(1)[0], "1 +8613800000000 486", "1 +8613800000000 0")
}

func TestSilentGatewayIsPassedOver(t *testing.T) {
	t.Parallel()
	p, a, _ := newTrunk(t, labOptions{}, 2)
	p.mu.Lock()
	p.silence = 300 * time.Millisecond
	p.mu.Unlock()
	a.invite("013800000000", sdpFrom(a.local))
	p.gateways[0].request("INVITE")
	g := p.gateways[1]
	k := g.pickUp(a, g.request("INVITE"))
	// The first one wakes up too late: its answer is taken back.
	late := p.gateways[0]
	late.wantRepeated()
	inv := late.request("INVITE")
	late.send(late.reply(inv, 200, "OK", sdpFrom(late.local)))
	late.request("ACK")
	late.send(late.reply(late.request("BYE"), 200, "OK", ""))
	k.hangUp(k.da)
	p.wantReports(t, "pstn gw1 408", "pstn gw2 200")
}

func TestNoGatewayTakesTheCall(t *testing.T) {
	t.Parallel()
	p, a, _ := newTrunk(t, labOptions{}, 1)
	p.mu.Lock()
	p.gateways = nil
	p.mu.Unlock()
	a.invite("013800000000", sdpFrom(a.local))
	if res := a.final("INVITE"); res.code() != 480 || !strings.Contains(res.header("Warning"), "No trunk takes this call") {
		t.Errorf("%s, Warning %q", res.first, res.header("Warning"))
	}
}

// Where a phone may not call the gateway itself, it is not told where else to call.
func TestGatewayRedirectsNobody(t *testing.T) {
	t.Parallel()
	p, a, _ := newTrunk(t, labOptions{}, 1)
	a.invite("013800000000", sdpFrom(a.local))
	p.gateways[0].fail(p.gateways[0].request("INVITE"), 302, "Moved Temporarily", [2]string{"Contact", "<sip:1@10.9.9.9>"})
	if res := a.final("INVITE"); res.code() != 480 || res.header("Contact") != "" {
		t.Errorf("%s, Contact %q", res.first, res.header("Contact"))
	}
}

// RFC 3261 §22.2, RFC 7616: the gateway's challenge is answered with the trunk's account, in a call
// and for it; a stale nonce once more, a wrong password never.
func TestGatewayChallenges(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		code         int
		name, answer string
	}{{401, "WWW-Authenticate", "Authorization"}, {407, "Proxy-Authenticate", "Proxy-Authorization"}} {
		t.Run(fmt.Sprint(tt.code), func(t *testing.T) {
			p, a, _ := newTrunk(t, labOptions{}, 1)
			g := p.gateways[0]
			challenge := func(nonce, more string) [2]string {
				return [2]string{tt.name, `Digest realm="isp", nonce="` + nonce + `", algorithm=SHA-256, qop="auth"` + more}
			}
			a.invite("013800000000", sdpFrom(a.local))
			first := g.request("INVITE")
			g.fail(first, tt.code, "Unauthorized", challenge("one", ""))
			second := g.request("INVITE")
			if !strings.Contains(second.header(tt.answer), `username="linehall"`) || !strings.Contains(second.header(tt.answer), `nonce="one"`) {
				t.Errorf("%s %q", tt.answer, second.header(tt.answer))
			}
			if first.header("Call-ID") != second.header("Call-ID") || first.seq() != "1" || second.seq() != "2" {
				t.Errorf("CSeq %s, %s", first.seq(), second.seq())
			}
			g.fail(second, tt.code, "Unauthorized", challenge("two", ", stale=true"))
			third := g.request("INVITE")
			if !strings.Contains(third.header(tt.answer), `nonce="two"`) || len(third.all(tt.answer)) != 1 {
				t.Errorf("%s %q", tt.answer, third.all(tt.answer))
			}
			k := g.pickUp(a, third)
			k.da.send("BYE", "")
			bye := g.request("BYE")
			g.send(g.reply(bye, tt.code, "Unauthorized", "", challenge("three", "")))
			again := g.request("BYE")
			if !strings.Contains(again.header(tt.answer), `nonce="three"`) || again.seq() == bye.seq() {
				t.Errorf("BYE %s %q", again.seq(), again.header(tt.answer))
			}
			g.send(g.reply(again, 200, "OK", ""))
			a.status("BYE", 200)
			// A password that is wrong stays wrong; the caller hears nothing of the challenge.
			a.invite("013800000000", sdpFrom(a.local))
			g.fail(g.request("INVITE"), tt.code, "Unauthorized", challenge("four", ""))
			g.fail(g.request("INVITE"), tt.code, "Unauthorized", challenge("five", ""))
			if res := a.final("INVITE"); res.code() != 480 || res.header(tt.name) != "" {
				t.Errorf("%s, %s %q", res.first, tt.name, res.header(tt.name))
			}
		})
	}
}

func TestCancelToAGateway(t *testing.T) {
	t.Parallel()
	p, a, _ := newTrunk(t, labOptions{}, 2)
	invite := a.invite("013800000000", sdpFrom(a.local))
	g := p.gateways[0]
	inv := g.request("INVITE")
	g.send(g.reply(inv, 183, "Session Progress", ""))
	a.status("INVITE", 183)
	a.cancel(invite)
	a.status("INVITE", 487)
	g.send(g.reply(g.request("CANCEL"), 200, "OK", ""))
	g.fail(inv, 487, "Request Terminated")
	p.gateways[1].quiet("INVITE", func(m *message) bool { return !m.response() })
	p.wantReports(t, "pstn gw1 487")
}

// A full line to a site overflows to the trunk (design 3.2).
func TestFullLineOverflows(t *testing.T) {
	t.Parallel()
	overflow := &route.Stage{Extensions: []string{"2001"}, Full: &route.Stage{Outside: &route.Outside{Trunks: []string{"pstn"}, Number: "+864715552001"}}}
	p, a, _ := newTrunk(t, labOptions{line: 20000, router: routes{"2001": {First: overflow}}}, 1)
	branch := newPhone(t, p.x, "2001", "UDP", "127.0.1.21")
	branch.register()
	a.invite("2001", sdpFrom(a.local))
	g := p.gateways[0]
	k := g.pickUp(a, g.request("INVITE"))
	branch.quiet("INVITE", func(m *message) bool { return !m.response() })
	k.hangUp(k.da)
	wantSteps(t, p.x.wantRecords(1)[0], "1 2001 488", "2 +864715552001 200")
}

// An emergency call whose trunk does not take it rings the duty desk.
func TestEmergencyCallWithoutATrunk(t *testing.T) {
	t.Parallel()
	p, a, b := newTrunk(t, labOptions{members: []string{"8002"}}, 1)
	a.invite("119", sdpFrom(a.local))
	p.gateways[0].fail(p.gateways[0].request("INVITE"), 404, "Not Found")
	b.pickUp(a, b.request("INVITE")).hangUpFrom(a)
	p.mu.Lock()
	defer p.mu.Unlock()
	if o := p.asked[0]; !o.Emergency || o.Number != "119" {
		t.Errorf("asked for %+v", o)
	}
}

// A call of another network rings our number; it is not challenged, what the network says about
// forwards is believed, and our phones stay unknown to it.
func TestIncomingCall(t *testing.T) {
	t.Parallel()
	p, _, b := newTrunk(t, labOptions{}, 1)
	g := p.gateways[0]
	p.mu.Lock()
	g.call, g.tag, g.ext = token(), token(), "+8613900000000"
	p.mu.Unlock()
	invite := g.inviteMessage("04715550002", sdpFrom(g.local), [2]string{"Diversion", "<sip:+864715559999@isp.example>;reason=no-answer"})
	g.send(invite)
	inv := b.request("INVITE")
	if from := inv.header("From"); !strings.HasPrefix(from, `"Customer" <sip:+8613900000000@`+domain+">") {
		t.Errorf("From %q", from)
	}
	if v := inv.header("Diversion"); v != "<sip:+864715559999@"+domain+">;reason=no-answer;counter=1" {
		t.Errorf("Diversion %q", v)
	}
	b.tag = token()
	b.send(b.reply(inv, 180, "Ringing", "", [2]string{"Server", "Yealink"}))
	ringing := g.status("INVITE", 180)
	b.send(b.reply(inv, 200, "OK", sdpFrom(b.local)))
	ok := g.status("INVITE", 200)
	for _, m := range []*message{ringing, ok} {
		for _, h := range m.headers {
			if strings.Contains(h[1], "8002") && !strings.Contains(h[1], "04715550002") || strings.Contains(h[1], "Yealink") || h[0] == "Server" || h[0] == "P-Asserted-Identity" {
				t.Errorf("the network sees %s: %s", h[0], h[1])
			}
		}
	}
	dg, db := g.dialogOfCaller(ok), b.dialogOfCallee(inv)
	b.request("ACK")
	dg.send("ACK", "")
	if n := p.x.calls.Active("pstn", ""); n != 1 {
		t.Errorf("%d calls over the gateway", n)
	}
	k := &talk{a: g, b: b, da: dg, db: db, invite: inv, ok: ok}
	k.hangUp(k.db)
	r := p.x.wantRecords(1)[0]
	if r.From != "+8613900000000" || r.Trunk != "pstn" || r.Dialled != "04715550002" || r.To != "8002" {
		t.Errorf("record %+v", r)
	}
	if len(r.Forwards) != 1 || r.Forwards[0].From != "+864715559999" {
		t.Errorf("forwards %+v", r.Forwards)
	}
	eventually(t, "the line is free", func() bool { return p.x.calls.Active("pstn", "") == 0 })
}

// A transfer inside of another network reaches us as an INVITE with Replaces: for a dialog of its own, and of nobody else.
func TestReplacesOverATrunk(t *testing.T) {
	t.Parallel()
	p, a, b := newTrunk(t, labOptions{}, 1)
	g := p.gateways[0]
	p.mu.Lock()
	g.call, g.tag, g.ext = token(), token(), "+8613900000000"
	p.mu.Unlock()
	g.send(g.inviteMessage("04715550002", sdpFrom(g.local)))
	inv := b.request("INVITE")
	b.tag = token()
	b.send(b.reply(inv, 200, "OK", sdpFrom(b.local)))
	old := g.dialogOfCaller(g.status("INVITE", 200))
	b.request("ACK")
	old.send("ACK", "")
	third := newPhone(t, p.x, "8003", "UDP", "127.0.0.13")
	third.register()
	inside := connect(t, a, third)
	for _, header := range [][2]string{{"Replaces", replacesOf(inside.da, "")}, {"Replaces", "nobody;to-tag=a;from-tag=b"}, {"Join", "nobody;to-tag=a;from-tag=b"}} {
		g.call, g.tag = token(), token()
		next := g.inviteMessage("04715550002", sdpFrom(g.local), header)
		g.send(next)
		g.send(g.ackFailure(next, g.status("INVITE", 481)))
	}
	g.call, g.tag = token(), token()
	g.send(g.inviteMessage("04715550002", sdpFrom(g.local), [2]string{"Replaces", replacesOf(old, "")}))
	re := b.request("INVITE")
	b.send(b.reply(re, 200, "OK", sdpFrom(b.local)))
	now := g.dialogOfCaller(g.status("INVITE", 200))
	now.send("ACK", "")
	b.request("ACK")
	g.bye()
	rest := &talk{a: g, b: b, da: now, db: b.dialogOfCallee(inv)}
	rest.hangUp(rest.da)
	inside.hangUp(inside.da)
}

// What the plan gives the network nobody there can reach: no extension, no way out again.
func TestIncomingCallToNoNumberOfOurs(t *testing.T) {
	t.Parallel()
	p, _, b := newTrunk(t, labOptions{}, 1)
	g := p.gateways[0]
	for _, number := range []string{"8002", "013800000000", "*8", "110"} {
		g.call, g.tag = token(), token()
		invite := g.inviteMessage(number, sdpFrom(g.local))
		g.send(invite)
		res := g.final("INVITE")
		if res.code() != 404 {
			t.Errorf("%s: %s, want 404", number, res.first)
		}
		g.send(g.ackFailure(invite, res))
	}
	b.quiet("INVITE", func(m *message) bool { return !m.response() })
}

// Another forward of a call that the network has forwarded five times is one too many.
func TestIncomingCallForwardedTooOften(t *testing.T) {
	t.Parallel()
	by := &route.Diversion{From: "8002", Reason: route.Unconditional}
	p, _, _ := newTrunk(t, labOptions{router: routes{"8002": {First: &route.Stage{Extensions: []string{"8001"}, Diversion: by}}}}, 1)
	g := p.gateways[0]
	g.call, g.tag = token(), token()
	invite := g.inviteMessage("04715550002", sdpFrom(g.local), [2]string{"Diversion", "<sip:1@isp.example>;reason=unconditional;counter=5"})
	g.send(invite)
	res := g.final("INVITE")
	if res.code() != 483 || strings.Contains(res.header("Warning"), "127.0.0.1") {
		t.Errorf("%s, Warning %q", res.first, res.header("Warning"))
	}
	g.send(g.ackFailure(invite, res))
}

// A forward to a number outside carries the caller to another network.
func TestForwardOutside(t *testing.T) {
	t.Parallel()
	p, a, b := newTrunk(t, labOptions{router: routes{"8002": {First: &route.Stage{
		Extensions: []string{"8002"},
		Busy: &route.Stage{
			Outside:   &route.Outside{Trunks: []string{"pstn"}, Number: "+8613800000000"},
			Diversion: &route.Diversion{From: "8002", Reason: route.UserBusy},
		},
	}}}}, 1)
	a.invite("8002", sdpFrom(a.local))
	b.fail(b.request("INVITE"), 486, "Busy Here")
	a.status("INVITE", 181)
	g := p.gateways[0]
	inv := g.request("INVITE")
	want := []string{`"Linehall" <sip:+864715550000@` + g.local + ">;reason=user-busy;counter=1"}
	if diff := cmp.Diff(want, inv.all("Diversion")); diff != "" || inv.header("History-Info") != "" {
		t.Errorf("Diversion (-want +got):\n%s", diff)
	}
	g.pickUp(a, inv).hangUpFrom(a)
	p.mu.Lock()
	defer p.mu.Unlock()
	if diff := cmp.Diff([]route.Diversion{{From: "8002", Reason: route.UserBusy}}, p.asked[0].Diversions); diff != "" {
		t.Errorf("the trunk is told (-want +got):\n%s", diff)
	}
}

// A call over a gateway survives a crash: its BYE still goes there, challenge and all.
func TestRecoveryOfACallOverAGateway(t *testing.T) {
	t.Parallel()
	p, a, _ := newTrunk(t, labOptions{}, 1)
	g := p.gateways[0]
	a.invite("013800000000", sdpFrom(a.local))
	k := g.pickUp(a, g.request("INVITE"))
	eventually(t, "stored", func() bool {
		s := p.x.calls.Snapshot()
		return len(s) == 1 && s[0].Recoverable
	})
	p.x.kill()
	p.x.start(labOptions{trunks: p})
	if n := p.x.calls.Active("pstn", "gw1"); n != 1 {
		t.Errorf("%d calls over the gateway after the restart", n)
	}
	k.da.send("BYE", "")
	bye := g.request("BYE")
	g.send(g.reply(bye, 401, "Unauthorized", "", [2]string{"WWW-Authenticate", `Digest realm="isp", nonce="n", qop="auth"`}))
	g.send(g.reply(g.request("BYE"), 200, "OK", ""))
	a.status("BYE", 200)
	eventually(t, "the line is free", func() bool { return p.x.calls.Active("pstn", "") == 0 })
}

// A gateway's connection that was lost in a call is its trunk's to open again.
func TestLostConnectionToAGateway(t *testing.T) {
	t.Parallel()
	p, a, _ := newTrunk(t, labOptions{}, 0)
	g := newPhone(t, p.x, "gw1", "TCP", "127.0.9.1")
	p.wantConnected(g)
	p.mu.Lock()
	p.gateways = []*phone{g}
	p.mu.Unlock()
	a.invite("013800000000", sdpFrom(a.local))
	k := g.pickUp(a, g.request("INVITE"))
	g.cut()
	opened := stack.Flow{}
	p.mu.Lock()
	p.again = func() stack.Flow {
		if opened.IsZero() {
			g.open("127.0.9.1")
			p.wantConnected(g)
			opened = p.flow(g)
		}
		return opened
	}
	p.mu.Unlock()
	k.da.send("BYE", "")
	a.status("BYE", 200)
	bye := g.request("BYE")
	g.send(g.reply(bye, 200, "OK", ""))
	eventually(t, "released", func() bool { return len(p.x.calls.Snapshot()) == 0 })
}

// A phone may deflect to a number outside, as far as its own class goes.
func TestDeflectionOutside(t *testing.T) {
	t.Parallel()
	p, a, b := newTrunk(t, labOptions{}, 1)
	a.invite("8002", sdpFrom(a.local))
	b.fail(b.request("INVITE"), 302, "Moved Temporarily", [2]string{"Contact", "<sip:013800000000@" + domain + ">"})
	g := p.gateways[0]
	g.pickUp(a, g.request("INVITE")).hangUpFrom(a)
	r := p.x.wantRecords(1)[0]
	wantSteps(t, r, "1 8002 302", "2 +8613800000000 200")
	if len(r.Forwards) != 1 || r.Forwards[0].To != "+8613800000000" {
		t.Errorf("forwards %+v", r.Forwards)
	}
}

// Calls of the same moment do not share the last place of a trunk: which gateways there are was asked before, the place
// is claimed when one is tried. An incoming call finds none either, an emergency call does, and a transfer keeps the
// place that its party has.
func TestLastPlaceOfATrunk(t *testing.T) {
	t.Parallel()
	p, a, b := newTrunk(t, labOptions{}, 1)
	g, gate := p.gateways[0], make(chan struct{})
	p.mu.Lock()
	p.most, p.gate = call.Capacity{Trunk: 1}, gate
	p.mu.Unlock()
	phones := map[string]*phone{"8001": a, "8002": b}
	invites := map[string]*message{"8001": a.invite("013800000001", sdpFrom(a.local)), "8002": b.invite("013800000002", sdpFrom(b.local))}
	eventually(t, "both look for a way", func() bool {
		p.mu.Lock()
		defer p.mu.Unlock()
		return len(p.asked) == 2
	})
	close(gate)
	inv := g.request("INVITE")
	caller, loser := "8001", "8002"
	if strings.Contains(inv.first, "13800000002") {
		caller, loser = loser, caller
	}
	k := g.pickUp(phones[caller], inv)
	res := phones[loser].final("INVITE")
	phones[loser].send(phones[loser].ackFailure(invites[loser], res))
	if res.code() != 480 || !strings.Contains(res.header("Warning"), "No trunk takes this call") {
		t.Errorf("the second one: %s, %s", res.first, res.header("Warning"))
	}
	g.quiet("INVITE", func(m *message) bool { return !m.response() && m.method() == "INVITE" })

	g.call, g.tag = token(), token()
	in := g.inviteMessage("04715550002", sdpFrom(g.local))
	g.send(in)
	full := g.status("INVITE", 486)
	g.send(g.ackFailure(in, full))
	phones[loser].invite("110", sdpFrom(phones[loser].local))
	help := g.pickUp(phones[loser], g.request("INVITE"))
	help.hangUp(help.da)

	if res := k.da.refer("<sip:" + loser + "@" + domain + ">"); res.code() != 202 {
		t.Fatalf("REFER: %s", res.first)
	}
	ring := phones[loser].request("INVITE")
	phones[loser].tag = token()
	phones[loser].send(phones[loser].reply(ring, 200, "OK", sdpFrom(phones[loser].local)))
	phones[loser].request("ACK")
	g.answerOffer(sdpFrom(g.local))
	k.da.told("200")
	phones[caller].bye()
	eventually(t, "one call is left", func() bool { s := p.x.calls.Snapshot(); return len(s) == 1 && s[0].To.Extension == loser })
	if n := p.x.calls.Active("pstn", "gw1"); n != 1 {
		t.Errorf("%d calls over the gateway after the transfer", n)
	}
	rest := &talk{a: g, b: phones[loser], da: k.db, db: phones[loser].dialogOfCallee(ring)}
	rest.hangUp(rest.db)
	eventually(t, "the place is free", func() bool { return p.x.calls.Active("pstn", "") == 0 })
}
