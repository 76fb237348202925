package main

import (
	"context"
	"net/http"
	"sync"

	"linehall/configs"
	"linehall/sfu/room"
	"linehall/sfu/signal"
)

// conference is the meeting rooms.
type conference struct {
	rooms    *room.Manager
	signal   http.Handler
	shutdown chan struct{}
	closing  sync.Once
}

func openConference(config configs.Config, g *ground, media *mediaPlane) *conference {
	c := &conference{shutdown: make(chan struct{})}
	c.rooms = room.NewManager(room.Options{
		Config: config.Conference, Plane: media.plane, Ledger: media.ledger, Atlas: g.atlas,
		Log: g.log, Registry: g.registry, Panics: g.panics, Dropped: g.dropped,
	})
	c.signal = signal.NewHandler(signal.Options{
		Rooms: c.rooms, Number: func(r *http.Request) string { return r.PathValue("number") },
		Log: g.log, Panics: g.panics, Dropped: g.dropped, Shutdown: c.shutdown,
	})
	return c
}

// stage runs the rooms. When it has to end, the pages are told so that they come back by themselves.
func (c *conference) stage() stage {
	return stage{
		name:  "conference",
		parts: []part{{"rooms", c.rooms.Run}},
		leave: func(context.Context) { c.closing.Do(func() { close(c.shutdown) }) },
	}
}
