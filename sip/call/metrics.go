package call

import (
	"strconv"

	"github.com/prometheus/client_golang/prometheus"

	"linehall/media/anchor"
	"linehall/sip/cdr"
)

// metrics are the families of this package. Sites and paths are small closed sets; codes are
// counted by number, which SIP closes.
type metrics struct {
	setup         prometheus.Histogram
	mos           prometheus.Histogram
	total         *prometheus.CounterVec
	refused       *prometheus.CounterVec
	unrecoverable prometheus.Counter
	dead          prometheus.Counter
	preempted     prometheus.Counter
}

func newMetrics(reg prometheus.Registerer, s *Service) *metrics {
	m := &metrics{
		setup: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name: "linehall_call_setup_seconds", Help: "From a call's INVITE to the first sign of life that its caller got.",
			Buckets: []float64{.001, .002, .005, .01, .02, .05, .1, .2, .5, 1, 2, 5, 10},
		}),
		mos: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name: "linehall_call_mos", Help: "Quality of each measured leg at its call's end (E-model, narrowband scale).",
			Buckets: []float64{1, 2, 2.5, 3, 3.5, 3.75, 4, 4.1, 4.2, 4.3, 4.4, 4.5},
		}),
		total: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "linehall_calls_total", Help: "Calls that ended after ringing, by result.",
		}, []string{"result"}),
		refused: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "linehall_calls_refused_total", Help: "Calls refused before anything rang, by status.",
		}, []string{"code"}),
		unrecoverable: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "linehall_calls_unrecoverable_total", Help: "Calls whose state the database refused: a restart would cut them.",
		}),
		dead: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "linehall_calls_dead_total", Help: "Calls ended because a phone had vanished.",
		}),
	}
	m.preempted = prometheus.NewCounter(prometheus.CounterOpts{
		Name: "linehall_calls_preempted_total", Help: "Calls ended because a more important one took their place.",
	})
	for _, result := range []string{cdr.Answered, cdr.NoAnswer, cdr.Busy, cdr.Cancelled, cdr.Refused, cdr.Failed} {
		m.total.WithLabelValues(result)
	}
	for _, code := range []int{403, 404, 480, 486, 488, 503} {
		m.refused.WithLabelValues(codeLabel(code))
	}
	if reg != nil {
		reg.MustRegister(m.setup, m.mos, m.total, m.refused, m.unrecoverable, m.dead, m.preempted, &activeCollector{s})
	}
	return m
}

func codeLabel(code int) string { return strconv.Itoa(code) }

// activeCollector counts established calls when it is asked, so that no gauge can drift.
type activeCollector struct{ s *Service }

var activeDesc = prometheus.NewDesc("linehall_calls_active", //nolint:gochecknoglobals // a constant
	"Established calls by the caller's site and media path.", []string{"site", "path"}, nil)

// Describe implements prometheus.Collector.
func (a *activeCollector) Describe(ch chan<- *prometheus.Desc) { ch <- activeDesc }

// Collect implements prometheus.Collector.
func (a *activeCollector) Collect(ch chan<- prometheus.Metric) {
	count := map[[2]string]int{}
	for _, site := range a.s.o.Sites.Table().Sites() {
		for _, path := range []anchor.Kind{anchor.Direct, anchor.Relayed, anchor.Gateway} {
			count[[2]string{string(site.ID), string(path)}] = 0
		}
	}
	for _, info := range a.s.Snapshot() {
		if info.State != StateRinging {
			count[[2]string{string(info.From.Site), string(info.Path)}]++
		}
	}
	for key, n := range count {
		ch <- prometheus.MustNewConstMetric(activeDesc, prometheus.GaugeValue, float64(n), key[0], key[1])
	}
}
