// Package codectest makes audio for tests and judges it: tones, a voice-like sound, level, the power at a frequency,
// and how far a signal is from what it should be.
//
//	out, _ := decoder.Decode(nil, encoder.Encode(nil, codectest.Tone(16_000, 440, -10, time.Second)))
//	if codectest.Tonality(out, 16_000, 440) < 0.9 { … }
package codectest

import (
	"math"
	"math/rand/v2"
	"time"
)

// Samples returns how many samples last that long.
func Samples(rate int, d time.Duration) int { return int(int64(rate) * int64(d) / int64(time.Second)) }

// Tone returns a sine of hz Hz with a level in dBm0 as telephones count it: +3.14 is a sine of full scale.
func Tone(rate int, hz, dBm0 float64, d time.Duration) []int16 {
	return Tones(rate, []float64{hz}, dBm0, d)
}

// Tones returns a sum of sines, each with that level.
func Tones(rate int, hz []float64, dBm0 float64, d time.Duration) []int16 {
	out := make([]int16, Samples(rate, d))
	amplitude := 32767 * math.Pow(10, (dBm0-3.14)/20)
	for i := range out {
		v := 0.0
		for _, f := range hz {
			v += amplitude * math.Sin(2*math.Pi*f*float64(i)/float64(rate))
		}
		out[i] = int16(math.Max(-32768, math.Min(32767, v)))
	}
	return out
}

// Noise returns white noise with that level.
func Noise(rate int, dBm0 float64, d time.Duration, seed uint64) []int16 {
	random := rand.New(rand.NewPCG(seed, 7))
	rms := 32767 / math.Sqrt2 * math.Pow(10, (dBm0-3.14)/20)
	out := make([]int16, Samples(rate, d))
	for i := range out {
		out[i] = int16(math.Max(-32768, math.Min(32767, random.NormFloat64()*rms)))
	}
	return out
}

// Speech returns something with the properties of a voice that matter to codecs and detectors: pulses with a pitch that
// wanders between 90 and 260 Hz through three formants that change with every syllable, hissing consonants, and pauses.
// Its loudest parts are near -3 dBm0.
func Speech(rate int, d time.Duration, seed uint64) []int16 {
	random := rand.New(rand.NewPCG(seed, 1))
	raw := make([]float64, Samples(rate, d))
	between := func(low, high float64) float64 { return low + (high-low)*random.Float64() }
	for at := 0; at < len(raw); {
		syllable := min(len(raw)-at, int(between(0.08, 0.3)*float64(rate)))
		switch kind := random.Float64(); {
		case kind < 0.2: // pause
		case kind < 0.4:
			consonant(raw[at:at+syllable], random)
		default:
			vowel(raw[at:at+syllable], rate, between(90, 260), between(0.9, 1.1),
				[3]float64{between(280, 850), between(900, 2300), between(2400, 3300)}, between(0.4, 1))
		}
		at += syllable
	}
	peak := 1e-9
	for _, v := range raw {
		peak = math.Max(peak, math.Abs(v))
	}
	out := make([]int16, len(raw))
	for i, v := range raw {
		out[i] = int16(v / peak * 22_000)
	}
	return out
}

func envelope(i, n int) float64 { return math.Sin(math.Pi * float64(i) / float64(n)) }

func consonant(out []float64, random *rand.Rand) {
	last := 0.0
	for i := range out {
		v := random.NormFloat64()
		out[i] = 0.08 * (v - last) * envelope(i, len(out))
		last = v
	}
}

func vowel(out []float64, rate int, pitch, glide float64, formants [3]float64, level float64) {
	var y [3][2]float64
	phase := 0.0
	for i := range out {
		phase += pitch * (1 + (glide-1)*float64(i)/float64(len(out))) / float64(rate)
		pulse := 0.0
		if phase >= 1 {
			phase--
			pulse = 1
		}
		for f, hz := range formants {
			r := math.Exp(-math.Pi * (60 + 40*float64(f)) / float64(rate))
			v := pulse + 2*r*math.Cos(2*math.Pi*hz/float64(rate))*y[f][0] - r*r*y[f][1]
			y[f][1], y[f][0] = y[f][0], v
			out[i] += level * v * envelope(i, len(out)) / float64(f+1)
		}
	}
}

// Level returns the level of samples in dBm0, -100 for silence.
func Level(samples []int16) float64 {
	if p := power(samples); p > 0 {
		return math.Max(-100, 10*math.Log10(p/(32767*32767/2))+3.14)
	}
	return -100
}

func power(samples []int16) float64 {
	sum := 0.0
	for _, v := range samples {
		sum += float64(v) * float64(v)
	}
	return sum / math.Max(1, float64(len(samples)))
}

// Tonality returns the part of the power of samples that is a sine of hz Hz, 0 to 1 (Goertzel).
func Tonality(samples []int16, rate int, hz float64) float64 {
	w := 2 * math.Pi * hz / float64(rate)
	var s1, s2 float64
	for _, v := range samples {
		s1, s2 = float64(v)+2*math.Cos(w)*s1-s2, s1
	}
	n := float64(len(samples))
	p := power(samples)
	if p == 0 {
		return 0
	}
	return math.Min(1, (s1*s1+s2*s2-2*math.Cos(w)*s1*s2)*2/n/n/p)
}

// SNR returns the ratio of got to its distance from want in dB, at the delay and gain at which that is best; delay is
// how many samples got is late, up to most.
func SNR(want, got []int16, most int) (dB float64, delay int) {
	dB = math.Inf(-1)
	for d := 0; d <= most && d < len(got); d++ {
		n := min(len(want), len(got)-d)
		var xx, xy, yy float64
		for i := range n {
			x, y := float64(want[i]), float64(got[i+d])
			xx, xy, yy = xx+x*x, xy+x*y, yy+y*y
		}
		if xx == 0 || xy <= 0 {
			continue
		}
		signal := xy * xy / xx
		if v := 10 * math.Log10(signal/math.Max(1e-9, yy-signal)); v > dB {
			dB, delay = v, d
		}
	}
	return dB, delay
}
