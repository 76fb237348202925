package test

import (
	"fmt"
	"path/filepath"
	"testing"
	"time"

	"linehall/internal/database"
)

// The process dies while ten phones ring and starts again: they ring on, are answered, and every call is on record once.
func TestRingingCallsSurviveKill9(t *testing.T) {
	t.Parallel()
	a := startAppliance(t)
	const calls = 10
	callers, callees := a.accounts(8001, 8010), a.accounts(6001, 6010)
	callerPort, calleePort := phonePort(t), phonePort(t)
	a.registerAll(callers, "127.0.0.1", callerPort, "u1")
	a.registerAll(callees, "127.0.5.9", calleePort, "u1")
	target, dir := fmt.Sprintf("127.0.0.1:%d", a.ports.sip), t.TempDir()
	uas := sippRun{scenario: "uas_rings", bind: "127.0.5.9", port: calleePort, transport: "u1", calls: calls, hold: 9 * time.Second}
	command := uas.command(t.Context(), t, dir, target)
	callee := startProcess(t, dir, command.Path, command.Args[1:]...)
	rows := make([][]string, 0, calls)
	for i, caller := range callers {
		rows = append(rows, []string{caller.Extension, credentials(caller.AuthUser, caller.Password), caller.Domain, callees[i].Extension})
	}
	uac := sippRun{scenario: "uac", bind: "127.0.0.1", port: callerPort, transport: "u1", rows: rows, calls: calls, rate: 10, hold: time.Second}
	callerDir := t.TempDir()
	command = uac.command(t.Context(), t, callerDir, target)
	caller := startProcess(t, callerDir, command.Path, command.Args[1:]...)

	ringing := func() error {
		var list struct {
			Calls []struct{ State string } `json:"calls"`
		}
		a.decode(&list, "call", "list")
		for _, call := range list.Calls {
			if call.State != "ringing" {
				return fmt.Errorf("a call is %s", call.State)
			}
		}
		if len(list.Calls) != calls {
			return fmt.Errorf("%d calls", len(list.Calls))
		}
		return nil
	}
	a.eventually(10*time.Second, "ten calls ring", ringing)
	a.eventually(5*time.Second, "ten calls are stored", func() error { return a.stored(calls) })
	a.kill9()
	a.start()
	if err := ringing(); err != nil {
		t.Errorf("after the restart: %v", err)
	}
	if code := caller.wait(60 * time.Second); code != 0 {
		t.Errorf("the callers' side ended with %d", code)
	}
	if code := callee.wait(60 * time.Second); code != 0 {
		t.Errorf("the callees' side ended with %d", code)
	}
	a.eventually(5*time.Second, "the calls are on record, answered, once each", func() error {
		var export struct {
			CDRs []struct{ Result string } `json:"cdrs"`
		}
		a.decode(&export, "cdr", "export")
		answered := 0
		for _, r := range export.CDRs {
			if r.Result == "answered" {
				answered++
			}
		}
		if len(export.CDRs) != calls || answered != calls {
			return fmt.Errorf("%d records, %d answered", len(export.CDRs), answered)
		}
		return nil
	})
}

// stored looks into the database for the state of that many calls: what rings is written a tenth of a second later.
func (a *appliance) stored(calls int) error {
	a.t.Helper()
	db, err := database.Open(a.t.Context(), filepath.Join(a.data, "linehall.db"))
	if err != nil {
		return err
	}
	defer db.Close()
	var found int
	if err := db.QueryRowContext(a.t.Context(), "SELECT count(*) FROM call_state").Scan(&found); err != nil {
		return err
	}
	if found != calls {
		return fmt.Errorf("%d states", found)
	}
	return nil
}
