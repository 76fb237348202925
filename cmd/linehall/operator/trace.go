package operator

import (
	"fmt"
	"io"
	"os"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/spf13/cobra"
)

type trace struct {
	ID      string `json:"id"`
	Parties []struct {
		Name      string `json:"name"`
		Address   string `json:"address"`
		Transport string `json:"transport"`
	} `json:"parties"`
	Steps []struct {
		At       time.Time `json:"at"`
		Party    int       `json:"party"`
		Received bool      `json:"received"`
		Summary  string    `json:"summary"`
		Repeated bool      `json:"repeated"`
		Text     string    `json:"text"`
	} `json:"steps"`
}

func (o *operator) callTrace() *cobra.Command {
	var full bool
	var capture string
	cmd := &cobra.Command{
		Use: "trace ID", Short: "the SIP messages of a call as a ladder; secrets are stars", Args: cobra.ExactArgs(1),
		Long: "Shows who sent what to whom, for calls that go on and for ended ones as long as observability.trace.keep says.\nWith --pcap the messages go into a file for packet analysers, for administrators with the media that \"call capture\" has kept.",
		RunE: func(cmd *cobra.Command, args []string) error {
			path := "/api/v1/calls/" + segment(args[0])
			if capture != "" {
				return o.savePCAP(cmd, path+"/pcap", capture)
			}
			return show(o, cmd, path+"/trace", func(out io.Writer, t trace) { renderTrace(out, t, full) })
		},
	}
	cmd.Flags().BoolVar(&full, "full", false, "the whole messages behind the ladder")
	cmd.Flags().StringVar(&capture, "pcap", "", "write a capture file instead")
	return cmd
}

func (o *operator) callCapture() *cobra.Command {
	var stop bool
	cmd := &cobra.Command{
		Use: "capture ID", Short: "keep the media of a call for its capture file", Args: cobra.ExactArgs(1),
		Long: "From now on until the call ends, or --stop, the RTP packets of both parties are kept in memory, as much as observability.capture says.\n" +
			"\"linehall call trace ID --pcap FILE\" has them beside the messages. Keys that are pressed are masked. It is on record who does this.",
		RunE: func(cmd *cobra.Command, args []string) error {
			return send(o, cmd, "PUT", "/api/v1/calls/"+segment(args[0])+"/capture", map[string]bool{"on": !stop}, func(out io.Writer, _ map[string]any) {
				if stop {
					fmt.Fprintf(out, "the media of call %s is captured no more\n", args[0])
					return
				}
				fmt.Fprintf(out, "the media of call %s is captured\n", args[0])
			})
		},
	}
	cmd.Flags().BoolVar(&stop, "stop", false, "end it")
	return cmd
}

func (o *operator) savePCAP(cmd *cobra.Command, path, output string) error {
	c, err := o.client()
	if err != nil {
		return err
	}
	body, err := c.do(cmd.Context(), "GET", path, nil)
	if err != nil {
		return err
	}
	if err := os.WriteFile(output, body, 0o600); err != nil {
		return fmt.Errorf("write capture: %w", err)
	}
	return nil
}

// columnWidth is what one party takes of the ladder; a summary that is longer is cut.
const columnWidth = 34

// renderTrace draws us at the left and each party to the right of us, an arrow per message.
func renderTrace(out io.Writer, t trace, full bool) {
	fmt.Fprintf(out, "call %s\n\n%14s", t.ID, "linehall")
	for _, p := range t.Parties {
		name := p.Name
		if name == "" {
			name = "?"
		}
		fmt.Fprintf(out, "%*s", columnWidth, name)
	}
	fmt.Fprintf(out, "\n%14s", "")
	for _, p := range t.Parties {
		fmt.Fprintf(out, "%*s", columnWidth, p.Address+"/"+strings.ToLower(p.Transport))
	}
	fmt.Fprintln(out)
	var begin time.Time
	for n, s := range t.Steps {
		if n == 0 {
			begin = s.At
		}
		summary := s.Summary
		if s.Repeated {
			summary = "(again) " + summary
		}
		fmt.Fprintf(out, "%11.3f  |%s\n", s.At.Sub(begin).Seconds(), arrow(s.Party, len(t.Parties), s.Received, summary))
	}
	if !full {
		return
	}
	for n, s := range t.Steps {
		direction := "to"
		if s.Received {
			direction = "from"
		}
		address := ""
		if s.Party < len(t.Parties) {
			address = t.Parties[s.Party].Address
		}
		fmt.Fprintf(out, "\n--- %d  %s  %s %s\n%s\n", n+1, s.At.Format("2006-01-02 15:04:05.000"), direction, address, strings.ReplaceAll(s.Text, "\r\n", "\n"))
	}
}

// arrow draws one message in the lane of its party, across the lanes before it.
func arrow(party, parties int, received bool, summary string) string {
	width := columnWidth*(party+1) - 2
	if limit := width - 6; utf8.RuneCountInString(summary) > limit {
		summary = string([]rune(summary)[:limit-1]) + "…"
	}
	rest := width - utf8.RuneCountInString(summary) - 4
	line := "── " + summary + " " + strings.Repeat("─", max(rest, 0)) + ">"
	if received {
		line = "<" + strings.Repeat("─", max(rest, 0)) + " " + summary + " ──"
	}
	var b strings.Builder
	b.WriteString(line + "|")
	for i := party + 1; i < parties; i++ {
		b.WriteString(strings.Repeat(" ", columnWidth-1) + "|")
	}
	return b.String()
}
