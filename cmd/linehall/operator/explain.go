package operator

import (
	"encoding/json"
	"fmt"
	"io"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"
)

// Question is what "dialplan explain" asks.
type Question struct {
	From, Trunk, Caller, Number string
	At                          time.Time // zero = now
}

type decision struct {
	Kind      string   `json:"kind"`
	Number    string   `json:"number"`
	Targets   []string `json:"targets"`
	Reserve   []string `json:"reserve"`
	Group     string   `json:"group"`
	Feature   string   `json:"feature"`
	Argument  string   `json:"argument"`
	Trunks    []string `json:"trunks"`
	Toll      string   `json:"toll"`
	Identity  string   `json:"identity"`
	Withheld  bool     `json:"withheld"`
	Priority  string   `json:"priority"`
	Hours     string   `json:"hours"`
	DecidedBy string   `json:"decided_by"`
	Denied    string   `json:"denied"`
	Limits    []limit  `json:"limits"`
	Steps     []struct {
		Rule   string `json:"rule"`
		Result string `json:"result"`
	} `json:"steps"`
}

// limit is a limit of calls outside, with its use when a running appliance was asked.
type limit struct {
	Kind           string  `json:"kind"`
	Name           string  `json:"name"`
	CallsPerHour   int     `json:"calls_per_hour"`
	AtOnce         int     `json:"at_once"`
	NumbersPerHour int     `json:"numbers_per_hour"`
	Calls          *int    `json:"calls"`
	Now            *int    `json:"now"`
	Numbers        *int    `json:"numbers"`
	Over           *string `json:"over"`
}

// Explain asks the running appliance what its number plan makes of a number, and prints the answer.
func Explain(cmd *cobra.Command, settings Settings, q Question) error {
	query := url.Values{"number": {q.Number}}
	for key, value := range map[string]string{"from": q.From, "trunk": q.Trunk, "caller": q.Caller} {
		if value != "" {
			query.Set(key, value)
		}
	}
	if !q.At.IsZero() {
		query.Set("at", q.At.Format(time.RFC3339))
	}
	o := &operator{settings: settings}
	return show(o, cmd, "/api/v1/dialplan/explain?"+query.Encode(), renderDecision)
}

// PrintDecision prints a decision that was made here, in the same words; body is its JSON.
func PrintDecision(out io.Writer, body []byte) error {
	var d decision
	if err := json.Unmarshal(body, &d); err != nil {
		return fmt.Errorf("decision: %w", err)
	}
	renderDecision(out, d)
	return nil
}

func renderDecision(out io.Writer, d decision) {
	steps := newTable(out, "#", "step", "what it finds")
	for i, s := range d.Steps {
		steps.AppendRow([]any{i + 1, s.Rule, s.Result})
	}
	steps.Render()
	fmt.Fprintln(out)
	result := newTable(out, "result", d.Kind)
	for _, row := range [][2]string{
		{"number", d.Number},
		{"decided by", d.DecidedBy},
		{"feature", strings.TrimSpace(d.Feature + " " + d.Argument)},
		{"group", d.Group},
		{"trunks", strings.Join(d.Trunks, ", ")},
		{"rings", strings.Join(d.Targets, ", ")},
		{"in reserve", strings.Join(d.Reserve, ", ")},
		{"toll", d.Toll},
		{"identity", d.Identity},
		{"priority", d.Priority},
		{"hours", d.Hours},
		{"denied by", d.Denied},
	} {
		if row[1] != "" {
			result.AppendRow([]any{row[0], row[1]})
		}
	}
	if d.Withheld {
		result.AppendRow([]any{"caller's number", "not shown"})
	}
	result.Render()
	renderLimits(out, d.Limits)
}

// renderLimits shows each limit as used/most.
func renderLimits(out io.Writer, limits []limit) {
	if len(limits) == 0 {
		return
	}
	fmt.Fprintln(out)
	t := newTable(out, "limit of", "calls per hour", "at once", "numbers per hour", "now")
	for _, l := range limits {
		verdict := ""
		switch {
		case l.Over != nil:
			verdict = "refused: " + strings.ReplaceAll(*l.Over, "_", " ")
		case l.Calls != nil:
			verdict = "free"
		}
		t.AppendRow([]any{l.Kind + " " + l.Name, used(l.Calls, l.CallsPerHour), used(l.Now, l.AtOnce), used(l.Numbers, l.NumbersPerHour), verdict})
	}
	t.Render()
}

func used(use *int, most int) string {
	text := "no limit"
	if most > 0 {
		text = strconv.Itoa(most)
	}
	if use == nil {
		return text
	}
	return strconv.Itoa(*use) + " of " + text
}
