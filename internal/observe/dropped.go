package observe

import "github.com/prometheus/client_golang/prometheus"

// Dropped counts everything that is thrown away, on every port. A nil *Dropped counts nothing, so that parts can be
// used without metrics.
type Dropped struct {
	total *prometheus.CounterVec
}

// NewDropped registers linehall_dropped_total{listener,reason} at reg.
func NewDropped(reg prometheus.Registerer) *Dropped {
	total := prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "linehall_dropped_total",
		Help: "Packets, messages, connections and requests thrown away, by listener and reason.",
	}, []string{"listener", "reason"})
	reg.MustRegister(total)
	return &Dropped{total: total}
}

// Count adds one. Both texts are labels: they must come from small closed sets, never from the network.
func (d *Dropped) Count(listener, reason string) {
	if d == nil {
		return
	}
	d.total.WithLabelValues(listener, reason).Inc()
}

// Counter returns the counter of one listener and reason for hot paths, where looking it up per packet would cost.
// A nil *Dropped returns a counter that nobody collects.
func (d *Dropped) Counter(listener, reason string) prometheus.Counter {
	if d == nil {
		return prometheus.NewCounter(prometheus.CounterOpts{Name: "linehall_dropped_uncollected_total"})
	}
	return d.total.WithLabelValues(listener, reason)
}
