package api

import (
	"bytes"
	"context"
	"encoding/csv"
	"fmt"
	"net/http"
	"strconv"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"linehall/internal/auth"
)

// Bounds of what one answer lists.
const (
	maxMeetings = 1000
	maxMinutes  = 100_000
)

// Meetings knows the meetings that are and were, and their minutes.
type Meetings interface {
	Meetings(ctx context.Context, room string, limit int) ([]Meeting, error)
	Minutes(ctx context.Context, meeting string, limit int) ([]Minute, error)
	// Attendance is who was there, in order of coming; then who was expected and did not come.
	Attendance(ctx context.Context, m Meeting) ([]Attendance, error)
}

// Meeting is a meeting of a room.
type Meeting struct {
	ID        string     `json:"id"`
	Room      string     `json:"room"`
	Name      string     `json:"name"`
	StartedAt time.Time  `json:"started_at"`
	EndedAt   *time.Time `json:"ended_at" doc:"null while it goes on"`
	Planned   *Planned   `json:"planned" doc:"null: it was not scheduled"`
}

// Planned is what a meeting was scheduled as.
type Planned struct {
	_ struct{} `json:"-" nullable:"true"`

	Meeting  string    `json:"meeting" doc:"id of the plan"`
	Date     string    `json:"date"`
	Title    string    `json:"title"`
	StartsAt time.Time `json:"starts_at"`
	EndsAt   time.Time `json:"ends_at"`
	Venues   []string  `json:"venues" nullable:"false" doc:"that were to be called"`
}

// Minute is one entry of the minutes: who did what, when.
type Minute struct {
	At         time.Time `json:"at"`
	Actor      string    `json:"actor" doc:"a venue's id, user:NAME or token:ID; empty: the appliance"`
	ActorName  Names     `json:"actor_name"`
	Action     string    `json:"action" example:"floor.give"`
	Target     string    `json:"target"`
	TargetName Names     `json:"target_name"`
	Detail     string    `json:"detail"`
}

type meetingList struct {
	Meetings []Meeting `json:"meetings" nullable:"false"`
}

type minuteList struct {
	Meeting Meeting  `json:"meeting"`
	Minutes []Minute `json:"minutes"`
}

type meetingsIn struct {
	Number string `path:"number" maxLength:"32"`
	Limit  int    `query:"limit" minimum:"1" maximum:"1000" default:"100" doc:"at most so many, newest first"`
}

type minutesIn struct {
	Number  string `path:"number" maxLength:"32"`
	Meeting string `query:"meeting" maxLength:"64" doc:"id of the meeting; without it the newest of the room"`
}

type csvOut struct {
	ContentType string `header:"Content-Type"`
	Disposition string `header:"Content-Disposition"`
	Body        []byte
}

const csvType = "text/csv; charset=utf-8"

func (a *API) registerMeetings() {
	view(a, operation("list-meetings", http.MethodGet, "/rooms/{number}/meetings", "rooms", "The meetings of a room, newest first", leaders), leaders,
		func(ctx context.Context, _ auth.Principal, in *meetingsIn) (*body[meetingList], error) {
			if _, err := a.opts.Rooms.Room(ctx, in.Number); err != nil {
				return nil, err
			}
			list, err := a.opts.Meetings.Meetings(ctx, in.Number, min(in.Limit, maxMeetings))
			return &body[meetingList]{meetingList{append([]Meeting{}, list...)}}, err
		})
	view(a, operation("get-minutes", http.MethodGet, "/rooms/{number}/minutes", "rooms", "The minutes of a meeting", leaders), leaders,
		func(ctx context.Context, _ auth.Principal, in *minutesIn) (*body[minuteList], error) {
			out, err := a.minutes(ctx, in)
			return &body[minuteList]{out}, err
		})
	export := operation("export-minutes", http.MethodGet, "/rooms/{number}/minutes.csv", "rooms", "The minutes of a meeting for a spreadsheet", leaders)
	export.Responses = map[string]*huma.Response{"200": {
		Description: "one line per entry", Content: map[string]*huma.MediaType{"text/csv": {Schema: &huma.Schema{Type: "string"}}},
	}}
	view(a, export, leaders, func(ctx context.Context, _ auth.Principal, in *minutesIn) (*csvOut, error) {
		out, err := a.minutes(ctx, in)
		if err != nil {
			return nil, err
		}
		file, err := minutesCSV(out.Minutes)
		return &csvOut{ContentType: csvType, Disposition: `attachment; filename="minutes-` + fileName(out.Meeting.ID) + `.csv"`, Body: file}, err
	})
}

// meeting finds a meeting of the room.
func (a *API) meeting(ctx context.Context, in *minutesIn) (Meeting, error) {
	list, err := a.opts.Meetings.Meetings(ctx, in.Number, maxMeetings)
	if err != nil {
		return Meeting{}, err
	}
	for _, m := range list {
		if in.Meeting == "" || m.ID == in.Meeting {
			return m, nil
		}
	}
	return Meeting{}, fmt.Errorf("meeting %q of room %s: %w", in.Meeting, in.Number, ErrNotFound)
}

// minutes finds a meeting of the room and what was done in it.
func (a *API) minutes(ctx context.Context, in *minutesIn) (minuteList, error) {
	m, err := a.meeting(ctx, in)
	if err != nil {
		return minuteList{}, err
	}
	minutes, err := a.opts.Meetings.Minutes(ctx, m.ID, maxMinutes)
	return minuteList{Meeting: m, Minutes: append([]Minute{}, minutes...)}, err
}

// byteOrderMark has spreadsheets read UTF-8.
const byteOrderMark = "\ufeff"

func minutesCSV(minutes []Minute) ([]byte, error) {
	out := bytes.NewBufferString(byteOrderMark)
	w := csv.NewWriter(out)
	if err := w.Write([]string{"at", "actor", "actor_zh", "actor_en", "action", "target", "target_zh", "target_en", "detail"}); err != nil {
		return nil, fmt.Errorf("minutes: %w", err)
	}
	for _, m := range minutes {
		row := []string{m.At.Format(time.RFC3339), m.Actor, m.ActorName.ZH, m.ActorName.EN, m.Action, m.Target, m.TargetName.ZH, m.TargetName.EN, m.Detail}
		for i, cell := range row {
			row[i] = inert(cell)
		}
		if err := w.Write(row); err != nil {
			return nil, fmt.Errorf("minutes: %w", err)
		}
	}
	w.Flush()
	if err := w.Error(); err != nil {
		return nil, fmt.Errorf("minutes: %w", err)
	}
	return out.Bytes(), nil
}

// inert keeps a spreadsheet from taking what somebody wrote for a formula.
func inert(cell string) string {
	if cell == "" {
		return cell
	}
	switch cell[0] {
	case '=', '@', '\t', '\r', '+', '-':
		if _, err := strconv.ParseFloat(cell, 64); err != nil {
			return "'" + cell
		}
	}
	return cell
}
