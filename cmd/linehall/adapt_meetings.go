package main

import (
	"context"
	"strings"
	"time"

	"linehall/configs"
	"linehall/sfu/chair"
	"linehall/sfu/room"
	"linehall/sfu/schedule"
	"linehall/web/api"
)

// meetingsView shows meetings and their minutes to the API.
type meetingsView struct {
	book   *room.Book
	config func() configs.Config
}

// Meetings lists a room's meetings, newest first.
func (v meetingsView) Meetings(ctx context.Context, number string, limit int) ([]api.Meeting, error) {
	list, err := v.book.Meetings(ctx, number, limit)
	if err != nil {
		return nil, err
	}
	shown := make([]api.Meeting, 0, len(list))
	for _, m := range list {
		one := api.Meeting{ID: m.ID, Room: m.Room, Name: m.Name, StartedAt: m.StartedAt}
		if !m.EndedAt.IsZero() {
			one.EndedAt = &m.EndedAt
		}
		if b := m.Booking; b != nil {
			id, date, _ := strings.Cut(b.Key, "/")
			one.Planned = &api.Planned{Meeting: id, Date: date, Title: b.Title, StartsAt: b.StartsAt, EndsAt: b.EndsAt, Venues: append([]string{}, b.Venues...)}
		}
		shown = append(shown, one)
	}
	return shown, nil
}

// Minutes are the entries of a meeting in order, the last ones if there are more than the limit.
func (v meetingsView) Minutes(ctx context.Context, meeting string, limit int) ([]api.Minute, error) {
	list, err := v.book.Minutes(ctx, meeting, limit)
	if err != nil {
		return nil, err
	}
	shown := make([]api.Minute, 0, len(list))
	for _, m := range list {
		shown = append(shown, api.Minute{
			At: m.At.Truncate(time.Millisecond), Actor: m.Actor, ActorName: minuteName(m.ActorName), Action: m.Action,
			Target: m.Target, TargetName: minuteName(m.TargetName), Detail: m.Detail,
		})
	}
	return shown, nil
}

// everyMinute is more entries than a meeting has.
const everyMinute = 100_000

// Attendance reads from the minutes who was there.
func (v meetingsView) Attendance(ctx context.Context, m api.Meeting) ([]api.Attendance, error) {
	minutes, err := v.book.Minutes(ctx, m.ID, everyMinute)
	if err != nil {
		return nil, err
	}
	var booking *chair.Booking
	if p := m.Planned; p != nil {
		booking = &chair.Booking{StartsAt: p.StartsAt, EndsAt: p.EndsAt, Venues: p.Venues}
	}
	var ended time.Time
	if m.EndedAt != nil {
		ended = *m.EndedAt
	}
	var venues []chair.Person
	for _, one := range v.config().Conference.Venues {
		venues = append(venues, chair.Person{Member: one.ID, Name: chair.Name(one.Name)})
	}
	shown := []api.Attendance{}
	for _, a := range schedule.Attend(minutes, booking, ended, time.Now(), venues) {
		one := api.Attendance{
			Member: a.Member, Name: minuteName(a.Name), Absent: a.Absent(), Stays: []api.Stay{}, Seconds: int(a.Total.Seconds()),
			LateSeconds: int(a.Late.Seconds()), LeftEarlySeconds: int(a.LeftEarly.Seconds()),
		}
		for _, s := range a.Stays {
			stay := api.Stay{From: s.From.Truncate(time.Millisecond)}
			if !s.To.IsZero() {
				to := s.To.Truncate(time.Millisecond)
				stay.To = &to
			}
			one.Stays = append(one.Stays, stay)
		}
		shown = append(shown, one)
	}
	return shown, nil
}

func minuteName(n chair.Name) api.Names { return api.Names{ZH: n.Zh, EN: n.En} }
