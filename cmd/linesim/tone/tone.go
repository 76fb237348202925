// Package tone speaks and hears G.711: it fills 20 ms frames with a sine of one frequency, encoded as A-law or µ-law
// (ITU-T G.711), and tells by the Goertzel algorithm how much of a received signal is such a sine.
//
// Every simulated phone sings its own frequency, so that a listener knows not only that sound arrives but whose:
//
//	g := tone.NewGenerator(tone.ALaw, 1000)
//	d := tone.NewDetector(tone.ALaw, 1000)
//	var frame [tone.FrameSamples]byte
//	g.Fill(frame[:])
//	d.Write(frame[:])
//
// A Generator or Detector belongs to one goroutine.
package tone

import "math"

// SampleRate is that of G.711 (RFC 3551 §4.5.14).
const SampleRate = 8000

// FrameSamples is 20 ms of sound, one packet.
const FrameSamples = 160

// windowSamples is 100 ms: bins of 10 Hz, so that phones 20 Hz apart are told apart by a rectangular window exactly.
const windowSamples = 5 * FrameSamples

// dominance is the share of a window's energy that must lie at the frequency for it to count as heard. A clean tone
// through G.711 reaches 0.99; a window with one of five packets missing (silence) still reaches 0.8.
const dominance = 0.6

// amplitude of the generated sine: -9 dB below full scale, as loud as a phone gets.
const amplitude = 11585

// quiet is the mean square below which a window is silence (about -60 dB of full scale).
const quiet = 900

// Law is the companding law.
type Law uint8

// The two laws, with their static RTP payload types (RFC 3551 §6).
const (
	MuLaw Law = 0
	ALaw  Law = 8
)

// Name returns the encoding name of the SDP rtpmap.
func (l Law) Name() string {
	if l == MuLaw {
		return "PCMU"
	}
	return "PCMA"
}

// Silence is the code of a sample near zero.
func (l Law) Silence() byte {
	if l == MuLaw {
		return 0xff
	}
	return 0xd5
}

// Frequency returns the frequency of the i-th phone in Hz: 20 Hz apart from 400 Hz on, 150 distinct ones inside the
// telephone band, then over again.
func Frequency(i int) float64 { return 400 + 20*float64(i%150) }

// Generator produces an endless sine.
type Generator struct {
	law   Law
	step  float64
	phase float64
}

// NewGenerator returns a generator for a frequency in Hz.
func NewGenerator(law Law, hz float64) *Generator {
	return &Generator{law: law, step: 2 * math.Pi * hz / SampleRate}
}

// Fill writes the next samples, one byte each.
func (g *Generator) Fill(frame []byte) {
	for i := range frame {
		frame[i] = g.law.Encode(int16(amplitude * math.Sin(g.phase)))
		g.phase += g.step
	}
	g.phase = math.Mod(g.phase, 2*math.Pi)
}

// Detector looks for one frequency in consecutive windows of 100 ms.
type Detector struct {
	law     Law
	coeff   float64
	s1, s2  float64
	energy  float64
	samples int
	heard   int
	silent  int
	windows int
}

// NewDetector returns a detector for a frequency in Hz.
func NewDetector(law Law, hz float64) *Detector {
	return &Detector{law: law, coeff: 2 * math.Cos(2*math.Pi*hz/SampleRate)}
}

// Write takes received samples; the slice is borrowed until it returns.
func (d *Detector) Write(payload []byte) {
	for _, b := range payload {
		x := float64(d.law.Decode(b))
		s := x + d.coeff*d.s1 - d.s2
		d.s2, d.s1 = d.s1, s
		d.energy += x * x
		if d.samples++; d.samples == windowSamples {
			d.judge()
		}
	}
}

// judge closes the window: Goertzel's power at the frequency against the whole energy (a pure sine gives 1).
func (d *Detector) judge() {
	power := d.s1*d.s1 + d.s2*d.s2 - d.coeff*d.s1*d.s2
	d.windows++
	switch {
	case d.energy < quiet*windowSamples:
		d.silent++
	case 2*power/windowSamples > dominance*d.energy:
		d.heard++
	}
	d.s1, d.s2, d.energy, d.samples = 0, 0, 0, 0
}

// Counts returns the windows that carried the tone, those that were silent, and all.
func (d *Detector) Counts() (heard, silent, windows int) { return d.heard, d.silent, d.windows }

// Heard reports whether the tone dominated at least half of the windows that have passed, and there was one.
func (d *Detector) Heard() bool { return d.windows > 0 && 2*d.heard >= d.windows }
