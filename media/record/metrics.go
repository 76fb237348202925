package record

import "github.com/prometheus/client_golang/prometheus"

type metrics struct {
	bytes, lost, failed, deleted prometheus.Counter
}

func newMetrics(r *Recorder, reg prometheus.Registerer) *metrics {
	counter := func(name, help string) prometheus.Counter {
		return prometheus.NewCounter(prometheus.CounterOpts{Name: "linehall_recording_" + name, Help: help})
	}
	m := &metrics{
		bytes:   counter("written_bytes_total", "Bytes of packets that were recorded."),
		lost:    counter("lost_packets_total", "Packets of recorded calls that did not get to the disk."),
		failed:  counter("failed_total", "Recordings that could not begin, and writes that the disk refused."),
		deleted: counter("deleted_total", "Recordings that were deleted because they were kept long enough, or for want of space."),
	}
	if reg != nil {
		reg.MustRegister(m.bytes, m.lost, m.failed, m.deleted,
			prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: "linehall_recordings_active", Help: "Calls that are being recorded."}, func() float64 { return float64(r.Active()) }),
			prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: "linehall_recording_blocked", Help: "1 while the disk is too full to record."}, func() float64 {
				if r.Blocked() {
					return 1
				}
				return 0
			}))
	}
	return m
}
