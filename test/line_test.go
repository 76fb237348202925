package test

import (
	"fmt"
	"testing"
	"time"
)

type lineAccount struct {
	CapacityBps      int64 `json:"capacity_bps"`
	OfficeReserveBps int64 `json:"office_reserve_bps"`
	ReservedBps      int64 `json:"reserved_bps"`
}

func (a *appliance) line(site string) (up, down lineAccount) {
	a.t.Helper()
	var list struct {
		Lines []struct {
			Site     string
			Up, Down lineAccount
		} `json:"lines"`
	}
	a.decode(&list, "line", "list")
	for _, line := range list.Lines {
		if line.Site == site {
			return line.Up, line.Down
		}
	}
	a.t.Fatalf("no line of %s", site)
	return
}

// More calls than the 2 Mbit/s line carries: those that fit go on, each other one is refused with 488 and Warning 370 and
// counted, the office's share stays untouched, and everything is given back at the end.
func TestALineIsNeverOversubscribed(t *testing.T) {
	a := startAppliance(t)
	const calls = 30
	callers, callees := a.accounts(8001, 8030), a.accounts(2001, 2010)
	callerPort, calleePort := phonePort(t), phonePort(t)
	a.registerAll(callers, "127.0.0.1", callerPort, "u1")
	a.registerAll(callees, "127.0.1.9", calleePort, "u1")
	dir := t.TempDir()
	target := fmt.Sprintf("127.0.0.1:%d", a.ports.sip)
	uas := sippRun{scenario: "uas", bind: "127.0.1.9", port: calleePort, transport: "u1", calls: calls}
	command := uas.command(t.Context(), t, dir, target)
	startProcess(t, dir, command.Path, command.Args[1:]...)
	rows := make([][]string, 0, calls)
	for i, caller := range callers {
		rows = append(rows, []string{caller.Extension, credentials(caller.AuthUser, caller.Password), caller.Domain, callees[i%len(callees)].Extension})
	}
	uac := sippRun{scenario: "uac_or_refused", bind: "127.0.0.1", port: callerPort, transport: "u1", rows: rows, calls: calls, rate: 10, hold: 8 * time.Second}
	uacDir := t.TempDir()
	command = uac.command(t.Context(), t, uacDir, target)
	phones := startProcess(t, uacDir, command.Path, command.Args[1:]...)

	a.eventually(10*time.Second, "calls are refused because the line is full", func() error {
		if refused := a.metric("linehall_line_refused_total", `class="voice"`); refused < 5 {
			return fmt.Errorf("%v refused", refused)
		}
		return nil
	})
	up, down := a.line("branch1")
	for direction, account := range map[string]lineAccount{"up": up, "down": down} {
		if account.ReservedBps == 0 || account.ReservedBps > account.CapacityBps-account.OfficeReserveBps {
			t.Errorf("%s: %d bit/s reserved of %d, of which %d are the office's", direction, account.ReservedBps, account.CapacityBps, account.OfficeReserveBps)
		}
	}
	t.Logf("reserved %d and %d bit/s of %d", up.ReservedBps, down.ReservedBps, up.CapacityBps)
	if code := phones.wait(60 * time.Second); code != 0 {
		t.Errorf("the callers' side ended with %d: a call neither worked nor was refused as it should be", code)
	}
	a.eventually(5*time.Second, "everything is given back", func() error {
		up, down := a.line("branch1")
		if up.ReservedBps != 0 || down.ReservedBps != 0 {
			return fmt.Errorf("%d and %d bit/s still reserved", up.ReservedBps, down.ReservedBps)
		}
		return nil
	})
}
