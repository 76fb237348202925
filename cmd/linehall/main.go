// Command linehall is the appliance and its operator's tool: `linehall serve` runs it, the other commands look at it and
// change it. This package only reads flags, builds the parts of each domain and joins them: one wire_*.go per domain, one
// adapt_*.go per edge between two domains. Nothing here decides about calls, rooms, lines or phones.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"strings"
	"syscall"

	"github.com/spf13/cobra"

	"linehall/cmd/linehall/operator"
	"linehall/configs"
)

// Exit codes of the contract.
const (
	exitFine    = 0
	exitProblem = 1
	exitUsage   = 2
)

func main() {
	relaxTimers(os.Args[1:])
	os.Exit(execute(os.Args[1:], os.Stdout, os.Stderr))
}

// execute runs one command line and returns its exit code.
func execute(args []string, out, errOut io.Writer) int {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	context.AfterFunc(ctx, stop) // a second Ctrl-C ends the process at once
	root := newRoot()
	root.SetArgs(args)
	root.SetOut(out)
	root.SetErr(errOut)
	return exitCode(root.ExecuteContext(ctx), errOut)
}

// errShown ends a command whose problems were printed already.
var errShown = errors.New("problems were found")

type usageError struct{ error }

func exitCode(err error, errOut io.Writer) int {
	var usage usageError
	switch {
	case err == nil:
		return exitFine
	case errors.Is(err, errShown):
		return exitProblem
	case errors.Is(err, errChanges):
		return exitChanges
	case errors.As(err, &usage), strings.HasPrefix(err.Error(), "unknown command"), strings.HasPrefix(err.Error(), "required flag"):
		fmt.Fprintln(errOut, "linehall:", err)
		return exitUsage
	}
	fmt.Fprintln(errOut, "linehall:", err)
	return exitProblem
}

// flags are the options that every command takes.
type flags struct {
	config, data string
	json         bool
}

// load finds and reads the configuration with the command line's overrides.
func (f *flags) load() (configs.Config, error) {
	options, err := f.options()
	if err != nil {
		return configs.Config{}, err
	}
	return configs.Load(options)
}

func (f *flags) options() (configs.Options, error) {
	path, err := configs.Find(f.config)
	if err != nil {
		return configs.Options{}, err
	}
	options := configs.Options{Path: path}
	if f.data != "" {
		options.Flags = map[string]string{"appliance.data": f.data}
	}
	return options, nil
}

// dataDir is where a running appliance is reached; a broken configuration must not keep an operator from looking at it.
func (f *flags) dataDir() (string, error) {
	if f.data != "" {
		return f.data, nil
	}
	config, err := f.load()
	if err != nil {
		return "", fmt.Errorf("the configuration does not say where the data directory is (name it with --data): %w", err)
	}
	return config.Appliance.Data, nil
}

func newRoot() *cobra.Command {
	f := &flags{}
	root := &cobra.Command{
		Use: "linehall", Short: "telephone exchange and video conference over leased lines",
		SilenceErrors: true, SilenceUsage: true,
	}
	root.PersistentFlags().StringVar(&f.config, "config", "", "configuration file (configs/linehall.yaml, then /etc/linehall/linehall.yaml)")
	root.PersistentFlags().StringVar(&f.data, "data", "", "data directory (appliance.data)")
	root.PersistentFlags().BoolVar(&f.json, "json", false, "print JSON")
	root.SetFlagErrorFunc(func(_ *cobra.Command, err error) error { return usageError{err} })
	root.AddCommand(newServe(f), newHold(), newCheck(f), newDoctor(f), newDialplan(f), newPlan(f), newApply(f), newRollback(f), newVersion(f))
	root.AddCommand(operator.Commands(operator.Settings{DataDir: f.dataDir, JSON: &f.json})...)
	addTerminalFiles(root, f)
	markUsage(root)
	return root
}

// markUsage makes wrong arguments of any command a usage error.
func markUsage(cmd *cobra.Command) {
	if check := cmd.Args; check != nil {
		cmd.Args = func(cmd *cobra.Command, args []string) error {
			if err := check(cmd, args); err != nil {
				return usageError{err}
			}
			return nil
		}
	}
	for _, child := range cmd.Commands() {
		markUsage(child)
	}
}
