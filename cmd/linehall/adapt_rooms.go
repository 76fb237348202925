package main

import (
	"context"
	"errors"
	"fmt"

	"linehall/sfu/room"
	"linehall/sfu/signal"
	"linehall/sip/focus"
	"linehall/web/api"
)

// roomsView shows the meeting rooms to the API.
type roomsView struct{ rooms *room.Manager }

// Rooms lists all rooms of the configuration.
func (v roomsView) Rooms(context.Context) []api.Room {
	rooms := []api.Room{}
	for _, s := range v.rooms.Snapshot() {
		rooms = append(rooms, shownRoom(s))
	}
	return rooms
}

// Room finds a room.
func (v roomsView) Room(_ context.Context, number string) (api.Room, error) {
	for _, s := range v.rooms.Snapshot() {
		if s.Number == number {
			return shownRoom(s), nil
		}
	}
	return api.Room{}, fmt.Errorf("room %s: %w", number, api.ErrNotFound)
}

// CallPhone calls a telephone into a meeting.
func (v roomsView) CallPhone(ctx context.Context, number, phone, by string) error {
	err := v.rooms.CallPhone(ctx, number, phone, by)
	switch {
	case errors.Is(err, signal.ErrNotFound):
		return fmt.Errorf("room %s: %w", number, api.ErrNotFound)
	case errors.Is(err, focus.ErrNumber):
		return &api.InvalidError{Fields: []api.InvalidField{{Path: "number", Message: err.Error()}}}
	}
	return err
}

func shownRoom(s room.Snapshot) api.Room {
	shown := api.Room{Number: s.Number, Name: s.Name, State: s.State, OpenedAt: s.OpenedAt, Recording: s.Recording, Venues: []api.Venue{}, Participants: []api.Participant{}}
	for _, v := range s.Venues {
		shown.Venues = append(shown.Venues, api.Venue{ID: v.ID, Name: shownNames(v.Name), Site: v.Site, Present: v.Present})
	}
	for _, p := range s.Participants {
		shown.Participants = append(shown.Participants, shownParticipant(p))
	}
	return shown
}

func shownParticipant(p room.ParticipantSnapshot) api.Participant {
	shown := api.Participant{
		ID: p.ID, Venue: textOrNull(p.Venue), Name: shownNames(p.Name), Site: p.Site, Kind: p.Kind, JoinedAt: p.JoinedAt,
		AudioMuted: p.AudioMuted, VideoMuted: p.VideoMuted, Speaking: p.Speaking, HasContent: p.HasContent,
		Address: textOrNull(p.Address), Transport: textOrNull(p.Transport), PublishBps: p.PublishBps, SubscribeBps: p.SubscribeBps,
		LossPercent: p.LossPercent, Layers: p.Layers,
	}
	if shown.Layers == nil {
		shown.Layers = []string{}
	}
	if p.RTTMs > 0 {
		shown.RTTMS = &p.RTTMs
	}
	return shown
}

func shownNames(t signal.Text) api.Names { return api.Names{ZH: t.Zh, EN: t.En} }
