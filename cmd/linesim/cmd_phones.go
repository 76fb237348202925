package main

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"time"

	"github.com/spf13/cobra"

	"linehall/cmd/linesim/appliance"
	"linehall/cmd/linesim/phones"
	"linehall/cmd/linesim/report"
)

// source says where accounts come from; shared by the commands that need some.
type source struct {
	socket, file string
	binds        []string
}

func (s *source) flags(cmd *cobra.Command) {
	f := cmd.Flags()
	f.StringVar(&s.socket, "socket", "", "unix socket of the appliance, DATA/linehall.sock: its active terminals are simulated")
	f.StringVar(&s.file, "credentials", "", "JSON list of terminals with secrets, instead of --socket")
	f.StringArrayVar(&s.binds, "bind", nil, "SITE=SUBNET whose addresses the site's devices use (default: the demo's loopback subnets if the server is on this machine)")
}

func (s *source) terminals(ctx context.Context) ([]appliance.Terminal, error) {
	switch {
	case s.socket != "" && s.file != "":
		return nil, usageError{fmt.Errorf("either --socket or --credentials, not both")}
	case s.socket != "":
		return appliance.FromSocket(ctx, s.socket) // names its source
	case s.file != "":
		return appliance.FromFile(s.file) // names its source
	}
	return nil, usageError{fmt.Errorf("whose phones? give --socket DATA/linehall.sock or --credentials FILE")}
}

func newPhones(logger func() *slog.Logger) *cobra.Command {
	var (
		src           source
		plan          phones.Plan
		pairs         int
		asJSON        bool
		allowFailures bool
	)
	cmd := &cobra.Command{
		Use:   "phones",
		Short: "Register phones and let them call each other with real sound",
		Long: "Registers the appliance's terminals as simulated phones, lets them call each other inside and across sites with\n" +
			"real RTP tones, checks that the right tone arrives at both ends, and reports success, delay, loss and MOS.\n" +
			"With --demo they behave like an office, until interrupted.",
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			terminals, err := src.terminals(cmd.Context())
			if err != nil {
				return err
			}
			binds, err := appliance.ParseBinds(src.binds)
			if err != nil {
				return usageError{err}
			}
			plan.Terminals, plan.Binds, plan.Log = terminals, binds, logger()
			if pairs > 0 {
				plan.Total, plan.Calls = pairs, pairs
			}
			if plan.Demo && plan.Calls == 0 {
				plan.Calls = max(1, len(terminals)/5)
			}
			if plan.Demo && plan.Rate == 0 {
				const comfortable = 2 // new calls per second, so that a demo builds up instead of bursting
				plan.Rate = comfortable
			}
			if plan.Calls > 0 && plan.Duration == 0 && plan.Total == 0 && !plan.Demo {
				return usageError{fmt.Errorf("how long? give --duration, --total or --pairs with --calls")}
			}
			if !asJSON {
				plan.Progress = func(p phones.Progress) {
					report.Line(os.Stderr, "%d of %d phones registered, %d calls now, %d done, %d failed", p.Registered, p.Phones, p.Active, p.Done, p.Failed)
				}
			}
			return finishPhones(cmd, plan, asJSON, allowFailures)
		},
	}
	src.flags(cmd)
	f := cmd.Flags()
	f.IntVar(&plan.Count, "count", 0, "phones to switch on, spread over the sites (0: all)")
	f.IntVar(&pairs, "pairs", 0, "make this many calls, all at once, and stop")
	f.IntVar(&plan.Calls, "calls", 0, "calls at once (0: only register)")
	f.IntVar(&plan.Total, "total", 0, "stop after this many calls")
	f.Float64Var(&plan.Rate, "rate", 0, "new calls per second (0: as many as --calls allows)")
	f.DurationVar(&plan.Hold, "hold", 5*time.Second, "how long a call lasts")
	f.DurationVar(&plan.Ring, "ring", 200*time.Millisecond, "how long the callee rings before it answers")
	f.Float64Var(&plan.Across, "across", 0.5, "share of the calls that go to another site")
	f.DurationVar(&plan.Duration, "duration", 0, "how long new calls are started")
	f.StringVar(&plan.Transport, "transport", "", "udp, tcp, tls or mixed (default: as each account says)")
	f.StringVar(&plan.Server, "server", "", "address of the SIP server, instead of the accounts' server name")
	f.StringVar(&plan.CAFile, "ca", "", "CA certificate for TLS, instead of the accounts' CA file")
	f.DurationVar(&plan.Expires, "expires", time.Hour, "registration lifetime to ask for")
	f.DurationVar(&plan.RegisterWithin, "register-within", 30*time.Second, "all phones must be registered by then")
	f.Float64Var(&plan.MaxLoss, "max-loss", 1, "percent of lost packets above which a call has failed")
	f.IntVar(&plan.Lamps, "lamps", 0, "busy lamps on each phone, which must follow the calls")
	f.BoolVar(&plan.Demo, "demo", false, "behave like an office, until interrupted")
	f.BoolVar(&asJSON, "json", false, "print the report as JSON")
	f.BoolVar(&allowFailures, "allow-failures", false, "exit 0 even if something failed")
	return cmd
}

func finishPhones(cmd *cobra.Command, plan phones.Plan, asJSON, allowFailures bool) error {
	switch plan.Transport {
	case "", "udp", "tcp", "tls", "mixed":
	default:
		return usageError{fmt.Errorf("--transport %q: there are udp, tcp, tls and mixed", plan.Transport)}
	}
	result, err := phones.Run(cmd.Context(), plan)
	if result == nil {
		return err // a plan that could not start
	}
	if asJSON {
		if jsonErr := report.JSON(cmd.OutOrStdout(), result); jsonErr != nil {
			return jsonErr
		}
	} else {
		result.Print(cmd.OutOrStdout())
	}
	if err != nil {
		report.Line(cmd.ErrOrStderr(), "linesim: %v", err)
	}
	if (err != nil || !result.OK) && !allowFailures && !plan.Demo {
		return errFailed
	}
	return nil
}
