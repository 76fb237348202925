package operator

import (
	"fmt"
	"io"

	"github.com/spf13/cobra"
)

type lineDirection struct {
	CapacityBps      int64 `json:"capacity_bps"`
	OfficeReserveBps int64 `json:"office_reserve_bps"`
	ReservedBps      int64 `json:"reserved_bps"`
	MeasuredBps      int64 `json:"measured_bps"`
	FreeBps          int64 `json:"free_bps"`
}

type line struct {
	Site         string        `json:"site"`
	Name         string        `json:"name"`
	Up           lineDirection `json:"up"`
	Down         lineDirection `json:"down"`
	RefusedTotal int64         `json:"refused_total"`
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
	t := newTable(out, "site", "name", "direction", "capacity", "office", "reserved", "measured", "free", "refused")
	for _, l := range body.Lines {
		t.AppendRow(lineRow(l.Site, l.Name, "up", l.Up, fmt.Sprint(l.RefusedTotal)))
		t.AppendRow(lineRow("", "", "down", l.Down, ""))
	}
	t.Render()
}

func lineRow(site, name, direction string, d lineDirection, refused string) []any {
	kbit := func(bps int64) string { return fmt.Sprintf("%d", bps/1000) }
	return []any{site, name, direction, kbit(d.CapacityBps), kbit(d.OfficeReserveBps), kbit(d.ReservedBps), kbit(d.MeasuredBps), kbit(d.FreeBps), refused}
}
