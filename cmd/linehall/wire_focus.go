package main

import (
	"context"

	"linehall/configs"
	"linehall/sip/focus"
)

// openFocus lets telephones into the meeting rooms.
func openFocus(ctx context.Context, config configs.Config, g *ground, t *telephony, c *conference) (*focus.Service, error) {
	store, err := focus.OpenStore(ctx, g.db, g.writer)
	if err != nil {
		return nil, err
	}
	f, err := focus.New(focus.Options{
		Packets: t.inside, Domain: config.Appliance.Domain, Server: "Linehall/" + version, Rooms: focusRooms{c.rooms}, Store: store,
		Ours:    func(number string) bool { _, ours := g.directory.ByExtension(number); return ours },
		Dropped: g.dropped, Panics: g.panics, Log: g.log, Registerer: g.registry,
	})
	if err != nil {
		return nil, err
	}
	c.rooms.DialWith(focusDialler{f})
	g.health.Add("meetings by telephone", f.Ready)
	return f, nil
}
