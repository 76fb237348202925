package line

import (
	"log/slog"
	"time"

	"linehall/internal/observe"
	"linehall/internal/site"
)

// Load is what one direction of a line carries and may carry, in bit/s on the wire.
type Load struct {
	Measured int64 // of all classes, in the last whole second
	Usable   int64 // the contract without the office's part
	Given    int64 // reserved, or used by elastic leases
}

// Verdict is what measurements say of one direction of a line. The zero Verdict says that it is what its contract says.
type Verdict struct {
	Limit       int64 // bit/s that everything of ours may take together; 0: what the contract gives
	Alarm       string
	Since       time.Time // of the alarm
	LossPercent float64
	Queue       time.Duration // that stands on the line
}

// Load returns what a direction carries; false: the site has no line.
func (l *Ledger) Load(id site.ID, d Direction) (Load, bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	a, ok := l.lines[id]
	if !ok || a.line == nil {
		return Load{}, false
	}
	load := Load{Usable: a.usable(d), Given: a.reserved(d)}
	for c := range a.meters[d] {
		load.Measured += a.meters[d][c].Rate()
	}
	for _, e := range a.elastics {
		load.Given += e.use.In(d)
	}
	return load, true
}

// Restrict takes a verdict over one direction. A limit lowers what elastic leases get, and has been told to them when it
// returns; it never raises it, and reservations do not look at it: whether a call is refused depends on the contract.
func (l *Ledger) Restrict(id site.ID, d Direction, v Verdict) {
	l.mu.Lock()
	a, ok := l.lines[id]
	if !ok || a.line == nil {
		l.mu.Unlock()
		return
	}
	before := a.verdicts[d]
	a.verdicts[d] = v
	var changed []*Elastic
	if before.Limit != v.Limit {
		changed = a.rebudget()
	}
	l.mu.Unlock()
	deliver(changed)
	if before.Alarm != v.Alarm {
		l.log.Warn("line compared with its contract", slog.String(observe.Site, string(id)), slog.String(observe.Direction, d.String()),
			slog.String(observe.Reason, v.Alarm), slog.Int64("limit_bps", v.Limit), slog.Float64("loss_percent", v.LossPercent))
	}
}

// elasticUsable is what elastic leases share with the reservations: less than usable where the line was measured to carry less.
func (a *account) elasticUsable(d Direction) int64 {
	usable := a.usable(d)
	if limit := a.verdicts[d].Limit; limit > 0 {
		return min(usable, limit)
	}
	return usable
}
