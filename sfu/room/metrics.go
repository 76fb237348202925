package room

import "github.com/prometheus/client_golang/prometheus"

// collector counts the participants of every configured room when it is asked, so that a room has its sample before anybody
// comes and loses it when it is gone from the configuration.
type collector struct {
	manager *Manager
	present *prometheus.Desc
}

func newCollector(m *Manager) *collector {
	return &collector{m, prometheus.NewDesc("linehall_conference_participants", "Participants present.", []string{"room"}, nil)}
}

// Describe implements prometheus.Collector.
func (c *collector) Describe(ch chan<- *prometheus.Desc) { ch <- c.present }

// Collect implements prometheus.Collector.
func (c *collector) Collect(ch chan<- prometheus.Metric) {
	for _, r := range c.manager.Snapshot() {
		ch <- prometheus.MustNewConstMetric(c.present, prometheus.GaugeValue, float64(len(r.Participants)), r.Number)
	}
}
