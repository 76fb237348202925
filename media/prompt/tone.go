// Package prompt makes what people hear of the exchange itself: the tones of a country (ITU-T E.180 and its supplement 2),
// keys, recorded prompts in WAV files, and the echo of a test call.
//
// Everything that is heard is a Program: it gets 20 ms of what the party says and fills 20 ms for it, at the rate of
// media/mix. Programs belong to one goroutine and allocate nothing per frame. Who carries them to a telephone is
// media/served.
//
//	busy := prompt.NewPlayer(prompt.China.Busy, 5*time.Second)
//	for busy.Frame(nil, said, nil) { … }
package prompt

import (
	"math"
	"time"

	"linehall/media/dtmf"
	"linehall/media/mix"
)

// Program is one side of a conversation with us.
type Program interface {
	// Frame gets 20 ms of what the party says and the keys that it pressed, and fills said with as much. It returns
	// false when it is over; said is then silent. All slices are borrowed.
	Frame(heard, said []int16, keys []byte) (more bool)
}

// Sound is a part of a tone: frequencies together for a time, or silence.
type Sound struct {
	Hz   []float64 // none: silence
	Long time.Duration
}

// Tone is a pattern that repeats.
type Tone []Sound

// Table holds the tones of a country.
type Table struct {
	Dial, Ringback, Busy, Congestion Tone
	// Unobtainable is for a number that does not exist or cannot be reached.
	Unobtainable Tone
	// Confirmation says that a setting was taken.
	Confirmation Tone
}

func beat(hz []float64, on, off time.Duration) Tone { return Tone{{hz, on}, {nil, off}} }

const ms = time.Millisecond

// The tables. China: GB/T 3380 and E.180 supplement 2, one frequency of 450 Hz. Generic: what E.180 recommends, 425 Hz,
// and the special information tone of its §8.
var (
	China = Table{
		Dial:         Tone{{[]float64{450}, time.Second}},
		Ringback:     beat([]float64{450}, time.Second, 4*time.Second),
		Busy:         beat([]float64{450}, 350*ms, 350*ms),
		Congestion:   beat([]float64{450}, 700*ms, 700*ms),
		Unobtainable: Tone{{[]float64{450}, 100 * ms}, {nil, 100 * ms}, {[]float64{450}, 100 * ms}, {nil, 100 * ms}, {[]float64{450}, 100 * ms}, {nil, 100 * ms}, {[]float64{450}, 400 * ms}, {nil, 400 * ms}},
		Confirmation: confirmation(450),
	}
	Generic = Table{
		Dial:         Tone{{[]float64{425}, time.Second}},
		Ringback:     beat([]float64{425}, time.Second, 4*time.Second),
		Busy:         beat([]float64{425}, 500*ms, 500*ms),
		Congestion:   beat([]float64{425}, 250*ms, 250*ms),
		Unobtainable: Tone{{[]float64{950}, 330 * ms}, {[]float64{1400}, 330 * ms}, {[]float64{1800}, 330 * ms}, {nil, time.Second}},
		Confirmation: confirmation(425),
	}
)

// confirmation is three short beeps, then nothing.
func confirmation(hz float64) Tone {
	on, off := Sound{[]float64{hz}, 120 * ms}, Sound{nil, 120 * ms}
	return Tone{{nil, 200 * ms}, on, off, on, off, on, {nil, time.Minute}}
}

// Tones returns the table for a country's code, the generic one for those that have none here.
func Tones(country string) Table {
	if country == "CN" {
		return China
	}
	return Generic
}

const (
	// level of one frequency, in parts of full scale: -10 dBm0 (E.180 §3).
	level = 0.2203
	// ramp keeps the beginning and the end of a beep from clicking.
	ramp = 5 * time.Millisecond
)

// Player plays a tone.
type Player struct {
	tone   Tone
	part   int
	at     int // samples into the part
	left   int // samples until the end; negative: no end
	angles [4]float64
}

// NewPlayer returns a player of a tone for that long, for ever if 0.
func NewPlayer(t Tone, long time.Duration) *Player {
	p := &Player{tone: t, left: -1}
	if long > 0 {
		p.left = samples(long)
	}
	return p
}

// NewKey returns a player of the tones of a key.
func NewKey(key byte, long time.Duration) *Player {
	lower, upper := dtmf.Frequencies(key)
	return NewPlayer(Tone{{[]float64{lower, upper}, long}}, long)
}

func samples(d time.Duration) int { return int(int64(d) * mix.Rate / int64(time.Second)) }

// Frame implements Program; it does not listen.
func (p *Player) Frame(_, said []int16, _ []byte) bool {
	for i := range said {
		if p.left == 0 || len(p.tone) == 0 {
			clear(said[i:])
			return i > 0
		}
		said[i] = p.next()
		if p.left > 0 {
			p.left--
		}
	}
	return true
}

func (p *Player) next() int16 {
	part := p.tone[p.part]
	whole := samples(part.Long)
	v := 0.0
	for i, hz := range part.Hz[:min(len(part.Hz), len(p.angles))] {
		v += math.Sin(p.angles[i])
		if p.angles[i] += 2 * math.Pi * hz / mix.Rate; p.angles[i] > 2*math.Pi {
			p.angles[i] -= 2 * math.Pi
		}
	}
	if len(p.tone) > 1 { // a continuous tone has no edges
		v *= min(1, float64(p.at+1)/float64(samples(ramp)), float64(whole-p.at)/float64(samples(ramp)))
	}
	if p.at++; p.at >= whole {
		p.at = 0
		if p.part = (p.part + 1) % len(p.tone); len(p.tone) > 1 {
			clear(p.angles[:])
		}
	}
	return int16(v * level * 32767)
}
