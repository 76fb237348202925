package test

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// officer gives an extension of the demo organisation a class of service whose calls are of precedence flash, and puts
// the duty desk into the branch.
func officer(extension string) func(settings, *appliance) {
	return func(s settings, a *appliance) {
		s.set("dialplan.classes", map[string]any{"officer": map[string]any{"priority": "flash"}})
		s.set("dialplan.duty_members", []string{"2001"})
		a.terminalColumn("class", map[string]string{extension: "officer"})
	}
}

// terminalColumn adds a column to the list of terminals, with values by extension.
func (a *appliance) terminalColumn(name string, values map[string]string) {
	a.t.Helper()
	file := filepath.Join(a.dir, "terminals.csv")
	text, err := os.ReadFile(file)
	if err != nil {
		a.t.Fatal(err)
	}
	var rows []string
	for i, row := range strings.Split(strings.TrimSpace(string(text)), "\n") {
		row = strings.TrimSuffix(row, "\r")
		value := values[strings.Split(row, ",")[3]]
		if i == 0 {
			value = name
		}
		rows = append(rows, row+","+value)
	}
	if err := os.WriteFile(file, []byte(strings.Join(rows, "\n")+"\n"), 0o600); err != nil {
		a.t.Fatal(err)
	}
}

type talking struct {
	ID         string
	State      string
	Class      string
	Precedence string
	From       struct{ Extension string }
}

func (a *appliance) talking() []talking {
	a.t.Helper()
	var list struct {
		Calls []talking `json:"calls"`
	}
	a.decode(&list, "call", "list")
	return list.Calls
}

func (a *appliance) established(want int) {
	a.t.Helper()
	a.eventually(20*time.Second, fmt.Sprintf("%d calls", want), func() error {
		calls := a.talking()
		for _, c := range calls {
			if c.State != "established" {
				return fmt.Errorf("%s is %s", c.ID, c.State)
			}
		}
		if len(calls) != want {
			return fmt.Errorf("%d calls", len(calls))
		}
		return nil
	})
}

// The 2 Mbit/s line of branch1 full of routine calls: another one is refused with 488, an emergency call passes and ends
// nobody's call, a flash call passes and ends the newest routine call, whose phone is told why and whose record says for
// whom. Then all is given back.
func TestPriorityOnAFullLine(t *testing.T) {
	t.Parallel()
	a := startAppliance(t, officer("8010"))
	const room = 18 // G.711 on 2 Mbit/s without the office's 15 % and 120 kbit/s for the voices of meetings
	callees := a.accounts(2001, 2005)
	calleePort := phonePort(t)
	a.registerAll(callees, "127.0.1.9", calleePort, "u1")
	target := fmt.Sprintf("127.0.0.1:%d", a.ports.sip)
	launch := func(run sippRun) *process {
		dir := t.TempDir()
		command := run.command(t.Context(), t, dir, target)
		return startProcess(t, dir, command.Path, command.Args[1:]...)
	}
	call := func(scenario, from, to string) sippRun {
		acc := a.account(from)
		return sippRun{
			scenario: scenario, bind: "127.0.0.1", port: phonePort(t), transport: "u1", calls: 1, rate: 10, hold: time.Second,
			rows: [][]string{{acc.Extension, credentials(acc.AuthUser, acc.Password), acc.Domain, to}},
		}
	}
	launch(sippRun{scenario: "uas", bind: "127.0.1.9", port: calleePort, transport: "u1", calls: 100})

	routine := call("uac_waits", "8004", "2002")
	routine.calls = room - 1
	phones := launch(routine)
	a.established(room - 1)
	newest := launch(call("uac_gives_way", "8005", "2003"))
	a.established(room)
	if ok, bad := a.sipp(call("uac_or_refused", "8006", "2004")); ok != 1 || bad != 0 || a.metric("linehall_line_refused_total", `class="voice"`) != 1 {
		t.Errorf("a call too many: %d ended well, %d badly; %v refused", ok, bad, a.metric("linehall_line_refused_total", `class="voice"`))
	}
	if ok, bad := a.sipp(call("uac", "8007", "110")); ok != 1 || bad != 0 {
		t.Errorf("emergency: %d calls ended well, %d badly", ok, bad)
	}
	a.established(room)
	flash := call("uac", "8010", "2005")
	if ok, bad := a.sipp(flash); ok != 1 || bad != 0 {
		t.Errorf("flash: %d calls ended well, %d badly", ok, bad)
	}
	if code := newest.wait(20 * time.Second); code != 0 {
		t.Errorf("the newest routine call did not end with the Reason of RFC 4411: sipp exit %d", code)
	}
	a.established(room - 1)
	a.sawPreemption("8005", "8010")

	if got := a.metric("linehall_line_preempted_total", `class="voice"`); got != 1 {
		t.Errorf("%v calls preempted", got)
	}
	var lines struct {
		Lines []map[string]any `json:"lines"`
	}
	a.decode(&lines, "line", "list")
	if l := lines.Lines[0]; l["preempted_total"] != 1.0 || l["state"] != "up" || l["calls"].(map[string]any)["routine"] != float64(room-1) {
		t.Errorf("line list: %v", l)
	}
	for _, c := range a.talking() {
		a.run("call", "hangup", c.ID)
	}
	if code := phones.wait(20 * time.Second); code != 0 {
		t.Errorf("the other calls: sipp exit %d", code)
	}
	a.eventually(5*time.Second, "everything is given back", func() error {
		if up, down := a.line("branch1"); up.ReservedBps != 0 || down.ReservedBps != 0 {
			return fmt.Errorf("%d and %d bit/s still reserved", up.ReservedBps, down.ReservedBps)
		}
		return nil
	})
}

// sawPreemption checks the records of the call that gave way and of the one that took its place.
func (a *appliance) sawPreemption(victim, winner string) {
	a.t.Helper()
	var export struct {
		CDRs []struct {
			ID          string `json:"id"`
			From        string `json:"from"`
			Class       string `json:"class"`
			Precedence  string `json:"precedence"`
			PreemptedBy string `json:"preempted_by"`
		} `json:"cdrs"`
	}
	a.decode(&export, "cdr", "export")
	byWhom, winnerID := "", ""
	for _, r := range export.CDRs {
		switch {
		case r.From == victim:
			byWhom = r.PreemptedBy
		case r.From == winner && r.Precedence == "flash" && r.Class == "priority":
			winnerID = r.ID
		case r.PreemptedBy != "":
			a.t.Errorf("%s gave way as well", r.From)
		}
	}
	if byWhom == "" || byWhom != winnerID {
		text, _ := json.Marshal(export)
		a.t.Errorf("the call of %s gave way to %q, that of %s is %q: %s", victim, byWhom, winner, winnerID, text)
	}
}
