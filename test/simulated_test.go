package test

import (
	"context"
	"fmt"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// linesim runs the simulator to its end against the appliance and fails when it found anything wrong.
func (a *appliance) linesim(bound time.Duration, args ...string) string {
	a.t.Helper()
	ctx, cancel := context.WithTimeout(a.t.Context(), bound)
	defer cancel()
	output, err := exec.CommandContext(ctx, filepath.Join(repository, "bin", "linesim"), args...).CombinedOutput()
	if err != nil {
		a.t.Fatalf("linesim %s: %v\n%.5000s", strings.Join(args, " "), err, output)
	}
	return string(output)
}

// Phones over each transport call inside and across sites; each hears the other's own tone in both directions, without loss.
func TestSimulatedPhonesCall(t *testing.T) {
	a := startAppliance(t)
	for _, transport := range []string{"udp", "tcp", "tls"} {
		t.Run(transport, func(t *testing.T) {
			a.t = t
			report := a.linesim(2*time.Minute, "phones", "--socket", filepath.Join(a.data, "linehall.sock"), "--server", "127.0.0.1",
				"--transport", transport, "--count", "24", "--pairs", "8", "--hold", "3s", "--across", "0.6")
			t.Log(report)
		})
	}
}

func (a *appliance) venueLinks(venues ...string) []string {
	a.t.Helper()
	var args []string
	for _, venue := range venues {
		args = append(args, "--link", strings.TrimSpace(a.run("room", "link", "9000", "--venue", venue)))
	}
	return args
}

// Six native venues at full rates: everybody sees everybody at 15 frames/s or more and hears the others.
func TestNativeVenuesMeet(t *testing.T) {
	a := startAppliance(t)
	args := append([]string{"rooms", "--insecure", "--duration", "10s", "--min-rate", "15"}, a.venueLinks("hq", "branch1", "branch2", "branch3", "branch4", "branch5")...)
	// All at headquarters: the lines are another test's business.
	for _, venue := range []string{"hq", "branch1", "branch2", "branch3", "branch4", "branch5"} {
		args = append(args, "--bind", venue+"=127.0.0.0/24")
	}
	t.Log(a.linesim(2*time.Minute, args...))
	if got := a.metric("linehall_sfu_packets_total"); got == 0 {
		t.Error("no forwarded packet was counted")
	}
}

// Venues join and leave two hundred times; afterwards the process is as big as before.
func TestJoinsAndLeavesLeaveNothingBehind(t *testing.T) {
	a := startAppliance(t)
	links := a.venueLinks("hq", "branch1", "branch2", "branch3")
	churn := func(times int) {
		t.Helper()
		a.linesim(4*time.Minute, append([]string{"rooms", "--insecure", "--join-leave", fmt.Sprint(times)}, links...)...)
	}
	churn(5) // what the first joins build for good: pools, tables
	a.eventually(30*time.Second, "nobody is left", func() error {
		if n := a.metric("linehall_conference_participants"); n != 0 {
			return fmt.Errorf("%v participants", n)
		}
		return nil
	})
	goroutines := a.metric("go_goroutines")
	churn(50) // each of the four venues
	a.eventually(45*time.Second, "goroutines are back to where they were", func() error {
		// A few come and go with this test's own requests and idle connections.
		if now := a.metric("go_goroutines"); now > goroutines+6 {
			return fmt.Errorf("%v goroutines, %v before", now, goroutines)
		}
		return nil
	})
}
