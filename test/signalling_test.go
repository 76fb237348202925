package test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"linehall/cmd/linesim/phone"
)

// What SIPp's phones say to each other through the appliance: fax, withheld numbers, late offers, texts, reports, feature keys.
func TestSignallingBetweenOtherPhones(t *testing.T) {
	t.Parallel()
	a := startAppliance(t)
	caller, callee := a.account("8011"), a.account("8012")
	for _, tt := range []struct {
		name, caller, callee string // scenarios; callee "" when nobody is called
		to                   string // "" = the callee
		after                func(t *testing.T)
	}{
		{name: "fax", caller: "uac_fax", callee: "uas_fax", after: func(t *testing.T) {
			t.Helper()
			if r := a.lastRecord(); r.Media != "fax" || r.Result != "answered" {
				t.Errorf("record %+v", r)
			}
		}},
		{name: "withheld number", caller: "uac_private", callee: "uas_private", after: func(t *testing.T) {
			t.Helper()
			if r := a.lastRecord(); r.From != caller.Extension {
				t.Errorf("the record does not know who called: %+v", r)
			}
		}},
		{name: "offer by the called", caller: "uac_late", callee: "uas"},
		{name: "text", caller: "message", callee: "message_received"},
		{name: "key for do not disturb", caller: "feature_key", to: caller.Extension, after: func(t *testing.T) {
			t.Helper()
			var got struct {
				Settings struct {
					DoNotDisturb bool `json:"do_not_disturb"`
				} `json:"settings"`
			}
			if a.decode(&got, "terminal", "features", caller.Extension); !got.Settings.DoNotDisturb {
				t.Error("the key switched nothing")
			}
			a.run("terminal", "features", caller.Extension, "do_not_disturb=off")
		}},
		{name: "quality report", caller: "report", to: "the last call", after: func(t *testing.T) {
			t.Helper()
			var got struct {
				Reports []struct {
					Extension string  `json:"extension"`
					MOS       float64 `json:"mos"`
				} `json:"reports"`
			}
			if a.decode(&got, "cdr", "show", a.lastRecord().ID); len(got.Reports) != 1 || got.Reports[0].MOS != 4.1 || got.Reports[0].Extension != caller.Extension {
				t.Errorf("kept with the call: %+v", got.Reports)
			}
		}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			own := phonePort(t)
			var phone *process
			if tt.callee != "" {
				port := phonePort(t)
				a.registerAll([]account{callee}, "127.0.0.42", port, "u1")
				dir := t.TempDir()
				command := sippRun{scenario: tt.callee, bind: "127.0.0.42", port: port, transport: "u1", calls: 1}.
					command(t.Context(), t, dir, fmt.Sprintf("127.0.0.1:%d", a.ports.sip))
				phone = startProcess(t, dir, command.Path, command.Args[1:]...)
			}
			to := callee.Extension
			switch tt.to {
			case "":
			case "the last call":
				to = a.lastRecord().CallID
			default:
				to = tt.to
			}
			row := []string{caller.Extension, credentials(caller.AuthUser, caller.Password), caller.Domain, to, callee.Extension}
			if successful, failed := a.sipp(sippRun{scenario: tt.caller, bind: "127.0.0.41", port: own, transport: "u1", rows: [][]string{row}, calls: 1}); successful != 1 || failed != 0 {
				t.Error("it did not go well for the caller")
			}
			if phone != nil {
				if code := phone.wait(20 * time.Second); code != 0 {
					t.Errorf("the called phone ended with %d: %s", code, phone.output)
				}
			}
			if tt.after != nil {
				tt.after(t)
			}
		})
	}
}

// record is what a test looks at in a call's record.
type record struct {
	ID      string `json:"id"`
	CallID  string `json:"call_id"`
	From    string `json:"from"`
	To      string `json:"to"`
	Result  string `json:"result"`
	Reason  string `json:"reason"`
	EndedBy string `json:"ended_by"`
	Media   string `json:"media"`
}

// lastRecord waits until no call goes on and returns the newest record.
func (a *appliance) lastRecord() record {
	a.t.Helper()
	a.eventually(10*time.Second, "no call is left", func() error {
		if n := a.metric("linehall_calls_active"); n != 0 {
			return fmt.Errorf("%v calls", n)
		}
		return nil
	})
	var list struct {
		CDRs []record `json:"cdrs"`
	}
	a.eventually(10*time.Second, "a record", func() error {
		if a.decode(&list, "cdr", "export"); len(list.CDRs) == 0 {
			return errors.New("none")
		}
		return nil
	})
	return list.CDRs[0]
}

// Several phones of one number, a boss and a secretary, a limit, and an operator who ends a call.
func TestLinesThatPeopleShare(t *testing.T) {
	t.Parallel()
	a := startAppliance(t, func(s settings, _ *appliance) { s.set("appliance.language", "en") })
	d := newDesks(t, a)
	caller, second, table, wall := d.at("8001", 31), d.at("8002", 32), d.at("8003", 33), d.at("8003", 34)
	idle := func(t *testing.T) {
		t.Helper()
		a.eventually(10*time.Second, "no call is left", func() error {
			if n := a.metric("linehall_calls_active"); n != 0 {
				return fmt.Errorf("%v calls", n)
			}
			return nil
		})
		for _, p := range []*desk{caller, second, table, wall} {
			p.rung()
		}
	}
	answered := func(t *testing.T, from *desk, number string) *phone.Call {
		t.Helper()
		ctx, cancel := context.WithTimeout(t.Context(), 15*time.Second)
		defer cancel()
		c, err := from.Call(ctx, number, phone.Sound{})
		if err != nil {
			t.Fatalf("%s calls %s: %v", from.Extension(), number, err)
		}
		return c
	}

	t.Run("shared line", func(t *testing.T) {
		table.answers(phone.Reaction{RingFor: -1})
		wall.answers(phone.Reaction{RingFor: 200 * time.Millisecond})
		c := answered(t, caller, "8003")
		table.wantRings("shared", "8001")
		wall.wantRings("shared", "8001")
		if n := len(table.taken()); n != 0 {
			t.Errorf("the phone on the desk took %d calls", n)
		}
		if err := c.Hangup(t.Context()); err != nil {
			t.Error(err)
		}
		idle(t)
	})
	t.Run("secretary", func(t *testing.T) {
		a.run("terminal", "features", "8003", "boss=8002,only")
		second.answers(phone.Reaction{})
		c := answered(t, caller, "8003")
		table.wantRings("boss")
		second.wantRings("secretary", "8001")
		if err := c.Hangup(t.Context()); err != nil {
			t.Error(err)
		}
		idle(t)
		c = answered(t, second, "8003") // the secretary gets through
		if rings := append(table.rung(), wall.rung()...); len(rings) != 2 {
			t.Errorf("the boss's phones rang %d times for the secretary", len(rings))
		}
		if err := c.Hangup(t.Context()); err != nil {
			t.Error(err)
		}
		a.run("terminal", "features", "8003", "boss=off")
		idle(t)
	})
	t.Run("limit", func(t *testing.T) {
		a.run("terminal", "features", "8002", "call_limit=1")
		c := answered(t, caller, "8002")
		if got := table.code("8002"); !strings.HasPrefix(got, "486") {
			t.Errorf("a second caller got %q, want 486", got)
		}
		if err := c.Hangup(t.Context()); err != nil {
			t.Error(err)
		}
		a.run("terminal", "features", "8002", "call_limit=0")
		idle(t)
	})
	t.Run("forced release", func(t *testing.T) {
		c := answered(t, caller, "8002")
		var list struct {
			Calls []struct{ ID string } `json:"calls"`
		}
		a.decode(&list, "call", "list")
		if len(list.Calls) != 1 {
			t.Fatalf("%d calls", len(list.Calls))
		}
		a.run("call", "hangup", list.Calls[0].ID)
		over(t, "forced release", party{c, "8001"}, second.takes(len(second.taken())-1))
		if r := a.lastRecord(); r.EndedBy != "operator" {
			t.Errorf("record %+v", r)
		}
		if out := a.run("audit", "list"); !strings.Contains(out, list.Calls[0].ID) {
			t.Errorf("nothing on record of who ended it:\n%s", out)
		}
	})
}
