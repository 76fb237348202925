package observe

import (
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
)

// NewRegistry returns a registry that already collects the Go runtime and the process.
func NewRegistry() *prometheus.Registry {
	reg := prometheus.NewRegistry()
	reg.MustRegister(
		collectors.NewGoCollector(),
		collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}),
	)
	return reg
}

// NewPanics returns the counter that Recover increments, linehall_panics_total, registered at reg.
func NewPanics(reg prometheus.Registerer) prometheus.Counter {
	panics := prometheus.NewCounter(prometheus.CounterOpts{
		Name: "linehall_panics_total",
		Help: "Panics recovered at the edge of an owner loop; each one is a defect.",
	})
	reg.MustRegister(panics)
	return panics
}
