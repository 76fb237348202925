package main

import (
	"context"
	"time"

	"linehall/internal/observe"
	"linehall/internal/site"
	"linehall/web/api"
)

// statusView sums everything up for the API.
type statusView struct {
	reload    *reloader
	health    *observe.Health
	atlas     *site.Atlas
	terminals terminalsView
	calls     callsView
	rooms     roomsView
	watched   func() map[string]int // subscriptions by event package
	kernel    kernelMedia
	alarms    *alarmBoard
	startedAt time.Time
}

// Status is how the appliance is at this moment.
func (v statusView) Status(ctx context.Context) api.Status {
	config := v.reload.current()
	s := api.Status{
		Name: config.Appliance.Name, Domain: config.Appliance.Domain, Version: version, StartedAt: v.startedAt, Now: time.Now(),
		Ready: v.health.Ready(), Language: config.Appliance.Language, Sites: []api.SiteStatus{},
	}
	bySite := map[string]*api.SiteStatus{}
	for _, place := range v.atlas.Sites() {
		s.Sites = append(s.Sites, api.SiteStatus{ID: string(place.ID), Name: place.Name, Main: place.Main})
	}
	for i := range s.Sites {
		bySite[s.Sites[i].ID] = &s.Sites[i]
	}
	v.countTerminals(ctx, &s, bySite)
	v.countCalls(ctx, &s, bySite)
	v.countRooms(ctx, &s, bySite)
	s.Subscriptions, s.KernelPath = v.watched(), v.kernel.status()
	s.Alarms = v.alarms.look(ctx, s)
	return s
}

func (v statusView) countTerminals(ctx context.Context, s *api.Status, bySite map[string]*api.SiteStatus) {
	for _, t := range v.terminals.Terminals(ctx) {
		if t.State != "active" {
			continue
		}
		s.TerminalsTotal++
		place := bySite[t.Site]
		if place != nil {
			place.TerminalsTotal++
		}
		if t.Registered {
			s.TerminalsRegistered++
			if place != nil {
				place.TerminalsRegistered++
			}
		}
	}
}

// countCalls counts a call once for each site that takes part in it.
func (v statusView) countCalls(ctx context.Context, s *api.Status, bySite map[string]*api.SiteStatus) {
	for _, call := range v.calls.Calls(ctx) {
		s.CallsActive++
		if place := bySite[call.From.Site]; place != nil {
			place.CallsActive++
		}
		if place := bySite[call.To.Site]; place != nil && call.To.Site != call.From.Site {
			place.CallsActive++
		}
	}
}

func (v statusView) countRooms(ctx context.Context, s *api.Status, bySite map[string]*api.SiteStatus) {
	for _, room := range v.rooms.Rooms(ctx) {
		if len(room.Participants) > 0 {
			s.RoomsOpen++
		}
		for _, p := range room.Participants {
			s.Participants++
			if place := bySite[p.Site]; place != nil {
				place.Participants++
			}
		}
	}
}
