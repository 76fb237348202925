package api

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"sync"
	"time"

	"github.com/danielgtaylor/huma/v2"
	"github.com/danielgtaylor/huma/v2/adapters/humago"

	"linehall/internal/audit"
	"linehall/internal/auth"
)

// Recordings keeps what was said in calls.
type Recordings interface {
	Recordings(ctx context.Context, q RecordingQuery) ([]Recording, error)
	Recording(ctx context.Context, id string) (Recording, error)
	// Audio opens a recording in one of AudioForms; ErrInvalid says why it cannot be had so.
	Audio(ctx context.Context, id, form string) (Audio, error)
	DeleteRecording(ctx context.Context, id string) error
	// Record begins or ends the recording of a call; ErrInvalid says why it cannot.
	Record(ctx context.Context, call string, on bool, by string) error
}

// AudioForms are the forms in which a recording can be had: both parties in a stereo file, the caller left, or the packets
// of one.
func AudioForms() []string { return []string{"wav", "flac", "rtp_caller", "rtp_callee"} }

// Audio is a recording as a file; it is closed when it was read.
type Audio struct {
	Name, Type string
	Modified   time.Time
	Content    io.ReadSeeker // nil: Write makes the file from its beginning
	Write      func(io.Writer) error
	Close      func() error
}

// RecordingQuery says which recordings are wanted, newest first.
type RecordingQuery struct {
	Call     string
	From, To time.Time // started at or after, and before; zero = open
	Limit    int
}

// Recording is what is known of one recording; a call that was recorded several times, or over a restart, has several.
type Recording struct {
	ID              string     `json:"id"`
	CallID          string     `json:"call_id" doc:"id of the call and of its record"`
	Part            int        `json:"part" doc:"1, 2, … of the same call"`
	State           string     `json:"state" enum:"recording,kept"`
	StartedAt       time.Time  `json:"started_at"`
	EndedAt         *time.Time `json:"ended_at"`
	DurationSeconds float64    `json:"duration_seconds"`
	From            Party      `json:"from"`
	To              Party      `json:"to"`
	StartedBy       string     `json:"started_by"`
	Rule            string     `json:"rule" doc:"of the configuration, that decided"`
	Announced       bool       `json:"announced" doc:"both parties heard that they are recorded"`
	EndedBy         string     `json:"ended_by"`
	Reason          string     `json:"reason" doc:"why it ended"`
	SizeBytes       int64      `json:"size_bytes"`
	Encrypted       bool       `json:"encrypted" doc:"at rest"`
	MissingPackets  int64      `json:"missing_packets" doc:"that did not get to the disk"`
	KeysOmitted     bool       `json:"keys_omitted"`
	Undecodable     []string   `json:"undecodable" nullable:"false" doc:"codecs that cannot be heard here; their packets are kept"`
}

type recordingList struct {
	Recordings []Recording `json:"recordings" nullable:"false"`
}

type recordingsIn struct {
	Call  string    `query:"call" maxLength:"64" doc:"of this call only"`
	From  time.Time `query:"from" doc:"started at or after"`
	To    time.Time `query:"to" doc:"started before"`
	Limit int       `query:"limit" minimum:"1" maximum:"10000" default:"1000" doc:"at most so many, newest first"`
}

type recordingIn struct {
	ID string `path:"id" maxLength:"64"`
}

type audioIn struct {
	ID       string `path:"id" maxLength:"64"`
	Format   string `query:"format" enum:"wav,flac,rtp_caller,rtp_callee" default:"wav" doc:"a stereo file, the caller left; or one party's packets as rtpdump"`
	Download bool   `query:"download" doc:"as a file to keep: it stands in the audit log as an export"`
}

func recordingSites(r Recording) []string { return []string{r.From.Site, r.To.Site} }

func (a *API) registerRecordings() {
	view(a, operation("list-recordings", http.MethodGet, "/recordings", "recordings", "Recorded calls", watchers), watchers,
		func(ctx context.Context, p auth.Principal, in *recordingsIn) (*body[recordingList], error) {
			found, err := a.opts.Recordings.Recordings(ctx, RecordingQuery{Call: in.Call, From: in.From, To: in.To, Limit: in.Limit})
			return &body[recordingList]{recordingList{only(p, found, recordingSites)}}, err
		})
	view(a, operation("get-recording", http.MethodGet, "/recordings/{id}", "recordings", "What is known of a recording", watchers), watchers,
		func(ctx context.Context, p auth.Principal, in *recordingIn) (*body[Recording], error) {
			r, err := a.recording(ctx, p, in.ID)
			return &body[Recording]{r}, err
		})
	a.registerAudio()
	op := operation("delete-recording", http.MethodDelete, "/recordings/{id}", "recordings", "Delete a recording", admins)
	op.DefaultStatus = http.StatusNoContent
	op.Middlewares = huma.Middlewares{a.recordRefusals("recording.delete", admins)}
	change(a, op, admins,
		func(ctx context.Context, p auth.Principal, in *recordingIn) (audit.Event, error) {
			r, err := a.recording(ctx, p, in.ID)
			return recordingEvent("recording.delete", r), err
		},
		func(ctx context.Context, _ auth.Principal, in *recordingIn) (*nothing, error) {
			return nil, a.opts.Recordings.DeleteRecording(ctx, in.ID)
		})
	a.registerTaping()
}

// recordRefusals puts on record who is refused what was said.
func (a *API) recordRefusals(action string, roles []auth.Role) func(huma.Context, func(huma.Context)) {
	return func(ctx huma.Context, next func(huma.Context)) {
		if p, ok := auth.PrincipalFrom(ctx.Context()); ok && !slices.Contains(roles, p.Role) {
			e := audit.Event{Action: action + ".refused", Object: ctx.Param("id"), Detail: map[string]string{"role": string(p.Role)}}
			if err := a.record(ctx.Context(), actor(p), e); err != nil {
				_ = a.problem(ctx.Context(), action, err) // logs it; the request is refused anyhow
			}
		}
		next(ctx)
	}
}

func recordingEvent(action string, r Recording) audit.Event {
	return audit.Event{Action: action, Object: r.ID, Detail: map[string]string{
		"from": r.From.Extension, "to": r.To.Extension, "started_at": r.StartedAt.UTC().Format(time.RFC3339),
	}}
}

// recording returns one that the principal may see.
func (a *API) recording(ctx context.Context, p auth.Principal, id string) (Recording, error) {
	r, err := a.opts.Recordings.Recording(ctx, id)
	if err == nil && !sees(p, recordingSites(r)...) {
		err = huma.Error404NotFound("no such recording at your site")
	}
	if r.Undecodable == nil {
		r.Undecodable = []string{}
	}
	return r, err
}

func (a *API) registerAudio() {
	op := operation("get-recording-audio", http.MethodGet, "/recordings/{id}/audio", "recordings", "Listen to a recording, or export it", auditors)
	op.Middlewares = huma.Middlewares{a.recordRefusals("recording.listen", auditors)}
	sound := &huma.Schema{Type: "string", Format: "binary"}
	op.Responses = map[string]*huma.Response{"200": {
		Description: "the file; parts of a WAV file can be asked for",
		Content:     map[string]*huma.MediaType{"audio/wav": {Schema: sound}, "audio/flac": {Schema: sound}, "application/octet-stream": {Schema: sound}},
	}}
	var heard listeners
	change(a, op, auditors,
		func(ctx context.Context, p auth.Principal, in *audioIn) (audit.Event, error) {
			r, err := a.recording(ctx, p, in.ID)
			e := recordingEvent("recording.listen", r)
			if in.Download {
				e.Action = "recording.export"
				e.Detail["format"] = in.Format
			} else if err == nil && heard.lately(actor(p)+" "+in.ID, time.Now()) { // a player asks for a file in pieces
				e.Action = ""
			}
			return e, err
		},
		func(ctx context.Context, _ auth.Principal, in *audioIn) (*huma.StreamResponse, error) {
			file, err := a.opts.Recordings.Audio(ctx, in.ID, in.Format)
			if err != nil {
				return nil, err
			}
			return &huma.StreamResponse{Body: func(ctx huma.Context) { a.sendAudio(ctx, file, in.Download) }}, nil //nolint:contextcheck // huma's is the request's
		})
}

func (a *API) sendAudio(ctx huma.Context, file Audio, download bool) {
	r, w := humago.Unwrap(ctx)
	disposition := "inline"
	if download {
		disposition = "attachment"
	}
	w.Header().Set("Content-Type", file.Type)
	w.Header().Set("Content-Disposition", disposition+`; filename="`+file.Name+`"`) // of letters, digits, - and .
	w.Header().Set("Cache-Control", "no-store")
	var err error
	if file.Content != nil {
		http.ServeContent(w, r, "", file.Modified, file.Content)
	} else {
		err = file.Write(w)
	}
	if err = errors.Join(err, file.Close()); err != nil && r.Context().Err() == nil {
		_ = a.problem(r.Context(), "get-recording-audio", fmt.Errorf("recording %s: %w", file.Name, err)) // logs it: the answer has begun
	}
}

// listeners remembers who listens to what, so that a player's many requests are one entry of the audit log.
type listeners struct {
	mu   sync.Mutex // guards last
	last map[string]time.Time
}

// listening is how long one entry stands for.
const listening = 10 * time.Minute

func (l *listeners) lately(key string, now time.Time) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	for k, at := range l.last {
		if now.Sub(at) >= listening {
			delete(l.last, k)
		}
	}
	if _, there := l.last[key]; there {
		return true
	}
	if l.last == nil {
		l.last = map[string]time.Time{}
	}
	l.last[key] = now
	return false
}

func (a *API) registerTaping() {
	for _, one := range []struct {
		id, method, summary, action string
		on                          bool
	}{
		{"start-recording", http.MethodPost, "Record a call that goes on", "call.record", true},
		{"stop-recording", http.MethodDelete, "End the recording of a call", "call.record_end", false},
	} {
		op := operation(one.id, one.method, "/calls/{id}/recording", "recordings", one.summary, operators)
		op.DefaultStatus = http.StatusNoContent
		change(a, op, operators,
			func(ctx context.Context, p auth.Principal, in *callIn) (audit.Event, error) {
				c, err := a.call(ctx, p, in.ID)
				return audit.Event{Action: one.action, Object: in.ID, Detail: map[string]string{"from": c.From.Extension, "to": c.To.Extension}}, err
			},
			func(ctx context.Context, p auth.Principal, in *callIn) (*nothing, error) {
				return nil, a.opts.Recordings.Record(ctx, in.ID, one.on, actor(p))
			})
	}
}
