package congestion

import "time"

// Pad lets a model of time send what probes ask for.
func (p *Pool) Pad(now time.Time) bool { return p.pad(now) }
