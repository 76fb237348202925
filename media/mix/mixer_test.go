package mix

import (
	"context"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"linehall/media/codec"
	"linehall/media/codec/codectest"
	"linehall/media/packet"
)

// party keeps what it hears.
type party struct {
	mu      sync.Mutex
	decoder codec.Decoder
	heard   []int16
	keys    string
	packets int
}

func newParty(f codec.Format) *party { return &party{decoder: f.NewDecoder()} }

func (p *party) Send(b []byte) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.packets++
	h, _ := packet.Parse(b)
	p.heard, _ = p.decoder.Decode(p.heard, b[h.Payload:h.End])
}

func (p *party) Pressed(key byte) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.keys += string(key)
}

// deaf hears nothing.
type deaf struct{}

func (deaf) Send([]byte)  {}
func (deaf) Pressed(byte) {}

func lineOf(f codec.Format) Line { return Line{Format: f, Type: 8, Event: 101} }

// Three parties with three codecs each hear the two others and not themselves.
func TestEveryoneHearsTheOthers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := NewMixer()
		ctx, stop := context.WithCancel(t.Context())
		ended := make(chan error)
		go func() { ended <- m.Run(ctx) }()
		formats, tones := []codec.Format{codec.PCMA, codec.PCMU, codec.G722}, []float64{500, 800, 1300}
		var parties [3]*party
		var legs [3]*Leg
		var mouths [3]*Mouth
		for i, f := range formats {
			parties[i] = newParty(f)
			legs[i] = m.Join(lineOf(f), lineOf(f), parties[i])
			mouths[i] = NewMouth(lineOf(f))
		}
		var sounds [3][]int16 // of a second, whole periods
		for i, hz := range tones {
			sounds[i] = codectest.Tone(Rate, hz, -20, time.Second)
		}
		say := func(d time.Duration) {
			for n := range int(d / codec.Frame) {
				for i, mouth := range mouths {
					legs[i].Put(mouth.Say(sounds[i][n%50*FrameSamples:][:FrameSamples]))
				}
				time.Sleep(codec.Frame)
			}
			synctest.Wait() // nobody speaks while the test reads
		}
		say(3 * time.Second)
		for i, p := range parties {
			rate := formats[i].Rate
			last := p.heard[len(p.heard)-rate:]
			for j, hz := range tones {
				share := codectest.Tonality(last, rate, hz)
				if i == j && share > 0.001 || i != j && (share < 0.4 || share > 0.6) {
					t.Errorf("%s hears %.0f Hz as %.3f of all", formats[i].Name, hz, share)
				}
			}
		}

		legs[0].Mute(true)
		mouths[0].Press('4', 100*time.Millisecond)
		say(2 * time.Second)
		last := parties[1].heard[len(parties[1].heard)-8_000:]
		if share := codectest.Tonality(last, 8_000, tones[2]); share < 0.95 {
			t.Errorf("the other one is %.3f of what is heard while the first is muted", share)
		}
		if parties[0].keys != "4" || parties[1].keys != "" {
			t.Errorf("keys %q and %q", parties[0].keys, parties[1].keys)
		}
		if s := legs[1].Stats(); s.Packets < 180 || s.Late > 0 {
			t.Errorf("%+v", s)
		}

		legs[0].Mute(false)
		legs[0].Confide(legs[2])
		say(2 * time.Second)
		if share := codectest.Tonality(parties[1].heard[len(parties[1].heard)-8_000:], 8_000, tones[0]); share > 0.001 {
			t.Errorf("what one leg is told is %.3f of what another one hears", share)
		}
		if share := codectest.Tonality(parties[2].heard[len(parties[2].heard)-16_000:], 16_000, tones[0]); share < 0.4 || share > 0.6 {
			t.Errorf("who is confided in hears %.3f of it", share)
		}
		if share := codectest.Tonality(parties[0].heard[len(parties[0].heard)-8_000:], 8_000, tones[1]); share < 0.4 || share > 0.6 {
			t.Errorf("who confides hears the others as %.3f", share)
		}
		legs[0].Confide(nil)

		m.Signal(codectest.Tone(Rate, 2000, -20, 200*time.Millisecond))
		time.Sleep(300 * time.Millisecond)
		synctest.Wait()
		for i, p := range parties {
			if share := codectest.Tonality(p.heard[len(p.heard)-formats[i].Rate/4:len(p.heard)-formats[i].Rate/8], formats[i].Rate, 2000); share < 0.9 {
				t.Errorf("%s hears the signal as %.3f", formats[i].Name, share)
			}
		}

		legs[2].Leave()
		time.Sleep(time.Second)
		synctest.Wait()
		count := parties[2].packets
		time.Sleep(time.Second)
		synctest.Wait()
		if parties[2].packets != count {
			t.Error("who left is still spoken to")
		}
		stop()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
}

// model is a mixer as one would explain it: for each leg, add up everybody else.
func model(frames [][]int16, talks []bool, limiters []Limiter) [][]int16 {
	out := make([][]int16, len(frames))
	for i := range frames {
		sum := make([]int32, FrameSamples)
		for j, other := range frames {
			if i == j || !talks[j] {
				continue
			}
			for k, s := range other {
				sum[k] += int32(s)
			}
		}
		out[i] = make([]int16, FrameSamples)
		limiters[i].Apply(out[i], sum)
	}
	return out
}

// The mixer and the model agree to the bit on random meetings: talkers, pauses, mutes, loss, levels up to full scale.
func TestTheMixerIsTheModel(t *testing.T) {
	for seed := range uint64(3) {
		random := rand.New(rand.NewPCG(seed, 3))
		n := 2 + random.IntN(8)
		m := NewMixer()
		formats := []codec.Format{codec.PCMA, codec.PCMU, codec.G722}
		speakers, ears, gains, limiters := make([]*Mouth, n), make([]*Ear, n), make([]Gain, n), make([]Limiter, n)
		sound := make([][]int16, n)
		for i := range n {
			l := lineOf(formats[random.IntN(3)])
			m.Join(l, l, deaf{})
			speakers[i], ears[i] = NewMouth(l), NewEar(l)
			sound[i] = codectest.Speech(Rate, time.Second, seed*100+uint64(i))
		}
		for tick := range 100 {
			now := time.Duration(tick) * codec.Frame
			for i := range n {
				b := speakers[i].Say(sound[i][tick%50*FrameSamples:][:FrameSamples])
				if random.IntN(10) > 0 && tick/20%3 != i%3 { // loss, and pauses
					(*m.legs.Load())[i].ear.Put(now, b)
					ears[i].Put(now, b)
				}
			}
			if random.IntN(30) == 0 {
				(*m.legs.Load())[random.IntN(n)].Mute(random.IntN(2) == 0)
			}
			m.tick(now)
			frames, talks := make([][]int16, n), make([]bool, n)
			for i := range n {
				frames[i] = make([]int16, FrameSamples)
				voice, _ := ears[i].Hear(now, frames[i])
				gains[i].Apply(frames[i], voice)
				talks[i] = voice && !(*m.legs.Load())[i].muted.Load()
			}
			for i, want := range model(frames, talks, limiters) {
				if got := (*m.legs.Load())[i].mixed; !slices.Equal(got[:], want) {
					t.Fatalf("seed %d, tick %d: leg %d hears something else", seed, tick, i)
				}
			}
		}
	}
}

// A faint talker and a loud one end at about the same level; noise is not raised.
func TestGain(t *testing.T) {
	for _, level := range []float64{-34, -26, -20, -12} {
		var g Gain
		sound := codectest.Tone(Rate, 400, level, 8*time.Second)
		for i := 0; i+FrameSamples <= len(sound); i += FrameSamples {
			g.Apply(sound[i:i+FrameSamples], true)
		}
		if l := codectest.Level(sound[7*Rate:]); math.Abs(l+20) > 1.2 {
			t.Errorf("%.0f dBm0 becomes %.1f, want -20", level, l)
		}
	}
	var g Gain
	noise := codectest.Noise(Rate, -50, 4*time.Second, 1)
	for i := 0; i+FrameSamples <= len(noise); i += FrameSamples {
		g.Apply(noise[i:i+FrameSamples], true)
	}
	if l := codectest.Level(noise[3*Rate:]); math.Abs(l+50) > 0.5 {
		t.Errorf("noise of -50 dBm0 becomes %.1f", l)
	}
}

// Ten loud talkers at once neither overflow nor crackle: a tone stays a tone.
func TestLimiter(t *testing.T) {
	var l Limiter
	tone := codectest.Tone(Rate, 500, 0, time.Second)
	sum, out := make([]int32, FrameSamples), make([]int16, FrameSamples)
	var heard []int16
	for i := 0; i+FrameSamples <= len(tone); i += FrameSamples {
		for k := range sum {
			sum[k] = 10 * int32(tone[i+k])
		}
		l.Apply(out, sum)
		heard = append(heard, out...)
	}
	if p := codectest.Tonality(heard, Rate, 500); p < 0.999 {
		t.Errorf("only %.4f of what is left is the tone", p)
	}
	if level := codectest.Level(heard); level < 2 || level > 3.14 {
		t.Errorf("level %.1f dBm0", level)
	}
	for range 200 { // quiet again: unchanged after a while
		clear(sum)
		sum[0] = 1000
		l.Apply(out, sum)
	}
	if out[0] != 1000 {
		t.Errorf("a quiet sample is %d, want 1000", out[0])
	}
}

// meeting is a mixer whose legs all talk.
func meeting(n int) (m *Mixer, feed func(now time.Duration)) {
	m = NewMixer()
	formats := []codec.Format{codec.PCMA, codec.G722, codec.PCMU}
	var mouths []*Mouth
	var legs []*Leg
	sound := codectest.Speech(Rate, time.Second, 5)
	for i := range n {
		l := lineOf(formats[i%3])
		legs, mouths = append(legs, m.Join(l, l, deaf{})), append(mouths, NewMouth(l))
	}
	tick := 0
	return m, func(now time.Duration) {
		for i, l := range legs {
			l.ear.Put(now, mouths[i].Say(sound[(tick+i)%50*FrameSamples:][:FrameSamples]))
		}
		tick++
	}
}

func TestATickAllocatesNothing(t *testing.T) {
	m, feed := meeting(6)
	now := time.Duration(0)
	if n := testing.AllocsPerRun(2*statsEvery, func() {
		feed(now)
		m.tick(now)
		now += codec.Frame
	}); n != 0 {
		t.Errorf("%.1f allocations per tick", n)
	}
}

// BenchmarkMeeting is 20 ms of a meeting in which everybody talks; µs/leg is what a leg takes of each 20,000.
func BenchmarkMeeting(b *testing.B) {
	for _, n := range []int{3, 10, 30} {
		b.Run(fmt.Sprintf("%d legs", n), func(b *testing.B) {
			m, feed := meeting(n)
			now := time.Duration(0)
			b.ReportAllocs()
			for b.Loop() {
				b.StopTimer()
				feed(now)
				b.StartTimer()
				m.tick(now)
				now += codec.Frame
			}
			b.ReportMetric(float64(b.Elapsed().Microseconds())/float64(b.N)/float64(n), "µs/leg")
		})
	}
}

// An ear follows a party that changes to another of its formats, and back.
func TestAnEarFollowsTheFormat(t *testing.T) {
	aLaw, wide := Line{Format: codec.PCMA, Type: 8}, Line{Format: codec.G722, Type: 9}
	sends := aLaw
	sends.Others = []Voice{{codec.G722, 9}}
	e, mouths := NewEar(sends), []*Mouth{NewMouth(aLaw), NewMouth(wide), NewMouth(aLaw)}
	tone := codectest.Tone(Rate, 600, -20, time.Second)
	now := time.Duration(0)
	for i, mouth := range mouths {
		var heard []int16
		frame := make([]int16, FrameSamples)
		for n := range 50 {
			e.Put(now, mouth.Say(tone[n*FrameSamples:][:FrameSamples]))
			e.Hear(now, frame)
			heard = append(heard, frame...)
			now += codec.Frame
		}
		if share := codectest.Tonality(heard[len(heard)/2:], Rate, 600); share < 0.95 {
			t.Errorf("stretch %d: the tone is %.3f of what is heard", i, share)
		}
	}
	if s := e.Stats(); s.Packets < 140 || e.strange != 0 {
		t.Errorf("%+v, %d strange", s, e.strange)
	}
}
