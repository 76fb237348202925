package operator

import (
	"fmt"
	"io"
	"strconv"
	"strings"

	"github.com/spf13/cobra"
)

type lineDirection struct {
	CapacityBps      int64   `json:"capacity_bps"`
	OfficeReserveBps int64   `json:"office_reserve_bps"`
	ReservedBps      int64   `json:"reserved_bps"`
	MeasuredBps      int64   `json:"measured_bps"`
	FreeBps          int64   `json:"free_bps"`
	EstimatedBps     int64   `json:"estimated_bps"`
	LossPercent      float64 `json:"loss_percent"`
	BelowContract    string  `json:"below_contract"`
}

// contract is "as contracted", or what is wrong: "slow: 1200 kbit/s", "lossy: 4 %".
func (d lineDirection) contract() string {
	switch d.BelowContract {
	case "slow":
		return fmt.Sprintf("slow: %d kbit/s", d.EstimatedBps/1000)
	case "lossy":
		return fmt.Sprintf("lossy: %.0f %%", d.LossPercent)
	}
	return "met"
}

type line struct {
	Site         string        `json:"site"`
	Name         string        `json:"name"`
	Up           lineDirection `json:"up"`
	Down         lineDirection `json:"down"`
	State        string        `json:"state"`
	Calls        lineCalls     `json:"calls"`
	RefusedTotal int64         `json:"refused_total"`
	Preempted    int64         `json:"preempted_total"`
	Overflowed   int64         `json:"overflowed_total"`
}

type lineCalls struct {
	Total         int `json:"total"`
	Max           int `json:"max"`
	Emergency     int `json:"emergency"`
	FlashOverride int `json:"flash_override"`
	Flash         int `json:"flash"`
	Immediate     int `json:"immediate"`
	Priority      int `json:"priority"`
}

// String is "12 of 20 (1 emergency, 2 flash)".
func (c lineCalls) String() string {
	text := strconv.Itoa(c.Total)
	if c.Max > 0 {
		text += fmt.Sprintf(" of %d", c.Max)
	}
	var above []string
	for _, level := range []struct {
		count int
		name  string
	}{{c.Emergency, "emergency"}, {c.FlashOverride, "flash override"}, {c.Flash, "flash"}, {c.Immediate, "immediate"}, {c.Priority, "priority"}} {
		if level.count > 0 {
			above = append(above, fmt.Sprintf("%d %s", level.count, level.name))
		}
	}
	if len(above) > 0 {
		text += " (" + strings.Join(above, ", ") + ")"
	}
	return text
}

func (o *operator) line() *cobra.Command {
	list := &cobra.Command{
		Use: "list", Short: "each leased line's account, in kbit/s on the wire", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return show(o, cmd, "/api/v1/lines", renderLines) },
	}
	return group("line", "leased lines", list)
}

func renderLines(out io.Writer, body struct {
	Lines []line `json:"lines"`
},
) {
	t := newTable(out, "site", "name", "state", "calls", "direction", "capacity", "office", "reserved", "measured", "free", "contract", "refused", "preempted", "overflowed")
	for _, l := range body.Lines {
		t.AppendRow(append(append([]any{l.Site, l.Name, l.State, l.Calls.String()}, directionRow("up", l.Up)...), l.RefusedTotal, l.Preempted, l.Overflowed))
		t.AppendRow(append([]any{"", "", "", ""}, directionRow("down", l.Down)...))
	}
	t.Render()
}

func directionRow(direction string, d lineDirection) []any {
	kbit := func(bps int64) string { return strconv.FormatInt(bps/1000, 10) }
	return []any{direction, kbit(d.CapacityBps), kbit(d.OfficeReserveBps), kbit(d.ReservedBps), kbit(d.MeasuredBps), kbit(d.FreeBps), d.contract()}
}
