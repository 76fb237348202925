package main

import (
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"linehall/cmd/linesim/bench"
	"linehall/cmd/linesim/report"
)

func newBench(func() *slog.Logger) *cobra.Command {
	var (
		suite   bench.Suite
		out     string
		asJSON  bool
		quick   bool
		servers []string
	)
	cmd := &cobra.Command{
		Use:       "bench [register|call|relay|relay-peak|kernel|srtp|sfu|sfu-broadcast|all]",
		Short:     "CPU and delay of the appliance beside other servers, in one interleaved run",
		ValidArgs: append(bench.Names(), "all"),
		Long: "Starts each server with a configuration of its own, loads all alike, interleaved, and prints medians and ratios.\n" +
			"CPU is the server's own. A server that is not installed is an error. Nothing else should run meanwhile.",
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) != 1 || (args[0] != "all" && !slices.Contains(bench.Names(), args[0])) {
				return usageError{fmt.Errorf("which bench? %s or all", strings.Join(bench.Names(), ", "))}
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			suite.Servers = servers
			suite.Progress = func(line string) { report.Line(os.Stderr, "%s", line) }
			const warm = 3 * time.Second
			times(&suite, warm, suite.Relay.Measure)
			suite.Urgent = !quick
			if quick {
				suite.Repetitions = 1
				times(&suite, time.Second, 4*time.Second)
			}
			var names []string
			if args[0] != "all" {
				names = args
			}
			result, err := suite.Run(cmd.Context(), names...)
			if result == nil {
				return err // nothing was measured
			}
			return publish(cmd, result, err, out, asJSON)
		},
	}
	f := cmd.Flags()
	f.StringSliceVar(&servers, "server", nil, "only these servers: linehall, kamailio, sipgo, linehall-tick, linehall-kernel, routed, rtpengine, c, janus, direct (default: all that do the work)")
	f.StringVar(&suite.Peers.Linehall, "linehall", besideSelf("linehall"), "the appliance's binary")
	f.IntVar(&suite.Peers.Accounts, "accounts", 120, "users per site (at least as many as --calls)")
	f.IntVar(&suite.Repetitions, "repetitions", 3, "runs of each server; medians are taken of them")
	f.Float64Var(&suite.Register.Rate, "register-rate", 500, "registrations per second")
	f.Float64Var(&suite.Call.Rate, "call-rate", 50, "calls per second")
	f.DurationVar(&suite.Call.Hold, "hold", time.Second, "how long a call of the call bench lasts")
	f.IntVar(&suite.Relay.Calls, "calls", 120, "calls of the relay benches")
	f.IntVar(&suite.SFU.Members, "members", 6, "venues of the sfu bench (at most 63)")
	f.IntVar(&suite.SFU.Viewers, "viewers", 50, "viewers of the sfu-broadcast bench (at most 62)")
	f.DurationVar(&suite.Relay.Measure, "measure", 20*time.Second, "how long each run is measured")
	f.BoolVar(&quick, "quick", false, "one short run of each: to see that it works, not to publish")
	f.StringVar(&out, "out", "", "also write the JSON report to this file")
	f.BoolVar(&asJSON, "json", false, "print the report as JSON")
	return cmd
}

// newBare is the server that the register bench starts to know sipgo's own share.
func newBare() *cobra.Command {
	return &cobra.Command{
		Use: "bare ADDRESS", Short: "a registrar of a few lines on sipgo, for the register bench", Hidden: true, Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error { return bench.Bare(cmd.Context(), args[0]) },
	}
}

// times sets how long all benches warm up and measure.
func times(s *bench.Suite, warm, measure time.Duration) {
	s.Register.Warm, s.Call.Warm, s.Relay.Warm, s.SFU.Warm = warm, warm, warm, warm
	s.Register.Measure, s.Call.Measure, s.Relay.Measure, s.SFU.Measure = measure, measure, measure, measure
}

func publish(cmd *cobra.Command, result *bench.Report, err error, out string, asJSON bool) error {
	if out != "" && len(result.Runs) > 0 {
		if mkErr := os.MkdirAll(filepath.Dir(out), 0o755); mkErr != nil {
			return fmt.Errorf("report: %w", mkErr)
		}
		file, createErr := os.Create(out)
		if createErr != nil {
			return fmt.Errorf("report: %w", createErr)
		}
		if jsonErr := report.JSON(file, result); jsonErr != nil {
			return jsonErr
		}
		if closeErr := file.Close(); closeErr != nil {
			return fmt.Errorf("report: %w", closeErr)
		}
	}
	if asJSON {
		if jsonErr := report.JSON(cmd.OutOrStdout(), result); jsonErr != nil {
			return jsonErr
		}
	} else if len(result.Medians) > 0 {
		result.Print(cmd.OutOrStdout())
	}
	if err != nil {
		report.Line(cmd.ErrOrStderr(), "linesim: %v", err)
		return errFailed
	}
	return nil
}

// besideSelf is where `make build` puts the other binary.
func besideSelf(name string) string {
	self, err := os.Executable()
	if err != nil {
		return name
	}
	return filepath.Join(filepath.Dir(self), name)
}
