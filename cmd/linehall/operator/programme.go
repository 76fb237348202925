package operator

import (
	"fmt"
	"io"
	"net/url"
	"strconv"
	"time"

	"github.com/spf13/cobra"
)

type programme struct {
	ID              string     `json:"id"`
	Room            string     `json:"room"`
	RoomName        string     `json:"room_name"`
	State           string     `json:"state"`
	StartedAt       time.Time  `json:"started_at"`
	EndedAt         *time.Time `json:"ended_at"`
	DurationSeconds float64    `json:"duration_seconds"`
	StartedBy       roomName   `json:"started_by"`
	Reason          string     `json:"reason"`
	Parts           int        `json:"parts"`
	SizeBytes       int64      `json:"size_bytes"`
	Encrypted       bool       `json:"encrypted"`
	Files           []struct {
		Number          int        `json:"number"`
		Member          string     `json:"member"`
		StartedAt       time.Time  `json:"started_at"`
		EndedAt         *time.Time `json:"ended_at"`
		DurationSeconds float64    `json:"duration_seconds"`
		SizeBytes       int64      `json:"size_bytes"`
		VideoCodec      string     `json:"video_codec"`
		Width           int        `json:"width"`
		Height          int        `json:"height"`
		Voices          int        `json:"voices"`
		CutOff          bool       `json:"cut_off"`
	} `json:"files"`
	Chapters []struct {
		OffsetSeconds float64  `json:"offset_seconds"`
		Kind          string   `json:"kind"`
		Action        string   `json:"action"`
		Name          roomName `json:"name"`
		Target        roomName `json:"target"`
	} `json:"chapters"`
	Exports []programmeExport `json:"exports"`
}

type programmeExport struct {
	ID       string  `json:"id"`
	Format   string  `json:"format"`
	State    string  `json:"state"`
	Progress float64 `json:"progress"`
	Error    string  `json:"error"`
}

func (o *operator) programme() *cobra.Command {
	show1 := &cobra.Command{
		Use: "show ID", Short: "files, chapters and exports of a recorded meeting", Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			return show(o, cmd, "/api/v1/programmes/"+segment(args[0]), renderProgramme)
		},
	}
	remove := &cobra.Command{
		Use: "delete ID...", Short: "delete recorded meetings; it stands in the audit log", Args: cobra.MinimumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			for _, id := range args {
				if err := send(o, cmd, "DELETE", "/api/v1/programmes/"+segment(id), nil, said[map[string]any]("recording "+id+" deleted")); err != nil {
					return err
				}
			}
			return nil
		},
	}
	return group("programme", "recorded meetings", o.programmeList(), show1, o.programmeSave(), o.programmeExport(), remove)
}

func (o *operator) programmeList() *cobra.Command {
	var number, from, to string
	cmd := &cobra.Command{
		Use: "list", Short: "recorded meetings, newest first", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			query := url.Values{}
			if number != "" {
				query.Set("room", number)
			}
			for name, value := range map[string]string{"from": from, "to": to} {
				if value == "" {
					continue
				}
				at, err := parseTime(value)
				if err != nil {
					return err
				}
				query.Set(name, at.Format(time.RFC3339))
			}
			return show(o, cmd, "/api/v1/programmes?"+query.Encode(), renderProgrammes)
		},
	}
	cmd.Flags().StringVar(&number, "room", "", "of this room only")
	cmd.Flags().StringVar(&from, "from", "", "started at or after, like 2026-11-28 or 2026-11-28T08:00:00+08:00")
	cmd.Flags().StringVar(&to, "to", "", "started before")
	return cmd
}

func renderProgrammes(out io.Writer, body struct {
	Programmes []programme `json:"programmes"`
},
) {
	if len(body.Programmes) == 0 {
		fmt.Fprintln(out, "no recorded meetings")
		return
	}
	t := newTable(out, "id", "room", "started", "seconds", "state", "parts", "by", "bytes")
	for _, p := range body.Programmes {
		t.AppendRow([]any{p.ID, p.Room + " " + p.RoomName, clock(&p.StartedAt), int(p.DurationSeconds), p.State, p.Parts, p.StartedBy.ZH, p.SizeBytes})
	}
	t.Render()
}

func renderProgramme(out io.Writer, p programme) {
	fmt.Fprintf(out, "%s  %s  room %s %s, started %s by %s, %.1f s, ended %s: %s\n", p.ID, p.State, p.Room, p.RoomName, clock(&p.StartedAt), p.StartedBy.ZH, p.DurationSeconds, clock(p.EndedAt), p.Reason)
	files := newTable(out, "part", "participant", "started", "seconds", "picture", "voices", "cut off", "bytes")
	for _, f := range p.Files {
		files.AppendRow([]any{f.Number, f.Member, clock(&f.StartedAt), int(f.DurationSeconds), fmt.Sprintf("%s %dx%d", f.VideoCodec, f.Width, f.Height), f.Voices, yesNo(f.CutOff), f.SizeBytes})
	}
	files.Render()
	chapters := newTable(out, "second", "what", "who", "whom")
	for _, c := range p.Chapters {
		what := c.Kind
		if c.Action != "" {
			what = c.Action
		}
		chapters.AppendRow([]any{int(c.OffsetSeconds), what, c.Name.ZH, c.Target.ZH})
	}
	chapters.Render()
	if len(p.Exports) == 0 {
		return
	}
	exports := newTable(out, "export", "format", "state", "done", "error")
	for _, e := range p.Exports {
		exports.AppendRow([]any{e.ID, e.Format, e.State, fmt.Sprintf("%.0f %%", e.Progress*100), e.Error})
	}
	exports.Render()
}

func (o *operator) programmeSave() *cobra.Command {
	var part int
	var output string
	cmd := &cobra.Command{
		Use: "save ID", Short: "write the finished files of a recorded meeting", Args: cobra.ExactArgs(1),
		Long: "Writes Matroska files: the picture, and each voice as a track of its own. It stands in the audit log.",
		RunE: func(cmd *cobra.Command, args []string) error {
			c, err := o.client()
			if err != nil {
				return err
			}
			var p programme
			if err := c.get(cmd.Context(), "/api/v1/programmes/"+segment(args[0]), &p); err != nil {
				return err
			}
			saved := 0
			for _, f := range p.Files {
				if f.EndedAt == nil || part != 0 && f.Number != part {
					continue
				}
				name := fmt.Sprintf("%s-%d.mkv", p.ID, f.Number)
				if output != "" && part != 0 {
					name = output
				}
				if err := c.save(cmd.Context(), fmt.Sprintf("/api/v1/programmes/%s/parts/%d/file?download=true", segment(p.ID), f.Number), name); err != nil {
					return err
				}
				saved++
				if name != "-" {
					fmt.Fprintln(cmd.OutOrStdout(), name)
				}
			}
			if saved == 0 {
				return fmt.Errorf("nothing of %s is finished yet", p.ID)
			}
			return nil
		},
	}
	cmd.Flags().IntVar(&part, "part", 0, "this part only")
	cmd.Flags().StringVarP(&output, "output", "o", "", "with --part: name of the file; - is standard output")
	return cmd
}

func (o *operator) programmeExport() *cobra.Command {
	var format, output string
	cmd := &cobra.Command{
		Use: "export ID", Short: "make one file with mixed sound of a recorded meeting, by ffmpeg on the appliance", Args: cobra.ExactArgs(1),
		Long: "Waits until it is done and writes the file here. Ctrl-C leaves the export running; programme show says how far it is.",
		RunE: func(cmd *cobra.Command, args []string) error {
			c, err := o.client()
			if err != nil {
				return err
			}
			path := "/api/v1/programmes/" + segment(args[0])
			var made programmeExport
			if err := send(o, cmd, "POST", path+"/exports", map[string]string{"format": format}, func(_ io.Writer, e programmeExport) { made = e }); err != nil {
				return err
			}
			if made.ID == "" {
				return nil // --json has printed it
			}
			tick := time.NewTicker(time.Second)
			defer tick.Stop()
			for {
				var p programme
				if err := c.get(cmd.Context(), path, &p); err != nil {
					return err
				}
				for _, e := range p.Exports {
					if e.ID != made.ID {
						continue
					}
					switch e.State {
					case "done":
						name := output
						if name == "" {
							name = args[0] + "." + format
						}
						if err := c.save(cmd.Context(), path+"/exports/"+segment(e.ID)+"/file", name); err != nil {
							return err
						}
						if name != "-" {
							fmt.Fprintln(cmd.OutOrStdout(), name)
						}
						return nil
					case "failed", "cancelled":
						return fmt.Errorf("export %s: %s", e.State, e.Error)
					}
					fmt.Fprintln(cmd.ErrOrStderr(), strconv.Itoa(int(e.Progress*100))+" %")
				}
				select {
				case <-cmd.Context().Done():
					return cmd.Context().Err()
				case <-tick.C:
				}
			}
		},
	}
	cmd.Flags().StringVar(&format, "format", "mp4", "mp4, webm")
	cmd.Flags().StringVarP(&output, "output", "o", "", "name of the file; - is standard output")
	return cmd
}

func (o *operator) roomRecord() *cobra.Command {
	var stop, tracks bool
	cmd := &cobra.Command{
		Use: "record ROOM", Short: "record the meeting in a room; everybody in it is shown that", Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			path := "/api/v1/rooms/" + segment(args[0]) + "/recording"
			if stop {
				return send(o, cmd, "DELETE", path, nil, said[map[string]any]("the recording has ended"))
			}
			return send(o, cmd, "POST", path, map[string]bool{"tracks": tracks}, said[map[string]any]("the meeting is being recorded"))
		},
	}
	cmd.Flags().BoolVar(&stop, "stop", false, "end the recording")
	cmd.Flags().BoolVar(&tracks, "tracks", false, "also every participant by itself")
	return cmd
}
