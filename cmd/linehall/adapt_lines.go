package main

import (
	"context"

	"linehall/internal/site"
	"linehall/media/line"
	"linehall/web/api"
)

// linesView shows the ledger to the API.
type linesView struct {
	ledger *line.Ledger
	atlas  *site.Atlas
}

// Lines lists the accounts in the order of the sites.
func (v linesView) Lines(context.Context) []api.Line {
	states := map[site.ID]map[line.Direction]line.State{}
	for _, s := range v.ledger.Snapshot() {
		if states[s.Site] == nil {
			states[s.Site] = map[line.Direction]line.State{}
		}
		states[s.Site][s.Direction] = s
	}
	lines := []api.Line{}
	for _, s := range v.atlas.Sites() {
		directions, has := states[s.ID]
		if !has {
			continue // headquarters: every line ends there
		}
		lines = append(lines, api.Line{
			Site: string(s.ID), Name: s.Name, Up: shownDirection(directions[line.Up]), Down: shownDirection(directions[line.Down]),
			RefusedTotal: int64(directions[line.Up].Refused), //nolint:gosec // a count of calls
		})
	}
	return lines
}

func shownDirection(s line.State) api.LineDirection {
	shown := api.LineDirection{
		CapacityBps: s.Capacity, OfficeReserveBps: s.OfficeReserve, ReservedBps: s.Reserved, MeasuredBps: s.Measured, FreeBps: s.Free,
		Classes: []api.LineClass{},
	}
	for _, c := range s.Classes {
		// Elastic classes hold no fixed promise; what their owners said they use is their share.
		if reserved := c.Reserved + c.Elastic; reserved != 0 || c.Measured != 0 {
			shown.Classes = append(shown.Classes, api.LineClass{Class: c.Class.String(), ReservedBps: reserved, MeasuredBps: c.Measured})
		}
	}
	return shown
}
