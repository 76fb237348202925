package main

import (
	"context"
	"time"

	"linehall/sfu/chair"
	"linehall/sfu/room"
	"linehall/web/api"
)

// meetingsView shows meetings and their minutes to the API.
type meetingsView struct{ book *room.Book }

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

func minuteName(n chair.Name) api.Names { return api.Names{ZH: n.Zh, EN: n.En} }
