package test

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"linehall/cmd/linesim/phone"
)

// The process dies in the middle of ten calls and starts again: the registrations are there, and whoever hangs up, the BYE
// gets its 200 and reaches the other side.
func TestCallsSurviveKill9(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ name, uac, uas string }{
		{"the caller hangs up", "uac", "uas"},
		{"the callee hangs up", "uac_waits", "uas_hangs_up"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			a := startAppliance(t)
			const calls = 10
			callers, callees := a.accounts(8001, 8010), a.accounts(6001, 6010)
			callerPort, calleePort := phonePort(t), phonePort(t)
			a.registerAll(callers, "127.0.0.1", callerPort, "u1")
			a.registerAll(callees, "127.0.5.9", calleePort, "u1")
			target := fmt.Sprintf("127.0.0.1:%d", a.ports.sip)
			dir := t.TempDir()
			const hold = 12 * time.Second
			uas := sippRun{scenario: c.uas, bind: "127.0.5.9", port: calleePort, transport: "u1", calls: calls, hold: hold}
			command := uas.command(t.Context(), t, dir, target)
			callee := startProcess(t, dir, command.Path, command.Args[1:]...)
			rows := make([][]string, 0, calls)
			for i, caller := range callers {
				rows = append(rows, []string{caller.Extension, credentials(caller.AuthUser, caller.Password), caller.Domain, callees[i].Extension})
			}
			uac := sippRun{scenario: c.uac, bind: "127.0.0.1", port: callerPort, transport: "u1", rows: rows, calls: calls, rate: 10, hold: hold}
			callerDir := t.TempDir()
			command = uac.command(t.Context(), t, callerDir, target)
			caller := startProcess(t, callerDir, command.Path, command.Args[1:]...)

			a.eventually(10*time.Second, "ten calls are established", func() error {
				var list struct {
					Calls []struct{ State string } `json:"calls"`
				}
				a.decode(&list, "call", "list")
				established := 0
				for _, call := range list.Calls {
					if call.State == "established" {
						established++
					}
				}
				if established != calls {
					return fmt.Errorf("%d calls", established)
				}
				return nil
			})
			a.kill9()
			a.start()
			if got := a.registered(); got != 20 {
				t.Errorf("%d phones registered after the restart, want 20", got)
			}
			if got := a.metric("linehall_calls_active"); got != calls {
				t.Errorf("%v calls after the restart, want %d", got, calls)
			}
			if code := caller.wait(60 * time.Second); code != 0 {
				t.Errorf("the callers' side ended with %d: a BYE was lost", code)
			}
			if code := callee.wait(60 * time.Second); code != 0 {
				t.Errorf("the callees' side ended with %d: a BYE was lost", code)
			}
			a.eventually(5*time.Second, "the calls are on record, once each", func() error {
				var export struct {
					CDRs []struct{ Result string } `json:"cdrs"`
				}
				a.decode(&export, "cdr", "export")
				if len(export.CDRs) != calls {
					return fmt.Errorf("%d records", len(export.CDRs))
				}
				return nil
			})
		})
	}
}

// The process dies while the target of a transfer rings: it rings on, the party hears whoever answers, the transferor is
// told.
func TestTransferSurvivesKill9(t *testing.T) {
	t.Parallel()
	a := startAppliance(t)
	d := newDesks(t, a)
	first, second, target := d.at("8001", 31), d.at("8002", 32), d.in(1, "2001", 31)
	second.answers(phone.Reaction{})
	target.answers(phone.Reaction{RingFor: 5 * time.Second})
	rings := func() error {
		target.mu.Lock()
		defer target.mu.Unlock()
		if len(target.rings) == 0 {
			return errors.New("silence")
		}
		return nil
	}
	by, party := first.talksTo("8002", second)
	talk(t, "before the transfer", by, party)
	outcome := make(chan func(), 1)
	go func() {
		ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
		defer cancel()
		r, err := by.Transfer(ctx, "2001")
		outcome <- func() { told(t, r, err, 200) }
	}()
	a.eventually(10*time.Second, "2001 rings", rings)
	a.eventually(5*time.Second, "both calls are stored", func() error { return a.stored(2) })
	a.kill9()
	a.start()
	if n := len(target.taken()); n != 0 {
		t.Fatalf("2001 has answered %d calls already", n)
	}
	answered := target.takes(0)
	(<-outcome)()
	over(t, "transferred", by)
	talk(t, "transferred", party, answered)
	hangUp(t, answered, party)
	a.eventually(10*time.Second, "nothing is left", func() error { return a.stored(0) })
}
