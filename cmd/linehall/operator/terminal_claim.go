package operator

import (
	"fmt"
	"io"
	"time"

	"github.com/spf13/cobra"
)

// claimed is a phone that may fetch its file now.
type claimed struct {
	Extension string    `json:"extension"`
	MAC       string    `json:"mac"`
	Until     time.Time `json:"until"`
}

func renderClaimed(out io.Writer, c claimed) {
	fmt.Fprintf(out, "%s is the phone of %s now, and may enrol until %s: switch it off and on\n", c.MAC, c.Extension, clock(&c.Until))
}

func (o *operator) terminalClaim() *cobra.Command {
	var name, site, model string
	cmd := &cobra.Command{
		Use: "claim MAC EXTENSION", Short: "give a phone to an extension and let it enrol", Args: cobra.ExactArgs(2),
		Long: "Writes the MAC address (and the model, if the phone has said it) into the row of the extension, or a new row into\n" +
			"terminals.csv, takes the list over, and lets this one phone enrol, whether the window of its site is open or not.\n" +
			"Every other byte of the file stays; terminals.csv.bak is the file as it was before.",
		RunE: func(cmd *cobra.Command, args []string) error {
			body := map[string]any{"mac": args[0], "extension": args[1], "display_name": name, "site": site, "model": model}
			return send(o, cmd, "POST", "/api/v1/terminals/claim", body, renderClaimed)
		},
	}
	cmd.Flags().StringVar(&name, "name", "", "name of the row")
	cmd.Flags().StringVar(&site, "site", "", "site of a new row; default: where the phone asked from")
	cmd.Flags().StringVar(&model, "model", "", "model; default: as the phone said")
	return cmd
}

func (o *operator) terminalReplace() *cobra.Command {
	var model string
	cmd := &cobra.Command{
		Use: "replace OLD NEW", Short: "put another phone in the place of a broken one: MAC addresses, or the extension and the new MAC address", Args: cobra.ExactArgs(2),
		Long: "The new phone gets the row of the old one with everything in it; a spare of the list leaves the cupboard. The old one's\n" +
			"token ends, the new one may enrol, whether the window of its site is open or not.",
		RunE: func(cmd *cobra.Command, args []string) error {
			body := map[string]any{"old": args[0], "new": args[1], "model": model}
			return send(o, cmd, "POST", "/api/v1/terminals/replace", body, renderClaimed)
		},
	}
	cmd.Flags().StringVar(&model, "model", "", "model of the new phone; default: as it said, or as the old one")
	return cmd
}
