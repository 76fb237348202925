package line

import (
	"github.com/prometheus/client_golang/prometheus"

	"linehall/internal/site"
)

// State is one direction of one line at one moment. All rates are bit/s on the wire.
type State struct {
	Site          site.ID
	Direction     Direction
	Capacity      int64
	OfficeReserve int64
	Floor         int64   // kept free of calls for conference audio
	Reserved      int64   // sum of the classes
	Measured      int64   // sum of the classes, last whole second
	Elastic       int64   // what elastic leases said they use
	Free          int64   // what a voice call could still reserve
	Verdict       Verdict // of measurements, see Restrict
	Classes       []ClassState
	Refused       uint64 // reservations refused on this line, both directions
}

// ClassState is the part of one class.
type ClassState struct {
	Class    Class
	Reserved int64
	Elastic  int64
	Measured int64
	Refused  uint64 // both directions
}

// Snapshot returns two states per line, up and down, in the order of the configuration.
func (l *Ledger) Snapshot() []State {
	l.mu.Lock()
	defer l.mu.Unlock()
	out := make([]State, 0, len(l.order)*directions)
	for _, id := range l.order {
		a := l.lines[id]
		for d := range Direction(directions) {
			out = append(out, a.state(d))
		}
	}
	return out
}

func (a *account) state(d Direction) State {
	capacity := a.capacity(d)
	s := State{
		Site: a.id, Direction: d, Capacity: capacity, OfficeReserve: capacity - a.usable(d), Floor: a.floor(d),
		Free: max(0, a.free(Voice, int(d))), Verdict: a.verdicts[d], Classes: make([]ClassState, 0, classes-1),
	}
	for _, c := range Classes() {
		cs := ClassState{Class: c, Reserved: a.firm[d][c], Measured: a.meters[d][c].Rate(), Refused: a.refused[c]}
		for _, e := range a.elastics {
			if e.class == c {
				cs.Elastic += e.use.In(d)
			}
		}
		s.Reserved += cs.Reserved
		s.Measured += cs.Measured
		s.Elastic += cs.Elastic
		s.Refused += cs.Refused
		s.Classes = append(s.Classes, cs)
	}
	return s
}

// collector computes the metrics at each scrape, so that nothing has to be kept in step.
type collector struct {
	ledger                                                           *Ledger
	capacity, reserved, measured, up, refused, preempted, overflowed *prometheus.Desc
	estimate, below                                                  *prometheus.Desc
}

func newCollector(l *Ledger) *collector {
	desc := func(name, help string, labels ...string) *prometheus.Desc {
		return prometheus.NewDesc("linehall_line_"+name, help, labels, nil)
	}
	return &collector{
		ledger:     l,
		capacity:   desc("capacity_bps", "Contracted rate of the line.", "site", "direction"),
		reserved:   desc("reserved_bps", "Rate on the wire that is reserved, or used by elastic leases.", "site", "direction", "class"),
		measured:   desc("measured_bps", "Rate on the wire in the last whole second.", "site", "direction", "class"),
		estimate:   desc("estimated_bps", "What everything of ours may take, as measured; what the contract gives where nothing says otherwise.", "site", "direction"),
		below:      desc("below_contract", "1 while the line carries less than its contract or loses packets.", "site", "direction"),
		up:         desc("up", "1 when the line takes calls, 0 when nothing is heard over it or it is out of service.", "site"),
		refused:    desc("refused_total", "Reservations for which a line had no room.", "class"),
		preempted:  desc("preempted_total", "Calls that lost their place on a line to a more important one.", "class"),
		overflowed: desc("overflowed_total", "Calls that went over a trunk because a line could not take them.", "site"),
	}
}

// Describe implements prometheus.Collector.
func (c *collector) Describe(ch chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{c.capacity, c.reserved, c.measured, c.estimate, c.below, c.up, c.refused, c.preempted, c.overflowed} {
		ch <- d
	}
}

// Collect implements prometheus.Collector.
func (c *collector) Collect(ch chan<- prometheus.Metric) {
	for _, s := range c.ledger.Snapshot() {
		where := []string{string(s.Site), s.Direction.String()}
		ch <- prometheus.MustNewConstMetric(c.capacity, prometheus.GaugeValue, float64(s.Capacity), where...)
		estimate, below := s.Capacity-s.OfficeReserve, 0.0
		if s.Verdict.Limit > 0 {
			estimate = min(estimate, s.Verdict.Limit)
		}
		if s.Verdict.Alarm != "" {
			below = 1
		}
		ch <- prometheus.MustNewConstMetric(c.estimate, prometheus.GaugeValue, float64(estimate), where...)
		ch <- prometheus.MustNewConstMetric(c.below, prometheus.GaugeValue, below, where...)
		for _, k := range s.Classes {
			labels := []string{where[0], where[1], k.Class.String()}
			ch <- prometheus.MustNewConstMetric(c.reserved, prometheus.GaugeValue, float64(k.Reserved+k.Elastic), labels...)
			ch <- prometheus.MustNewConstMetric(c.measured, prometheus.GaugeValue, float64(k.Measured), labels...)
		}
	}
	for _, s := range c.ledger.Statuses() {
		up := 1.0
		if s.Down {
			up = 0
		}
		ch <- prometheus.MustNewConstMetric(c.up, prometheus.GaugeValue, up, string(s.Site))
		ch <- prometheus.MustNewConstMetric(c.overflowed, prometheus.CounterValue, float64(s.Overflowed), string(s.Site))
	}
	refused, preempted := c.ledger.totals()
	for _, class := range Classes() {
		ch <- prometheus.MustNewConstMetric(c.refused, prometheus.CounterValue, float64(refused[class]), class.String())
		ch <- prometheus.MustNewConstMetric(c.preempted, prometheus.CounterValue, float64(preempted[class]), class.String())
	}
}

// totals counts over all lines, also those that a reload removed: a counter never falls. A lease that gave way on two
// lines counts once.
func (l *Ledger) totals() (refused, preempted [classes]uint64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, a := range l.lines {
		for c, n := range a.refused {
			refused[c] += n
		}
	}
	return refused, l.preempted
}
