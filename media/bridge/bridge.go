// Package bridge lets people talk in a conversation that is going on between two others: the sound of each of their paths
// (media/anchor) is led into one mixer (media/mix), and everybody hears all others. Ports, sources and session
// descriptions stay what they are, so nobody is asked for anything, and when the last one has left, the two who remain hear
// each other straight again.
//
// Who joins may speak to all, to one of them, or to nobody. Keys (RFC 4733) of the two go on to the other one; those of who
// joined go nowhere.
//
// It knows no SIP and no rooms.
//
// Concurrency: a Bridge may be used by any goroutine; a Way by its owner, one call after the other. Run mixes.
//
//	b := bridge.New()
//	go b.Run(ctx)
//	two, err := b.Lead(path, bridge.Both, caller, callee)   // descriptions as the parties wrote them
//	third, err := b.Lead(other, bridge.One, theirs, ours)
//	third.Speak(bridge.ToAll, nil)
//	third.Close()
package bridge

import (
	"context"
	"errors"
	"sync/atomic"
	"time"

	"linehall/media/anchor"
	"linehall/media/mix"
	"linehall/media/prompt"
	"linehall/media/relay"
)

// ErrNoFormat says that a party has no format that it could be spoken to in.
var ErrNoFormat = errors.New("no audio format that can be mixed")

// Path is the media of two parties, or of one and us; *anchor.Path is one.
type Path interface {
	Divert(d relay.Detour)
	Say(side anchor.Side, packet []byte)
}

// Bridge is one conversation.
type Bridge struct{ mixer *mix.Mixer }

// New returns a bridge that nobody has joined.
func New() *Bridge { return &Bridge{mix.NewMixer()} }

// Run mixes until ctx ends.
func (b *Bridge) Run(ctx context.Context) error { return b.mixer.Run(ctx) } //nolint:wrapcheck // it has none

// Beep lets everybody hear that somebody has come.
func (b *Bridge) Beep() { b.mixer.Signal(beep()) }

// Who of a path takes part.
const (
	Both = 2
	One  = 1 // the caller's side; the other one is us
)

// keyLength is how long a key is that goes on to the other party.
const keyLength = 100 * time.Millisecond

// Way is a path that is led into the bridge. It is a relay.Detour.
type Way struct {
	bridge  *Bridge
	path    Path
	count   int
	parties [2]atomic.Pointer[party]
}

// party is one end of a way.
type party struct {
	way    *Way
	side   anchor.Side
	leg    *mix.Leg
	lines  Lines
	events bool // its keys are no tones
}

// Lead leads a path into the bridge; caller and callee are the session descriptions as they were agreed.
func (b *Bridge) Lead(path Path, count int, caller, callee []byte) (*Way, error) {
	w := &Way{bridge: b, path: path, count: count}
	if err := w.Describe(caller, callee); err != nil {
		return nil, err
	}
	path.Divert(w)
	return w, nil
}

// Describe says what was agreed since. On an error everything stays as it was.
func (w *Way) Describe(caller, callee []byte) error {
	lines := Agreed(caller, callee)
	for _, l := range lines[:w.count] {
		if !l.usable() {
			return ErrNoFormat
		}
	}
	for i, l := range lines[:w.count] {
		old := w.parties[i].Load()
		if old != nil && old.lines.same(l) {
			continue
		}
		p := &party{way: w, side: anchor.Side(i), lines: l, events: l.Sends.Event != 0} //nolint:gosec // 0 or 1
		p.leg = w.bridge.mixer.Join(l.Sends, l.Gets, p)
		w.parties[i].Store(p)
		if old != nil {
			old.leg.Leave()
		}
	}
	return nil
}

// Speech is to whom somebody speaks.
type Speech uint8

// The kinds.
const (
	ToAll Speech = iota
	ToOne
	ToNobody
)

// Speak says who hears the way's first party; of is the way of the one that it is for, and side its end there, with ToOne.
func (w *Way) Speak(how Speech, of *Way, side anchor.Side) {
	leg := w.parties[0].Load().leg
	leg.Mute(how == ToNobody)
	if how == ToOne {
		leg.Confide(of.parties[side].Load().leg)
	} else {
		leg.Confide(nil)
	}
}

// Close leads the path straight again; its parties hear nothing of the bridge any more.
func (w *Way) Close() {
	w.path.Divert(nil)
	for i := range w.parties {
		if p := w.parties[i].Load(); p != nil {
			p.leg.Leave()
		}
	}
}

// Take implements relay.Detour.
func (w *Way) Take(leg int, _ int64, b []byte) {
	if p := w.parties[leg].Load(); p != nil {
		p.leg.Put(b)
	}
}

// Send implements mix.Out.
func (p *party) Send(packet []byte) {
	if !p.lines.Silent {
		p.way.path.Say(p.side, packet)
	}
}

// Pressed implements mix.Out. What comes as tones is in the sound already.
func (p *party) Pressed(key byte) {
	if other := p.way.parties[1-p.side].Load(); other != nil && p.events {
		other.leg.Press(key, keyLength)
	}
}

// beep is short and 6 dB below a tone that is for somebody alone: people talk meanwhile.
func beep() []int16 {
	const long = 200 * time.Millisecond
	samples := make([]int16, 0, mix.Rate)
	player, frame := prompt.NewPlayer(prompt.Tone{{Hz: []float64{1400}, Long: long}, {Long: time.Second}}, long), make([]int16, mix.FrameSamples)
	for player.Frame(nil, frame, nil) {
		for _, v := range frame {
			samples = append(samples, v/2)
		}
	}
	return samples
}
