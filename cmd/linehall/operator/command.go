package operator

import (
	"encoding/json"
	"fmt"
	"io"

	"github.com/jedib0t/go-pretty/v6/table"
	"github.com/spf13/cobra"
)

// Settings tell a command where the appliance is and how to print; they are read when a command runs, after flags were parsed.
type Settings struct {
	DataDir func() (string, error) // the directory that holds the socket
	JSON    *bool                  // print the API's body as it is
}

// Commands are the operator commands, ready to be added to the root command.
func Commands(settings Settings) []*cobra.Command {
	o := &operator{settings: settings}
	return []*cobra.Command{
		o.status(), o.terminal(), o.call(), o.line(), o.trunk(), o.ban(), o.room(), o.meeting(), o.cdr(), o.recording(), o.programme(), o.audit(), o.user(), o.token(), o.cert(),
	}
}

type operator struct{ settings Settings }

func (o *operator) client() (*client, error) {
	dir, err := o.settings.DataDir()
	if err != nil {
		return nil, err
	}
	return newClient(dir), nil
}

// show fetches path and prints it: the body itself with --json, else what render makes of the decoded body.
func show[T any](o *operator, cmd *cobra.Command, path string, render func(io.Writer, T)) error {
	c, err := o.client()
	if err != nil {
		return err
	}
	answer, err := c.do(cmd.Context(), "GET", path, nil)
	if err != nil {
		return err
	}
	return print(o, cmd.OutOrStdout(), answer, render)
}

// send posts body and prints the answer like show.
func send[T any](o *operator, cmd *cobra.Command, method, path string, body any, render func(io.Writer, T)) error {
	c, err := o.client()
	if err != nil {
		return err
	}
	answer, err := c.do(cmd.Context(), method, path, body)
	if err != nil {
		return err
	}
	if len(answer) == 0 {
		answer = []byte("{}")
	}
	return print(o, cmd.OutOrStdout(), answer, render)
}

func print[T any](o *operator, out io.Writer, answer []byte, render func(io.Writer, T)) error {
	if *o.settings.JSON {
		_, err := fmt.Fprintf(out, "%s\n", answer)
		return err
	}
	var decoded T
	if err := json.Unmarshal(answer, &decoded); err != nil {
		return fmt.Errorf("decode answer: %w", err)
	}
	render(out, decoded)
	return nil
}

// newTable is a plain table whose columns stay straight with Chinese text.
func newTable(out io.Writer, header ...any) table.Writer {
	t := table.NewWriter()
	t.SetOutputMirror(out)
	style := table.StyleLight
	style.Options.DrawBorder, style.Options.SeparateColumns = false, false
	t.SetStyle(style)
	t.AppendHeader(table.Row(header))
	return t
}

// group is a command that only holds others.
func group(use, short string, children ...*cobra.Command) *cobra.Command {
	cmd := &cobra.Command{Use: use, Short: short, Args: cobra.NoArgs, RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Usage() }}
	cmd.AddCommand(children...)
	return cmd
}
