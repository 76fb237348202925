package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"strconv"
	"time"

	"github.com/jedib0t/go-pretty/v6/table"
	"github.com/spf13/cobra"

	"linehall/cmd/linehall/doctor"
	"linehall/cmd/linehall/operator"
	"linehall/configs"
	"linehall/internal/database"
	"linehall/internal/secret"
	"linehall/provisioning/plan"
)

func newRollback(f *flags) *cobra.Command {
	var run applyFlags
	var yes bool
	cmd := &cobra.Command{
		Use: "rollback [SNAPSHOT]", Short: "go back to the files of an earlier apply", Args: cobra.MaximumNArgs(1),
		Long: fmt.Sprintf("Each apply keeps the files that it took over: the settings, the list of terminals, the templates; the last %d are there.\n", plan.KeepSnapshots) +
			"Without a number it lists them. With one it shows what going back changes at which phone (exit code 3, 0: nothing);\n" +
			"with --yes it also writes these files back, each as NAME.bak as it was before, and applies them.",
		RunE: func(cmd *cobra.Command, args []string) error {
			options, err := f.options()
			if err != nil {
				return err
			}
			data, err := f.dataDir()
			if err != nil {
				return err
			}
			if len(args) == 0 {
				return listSnapshots(f, cmd, data)
			}
			id, err := strconv.ParseInt(args[0], 10, 64)
			if err != nil {
				return usageError{fmt.Errorf("%q is no number of a snapshot; `linehall rollback` lists them", args[0])}
			}
			return rollback(f, cmd, options, data, id, yes, run)
		},
	}
	run.add(cmd)
	cmd.Flags().BoolVar(&yes, "yes", false, "do it, after the plan was looked at")
	return cmd
}

// withArchive opens the snapshots beside a running appliance.
func withArchive(ctx context.Context, data string, use func(*plan.Archive) error) (err error) {
	db, err := database.OpenUnchecked(ctx, filepath.Join(data, doctor.DatabaseName))
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, db.Close()) }()
	box, err := secret.Open(data)
	if err != nil {
		return err
	}
	return use(plan.NewArchive(db, box))
}

func listSnapshots(f *flags, cmd *cobra.Command, data string) error {
	return withArchive(cmd.Context(), data, func(archive *plan.Archive) error {
		list, err := archive.List(cmd.Context())
		if err != nil {
			return err
		}
		if f.json {
			return json.NewEncoder(cmd.OutOrStdout()).Encode(map[string]any{"snapshots": list})
		}
		if len(list) == 0 {
			fmt.Fprintln(cmd.OutOrStdout(), "no snapshot yet: the first apply makes one")
			return nil
		}
		printSnapshots(cmd.OutOrStdout(), list)
		return nil
	})
}

func printSnapshots(out io.Writer, list []plan.Snapshot) {
	t := table.NewWriter()
	t.SetOutputMirror(out)
	t.AppendHeader(table.Row{"snapshot", "applied", "phones"})
	for _, s := range list {
		t.AppendRow(table.Row{s.ID, s.At.Local().Format(time.DateTime), s.Phones})
	}
	t.Render()
}

func rollback(f *flags, cmd *cobra.Command, options configs.Options, data string, id int64, yes bool, run applyFlags) error {
	var files map[string][]byte
	if err := withArchive(cmd.Context(), data, func(archive *plan.Archive) (err error) {
		files, err = archive.Files(cmd.Context(), id)
		return err
	}); err != nil {
		return err
	}
	wish, err := run.wish()
	if err != nil {
		return err
	}
	config, err := overlay(options, files)
	if err != nil {
		return showProblems(cmd, err)
	}
	config.Appliance.Data = data
	p, err := storedPlan(cmd.Context(), config, wish.Rotate)
	if err != nil {
		return err
	}
	chosen, err := plan.ParseLimit(wish.Limit)
	if err != nil {
		return usageError{err}
	}
	wish.Digest = p.Digest
	shown := p.Only(chosen)
	screen := cmd.OutOrStdout()
	if f.json && yes {
		screen = cmd.ErrOrStderr() // what became of the phones is the answer then
	}
	if f.json && !yes {
		err = json.NewEncoder(screen).Encode(shown)
	} else {
		printPlan(screen, shown, operator.Phones(cmd.Context(), data), "")
	}
	switch {
	case err != nil:
		return err
	case !yes && len(shown.Changes) == 0:
		return nil
	case !yes:
		if !f.json {
			fmt.Fprintf(screen, "`linehall rollback %d --yes` writes these files back and applies them\n", id)
		}
		return errChanges
	}
	if err := restore(options, files); err != nil {
		return err
	}
	return applyPlan(f, cmd, wish)
}
