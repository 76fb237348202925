package call_test

import (
	"bytes"
	"context"
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"sync/atomic"
	"testing"
	"time"

	"linehall/sip/call"
	"linehall/sip/cdr"
)

// sippPhone is a SIPp process at an address of its own.
type sippPhone struct {
	x       *exchange
	ext, ip string
	port    int
	inf     string
}

const firstSIPpPort, sippPorts = 12000, 8000

var nextSIPpPort atomic.Uint32 //nolint:gochecknoglobals // no test of a process gets the port of another one

func init() { nextSIPpPort.Store(rand.Uint32N(sippPorts)) } //nolint:gochecknoinits // processes begin at different ports

// sippPort is the first of four ports in a row that nobody has at an address: below the ephemeral range and the relay's,
// so that sockets of other programs cannot take it between two runs of SIPp, and given to no two tests of this process.
func sippPort(t *testing.T, ip string) int {
	t.Helper()
next:
	for range sippPorts / 4 {
		port := firstSIPpPort + int(4*nextSIPpPort.Add(1)%sippPorts)
		for i := range 4 {
			c, err := net.ListenUDP("udp4", &net.UDPAddr{IP: net.ParseIP(ip), Port: port + i})
			if err != nil {
				continue next
			}
			_ = c.Close()
		}
		return port
	}
	t.Fatal("no port is free")
	return 0
}

// newSIPp prepares a SIPp phone that calls number; it registers at once.
func newSIPp(t *testing.T, x *exchange, ext, ip, number string) *sippPhone {
	t.Helper()
	p := &sippPhone{x: x, ext: ext, ip: ip, port: sippPort(t, ip), inf: filepath.Join(t.TempDir(), "inf.csv")}
	password := must[string](t)(x.people.Password(t.Context(), ext))
	line := fmt.Sprintf("SEQUENTIAL\n%s;[authentication username=%s password=%s];%s\n", ext, ext, password, number)
	if err := os.WriteFile(p.inf, []byte(line), 0o600); err != nil {
		t.Fatal(err)
	}
	p.run(t, "register", 1, 1)()
	return p
}

// run starts a scenario; what it returns waits for the end and checks it.
func (p *sippPhone) run(t *testing.T, scenario string, calls, rate int) func() {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), time.Duration(15+calls/rate)*time.Second)
	path, err := filepath.Abs(filepath.Join("testdata", "sipp", scenario+".xml"))
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(ctx, "sipp", p.x.ports["UDP"], //nolint:gosec // our own scenario
		"-sf", path, "-inf", p.inf, "-i", p.ip, "-p", strconv.Itoa(p.port), "-m", strconv.Itoa(calls), "-r", strconv.Itoa(rate), "-l", strconv.Itoa(rate*4+4),
		"-nostdin", "-mp", strconv.Itoa(sippPort(t, p.ip)), "-timeout", strconv.Itoa(10+calls/rate), "-trace_err", "-error_file", "errors")
	cmd.Dir = t.TempDir()
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	return func() {
		t.Helper()
		defer cancel()
		if err := cmd.Wait(); err != nil {
			text := out.String()
			raw, _ := os.ReadFile(filepath.Join(cmd.Dir, "errors")) // only there when something went wrong
			t.Errorf("sipp %s: %v\n%s\n%s", scenario, err, text[max(0, len(text)-2500):], raw[:min(len(raw), 3000)])
		}
	}
}

// The acceptance load, 50 calls/s for a minute, without one failure. It takes more than a minute
// and belongs to make soak.
func TestSIPpLoad(t *testing.T) {
	if os.Getenv("LINEHALL_SOAK") == "" {
		t.Skip("LINEHALL_SOAK is not set")
	}
	calls, rate := 3000, 50
	if v := os.Getenv("LINEHALL_SOAK_CALLS"); v != "" {
		calls, _ = strconv.Atoi(v)
	}
	x := newExchange(t, labOptions{limits: call.Limits{PerTerminal: 1000}, line: 1_000_000_000})
	b, a := newSIPp(t, x, "2001", "127.0.1.31", "8001"), newSIPp(t, x, "8001", "127.0.0.31", "2001")
	callee := b.run(t, "callee", calls, rate)
	a.run(t, "caller", calls, rate)()
	callee()
	eventually(t, "all records", func() bool {
		records, err := x.records.Query(t.Context(), cdr.Filter{Limit: cdr.MaxLimit})
		return err == nil && len(records) == calls
	})
	families, err := x.reg.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range families {
		if f.GetName() == "linehall_call_setup_seconds" {
			t.Log(f.GetMetric()[0].GetHistogram())
		}
	}
}

// Another implementation's phones, in every way in which a call can go.
func TestSIPp(t *testing.T) {
	if testing.Short() {
		t.Skip("short")
	}
	if _, err := exec.LookPath("sipp"); err != nil {
		t.Skip("sipp is not installed")
	}
	for _, tt := range []struct {
		caller, callee string
		calls, rate    int
		result         string
		limits         call.Limits
	}{
		{"caller", "callee", 100, 50, cdr.Answered, call.Limits{}},
		{"caller_hold", "callee_held", 20, 10, cdr.Answered, call.Limits{}},
		{"caller_late_offer", "callee", 20, 10, cdr.Answered, call.Limits{}},
		{"caller_cancel", "callee_rings", 20, 10, cdr.Cancelled, call.Limits{}},
		{"caller_early_cancel", "callee_rings_late", 20, 10, cdr.Cancelled, call.Limits{}},
		{"caller_486", "callee_busy", 20, 10, cdr.Busy, call.Limits{}},
		{"caller_480", "callee_rings", 20, 10, cdr.NoAnswer, call.Limits{Ring: 300 * time.Millisecond}},
		{"caller_prack", "callee_prack", 20, 10, cdr.Answered, call.Limits{}},
		{"caller", "callee_prack", 10, 10, cdr.Answered, call.Limits{}},
		{"caller", "callee_422", 10, 10, cdr.Answered, call.Limits{}},
		{"caller_long", "callee_refreshed", 10, 10, cdr.Answered, call.Limits{SessionExpires: 2 * time.Second, MinSE: time.Second}},
	} {
		t.Run(tt.caller+" "+tt.callee, func(t *testing.T) {
			t.Parallel()
			tt.limits.PerTerminal = 1000
			x := newExchange(t, labOptions{limits: tt.limits, line: 100_000_000})
			b := newSIPp(t, x, "2001", "127.0.1.31", "8001")
			a := newSIPp(t, x, "8001", "127.0.0.31", "2001")
			callee := b.run(t, tt.callee, tt.calls, tt.rate)
			a.run(t, tt.caller, tt.calls, tt.rate)()
			callee()
			var records []cdr.Record
			eventually(t, "all records", func() bool {
				var err error
				records, err = x.records.Query(t.Context(), cdr.Filter{Limit: 1000})
				return err == nil && len(records) >= tt.calls
			})
			for _, r := range records {
				if r.Result != tt.result {
					t.Fatalf("record %+v", r)
				}
			}
			eventually(t, "the line is free", func() bool { return x.ledger.Snapshot()[0].Reserved == 0 })
		})
	}
}

// Another implementation's gateway, which checks our digest itself (RFC 7616).
func TestSIPpGateway(t *testing.T) {
	if testing.Short() {
		t.Skip("short")
	}
	if _, err := exec.LookPath("sipp"); err != nil {
		t.Skip("sipp is not installed")
	}
	p, a, _ := newTrunk(t, labOptions{}, 0)
	s := &sippPhone{x: p.x, ip: "127.0.9.31", port: sippPort(t, "127.0.9.31"), inf: filepath.Join(t.TempDir(), "inf.csv")}
	if err := os.WriteFile(s.inf, []byte("SEQUENTIAL\n-\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	p.mu.Lock()
	p.gateways = []*phone{{ext: "gw1", transport: "UDP", local: net.JoinHostPort(s.ip, strconv.Itoa(s.port))}}
	p.mu.Unlock()
	gateway := s.run(t, "gateway_challenges", 1, 1)
	a.invite("013800000000", sdpFrom(a.local))
	ok := a.status("INVITE", 200)
	d := a.dialogOfCaller(ok)
	d.send("ACK", "")
	d.send("BYE", "")
	a.status("BYE", 200)
	gateway()
	p.wantReports(t, "pstn gw1 200")
}
