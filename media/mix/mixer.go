package mix

import (
	"context"
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

// Mixer lets each of many legs hear all the others. The flow of one tick, all in the goroutine of Run:
//
//  1. every ear gives 20 ms at 16 kHz, and the keys that were pressed
//  2. every talker is brought to an even level (Gain); who does not talk adds nothing
//  3. all are added up once
//  4. every leg gets the sum without its own part (mix-minus), limited, through its mouth
//
// Legs come and go between ticks: the list is swapped, never changed.
type Mixer struct {
	start   time.Time
	joining sync.Mutex // serialises Join and Leave
	legs    atomic.Pointer[[]*Leg]
	sum     [FrameSamples]int32
	minus   [FrameSamples]int32
}

// Leg is a party of a mixer.
type Leg struct {
	mixer   *Mixer
	ear     *Ear
	mouth   *Mouth
	gain    Gain
	limiter Limiter
	out     Out
	muted   atomic.Bool
	talks   bool
	frame   [FrameSamples]int16
	mixed   [FrameSamples]int16
	ticks   int
	told    sync.Mutex // guards stats
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

// Join adds a party; from the next tick on it hears and is heard.
func (m *Mixer) Join(l Line, out Out) *Leg {
	leg := &Leg{mixer: m, ear: NewEar(l), mouth: NewMouth(l), out: out}
	m.joining.Lock()
	defer m.joining.Unlock()
	legs := append(slices.Clone(*m.legs.Load()), leg)
	m.legs.Store(&legs)
	return leg
}

// Leave takes the party out. The tick that runs may still call its Out.
func (l *Leg) Leave() {
	l.mixer.joining.Lock()
	defer l.mixer.joining.Unlock()
	legs := slices.DeleteFunc(slices.Clone(*l.mixer.legs.Load()), func(o *Leg) bool { return o == l })
	l.mixer.legs.Store(&legs)
}

// Put takes a datagram of the party; it is borrowed. Any goroutine may call it.
func (l *Leg) Put(datagram []byte) { l.ear.Put(time.Since(l.mixer.start), datagram) }

// Mute keeps the party from being heard; it hears on, and its keys count.
func (l *Leg) Mute(muted bool) { l.muted.Store(muted) }

// Stats returns what became of the party's packets, up to a second ago.
func (l *Leg) Stats() PlayoutStats {
	l.told.Lock()
	defer l.told.Unlock()
	return l.stats
}

// statsEvery is once a second.
const statsEvery = 50

func (m *Mixer) tick(now time.Duration) {
	legs := *m.legs.Load()
	clear(m.sum[:])
	for _, l := range legs {
		l.hear(now)
		if l.talks {
			for i, s := range l.frame {
				m.sum[i] += int32(s)
			}
		}
	}
	for _, l := range legs {
		sum := &m.sum
		if l.talks {
			for i, s := range l.frame {
				m.minus[i] = m.sum[i] - int32(s)
			}
			sum = &m.minus
		}
		l.limiter.Apply(l.mixed[:], sum[:])
		l.out.Send(l.mouth.Say(l.mixed[:]))
	}
}

// hear takes the leg's next 20 ms.
func (l *Leg) hear(now time.Duration) {
	voice, keys := l.ear.Hear(now, l.frame[:])
	for _, k := range keys {
		l.out.Pressed(k)
	}
	l.gain.Apply(l.frame[:], voice)
	l.talks = voice && !l.muted.Load()
	if l.ticks++; l.ticks%statsEvery == 0 {
		l.told.Lock()
		l.stats = l.ear.Stats()
		l.told.Unlock()
	}
}
