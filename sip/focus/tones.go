package focus

import (
	"time"

	"linehall/media/mix"
	"linehall/media/prompt"
)

// tones are what a telephone hears of the focus itself. Rising is yes, falling is no or off.
type tones struct {
	pin      []int16 // the PIN, please
	wrong    []int16 // it was wrong
	waiting  []int16 // the chair has to let you in; again and again
	entered  []int16
	muted    []int16
	unmuted  []int16
	handUp   []int16
	handDown []int16
	done     []int16
	refused  []int16
	over     []int16
}

func newTones() tones {
	return tones{
		pin:      notes(note{620, 150}, note{0, 80}, note{620, 150}),
		wrong:    notes(note{400, 500}, note{0, 150}, note{400, 500}),
		waiting:  notes(note{480, 200}, note{0, 60}, note{480, 200}),
		entered:  notes(note{520, 120}, note{660, 120}, note{780, 160}),
		muted:    notes(note{660, 120}, note{440, 160}),
		unmuted:  notes(note{440, 120}, note{660, 160}),
		handUp:   notes(note{880, 150}),
		handDown: notes(note{440, 150}),
		done:     notes(note{700, 90}, note{0, 60}, note{700, 90}),
		refused:  notes(note{350, 120}, note{0, 80}, note{350, 120}, note{0, 80}, note{350, 240}),
		over:     notes(note{660, 150}, note{520, 150}, note{390, 250}),
	}
}

// note is a frequency for so many milliseconds; 0 Hz is silence.
type note struct{ hz, ms int }

// notes are samples of a melody.
func notes(list ...note) []int16 {
	var tone prompt.Tone
	long := time.Duration(0)
	for _, n := range list {
		sound := prompt.Sound{Long: time.Duration(n.ms) * time.Millisecond}
		if n.hz > 0 {
			sound.Hz = []float64{float64(n.hz)}
		}
		tone = append(tone, sound)
		long += sound.Long
	}
	tone = append(tone, prompt.Sound{Long: time.Minute}) // it is played once
	player, frame := prompt.NewPlayer(tone, long), make([]int16, mix.FrameSamples)
	var samples []int16
	for player.Frame(nil, frame, nil) {
		samples = append(samples, frame...)
	}
	return samples
}

// long is how long it is heard.
func long(samples []int16) time.Duration {
	return time.Duration(len(samples)) * time.Second / mix.Rate
}
