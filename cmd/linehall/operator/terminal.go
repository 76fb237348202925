package operator

import (
	"fmt"
	"io"
	"time"

	"github.com/spf13/cobra"
)

type terminal struct {
	Extension   string     `json:"extension"`
	DisplayName string     `json:"display_name"`
	Site        string     `json:"site"`
	MAC         string     `json:"mac"`
	Model       string     `json:"model"`
	State       string     `json:"state"`
	Registered  bool       `json:"registered"`
	Since       *time.Time `json:"since"`
	Address     string     `json:"address"`
	Transport   string     `json:"transport"`
	UserAgent   string     `json:"user_agent"`
	InCall      bool       `json:"in_call"`
}

type unknownTerminal struct {
	MAC      string    `json:"mac"`
	Brand    string    `json:"brand"`
	Model    string    `json:"model"`
	Address  string    `json:"address"`
	Site     string    `json:"site"`
	LastSeen time.Time `json:"last_seen"`
	Requests int       `json:"requests"`
	CSV      string    `json:"csv"`
}

func (o *operator) terminal() *cobra.Command {
	return group("terminal", "desk phones", o.terminalList(), o.terminalShow(), o.terminalStatus(), o.terminalOpen(),
		o.terminalWindows(), o.terminalClose(), o.terminalRevoke(), o.terminalClaim(), o.terminalReplace(),
		o.terminalFeatures(), o.terminalPIN(), o.terminalLogOut(), o.terminalGroups())
}

func (o *operator) terminalList() *cobra.Command {
	var unknown bool
	cmd := &cobra.Command{
		Use: "list", Short: "every terminal of terminals.csv, or with --unknown the phones that asked without being in it", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if unknown {
				return show(o, cmd, "/api/v1/terminals/unknown", renderUnknown)
			}
			return show(o, cmd, "/api/v1/terminals", renderTerminals)
		},
	}
	cmd.Flags().BoolVar(&unknown, "unknown", false, "phones that asked for a file and are not in terminals.csv, each with a ready row")
	return cmd
}

func renderTerminals(out io.Writer, body struct {
	Terminals []terminal `json:"terminals"`
},
) {
	t := newTable(out, "extension", "name", "site", "model", "state", "registered", "since", "address", "transport", "user agent")
	for _, row := range body.Terminals {
		t.AppendRow([]any{row.Extension, row.DisplayName, row.Site, row.Model, row.State, yesNo(row.Registered), clock(row.Since), row.Address, row.Transport, row.UserAgent})
	}
	t.Render()
}

func renderUnknown(out io.Writer, body struct {
	Unknown []unknownTerminal `json:"unknown"`
},
) {
	if len(body.Unknown) == 0 {
		fmt.Fprintln(out, "no unknown phone has asked for a file")
		return
	}
	t := newTable(out, "mac", "brand", "model", "address", "site", "last seen", "requests")
	for _, row := range body.Unknown {
		t.AppendRow([]any{row.MAC, row.Brand, row.Model, row.Address, row.Site, clock(&row.LastSeen), row.Requests})
	}
	t.Render()
	fmt.Fprintln(out, "\nrows for terminals.csv (choose the extension and the name):")
	for _, row := range body.Unknown {
		fmt.Fprintln(out, row.CSV)
	}
}

func (o *operator) terminalShow() *cobra.Command {
	var secrets bool
	cmd := &cobra.Command{
		Use: "show EXTENSION", Short: "one terminal; with --secrets all that a softphone needs", Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			path := "/api/v1/terminals/" + segment(args[0])
			if secrets {
				path += "?secrets=true"
			}
			return show(o, cmd, path, renderFields)
		},
	}
	cmd.Flags().BoolVar(&secrets, "secrets", false, "include the SIP password (recorded in the audit log)")
	return cmd
}

// renderFields prints an object as one line per field, in the order people look for them.
func renderFields(out io.Writer, body map[string]any) {
	order := []string{
		"extension", "display_name", "site", "mac", "model", "state", "auth_user", "password", "domain", "realm", "server",
		"udp_port", "tcp_port", "tls_port", "wss_url", "transport", "srtp", "ca_file", "admin_password", "registered", "since", "address", "user_agent", "expires_at",
	}
	for _, key := range order {
		if value, there := body[key]; there && value != nil {
			fmt.Fprintf(out, "%-14s %v\n", key, value)
		}
	}
}

func (o *operator) terminalOpen() *cobra.Command {
	var site string
	var minutes int
	cmd := &cobra.Command{
		Use: "open", Short: "let the phones of a site fetch their file with the password for some minutes", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			body := map[string]any{"site": site, "minutes": minutes}
			return send(o, cmd, "POST", "/api/v1/terminals/open", body, func(out io.Writer, window struct {
				Site  string    `json:"site"`
				Until time.Time `json:"until"`
			},
			) {
				fmt.Fprintf(out, "phones of %s may enrol until %s\n", window.Site, clock(&window.Until))
			})
		},
	}
	cmd.Flags().StringVar(&site, "site", "", "id of the site")
	cmd.Flags().IntVar(&minutes, "minutes", 30, "how long")
	_ = cmd.MarkFlagRequired("site") // fails only for a flag that does not exist
	return cmd
}
