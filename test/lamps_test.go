package test

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"
)

// lampReport is what linesim says about busy lamps.
type lampReport struct {
	Calls map[string]struct {
		OK     int `json:"ok"`
		Failed int `json:"failed"`
		Alert  struct {
			P50 float64 `json:"p50_ms"`
			P99 float64 `json:"p99_ms"`
		} `json:"invite_to_ringing"`
	} `json:"calls"`
	CallRate float64 `json:"calls_per_second"`
	Lamps    struct {
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
	t.Parallel()
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

// baresip, which shares no code with us, watches a colleague's presence and its own mailbox.
func TestBaresipWatches(t *testing.T) {
	t.Parallel()
	a := startAppliance(t)
	acc := a.account("8001")
	colleagues := a.accounts(8002, 8002)
	dir := t.TempDir()
	control := fmt.Sprintf("127.0.0.1:%d", phonePort(t))
	for name, text := range map[string]string{
		"config": fmt.Sprintf("poll_method epoll\nsip_listen 127.0.0.1:%d\nmodule_path /usr/lib/baresip/modules\nmodule g711.so\nmodule_tmp account.so\n"+
			"module_app contact.so\nmodule_app menu.so\nmodule_app mwi.so\nmodule_app presence.so\nmodule_app ctrl_tcp.so\nctrl_tcp_listen %s\n", phonePort(t), control),
		"accounts": "",
		"contacts": fmt.Sprintf("\"Colleague\" <sip:8002@%s>;presence=p2p\n", acc.Domain),
	} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	p := startProcess(t, dir, "baresip", "-4", "-f", dir, "-v")
	a.eventually(20*time.Second, "baresip listens", func() error {
		c, err := inside(nil)(t.Context(), "tcp", control)
		if err == nil {
			err = c.Close()
		}
		return err
	})
	// Its account comes when it runs: a millisecond after mwi.so is loaded it subscribes once more for every mailbox that it
	// has by then, and for those that this adds, without end (baresip 1.0). A quick answer to its first REGISTER would do that.
	(&softphone{process: p, control: control, account: acc}).do("uanew", fmt.Sprintf("<sip:%s@%s;transport=udp>;auth_user=%s;auth_pass=%s;outbound=\"sip:%s:%d;transport=udp\";mwi=yes;regint=120",
		acc.Extension, acc.Domain, acc.AuthUser, acc.Password, acc.Server, acc.UDPPort))
	says := func(want string) {
		t.Helper()
		a.eventually(20*time.Second, "baresip says "+want, func() error {
			if text := p.output.tail(100000); !strings.Contains(text, want) {
				return fmt.Errorf("it said\n%.3000s", text)
			}
			return nil
		})
	}
	says("Messages-Waiting: no")
	a.eventually(20*time.Second, "baresip knows that the colleague is away", func() error {
		if n := a.metric("linehall_notifies_total", `event="presence"`, `result="delivered"`); n < 1 {
			return fmt.Errorf("%v NOTIFYs delivered", n)
		}
		return nil
	})
	a.registerAll(colleagues, "127.0.0.12", phonePort(t), "u1")
	says("Online") // it tells of changes only
	var status struct {
		Subscriptions map[string]int `json:"subscriptions"`
	}
	a.decode(&status, "status")
	if status.Subscriptions["presence"] != 1 || status.Subscriptions["message-summary"] != 1 {
		t.Errorf("subscriptions %v", status.Subscriptions)
	}
}

// lowly gives a command the lowest priority.
func lowly(command *exec.Cmd) *exec.Cmd {
	command.Args = append([]string{"nice", "-n", "19", command.Path}, command.Args[1:]...)
	command.Path = "/usr/bin/nice"
	return command
}

// The acceptance load of the design: 120 phones with 30 lamps each, calls as fast as the phones can, and every lamp right one second
// after the load ends. The delay that the lamps add is shown beside a run without them. It needs the machine to itself and belongs to
// make soak.
func TestLampsUnderLoad(t *testing.T) {
	if os.Getenv("LINEHALL_SOAK") == "" {
		t.Skip("LINEHALL_SOAK is not set")
	}
	a := startAppliance(t)
	seen := observe(t.Context(), t, uint16(a.ports.sip))
	for _, lamps := range []string{"0", "30"} {
		seen.forget()
		before := a.metric("process_cpu_seconds_total")
		// As if the phones were elsewhere: they take what the appliance leaves of the machine.
		command := lowly(a.lampPhones(t.Context(), "udp", "--calls", "58", "--rate", "50", "--hold", "400ms", "--ring", "50ms", "--duration", "20s",
			"--lamps", lamps, "--allow-failures", "--max-loss", "100"))
		out, err := command.Output()
		if err != nil {
			t.Fatalf("linesim: %v\n%.4000s", err, out)
		}
		var r lampReport
		if err := json.Unmarshal(out, &r); err != nil {
			t.Fatal(err)
		}
		all := r.Calls["all"]
		t.Logf("%s lamps a phone: %.1f calls/s, %d ok, %d failed, to ringing p50 %.2f ms, p99 %.2f ms; %d NOTIFYs, dark after %.0f ms; CPU: ours %.1f s, the phones' %.1f s",
			lamps, r.CallRate, all.OK, all.Failed, all.Alert.P50, all.Alert.P99, r.Lamps.Notifies, r.Lamps.DarkAfter,
			a.metric("process_cpu_seconds_total")-before, (command.ProcessState.UserTime() + command.ProcessState.SystemTime()).Seconds())
		seen.report(t)
		if most, n := seen.quantile(allSteps, 0.99); most > 5*time.Millisecond || n < all.OK*9/10 {
			t.Errorf("the appliance adds %v to %d calls of %d, p99", most, n, all.OK)
		}
		if r.Lamps.Stuck > 0 || len(r.Lamps.Faults) > 0 || r.Lamps.DarkAfter > 1000 {
			t.Errorf("lamps %+v", r.Lamps)
		}
	}
}
