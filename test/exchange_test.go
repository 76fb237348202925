package test

import (
	"fmt"
	"os"
	"strconv"
	"testing"
	"time"
)

// accounts returns the secrets of the demo's extensions of one site.
func (a *appliance) accounts(first, last int) []account {
	a.t.Helper()
	accounts := make([]account, 0, last-first+1)
	for extension := first; extension <= last; extension++ {
		accounts = append(accounts, a.account(strconv.Itoa(extension)))
	}
	return accounts
}

// registered counts the terminals that the appliance shows as registered.
func (a *appliance) registered() int {
	a.t.Helper()
	var list struct {
		Terminals []struct {
			Registered bool `json:"registered"`
		} `json:"terminals"`
	}
	a.decode(&list, "terminal", "list")
	count := 0
	for _, terminal := range list.Terminals {
		if terminal.Registered {
			count++
		}
	}
	return count
}

func TestRegistrationOverUDPAndTCP(t *testing.T) {
	t.Parallel()
	a := startAppliance(t)
	for i, transport := range []string{"u1", "t1"} {
		extension := strconv.Itoa(8001 + i)
		acc := a.account(extension)
		wrong := [][]string{{acc.Extension, credentials(acc.AuthUser, "not-"+acc.Password), acc.Domain}}
		if successful, failed := a.sipp(sippRun{scenario: "register_refused", bind: "127.0.0.1", port: phonePort(t), transport: transport, rows: wrong, calls: 1}); successful != 1 || failed != 0 {
			t.Errorf("%s: a wrong password was not refused", transport)
		}
		if got := a.registered(); got != i {
			t.Fatalf("%s: %d registered after a refused registration, want %d", transport, got, i)
		}
		a.registerAll([]account{acc}, "127.0.0.1", phonePort(t), transport)
		if got := a.registered(); got != i+1 {
			t.Fatalf("%s: %d registered, want %d", transport, got, i+1)
		}
	}
}

// A power cut ends and 120 phones come back at once, each with a challenge: all bound within two seconds.
func TestRegistrationStorm(t *testing.T) {
	a := startAppliance(t)
	accounts := append(a.accounts(8001, 8070), a.accounts(2001, 2010)...)
	for first := 3001; first <= 6001; first += 1000 {
		accounts = append(accounts, a.accounts(first, first+9)...)
	}
	begin := time.Now()
	a.registerAll(accounts, "127.0.0.1", phonePort(t), "u1")
	took := time.Since(begin)
	a.eventually(2*time.Second, "120 phones are bound", func() error {
		if got := a.metric("linehall_sip_registered_bindings"); got != 120 {
			return fmt.Errorf("%v bindings", got)
		}
		return nil
	})
	t.Logf("120 phones, 240 REGISTERs with digest: %v including the client's start", took.Round(time.Millisecond))
	// Two seconds for the storm and one for starting and ending the client program.
	if took > 3*time.Second {
		t.Errorf("the storm took %v", took)
	}
}

// callLoad runs calls from headquarters' phones to phones of bind's site and fails on any failed call.
func callLoad(t *testing.T, a *appliance, transport, calleeBind string, calleeFirst int, rate float64, calls int, hold time.Duration) {
	t.Helper()
	const phones = 10
	callers, callees := a.accounts(8001, 8000+phones), a.accounts(calleeFirst, calleeFirst+phones-1)
	callerPort, calleePort := phonePort(t), phonePort(t)
	a.registerAll(callers, "127.0.0.1", callerPort, transport)
	a.registerAll(callees, calleeBind, calleePort, transport)
	dir := t.TempDir()
	uas := sippRun{scenario: "uas", bind: calleeBind, port: calleePort, transport: transport, calls: calls}
	command := uas.command(t.Context(), t, dir, fmt.Sprintf("127.0.0.1:%d", a.ports.sip))
	phone := startProcess(t, dir, command.Path, command.Args[1:]...)
	rows := make([][]string, 0, phones)
	for i, caller := range callers {
		rows = append(rows, []string{caller.Extension, credentials(caller.AuthUser, caller.Password), caller.Domain, callees[i].Extension})
	}
	successful, failed := a.sipp(sippRun{
		scenario: "uac", bind: "127.0.0.1", port: callerPort, transport: transport, rows: rows,
		calls: calls, rate: rate, hold: hold, limit: 4 * calls,
	})
	if failed != 0 || successful != calls {
		t.Errorf("%d of %d calls went well, %d failed", successful, calls, failed)
	}
	if code := phone.wait(30 * time.Second); code != 0 {
		t.Errorf("the answering side ended with %d", code)
	}
	a.eventually(5*time.Second, "no call is left", func() error {
		if left := a.metric("linehall_calls_active"); left != 0 {
			return fmt.Errorf("%v calls", left)
		}
		return nil
	})
}

func TestCallsInsideASite(t *testing.T) {
	for _, transport := range []string{"u1", "t1"} {
		t.Run(transport, func(t *testing.T) {
			callLoad(t, startAppliance(t), transport, "127.0.0.1", 8011, 20, 100, 500*time.Millisecond)
		})
	}
}

// Calls to the 20 Mbit/s branch: 50 calls/s of 300 ms are at most 15 at once, which fit its line.
func TestCallsAcrossSites(t *testing.T) {
	a := startAppliance(t)
	seconds := 10
	if os.Getenv("LINEHALL_SOAK") != "" {
		seconds = 60
	}
	callLoad(t, a, "u1", "127.0.5.9", 6001, 50, 50*seconds, 300*time.Millisecond)
	var export struct {
		CDRs []struct {
			Result string `json:"result"`
			Path   string `json:"path"`
			ToSite string `json:"to_site"`
		} `json:"cdrs"`
	}
	a.eventually(5*time.Second, "every call is on record", func() error {
		a.decode(&export, "cdr", "export")
		if len(export.CDRs) != 50*seconds {
			return fmt.Errorf("%d records for %d calls", len(export.CDRs), 50*seconds)
		}
		return nil
	})
	for _, record := range export.CDRs {
		if record.Result != "answered" || record.Path != "relay" || record.ToSite != "branch5" {
			t.Fatalf("a record says %+v", record)
		}
	}
}

func TestSoakCallsAcrossSites(t *testing.T) {
	if os.Getenv("LINEHALL_SOAK") == "" {
		t.Skip("runs under make soak: 50 calls/s for 60 s")
	}
	TestCallsAcrossSites(t)
}

// Ten thousand calls leave nothing behind: no goroutine, no memory. The calls before them fill pools and tables that stay.
func TestSoakTenThousandCalls(t *testing.T) {
	if os.Getenv("LINEHALL_SOAK") == "" {
		t.Skip("runs under make soak: 10,000 calls, and the time until the memory is back")
	}
	a := startAppliance(t)
	callLoad(t, a, "u1", "127.0.0.1", 8011, 50, 1000, 300*time.Millisecond)
	heap, goroutines := a.settledHeap(), a.metric("go_goroutines")
	for _, callees := range []int{8021, 8031} { // SIPp runs for three minutes at most
		callLoad(t, a, "u1", "127.0.0.1", callees, 50, 5000, 300*time.Millisecond)
	}
	after := a.settledHeap()
	t.Logf("live heap %.1f MiB, then %.1f MiB; %v goroutines before", heap/(1<<20), after/(1<<20), goroutines)
	if after > 1.1*heap {
		t.Errorf("the heap grew from %.0f to %.0f bytes", heap, after)
	}
	a.eventually(time.Minute, "no goroutine is left", func() error { // one that has just worked waits ten seconds for more
		if left := a.metric("go_goroutines"); left > goroutines {
			return fmt.Errorf("%v goroutines, %v before", left, goroutines)
		}
		return nil
	})
}
