package operator

import (
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/spf13/cobra"
)

// wholeCDR is a record with what only the answer for one call has.
type wholeCDR struct {
	cdr

	Legs []struct {
		Extension string     `json:"extension"`
		Contact   string     `json:"contact"`
		Code      int        `json:"code"`
		Stage     int        `json:"stage"`
		StartedAt *time.Time `json:"started_at"`
		Trunk     string     `json:"trunk"`
		Gateway   string     `json:"gateway"`
	} `json:"legs"`
	SecondsCaller *seconds `json:"seconds_caller"`
	SecondsCallee *seconds `json:"seconds_callee"`
	Reports       []struct {
		At          time.Time `json:"at"`
		Extension   string    `json:"extension"`
		Kind        string    `json:"kind"`
		MOS         *float64  `json:"mos"`
		LossPercent float64   `json:"loss_percent"`
		JitterMS    float64   `json:"jitter_ms"`
		RoundTripMS float64   `json:"round_trip_ms"`
		Codec       string    `json:"codec"`
		BurstLoss   float64   `json:"burst_loss_percent"`
		BurstMS     float64   `json:"burst_ms"`
	} `json:"reports"`
}

// seconds are the scores of every second of a party's voice.
type seconds struct {
	Rated   int       `json:"rated"`
	Mean    float64   `json:"mean"`
	Worst   float64   `json:"worst"`
	WorstAt int       `json:"worst_at_seconds"`
	Kinds   []int     `json:"kinds"`
	Step    int       `json:"step_seconds"`
	Lowest  []float64 `json:"lowest"`
}

// String is a line, and a second one with the course where something was wrong.
func (s *seconds) String() string {
	text := fmt.Sprintf("%d seconds, mean %.2f, worst %.2f after %d s", s.Rated, s.Mean, s.Worst, s.WorstAt)
	if len(s.Lowest) == 0 {
		return text
	}
	for i, name := range []string{"satisfied", "some dissatisfied", "many dissatisfied", "nearly all dissatisfied", "not recommended"} {
		if i < len(s.Kinds) && s.Kinds[i] > 0 {
			text += fmt.Sprintf(", %d %s", s.Kinds[i], name)
		}
	}
	text += fmt.Sprintf("\n  lowest in each %d s:", s.Step)
	for _, lowest := range s.Lowest {
		if lowest == 0 {
			text += " -"
			continue
		}
		text += fmt.Sprintf(" %.1f", lowest)
	}
	return text
}

func (o *operator) cdrShow() *cobra.Command {
	return &cobra.Command{
		Use: "show ID", Short: "one call that ended: every leg, forward and quality report", Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			return show(o, cmd, "/api/v1/cdrs/"+segment(args[0]), renderCDR)
		},
	}
}

func renderCDR(out io.Writer, c wholeCDR) {
	fmt.Fprintf(out, "%s  %s (%d)  %s (%s) -> %s (%s), dialled %s\n", c.ID, c.Result, c.Code, c.From, c.FromSite, c.To, c.ToSite, c.Dialled)
	fmt.Fprintf(out, "started %s, answered %s, ended %s by %s", clock(&c.StartedAt), clock(c.AnsweredAt), clock(&c.EndedAt), c.EndedBy)
	if c.Reason != "" {
		fmt.Fprintf(out, ": %s", c.Reason)
	}
	fmt.Fprintf(out, "\n%s, path %s, codec %s, encrypted %s, MOS of the caller's voice %s, of the callee's %s\n", c.Media, c.Path, c.Codec, c.encrypted(), score(c.MOSCaller, "-"), score(c.MOSCallee, "-"))
	for _, one := range []struct {
		name string
		s    *seconds
	}{{"caller's", c.SecondsCaller}, {"callee's", c.SecondsCallee}} {
		if one.s != nil {
			fmt.Fprintf(out, "%s voice: %v\n", one.name, one.s)
		}
	}
	for _, one := range []struct{ name, value string }{
		{"came in by trunk", c.Trunk},
		{"went around the line of", c.Overflow},
		{"forwarded", c.forwards()},
		{"transferred by", c.TransferredBy},
		{"picked up by", c.PickedUpBy},
		{"joined by", guestList(c.Guests)},
		{"joined call", strings.TrimSpace(c.JoinedTo + " " + c.JoinedAs)},
		{"gave way to call", c.PreemptedBy},
		{"belongs to calls", strings.Join(c.LinkedTo, " ")},
		{"recording", c.recorded()},
	} {
		if one.value != "" {
			fmt.Fprintf(out, "%s %s\n", one.name, one.value)
		}
	}
	fmt.Fprintln(out)
	t := newTable(out, "stage", "rang", "contact", "began", "code", "trunk", "gateway")
	for _, l := range c.Legs {
		t.AppendRow([]any{l.Stage, l.Extension, l.Contact, clock(l.StartedAt), l.Code, l.Trunk, l.Gateway})
	}
	t.Render()
	if len(c.Reports) == 0 {
		return
	}
	fmt.Fprintln(out, "\nwhat the phones measured")
	t = newTable(out, "at", "extension", "kind", "MOS", "loss %", "in bursts %", "burst ms", "jitter ms", "round trip ms", "codec")
	for _, r := range c.Reports {
		t.AppendRow([]any{clock(&r.At), r.Extension, r.Kind, score(r.MOS, "-"), fmt.Sprintf("%.1f", r.LossPercent), fmt.Sprintf("%.1f", r.BurstLoss), fmt.Sprintf("%.0f", r.BurstMS), fmt.Sprintf("%.1f", r.JitterMS), fmt.Sprintf("%.1f", r.RoundTripMS), r.Codec})
	}
	t.Render()
}
