package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/jedib0t/go-pretty/v6/table"
	"github.com/spf13/cobra"

	"linehall/configs"
	"linehall/internal/directory"
	"linehall/provisioning/inventory"
	"linehall/provisioning/phone"
	"linehall/provisioning/serve"
)

// terminalFileCommands are the commands about desk phones that read the files and need no running appliance.
func terminalFileCommands(f *flags) []*cobra.Command {
	return []*cobra.Command{newTerminalExplain(f), newTerminalRender(f), newTerminalExport(f), newTerminalDHCP(f)}
}

// described is what the files say about one terminal.
type described struct {
	config       configs.Config
	organisation serve.Organisation
	terminal     directory.Terminal
	brand        phone.Brand // nil: it gets no file from us
	settings     phone.Settings
}

// describe reads the configuration and finds the terminal.
func describe(f *flags, cmd *cobra.Command, extension string) (described, error) {
	config, err := f.load()
	if err != nil {
		return described{}, showProblems(cmd, err)
	}
	d := described{config: config}
	if d.organisation, err = organisationOf(config); err != nil {
		return d, err
	}
	for _, t := range terminalsOf(config) {
		if t.Extension == extension {
			d.terminal = t
		}
	}
	if d.terminal.Extension == "" {
		return d, fmt.Errorf("no terminal has the extension %s in %s", extension, config.Terminals.File)
	}
	d.brand, d.settings, _, err = d.organisation.Wanted(d.terminal, nil)
	return d, err
}

// explained is one value with where it is from, as JSON has it.
type explained struct {
	Key   string `json:"key"`
	Value string `json:"value"`
	From  string `json:"from"`
	Where string `json:"where"` // FILE:LINE, "" = the default
}

func newTerminalExplain(f *flags) *cobra.Command {
	return &cobra.Command{
		Use: "explain EXTENSION", Short: "what a phone is told, and which setting each value is from", Args: cobra.ExactArgs(1),
		Long: "Resolves the values of one phone: organisation, site, model, terminal, the nearest wins. Reads the files; the appliance need not run.",
		RunE: func(cmd *cobra.Command, args []string) error {
			d, err := describe(f, cmd, args[0])
			if err != nil {
				return err
			}
			var values []explained
			for _, o := range d.organisation.Profile(d.terminal).Origins {
				values = append(values, explained{Key: o.Key, Value: o.Value, From: o.From, Where: d.config.Place(o.Path)})
			}
			brand := ""
			if d.brand != nil {
				brand = d.brand.Name()
			}
			if f.json {
				return json.NewEncoder(cmd.OutOrStdout()).Encode(map[string]any{
					"extension": d.terminal.Extension, "mac": d.terminal.MAC, "model": d.terminal.Model, "brand": brand, "site": d.terminal.Site, "values": values,
				})
			}
			fmt.Fprintf(cmd.OutOrStdout(), "%s  %s  %s %s  site %s\n\n", d.terminal.Extension, d.terminal.MAC, brand, d.terminal.Model, d.terminal.Site)
			t := table.NewWriter()
			t.SetOutputMirror(cmd.OutOrStdout())
			t.AppendHeader(table.Row{"value", "is", "from", "where"})
			for _, v := range values {
				where := v.Where
				if where == "" {
					where = "default"
				}
				t.AppendRow(table.Row{v.Key, v.Value, v.From, where})
			}
			t.Render()
			if d.terminal.Template != "" {
				fmt.Fprintf(cmd.OutOrStdout(), "\ntemplate %s of the brand's folder in %s is laid over this\n", d.terminal.Template, d.config.Terminals.Templates)
			}
			if d.brand == nil {
				fmt.Fprintln(cmd.OutOrStdout(), "\nno file: the row has no MAC address, is not active, or its brand is not known")
			}
			return nil
		},
	}
}

var errNoFile = errors.New("the phone gets no file: its row has no MAC address, is not active, or its brand is not known")

func newTerminalRender(f *flags) *cobra.Command {
	var lines bool
	cmd := &cobra.Command{
		Use: "render EXTENSION", Short: "the file that a phone gets, with marks in the place of secrets", Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			d, err := describe(f, cmd, args[0])
			if err != nil {
				return err
			}
			if d.brand == nil {
				return errNoFile
			}
			if lines {
				settings, err := d.brand.Lines(d.settings)
				if err != nil {
					return err
				}
				for _, l := range settings {
					fmt.Fprintf(cmd.OutOrStdout(), "%s = %s\n", l.Key, l.Value)
				}
				return nil
			}
			content, err := d.brand.Render(phone.File{Kind: phone.Device, MAC: d.terminal.MAC}, d.settings)
			if err != nil {
				return err
			}
			_, err = cmd.OutOrStdout().Write(content)
			return err
		},
	}
	cmd.Flags().BoolVar(&lines, "lines", false, "as \"key = value\", the form of templates")
	return cmd
}

func newTerminalExport(f *flags) *cobra.Command {
	var out string
	cmd := &cobra.Command{
		Use: "export", Short: "the list of terminals as plain CSV: UTF-8, commas, one notation", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			config, err := f.load()
			if err != nil {
				return showProblems(cmd, err)
			}
			content, err := inventory.Export(config.Inventory())
			if err != nil {
				return err
			}
			return writeOut(cmd.OutOrStdout(), out, content)
		},
	}
	cmd.Flags().StringVar(&out, "out", "", "file to write, - or nothing for the screen")
	return cmd
}

func writeOut(screen io.Writer, path string, content []byte) error {
	if path == "" || path == "-" {
		_, err := screen.Write(content)
		return err
	}
	if err := os.WriteFile(path, content, 0o600); err != nil {
		return fmt.Errorf("writing: %w", err)
	}
	return nil
}

// addTerminalFiles puts the file commands into the group "terminal".
func addTerminalFiles(root *cobra.Command, f *flags) {
	for _, cmd := range root.Commands() {
		if strings.HasPrefix(cmd.Use, "terminal") {
			cmd.AddCommand(terminalFileCommands(f)...)
		}
	}
}
