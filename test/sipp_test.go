package test

import (
	"bytes"
	"context"
	"encoding/csv"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"
)

// sippRun is one SIPp process: a scenario of test/sipp with a row of fields per call.
type sippRun struct {
	scenario  string
	bind      string // own address, which is also what places the phone in a site
	port      int
	transport string // u1, t1 (one socket for all calls)
	rows      [][]string
	calls     int
	rate      float64
	hold      time.Duration
	limit     int // most calls at once, 0 for SIPp's own choice
}

// command builds the SIPp command line; the fields go to a file in dir.
func (r sippRun) command(ctx context.Context, t *testing.T, dir, target string) *exec.Cmd {
	t.Helper()
	scenario, err := filepath.Abs(filepath.Join("sipp", r.scenario+".xml"))
	if err != nil {
		t.Fatal(err)
	}
	args := []string{target, "-sf", scenario, "-i", r.bind, "-p", strconv.Itoa(r.port), "-t", r.transport, "-m", strconv.Itoa(r.calls), "-nostdin", "-trace_err", "-recv_timeout", "40000", "-timeout", "180s", "-timeout_error"}
	if r.rate > 0 {
		args = append(args, "-r", strconv.FormatFloat(r.rate, 'f', -1, 64))
	}
	if r.limit > 0 {
		args = append(args, "-l", strconv.Itoa(r.limit))
	}
	if r.hold > 0 {
		args = append(args, "-d", strconv.FormatInt(r.hold.Milliseconds(), 10))
	}
	args = append(args, "-mp", strconv.Itoa(mediaPort(t, r.bind)))
	if r.rows != nil {
		file := filepath.Join(dir, "fields.csv")
		var text bytes.Buffer
		text.WriteString("SEQUENTIAL\n")
		for _, row := range r.rows {
			text.WriteString(strings.Join(row, ";") + "\n")
		}
		if err := os.WriteFile(file, text.Bytes(), 0o600); err != nil {
			t.Fatal(err)
		}
		args = append(args, "-inf", file)
	}
	command := exec.CommandContext(ctx, "sipp", args...)
	command.Dir = dir
	return command
}

// sipp runs a scenario to its end and returns its final counts; it does not judge them.
func (a *appliance) sipp(r sippRun) (successful, failed int) {
	a.t.Helper()
	ctx, cancel := context.WithTimeout(a.t.Context(), 3*time.Minute)
	defer cancel()
	dir := a.t.TempDir()
	command := r.command(ctx, a.t, dir, fmt.Sprintf("127.0.0.1:%d", a.ports.sip))
	stats := filepath.Join(dir, "stats.csv")
	command.Args = append(command.Args, "-trace_stat", "-stf", stats, "-fd", "1")
	output, err := command.CombinedOutput()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		a.t.Fatalf("sipp %s: %v", r.scenario, err)
	}
	successful, failed = sippCounts(a.t, stats)
	if failed > 0 || successful != r.calls {
		errorsOf, _ := filepath.Glob(filepath.Join(dir, "*errors*"))
		for _, file := range errorsOf {
			text, _ := os.ReadFile(file)
			a.t.Logf("sipp %s, errors: %.3000s", r.scenario, text)
		}
		if len(errorsOf) == 0 {
			a.t.Logf("sipp %s: %v\n%.2000s", r.scenario, err, output)
		}
	}
	return successful, failed
}

func sippCounts(t *testing.T, file string) (successful, failed int) {
	t.Helper()
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatalf("sipp statistics: %v", err)
	}
	reader := csv.NewReader(bytes.NewReader(text))
	reader.Comma, reader.FieldsPerRecord = ';', -1
	records, err := reader.ReadAll()
	if err != nil || len(records) < 2 {
		t.Fatalf("sipp statistics: %v, %d rows", err, len(records))
	}
	last := records[len(records)-1]
	for i, name := range records[0] {
		switch name {
		case "SuccessfulCall(C)":
			successful, _ = strconv.Atoi(last[i])
		case "FailedCall(C)":
			failed, _ = strconv.Atoi(last[i])
		}
	}
	return successful, failed
}

// credentials is the SIPp macro that answers a challenge.
func credentials(user, password string) string {
	return fmt.Sprintf("[authentication username=%s password=%s]", user, password)
}

// registerAll registers each account with a contact at the given port, all in one burst.
func (a *appliance) registerAll(accounts []account, bind string, port int, transport string) {
	a.t.Helper()
	rows := make([][]string, 0, len(accounts))
	for _, acc := range accounts {
		rows = append(rows, []string{acc.Extension, credentials(acc.AuthUser, acc.Password), acc.Domain, strconv.Itoa(port)})
	}
	successful, failed := a.sipp(sippRun{scenario: "register", bind: bind, port: port, transport: transport, rows: rows, calls: len(rows), rate: float64(10 * len(rows))})
	if failed != 0 || successful != len(accounts) {
		a.t.Fatalf("registered %d of %d, %d failed", successful, len(accounts), failed)
	}
}
