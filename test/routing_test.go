package test

import (
	"fmt"
	"testing"
	"time"
)

// A phone's 302 is followed: the call rings where it was sent, which is told by whom, and is answered
// there. Phones are SIPp's.
func TestPhonesDeflectCalls(t *testing.T) {
	t.Parallel()
	a := startAppliance(t)
	caller, by, to := a.account("8001"), a.account("8011"), a.account("2001")
	target := fmt.Sprintf("127.0.0.1:%d", a.ports.sip)
	ports := [3]int{phonePort(t), phonePort(t), phonePort(t)}
	for i, acc := range []account{caller, by, to} {
		a.registerAll([]account{acc}, "127.0.0.1", ports[i], "u1")
	}
	const calls = 5
	deflects := sippRun{scenario: "uas_deflects", bind: "127.0.0.1", port: ports[1], transport: "u1", rows: [][]string{{to.Extension, to.Domain}}, calls: calls}
	answers := sippRun{scenario: "uas_deflected", bind: "127.0.0.1", port: ports[2], transport: "u1", calls: calls}
	var phones []*process
	for _, r := range []sippRun{deflects, answers} {
		dir := t.TempDir()
		command := r.command(t.Context(), t, dir, target)
		phones = append(phones, startProcess(t, dir, command.Path, command.Args[1:]...))
	}
	row := []string{caller.Extension, credentials(caller.AuthUser, caller.Password), caller.Domain, by.Extension}
	successful, failed := a.sipp(sippRun{
		scenario: "uac", bind: "127.0.0.1", port: ports[0], transport: "u1", rows: [][]string{row}, calls: calls, rate: 5, hold: 200 * time.Millisecond,
	})
	if successful != calls || failed != 0 {
		t.Errorf("%d of %d calls went well, %d failed", successful, calls, failed)
	}
	for i, phone := range phones {
		if code := phone.wait(30 * time.Second); code != 0 {
			t.Errorf("phone %d ended with %d", i, code)
		}
	}
	var list struct {
		CDRs []struct {
			To, Dialled, Result string
			Legs                []struct {
				Extension string
				Code      int
			}
		} `json:"cdrs"`
	}
	a.eventually(5*time.Second, "records", func() error {
		a.decode(&list, "cdr", "export")
		if len(list.CDRs) != calls {
			return fmt.Errorf("%d records", len(list.CDRs))
		}
		return nil
	})
	for _, r := range list.CDRs {
		if r.Dialled != by.Extension || r.To != to.Extension || r.Result != "answered" || len(r.Legs) != 2 || r.Legs[0].Code != 302 || r.Legs[1].Code != 200 {
			t.Errorf("record %+v", r)
		}
	}
}
