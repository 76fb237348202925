package relay

import (
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"linehall/internal/observe"
)

// reason says why a packet went no further; the values are labels of linehall_dropped_total.
type reason int

const (
	foreignSource reason = iota // not from the party
	noDestination               // the other party has not said where it is
	held                        // the other party wants nothing (c=0.0.0.0)
	notMedia                    // of no protocol that shares a media port (RFC 7983)
	oversize                    // longer than bufferSize
	sendFull                    // the send buffer is full
	sendFailed
	receiveFailed
	unauthentic // SRTP that ends here: forged, repeated, or without a key
	unlinked    // the other party's link did not take it: not connected yet, or nothing for it
	unsealable  // may not be sent to a party whose SRTP ends here: no key yet, or a repetition
	reasons
)

func (r reason) String() string {
	return [reasons]string{
		"foreign_source", "no_destination", "held", "not_media", "oversize", "send_full", "send_failed", "receive_failed",
		"unauthentic", "unlinked", "unsealable",
	}[r]
}

const (
	listener   = "rtp"   // label of linehall_dropped_total
	path       = "relay" // label of linehall_rtp_packets_total
	kernelPath = "kernel"
	linkedPath = "gateway"
)

// metrics are the counters that the packet path touches, looked up once, and a collector for those that are summed over
// the streams at a scrape.
type metrics struct {
	relay   *Relay
	dropped [reasons]prometheus.Counter
	forward prometheus.Histogram
	jitter  prometheus.Histogram
	packets *prometheus.Desc
	lost    *prometheus.Desc
	streams *prometheus.Desc
	wakeups *prometheus.Desc
	ticking *prometheus.Desc

	mu       sync.Mutex // guards lostMost
	lostMost uint64     // the most that was ever reported: a late packet lowers the sum, a counter must not fall
}

func newMetrics(r *Relay, reg prometheus.Registerer, dropped *observe.Dropped) *metrics {
	m := &metrics{
		relay: r,
		forward: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name: "linehall_rtp_forward_seconds", Help: "Time from the kernel's receipt of an RTP packet to its sending, sampled.",
			Buckets: []float64{5e-6, 10e-6, 20e-6, 50e-6, 100e-6, 200e-6, 500e-6, 1e-3, 2e-3, 5e-3, 10e-3, 50e-3},
		}),
		jitter: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name: "linehall_rtp_jitter_seconds", Help: "Interarrival jitter (RFC 3550) of a leg at the end of its stream.",
			Buckets: []float64{1e-3, 2e-3, 5e-3, 10e-3, 20e-3, 50e-3, 100e-3, 200e-3},
		}),
		packets: prometheus.NewDesc("linehall_rtp_packets_total", "RTP and RTCP packets passed on.", []string{"path"}, nil),
		lost:    prometheus.NewDesc("linehall_rtp_lost_packets_total", "RTP packets that never arrived here.", nil, nil),
		streams: prometheus.NewDesc("linehall_rtp_streams", "Media streams that the relay carries.", []string{"path"}, nil),
		wakeups: prometheus.NewDesc("linehall_relay_wakeups_total", "Waits for packets that ended, by what ended them.", []string{"by"}, nil),
		ticking: prometheus.NewDesc("linehall_relay_ticking", "Workers of the relay that share wake-ups now: packets wait up to 1 ms.", nil, nil),
	}
	for r := range reasons {
		m.dropped[r] = dropped.Counter(listener, r.String())
	}
	if reg != nil {
		reg.MustRegister(m, m.forward, m.jitter)
	}
	return m
}

// Describe implements prometheus.Collector.
func (m *metrics) Describe(ch chan<- *prometheus.Desc) {
	ch <- m.packets
	ch <- m.lost
	ch <- m.streams
	ch <- m.wakeups
	ch <- m.ticking
}

// Collect implements prometheus.Collector.
func (m *metrics) Collect(ch chan<- prometheus.Metric) {
	sum := m.relay.totals()
	m.mu.Lock()
	m.lostMost = max(m.lostMost, sum.lost)
	lost := m.lostMost
	m.mu.Unlock()
	ch <- prometheus.MustNewConstMetric(m.packets, prometheus.CounterValue, float64(sum.packets), path)
	ch <- prometheus.MustNewConstMetric(m.packets, prometheus.CounterValue, float64(sum.linked), linkedPath)
	ch <- prometheus.MustNewConstMetric(m.lost, prometheus.CounterValue, float64(lost))
	wakeups, ticks, ticking := m.relay.waits()
	ch <- prometheus.MustNewConstMetric(m.wakeups, prometheus.CounterValue, float64(wakeups), "packet")
	ch <- prometheus.MustNewConstMetric(m.wakeups, prometheus.CounterValue, float64(ticks), "tick")
	ch <- prometheus.MustNewConstMetric(m.ticking, prometheus.GaugeValue, float64(ticking))
	if m.relay.kernel == nil {
		ch <- prometheus.MustNewConstMetric(m.streams, prometheus.GaugeValue, float64(m.relay.Streams()), path)
		return
	}
	ch <- prometheus.MustNewConstMetric(m.packets, prometheus.CounterValue, float64(sum.kernel), kernelPath)
	carried := m.relay.carried()
	ch <- prometheus.MustNewConstMetric(m.streams, prometheus.GaugeValue, float64(max(0, m.relay.Streams()-carried)), path)
	ch <- prometheus.MustNewConstMetric(m.streams, prometheus.GaugeValue, float64(carried), kernelPath)
}

// delay takes one sampled forwarding time.
func (m *metrics) delay(d time.Duration) { m.forward.Observe(max(0, d.Seconds())) }

// closed takes what is known at the end of a stream.
func (m *metrics) closed(s *Stream) {
	if s.spec.Raw {
		return
	}
	for _, leg := range s.Stats() {
		if leg.Packets > 0 {
			m.jitter.Observe(leg.Jitter.Seconds())
		}
	}
}
