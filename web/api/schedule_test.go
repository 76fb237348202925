package api_test

import (
	"context"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"linehall/internal/auth"
	"linehall/web/api"
)

func (o *organisation) Attendance(_ context.Context, m api.Meeting) ([]api.Attendance, error) {
	if m.EndedAt == nil {
		return nil, o.fail
	}
	half := m.EndedAt.Add(-30 * time.Minute)
	return []api.Attendance{
		{Member: "hq", Name: api.Names{ZH: "主会场", EN: "=Main"}, Stays: []api.Stay{{From: m.StartedAt, To: &half}, {From: half.Add(time.Minute), To: m.EndedAt}}, Seconds: 3540},
		{Member: "b1", Absent: true, Stays: []api.Stay{}},
	}, o.fail
}

func (o *organisation) Scheduled(_ context.Context, room string) []api.ScheduledMeeting {
	if room == "9001" {
		return nil
	}
	return []api.ScheduledMeeting{scheduled()}
}

func scheduled() api.ScheduledMeeting {
	return api.ScheduledMeeting{ID: "c1", Room: "9000", Weekdays: []int{2}, Skipped: []string{}, Venues: []string{"b1"}}
}

func (o *organisation) ScheduledMeeting(_ context.Context, id string) (api.ScheduledMeeting, error) {
	if id != "c1" {
		return api.ScheduledMeeting{}, fmt.Errorf("meeting %s: %w", id, api.ErrNotFound)
	}
	return scheduled(), o.fail
}

func (o *organisation) Occurrences(_ context.Context, _ string, from, _ time.Time) []api.Occurrence {
	return []api.Occurrence{{Meeting: "c1", Room: "9000", StartsAt: from, EndsAt: from}}
}

func (o *organisation) CheckPlan(_ context.Context, _ string, p api.MeetingPlan) error {
	if p.Title == "" {
		return &api.InvalidError{Fields: []api.InvalidField{{Path: "title", Message: "a meeting needs a title", Code: "required"}, {Path: "time", Message: "taken", Code: "overlap"}}}
	}
	return nil
}

func (o *organisation) Plan(context.Context, string, api.MeetingPlan, string) (api.ScheduledMeeting, error) {
	return scheduled(), o.fail
}

func (o *organisation) CancelScheduled(context.Context, string) error { return o.fail }

func (o *organisation) SkipScheduled(context.Context, string, string, bool) (api.ScheduledMeeting, error) {
	return scheduled(), o.fail
}

func (o *organisation) Calendar(context.Context, string) ([]byte, error) {
	return []byte("BEGIN:VCALENDAR\r\n"), o.fail
}

func (o *organisation) Feed(_ context.Context, token string) ([]byte, error) {
	if token != "geheim" {
		return nil, api.ErrNotFound
	}
	return []byte("BEGIN:VCALENDAR\r\n"), o.fail
}

func (o *organisation) MakeFeed(context.Context, string, string, string) (api.CalendarFeed, string, error) {
	return api.CalendarFeed{ID: "f1"}, "geheim", o.fail
}

func (o *organisation) Feeds(context.Context) ([]api.CalendarFeed, error) { return nil, o.fail }

func (o *organisation) RevokeFeed(context.Context, string) error { return o.fail }

func plan() map[string]any {
	return map[string]any{
		"room": "9000", "title": "例会", "notes": "", "date": "2026-12-01", "time": "09:00", "minutes": 60, "weekdays": []int{2}, "until": "", "skipped": []string{},
		"venues": []string{"b1"}, "auto_end": true,
	}
}

func TestPlanningMeetings(t *testing.T) {
	w := newWorld(t)
	wrong := plan()
	wrong["title"] = ""
	refused := decode(t, w.ask(t, as(auth.Chair), http.MethodPost, "/schedule", wrong))
	list, _ := refused["errors"].([]any)
	if refused["status"] != 422.0 || len(list) != 2 || list[0].(map[string]any)["location"] != "body.title" || list[0].(map[string]any)["value"] != "required" {
		t.Errorf("a plan without a title: %v", refused)
	}
	if rec := w.ask(t, as(auth.Chair), http.MethodPost, "/schedule", plan()); rec.Code != http.StatusCreated {
		t.Errorf("%d %s", rec.Code, rec.Body)
	}
	for what, tc := range map[string]struct {
		who    auth.Principal
		method string
		path   string
		body   any
		code   int
	}{
		"of another site":       {auth.Principal{Kind: auth.KindUser, Name: "otto", Role: auth.Operator, Site: "hq"}, http.MethodPost, "/schedule", plan(), 403},
		"of its own site":       {auth.Principal{Kind: auth.KindUser, Name: "otto", Role: auth.Operator, Site: "branch1"}, http.MethodPost, "/schedule", plan(), 201},
		"token of another room": {auth.Principal{Kind: auth.KindToken, ID: "t", Role: auth.Chair, Room: "9001"}, http.MethodDelete, "/schedule/c1", nil, 403},
		"unknown":               {as(auth.Admin), http.MethodPut, "/schedule/c9", plan(), 404},
		"too long a view":       {as(auth.Admin), http.MethodGet, "/occurrences?from=2026-01-01T00:00:00Z&to=2027-01-01T00:00:00Z", nil, 422},
		"no such venue":         {as(auth.Admin), http.MethodPost, "/calendars", map[string]any{"room": "9000", "venue": "moon"}, 404},
		"a calendar":            {auth.Principal{}, http.MethodGet, "/calendars/geheim/meetings.ics", nil, 200},
		"a guessed calendar":    {auth.Principal{}, http.MethodGet, "/calendars/geraten/meetings.ics", nil, 404},
	} {
		if rec := w.ask(t, tc.who, tc.method, tc.path, tc.body); rec.Code != tc.code {
			t.Errorf("%s: %d %s", what, rec.Code, rec.Body)
		}
	}
	made := decode(t, w.ask(t, as(auth.Admin), http.MethodPost, "/calendars", map[string]any{"room": "", "venue": "b1"}))
	if made["url"] != "https://linehall.test:8443/api/v1/calendars/geheim/meetings.ics" {
		t.Errorf("%v", made)
	}
	got := strings.Join(w.actions(t), "\n")
	for _, want := range []string{"anna meeting.plan 9000", "otto meeting.plan 9000", "anna calendar.add /b1"} {
		if !strings.Contains(got, want) {
			t.Errorf("not on record: %s\n%s", want, got)
		}
	}
}

func TestAttendance(t *testing.T) {
	w := newWorld(t)
	list := decode(t, w.ask(t, as(auth.Auditor), http.MethodGet, "/rooms/9000/attendance?meeting=m1", nil))["attendance"].([]any)
	if len(list) != 2 || list[1].(map[string]any)["absent"] != true {
		t.Errorf("%v", list)
	}
	rec := w.ask(t, as(auth.Chair), http.MethodGet, "/rooms/9000/attendance.csv?meeting=m1", nil)
	want := "\ufeffmember,name_zh,name_en,from,to,seconds,late_seconds,left_early_seconds,absent\n" +
		"hq,主会场,'=Main,2026-12-01T01:00:00Z,2026-12-01T01:30:00Z,3540,0,0,false\n" +
		"hq,主会场,'=Main,2026-12-01T01:31:00Z,2026-12-01T02:00:00Z,3540,0,0,false\n" +
		"b1,,,,,0,0,0,true\n"
	if got := rec.Body.String(); got != want || rec.Header().Get("Content-Disposition") != `attachment; filename="attendance-m1.csv"` {
		t.Errorf("csv: %q", got)
	}
}
