package main

import (
	"os"
	"runtime"
	"runtime/debug"
	"slices"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

const (
	// timerSlack is how much later than asked the kernel may wake a thread that sleeps, so that wake-ups coincide. Nothing
	// here needs a timer to the microsecond; packets wake threads at once in any case. Go's monitor thread sleeps 20 us at
	// a time whenever something runs: with the kernel's default of 50 us that was an eighth of a call's CPU.
	timerSlack = 500 * time.Microsecond
	// gcPercent lets the heap grow to four times what lives: some tens of MiB, of which the collector would otherwise
	// walk through several times a second under load.
	gcPercent = 300
)

// relaxTimers starts the program anew with timerSlack, which threads inherit from the one that made them: the monitor
// thread exists before any code of ours. Where that is not possible, the program goes on as it is.
func relaxTimers(args []string) {
	if !slices.Contains(args, "serve") {
		return
	}
	runtime.LockOSThread() // slack is a thread's own, and exec keeps that of its caller
	defer runtime.UnlockOSThread()
	if currentSlack() >= timerSlack || unix.Prctl(unix.PR_SET_TIMERSLACK, uintptr(timerSlack), 0, 0, 0) != nil {
		return
	}
	self, err := os.Executable()
	if err != nil || currentSlack() != timerSlack { // a real-time thread has none: it would start for ever
		return
	}
	_ = syscall.Exec(self, os.Args, os.Environ()) //nolint:gosec // this very program; when it fails we go on
}

func currentSlack() time.Duration {
	slack, err := unix.PrctlRetInt(unix.PR_GET_TIMERSLACK, 0, 0, 0, 0)
	if err != nil {
		return 0
	}
	return time.Duration(slack)
}

// collectLess sets gcPercent, unless the operator has decided.
func collectLess() {
	if os.Getenv("GOGC") == "" {
		debug.SetGCPercent(gcPercent)
	}
}
