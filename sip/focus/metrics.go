package focus

import "github.com/prometheus/client_golang/prometheus"

// metrics of the focus.
type metrics struct {
	pins    *prometheus.CounterVec
	joins   *prometheus.CounterVec
	dialled *prometheus.CounterVec
}

func newMetrics(reg prometheus.Registerer, s *Service) *metrics {
	m := &metrics{
		pins: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "linehall_focus_pins_total", Help: "PINs of meeting rooms that telephones have tried.",
		}, []string{"result"}), // right, wrong, blocked
		joins: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "linehall_focus_joins_total", Help: "Telephones that wanted into a meeting.",
		}, []string{"result"}), // entered, waited, refused
		dialled: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "linehall_focus_dialled_total", Help: "Telephones that were called into a meeting.",
		}, []string{"result"}), // answered, refused, cancelled
	}
	if reg != nil {
		reg.MustRegister(m.pins, m.joins, m.dialled, prometheus.NewGaugeFunc(prometheus.GaugeOpts{
			Name: "linehall_focus_phones", Help: "Telephones that are connected with meeting rooms.",
		}, func() float64 { return float64(s.count()) }))
	}
	return m
}
