package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"linehall/cmd/linehall/doctor"
	"linehall/cmd/linehall/operator"
	"linehall/configs"
	"linehall/internal/database"
	"linehall/provisioning/plan"
)

// exitChanges is plan's exit code when there is something to apply.
const exitChanges = 3

// errChanges ends a plan that found something.
var errChanges = errors.New("there are changes")

// planFile is a plan on disk: what was looked at, so that nothing else is applied.
type planFile struct {
	Version int    `json:"version"`
	Digest  string `json:"digest"`
	Limit   string `json:"limit"`
	Rotate  bool   `json:"rotate"`
}

func newPlan(f *flags) *cobra.Command {
	var limit, out string
	var rotate bool
	cmd := &cobra.Command{
		Use: "plan", Short: "what an apply would change at which phone, key by key", Args: cobra.NoArgs,
		Long: "Compares the files with what each phone was last told. Exit code 0: nothing to do, 3: changes, 1: a problem.\n" +
			"The appliance need not run; if it does, the phones in a call and those that are away are named.",
		RunE: func(cmd *cobra.Command, _ []string) error {
			p, config, err := filesPlan(f, cmd, limit, rotate)
			if err != nil {
				return err
			}
			if out != "" {
				content, err := json.Marshal(planFile{Version: 1, Digest: p.Digest, Limit: limit, Rotate: rotate})
				if err != nil {
					return err
				}
				if err := writeOut(cmd.OutOrStdout(), out, append(content, '\n')); err != nil {
					return err
				}
			}
			if f.json {
				err = json.NewEncoder(cmd.OutOrStdout()).Encode(p)
			} else {
				printPlan(cmd.OutOrStdout(), p, operator.Phones(cmd.Context(), config.Appliance.Data), "; `linehall apply` takes the files over and tells them")
			}
			if err == nil && len(p.Changes) > 0 {
				err = errChanges
			}
			return err
		},
	}
	cmd.Flags().StringVar(&limit, "limit", "", "only some phones: site=branch1,model=T54W,extension=8001,mac=...")
	cmd.Flags().BoolVar(&rotate, "rotate", false, "new SIP passwords for all of these phones")
	cmd.Flags().StringVar(&out, "out", "", "write the plan to a file for `linehall apply FILE`")
	return cmd
}

// filesPlan reads files and database and compares them.
func filesPlan(f *flags, cmd *cobra.Command, limit string, rotate bool) (plan.Plan, configs.Config, error) {
	chosen, err := plan.ParseLimit(limit)
	if err != nil {
		return plan.Plan{}, configs.Config{}, usageError{err}
	}
	config, err := f.load()
	if err != nil {
		return plan.Plan{}, config, showProblems(cmd, err)
	}
	p, err := storedPlan(cmd.Context(), config, rotate)
	return p.Only(chosen), config, err
}

// storedPlan compares with the database if there is one; without, nothing was applied yet.
func storedPlan(ctx context.Context, config configs.Config, rotate bool) (_ plan.Plan, err error) {
	path := filepath.Join(config.Appliance.Data, doctor.DatabaseName)
	if _, err := os.Stat(path); errors.Is(err, os.ErrNotExist) {
		wanted, err := wantedFiles(config)
		return plan.Compare(nil, wanted), err
	}
	db, err := database.OpenUnchecked(ctx, path)
	if err != nil {
		return plan.Plan{}, err
	}
	defer func() { err = errors.Join(err, db.Close()) }()
	return makePlan(ctx, db, config, rotate)
}

// mostKeys is how many keys of one phone are shown.
const mostKeys = 40

// printPlan shows a plan; next says what can be done with it.
func printPlan(out io.Writer, p plan.Plan, seen map[string]operator.Seen, next string) {
	if len(p.Changes) == 0 {
		fmt.Fprintf(out, "no changes; %d phones have what the files say\n", p.Phones)
		return
	}
	for _, c := range p.Changes {
		fmt.Fprintf(out, "%s %s  %s %s  %s  site %s%s\n", sign(c.Kind), c.Extension, c.Brand, c.Model, c.MAC, c.Site, remarks(c, seen))
		for i, k := range c.Keys {
			if i == mostKeys {
				fmt.Fprintf(out, "      and %d more\n", len(c.Keys)-mostKeys)
				break
			}
			switch {
			case k.Before == nil:
				fmt.Fprintf(out, "    + %s = %s\n", k.Key, *k.After)
			case k.After == nil:
				fmt.Fprintf(out, "    - %s = %s\n", k.Key, *k.Before)
			case *k.Before == *k.After:
				fmt.Fprintf(out, "    ~ %s: ***changed***\n", k.Key)
			default:
				fmt.Fprintf(out, "    ~ %s: %s -> %s\n", k.Key, *k.Before, *k.After)
			}
		}
	}
	fmt.Fprintf(out, "\n%d of %d phones%s\n", len(p.Changes), p.Phones, next)
}

func sign(kind plan.Kind) string {
	switch kind {
	case plan.New:
		return "+"
	case plan.Gone:
		return "-"
	case plan.Changed:
	}
	return "~"
}

// remarks say what the phone will do.
func remarks(c plan.Change, seen map[string]operator.Seen) string {
	var words []string
	switch c.Kind {
	case plan.New:
		words = append(words, "first file")
	case plan.Gone:
		words = append(words, "no longer served")
	case plan.Changed:
		words = append(words, "fetches again")
		if c.Restarts {
			words = append(words, "may restart")
		}
	}
	if c.Rotates {
		words = append(words, "new password")
	}
	if seen != nil && c.Kind != plan.Gone {
		switch s := seen[c.Extension]; {
		case s.InCall:
			words = append(words, "in a call")
		case !s.Registered:
			words = append(words, "not registered")
		}
	}
	return "  (" + strings.Join(words, ", ") + ")"
}

// applyFlags say how an apply goes about it.
type applyFlags struct {
	limit              string
	batch, maxFailures int
	pause              time.Duration
	rotate, anyTime    bool
}

func (a *applyFlags) add(cmd *cobra.Command) {
	cmd.Flags().StringVar(&a.limit, "limit", "", "only some phones: site=branch1,model=T54W,extension=8001,mac=...")
	cmd.Flags().IntVar(&a.batch, "batch", 10, "phones told at once")
	cmd.Flags().DurationVar(&a.pause, "pause", 0, "between batches, like 60s")
	cmd.Flags().IntVar(&a.maxFailures, "max-failures", 3, "phones that fail before it stops")
	cmd.Flags().BoolVar(&a.rotate, "rotate", false, "new SIP passwords for all of these phones, not only for those older than terminals.password_age")
	cmd.Flags().BoolVar(&a.anyTime, "any-time", false, "also outside the hours of terminals.maintenance")
}

func (a *applyFlags) wish() (operator.ApplyWish, error) {
	if a.pause%time.Second != 0 {
		return operator.ApplyWish{}, usageError{fmt.Errorf("--pause %s: whole seconds", a.pause)}
	}
	return operator.ApplyWish{
		Limit: a.limit, Batch: a.batch, PauseSeconds: int(a.pause.Seconds()), MaxFailures: a.maxFailures, Rotate: a.rotate, AnyTime: a.anyTime,
	}, nil
}

func newApply(f *flags) *cobra.Command {
	var run applyFlags
	cmd := &cobra.Command{
		Use: "apply [PLAN]", Short: "take the files over and tell the phones that are concerned, in batches", Args: cobra.MaximumNArgs(1),
		Long: "Reloads the configuration, all of it or nothing, and tells each phone whose file differs to fetch it. With a plan\n" +
			"written by `linehall plan --out`, anything else than that plan is refused. Phones in a call are left alone, and stay in\n" +
			"the next plan as those do that failed. An apply that was interrupted is repeated for the rest. The files are kept for\n" +
			"`linehall rollback`.",
		RunE: func(cmd *cobra.Command, args []string) error {
			wish, err := run.wish()
			if err == nil && len(args) == 1 {
				err = readPlan(args[0], &wish)
			}
			if err != nil {
				return err
			}
			return applyPlan(f, cmd, wish)
		},
	}
	run.add(cmd)
	return cmd
}

func readPlan(path string, wish *operator.ApplyWish) error {
	content, err := os.ReadFile(path) //nolint:gosec // the operator names the file
	if err != nil {
		return fmt.Errorf("plan: %w", err)
	}
	var saved planFile
	if err := json.Unmarshal(content, &saved); err != nil || saved.Version != 1 || saved.Digest == "" {
		return fmt.Errorf("%s is no plan of `linehall plan --out`", path)
	}
	wish.Digest, wish.Rotate = saved.Digest, wish.Rotate || saved.Rotate
	if wish.Limit == "" {
		wish.Limit = saved.Limit
	}
	return nil
}

func applyPlan(f *flags, cmd *cobra.Command, wish operator.ApplyWish) error {
	data, err := f.dataDir()
	if err != nil {
		return err
	}
	progress := cmd.ErrOrStderr()
	state, err := operator.Apply(cmd.Context(), data, wish, progress)
	if err != nil {
		return err
	}
	if f.json {
		if err := json.NewEncoder(cmd.OutOrStdout()).Encode(state); err != nil {
			return err
		}
	}
	left := 0
	for _, o := range state.Outcomes {
		if o.Result == plan.Failed || o.Result == plan.InCall {
			left++
		}
		if !f.json {
			fmt.Fprintln(cmd.OutOrStdout(), strings.TrimSpace(fmt.Sprintf("%s  %s  %s  %s", o.Extension, o.MAC, strings.ReplaceAll(o.Result, "_", " "), o.Detail)))
		}
	}
	switch {
	case state.Stopped != nil:
		return fmt.Errorf("the apply ended early: %s", *state.Stopped)
	case left > 0:
		return fmt.Errorf("%d phones are left for the next apply", left)
	}
	return nil
}
