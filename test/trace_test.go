package test

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"
)

// Somebody looks up what happened in a call: both phones and the exchange in one ladder, no secret in it, and the same
// after the call has gone to the database.
func TestTraceOfACall(t *testing.T) {
	t.Parallel()
	a := startAppliance(t)
	a.linesim(time.Minute, "phones", "--socket", filepath.Join(a.data, "linehall.sock"), "--server", "127.0.0.1",
		"--transport", "udp", "--count", "12", "--pairs", "1", "--hold", "500ms")
	var records struct {
		CDRs []struct {
			ID   string `json:"id"`
			From string `json:"from"`
			To   string `json:"to"`
		} `json:"cdrs"`
	}
	a.eventually(5*time.Second, "the call is on record", func() error { // its BYE is answered before
		a.decode(&records, "cdr", "export")
		if len(records.CDRs) != 1 {
			return fmt.Errorf("%d records", len(records.CDRs))
		}
		return nil
	})
	call := records.CDRs[0]
	type ladder struct {
		Parties []struct {
			Name string `json:"name"`
		} `json:"parties"`
		Steps []struct {
			Received bool   `json:"received"`
			Summary  string `json:"summary"`
			Text     string `json:"text"`
		} `json:"steps"`
	}
	var now, later ladder
	a.decode(&now, "call", "trace", call.ID)
	if len(now.Parties) != 2 || now.Parties[0].Name != call.From || now.Parties[1].Name != call.To {
		t.Errorf("parties %v of the call %v", now.Parties, call)
	}
	var summaries []string
	for _, s := range now.Steps {
		summaries = append(summaries, strconv.FormatBool(s.Received)+" "+s.Summary)
		if at := strings.Index(s.Text, `response="`); at >= 0 && !strings.HasPrefix(s.Text[at:], `response="****`) {
			t.Errorf("a digest response is shown: %s", s.Text)
		}
	}
	all := strings.Join(summaries, "\n")
	for _, want := range []string{"true INVITE " + call.To + " [sdp]", "false INVITE " + call.To + " [sdp]", "true 200 OK (INVITE) [sdp]", "false 200 OK (INVITE) [sdp]", "true BYE", "false BYE"} {
		if !strings.Contains(all, want) {
			t.Errorf("%q is missing in\n%s", want, all)
		}
	}
	a.eventually(20*time.Second, "the call's messages have left the memory", func() error {
		if n := a.metric("linehall_trace_calls"); n != 0 {
			return fmt.Errorf("%v calls", n)
		}
		return nil
	})
	a.kill9() // what is shown now comes from the database or not at all
	a.start()
	a.decode(&later, "call", "trace", call.ID)
	if len(later.Steps) != len(now.Steps) {
		t.Errorf("%d messages, later %d", len(now.Steps), len(later.Steps))
	}
	file := filepath.Join(t.TempDir(), "call.pcap")
	a.run("call", "trace", call.ID, "--pcap", file)
	if info, err := os.Stat(file); err != nil || info.Size() < 3000 {
		t.Errorf("capture file: %v, %v", info, err)
	}
}
