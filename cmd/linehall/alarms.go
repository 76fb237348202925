package main

import (
	"context"
	"math"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"linehall/internal/pki"
	"linehall/media/record"
	"linehall/provisioning/serve"
	"linehall/sfu/congestion"
	"linehall/sfu/program"
	"linehall/sip/toll"
	"linehall/web/api"
)

// Thresholds of the alarms.
const (
	oneCallBps      = 88_000              // a G.711 call on leased Ethernet
	refusedRecently = time.Minute         // how long a refused call keeps its line's alarm
	poorMOS         = 3.6                 // below it many users are dissatisfied (ITU-T G.107 Annex B: R 70)
	certificateSoon = 14 * 24 * time.Hour // own leaves renew 30 days before: later means that renewal fails
	leastFreeBytes  = 500 << 20
)

// alarmBoard remembers since when each condition holds; look may be called concurrently.
type alarmBoard struct {
	lines     linesView
	trunks    trunksView
	calls     callsView
	terminals terminalsView
	tolls     *toll.Ledger
	reload    *reloader
	authority *pki.Authority
	tapes     *record.Recorder
	films     *program.Service
	files     *serve.Server

	mu      sync.Mutex // guards what follows
	since   map[string]time.Time
	refused map[string]int64     // refused calls per site, when last looked at
	full    map[string]time.Time // when a call was last refused per site
}

func newAlarmBoard(lines linesView, trunks trunksView, calls callsView, terminals terminalsView, tolls *toll.Ledger, reload *reloader, authority *pki.Authority, tapes *record.Recorder, films *program.Service, files *serve.Server) *alarmBoard {
	return &alarmBoard{
		lines: lines, trunks: trunks, calls: calls, terminals: terminals, tolls: tolls, reload: reload, authority: authority, tapes: tapes, films: films, files: files,
		since: map[string]time.Time{}, refused: map[string]int64{}, full: map[string]time.Time{},
	}
}

// look returns the alarms that hold now, the gravest first.
func (b *alarmBoard) look(ctx context.Context, s api.Status) []api.Alarm {
	now := time.Now()
	var found []api.Alarm
	found = append(found, b.lineAlarms(ctx, now)...)
	found = append(found, siteAlarms(s)...)
	found = append(found, b.trunkAlarms(ctx)...)
	found = append(found, b.callAlarms(ctx)...)
	found = append(found, b.tollAlarms()...)
	found = append(found, b.ownAlarms(ctx, now)...)
	return b.dated(found, now)
}

// dated gives each alarm its beginning and forgets those that are over.
func (b *alarmBoard) dated(found []api.Alarm, now time.Time) []api.Alarm {
	b.mu.Lock()
	defer b.mu.Unlock()
	holds := map[string]time.Time{}
	out := make([]api.Alarm, 0, len(found))
	for _, alarm := range found {
		since, known := b.since[alarm.ID]
		if !known {
			since = now
		}
		holds[alarm.ID], alarm.Since = since, since
		if alarm.Detail == nil {
			alarm.Detail = map[string]string{}
		}
		out = append(out, alarm)
	}
	b.since = holds
	order := map[string]int{"critical": 0, "warning": 1, "info": 2}
	slices.SortStableFunc(out, func(x, y api.Alarm) int {
		if d := order[x.Severity] - order[y.Severity]; d != 0 {
			return d
		}
		return strings.Compare(x.ID, y.ID)
	})
	return out
}

func alarm(severity, code, site string, detail map[string]string) api.Alarm {
	id := code
	if site != "" {
		id += ":" + site
	}
	return api.Alarm{ID: id, Severity: severity, Code: code, Site: textOrNull(site), Detail: detail}
}

// lineAlarms: a line is full when not one more call fits, or when a call was refused within the last minute.
func (b *alarmBoard) lineAlarms(ctx context.Context, now time.Time) []api.Alarm {
	var found []api.Alarm
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, l := range b.lines.Lines(ctx) {
		if l.State != "up" {
			found = append(found, alarm(map[string]string{"down": "critical", "out_of_service": "info"}[l.State], "line_"+l.State, l.Site, nil))
		}
		if before, known := b.refused[l.Site]; known && l.RefusedTotal > before {
			b.full[l.Site] = now
		}
		b.refused[l.Site] = l.RefusedTotal
		found = append(found, contractAlarms(l)...)
		direction := ""
		if l.Up.FreeBps < oneCallBps {
			direction = "up"
		}
		if l.Down.FreeBps < oneCallBps && l.Down.FreeBps <= l.Up.FreeBps {
			direction = "down"
		}
		if direction != "" || now.Sub(b.full[l.Site]) < refusedRecently {
			found = append(found, alarm("warning", "line_full", l.Site, map[string]string{"direction": direction}))
		}
	}
	return found
}

// contractAlarms: a line carries less than its contract, or loses what it carries. Both directions have one alarm of a kind.
func contractAlarms(l api.Line) []api.Alarm {
	var found []api.Alarm
	for _, reason := range []string{congestion.Slow, congestion.Lossy} {
		detail := map[string]string{}
		if l.Up.BelowContract == reason {
			detail = contractDetail("up", l.Up)
		}
		if l.Down.BelowContract == reason {
			detail = contractDetail("down", l.Down)
		}
		if len(detail) > 0 {
			found = append(found, alarm("warning", "line_"+reason, l.Site, detail))
		}
	}
	return found
}

func contractDetail(direction string, d api.LineDirection) map[string]string {
	return map[string]string{
		"direction": direction, "estimated_bps": strconv.FormatInt(d.EstimatedBps, 10), "capacity_bps": strconv.FormatInt(d.CapacityBps, 10),
		"loss_percent": strconv.FormatFloat(d.LossPercent, 'f', -1, 64),
	}
}

// trunkAlarms: a trunk without a gateway that takes calls is out of service; one that is missing is a warning.
func (b *alarmBoard) trunkAlarms(ctx context.Context) []api.Alarm {
	var found []api.Alarm
	for _, t := range b.trunks.Trunks(ctx) {
		why := ""
		for _, g := range t.Gateways {
			bad := g.State == "down" || t.Register && !g.Registered && g.LastError != nil
			if bad && t.State != "down" {
				found = append(found, namedAlarm("warning", "gateway_down", t.Name+"/"+g.Name, map[string]string{"trunk": t.Name, "gateway": g.Name, "reason": textOf(g.LastError)}))
			}
			if g.LastError != nil && why == "" {
				why = *g.LastError
			}
		}
		if t.State == "down" {
			found = append(found, namedAlarm("critical", "trunk_down", t.Name, map[string]string{"trunk": t.Name, "reason": why}))
		}
	}
	return found
}

func namedAlarm(severity, code, name string, detail map[string]string) api.Alarm {
	a := alarm(severity, code, "", detail)
	a.ID = code + ":" + name
	return a
}

func textOf(text *string) string {
	if text == nil {
		return ""
	}
	return *text
}

// siteAlarms: all phones of a place are gone while others are there: its line or its power.
func siteAlarms(s api.Status) []api.Alarm {
	var found []api.Alarm
	for _, place := range s.Sites {
		if place.TerminalsTotal > 0 && place.TerminalsRegistered == 0 && s.TerminalsRegistered > 0 && time.Since(s.StartedAt) > time.Minute {
			found = append(found, alarm("critical", "site_down", place.ID, nil))
		}
	}
	return found
}

// callAlarms: one alarm per site whose calls sound bad.
func (b *alarmBoard) callAlarms(ctx context.Context) []api.Alarm {
	worst := map[string]float64{}
	for _, call := range b.calls.Calls(ctx) {
		for _, leg := range call.Legs {
			if leg.MOS != nil && leg.Packets > 250 && *leg.MOS < poorMOS {
				if before, known := worst[leg.Site]; !known || *leg.MOS < before {
					worst[leg.Site] = *leg.MOS
				}
			}
		}
	}
	var found []api.Alarm
	for site, mos := range worst {
		found = append(found, alarm("warning", "quality_low", site, map[string]string{"mos": strconv.FormatFloat(math.Round(mos*10)/10, 'f', 1, 64)}))
	}
	return found
}

// ownAlarms are about the appliance itself.
func (b *alarmBoard) ownAlarms(ctx context.Context, now time.Time) []api.Alarm {
	var found []api.Alarm
	if ends := b.authority.NotAfter(); ends.Sub(now) < certificateSoon {
		found = append(found, alarm("warning", "certificate_expiring", "", map[string]string{"until": ends.Format(time.RFC3339)}))
	}
	if b.reload.refused() {
		found = append(found, alarm("warning", "reload_failed", "", nil))
	}
	var disk syscall.Statfs_t
	if err := syscall.Statfs(b.reload.current().Appliance.Data, &disk); err == nil && int64(disk.Bavail)*disk.Bsize < leastFreeBytes { //nolint:gosec // sizes of a disk
		found = append(found, alarm("critical", "disk_full", "", nil))
	}
	if b.tapes.Blocked() || b.films.Blocked() {
		found = append(found, alarm("critical", "recording_stopped", "", nil))
	}
	for _, sweep := range b.files.Sweeps() {
		found = append(found, alarm("warning", "provisioning_sweep", string(sweep.Site), map[string]string{"name": sweep.Address.String(), "until": sweep.Until.Format(time.RFC3339)}))
	}
	if unknown := len(b.terminals.UnknownTerminals(ctx)); unknown > 0 {
		found = append(found, alarm("info", "unknown_phones", "", map[string]string{"count": strconv.Itoa(unknown)}))
	}
	return found
}
