// Package report turns what the simulated world measured into numbers for people and machines: a fixed-size
// histogram for delays, percentile summaries, and the two output forms (a table, or one JSON document).
//
// A Histogram is not safe for concurrent use; its owner merges finished ones:
//
//	var h report.Histogram
//	h.Record(1200 * time.Microsecond)
//	fmt.Println(h.Summary().P99)
package report

import (
	"math/bits"
	"time"
)

// The histogram is log-linear: subBuckets per power of two keep every quantile within 1/32 (3 %) of the true value
// over the whole range, in a fixed array, so that recording costs a few instructions and no allocation.
const (
	subBucketBits = 5
	subBuckets    = 1 << subBucketBits
	octaves       = 40 // 2^40 ns is 18 minutes
)

// Histogram counts durations. The zero value is empty and ready.
type Histogram struct {
	counts [octaves * subBuckets]uint32
	total  uint64
	sum    time.Duration
	low    time.Duration
	high   time.Duration
}

// Record counts one duration; a negative one (a clock that stepped) counts as zero.
func (h *Histogram) Record(d time.Duration) {
	d = max(d, 0)
	if h.total == 0 || d < h.low {
		h.low = d
	}
	h.high = max(h.high, d)
	h.total++
	h.sum += d
	h.counts[bucket(uint64(d))]++
}

// Merge adds what other has counted.
func (h *Histogram) Merge(other *Histogram) {
	if other.total == 0 {
		return
	}
	if h.total == 0 || other.low < h.low {
		h.low = other.low
	}
	h.high = max(h.high, other.high)
	h.total += other.total
	h.sum += other.sum
	for i, n := range other.counts {
		h.counts[i] += n
	}
}

// Count returns how many durations were recorded.
func (h *Histogram) Count() uint64 { return h.total }

// Mean returns the average duration, 0 when empty.
func (h *Histogram) Mean() time.Duration {
	if h.total == 0 {
		return 0
	}
	return h.sum / time.Duration(h.total)
}

// Quantile returns the duration below which the share q (0..1) of the recorded ones lie, 0 when empty.
func (h *Histogram) Quantile(q float64) time.Duration {
	if h.total == 0 {
		return 0
	}
	want := uint64(q * float64(h.total))
	if want >= h.total {
		return h.high
	}
	var seen uint64
	for i, n := range h.counts {
		seen += uint64(n)
		if seen > want {
			return min(max(middle(i), h.low), h.high)
		}
	}
	return h.high
}

// Summary is the form in which delays are printed, in milliseconds.
type Summary struct {
	Count uint64  `json:"count"`
	Mean  float64 `json:"mean_ms"`
	P50   float64 `json:"p50_ms"`
	P90   float64 `json:"p90_ms"`
	P99   float64 `json:"p99_ms"`
	P999  float64 `json:"p999_ms"`
	Max   float64 `json:"max_ms"`
}

// Summary returns the usual quantiles.
func (h *Histogram) Summary() Summary {
	return Summary{
		Count: h.total,
		Mean:  Milliseconds(h.Mean()),
		P50:   Milliseconds(h.Quantile(0.50)),
		P90:   Milliseconds(h.Quantile(0.90)),
		P99:   Milliseconds(h.Quantile(0.99)),
		P999:  Milliseconds(h.Quantile(0.999)),
		Max:   Milliseconds(h.high),
	}
}

// Milliseconds converts to a number with microsecond resolution.
func Milliseconds(d time.Duration) float64 {
	return float64(d.Round(time.Microsecond)) / float64(time.Millisecond)
}

// bucket maps a value to its place: linear below subBuckets, then subBuckets steps per octave.
func bucket(v uint64) int {
	if v < subBuckets {
		return int(v)
	}
	exp := bits.Len64(v) - 1 - subBucketBits
	sub := int(v>>exp) & (subBuckets - 1)
	return min((exp+1)<<subBucketBits+sub, octaves*subBuckets-1)
}

// middle is the inverse of bucket: the centre of the values that share it.
func middle(i int) time.Duration {
	if i < subBuckets {
		return time.Duration(i)
	}
	exp := i>>subBucketBits - 1
	low := uint64(subBuckets+i&(subBuckets-1)) << exp
	return time.Duration(low + 1<<exp/2)
}
