package forward

import "time"

const (
	// A frame is a burst if its packets come at most this far apart: then waiting for its end costs less than sending each.
	burstGap = 150 * time.Microsecond
	// burstLength bounds how long the first packet waits.
	burstLength = time.Millisecond
)

// burst looks at how the packets of frames come: together, as a browser on a wide line sends them, or spread.
type burst struct {
	stamp   uint32
	began   time.Time
	packets int
	dense   bool // the last whole frame was a burst
}

// more says that the rest of the frame is about to come, so that its packets can leave together.
func (b *burst) more(p *packet) bool {
	if p.late {
		return false
	}
	if b.packets == 0 || p.timestamp != b.stamp {
		b.stamp, b.began, b.packets = p.timestamp, p.arrival, 0
	}
	b.packets++
	took := p.arrival.Sub(b.began)
	if p.marker {
		b.dense = b.packets > 2 && took < time.Duration(b.packets)*burstGap
		b.packets = 0
		return false
	}
	return b.dense && took < burstLength
}
