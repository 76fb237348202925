package operator

import (
	"errors"
	"fmt"
	"io"
	"net/url"
	"strings"
	"time"

	"github.com/spf13/cobra"
)

type roomName struct {
	ZH string `json:"zh"`
	EN string `json:"en"`
}

type room struct {
	Number   string     `json:"number"`
	Name     string     `json:"name"`
	State    string     `json:"state"`
	OpenedAt *time.Time `json:"opened_at"`
	Venues   []struct {
		ID      string   `json:"id"`
		Name    roomName `json:"name"`
		Site    string   `json:"site"`
		Present bool     `json:"present"`
	} `json:"venues"`
	Participants []struct {
		ID           string   `json:"id"`
		Venue        string   `json:"venue"`
		Name         roomName `json:"name"`
		Site         string   `json:"site"`
		Kind         string   `json:"kind"`
		AudioMuted   bool     `json:"audio_muted"`
		VideoMuted   bool     `json:"video_muted"`
		PublishBps   int64    `json:"publish_bps"`
		SubscribeBps int64    `json:"subscribe_bps"`
		Transport    string   `json:"transport"`
	} `json:"participants"`
}

func (o *operator) room() *cobra.Command {
	list := &cobra.Command{
		Use: "list", Short: "meeting rooms and who is in them", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return show(o, cmd, "/api/v1/rooms", renderRooms) },
	}
	one := &cobra.Command{
		Use: "show ROOM", Short: "one room with venues and participants", Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			return show(o, cmd, "/api/v1/rooms/"+segment(args[0]), renderRoom)
		},
	}
	return group("room", "meeting rooms", list, one, o.roomLink(), o.roomCall(), o.roomMeetings(), o.roomMinutes(), o.roomRecord())
}

func (o *operator) roomLink() *cobra.Command {
	var venue, revoke string
	var list bool
	cmd := &cobra.Command{
		Use: "link ROOM", Short: "a link with which a venue's browser joins without a click", Args: cobra.ExactArgs(1),
		Long: "Prints a new link for the venue's room PC. Whoever holds it can join as that venue until it is revoked; links made earlier stay valid.",
		RunE: func(cmd *cobra.Command, args []string) error {
			switch {
			case list:
				return show(o, cmd, "/api/v1/devices?room="+url.QueryEscape(args[0]), renderDevices)
			case revoke != "":
				return send(o, cmd, "DELETE", "/api/v1/devices/"+segment(revoke), nil, said[map[string]any]("link "+revoke+" revoked"))
			case venue == "":
				return errors.New("name the venue with --venue, or use --list or --revoke")
			}
			return send(o, cmd, "POST", "/api/v1/rooms/"+segment(args[0])+"/link", map[string]string{"venue": venue}, func(out io.Writer, link struct {
				URL string `json:"url"`
			},
			) {
				fmt.Fprintln(out, link.URL)
			})
		},
	}
	cmd.Flags().StringVar(&venue, "venue", "", "id of the venue, as in linehall.yaml")
	cmd.Flags().BoolVar(&list, "list", false, "list the links of the room that are valid")
	cmd.Flags().StringVar(&revoke, "revoke", "", "revoke the link with this id")
	return cmd
}

func (o *operator) roomCall() *cobra.Command {
	return &cobra.Command{
		Use: "call ROOM NUMBER", Short: "call a telephone into the room's meeting", Args: cobra.ExactArgs(2),
		Long: "Calls an extension, a group or an outside number, with the class of service of the room (conference.rooms[].class). Whoever answers is in the meeting, without its PIN. How it goes is in the minutes of the meeting and on the chair's page.",
		RunE: func(cmd *cobra.Command, args []string) error {
			return send(o, cmd, "POST", "/api/v1/rooms/"+segment(args[0])+"/calls", map[string]string{"number": args[1]}, said[map[string]any](args[1]+" is called"))
		},
	}
}

func renderDevices(out io.Writer, body struct {
	Devices []struct {
		ID         string     `json:"id"`
		Venue      string     `json:"venue"`
		CreatedAt  time.Time  `json:"created_at"`
		LastUsedAt *time.Time `json:"last_used_at"`
	} `json:"devices"`
},
) {
	t := newTable(out, "id", "venue", "made", "last used")
	for _, d := range body.Devices {
		t.AppendRow([]any{d.ID, d.Venue, clock(&d.CreatedAt), clock(d.LastUsedAt)})
	}
	t.Render()
}

func renderRooms(out io.Writer, body struct {
	Rooms []room `json:"rooms"`
},
) {
	t := newTable(out, "number", "name", "state", "since", "venues present", "participants")
	for _, r := range body.Rooms {
		present := 0
		for _, v := range r.Venues {
			if v.Present {
				present++
			}
		}
		t.AppendRow([]any{r.Number, r.Name, r.State, clock(r.OpenedAt), fmt.Sprintf("%d/%d", present, len(r.Venues)), len(r.Participants)})
	}
	t.Render()
}

func renderRoom(out io.Writer, r room) {
	fmt.Fprintf(out, "%s %s: %s\n\n", r.Number, r.Name, r.State)
	venues := newTable(out, "venue", "name", "site", "present")
	for _, v := range r.Venues {
		venues.AppendRow([]any{v.ID, v.Name.ZH, v.Site, yesNo(v.Present)})
	}
	venues.Render()
	if len(r.Participants) == 0 {
		return
	}
	fmt.Fprintln(out)
	people := newTable(out, "participant", "venue", "site", "kind", "muted", "sends kbit/s", "receives kbit/s", "transport")
	for _, p := range r.Participants {
		var muted []string
		if p.AudioMuted {
			muted = append(muted, "sound")
		}
		if p.VideoMuted {
			muted = append(muted, "picture")
		}
		people.AppendRow([]any{p.ID, p.Venue, p.Site, p.Kind, strings.Join(muted, " "), p.PublishBps / 1000, p.SubscribeBps / 1000, p.Transport})
	}
	people.Render()
}
