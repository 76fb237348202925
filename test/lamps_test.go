package test

import (
	"context"
	"encoding/json"
	"fmt"
	"os/exec"
	"path/filepath"
	"strconv"
	"testing"
	"time"
)

// lampReport is what linesim says about busy lamps.
type lampReport struct {
	Calls map[string]struct {
		OK     int `json:"ok"`
		Failed int `json:"failed"`
	} `json:"calls"`
	Lamps struct {
		Subscriptions int      `json:"subscriptions"`
		Notifies      int      `json:"notifies"`
		Checked       int      `json:"checked"`
		Wrong         int      `json:"wrong"`
		Stuck         int      `json:"stuck"`
		DarkAfter     float64  `json:"dark_after_ms"`
		Faults        []string `json:"faults"`
	} `json:"lamps"`
	Errors map[string]int `json:"errors"`
}

func (a *appliance) lampPhones(ctx context.Context, transport string, args ...string) *exec.Cmd {
	return exec.CommandContext(ctx, filepath.Join(repository, "bin", "linesim"), append([]string{
		"phones", "--socket", filepath.Join(a.data, "linehall.sock"), "--server", "127.0.0.1", "--transport", transport, "--json",
	}, args...)...)
}

// Simulated phones keep busy lamps of each other over each transport: while somebody talks all lamps of both show it, afterwards all
// are dark, and no document lacks what pickup needs.
func TestLampsFollowCalls(t *testing.T) {
	a := startAppliance(t)
	for _, transport := range []string{"udp", "tls"} {
		t.Run(transport, func(t *testing.T) {
			out, err := a.lampPhones(t.Context(), transport, "--count", "24", "--pairs", "6", "--hold", "3s", "--lamps", "15").Output()
			if err != nil {
				t.Fatalf("linesim: %v\n%.4000s", err, out)
			}
			var r lampReport
			if err := json.Unmarshal(out, &r); err != nil {
				t.Fatal(err)
			}
			if r.Lamps.Subscriptions != 360 || r.Lamps.Checked != 6*2*15 || r.Lamps.Wrong != 0 || r.Lamps.Stuck != 0 {
				t.Errorf("lamps %+v", r.Lamps)
			}
			t.Logf("%d NOTIFYs, dark after %.0f ms", r.Lamps.Notifies, r.Lamps.DarkAfter)
		})
	}
	if got := a.metric("linehall_subscriptions_active"); got < 360 {
		t.Errorf("%v subscriptions are counted", got)
	}
}

// The process dies in the middle of calls and starts again, twice: the lamps go on in the same subscriptions, CSeq and version never
// fall, and at the end everything is dark.
func TestLampsSurviveKill9(t *testing.T) {
	a := startAppliance(t)
	ctx, cancel := context.WithTimeout(t.Context(), 90*time.Second)
	defer cancel()
	command := a.lampPhones(ctx, "udp", "--count", "20", "--calls", "4", "--hold", "2500ms", "--ring", "100ms", "--duration", "12s", "--lamps", "10", "--allow-failures", "--max-loss", "100")
	type result struct {
		out []byte
		err error
	}
	done := make(chan result, 1)
	go func() {
		out, err := command.Output()
		done <- result{out, err}
	}()
	subscriptions := func() error {
		if got := a.metric("linehall_subscriptions_active"); got < 200 {
			return fmt.Errorf("%v subscriptions", got)
		}
		return nil
	}
	a.eventually(20*time.Second, "all lamps are subscribed", subscriptions)
	for range 2 {
		time.Sleep(2 * time.Second) // in the middle of calls, and past what is written behind
		a.kill9()
		a.start()
		if err := subscriptions(); err != nil {
			t.Errorf("after the restart: %v", err)
		}
	}
	r := <-done
	if r.err != nil {
		t.Fatalf("linesim: %v\n%.4000s", r.err, r.out)
	}
	var report lampReport
	if err := json.Unmarshal(r.out, &report); err != nil {
		t.Fatal(err)
	}
	if len(report.Lamps.Faults) > 0 || report.Lamps.Stuck > 0 || report.Lamps.Subscriptions != 200 {
		t.Errorf("lamps %+v\n%v", report.Lamps, report.Errors)
	}
	t.Logf("%s calls went well, %d NOTIFYs", strconv.Itoa(report.Calls["all"].OK), report.Lamps.Notifies)
}
