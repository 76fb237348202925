package call_test

import (
	"strings"
	"testing"

	"linehall/internal/site"
	"linehall/sip/cdr"
)

// around is how branch1 is called over the trunk: 2001 as 05318882001.
func around() *site.Overflow { return &site.Overflow{Trunk: "pstn", Prefix: "0531888"} }

// fullLine is an exchange with a gateway, the phones of 8001, 8002, 2001 and 2002, and two calls that fill the line.
func fullLine(t *testing.T, o labOptions) (p *pstn, a, b1, b2 *phone, talks []*talk) {
	t.Helper()
	o.line = 200_000
	p, a, _ = newTrunk(t, o, 1)
	b1, b2 = newPhone(t, p.x, "2001", "UDP", "127.0.1.11"), newPhone(t, p.x, "2002", "UDP", "127.0.1.12")
	b1.register()
	b2.register()
	return p, a, b1, b2, []*talk{connect(t, a, b1), connect(t, a, b1)}
}

func (p *pstn) lastAsked() (trunks, number string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(p.asked) == 0 {
		return "", ""
	}
	o := p.asked[len(p.asked)-1]
	return strings.Join(o.Trunks, " "), o.Number
}

// A call to a branch whose line is full goes over the trunk, and counts as gone around the line.
func TestOverflow(t *testing.T) {
	t.Parallel()
	p, a, _, b2, talks := fullLine(t, labOptions{branch: around()})
	g := p.gateways[0]
	a.invite("2002", sdpFrom(a.local))
	k := g.pickUp(a, g.request("INVITE"))
	if trunks, number := p.lastAsked(); trunks != "pstn" || number != "05318882002" {
		t.Errorf("asked %q for %q", trunks, number)
	}
	b2.quiet("INVITE", func(m *message) bool { return m.method() == "INVITE" })
	k.hangUp(k.da)
	r := p.x.wantRecords(1)[0]
	wantSteps(t, r, "1 2002 488", "2 05318882002 200")
	if r.Overflow != "branch1" || r.Result != cdr.Answered {
		t.Errorf("record %+v", r)
	}
	if s := p.x.ledger.Statuses()[0]; s.Overflowed != 1 {
		t.Errorf("%+v", s)
	}
	for _, k := range talks { // with room again, the phone rings
		k.hangUp(k.da)
	}
	again := connect(t, a, b2)
	again.hangUp(again.da)
}

func TestNoWayAround(t *testing.T) {
	t.Parallel()
	p, a, _, _, _ := fullLine(t, labOptions{})
	res := refused(t, p.x, a, "2002", 488)
	if w := res.header("Warning"); !strings.HasPrefix(w, "370 ") || !strings.Contains(w, "林东") {
		t.Errorf("Warning %q", w)
	}
	if trunks, _ := p.lastAsked(); trunks != "" {
		t.Errorf("asked %q", trunks)
	}
}

// A call out of the branch takes a gateway of the branch itself, if there is one: its media needs no line. With a gateway
// at headquarters only, the line is as full for it.
func TestOverflowOutOfABranch(t *testing.T) {
	t.Parallel()
	hq := &site.Overflow{Trunk: "pstn", Strip: 1, Prefix: "05318"}
	p, _, b1, b2, _ := fullLine(t, labOptions{branch: &site.Overflow{Trunk: "local", Prefix: "0531888"}, hq: hq})
	refused(t, p.x, b2, "8002", 488)
	if trunks, number := p.lastAsked(); trunks != "pstn" || number != "05318002" {
		t.Errorf("asked %q for %q last", trunks, number)
	}
	local := newPhone(t, p.x, "local", "UDP", "127.0.1.99")
	p.mu.Lock()
	p.gateways = []*phone{local}
	p.mu.Unlock()
	free := p.x.free()
	b1.invite("8002", sdpFrom(b1.local))
	in := local.request("INVITE")
	if !strings.Contains(in.body, "127.0.1.11") {
		t.Errorf("the media of a gateway in the branch crosses the line:\n%s", in.body)
	}
	k := local.pickUp(b1, in)
	if trunks, _ := p.lastAsked(); trunks != "local" || p.x.free() != free {
		t.Errorf("asked %q; %d bit/s free, were %d", trunks, p.x.free(), free)
	}
	k.hangUp(k.db)
}

// A line that is down: at once, and also when the phone's registration has expired meanwhile.
func TestOverflowOfALineThatIsDown(t *testing.T) {
	t.Parallel()
	p, a, _ := newTrunk(t, labOptions{branch: around()}, 1)
	b1 := newPhone(t, p.x, "2001", "UDP", "127.0.1.11")
	b1.register()
	refused(t, p.x, a, "2002", 480)
	p.x.ledger.SetDown("branch1", true)
	for _, number := range []string{"2001", "2002"} { // the latter is not registered
		a.invite(number, sdpFrom(a.local))
		g := p.gateways[0]
		k := g.pickUp(a, g.request("INVITE"))
		if _, asked := p.lastAsked(); asked != "0531888"+number {
			t.Errorf("%s: asked for %s", number, asked)
		}
		k.hangUp(k.da)
	}
	p.x.ledger.SetDown("branch1", false)
	k := connect(t, a, b1)
	k.hangUp(k.da)
	if s := p.x.ledger.Statuses()[0]; s.Overflowed != 2 {
		t.Errorf("%+v", s)
	}
}

// What came from the public network is not sent back there.
func TestCallsOfATrunkDoNotOverflow(t *testing.T) {
	t.Parallel()
	p, _, b1, _, _ := fullLine(t, labOptions{branch: around()})
	g := p.gateways[0]
	g.call, g.tag = token(), token()
	inv := g.inviteMessage(b1.ext, sdpFrom(g.local))
	g.send(inv)
	res := g.final("INVITE")
	g.send(g.ackFailure(inv, res))
	if trunks, _ := p.lastAsked(); trunks != "" || res.code() < 400 {
		t.Errorf("%s, asked %q", res.first, trunks)
	}
}
