package main

import (
	"cmp"
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
	statuses := map[site.ID]line.Status{}
	for _, s := range v.ledger.Statuses() {
		statuses[s.Site] = s
	}
	lines := []api.Line{}
	for _, s := range v.atlas.Sites() {
		directions, has := states[s.ID]
		if !has {
			continue // headquarters: every line ends there
		}
		shown := shownLine(statuses[s.ID])
		shown.Site, shown.Name = string(s.ID), s.Name
		shown.Up, shown.Down = shownDirection(directions[line.Up]), shownDirection(directions[line.Down])
		lines = append(lines, shown)
	}
	return lines
}

func shownLine(s line.Status) api.Line {
	shown := api.Line{
		State: "up", DownSince: timeOrNull(s.DownSince),
		RefusedTotal: int64(s.Refused), PreemptedTotal: int64(s.Preempted), OverflowedTotal: int64(s.Overflowed), //nolint:gosec // counts of calls
		Calls: api.LineCalls{Total: s.Calls, Max: s.CallsMax, Emergency: s.Emergency},
	}
	switch {
	case s.OutOfService:
		shown.State = "out_of_service"
	case s.Down:
		shown.State = "down"
	}
	levels := map[line.Precedence]*int{
		line.PrecedenceRoutine: &shown.Calls.Routine, line.PrecedencePriority: &shown.Calls.Priority, line.PrecedenceImmediate: &shown.Calls.Immediate,
		line.PrecedenceFlash: &shown.Calls.Flash, line.PrecedenceFlashOverride: &shown.Calls.FlashOverride,
	}
	for level, count := range levels {
		if int(level) < len(s.ByPrecedence) {
			*count = s.ByPrecedence[level]
		}
	}
	return shown
}

func shownDirection(s line.State) api.LineDirection {
	shown := api.LineDirection{
		CapacityBps: s.Capacity, OfficeReserveBps: s.OfficeReserve, FloorBps: s.Floor, ReservedBps: s.Reserved, MeasuredBps: s.Measured, FreeBps: s.Free,
		EstimatedBps: s.Verdict.Limit, LossPercent: s.Verdict.LossPercent, BelowContract: cmp.Or(s.Verdict.Alarm, "no"), BelowSince: timeOrNull(s.Verdict.Since),
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
