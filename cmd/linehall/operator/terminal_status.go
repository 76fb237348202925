package operator

import (
	"cmp"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"
)

// phoneState is what a phone is to have, what it fetched and how it is seen.
type phoneState struct {
	Extension   string `json:"extension"`
	DisplayName string `json:"display_name"`
	Site        string `json:"site"`
	MAC         string `json:"mac"`
	Brand       string `json:"brand"`
	Model       string `json:"model"`
	Wanted      struct {
		Settings string `json:"settings"`
		Change   string `json:"change"`
	} `json:"wanted"`
	Served *struct {
		At        time.Time `json:"at"`
		File      string    `json:"file"`
		Hash      string    `json:"hash"`
		Settings  string    `json:"settings"`
		Address   string    `json:"address"`
		UserAgent string    `json:"user_agent"`
		Model     string    `json:"model"`
		Firmware  string    `json:"firmware"`
	} `json:"served"`
	Seen struct {
		Registered bool    `json:"registered"`
		InCall     bool    `json:"in_call"`
		Address    *string `json:"address"`
		UserAgent  *string `json:"user_agent"`
		Site       *string `json:"site"`
	} `json:"seen"`
	Enrolled bool     `json:"enrolled"`
	Drift    []string `json:"drift"`
	Refusal  *struct {
		At      time.Time `json:"at"`
		File    string    `json:"file"`
		Address string    `json:"address"`
		Reason  string    `json:"reason"`
	} `json:"refusal"`
}

type phoneStates struct {
	Phones []phoneState `json:"phones"`
}

// refusals say why a phone did not get its file.
func refusals() map[string]string {
	return map[string]string{ //nolint:gosec // words, no credentials
		"window_closed": "not enrolled, and the window of its site is closed",
		"other_site":    "asked from another site than that of its row",
		"outside":       "asked from no subnet of a site",
		"token":         "a wrong or old token in its address",
		"mismatch":      "it says that it has another MAC address",
		"inactive":      "its row is spare or disabled",
		"unsupported":   "we write no files for its brand",
		"plain_only":    "it asks by plain HTTP and is not named in plain_secrets",
		"error":         "its file could not be made, see the log",
	}
}

func (o *operator) terminalStatus() *cobra.Command {
	var drifted bool
	cmd := &cobra.Command{
		Use: "status [EXTENSION]", Short: "each phone: what it is to have, what it fetched, how it is seen", Args: cobra.MaximumNArgs(1),
		Long: "Lists the phones of active rows with a MAC address: the file that each really fetched last, its firmware, from where\n" +
			"it is registered, in which way it is not what its row says (drift), and why it was last refused. With --json the API's\n" +
			"own answer, for all phones.",
		RunE: func(cmd *cobra.Command, args []string) error {
			return show(o, cmd, "/api/v1/terminals/status", func(out io.Writer, body phoneStates) {
				if len(args) == 1 {
					renderPhone(out, body, args[0])
					return
				}
				if drifted {
					body.Phones = slices.DeleteFunc(body.Phones, func(p phoneState) bool { return len(p.Drift) == 0 })
				}
				renderPhones(out, body)
			})
		},
	}
	cmd.Flags().BoolVar(&drifted, "drift", false, "only phones that are not what their row says")
	return cmd
}

func renderPhones(out io.Writer, body phoneStates) {
	t := newTable(out, "extension", "site", "phone", "fetched", "firmware", "seen", "drift", "last refusal")
	for _, p := range body.Phones {
		fetched, firmware := "never", ""
		if p.Served != nil {
			fetched, firmware = clock(&p.Served.At), p.Served.Firmware
		}
		seen := "-"
		if p.Seen.Registered {
			seen = text(p.Seen.Address)
		}
		refusal := ""
		if p.Refusal != nil {
			refusal = words(p.Refusal.Reason) + ", " + clock(&p.Refusal.At)
		}
		drift := make([]string, 0, len(p.Drift))
		for _, d := range p.Drift {
			drift = append(drift, words(d))
		}
		t.AppendRow([]any{p.Extension, p.Site, strings.TrimSpace(p.Brand + " " + p.Model), fetched, firmware, seen, strings.Join(drift, ", "), refusal})
	}
	t.Render()
}

func renderPhone(out io.Writer, body phoneStates, extension string) {
	i := slices.IndexFunc(body.Phones, func(p phoneState) bool { return p.Extension == extension })
	if i < 0 {
		fmt.Fprintf(out, "no active row with a MAC address has the extension %s\n", extension)
		return
	}
	p := body.Phones[i]
	line := func(name, value string) {
		if value != "" {
			fmt.Fprintf(out, "%-14s %s\n", name, value)
		}
	}
	line("extension", p.Extension+" "+p.DisplayName)
	line("phone", strings.TrimSpace(p.Brand+" "+p.Model)+", "+p.MAC+", site "+p.Site)
	line("wanted", cmp.Or(short(p.Wanted.Settings), "no file from us")+changeWords(p.Wanted.Change))
	if s := p.Served; s != nil {
		line("served", short(s.Settings)+", "+clock(&s.At)+" to "+s.Address)
		line("file", s.File+", SHA-256 "+s.Hash)
		line("it says", s.UserAgent)
		line("firmware", s.Firmware)
	} else {
		line("served", "never")
	}
	if p.Seen.Registered {
		line("seen", text(p.Seen.Address)+", site "+text(p.Seen.Site)+", "+text(p.Seen.UserAgent))
	} else {
		line("seen", "not registered")
	}
	line("enrolled", yesNo(p.Enrolled))
	for _, d := range p.Drift {
		line("drift", words(d))
	}
	if r := p.Refusal; r != nil {
		line("last refusal", clock(&r.At)+", "+r.File+" to "+r.Address+": "+cmp.Or(refusals()[r.Reason], r.Reason))
	}
}

// short is enough of a digest to compare two by eye.
func short(digest string) string { return digest[:min(len(digest), 12)] }

func words(code string) string { return strings.ReplaceAll(code, "_", " ") }

func changeWords(change string) string {
	switch change {
	case "new":
		return ", first apply to come"
	case "changed":
		return ", change to be applied"
	}
	return ""
}

func text(t *string) string {
	if t == nil {
		return "-"
	}
	return *t
}

func (o *operator) terminalWindows() *cobra.Command {
	return &cobra.Command{
		Use: "windows", Short: "the enrolment windows that are open", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return show(o, cmd, "/api/v1/terminals/open", func(out io.Writer, body struct {
				Windows []struct {
					Site     string    `json:"site"`
					OpenedAt time.Time `json:"opened_at"`
					Until    time.Time `json:"until"`
					OpenedBy string    `json:"opened_by"`
				} `json:"windows"`
			},
			) {
				if len(body.Windows) == 0 {
					fmt.Fprintln(out, "no window is open")
					return
				}
				t := newTable(out, "site", "opened", "until", "by")
				for _, w := range body.Windows {
					t.AppendRow([]any{w.Site, clock(&w.OpenedAt), clock(&w.Until), w.OpenedBy})
				}
				t.Render()
			})
		},
	}
}

func (o *operator) terminalClose() *cobra.Command {
	var site string
	cmd := &cobra.Command{
		Use: "close", Short: "close the enrolment window of a site before its time", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return send(o, cmd, "POST", "/api/v1/terminals/close", map[string]any{"site": site}, func(out io.Writer, _ struct{}) {
				fmt.Fprintf(out, "the window of %s is closed\n", site)
			})
		},
	}
	cmd.Flags().StringVar(&site, "site", "", "id of the site")
	_ = cmd.MarkFlagRequired("site") // fails only for a flag that does not exist
	return cmd
}

func (o *operator) terminalRevoke() *cobra.Command {
	return &cobra.Command{
		Use: "revoke EXTENSION", Short: "take a phone's token away: it has to enrol again", Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			return send(o, cmd, "DELETE", "/api/v1/terminals/"+segment(args[0])+"/token", nil, func(out io.Writer, _ struct{}) {
				fmt.Fprintf(out, "the phone of %s gets nothing more until the window of its site is open\n", args[0])
			})
		},
	}
}
