package operator

import (
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/spf13/cobra"
)

type trunk struct {
	Name     string    `json:"name"`
	State    string    `json:"state"`
	Register bool      `json:"register"`
	Calls    int       `json:"calls"`
	MaxCalls int       `json:"max_calls"`
	Gateways []gateway `json:"gateways"`
}

type gateway struct {
	Name            string     `json:"name"`
	State           string     `json:"state"`
	Registered      bool       `json:"registered"`
	RegisteredUntil *time.Time `json:"registered_until"`
	Addresses       []string   `json:"addresses"`
	Calls           int        `json:"calls"`
	MaxCalls        int        `json:"max_calls"`
	LastError       *string    `json:"last_error"`
}

func (o *operator) trunk() *cobra.Command {
	list := &cobra.Command{
		Use: "list", Short: "each trunk with its gateways: whether they take calls, and what went wrong last", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return show(o, cmd, "/api/v1/trunks", renderTrunks) },
	}
	return group("trunk", "lines to other networks", list)
}

func renderTrunks(out io.Writer, body struct {
	Trunks []trunk `json:"trunks"`
},
) {
	t := newTable(out, "trunk", "gateway", "state", "registered", "calls", "addresses", "last error")
	for _, tr := range body.Trunks {
		t.AppendRow([]any{tr.Name, "", tr.State, "", ofMost(tr.Calls, tr.MaxCalls), "", ""})
		for _, g := range tr.Gateways {
			registered, failed := "", ""
			switch {
			case g.Registered && g.RegisteredUntil != nil:
				registered = "until " + g.RegisteredUntil.Local().Format("15:04:05")
			case tr.Register:
				registered = "no"
			}
			if g.LastError != nil {
				failed = *g.LastError
			}
			t.AppendRow([]any{"", g.Name, g.State, registered, ofMost(g.Calls, g.MaxCalls), strings.Join(g.Addresses, " "), failed})
		}
	}
	t.Render()
}

func ofMost(calls, most int) string {
	if most == 0 {
		return fmt.Sprint(calls)
	}
	return fmt.Sprintf("%d of %d", calls, most)
}
