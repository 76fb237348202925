package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"runtime"

	"github.com/spf13/cobra"

	"linehall/configs"
)

func newCheck(f *flags) *cobra.Command {
	return &cobra.Command{
		Use: "check", Short: "read the configuration and name every mistake with file, line and column", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			options, err := f.options()
			if err != nil {
				return err
			}
			problems := configs.Check(options)
			if f.json {
				if problems == nil {
					problems = []configs.Problem{}
				}
				if err := json.NewEncoder(cmd.OutOrStdout()).Encode(map[string]any{"problems": problems}); err != nil {
					return err
				}
			} else {
				printProblems(cmd, problems)
			}
			if len(problems) > 0 {
				return errShown
			}
			return nil
		},
	}
}

func printProblems(cmd *cobra.Command, problems []configs.Problem) {
	if len(problems) == 0 {
		fmt.Fprintln(cmd.OutOrStdout(), "the configuration is fine")
		return
	}
	for _, problem := range problems {
		fmt.Fprintln(cmd.OutOrStdout(), problem)
	}
	fmt.Fprintf(cmd.ErrOrStderr(), "%d problems\n", len(problems))
}

// showProblems prints a configuration's problems one per line; other errors pass.
func showProblems(cmd *cobra.Command, err error) error {
	var broken *configs.Error
	if !errors.As(err, &broken) {
		return err
	}
	printProblems(cmd, broken.Problems)
	return errShown
}

func newVersion(f *flags) *cobra.Command {
	return &cobra.Command{
		Use: "version", Short: "version of this binary", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if f.json {
				return json.NewEncoder(cmd.OutOrStdout()).Encode(map[string]string{"version": version, "go": runtime.Version()})
			}
			_, err := fmt.Fprintf(cmd.OutOrStdout(), "linehall %s (%s)\n", version, runtime.Version())
			return err
		},
	}
}

// version is set by the linker (see the Makefile); nothing writes to it.
var version = "dev"
