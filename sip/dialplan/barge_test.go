package dialplan_test

import (
	"strings"
	"testing"

	"linehall/sip/dialplan"
)

// Who may join whose calls: nobody by default but another telephone of the same extension, in full; a class those that it
// names and no private ones; what a code comes to is explained.
func TestBarge(t *testing.T) {
	t.Parallel()
	plan := demo(t, func(c *dialplan.Config) {
		c.Features = map[string]string{"barge": "*41", "listen": "*42", "whisper": "*44"}
		c.Private = []string{"8002"}
		c.Classes = map[string]dialplan.ClassConfig{
			"supervisor": {Barge: dialplan.BargeConfig{Into: []string{"80XX"}, Modes: []dialplan.Barge{dialplan.Listen, dialplan.Full}, Silent: true}},
			"head":       {Private: true, Barge: dialplan.BargeConfig{Into: []string{"8002"}}},
		}
	})
	for _, row := range []struct {
		class, into, other string
		mode               dialplan.Barge
		allowed, silent    bool
	}{
		{"", "8003", "2001", dialplan.Full, false, false},
		{"", "8001", "2001", dialplan.Full, true, false}, // its own extension
		{"", "8001", "2001", dialplan.Listen, false, false},
		{"supervisor", "8003", "2001", dialplan.Full, true, false},
		{"supervisor", "8003", "2001", dialplan.Listen, true, true},
		{"supervisor", "8003", "2001", dialplan.Whisper, false, false},
		{"supervisor", "2001", "8003", dialplan.Listen, false, false},
		{"supervisor", "8002", "2001", dialplan.Listen, false, false},
		{"supervisor", "8003", "8002", dialplan.Listen, false, false}, // the other end is private
		{"head", "8002", "2001", dialplan.Full, true, false},
		{"head", "8002", "2001", dialplan.Listen, false, false}, // full is what there is without modes
	} {
		j := plan.Barge(dialplan.Caller{Extension: "8001", Class: row.class}, row.into, row.other, row.mode)
		if j.Allowed != row.allowed || j.Silent != row.silent || j.Why == "" {
			t.Errorf("%+v: %+v", row, j)
		}
	}
	for extension, want := range map[string]bool{"8003": true, "8002": true, "2001": false} {
		if plan.Joinable(extension) != want {
			t.Errorf("%s may be joined: %v", extension, !want)
		}
	}
	for _, row := range []struct {
		class, number string
		kind          dialplan.Kind
		says          string
	}{
		{"supervisor", "*428003", dialplan.Feature, "nothing tells the parties"},
		{"supervisor", "*418003#", dialplan.Feature, "a tone tells the parties"},
		{"supervisor", "*448003", dialplan.Forbidden, "may not join calls to whisper"},
		{"supervisor", "*428002", dialplan.Forbidden, "private number"},
		{"supervisor", "*427999", dialplan.Forbidden, "no extension"},
		{"supervisor", "*42", dialplan.Feature, "listen"},
		{"", "*418003", dialplan.Forbidden, "may not join calls of 8003"},
		{"", "*418001", dialplan.Feature, "the same extension"},
	} {
		d := plan.Decide(dialplan.Caller{Extension: "8001", Class: row.class}, row.number, monday)
		if last := d.Steps[len(d.Steps)-1]; d.Kind != row.kind || !strings.Contains(last.Result, row.says) {
			t.Errorf("%s dials %s: %s, %+v", row.class, row.number, d.Kind, d.Steps)
		}
	}
}
