package mix

import (
	"testing"
	"time"

	"linehall/media/codec"
)

// Somebody apart hears nobody but what is played to it, and nobody hears it; a voice that only speaks is heard by all.
func TestApart(t *testing.T) {
	line := Line{Format: codec.PCMA, Type: 8}
	m := NewMixer()
	a, b := &counting{}, &counting{}
	left, right := m.Join(line, line, a), m.Join(line, line, b)
	voice := m.Speak(line)
	mouth := NewMouth(line)
	loud := make([]int16, FrameSamples)
	for i := range loud {
		loud[i] = int16(8000 * (1 - 2*(i/8%2)))
	}
	step := func(n int, speakers ...*Leg) {
		a.energy, b.energy = 0, 0
		for range n {
			packet := mouth.Say(loud)
			for _, l := range speakers {
				l.ear.Put(a.now, packet)
			}
			a.now += codec.Frame
			b.now = a.now
			m.tick(a.now)
		}
	}
	step(40, voice)
	if a.energy == 0 || b.energy == 0 {
		t.Errorf("a voice that only speaks is not heard: %v %v", a.energy, b.energy)
	}
	if level := voice.Below(); level > 30 || left.Below() != 127 {
		t.Errorf("levels %d and %d", level, left.Below())
	}
	left.Apart(true)
	step(5, voice) // what was on its way
	step(40, voice)
	if a.energy != 0 || b.energy == 0 {
		t.Errorf("apart, yet it hears: %v; the other: %v", a.energy, b.energy)
	}
	right.Apart(false)
	step(40) // silence again
	step(40, left)
	if b.energy > 1000 {
		t.Errorf("apart, yet it is heard: %v", b.energy)
	}
	left.Play(loud)
	step(2)
	if a.energy == 0 || b.energy > 1000 {
		t.Errorf("played: %v, and to the other %v", a.energy, b.energy)
	}
}

// counting measures what it is sent.
type counting struct {
	now    time.Duration
	energy float64
}

func (c *counting) Send(packet []byte) {
	samples, _ := codec.PCMA.NewDecoder().Decode(nil, packet[12:])
	for _, s := range samples {
		if s > 100 || s < -100 { // A-law has no zero
			c.energy += float64(s) * float64(s)
		}
	}
}

func (*counting) Pressed(byte) {}
