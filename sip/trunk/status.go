package trunk

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// Status is what people see of a trunk.
type Status struct {
	Name     string
	Up       bool // at least one gateway takes calls
	Known    bool // some gateway was asked or registered with
	Register bool
	Calls    int
	MaxCalls int
	Gateways []GatewayStatus
}

// GatewayStatus is what people see of a gateway.
type GatewayStatus struct {
	Name            string
	Up, Known       bool
	Since           time.Time // of up or down; zero while it is not known
	Registered      bool
	RegisteredUntil time.Time
	Addresses       []string // where the name leads to, "udp:192.0.2.1:5060"
	Calls, MaxCalls int
	LastError       string
	ErrorAt         time.Time
}

// Status lists the trunks in the order of the configuration.
func (s *Service) Status() []Status {
	list := s.list()
	shown := make([]Status, 0, len(list))
	for _, t := range list {
		status := Status{Name: t.cfg.Name, Register: t.cfg.Register, Calls: s.o.Active(t.cfg.Name, ""), MaxCalls: t.cfg.MaxCalls}
		for _, g := range t.gateways {
			one := g.status()
			status.Known = status.Known || one.Known || one.Registered || one.LastError != ""
			status.Up = status.Up || g.now().usable(t.cfg.Register)
			status.Gateways = append(status.Gateways, one)
		}
		shown = append(shown, status)
	}
	return shown
}

func (g *gateway) status() GatewayStatus {
	st := g.now()
	shown := GatewayStatus{
		Name: g.cfg.name(), Up: !st.health.known || st.health.up, Known: st.health.known, Since: st.health.since,
		Registered: st.registered, Calls: g.s.o.Active(g.trunk, g.cfg.name()), MaxCalls: g.cfg.MaxCalls,
		LastError: st.lastError, ErrorAt: st.errorAt,
	}
	if st.registered {
		shown.RegisteredUntil = st.until
	}
	for _, t := range st.targets {
		shown.Addresses = append(shown.Addresses, t.String())
	}
	return shown
}

// collector reads the metrics from the state, so that a trunk that is taken away takes its series
// with it. The labels are the names of the configuration.
type collector struct{ s *Service }

var ( //nolint:gochecknoglobals // constant descriptions
	upDesc         = prometheus.NewDesc("linehall_trunk_up", "1 when at least one gateway of the trunk takes calls.", []string{"trunk"}, nil)
	registeredDesc = prometheus.NewDesc("linehall_trunk_registered_gateways", "Gateways of the trunk that we are registered with.", []string{"trunk"}, nil)
	callsDesc      = prometheus.NewDesc("linehall_trunk_calls", "Calls over the trunk, in both directions.", []string{"trunk"}, nil)
)

// Describe implements prometheus.Collector.
func (c collector) Describe(out chan<- *prometheus.Desc) {
	out <- upDesc
	out <- registeredDesc
	out <- callsDesc
}

// Collect implements prometheus.Collector.
func (c collector) Collect(out chan<- prometheus.Metric) {
	for _, t := range c.s.Status() {
		up, registered := 0.0, 0.0
		if t.Up {
			up = 1
		}
		for _, g := range t.Gateways {
			if g.Registered {
				registered++
			}
		}
		out <- prometheus.MustNewConstMetric(upDesc, prometheus.GaugeValue, up, t.Name)
		out <- prometheus.MustNewConstMetric(registeredDesc, prometheus.GaugeValue, registered, t.Name)
		out <- prometheus.MustNewConstMetric(callsDesc, prometheus.GaugeValue, float64(t.Calls), t.Name)
	}
}
