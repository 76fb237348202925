package api

import (
	"context"
	"net/http"
	"slices"
	"strconv"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"linehall/internal/audit"
	"linehall/internal/auth"
)

// Programmes keeps what was recorded of meetings.
type Programmes interface {
	Programmes(ctx context.Context, q ProgrammeQuery) ([]Programme, error)
	Programme(ctx context.Context, id string) (ProgrammeDetails, error)
	// Part opens a finished file, PartSound the mixed sound of one; ErrInvalid says why it cannot be had.
	Part(ctx context.Context, id string, number int) (Audio, error)
	PartSound(ctx context.Context, id string, number int) (Audio, error)
	DeleteProgramme(ctx context.Context, id string) error
	ExportProgramme(ctx context.Context, id, format, by string) (ProgrammeExport, error)
	OpenExport(ctx context.Context, id, export string) (Audio, error)
	DropExport(ctx context.Context, id, export string) error
	// RecordRoom begins or ends the recording of a room's meeting; ErrConflict says why it cannot.
	RecordRoom(ctx context.Context, room string, who auth.Principal, on, tracks bool) error
}

// ProgrammeQuery says which recordings of meetings are wanted, newest first.
type ProgrammeQuery struct {
	Room     string
	From, To time.Time // started at or after, and before; zero = open
	Limit    int
}

// Programme is a recorded meeting: what the chair broadcast.
type Programme struct {
	ID              string     `json:"id"`
	Room            string     `json:"room"`
	RoomName        string     `json:"room_name"`
	Meeting         string     `json:"meeting" doc:"id of the meeting, for its minutes"`
	State           string     `json:"state" enum:"recording,kept"`
	StartedAt       time.Time  `json:"started_at"`
	EndedAt         *time.Time `json:"ended_at"`
	DurationSeconds float64    `json:"duration_seconds" doc:"from the beginning to the end, gaps included"`
	StartedBy       Names      `json:"started_by"`
	Reason          string     `json:"reason" doc:"why it ended" example:"disk_full"`
	Parts           int        `json:"parts" doc:"files of the programme; another one begins after a restart, and when a codec changes"`
	SizeBytes       int64      `json:"size_bytes"`
	Encrypted       bool       `json:"encrypted" doc:"at rest"`
	Tracks          bool       `json:"tracks" doc:"every participant was recorded by itself as well"`
}

// ProgrammePart is one file.
type ProgrammePart struct {
	Number          int        `json:"number"`
	Member          string     `json:"member" doc:"empty: the programme; otherwise the participant"`
	Name            Names      `json:"name"`
	StartedAt       time.Time  `json:"started_at"`
	EndedAt         *time.Time `json:"ended_at" doc:"null while it is being written"`
	OffsetSeconds   float64    `json:"offset_seconds" doc:"since the recording began"`
	DurationSeconds float64    `json:"duration_seconds"`
	SizeBytes       int64      `json:"size_bytes"`
	VideoCodec      string     `json:"video_codec" doc:"empty: sound alone"`
	Width           int        `json:"width"`
	Height          int        `json:"height"`
	Voices          int        `json:"voices" doc:"tracks of sound"`
	Encrypted       bool       `json:"encrypted"`
	CutOff          bool       `json:"cut_off" doc:"by a crash; what is there plays"`
}

// Chapter is a moment of a recording.
type Chapter struct {
	At            time.Time `json:"at"`
	OffsetSeconds float64   `json:"offset_seconds" doc:"since the recording began"`
	Kind          string    `json:"kind" enum:"picture,content,act" doc:"who is seen from here on, whose shared screen, or what the chair did"`
	Action        string    `json:"action" doc:"of an act, as in the minutes"`
	Name          Names     `json:"name"`
	Target        Names     `json:"target"`
	Detail        string    `json:"detail"`
}

// ProgrammeExport is one file with pictures and mixed sound.
type ProgrammeExport struct {
	ID        string    `json:"id"`
	Format    string    `json:"format" enum:"mp4,webm"`
	State     string    `json:"state" enum:"waiting,running,done,failed,cancelled"`
	Progress  float64   `json:"progress" doc:"0 to 1"`
	Error     string    `json:"error"`
	By        string    `json:"by"`
	CreatedAt time.Time `json:"created_at"`
	SizeBytes int64     `json:"size_bytes"`
}

// ProgrammeDetails is everything about one recording.
type ProgrammeDetails struct {
	Programme

	Files    []ProgrammePart   `json:"files" nullable:"false"`
	Chapters []Chapter         `json:"chapters" nullable:"false"`
	Exports  []ProgrammeExport `json:"exports" nullable:"false"`
}

type programmeList struct {
	Programmes []Programme `json:"programmes" nullable:"false"`
}

type programmesIn struct {
	Room  string    `query:"room" maxLength:"32" doc:"of this room only"`
	From  time.Time `query:"from" doc:"started at or after"`
	To    time.Time `query:"to" doc:"started before"`
	Limit int       `query:"limit" minimum:"1" maximum:"10000" default:"1000" doc:"at most so many, newest first"`
}

type programmeIn struct {
	ID string `path:"id" maxLength:"96"`
}

type partIn struct {
	ID       string `path:"id" maxLength:"96"`
	Number   int    `path:"number" minimum:"1"`
	Download bool   `query:"download" doc:"as a file to keep: it stands in the audit log as an export"`
}

type makeExportIn struct {
	ID   string `path:"id" maxLength:"96"`
	Body struct {
		Format string `json:"format" enum:"mp4,webm"`
	}
}

type exportIn struct {
	ID     string `path:"id" maxLength:"96"`
	Export string `path:"export" maxLength:"32"`
}

type recordRoomIn struct {
	Number string `path:"number" maxLength:"32"`
	Body   struct {
		Tracks bool `json:"tracks,omitempty" doc:"also every participant by itself"`
	}
}

// viewers may see what was recorded of meetings, chairs may record.
var (
	viewers = []auth.Role{auth.Admin, auth.Auditor, auth.Chair}
	chairs  = []auth.Role{auth.Admin, auth.Operator, auth.Chair}
)

func (a *API) registerProgrammes() {
	view(a, operation("list-programmes", http.MethodGet, "/programmes", "programmes", "Recorded meetings", leaders), leaders,
		func(ctx context.Context, p auth.Principal, in *programmesIn) (*body[programmeList], error) {
			found, err := a.opts.Programmes.Programmes(ctx, ProgrammeQuery{Room: in.Room, From: in.From, To: in.To, Limit: in.Limit})
			found = slices.DeleteFunc(found, func(one Programme) bool { return p.Room != "" && p.Room != one.Room })
			return &body[programmeList]{programmeList{append([]Programme{}, found...)}}, err
		})
	view(a, operation("get-programme", http.MethodGet, "/programmes/{id}", "programmes", "A recorded meeting: its files, chapters and exports", leaders), leaders,
		func(ctx context.Context, p auth.Principal, in *programmeIn) (*body[ProgrammeDetails], error) {
			d, err := a.programme(ctx, p, in.ID)
			return &body[ProgrammeDetails]{d}, err
		})
	op := operation("delete-programme", http.MethodDelete, "/programmes/{id}", "programmes", "Delete a recorded meeting", admins)
	op.DefaultStatus = http.StatusNoContent
	op.Middlewares = huma.Middlewares{a.recordRefusals("meeting_recording.delete", admins)}
	change(a, op, admins,
		func(ctx context.Context, p auth.Principal, in *programmeIn) (audit.Event, error) {
			return a.programmeEvent(ctx, p, "meeting_recording.delete", in.ID)
		},
		func(ctx context.Context, _ auth.Principal, in *programmeIn) (*nothing, error) {
			return nil, a.opts.Programmes.DeleteProgramme(ctx, in.ID)
		})
	a.registerProgrammeFiles()
	a.registerProgrammeExports()
	a.registerRoomTaping()
}

// programme returns one that the principal may see.
func (a *API) programme(ctx context.Context, p auth.Principal, id string) (ProgrammeDetails, error) {
	d, err := a.opts.Programmes.Programme(ctx, id)
	if err == nil && p.Room != "" && p.Room != d.Room {
		err = huma.Error404NotFound("no such recording of your room")
	}
	if d.Files == nil {
		d.Files = []ProgrammePart{}
	}
	if d.Chapters == nil {
		d.Chapters = []Chapter{}
	}
	if d.Exports == nil {
		d.Exports = []ProgrammeExport{}
	}
	return d, err
}

func (a *API) programmeEvent(ctx context.Context, p auth.Principal, action, id string) (audit.Event, error) {
	d, err := a.programme(ctx, p, id)
	return audit.Event{Action: action, Object: id, Detail: map[string]string{
		"room": d.Room, "started_at": d.StartedAt.UTC().Format(time.RFC3339),
	}}, err
}

func (a *API) registerProgrammeFiles() {
	var seen listeners
	for _, one := range []struct {
		id, path, summary, mime string
		open                    func(Programmes, context.Context, string, int) (Audio, error)
	}{
		{"get-programme-file", "file", "Watch a part of a recorded meeting, or export it: pictures, and each voice as a track of its own", "video/x-matroska", Programmes.Part},
		{"get-programme-sound", "sound", "Listen to a part of a recorded meeting: all voices in one", "audio/wav", Programmes.PartSound},
	} {
		op := operation(one.id, http.MethodGet, "/programmes/{id}/parts/{number}/"+one.path, "programmes", one.summary, viewers)
		op.Middlewares = huma.Middlewares{a.recordRefusals("meeting_recording.watch", viewers)}
		op.Responses = fileResponse(one.mime)
		change(a, op, viewers,
			func(ctx context.Context, p auth.Principal, in *partIn) (audit.Event, error) {
				e, err := a.programmeEvent(ctx, p, "meeting_recording.watch", in.ID)
				if in.Download {
					e.Action = "meeting_recording.export"
					e.Detail["part"] = strconv.Itoa(in.Number)
				} else if err == nil && seen.lately(actor(p)+" "+in.ID, time.Now()) {
					e.Action = "" // a player asks for a file in pieces
				}
				return e, err
			},
			func(ctx context.Context, _ auth.Principal, in *partIn) (*huma.StreamResponse, error) {
				file, err := one.open(a.opts.Programmes, ctx, in.ID, in.Number)
				if err != nil {
					return nil, err
				}
				return &huma.StreamResponse{Body: func(ctx huma.Context) { a.sendAudio(ctx, file, in.Download) }}, nil //nolint:contextcheck // huma's is the request's
			})
	}
}

func fileResponse(mime string) map[string]*huma.Response {
	return map[string]*huma.Response{"200": {
		Description: "the file; parts of it can be asked for",
		Content:     map[string]*huma.MediaType{mime: {Schema: &huma.Schema{Type: "string", Format: "binary"}}},
	}}
}

func (a *API) registerProgrammeExports() {
	op := operation("export-programme", http.MethodPost, "/programmes/{id}/exports", "programmes", "Make one file of a recorded meeting, with ffmpeg, beside everything else", viewers)
	op.DefaultStatus = http.StatusAccepted
	change(a, op, viewers,
		func(ctx context.Context, p auth.Principal, in *makeExportIn) (audit.Event, error) {
			e, err := a.programmeEvent(ctx, p, "meeting_recording.convert", in.ID)
			e.Detail["format"] = in.Body.Format
			return e, err
		},
		func(ctx context.Context, p auth.Principal, in *makeExportIn) (*body[ProgrammeExport], error) {
			e, err := a.opts.Programmes.ExportProgramme(ctx, in.ID, in.Body.Format, actor(p))
			return &body[ProgrammeExport]{e}, err
		})
	get := operation("get-programme-export", http.MethodGet, "/programmes/{id}/exports/{export}/file", "programmes", "What an export has made", viewers)
	get.Middlewares = huma.Middlewares{a.recordRefusals("meeting_recording.export", viewers)}
	get.Responses = fileResponse("video/mp4")
	change(a, get, viewers,
		func(ctx context.Context, p auth.Principal, in *exportIn) (audit.Event, error) {
			return a.programmeEvent(ctx, p, "meeting_recording.export", in.ID)
		},
		func(ctx context.Context, _ auth.Principal, in *exportIn) (*huma.StreamResponse, error) {
			file, err := a.opts.Programmes.OpenExport(ctx, in.ID, in.Export)
			if err != nil {
				return nil, err
			}
			return &huma.StreamResponse{Body: func(ctx huma.Context) { a.sendAudio(ctx, file, true) }}, nil //nolint:contextcheck // huma's is the request's
		})
	drop := operation("drop-programme-export", http.MethodDelete, "/programmes/{id}/exports/{export}", "programmes", "End an export, or delete what it has made", viewers)
	drop.DefaultStatus = http.StatusNoContent
	change(a, drop, viewers,
		func(ctx context.Context, p auth.Principal, in *exportIn) (audit.Event, error) {
			return a.programmeEvent(ctx, p, "meeting_recording.drop_export", in.ID)
		},
		func(ctx context.Context, _ auth.Principal, in *exportIn) (*nothing, error) {
			return nil, a.opts.Programmes.DropExport(ctx, in.ID, in.Export)
		})
}

func (a *API) registerRoomTaping() {
	begin := operation("start-room-recording", http.MethodPost, "/rooms/{number}/recording", "programmes", "Record the meeting in a room; everybody in it is shown that", chairs)
	begin.DefaultStatus = http.StatusNoContent
	change(a, begin, chairs,
		func(ctx context.Context, p auth.Principal, in *recordRoomIn) (audit.Event, error) {
			return audit.Event{Action: "room.record", Object: in.Number}, a.mayRecord(ctx, p, in.Number)
		},
		func(ctx context.Context, p auth.Principal, in *recordRoomIn) (*nothing, error) {
			return nil, a.opts.Programmes.RecordRoom(ctx, in.Number, p, true, in.Body.Tracks)
		})
	end := operation("stop-room-recording", http.MethodDelete, "/rooms/{number}/recording", "programmes", "End the recording of the meeting in a room", chairs)
	end.DefaultStatus = http.StatusNoContent
	change(a, end, chairs,
		func(ctx context.Context, p auth.Principal, in *roomIn) (audit.Event, error) {
			return audit.Event{Action: "room.record_end", Object: in.Number}, a.mayRecord(ctx, p, in.Number)
		},
		func(ctx context.Context, p auth.Principal, in *roomIn) (*nothing, error) {
			return nil, a.opts.Programmes.RecordRoom(ctx, in.Number, p, false, false)
		})
}

func (a *API) mayRecord(ctx context.Context, p auth.Principal, number string) error {
	if !p.MayEnter(number) {
		return huma.Error403Forbidden("that room is not yours")
	}
	_, err := a.opts.Rooms.Room(ctx, number)
	return err
}
