package line

import (
	"log/slog"
	"time"

	"linehall/internal/observe"
	"linehall/internal/site"
)

// Whether anything comes over a line is said by whoever listens (SetDown) or by the administrator
// (site.Line.OutOfService). A line that is down takes no new calls; what is on it keeps its place.

// SetDown notes that nothing is heard from a site any more, or that it is back. Unknown sites and sites without a line
// are ignored.
func (l *Ledger) SetDown(id site.ID, down bool) {
	l.mu.Lock()
	a, known := l.lines[id]
	changed := known && a.line != nil && a.silent != down
	if changed {
		a.silent, a.silentSince = down, time.Now()
	}
	l.mu.Unlock()
	if changed {
		l.log.Warn("line state changed", slog.String(observe.Site, string(id)), slog.Bool("down", down))
	}
}

// Down reports whether the line of a site is down. A site without a line never is.
func (l *Ledger) Down(id site.ID) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	a, known := l.lines[id]
	return known && a.isDown()
}

func (a *account) isDown() bool { return a.line != nil && (a.line.OutOfService || a.silent) }

// Heard counts the bytes that came up the line of a site so far: 0 where there is none.
func (l *Ledger) Heard(id site.ID) (bytes int64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if a, known := l.lines[id]; known {
		for _, m := range a.meters[Up] {
			bytes += m.Total()
		}
	}
	return bytes
}

// Overflowed counts a call that went another way because the line of a site could not take it.
func (l *Ledger) Overflowed(id site.ID) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if a, known := l.lines[id]; known {
		a.overflowed++
	}
}

// Status is a line as a whole at one moment.
type Status struct {
	Site         site.ID
	Down         bool
	OutOfService bool      // down because the configuration says so
	DownSince    time.Time // zero when it is up, or out of service from the start
	Calls        int       // on the line now
	CallsMax     int       // 0: only the rate counts
	Emergency    int       // of Calls
	ByPrecedence []int     // the other calls, by Precedence
	Refused      uint64    // reservations that found no room
	Preempted    uint64    // leases that gave way
	Overflowed   uint64    // calls that went another way
}

// Statuses returns one status per line, in the order of the configuration.
func (l *Ledger) Statuses() []Status {
	l.mu.Lock()
	defer l.mu.Unlock()
	out := make([]Status, 0, len(l.order))
	for _, id := range l.order {
		out = append(out, l.lines[id].status())
	}
	return out
}

func (a *account) status() Status {
	s := Status{
		Site: a.id, Down: a.isDown(), OutOfService: a.line.OutOfService, Calls: int(a.callCount()), CallsMax: a.line.CallsMax,
		Emergency: int(a.calls[emergencyRank-1]), ByPrecedence: make([]int, precedences), Overflowed: a.overflowed,
	}
	if a.silent {
		s.DownSince = a.silentSince
	}
	for i := range s.ByPrecedence {
		s.ByPrecedence[i] = int(a.calls[i])
	}
	for c := range classes {
		s.Refused += a.refused[c]
		s.Preempted += a.preempted[c]
	}
	return s
}
