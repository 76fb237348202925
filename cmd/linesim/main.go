// Command linesim is the simulated world around an appliance: desk phones that register and talk, venues that meet in
// a room, a phone that is unpacked and provisions itself, and the benches that put numbers beside those of other
// servers. It is built on sipgo and pion directly and imports nothing of the server, so that it cannot share its bugs.
//
//	linesim phones --socket data/linehall.sock --calls 20 --hold 10s --duration 1m
//	linesim rooms --link 'https://localhost:8443/room/9000#venue=hq&token=...' --ca data/pki/root.pem
//	linesim phone --brand yealink --mac 80:5e:c0:58:c7:11 --server 127.0.0.1
//	linesim bench relay --server linehall
//
// Exit status: 0 all went well, 1 something failed, 2 wrong usage.
package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/signal"
	"syscall"

	"github.com/spf13/cobra"

	"linehall/cmd/linesim/report"
)

// errFailed says that the run took place and its result is bad; the result has been printed already.
var errFailed = errors.New("the run failed")

// usageError marks errors of the command line.
type usageError struct{ error }

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	os.Exit(run(ctx, os.Args[1:])) //nolint:gocritic // stop only unregisters the signals of a process that ends here
}

func run(ctx context.Context, args []string) int {
	root := newRoot()
	root.SetArgs(args)
	err := root.ExecuteContext(ctx)
	var usage usageError
	switch {
	case err == nil:
		return 0
	case errors.Is(err, errFailed):
		return 1
	case errors.As(err, &usage):
		report.Line(os.Stderr, "linesim: %v", err)
		return 2
	}
	report.Line(os.Stderr, "linesim: %v", err)
	return 1
}

func newRoot() *cobra.Command {
	root := &cobra.Command{
		Use: "linesim", Short: "Simulated phones and rooms, and benches", SilenceUsage: true, SilenceErrors: true,
		Args: func(cmd *cobra.Command, args []string) error {
			if len(args) > 0 {
				return usageError{fmt.Errorf("unknown command %q; see %s --help", args[0], cmd.CommandPath())}
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, _ []string) error {
			return usageError{fmt.Errorf("say what to simulate; see %s --help", cmd.CommandPath())}
		},
	}
	root.SetFlagErrorFunc(func(_ *cobra.Command, err error) error { return usageError{err} })
	verbose := root.PersistentFlags().BoolP("verbose", "v", false, "say what happens, on standard error")
	logger := func() *slog.Logger {
		level := slog.LevelWarn
		if *verbose {
			level = slog.LevelDebug
		}
		return slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: level}))
	}
	root.AddCommand(newPhones(logger), newRooms(logger), newPhone(logger), newUnpack(logger), newBench(logger), newBare())
	return root
}
