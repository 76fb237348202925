package operator

import (
	"cmp"
	"io"
	"time"

	"github.com/spf13/cobra"
)

type ban struct {
	Kind    string    `json:"kind"`
	Address string    `json:"address"`
	Flow    string    `json:"flow"`
	Account string    `json:"account"`
	Since   time.Time `json:"since"`
	Until   time.Time `json:"until"`
	Tries   int       `json:"tries"`
	Reason  string    `json:"reason"`
}

func (o *operator) ban() *cobra.Command {
	list := &cobra.Command{
		Use: "list", Short: "addresses that are shut out, and ports and accounts of addresses that have phones", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return show(o, cmd, "/api/v1/bans", renderBans) },
	}
	lift := &cobra.Command{
		Use: "lift ADDRESS", Short: "let an address in again", Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			return send(o, cmd, "DELETE", "/api/v1/bans/"+segment(args[0]), nil, said[map[string]any]("bans of "+args[0]+" lifted"))
		},
	}
	return group("ban", "who is shut out for guessing passwords of phones or for scanning", list, lift)
}

func renderBans(out io.Writer, body struct {
	Bans []ban `json:"bans"`
},
) {
	t := newTable(out, "kind", "address", "account", "since", "until", "tries", "reason")
	for _, b := range body.Bans {
		t.AppendRow([]any{b.Kind, cmp.Or(b.Flow, b.Address), b.Account, clock(&b.Since), clock(&b.Until), b.Tries, b.Reason})
	}
	t.Render()
}
