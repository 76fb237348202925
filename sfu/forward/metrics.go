package forward

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// Metrics of the packet path, shared by all rooms.
type Metrics struct {
	packets       [3]prometheus.Counter
	retransmitted prometheus.Counter
	refused       prometheus.Counter
	seconds       prometheus.Histogram
}

// NewMetrics registers them; a nil registry keeps them private.
func NewMetrics(reg prometheus.Registerer) *Metrics {
	packets := prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "linehall_sfu_packets_total", Help: "Packets written to subscribers, retransmissions included.",
	}, []string{"track"})
	refused := prometheus.NewCounter(prometheus.CounterOpts{
		Name: "linehall_sfu_retransmissions_refused_total", Help: "Retransmissions not sent: too old or over the limit.",
	})
	m := &Metrics{
		retransmitted: packets.WithLabelValues("retransmission"),
		refused:       refused,
		seconds: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name: "linehall_sfu_forward_seconds", Help: "From a packet's decryption until all its subscribers' copies were sent.",
			Buckets: []float64{5e-6, 10e-6, 20e-6, 50e-6, 100e-6, 200e-6, 500e-6, 1e-3, 2e-3, 5e-3, 10e-3, 50e-3},
		}),
	}
	for k := range m.packets {
		m.packets[k] = packets.WithLabelValues(Kind(k).String()) //nolint:gosec // 0 to 2
	}
	if reg != nil {
		reg.MustRegister(packets, refused, m.seconds)
	}
	return m
}

func (m *Metrics) forwarded(k Kind, copies int, arrival time.Time) {
	if copies == 0 {
		return
	}
	m.packets[k].Add(float64(copies))
	m.seconds.Observe(time.Since(arrival).Seconds())
}
