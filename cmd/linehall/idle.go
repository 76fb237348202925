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
	// timeSlice is how long one of our threads may run while another program's waits, and with it how soon it is let in: the
	// scheduler (EEVDF, from Linux 6.12) gives way at once to who asks for less time, and otherwise only at its next tick,
	// 4 ms later where that ticks 250 times a second. A message or a packet of voice needs some tens of microseconds.
	timeSlice = 300 * time.Microsecond
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
	shortenSlice()
	if currentSlack() >= timerSlack || unix.Prctl(unix.PR_SET_TIMERSLACK, uintptr(timerSlack), 0, 0, 0) != nil {
		return
	}
	self, err := os.Executable()
	if err != nil || currentSlack() != timerSlack { // a real-time thread has none: it would start for ever
		return
	}
	_ = syscall.Exec(self, os.Args, os.Environ()) //nolint:gosec // this very program; when it fails we go on
}

// shortenSlice asks for timeSlice, if the operator has given us no other class or slice. Threads inherit it as well, and an
// older kernel does not mind.
func shortenSlice() {
	attr, err := unix.SchedGetAttr(0, 0)
	if err != nil || attr.Policy != unix.SCHED_NORMAL {
		return
	}
	attr.Runtime = uint64(timeSlice)
	_ = unix.SchedSetAttr(0, attr, 0)
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
