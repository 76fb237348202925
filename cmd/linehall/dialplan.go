package main

import (
	"encoding/json"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"linehall/configs"
	"linehall/internal/directory"
	"linehall/internal/site"
	"linehall/sip/dialplan"
)

func newDialplan(f *flags) *cobra.Command {
	explain := &cobra.Command{
		Use: "explain FROM NUMBER", Short: "what happens when extension FROM dials NUMBER, and which step decides", Args: cobra.ExactArgs(2),
		Long: "Works on the configuration files; no appliance has to run.",
		RunE: func(cmd *cobra.Command, args []string) error {
			config, err := f.load()
			if err != nil {
				return showProblems(cmd, err)
			}
			rows := rowsOf(config)
			table, err := site.NewTable(config.SiteList())
			if err != nil {
				return err
			}
			plan, err := dialplan.New(config.Dialplan, table, rows, planOptions(config)...)
			if err != nil {
				return err
			}
			caller, known := rows.ByExtension(args[0])
			if !known {
				return fmt.Errorf("no extension %s in %s", args[0], config.Terminals.File)
			}
			decision := plan.Decide(callerOf(caller), args[1], time.Now())
			if f.json {
				return json.NewEncoder(cmd.OutOrStdout()).Encode(decision)
			}
			for _, step := range decision.Steps {
				fmt.Fprintf(cmd.OutOrStdout(), "%-24s %s\n", step.Rule, step.Result)
			}
			fmt.Fprintf(cmd.OutOrStdout(), "=> %s %s %v\n", decision.Kind, decision.Number, decision.Targets)
			return nil
		},
	}
	cmd := &cobra.Command{Use: "dialplan", Short: "number plan", Args: cobra.NoArgs, RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Usage() }}
	cmd.AddCommand(explain)
	return cmd
}

// fileRows is the directory as the files alone show it: no database, no passwords.
type fileRows struct {
	all         []directory.Terminal
	byExtension map[string]directory.Terminal
}

func rowsOf(config configs.Config) fileRows {
	rows := fileRows{all: terminalsOf(config), byExtension: map[string]directory.Terminal{}}
	for _, terminal := range rows.all {
		rows.byExtension[terminal.Extension] = terminal
	}
	return rows
}

// ByExtension finds a row.
func (r fileRows) ByExtension(extension string) (directory.Terminal, bool) {
	terminal, known := r.byExtension[extension]
	return terminal, known
}

// All lists the rows.
func (r fileRows) All() []directory.Terminal { return r.all }
