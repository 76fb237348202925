package test

import (
	"fmt"
	"strings"
	"testing"
	"time"
)

// A telephone makes as many calls outside as its class may within an hour; the next one is refused in words, also after
// kill -9, counted, shown as an alarm and in "dialplan explain", and in the audit log. Other telephones go on.
func TestTollLimits(t *testing.T) {
	t.Parallel()
	port := phonePort(t)
	a := startAppliance(t, func(s settings, _ *appliance) {
		outsidePlan(s)
		s.set("dialplan.tolls.long_distance", map[string]any{"calls_per_hour": 2, "at_once": 1, "numbers_per_hour": 2})
		g := gatewayTrunk(port)
		g["gateways"] = []any{map[string]any{"address": fmt.Sprintf("%s:%d", gatewayAddress, port)}}
		s.set("trunks", []any{g})
	})
	launch := func(calls int) *process {
		dir := t.TempDir()
		command := sippRun{scenario: "gateway", bind: gatewayAddress, port: port, transport: "u1", calls: calls}.
			command(t.Context(), t, dir, fmt.Sprintf("127.0.0.1:%d", a.ports.sip))
		return startProcess(t, dir, command.Path, command.Args[1:]...)
	}
	gateway := launch(3)
	call := func(scenario, from string) {
		t.Helper()
		acc := a.account(from)
		row := []string{acc.Extension, credentials(acc.AuthUser, acc.Password), acc.Domain, "013800000000"}
		if ok, bad := a.sipp(sippRun{scenario: scenario, bind: "127.0.1.20", port: phonePort(t), transport: "u1", rows: [][]string{row}, calls: 1}); ok != 1 || bad != 0 {
			t.Errorf("%s from %s: %d went well, %d did not", scenario, from, ok, bad)
		}
		a.eventually(5*time.Second, "the call is over", func() error {
			if n := len(a.talking()); n != 0 {
				return fmt.Errorf("%d calls", n)
			}
			return nil
		})
	}
	call("uac", "2001")
	call("uac", "2001")
	call("uac_over_limit", "2001")
	call("uac", "2002")
	if code := gateway.wait(20 * time.Second); code != 0 {
		t.Errorf("the gateway ended with %d", code)
	}
	a.eventually(5*time.Second, "the hour is written", func() error {
		if n := strings.Count(a.run("audit", "list", "--json"), "call.toll_refused"); n != 1 {
			return fmt.Errorf("%d entries of the audit log", n)
		}
		return nil
	})
	if n := a.metric("linehall_calls_toll_refused_total", `reason="calls_per_hour"`); n != 1 {
		t.Errorf("%v refused calls counted", n)
	}
	if out := a.run("status", "--json"); !strings.Contains(out, `"toll_limit"`) {
		t.Errorf("no alarm in\n%s", out)
	}
	a.kill9()
	a.start()
	call("uac_over_limit", "2001")
	if out := a.run("dialplan", "explain", "2001", "013800000000", "--running"); !strings.Contains(out, "2 of 2") || !strings.Contains(out, "refused: calls per hour") {
		t.Errorf("explain says\n%s", out)
	}
	if out := a.run("dialplan", "explain", "2001", "000882161234567"); !strings.Contains(out, "fraud") || !strings.Contains(out, "tolls") {
		t.Errorf("a forbidden number:\n%s", out)
	}
}
