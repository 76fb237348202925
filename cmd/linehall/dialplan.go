package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"linehall/cmd/linehall/operator"
	"linehall/configs"
	"linehall/internal/directory"
	"linehall/internal/site"
	"linehall/sip/dialplan"
	"linehall/web/api"
)

func newDialplan(f *flags) *cobra.Command {
	q, at, running := api.ExplainQuery{}, "", false
	explainCmd := &cobra.Command{
		Use: "explain FROM NUMBER | explain --trunk NAME NUMBER", Args: cobra.RangeArgs(1, 2),
		Short: "what happens when extension FROM dials NUMBER, or somebody outside does, and which step decides",
		Long: "Works on the configuration files; no appliance has to run. With --running the plan in use by the running appliance answers.\n\n" +
			"  linehall dialplan explain 8001 013800000000\n" +
			"  linehall dialplan explain --trunk provider 04715550000 --at \"2026-10-01 09:00\"",
		RunE: func(cmd *cobra.Command, args []string) error {
			if (q.Trunk != "") != (len(args) == 1) {
				return usageError{errors.New("name FROM and NUMBER, or --trunk and NUMBER")}
			}
			q.Number = args[len(args)-1]
			if q.Trunk == "" {
				q.From = args[0]
			}
			config, err := f.load()
			if err != nil && !running {
				return showProblems(cmd, err)
			}
			if q.At, err = parseMoment(at, config.Zone()); err != nil {
				return usageError{err}
			}
			if running {
				settings := operator.Settings{DataDir: f.dataDir, JSON: &f.json}
				return operator.Explain(cmd, settings, operator.Question{From: q.From, Trunk: q.Trunk, Caller: q.Caller, Number: q.Number, At: q.At})
			}
			return explainFiles(cmd, f.json, config, q)
		},
	}
	explainCmd.Flags().StringVar(&q.Trunk, "trunk", "", "the call comes from outside over this trunk")
	explainCmd.Flags().StringVar(&q.Caller, "caller", "", "number of the outside caller, with --trunk")
	explainCmd.Flags().StringVar(&at, "at", "", "moment in the organisation's time zone, like \"2026-10-01 09:00\"; now when absent")
	explainCmd.Flags().BoolVar(&running, "running", false, "ask the running appliance instead of the files")
	cmd := &cobra.Command{Use: "dialplan", Short: "number plan", Args: cobra.NoArgs, RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Usage() }}
	cmd.AddCommand(explainCmd)
	return cmd
}

// explainFiles answers from the files alone.
func explainFiles(cmd *cobra.Command, asJSON bool, config configs.Config, q api.ExplainQuery) error {
	table, err := site.NewTable(config.SiteList())
	if err != nil {
		return err
	}
	rows := rowsOf(config)
	plan, err := dialplan.New(config.Dialplan, table, rows, planOptions(config)...)
	if err != nil {
		return err
	}
	decision, err := explain(plan, rows, q)
	if err != nil {
		return fmt.Errorf("%w in %s", err, config.Terminals.File)
	}
	shown := shownDecision(decision)
	shown.Limits = limitsOf(plan, nil, q.From, classOf(rows, q.From), decision)
	body, err := json.Marshal(shown)
	if err != nil {
		return err
	}
	if asJSON {
		_, err = fmt.Fprintln(cmd.OutOrStdout(), string(body))
		return err
	}
	return operator.PrintDecision(cmd.OutOrStdout(), body)
}

// parseMoment reads a moment as people write it, or with its own time zone.
func parseMoment(text string, zone *time.Location) (time.Time, error) {
	if text == "" {
		return time.Time{}, nil
	}
	for _, layout := range []string{"2006-01-02 15:04", "2006-01-02T15:04", time.RFC3339} {
		if at, err := time.ParseInLocation(layout, text, zone); err == nil {
			return at, nil
		}
	}
	return time.Time{}, fmt.Errorf("%q is no moment; write it like \"2026-10-01 09:00\"", text)
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
