package operator

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"strings"
	"time"

	"github.com/spf13/cobra"
)

type recording struct {
	ID              string     `json:"id"`
	CallID          string     `json:"call_id"`
	Part            int        `json:"part"`
	State           string     `json:"state"`
	StartedAt       time.Time  `json:"started_at"`
	EndedAt         *time.Time `json:"ended_at"`
	DurationSeconds float64    `json:"duration_seconds"`
	From            party      `json:"from"`
	To              party      `json:"to"`
	StartedBy       string     `json:"started_by"`
	Rule            string     `json:"rule"`
	Announced       bool       `json:"announced"`
	EndedBy         string     `json:"ended_by"`
	Reason          string     `json:"reason"`
	SizeBytes       int64      `json:"size_bytes"`
	Encrypted       bool       `json:"encrypted"`
	MissingPackets  int64      `json:"missing_packets"`
	KeysOmitted     bool       `json:"keys_omitted"`
	Undecodable     []string   `json:"undecodable"`
}

type recordings struct {
	Recordings []recording `json:"recordings"`
}

func (o *operator) recording() *cobra.Command {
	show1 := &cobra.Command{
		Use: "show ID", Short: "what is known of a recording", Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			return show(o, cmd, "/api/v1/recordings/"+segment(args[0]), renderRecording)
		},
	}
	remove := &cobra.Command{
		Use: "delete ID...", Short: "delete recordings; it stands in the audit log", Args: cobra.MinimumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			for _, id := range args {
				if err := send(o, cmd, "DELETE", "/api/v1/recordings/"+segment(id), nil, func(out io.Writer, _ map[string]any) {
					fmt.Fprintf(out, "recording %s deleted\n", id)
				}); err != nil {
					return err
				}
			}
			return nil
		},
	}
	return group("recording", "recorded calls", o.recordingList(), show1, o.recordingExport(), remove, o.tape("start", "POST", "record a call that goes on"), o.tape("stop", "DELETE", "end the recording of a call"))
}

func (o *operator) tape(use, method, short string) *cobra.Command {
	return &cobra.Command{
		Use: use + " CALL", Short: short, Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			return send(o, cmd, method, "/api/v1/calls/"+segment(args[0])+"/recording", nil, func(io.Writer, map[string]any) {})
		},
	}
}

func (o *operator) recordingList() *cobra.Command {
	var call, from, to string
	var limit int
	cmd := &cobra.Command{
		Use: "list", Short: "recordings, newest first", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			query := url.Values{"limit": {fmt.Sprint(limit)}}
			if call != "" {
				query.Set("call", call)
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
			return show(o, cmd, "/api/v1/recordings?"+query.Encode(), renderRecordings)
		},
	}
	cmd.Flags().StringVar(&call, "call", "", "of this call only")
	cmd.Flags().StringVar(&from, "from", "", "started at or after, like 2026-11-28 or 2026-11-28T08:00:00+08:00")
	cmd.Flags().StringVar(&to, "to", "", "started before")
	cmd.Flags().IntVar(&limit, "limit", 1000, "at most so many")
	return cmd
}

func renderRecordings(out io.Writer, body recordings) {
	if len(body.Recordings) == 0 {
		fmt.Fprintln(out, "no recordings")
		return
	}
	t := newTable(out, "id", "started", "from", "to", "seconds", "state", "by", "bytes")
	for _, r := range body.Recordings {
		t.AppendRow([]any{r.ID, clock(&r.StartedAt), r.From.Extension + " " + r.From.DisplayName, r.To.Extension + " " + r.To.DisplayName, int(r.DurationSeconds), r.State, r.StartedBy, r.SizeBytes})
	}
	t.Render()
}

func renderRecording(out io.Writer, r recording) {
	fmt.Fprintf(out, "%s  %s  %s (%s) -> %s (%s)\n", r.ID, r.State, r.From.Extension, r.From.Site, r.To.Extension, r.To.Site)
	fmt.Fprintf(out, "call %s, part %d, started %s by %s, %.1f s, ended %s by %s: %s\n", r.CallID, r.Part, clock(&r.StartedAt), r.StartedBy, r.DurationSeconds, clock(r.EndedAt), r.EndedBy, r.Reason)
	fmt.Fprintf(out, "%d bytes, encrypted %s, announced %s, keys omitted %s, packets missing %d\n", r.SizeBytes, yesNo(r.Encrypted), yesNo(r.Announced), yesNo(r.KeysOmitted), r.MissingPackets)
	if len(r.Undecodable) > 0 {
		fmt.Fprintf(out, "cannot be heard: %s (export --format rtp_caller, rtp_callee)\n", strings.Join(r.Undecodable, ", "))
	}
}

func (o *operator) recordingExport() *cobra.Command {
	var format, output string
	cmd := &cobra.Command{
		Use: "export ID|CALL", Short: "write a recording, or all of a call, as files", Args: cobra.ExactArgs(1),
		Long: "Writes a stereo file, the caller left and the callee right. It stands in the audit log.\nFormats: wav, flac; rtp_caller and rtp_callee are one party's packets (rtpdump), for codecs that cannot be decoded here.",
		RunE: func(cmd *cobra.Command, args []string) error {
			c, err := o.client()
			if err != nil {
				return err
			}
			ids := []string{args[0]}
			if !strings.Contains(args[0], "-") { // of a call
				var list recordings
				if err := c.get(cmd.Context(), "/api/v1/recordings?call="+url.QueryEscape(args[0]), &list); err != nil {
					return err
				}
				if ids = nil; len(list.Recordings) == 0 {
					return fmt.Errorf("call %s was not recorded", args[0])
				}
				for _, r := range list.Recordings {
					ids = append([]string{r.ID}, ids...)
				}
			}
			if output != "" && len(ids) > 1 {
				return fmt.Errorf("%d recordings do not fit into one file; leave --output out", len(ids))
			}
			for _, id := range ids {
				name := output
				if name == "" {
					name = id + map[string]string{"wav": ".wav", "flac": ".flac", "rtp_caller": "-caller.rtpdump", "rtp_callee": "-callee.rtpdump"}[format]
				}
				path := "/api/v1/recordings/" + segment(id) + "/audio?download=true&format=" + url.QueryEscape(format)
				if err := c.save(cmd.Context(), path, name); err != nil {
					return err
				}
				fmt.Fprintln(cmd.OutOrStdout(), name)
			}
			return nil
		},
	}
	cmd.Flags().StringVar(&format, "format", "wav", "wav, flac, rtp_caller, rtp_callee")
	cmd.Flags().StringVarP(&output, "output", "o", "", "name of the file; - is standard output")
	return cmd
}

// save writes an answer to a file as it comes: it may be large.
func (c *client) save(ctx context.Context, path, name string) (err error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://linehall"+path, nil)
	if err != nil {
		return fmt.Errorf("build request: %w", err)
	}
	response, err := (&http.Client{Transport: c.http.Transport}).Do(request)
	if err != nil {
		return c.explainDial(err)
	}
	defer func() { _ = response.Body.Close() }() // read to its end below
	if response.StatusCode >= http.StatusBadRequest {
		refused := &problem{}
		if err := json.NewDecoder(response.Body).Decode(refused); err != nil {
			refused.Detail = response.Status
		}
		refused.Status = response.StatusCode
		return refused
	}
	if name == "-" {
		_, err = io.Copy(os.Stdout, response.Body)
		return err
	}
	f, err := os.OpenFile(name, os.O_CREATE|os.O_WRONLY|os.O_TRUNC, 0o600)
	if err != nil {
		return fmt.Errorf("write recording: %w", err)
	}
	if _, err = io.Copy(f, response.Body); err != nil {
		return errors.Join(fmt.Errorf("write recording: %w", err), f.Close())
	}
	return f.Close()
}
