package api

import (
	"context"
	"net/http"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"linehall/internal/audit"
	"linehall/internal/auth"
)

// planners may schedule meetings.
var planners = []auth.Role{auth.Admin, auth.Operator, auth.Chair}

// Schedule knows the meetings that are planned. A plan that breaks a rule is an *InvalidError, whose fields have codes.
type Schedule interface {
	Scheduled(ctx context.Context, room string) []ScheduledMeeting
	ScheduledMeeting(ctx context.Context, id string) (ScheduledMeeting, error)
	// Occurrences lists what is on between two moments, in order.
	Occurrences(ctx context.Context, room string, from, to time.Time) []Occurrence
	// CheckPlan says whether Plan would take it.
	CheckPlan(ctx context.Context, id string, plan MeetingPlan) error
	// Plan schedules a meeting, or with an id changes one.
	Plan(ctx context.Context, id string, plan MeetingPlan, by string) (ScheduledMeeting, error)
	CancelScheduled(ctx context.Context, id string) error
	// SkipScheduled strikes one day of a series out, or takes that back.
	SkipScheduled(ctx context.Context, id, date string, skip bool) (ScheduledMeeting, error)
}

// MeetingPlan is what somebody wants to be scheduled.
type MeetingPlan struct {
	Room     string   `json:"room" maxLength:"32" doc:"number of the room"`
	Title    string   `json:"title" maxLength:"400"`
	Notes    string   `json:"notes" maxLength:"4000"`
	Date     string   `json:"date" maxLength:"16" example:"2026-12-01" doc:"the day, or the first one of a series"`
	Time     string   `json:"time" maxLength:"8" example:"09:30" doc:"by the organisation's clocks"`
	Minutes  int      `json:"minutes" example:"60"`
	Weekdays []int    `json:"weekdays" nullable:"false" maxItems:"7" doc:"1 = Monday to 7 = Sunday; none: it takes place once"`
	Until    string   `json:"until" maxLength:"16" doc:"last day of a series; empty: open end"`
	Skipped  []string `json:"skipped" nullable:"false" maxItems:"200" doc:"days of a series on which it does not take place"`
	Venues   []string `json:"venues" nullable:"false" maxItems:"64" doc:"ids of the venues that are called at the start"`
	AutoEnd  bool     `json:"auto_end" doc:"ends by itself unless the chair extends it"`
	PIN      *string  `json:"pin,omitempty" maxLength:"32" doc:"asked of guests instead of the room's; empty: the room's; absent in a change: as it was"`
}

// ScheduledMeeting is a planned meeting with its history.
type ScheduledMeeting struct {
	ID        string    `json:"id"`
	Room      string    `json:"room"`
	Title     string    `json:"title"`
	Notes     string    `json:"notes"`
	Date      string    `json:"date"`
	Time      string    `json:"time"`
	Minutes   int       `json:"minutes"`
	Weekdays  []int     `json:"weekdays" nullable:"false"`
	Until     string    `json:"until"`
	Skipped   []string  `json:"skipped" nullable:"false"`
	Venues    []string  `json:"venues" nullable:"false"`
	AutoEnd   bool      `json:"auto_end"`
	HasPIN    bool      `json:"has_pin"`
	TimeZone  string    `json:"time_zone" example:"Asia/Shanghai"`
	Sequence  int       `json:"sequence" doc:"how often it was changed"`
	CreatedBy string    `json:"created_by"`
	CreatedAt time.Time `json:"created_at"`
	UpdatedAt time.Time `json:"updated_at"`
	Cancelled bool      `json:"cancelled"`
	Next      *Turn     `json:"next" doc:"the one that is on, or the next; null: none"`
}

// Turn is when a plan takes place.
type Turn struct {
	_ struct{} `json:"-" nullable:"true"`

	Date     string    `json:"date" doc:"of its start, by the organisation's clocks"`
	StartsAt time.Time `json:"starts_at"`
	EndsAt   time.Time `json:"ends_at"`
}

// Occurrence is one meeting of a plan.
type Occurrence struct {
	Meeting  string    `json:"meeting" doc:"id of the plan"`
	Room     string    `json:"room"`
	Title    string    `json:"title"`
	Date     string    `json:"date" doc:"of its start, by the organisation's clocks"`
	StartsAt time.Time `json:"starts_at"`
	EndsAt   time.Time `json:"ends_at"`
	Weekly   bool      `json:"weekly"`
}

type scheduledList struct {
	Meetings []ScheduledMeeting `json:"meetings" nullable:"false"`
}

type occurrenceList struct {
	TimeZone    string       `json:"time_zone"`
	Occurrences []Occurrence `json:"occurrences" nullable:"false"`
}

type planIn struct {
	Body MeetingPlan
}

type replanIn struct {
	ID   string `path:"id" maxLength:"64"`
	Body MeetingPlan
}

type skipIn struct {
	ID   string `path:"id" maxLength:"64"`
	Date string `path:"date" maxLength:"16" example:"2026-12-01"`
}

// longestView is how much of the schedule is shown at once.
const longestView = 100 * 24 * time.Hour

func (a *API) registerSchedule() {
	type listIn struct {
		Room string `query:"room" maxLength:"32" doc:"only this room"`
	}
	view(a, operation("list-scheduled", http.MethodGet, "/schedule", "meetings", "The meetings that are planned", leaders), leaders,
		func(ctx context.Context, _ auth.Principal, in *listIn) (*body[scheduledList], error) {
			return &body[scheduledList]{scheduledList{append([]ScheduledMeeting{}, a.opts.Schedule.Scheduled(ctx, in.Room)...)}}, nil
		})
	view(a, operation("get-scheduled", http.MethodGet, "/schedule/{id}", "meetings", "One planned meeting", leaders), leaders,
		func(ctx context.Context, _ auth.Principal, in *idIn) (*body[ScheduledMeeting], error) {
			m, err := a.opts.Schedule.ScheduledMeeting(ctx, in.ID)
			return &body[ScheduledMeeting]{m}, err
		})
	a.registerOccurrences()
	a.registerPlanning()
	a.registerSkipping()
}

func (a *API) registerOccurrences() {
	type spanIn struct {
		Room string    `query:"room" maxLength:"32" doc:"only this room"`
		From time.Time `query:"from" doc:"without it now"`
		To   time.Time `query:"to" doc:"at most 100 days later; without it a week"`
	}
	view(a, operation("list-occurrences", http.MethodGet, "/occurrences", "meetings", "The planned meetings between two moments, each one by itself", leaders), leaders,
		func(ctx context.Context, _ auth.Principal, in *spanIn) (*body[occurrenceList], error) {
			if in.From.IsZero() {
				in.From = time.Now()
			}
			if in.To.IsZero() {
				in.To = in.From.AddDate(0, 0, 7)
			}
			if !in.To.After(in.From) || in.To.Sub(in.From) > longestView {
				return nil, &InvalidError{Fields: []InvalidField{{Path: "to", Message: "at most 100 days after from", Code: "range"}}}
			}
			list := append([]Occurrence{}, a.opts.Schedule.Occurrences(ctx, in.Room, in.From, in.To)...)
			return &body[occurrenceList]{occurrenceList{a.opts.TimeZone(), list}}, nil
		})
}

func (a *API) registerPlanning() {
	add := operation("plan-meeting", http.MethodPost, "/schedule", "meetings", "Schedule a meeting", planners)
	add.DefaultStatus = http.StatusCreated
	change(a, add, planners,
		func(ctx context.Context, p auth.Principal, in *planIn) (audit.Event, error) {
			return audit.Event{Action: "meeting.plan", Object: in.Body.Room, Detail: planDetail(in.Body)}, a.mayPlan(ctx, p, "", in.Body)
		},
		func(ctx context.Context, p auth.Principal, in *planIn) (*body[ScheduledMeeting], error) {
			m, err := a.opts.Schedule.Plan(ctx, "", in.Body, actor(p))
			return &body[ScheduledMeeting]{m}, err
		})
	change(a, operation("replan-meeting", http.MethodPut, "/schedule/{id}", "meetings", "Change a planned meeting, or take its cancellation back", planners), planners,
		func(ctx context.Context, p auth.Principal, in *replanIn) (audit.Event, error) {
			return audit.Event{Action: "meeting.replan", Object: in.ID, Detail: planDetail(in.Body)}, a.mayPlan(ctx, p, in.ID, in.Body)
		},
		func(ctx context.Context, p auth.Principal, in *replanIn) (*body[ScheduledMeeting], error) {
			m, err := a.opts.Schedule.Plan(ctx, in.ID, in.Body, actor(p))
			return &body[ScheduledMeeting]{m}, err
		})
	cancel := operation("cancel-meeting", http.MethodDelete, "/schedule/{id}", "meetings", "Cancel a planned meeting, the whole series", planners)
	cancel.DefaultStatus = http.StatusNoContent
	change(a, cancel, planners,
		func(ctx context.Context, p auth.Principal, in *idIn) (audit.Event, error) {
			return audit.Event{Action: "meeting.cancel", Object: in.ID}, a.mayTouch(ctx, p, in.ID)
		},
		func(ctx context.Context, _ auth.Principal, in *idIn) (*nothing, error) {
			return nil, a.opts.Schedule.CancelScheduled(ctx, in.ID)
		})
}

func (a *API) registerSkipping() {
	for _, one := range []struct {
		id, method, action, summary string
		skip                        bool
	}{
		{"skip-meeting", http.MethodPut, "meeting.skip", "Strike one day of a series out", true},
		{"unskip-meeting", http.MethodDelete, "meeting.unskip", "Let a series take place on a day after all", false},
	} {
		change(a, operation(one.id, one.method, "/schedule/{id}/skipped/{date}", "meetings", one.summary, planners), planners,
			func(ctx context.Context, p auth.Principal, in *skipIn) (audit.Event, error) {
				return audit.Event{Action: one.action, Object: in.ID, Detail: map[string]string{"date": in.Date}}, a.mayTouch(ctx, p, in.ID)
			},
			func(ctx context.Context, _ auth.Principal, in *skipIn) (*body[ScheduledMeeting], error) {
				m, err := a.opts.Schedule.SkipScheduled(ctx, in.ID, in.Date, one.skip)
				return &body[ScheduledMeeting]{m}, err
			})
	}
}

func planDetail(p MeetingPlan) map[string]string {
	return map[string]string{"title": p.Title, "date": p.Date, "time": p.Time}
}

// mayPlan says whether a plan can be and whether the principal may make it.
func (a *API) mayPlan(ctx context.Context, p auth.Principal, id string, plan MeetingPlan) error {
	if id != "" {
		if err := a.mayTouch(ctx, p, id); err != nil {
			return err
		}
	}
	if err := a.mayCall(ctx, p, plan.Room, plan.Venues); err != nil {
		return err
	}
	return a.opts.Schedule.CheckPlan(ctx, id, plan)
}

func (a *API) mayTouch(ctx context.Context, p auth.Principal, id string) error {
	m, err := a.opts.Schedule.ScheduledMeeting(ctx, id)
	if err != nil {
		return err
	}
	return a.mayCall(ctx, p, m.Room, m.Venues)
}

// mayCall keeps who is bound to a site from calling the venues of others, and a token of one room from planning in another.
func (a *API) mayCall(ctx context.Context, p auth.Principal, number string, venues []string) error {
	if p.Room != "" && p.Room != number {
		return huma.Error403Forbidden("that room is not yours")
	}
	if p.Site == "" {
		return nil
	}
	r, err := a.opts.Rooms.Room(ctx, number)
	if err != nil {
		return err
	}
	called := map[string]bool{}
	for _, id := range venues {
		called[id] = true
	}
	for _, v := range r.Venues {
		if called[v.ID] && !sees(p, v.Site) {
			return huma.Error403Forbidden("venue " + v.ID + " is not at your site")
		}
	}
	return nil
}
