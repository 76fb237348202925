package operator

import (
	"fmt"
	"io"
	"net/url"
	"time"

	"github.com/spf13/cobra"
)

type attendance struct {
	Member string   `json:"member"`
	Name   roomName `json:"name"`
	Absent bool     `json:"absent"`
	Stays  []struct {
		From time.Time  `json:"from"`
		To   *time.Time `json:"to"`
	} `json:"stays"`
	Seconds          int `json:"seconds"`
	LateSeconds      int `json:"late_seconds"`
	LeftEarlySeconds int `json:"left_early_seconds"`
}

func (o *operator) meetingAttendance() *cobra.Command {
	var id, format, output string
	cmd := &cobra.Command{
		Use: "attendance ROOM", Short: "who was in a meeting, from when to when", Args: cobra.ExactArgs(1),
		Long: "Prints who was in the room's newest meeting, or in the one named with --meeting.",
		RunE: func(cmd *cobra.Command, args []string) error {
			path, query := "/api/v1/rooms/"+segment(args[0])+"/attendance", "?"+url.Values{"meeting": {id}}.Encode()
			if *o.settings.JSON {
				format = "json"
			}
			switch format {
			case "table":
				return show(o, cmd, path+query, renderAttendance)
			case "csv":
				path += ".csv"
			case "json":
			default:
				return fmt.Errorf("--format %q: want table, csv or json", format)
			}
			return o.fetch(cmd, path+query, output)
		},
	}
	cmd.Flags().StringVar(&id, "meeting", "", "id of the meeting (room meetings); the newest otherwise")
	cmd.Flags().StringVar(&format, "format", "table", "table, csv or json")
	cmd.Flags().StringVarP(&output, "output", "o", "", "file to write csv or json to; standard output otherwise")
	return cmd
}

func renderAttendance(out io.Writer, body struct {
	Meeting    meeting      `json:"meeting"`
	Attendance []attendance `json:"attendance"`
},
) {
	fmt.Fprintf(out, "%s %s, began %s, ended %s\n\n", body.Meeting.ID, body.Meeting.Name, clock(&body.Meeting.StartedAt), clock(body.Meeting.EndedAt))
	t := newTable(out, "who", "from", "to", "in all", "late", "left early")
	for _, a := range body.Attendance {
		who := named(a.Member, a.Name)
		if a.Absent {
			t.AppendRow([]any{who, "absent", "", "", "", ""})
		}
		for i, s := range a.Stays {
			if i > 0 {
				t.AppendRow([]any{"", clock(&s.From), clock(s.To), "", "", ""})
				continue
			}
			t.AppendRow([]any{who, clock(&s.From), clock(s.To), span(a.Seconds), span(a.LateSeconds), span(a.LeftEarlySeconds)})
		}
	}
	t.Render()
}

// span is a length of time; nothing for none.
func span(seconds int) string {
	if seconds == 0 {
		return ""
	}
	return (time.Duration(seconds) * time.Second).String()
}
