package main

import (
	"encoding/json"
	"fmt"

	"github.com/spf13/cobra"

	"linehall/cmd/linehall/doctor"
)

func newDoctor(f *flags) *cobra.Command {
	return &cobra.Command{
		Use: "doctor", Short: "look for what would keep this machine from serving well, and say how to mend it", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			config, err := f.load()
			if err != nil {
				return showProblems(cmd, err)
			}
			findings := doctor.Examine(cmd.Context(), config)
			if f.json {
				if err := json.NewEncoder(cmd.OutOrStdout()).Encode(map[string]any{"findings": findings}); err != nil {
					return err
				}
			} else {
				for _, finding := range findings {
					fmt.Fprintln(cmd.OutOrStdout(), finding)
				}
			}
			if doctor.Worst(findings) == doctor.Bad {
				return errShown
			}
			return nil
		},
	}
}
