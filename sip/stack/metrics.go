package stack

import (
	"slices"
	"strconv"
	"sync"

	"github.com/emiago/sipgo/sip"
	"github.com/prometheus/client_golang/prometheus"
)

// knownMethods are the methods that metrics name and that 405 rather than 501
// answers, in the order of the Allow header.
var knownMethods = []sip.RequestMethod{
	sip.INVITE, sip.ACK, sip.CANCEL, sip.BYE, sip.OPTIONS, sip.REGISTER, sip.PRACK, sip.UPDATE,
	sip.INFO, sip.SUBSCRIBE, sip.NOTIFY, sip.REFER, sip.MESSAGE, sip.PUBLISH,
}

func known(m sip.RequestMethod) bool { return slices.Contains(knownMethods, m) }

// metrics of the stack. Labels are closed sets: a method is a known one or
// "other", a code is three digits or "none".
type metrics struct {
	requests *prometheus.CounterVec
	known    sync.Map // answeredKey → prometheus.Counter: looking one up by its labels hashes them each time
}

type answeredKey struct {
	method sip.RequestMethod
	code   int
}

func newMetrics(reg prometheus.Registerer, s *Stack) *metrics {
	m := &metrics{requests: prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "linehall_sip_requests_total",
		Help: "Requests received, by method and the code of our final response (none: an ACK).",
	}, []string{"method", "code"})}
	if reg == nil {
		return m
	}
	transactions := func(side string, size func() int) prometheus.Collector {
		return prometheus.NewGaugeFunc(prometheus.GaugeOpts{
			Name:        "linehall_sip_transactions",
			Help:        "SIP transactions that are alive, by side.",
			ConstLabels: prometheus.Labels{"side": side},
		}, func() float64 { return float64(size()) })
	}
	reg.MustRegister(
		m.requests,
		transactions("server", s.servers.size),
		transactions("client", s.clients.size),
		prometheus.NewGaugeFunc(prometheus.GaugeOpts{
			Name: "linehall_sip_connections",
			Help: "SIP connections over TCP, TLS and WebSocket.",
		}, func() float64 { return float64(s.conns.size()) }),
	)
	return m
}

func (m *metrics) answered(method sip.RequestMethod, code int) {
	if !known(method) {
		method = "other"
	}
	key := answeredKey{method, code}
	if c, ok := m.known.Load(key); ok {
		c.(prometheus.Counter).Inc() //nolint:errcheck,forcetypeassert // the map holds nothing else
		return
	}
	text := "none"
	if code >= 100 && code <= 699 {
		text = strconv.Itoa(code)
	} else {
		key.code = 0
	}
	c := m.requests.WithLabelValues(string(method), text)
	m.known.Store(key, c)
	c.Inc()
}
