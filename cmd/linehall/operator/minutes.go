package operator

import (
	"fmt"
	"io"
	"net/url"
	"os"
	"time"

	"github.com/spf13/cobra"
)

type meeting struct {
	ID        string     `json:"id"`
	Name      string     `json:"name"`
	StartedAt time.Time  `json:"started_at"`
	EndedAt   *time.Time `json:"ended_at"`
}

type minute struct {
	At         time.Time `json:"at"`
	Actor      string    `json:"actor"`
	ActorName  roomName  `json:"actor_name"`
	Action     string    `json:"action"`
	Target     string    `json:"target"`
	TargetName roomName  `json:"target_name"`
	Detail     string    `json:"detail"`
}

func (o *operator) roomMeetings() *cobra.Command {
	return &cobra.Command{
		Use: "meetings ROOM", Short: "the meetings of a room, newest first", Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			return show(o, cmd, "/api/v1/rooms/"+segment(args[0])+"/meetings", renderMeetings)
		},
	}
}

func (o *operator) roomMinutes() *cobra.Command {
	var id, format, output string
	cmd := &cobra.Command{
		Use: "minutes ROOM", Short: "the minutes of a meeting: who did what, when", Args: cobra.ExactArgs(1),
		Long: "Prints the minutes of the room's newest meeting, or of the one named with --meeting.",
		RunE: func(cmd *cobra.Command, args []string) error {
			path, query := "/api/v1/rooms/"+segment(args[0])+"/minutes", "?"+url.Values{"meeting": {id}}.Encode()
			if *o.settings.JSON {
				format = "json"
			}
			switch format {
			case "table":
				return show(o, cmd, path+query, renderMinutes)
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

// fetch writes an answer as it came.
func (o *operator) fetch(cmd *cobra.Command, path, output string) error {
	c, err := o.client()
	if err != nil {
		return err
	}
	body, err := c.do(cmd.Context(), "GET", path, nil)
	if err != nil {
		return err
	}
	if output != "" {
		if err := os.WriteFile(output, body, 0o600); err != nil {
			return fmt.Errorf("write export: %w", err)
		}
		return nil
	}
	_, err = cmd.OutOrStdout().Write(body)
	return err
}

func renderMeetings(out io.Writer, body struct {
	Meetings []meeting `json:"meetings"`
},
) {
	t := newTable(out, "meeting", "room", "began", "ended")
	for _, m := range body.Meetings {
		t.AppendRow([]any{m.ID, m.Name, clock(&m.StartedAt), clock(m.EndedAt)})
	}
	t.Render()
}

func renderMinutes(out io.Writer, body struct {
	Meeting meeting  `json:"meeting"`
	Minutes []minute `json:"minutes"`
},
) {
	fmt.Fprintf(out, "%s %s, began %s, ended %s\n\n", body.Meeting.ID, body.Meeting.Name, clock(&body.Meeting.StartedAt), clock(body.Meeting.EndedAt))
	t := newTable(out, "at", "who", "did", "to", "detail")
	for _, m := range body.Minutes {
		t.AppendRow([]any{clock(&m.At), named(m.Actor, m.ActorName), m.Action, named(m.Target, m.TargetName), m.Detail})
	}
	t.Render()
}

// named is a member with its name, if it has one.
func named(member string, name roomName) string {
	if name.ZH == "" || name.ZH == member {
		return member
	}
	return name.ZH + " (" + member + ")"
}
