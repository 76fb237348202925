package mix

import (
	"context"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"linehall/media/packet"
)

// Mixer lets each of many legs hear all the others. The flow of one tick, all in the goroutine of Run:
//
//  1. every ear gives 20 ms at 16 kHz, and the keys that were pressed
//  2. every talker is brought to an even level (Gain); who does not talk adds nothing
//  3. all are added up once; who confides in one leg only is added for that one
//  4. every leg gets the sum without its own part (mix-minus), limited, through its mouth
//
// Legs come and go between ticks: the list is swapped, never changed.
type Mixer struct {
	start   time.Time
	joining sync.Mutex // serialises Join and Leave
	legs    atomic.Pointer[[]*Leg]
	signal  atomic.Pointer[signal]
	sum     [FrameSamples]int32
	minus   [FrameSamples]int32
}

// signal is a sound for everybody.
type signal struct {
	samples []int16
	at      int // the mixer's
}

// Leg is a party of a mixer.
type Leg struct {
	mixer   *Mixer
	ear     *Ear
	mouth   *Mouth // nil: it only speaks
	gain    Gain
	limiter Limiter
	out     atomic.Pointer[Out]
	muted   atomic.Bool
	alone   atomic.Bool            // apart from all others
	private atomic.Pointer[signal] // that it hears
	below   atomic.Uint32          // dB below overload
	only    atomic.Pointer[Leg]    // who hears it; nil: all
	talks   bool
	aside   [FrameSamples]int32 // for this leg alone
	told    bool                // there is something in it
	frame   [FrameSamples]int16
	mixed   [FrameSamples]int16
	ticks   int
	known   sync.Mutex // guards stats
	stats   PlayoutStats
}

// Out takes what a leg says to its party. Both are called by the mixer's goroutine and must not block; the packet is
// borrowed.
type Out interface {
	Send(packet []byte)
	Pressed(key byte)
}

// NewMixer returns a mixer without legs.
func NewMixer() *Mixer {
	m := &Mixer{start: time.Now()}
	m.legs.Store(&[]*Leg{})
	return m
}

// Run mixes until ctx ends.
func (m *Mixer) Run(ctx context.Context) error {
	Tick(ctx, m.start, func(now time.Duration) bool {
		m.tick(now)
		return true
	})
	return nil
}

// Join adds a party that sends by one line and is spoken to by the other, which must have a format that can be encoded. From
// the next tick on it hears and is heard.
func (m *Mixer) Join(sends, gets Line, out Out) *Leg {
	leg := &Leg{mixer: m, ear: NewEar(sends), mouth: NewMouth(gets)}
	leg.To(out)
	m.joining.Lock()
	defer m.joining.Unlock()
	legs := append(slices.Clone(*m.legs.Load()), leg)
	m.legs.Store(&legs)
	return leg
}

// Speak adds a party that is heard and hears nothing, such as a voice that has its own way back.
func (m *Mixer) Speak(sends Line) *Leg {
	leg := &Leg{mixer: m, ear: NewEar(sends)}
	leg.To(silent{})
	m.joining.Lock()
	defer m.joining.Unlock()
	legs := append(slices.Clone(*m.legs.Load()), leg)
	m.legs.Store(&legs)
	return leg
}

// silent is the Out of who hears nothing.
type silent struct{}

func (silent) Send([]byte)  {}
func (silent) Pressed(byte) {}

// Leave takes the party out. The tick that runs may still call its Out.
func (l *Leg) Leave() {
	l.mixer.joining.Lock()
	defer l.mixer.joining.Unlock()
	legs := slices.DeleteFunc(slices.Clone(*l.mixer.legs.Load()), func(o *Leg) bool { return o == l })
	l.mixer.legs.Store(&legs)
}

// To has another Out take what is said to the party, from the next tick on.
func (l *Leg) To(out Out) { l.out.Store(&out) }

// Put takes a datagram of the party; it is borrowed. Any goroutine may call it.
func (l *Leg) Put(datagram []byte) { l.ear.Put(time.Since(l.mixer.start), datagram) }

// Signal plays samples at Rate to everybody, in place of a signal before. They are taken.
func (m *Mixer) Signal(samples []int16) { m.signal.Store(&signal{samples: samples}) }

// Confide has the party be heard by one other leg only, nil by all again. It hears everybody as before.
func (l *Leg) Confide(to *Leg) { l.only.Store(to) }

// Press sends the party a key, if it takes events. Only an Out may call it, from Pressed.
func (l *Leg) Press(key byte, length time.Duration) { l.mouth.Press(key, length) }

// Mute keeps the party from being heard; it hears on, and its keys count.
func (l *Leg) Mute(muted bool) { l.muted.Store(muted) }

// Apart has the party hear nobody and be heard by nobody, but for what is played to it; its keys count.
func (l *Leg) Apart(on bool) { l.alone.Store(on) }

// Play plays samples at Rate to the party alone, in place of those before. They are taken; nil: silence.
func (l *Leg) Play(samples []int16) {
	if len(samples) == 0 {
		l.private.Store(nil)
		return
	}
	l.private.Store(&signal{samples: samples})
}

// Below is how far the party's voice was below overload in the last frame, in dB up to 127 (RFC 6464 §3).
func (l *Leg) Below() uint8 { return uint8(l.below.Load()) } //nolint:gosec // at most 127

// Said is what was said to the party, as Mouth.Said. Only an Out may call it, from Send.
func (l *Leg) Said() (source packet.SSRC, timestamp, packets, octets uint32) { return l.mouth.Said() }

// Stats returns what became of the party's packets, up to a second ago.
func (l *Leg) Stats() PlayoutStats {
	l.known.Lock()
	defer l.known.Unlock()
	return l.stats
}

// statsEvery is once a second.
const statsEvery = 50

func (m *Mixer) tick(now time.Duration) {
	legs := *m.legs.Load()
	clear(m.sum[:])
	m.add(m.signal.Load())
	for _, l := range legs {
		l.hear(now)
		if !l.talks {
			continue
		}
		sum := &m.sum
		if to := l.only.Load(); to != nil {
			sum, to.told, l.talks = &to.aside, true, false
		}
		for i, s := range l.frame {
			sum[i] += int32(s)
		}
	}
	for _, l := range legs {
		if l.mouth == nil {
			continue
		}
		l.limiter.Apply(l.mixed[:], m.share(l)[:])
		(*l.out.Load()).Send(l.mouth.Say(l.mixed[:]))
	}
}

// add plays the next part of a signal.
func (m *Mixer) add(s *signal) {
	if s.next(&m.sum) {
		m.signal.CompareAndSwap(s, nil)
	}
}

// next adds the next part to a frame; true: it was the last one.
func (s *signal) next(sum *[FrameSamples]int32) bool {
	if s == nil {
		return false
	}
	n := min(FrameSamples, len(s.samples)-s.at)
	for i, v := range s.samples[s.at : s.at+n] {
		sum[i] += int32(v)
	}
	s.at += n
	return s.at == len(s.samples)
}

// share is what a leg hears: the sum without its own part, and what is for it alone.
func (m *Mixer) share(l *Leg) *[FrameSamples]int32 {
	own, alone := l.private.Load(), l.alone.Load()
	if !l.talks && !l.told && !alone && own == nil {
		return &m.sum
	}
	if alone {
		clear(m.minus[:])
	} else {
		m.minus = m.sum
	}
	if own.next(&m.minus) {
		l.private.CompareAndSwap(own, nil)
	}
	if l.talks && !alone {
		for i, s := range l.frame {
			m.minus[i] -= int32(s)
		}
	}
	if l.told {
		for i, s := range l.aside {
			m.minus[i] += s
		}
		clear(l.aside[:])
		l.told = false
	}
	return &m.minus
}

// hear takes the leg's next 20 ms.
func (l *Leg) hear(now time.Duration) {
	voice, keys := l.ear.Hear(now, l.frame[:])
	for _, k := range keys {
		(*l.out.Load()).Pressed(k)
	}
	l.below.Store(uint32(quietness(l.frame[:], voice)))
	l.gain.Apply(l.frame[:], voice)
	l.talks = voice && !l.muted.Load() && !l.alone.Load()
	if l.ticks++; l.ticks%statsEvery == 0 {
		l.known.Lock()
		l.stats = l.ear.Stats()
		l.known.Unlock()
	}
}
