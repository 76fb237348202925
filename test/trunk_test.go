package test

import (
	"context"
	"fmt"
	"net/netip"
	"strings"
	"syscall"
	"testing"
	"time"

	"linehall/cmd/linesim/phone"
	"linehall/cmd/linesim/phone/phonetest"
	"linehall/cmd/linesim/voice"
)

// trunkState is what `trunk list --json` shows of a trunk.
type trunkState struct {
	Name     string `json:"name"`
	State    string `json:"state"`
	Calls    int    `json:"calls"`
	Gateways []struct {
		Name       string  `json:"name"`
		State      string  `json:"state"`
		Registered bool    `json:"registered"`
		LastError  *string `json:"last_error"`
	} `json:"gateways"`
}

func (a *appliance) trunks() map[string]trunkState {
	a.t.Helper()
	var list struct {
		Trunks []trunkState `json:"trunks"`
	}
	a.decode(&list, "trunk", "list")
	found := map[string]trunkState{}
	for _, t := range list.Trunks {
		found[t.Name] = t
	}
	return found
}

const gatewayAddress = "127.0.9.2"

// gatewayTrunk has a gateway that nobody is at, and behind it the one that SIPp plays.
func gatewayTrunk(port int) map[string]any {
	return map[string]any{
		"name": "gateway", "timeout": "1s", "probe": "0s", "format": "national",
		"gateways": []any{
			map[string]any{"address": fmt.Sprintf("127.0.9.1:%d", port), "priority": 1},
			map[string]any{"address": fmt.Sprintf("%s:%d", gatewayAddress, port), "priority": 2},
		},
		"identity": map[string]any{"number": "04715550000"},
		"dids": []any{
			map[string]any{"number": "04715550001", "to": "3001", "calendar": "always", "closed": "3002"},
			map[string]any{"number": "04715550002", "to": "3001", "calendar": "never", "closed": "3002"},
		},
	}
}

func outsidePlan(s settings) {
	s.set("dialplan.rules", []any{map[string]any{"name": "out", "match": "0.", "strip": 1, "trunks": []any{"gateway"}}})
	s.set("dialplan.calendars", []any{
		map[string]any{"name": "always", "open": []any{map[string]any{"from": "00:00", "to": "24:00"}}},
		map[string]any{
			"name": "never", "open": []any{map[string]any{"from": "00:00", "to": "24:00"}},
			"holidays": []any{"2020-01-01..2099-12-31"},
		},
	})
	sites, _ := s["sites"].([]any)
	for _, one := range sites {
		if place, ok := one.(map[string]any); ok && place["id"] == "branch1" {
			place["emergency_identity"] = "04715550110"
		}
	}
}

// A call to a number outside fails over from the gateway that is dead, shows nothing internal, and an emergency call
// carries the identity of the caller's site; calls from the gateway ring by day one phone and by night another.
func TestTrunkByAddress(t *testing.T) {
	t.Parallel()
	port := phonePort(t)
	a := startAppliance(t, func(s settings, _ *appliance) {
		outsidePlan(s)
		s.set("trunks", []any{gatewayTrunk(port)})
	})
	caller := a.account("2001")
	for _, call := range []struct{ scenario, dialled string }{{"gateway", "013800000000"}, {"gateway_emergency", "110"}} {
		dir := t.TempDir()
		command := sippRun{scenario: call.scenario, bind: gatewayAddress, port: port, transport: "u1", calls: 1}.
			command(t.Context(), t, dir, fmt.Sprintf("127.0.0.1:%d", a.ports.sip))
		gateway := startProcess(t, dir, command.Path, command.Args[1:]...)
		row := []string{caller.Extension, credentials(caller.AuthUser, caller.Password), caller.Domain, call.dialled}
		if successful, failed := a.sipp(sippRun{scenario: "uac", bind: "127.0.1.20", port: phonePort(t), transport: "u1", rows: [][]string{row}, calls: 1}); successful != 1 || failed != 0 {
			t.Errorf("%s: the call did not go well", call.dialled)
		}
		if code := gateway.wait(20 * time.Second); code != 0 {
			t.Errorf("%s: the gateway ended with %d", call.dialled, code)
		}
	}
	if g := a.trunks()["gateway"]; len(g.Gateways) != 2 || g.Gateways[0].State != "down" || g.Gateways[0].LastError == nil || g.State != "up" || g.Calls != 0 {
		t.Errorf("after two unanswered calls: %+v", g)
	}
	for extension, called := range map[string]string{"3001": "04715550001", "3002": "04715550002"} {
		dir, own := t.TempDir(), phonePort(t)
		a.registerAll([]account{a.account(extension)}, "127.0.2.20", own, "u1")
		command := sippRun{scenario: "uas", bind: "127.0.2.20", port: own, transport: "u1", calls: 1}.
			command(t.Context(), t, dir, fmt.Sprintf("127.0.0.1:%d", a.ports.sip))
		callee := startProcess(t, dir, command.Path, command.Args[1:]...)
		row := []string{"013900000000", called}
		if successful, failed := a.sipp(sippRun{scenario: "gateway_calls", bind: gatewayAddress, port: port, transport: "u1", rows: [][]string{row}, calls: 1}); successful != 1 || failed != 0 {
			t.Errorf("%s: the call from outside did not go well", called)
		}
		if code := callee.wait(20 * time.Second); code != 0 {
			t.Errorf("%s: %s ended with %d", called, extension, code)
		}
	}
	out := a.run("dialplan", "explain", "--trunk", "gateway", "+864715550002", "--running")
	if !strings.Contains(out, "holiday") || !strings.Contains(out, "3002") {
		t.Errorf("explain says\n%s", out)
	}
}

// The provider is linesim's little registrar and proxy, which shares no code with ours: it challenges REGISTER and INVITE.
func TestTrunkWithAnAccount(t *testing.T) {
	t.Parallel()
	const secret = "Kx7mPq2v"
	provider := phonetest.Start(t, phonetest.Options{Password: secret})
	var tree settings
	a := startAppliance(t, func(s settings, _ *appliance) {
		tree = s
		outsidePlan(s)
		s.set("dialplan.rules", []any{map[string]any{"name": "out", "match": "0.", "strip": 1, "trunks": []any{"provider"}}})
		s.set("trunks", []any{map[string]any{
			"name": "provider", "register": true, "expires": "1m", "auth": map[string]any{"user": "04715550000", "password": secret},
			"gateways": []any{map[string]any{"domain": fmt.Sprintf("localhost:%d", provider.UDP.Port()), "transport": "udp"}},
			"format":   "national", "dids": []any{map[string]any{"number": "04715550000", "to": "3001"}},
		}})
	})
	a.eventually(15*time.Second, "the trunk is registered", func() error {
		g := a.trunks()["provider"]
		if g.State != "up" || !g.Gateways[0].Registered || !provider.Bound("04715550000") {
			return fmt.Errorf("%+v", g)
		}
		return nil
	})
	media := voice.NewEngine(voice.DefaultTick)
	runIn(t, media.Run)
	answered := make(chan string, 1)
	far, err := phone.New(phone.Config{
		Account: phone.Account{Extension: "13800000000", AuthUser: "13800000000", Password: secret, Domain: "localhost"},
		Server:  provider.UDP, Transport: phone.UDP, Bind: netip.MustParseAddr("127.0.9.9"), Media: media,
		OnCall: func(c *phone.Call) { answered <- c.Peer() },
	})
	if err != nil {
		t.Fatal(err)
	}
	runIn(t, far.Run)
	<-far.Registered()

	caller := a.account("2001")
	row := []string{caller.Extension, credentials(caller.AuthUser, caller.Password), caller.Domain, "013800000000"}
	if successful, failed := a.sipp(sippRun{scenario: "uac", bind: "127.0.1.20", port: phonePort(t), transport: "u1", rows: [][]string{row}, calls: 1}); successful != 1 || failed != 0 {
		t.Error("the call over the provider did not go well")
	}
	select {
	case peer := <-answered:
		if peer != "04715550000" {
			t.Errorf("the called saw %q", peer)
		}
	case <-time.After(5 * time.Second):
		t.Error("nobody answered outside")
	}

	dir, own := t.TempDir(), phonePort(t)
	a.registerAll([]account{a.account("3001")}, "127.0.2.20", own, "u1")
	command := sippRun{scenario: "uas", bind: "127.0.2.20", port: own, transport: "u1", calls: 1}.
		command(t.Context(), t, dir, fmt.Sprintf("127.0.0.1:%d", a.ports.sip))
	callee := startProcess(t, dir, command.Path, command.Args[1:]...)
	call, err := far.Call(t.Context(), "04715550000", phone.Sound{})
	if err != nil {
		t.Fatalf("a call from outside to our account: %v", err)
	}
	if err := call.Hangup(t.Context()); err != nil {
		t.Error(err)
	}
	if code := callee.wait(20 * time.Second); code != 0 {
		t.Errorf("3001 ended with %d", code)
	}

	tree.set("trunks", []any{})
	tree.set("dialplan.rules", []any{})
	a.writeConfig(tree)
	if err := a.command.Process.Signal(syscall.SIGHUP); err != nil {
		t.Fatal(err)
	}
	a.eventually(10*time.Second, "the account is deregistered", func() error {
		if provider.Bound("04715550000") || len(a.trunks()) != 0 {
			return fmt.Errorf("%+v", a.trunks())
		}
		return nil
	})
}

// runIn runs a part of the simulated world until the test ends.
func runIn(t *testing.T, run func(context.Context) error) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
}
