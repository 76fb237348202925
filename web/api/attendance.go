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

// Attendance is who was there, from when to when.
type Attendance struct {
	Member           string `json:"member" doc:"a venue's id, user:NAME or token:ID"`
	Name             Names  `json:"name"`
	Absent           bool   `json:"absent" doc:"was called and did not come"`
	Stays            []Stay `json:"stays" nullable:"false"`
	Seconds          int    `json:"seconds" doc:"in the meeting, all in all"`
	LateSeconds      int    `json:"late_seconds" doc:"after the planned start; 0: in time"`
	LeftEarlySeconds int    `json:"left_early_seconds" doc:"before the planned end; 0: stayed"`
}

// Stay is a time for which somebody was there.
type Stay struct {
	From time.Time  `json:"from"`
	To   *time.Time `json:"to" doc:"null: still there"`
}

type attendanceList struct {
	Meeting    Meeting      `json:"meeting"`
	Attendance []Attendance `json:"attendance" nullable:"false"`
}

func (a *API) registerAttendance() {
	view(a, operation("get-attendance", http.MethodGet, "/rooms/{number}/attendance", "meetings", "Who was in a meeting, from when to when", leaders), leaders,
		func(ctx context.Context, _ auth.Principal, in *minutesIn) (*body[attendanceList], error) {
			out, err := a.attendance(ctx, in)
			return &body[attendanceList]{out}, err
		})
	export := operation("export-attendance", http.MethodGet, "/rooms/{number}/attendance.csv", "meetings", "Who was in a meeting, for a spreadsheet", leaders)
	export.Responses = map[string]*huma.Response{"200": {
		Description: "one line per stay, and per absent venue", Content: map[string]*huma.MediaType{"text/csv": {Schema: &huma.Schema{Type: "string"}}},
	}}
	view(a, export, leaders, func(ctx context.Context, _ auth.Principal, in *minutesIn) (*csvOut, error) {
		out, err := a.attendance(ctx, in)
		if err != nil {
			return nil, err
		}
		file, err := attendanceCSV(out.Attendance)
		return &csvOut{ContentType: csvType, Disposition: `attachment; filename="attendance-` + fileName(out.Meeting.ID) + `.csv"`, Body: file}, err
	})
}

func (a *API) attendance(ctx context.Context, in *minutesIn) (attendanceList, error) {
	m, err := a.meeting(ctx, in)
	if err != nil {
		return attendanceList{}, err
	}
	list, err := a.opts.Meetings.Attendance(ctx, m)
	return attendanceList{Meeting: m, Attendance: append([]Attendance{}, list...)}, err
}

func attendanceCSV(list []Attendance) ([]byte, error) {
	out := bytes.NewBufferString(byteOrderMark)
	w := csv.NewWriter(out)
	rows := [][]string{{"member", "name_zh", "name_en", "from", "to", "seconds", "late_seconds", "left_early_seconds", "absent"}}
	for _, one := range list {
		head := []string{inert(one.Member), inert(one.Name.ZH), inert(one.Name.EN)}
		tail := []string{strconv.Itoa(one.Seconds), strconv.Itoa(one.LateSeconds), strconv.Itoa(one.LeftEarlySeconds), strconv.FormatBool(one.Absent)}
		if one.Absent {
			rows = append(rows, append(append(head, "", ""), tail...))
		}
		for _, s := range one.Stays {
			to := ""
			if s.To != nil {
				to = s.To.Format(time.RFC3339)
			}
			row := append([]string{}, head...)
			rows = append(rows, append(append(row, s.From.Format(time.RFC3339), to), tail...))
		}
	}
	if err := w.WriteAll(rows); err != nil {
		return nil, fmt.Errorf("attendance: %w", err)
	}
	return out.Bytes(), nil
}
