package program

import "github.com/prometheus/client_golang/prometheus"

type metrics struct {
	failed, lost, deleted prometheus.Counter
}

func newMetrics(s *Service, r prometheus.Registerer) *metrics {
	counter := func(name, help string) prometheus.Counter {
		return prometheus.NewCounter(prometheus.CounterOpts{Name: "linehall_programme_" + name + "_total", Help: help})
	}
	m := &metrics{
		failed:  counter("failed", "Recordings of meetings that could not begin, or ended by themselves."),
		lost:    counter("gaps", "Gaps in recordings of meetings: packets that did not come."),
		deleted: counter("deleted", "Recordings of meetings that were deleted, by somebody or because their time was over."),
	}
	if r != nil {
		r.MustRegister(m.failed, m.lost, m.deleted, prometheus.NewGaugeFunc(prometheus.GaugeOpts{
			Name: "linehall_programme_active", Help: "Meetings that are being recorded.",
		}, func() float64 { return float64(s.Active()) }))
	}
	return m
}
