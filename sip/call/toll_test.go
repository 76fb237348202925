package call_test

import (
	"context"
	"strings"
	"testing"

	"linehall/sip/call"
	"linehall/sip/cdr"
	"linehall/sip/dialplan"
	"linehall/sip/route"
	"linehall/sip/toll"
)

// tollLimits are of terminals and of trunks by name.
type tollLimits struct {
	terminal dialplan.LimitConfig
	trunk    map[string]dialplan.LimitConfig
}

func (l tollLimits) TerminalLimit(string, dialplan.Toll) dialplan.LimitConfig { return l.terminal }

func (l tollLimits) TrunkLimit(trunk string, _ dialplan.Toll) dialplan.LimitConfig {
	return l.trunk[trunk]
}

// refusedBy dials a number and wants a 403 that says why.
func (p *phone) refusedBy(number, why string) {
	p.t.Helper()
	inv := p.invite(number, sdpFrom(p.local))
	res := p.final("INVITE")
	p.send(p.ackFailure(inv, res))
	if res.code() != 403 || !strings.Contains(res.header("Warning"), why) || !strings.Contains(res.header("Reason"), why) {
		p.t.Errorf("%s: %s, Warning %s, Reason %s; want %q", number, res.first, res.header("Warning"), res.header("Reason"), why)
	}
}

// free waits until an ended call is off the books.
func (p *pstn) free(t *testing.T, left int) {
	t.Helper()
	eventually(t, "the call is over", func() bool { return len(p.x.calls.Snapshot()) == left })
}

func TestTollLimits(t *testing.T) {
	t.Parallel()
	p, a, b := newTrunk(t, labOptions{tolls: tollLimits{terminal: dialplan.LimitConfig{CallsPerHour: 2, AtOnce: 1}}}, 1)
	g := p.gateways[0]
	a.invite("013800000000", sdpFrom(a.local))
	k := g.pickUp(a, g.request("INVITE"))
	b.invite("013800000000", sdpFrom(b.local)) // everybody has a limit of their own
	other := g.pickUp(b, g.request("INVITE"))
	second := newPhone(t, p.x, "8001", "UDP", "127.0.0.21")
	second.refusedBy("013800000001", "Limit of this telephone: 1 long-distance calls at once")
	second.refusedBy("000882161234567", "This number is forbidden")
	k.hangUp(k.da)
	p.free(t, 1)
	a.invite("013800000000", sdpFrom(a.local))
	k = g.pickUp(a, g.request("INVITE"))
	k.hangUp(k.da)
	p.free(t, 1)
	a.refusedBy("013800000000", "2 long-distance calls per hour")
	a.invite("8002", sdpFrom(a.local)) // inside nothing is counted
	talk := b.pickUp(a, b.request("INVITE"))
	talk.hangUp(talk.da)
	other.hangUp(other.da)
	a.invite("110", sdpFrom(a.local)) // and help is never refused
	help := g.pickUp(a, g.request("INVITE"))
	help.hangUp(help.da)
	var reasons []string
	for _, r := range p.x.wantRecords(8) {
		if r.Result == cdr.Refused {
			reasons = append(reasons, r.Reason)
		}
	}
	if got := strings.Join(reasons, "\n"); len(reasons) != 3 || !strings.Contains(got, "per hour") || !strings.Contains(got, "at once") || !strings.Contains(got, "forbidden") {
		t.Errorf("records say %q", reasons)
	}
	if list := p.x.tolls.Refusing(); len(list) != 2 {
		t.Errorf("alarms: %+v", list)
	}
}

// A forward is paid by whoever forwards: the caller's limit is not used, and the limit stops the forward alone.
func TestWhoForwardsOutsidePays(t *testing.T) {
	t.Parallel()
	mobile := &route.Stage{Outside: &route.Outside{Trunks: []string{"pstn"}, Number: "+8613800000000", Toll: dialplan.LongDistance}, Diversion: &route.Diversion{From: "8002", Reason: route.Unconditional}}
	p, a, b := newTrunk(t, labOptions{
		tolls:  tollLimits{terminal: dialplan.LimitConfig{CallsPerHour: 1}},
		router: routes{"8002": {First: mobile}, "+8613800000000": {First: &route.Stage{Outside: mobile.Outside}}},
	}, 1)
	g := p.gateways[0]
	a.invite("8002", sdpFrom(a.local))
	k := g.pickUp(a, g.request("INVITE"))
	k.hangUp(k.da)
	a.refusedBy("8002", "Limit of this telephone")
	b.refusedBy("013800000000", "Limit of this telephone")
	a.invite("013800000000", sdpFrom(a.local))
	k = g.pickUp(a, g.request("INVITE"))
	k.hangUp(k.da)
}

// A trunk that is over its limit is passed over, without a word to its gateway or about its health; what is over every
// trunk's limit is refused.
func TestTollLimitOfATrunk(t *testing.T) {
	t.Parallel()
	p, a, b := newTrunk(t, labOptions{tolls: tollLimits{trunk: map[string]dialplan.LimitConfig{"cheap": {AtOnce: 1}, "dear": {AtOnce: 1}}}}, 2)
	p.mu.Lock()
	p.names = []string{"cheap", "dear"}
	p.mu.Unlock()
	cheap, dear := p.gateways[0], p.gateways[1]
	a.invite("013800000000", sdpFrom(a.local))
	first := cheap.pickUp(a, cheap.request("INVITE"))
	b.invite("013800000000", sdpFrom(b.local))
	second := dear.pickUp(b, dear.request("INVITE"))
	third := newPhone(t, p.x, "8003", "UDP", "127.0.0.13")
	third.refusedBy("013800000000", "Limit of the trunk")
	first.hangUp(first.da)
	p.free(t, 1)
	third.invite("013800000000", sdpFrom(third.local))
	again := cheap.pickUp(third, cheap.request("INVITE"))
	again.hangUp(again.da)
	second.hangUp(second.da)
	p.wantReports(t, "cheap gw1 200", "dear gw2 200", "cheap gw1 200")
}

// After a restart an established call still counts among those at once, and the hour goes on.
func TestTollLimitsAfterARestart(t *testing.T) {
	t.Parallel()
	o := labOptions{tolls: tollLimits{terminal: dialplan.LimitConfig{CallsPerHour: 2, AtOnce: 1}}}
	p, a, _ := newTrunk(t, o, 1)
	o.trunks = p
	g := p.gateways[0]
	a.invite("013800000000", sdpFrom(a.local))
	k := g.pickUp(a, g.request("INVITE"))
	eventually(t, "established", func() bool { return state(p.x) == call.StateEstablished })
	flush(t, p.x.tolls)
	p.x.kill()
	p.x.start(o)
	second := newPhone(t, p.x, "8001", "UDP", "127.0.0.21")
	second.refusedBy("013800000000", "at once")
	k.hangUp(k.da)
	p.free(t, 0)
	second.invite("013800000000", sdpFrom(second.local))
	again := g.pickUp(second, g.request("INVITE"))
	again.hangUp(again.da)
	p.free(t, 0)
	second.refusedBy("013800000000", "per hour")
}

// flush has the ledger write what it has; its Run is not part of the laboratory.
func flush(t *testing.T, l *toll.Ledger) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_ = l.Run(ctx)
}
