package dtmf

import "math"

// The frequencies of ITU-T Q.23: a key is one of each group.
//
//	      1209  1336  1477  1633
//	697     1     2     3     A
//	770     4     5     6     B
//	852     7     8     9     C
//	941     *     0     #     D
var (
	low  = [4]float64{697, 770, 852, 941}
	high = [4]float64{1209, 1336, 1477, 1633}
)

const pad = "123A456B789C*0#D"

// Frequencies returns the two tones of a key, in Hz; zeroes if it is none.
func Frequencies(key byte) (lower, upper float64) {
	for i := range pad {
		if pad[i] == key {
			return low[i/4], high[i%4]
		}
	}
	return 0, 0
}

const (
	// blockMicros is the time of one decision. Two in a row must agree, so that the shortest tone that Q.24 lets a
	// receiver demand, 40 ms, holds two whole blocks wherever it begins.
	blockMicros = 12_750
	// weakest is the power of the louder tone below which nothing is a key: -30 dBm0.
	weakest = 1e-3 * 32767 * 32767 / 2 / 2.06
	// Twist: how much one group may be louder than the other (Q.24: 4 to 10 dB, by country).
	twistLow, twistHigh = 4.0, 6.3 // 6 and 8 dB as ratios of power
	// next is how far a tone stands above the others of its group: 8 dB.
	next = 6.3
	// purity is the part of all power that the two tones have. Talk has harmonics; a tone in the noise of a bad line
	// (15 dB) has 0.97.
	purity = 0.8
)

// Detector finds keys in the sound of one stream (Goertzel). New ones come from NewDetector.
type Detector struct {
	block   int
	coeff   [8]float64
	s1, s2  [8]float64
	energy  float64
	count   int
	last    byte // of the block before
	current byte // the key that is reported and held
	missing int  // blocks without it
}

// NewDetector returns a detector for samples at rate.
func NewDetector(rate int) *Detector {
	d := &Detector{block: rate * blockMicros / 1_000_000}
	for i := range low {
		d.coeff[i] = 2 * math.Cos(2*math.Pi*low[i]/float64(rate))
		d.coeff[4+i] = 2 * math.Cos(2*math.Pi*high[i]/float64(rate))
	}
	return d
}

// Samples takes the next samples and appends to dst the keys that began in them.
func (d *Detector) Samples(dst []byte, samples []int16) []byte {
	for _, s := range samples {
		v := float64(s)
		d.energy += v * v
		for i := range d.coeff {
			d.s1[i], d.s2[i] = v+d.coeff[i]*d.s1[i]-d.s2[i], d.s1[i]
		}
		if d.count++; d.count == d.block {
			if key := d.decide(); key != 0 {
				dst = append(dst, key)
			}
		}
	}
	return dst
}

// Held reports whether a key goes on.
func (d *Detector) Held() bool { return d.current != 0 }

// decide ends a block and returns a key that begins.
func (d *Detector) decide() byte {
	hit := d.hit()
	d.count, d.energy = 0, 0
	clear(d.s1[:])
	clear(d.s2[:])
	began := byte(0)
	switch {
	case d.current != 0 && hit == d.current:
		d.missing = 0
	case d.current != 0:
		if d.missing++; d.missing == 2 { // one bad block is a click
			d.current = 0
		}
	}
	if d.current == 0 && hit != 0 && hit == d.last {
		d.current, d.missing = hit, 0
		began = hit
	}
	d.last = hit
	return began
}

// hit returns the key that the block is, 0 for none.
func (d *Detector) hit() byte {
	var power [8]float64
	n := float64(d.block)
	for i := range power { // of a sine of amplitude A: A²/2
		power[i] = 2 * (d.s1[i]*d.s1[i] + d.s2[i]*d.s2[i] - d.coeff[i]*d.s1[i]*d.s2[i]) / (n * n)
	}
	row, okRow := peak(power[:4])
	column, okColumn := peak(power[4:])
	l, h := power[row], power[4+column]
	switch {
	case !okRow || !okColumn || max(l, h) < weakest,
		l > h*twistLow || h > l*twistHigh,
		l+h < purity*d.energy/n:
		return 0
	}
	return pad[4*row+column]
}

// peak returns the strongest of a group, and whether it stands above the others.
func peak(group []float64) (best int, clear bool) {
	for i, p := range group {
		if p > group[best] {
			best = i
		}
	}
	for i, p := range group {
		if i != best && p*next > group[best] {
			return best, false
		}
	}
	return best, true
}
