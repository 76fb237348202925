package codec

import (
	"fmt"
	"math"
)

// Resampler changes the rate of one stream between 8, 16 and 48 kHz. Every pair of them is a whole ratio, so that one
// low-pass filter serves: its coefficients are divided into as many phases as there are output samples for an input
// sample, or all of them meet every third or sixth position (polyphase).
//
//	up (16 → 48)     y[3n+p] = Σ h[p+3k] · x[n−k]      three phases
//	down (48 → 16)   y[n]    = Σ h[k]    · x[3n−k]
//
// The output is delayed by half the filter: 24 samples at the lower rate.
type Resampler struct {
	up, down int
	filter   []int32 // up phases one after the other, each backwards, 1 = 1 << filterBits
	taps     int     // of a phase
	history  []int16 // the last taps−1 samples, then those of a call
	skip     int     // input samples until the next output, going down
}

const (
	filterBits = 15
	// tapsPerPhase at the lower rate: with the window below, 70 dB between 0.43 and 0.52 of it.
	tapsPerPhase = 48
	// cutoff is where the filter has 6 dB, as a part of the lower rate.
	cutoff = 0.475
	// windowShape is beta of the Kaiser window: 70 dB.
	windowShape = 6.76
)

// NewResampler returns a resampler; it panics on rates whose ratio is not whole.
func NewResampler(from, to int) *Resampler {
	r := &Resampler{up: 1, down: 1}
	switch {
	case from > 0 && to >= from && to%from == 0:
		r.up = to / from
	case to > 0 && from > to && from%to == 0:
		r.down = from / to
	default:
		panic(fmt.Sprintf("codec: resampling from %d to %d Hz", from, to))
	}
	if r.up == r.down {
		return r
	}
	r.taps = tapsPerPhase * r.down
	r.filter = make([]int32, 0, tapsPerPhase*r.up*r.down)
	whole := lowPass(tapsPerPhase*r.up*r.down, cutoff/float64(r.up*r.down))
	for p := range r.up {
		r.filter = append(r.filter, phase(whole, p, r.up)...)
	}
	r.history = make([]int16, r.taps-1, r.taps-1+48_000/50)
	return r
}

// lowPass returns a windowed sinc with a gain of 1.
func lowPass(taps int, cutoff float64) []float64 {
	h := make([]float64, taps)
	sum := 0.0
	for i := range h {
		x := float64(i) - float64(taps-1)/2
		h[i] = 2 * cutoff
		if x != 0 {
			h[i] = math.Sin(2*math.Pi*cutoff*x) / (math.Pi * x)
		}
		edge := 2 * x / float64(taps-1)
		h[i] *= bessel(windowShape*math.Sqrt(max(0, 1-edge*edge))) / bessel(windowShape)
		sum += h[i]
	}
	for i := range h {
		h[i] /= sum
	}
	return h
}

// bessel is the modified Bessel function of the first kind, order 0.
func bessel(x float64) float64 {
	sum, term := 1.0, 1.0
	for k := 1.0; term > 1e-12*sum; k++ {
		term *= x / (2 * k) * x / (2 * k)
		sum += term
	}
	return sum
}

// phase returns every step-th coefficient from first on, backwards, as integers that sum up to exactly 1: a constant
// stays the same constant.
func phase(whole []float64, first, step int) []int32 {
	out := make([]int32, len(whole)/step)
	sum := 0.0
	for i := range out {
		sum += whole[first+i*step]
	}
	total := int32(0)
	for i := range out {
		v := int32(math.Round(whole[first+i*step] / sum * (1 << filterBits)))
		out[len(out)-1-i] = v
		total += v
	}
	out[len(out)/2] += 1<<filterBits - total
	return out
}

// Resample appends the samples at the new rate to dst.
func (r *Resampler) Resample(dst, samples []int16) []int16 {
	if r.up == r.down {
		return append(dst, samples...)
	}
	r.history = append(r.history, samples...)
	at := r.skip
	for ; at+r.taps <= len(r.history); at += r.down {
		window := r.history[at : at+r.taps]
		for p := range r.up {
			dst = append(dst, convolve(window, r.filter[p*r.taps:][:r.taps]))
		}
	}
	rest := len(r.history) - r.taps + 1
	r.skip = at - rest
	r.history = r.history[:copy(r.history, r.history[rest:])]
	return dst
}

func convolve(x []int16, h []int32) int16 {
	sum := int64(1) << (filterBits - 1)
	for i, c := range h {
		sum += int64(c) * int64(x[i])
	}
	return int16(min(max(sum>>filterBits, math.MinInt16), math.MaxInt16))
}
