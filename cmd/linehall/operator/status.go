package operator

import (
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"
)

type status struct {
	Name                string         `json:"name"`
	Version             string         `json:"version"`
	StartedAt           time.Time      `json:"started_at"`
	Ready               bool           `json:"ready"`
	TerminalsTotal      int            `json:"terminals_total"`
	TerminalsRegistered int            `json:"terminals_registered"`
	CallsActive         int            `json:"calls_active"`
	RoomsOpen           int            `json:"rooms_open"`
	Participants        int            `json:"participants"`
	Subscriptions       map[string]int `json:"subscriptions"`
	KernelPath          struct {
		On      bool     `json:"on"`
		Reason  string   `json:"reason"`
		Flows   int      `json:"flows"`
		Devices []string `json:"devices"`
	} `json:"kernel_path"`
	Sites []struct {
		ID                  string `json:"id"`
		Name                string `json:"name"`
		TerminalsTotal      int    `json:"terminals_total"`
		TerminalsRegistered int    `json:"terminals_registered"`
		CallsActive         int    `json:"calls_active"`
		Participants        int    `json:"participants"`
	} `json:"sites"`
	Alarms []struct {
		Severity string            `json:"severity"`
		Code     string            `json:"code"`
		Site     string            `json:"site"`
		Since    time.Time         `json:"since"`
		Detail   map[string]string `json:"detail"`
	} `json:"alarms"`
}

func (o *operator) status() *cobra.Command {
	return &cobra.Command{
		Use: "status", Short: "how the appliance is", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return show(o, cmd, "/api/v1/status", renderStatus)
		},
	}
}

func renderStatus(out io.Writer, s status) {
	state := "not ready"
	if s.Ready {
		state = "ready"
	}
	fmt.Fprintf(out, "%s  %s, version %s, up %s\n", s.Name, state, s.Version, time.Since(s.StartedAt).Round(time.Second))
	fmt.Fprintf(out, "phones registered %d/%d, calls %d, rooms open %d with %d participants\n",
		s.TerminalsRegistered, s.TerminalsTotal, s.CallsActive, s.RoomsOpen, s.Participants)
	watched := make([]string, 0, len(s.Subscriptions))
	for _, event := range slices.Sorted(maps.Keys(s.Subscriptions)) {
		watched = append(watched, fmt.Sprintf("%s %d", event, s.Subscriptions[event]))
	}
	fmt.Fprintf(out, "subscriptions: %s\n", strings.Join(watched, ", "))
	if k := s.KernelPath; k.On {
		fmt.Fprintf(out, "kernel path: on, %d flows, devices: %s\n\n", k.Flows, strings.Join(k.Devices, ", "))
	} else {
		fmt.Fprintf(out, "kernel path: off: %s\n\n", k.Reason)
	}
	sites := newTable(out, "site", "name", "phones", "calls", "participants")
	for _, site := range s.Sites {
		sites.AppendRow([]any{site.ID, site.Name, fmt.Sprintf("%d/%d", site.TerminalsRegistered, site.TerminalsTotal), site.CallsActive, site.Participants})
	}
	sites.Render()
	if len(s.Alarms) == 0 {
		fmt.Fprintln(out, "\nno alarm")
		return
	}
	fmt.Fprintln(out)
	alarms := newTable(out, "alarm", "severity", "site", "since", "detail")
	for _, a := range s.Alarms {
		detail := make([]string, 0, len(a.Detail))
		for k, v := range a.Detail {
			detail = append(detail, k+"="+v)
		}
		alarms.AppendRow([]any{a.Code, a.Severity, a.Site, clock(&a.Since), strings.Join(detail, " ")})
	}
	alarms.Render()
}

// clock prints a time for people; nil and zero are a dash.
func clock(t *time.Time) string {
	if t == nil || t.IsZero() {
		return "-"
	}
	return t.Local().Format("2006-01-02 15:04:05")
}

func yesNo(b bool) string {
	if b {
		return "yes"
	}
	return "no"
}
