package operator

import (
	"fmt"
	"io"
	"net/url"
	"strings"
	"time"

	"github.com/spf13/cobra"
)

type party struct {
	Extension   string `json:"extension"`
	DisplayName string `json:"display_name"`
	Site        string `json:"site"`
}

// guest is somebody who has joined a call, or had.
type guest struct {
	ID        string    `json:"id"`
	Extension string    `json:"extension"`
	Mode      string    `json:"mode"`
	Silent    bool      `json:"silent"`
	At        time.Time `json:"at"`
}

// word says who and how, in one cell.
func (g guest) word() string {
	how := g.Mode
	if g.Silent {
		how += ", no tone"
	}
	return fmt.Sprintf("%s (%s, %s)", g.Extension, how, g.ID)
}

func guestList(all []guest) string {
	words := make([]string, 0, len(all))
	for _, g := range all {
		words = append(words, g.word())
	}
	return strings.Join(words, "; ")
}

type call struct {
	ID              string    `json:"id"`
	State           string    `json:"state"`
	Class           string    `json:"class"`
	StartedAt       time.Time `json:"started_at"`
	DurationSeconds float64   `json:"duration_seconds"`
	From            party     `json:"from"`
	To              party     `json:"to"`
	Path            string    `json:"path"`
	Codec           string    `json:"codec"`
	MOS             float64   `json:"mos"`
	Guests          []guest   `json:"guests"`
	Legs            []struct {
		Side        string  `json:"side"`
		Site        string  `json:"site"`
		Transport   string  `json:"transport"`
		Packets     int64   `json:"packets"`
		Lost        int64   `json:"lost"`
		LossPercent float64 `json:"loss_percent"`
		JitterMS    float64 `json:"jitter_ms"`
		MOS         float64 `json:"mos"`
		Address     string  `json:"address"`
	} `json:"legs"`
}

func (o *operator) call() *cobra.Command {
	list := &cobra.Command{
		Use: "list", Short: "calls going on", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return show(o, cmd, "/api/v1/calls", renderCalls) },
	}
	one := &cobra.Command{
		Use: "show ID", Short: "one call with both legs", Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			return show(o, cmd, "/api/v1/calls/"+segment(args[0]), renderCall)
		},
	}
	var reason string
	hangup := &cobra.Command{
		Use: "hangup ID", Short: "end a call", Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			path := "/api/v1/calls/" + segment(args[0])
			if reason != "" {
				path += "?" + url.Values{"reason": {reason}}.Encode()
			}
			return send(o, cmd, "DELETE", path, nil, func(out io.Writer, _ map[string]any) {
				fmt.Fprintf(out, "call %s ended\n", args[0])
			})
		},
	}
	hangup.Flags().StringVar(&reason, "reason", "", "why; told to both phones and kept in the record")
	dial := &cobra.Command{
		Use: "dial FROM TO", Short: "call an extension and connect it to a number", Args: cobra.ExactArgs(2),
		RunE: func(cmd *cobra.Command, args []string) error {
			return send(o, cmd, "POST", "/api/v1/calls", map[string]string{"from": args[0], "to": args[1]}, func(out io.Writer, made struct {
				ID string `json:"id"`
			},
			) {
				fmt.Fprintf(out, "calling %s (call %s)\n", args[0], made.ID)
			})
		},
	}
	return group("call", "calls", list, one, hangup, dial, o.callTrace(), o.callCapture())
}

func renderCalls(out io.Writer, body struct {
	Calls []call `json:"calls"`
},
) {
	if len(body.Calls) == 0 {
		fmt.Fprintln(out, "no call is going on")
		return
	}
	t := newTable(out, "id", "state", "from", "to", "seconds", "path", "codec", "MOS")
	for _, c := range body.Calls {
		t.AppendRow([]any{c.ID, c.State, c.From.Extension + " " + c.From.DisplayName, c.To.Extension + " " + c.To.DisplayName, int(c.DurationSeconds), c.Path, c.Codec, mos(c.MOS)})
	}
	t.Render()
}

func renderCall(out io.Writer, c call) {
	fmt.Fprintf(out, "%s  %s  %s (%s) -> %s (%s)\n", c.ID, c.State, c.From.Extension, c.From.Site, c.To.Extension, c.To.Site)
	fmt.Fprintf(out, "started %s, %d s, class %s, path %s, codec %s\n\n", clock(&c.StartedAt), int(c.DurationSeconds), c.Class, c.Path, c.Codec)
	if len(c.Guests) > 0 {
		fmt.Fprintf(out, "joined by %s\n\n", guestList(c.Guests))
	}
	t := newTable(out, "leg", "site", "transport", "address", "packets", "lost", "loss %", "jitter ms", "MOS")
	for _, leg := range c.Legs {
		t.AppendRow([]any{leg.Side, leg.Site, leg.Transport, leg.Address, leg.Packets, leg.Lost, fmt.Sprintf("%.1f", leg.LossPercent), fmt.Sprintf("%.1f", leg.JitterMS), mos(leg.MOS)})
	}
	t.Render()
}

// mos prints a mean opinion score; zero means not measured (a direct call's media does not pass the appliance).
func mos(value float64) string {
	if value == 0 {
		return "-"
	}
	return fmt.Sprintf("%.1f", value)
}
