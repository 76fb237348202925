package line

import "linehall/internal/site"

// Bulk gets what everything else leaves, and at least a little while somebody waits for it: pages must load during a meeting.
const (
	bulkRate  = 64_000
	bulkShare = 20 // a twentieth of wider lines
)

func (a *account) bulkFloor(d Direction) int64 {
	if a.line == nil {
		return 0
	}
	return min(a.usable(d)/10, max(bulkRate, a.usable(d)/bulkShare))
}

// BulkFloor returns what a direction guarantees to the bulk class while it is demanded; 0 where there is no line.
func (l *Ledger) BulkFloor(id site.ID, d Direction) int64 {
	l.mu.Lock()
	defer l.mu.Unlock()
	if a, ok := l.lines[id]; ok {
		return a.bulkFloor(d)
	}
	return 0
}

// DemandBulk says whether somebody waits for the bulk class. Then content and video yield its floor, and have been told when it
// returns; calls and the voices of meetings do not.
func (l *Ledger) DemandBulk(id site.ID, waits bool) {
	l.mu.Lock()
	a := l.account(id)
	a.bulk = waits
	changed := a.rebudget()
	l.mu.Unlock()
	deliver(changed)
}
