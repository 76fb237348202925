package main

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"time"

	"linehall/configs"
	"linehall/internal/setting"
	"linehall/sfu/schedule"
	"linehall/web/api"
)

// scheduleView shows planned meetings to the API, and writes calendars.
type scheduleView struct {
	plans  *schedule.Service
	domain func() string
	url    func() string
}

// applySchedule tells the schedule what the configuration says of clocks and rooms.
func applySchedule(plans *schedule.Service, config configs.Config) error {
	zone, err := time.LoadLocation(config.Appliance.TimeZone)
	if err != nil {
		return err
	}
	names := map[string]string{}
	for _, v := range config.Conference.Venues {
		names[v.ID] = v.Name.Zh
		if names[v.ID] == "" || config.Appliance.Language == "en" && v.Name.En != "" {
			names[v.ID] = v.Name.En
		}
	}
	rooms := make([]schedule.Room, 0, len(config.Conference.Rooms))
	for _, r := range config.Conference.Rooms {
		one := schedule.Room{Number: r.Number, Name: r.Name}
		for _, id := range r.Venues {
			one.Venues = append(one.Venues, schedule.Venue{ID: id, Name: names[id]})
		}
		rooms = append(rooms, one)
	}
	plans.Apply(zone, rooms)
	return nil
}

// Scheduled lists the plans.
func (v scheduleView) Scheduled(_ context.Context, room string) []api.ScheduledMeeting {
	list := v.plans.List(room)
	shown := make([]api.ScheduledMeeting, 0, len(list))
	for _, one := range list {
		shown = append(shown, v.shown(one))
	}
	return shown
}

// ScheduledMeeting finds a plan.
func (v scheduleView) ScheduledMeeting(_ context.Context, id string) (api.ScheduledMeeting, error) {
	one, err := v.plans.Find(id)
	if err != nil {
		return api.ScheduledMeeting{}, scheduleProblem(err)
	}
	return v.shown(one), nil
}

// Occurrences lists what is on between two moments.
func (v scheduleView) Occurrences(_ context.Context, room string, from, to time.Time) []api.Occurrence {
	list := v.plans.Between(room, from, to)
	shown := make([]api.Occurrence, 0, len(list))
	for _, o := range list {
		shown = append(shown, shownOccurrence(o))
	}
	return shown
}

// CheckPlan says whether Plan would take it.
func (v scheduleView) CheckPlan(_ context.Context, id string, plan api.MeetingPlan) error {
	return scheduleProblem(v.plans.Check(id, planOf(plan)))
}

// Plan schedules a meeting or changes one.
func (v scheduleView) Plan(ctx context.Context, id string, plan api.MeetingPlan, by string) (api.ScheduledMeeting, error) {
	var one *schedule.Series
	var err error
	if id == "" {
		one, err = v.plans.Create(ctx, planOf(plan), by)
	} else {
		one, err = v.plans.Change(ctx, id, planOf(plan), plan.PIN != nil)
	}
	if err != nil {
		return api.ScheduledMeeting{}, scheduleProblem(err)
	}
	return v.shown(one), nil
}

// CancelScheduled calls a meeting off.
func (v scheduleView) CancelScheduled(ctx context.Context, id string) error {
	_, err := v.plans.Cancel(ctx, id)
	return scheduleProblem(err)
}

// SkipScheduled strikes a day out or takes that back.
func (v scheduleView) SkipScheduled(ctx context.Context, id, date string, skip bool) (api.ScheduledMeeting, error) {
	one, err := v.plans.Skip(ctx, id, date, skip)
	if err != nil {
		return api.ScheduledMeeting{}, scheduleProblem(err)
	}
	return v.shown(one), nil
}

// Calendar writes one plan.
func (v scheduleView) Calendar(_ context.Context, id string) ([]byte, error) {
	one, err := v.plans.Find(id)
	if err != nil {
		return nil, scheduleProblem(err)
	}
	return v.plans.Calendar([]*schedule.Series{one}, one.Title, v.links()), nil
}

// Feed writes the calendar of a token.
func (v scheduleView) Feed(ctx context.Context, token string) ([]byte, error) {
	file, err := v.plans.Feed(ctx, token, v.links())
	return file, scheduleProblem(err)
}

// MakeFeed makes a calendar.
func (v scheduleView) MakeFeed(ctx context.Context, room, venue, by string) (api.CalendarFeed, string, error) {
	f, token, err := v.plans.MakeFeed(ctx, room, venue, by)
	return api.CalendarFeed(f), token, scheduleProblem(err)
}

// Feeds lists the calendars.
func (v scheduleView) Feeds(ctx context.Context) ([]api.CalendarFeed, error) {
	list, err := v.plans.Feeds(ctx)
	shown := make([]api.CalendarFeed, 0, len(list))
	for _, f := range list {
		shown = append(shown, api.CalendarFeed(f))
	}
	return shown, err
}

// RevokeFeed ends a calendar.
func (v scheduleView) RevokeFeed(ctx context.Context, id string) error {
	return scheduleProblem(v.plans.RevokeFeed(ctx, id))
}

func (v scheduleView) links() schedule.Links {
	return schedule.Links{Domain: v.domain(), Page: func(number string) string { return v.url() + "/room/" + url.PathEscape(number) }}
}

func (v scheduleView) shown(one *schedule.Series) api.ScheduledMeeting {
	shown := api.ScheduledMeeting{
		ID: one.ID, Room: one.Room, Title: one.Title, Notes: one.Notes, Date: one.Date, Time: one.Time, Minutes: one.Minutes,
		Weekdays: []int{}, Until: one.Until, Skipped: append([]string{}, one.Skipped...), Venues: append([]string{}, one.Venues...),
		AutoEnd: one.AutoEnd, HasPIN: one.PIN != "", TimeZone: v.plans.Zone().String(), Sequence: one.Sequence,
		CreatedBy: one.CreatedBy, CreatedAt: one.CreatedAt, UpdatedAt: one.UpdatedAt, Cancelled: !one.CancelledAt.IsZero(),
	}
	for _, d := range one.Weekdays {
		shown.Weekdays = append(shown.Weekdays, isoWeekday(d))
	}
	if o, ok := v.plans.Next(one); ok {
		shown.Next = &api.Turn{Date: o.Date, StartsAt: o.StartsAt, EndsAt: o.EndsAt}
	}
	return shown
}

func shownOccurrence(o schedule.Occurrence) api.Occurrence {
	return api.Occurrence{
		Meeting: o.Series.ID, Room: o.Series.Room, Title: o.Series.Title, Date: o.Date, StartsAt: o.StartsAt, EndsAt: o.EndsAt, Weekly: o.Series.Weekly(),
	}
}

// isoWeekday counts from Monday = 1 to Sunday = 7.
func isoWeekday(d time.Weekday) int { return (int(d)+6)%7 + 1 }

func planOf(p api.MeetingPlan) schedule.Plan {
	plan := schedule.Plan{
		Room: p.Room, Title: p.Title, Notes: p.Notes, Date: p.Date, Time: p.Time, Minutes: p.Minutes, Until: p.Until,
		Skipped: p.Skipped, Venues: p.Venues, AutoEnd: p.AutoEnd,
	}
	for _, d := range p.Weekdays {
		day := time.Weekday(d) // out of bounds stays so and is complained of
		if d == 7 {
			day = time.Sunday
		}
		if d == 0 {
			day = -1
		}
		plan.Weekdays = append(plan.Weekdays, day)
	}
	if p.PIN != nil {
		plan.PIN = setting.Secret(*p.PIN)
	}
	return plan
}

// scheduleProblem says whose fault an error is.
func scheduleProblem(err error) error {
	switch {
	case err == nil:
		return nil
	case errors.Is(err, schedule.ErrNotFound):
		return fmt.Errorf("%w: %w", api.ErrNotFound, err)
	case errors.Is(err, schedule.ErrFull):
		return fmt.Errorf("%w: %w", api.ErrConflict, err)
	}
	fields := schedule.Fields(err)
	if len(fields) == 0 {
		return err
	}
	invalid := &api.InvalidError{}
	for _, f := range fields {
		invalid.Fields = append(invalid.Fields, api.InvalidField{Path: f.Field, Message: f.Text, Code: string(f.Code)})
	}
	return invalid
}
