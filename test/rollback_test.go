package test

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// password is the newest SIP password of an extension.
func (a *appliance) password(extension string) string {
	a.t.Helper()
	for line := range strings.Lines(a.run("terminal", "show", extension, "--secrets")) {
		if fields := strings.Fields(line); len(fields) == 2 && fields[0] == "password" {
			return fields[1]
		}
	}
	a.t.Fatalf("no password of %s", extension)
	return ""
}

// An apply that gives eight phones a new name and a new password is killed in its middle with the appliance, and repeated:
// it ends as if nothing had happened, every phone is registered with its new password, and no phone was ever locked out.
func (a *appliance) anApplyIsKilled(extensions []string) {
	a.t.Helper()
	before := map[string]string{}
	for _, e := range extensions {
		before[e] = a.password(e)
	}
	applying := startProcess(a.t, ".", filepath.Join(repository, "bin", "linehall"), "apply", "--rotate", "--batch", "1", "--pause", "1s", "--config", a.config, "--data", a.data)
	a.eventually(20*time.Second, "some phones were told", func() error {
		if n := strings.Count(a.output.String(), "phone uses its new password"); n < 2 {
			return fmt.Errorf("%d use their new password", n)
		}
		return nil
	})
	a.kill9()
	applying.stop()
	a.start()
	left, _, code := a.try("plan")
	if code != 3 || strings.Contains(left, "~ 8071") || !strings.Contains(left, "~ 8078") {
		a.t.Errorf("after the crash: exit %d\n%s", code, left)
	}
	// The phone that was being told may have lost its registration with the crash, and is back in some seconds.
	again := []string{"apply", "--rotate", "--batch", "4", "--limit", "site=hq"}
	a.eventually(60*time.Second, "the repeated apply is done", func() error {
		out, errOut, code := a.try(again...)
		again = []string{"apply"}
		if code != 0 {
			return fmt.Errorf("exit %d\n%s%s", code, out, errOut)
		}
		return nil
	})
	if out, _, code := a.try("plan"); code != 0 {
		a.t.Errorf("after the repeated apply: exit %d\n%s", code, out)
	}
	a.eventually(20*time.Second, "every phone is registered with its new password", func() error {
		all := a.phoneStatuses()
		for _, e := range extensions {
			if p := all[e]; len(p.Drift) > 0 {
				return fmt.Errorf("%s: %v", e, p.Drift)
			}
		}
		return nil
	})
	for _, e := range extensions {
		if a.password(e) == before[e] {
			a.t.Errorf("%s has its old password", e)
		}
	}
	if n := a.metric("linehall_sip_auth_total", `result="wrong"`); n > 0 {
		a.t.Errorf("%v wrong passwords", n)
	}
}

// Back to the files of the apply before, after a look at what that changes.
func (a *appliance) anApplyIsTakenBack(list, want, now string) {
	a.t.Helper()
	var snapshots struct {
		Snapshots []struct{ ID, Phones int }
	}
	a.decode(&snapshots, "rollback")
	if len(snapshots.Snapshots) < 3 || snapshots.Snapshots[0].ID <= snapshots.Snapshots[1].ID {
		a.t.Fatalf("snapshots: %+v", snapshots)
	}
	before := fmt.Sprint(snapshots.Snapshots[1].ID)
	out, _, code := a.try("rollback", before)
	if code != 3 || !strings.Contains(out, now+" -> "+want) || !strings.Contains(out, "rollback "+before+" --yes") {
		a.t.Errorf("looked at: exit %d\n%.1500s", code, out)
	}
	if rows, err := os.ReadFile(list); err != nil || !strings.Contains(string(rows), now) {
		a.t.Errorf("looking changed the list: %v", err)
	}
	if out, _, code := a.try("rollback", "99999"); code != 1 {
		a.t.Errorf("a snapshot that there is none of: exit %d\n%s", code, out)
	}
	out = a.run("rollback", before, "--yes")
	if strings.Count(out, "fetched") < 8 {
		a.t.Errorf("taken back:\n%.3000s", out)
	}
	rows, err := os.ReadFile(list)
	if err != nil || strings.Contains(string(rows), now) || !strings.Contains(string(rows), want) {
		a.t.Errorf("the list after it: %v", err)
	}
	if kept, err := os.ReadFile(list + ".bak"); err != nil || !strings.Contains(string(kept), now) {
		a.t.Errorf("what was there before is gone: %v", err)
	}
	if out, _, code := a.try("plan"); code != 0 {
		a.t.Errorf("after going back: exit %d\n%s", code, out)
	}
}

// Outside the hours of maintenance nobody is disturbed, unless that is wished.
func (a *appliance) maintenanceHoursCount(t *testing.T) {
	t.Helper()
	settings, err := os.ReadFile(a.config)
	if err != nil {
		t.Fatal(err)
	}
	next := time.Now().Add(2 * time.Hour)
	hours := fmt.Sprintf("maintenance: \"%s-%s\"", next.In(time.FixedZone("", 8*3600)).Format("15:04"), next.Add(time.Minute).In(time.FixedZone("", 8*3600)).Format("15:04"))
	text := strings.Replace(string(settings), "\nterminals:\n", "\nterminals:\n    "+hours+"\n", 1)
	if strings.Contains(string(settings), "maintenance:") {
		text = strings.Replace(string(settings), `maintenance: ""`, hours, 1)
	}
	if err := os.WriteFile(a.config, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	if out, errOut, code := a.try("apply"); code != 1 || !strings.Contains(errOut, "maintenance window") {
		t.Errorf("outside the hours: exit %d\n%s%s", code, out, errOut)
	}
	a.run("apply", "--any-time")
	if err := os.WriteFile(a.config, settings, 0o600); err != nil {
		t.Fatal(err)
	}
}
