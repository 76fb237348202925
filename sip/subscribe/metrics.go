package subscribe

import (
	"github.com/prometheus/client_golang/prometheus"

	"linehall/internal/site"
)

// metrics are the families of this package. Event packages, verdicts and sites are closed sets.
type metrics struct {
	notifies *prometheus.CounterVec
	lag      prometheus.Histogram
	reports  *prometheus.CounterVec
	mos      *prometheus.HistogramVec
	loss     *prometheus.HistogramVec
	messages *prometheus.CounterVec
}

func newMetrics(reg prometheus.Registerer, s *Service) *metrics {
	m := &metrics{
		notifies: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "linehall_notifies_total", Help: "NOTIFYs by event package and what became of them.",
		}, []string{"event", "result"}),
		lag: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name: "linehall_notify_lag_seconds", Help: "From a change to the NOTIFY that tells of it.",
			Buckets: []float64{.001, .005, .01, .05, .1, .2, .5, 1, 2, 5, 10, 60},
		}),
		reports: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "linehall_quality_reports_total", Help: "Quality reports of phones: of a call we know, of another, unreadable.",
		}, []string{"result"}),
		mos: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: "linehall_phone_mos", Help: "Quality as the phones of a site report it (RFC 6035).",
			Buckets: []float64{1, 2, 2.5, 3, 3.5, 3.75, 4, 4.1, 4.2, 4.3, 4.4, 4.5},
		}, []string{"site"}),
		loss: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: "linehall_phone_loss_percent", Help: "Packets lost as the phones of a site report it (RFC 6035).",
			Buckets: []float64{0.1, 0.5, 1, 2, 5, 10, 20, 50},
		}, []string{"site"}),
		messages: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "linehall_messages_total", Help: "MESSAGEs between extensions by result.",
		}, []string{"result"}),
	}
	for _, result := range []string{"call", "other", "unreadable"} {
		m.reports.WithLabelValues(result)
	}
	if reg != nil {
		reg.MustRegister(m.notifies, m.lag, m.reports, m.mos, m.loss, m.messages, &activeCollector{s})
	}
	return m
}

func (m *metrics) report(r Report, at site.ID, known bool) {
	result := "other"
	if known {
		result = "call"
	}
	m.reports.WithLabelValues(result).Inc()
	if r.Kind != "session" {
		return
	}
	if mos := r.Local.MOS(); mos > 0 {
		m.mos.WithLabelValues(string(at)).Observe(mos)
	}
	m.loss.WithLabelValues(string(at)).Observe(r.Local.LossPercent)
}

// activeCollector counts subscriptions when it is asked, so that no gauge can drift.
type activeCollector struct{ s *Service }

var activeDesc = prometheus.NewDesc("linehall_subscriptions_active", "Subscriptions by event package.", []string{"event"}, nil) //nolint:gochecknoglobals // a description is constant

// Describe implements prometheus.Collector.
func (c *activeCollector) Describe(ch chan<- *prometheus.Desc) { ch <- activeDesc }

// Collect implements prometheus.Collector.
func (c *activeCollector) Collect(ch chan<- prometheus.Metric) {
	for event, n := range c.s.Count() {
		ch <- prometheus.MustNewConstMetric(activeDesc, prometheus.GaugeValue, float64(n), event)
	}
}
