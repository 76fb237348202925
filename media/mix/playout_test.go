package mix

import (
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"linehall/media/codec"
	"linehall/media/codec/codectest"
	"linehall/media/packet"
)

const ms = time.Millisecond

// arrival is a packet on its way.
type arrival struct {
	at      time.Duration
	h       packet.Header
	noise   bool
	payload []byte
}

// stream cuts sound into packets of 20 ms that arrive at once.
func stream(f codec.Format, sound []int16) (out []arrival) {
	encoder, n := f.NewEncoder(), f.Samples(codec.Frame)
	h := packet.Header{Sequence: 65_500, Timestamp: 4_294_900_000, SSRC: 7}
	for i := 0; i+n <= len(sound); i += n {
		out = append(out, arrival{at: time.Duration(len(out)) * 20 * ms, h: h, payload: encoder.Encode(nil, sound[i:i+n])})
		h.Sequence++
		h.Timestamp += f.Ticks(n)
	}
	return out
}

// talk is speech of any length; it repeats after five seconds.
func talk(rate int, d time.Duration, seed uint64) []int16 {
	once := codectest.Speech(rate, 5*time.Second, seed)
	return slices.Repeat(once, int(d/(5*time.Second)))
}

// play lets packets arrive and returns what is heard in d.
func play(p *Playout, packets []arrival, d time.Duration) (out []int16) {
	slices.SortStableFunc(packets, func(a, b arrival) int { return int(a.at - b.at) })
	frame := make([]int16, p.format.Samples(codec.Frame))
	for now := time.Duration(0); now < d; now += 20 * ms {
		for len(packets) > 0 && packets[0].at <= now {
			p.Put(packets[0].at, packets[0].h, packets[0].noise, packets[0].payload)
			packets = packets[1:]
		}
		p.Pull(now, frame)
		out = append(out, frame...)
	}
	return out
}

// delayed adds up to jitter to each arrival; order changes.
func delayed(packets []arrival, jitter time.Duration, seed uint64) []arrival {
	random := rand.New(rand.NewPCG(seed, 5))
	for i := range packets {
		packets[i].at += time.Duration(random.Int64N(int64(jitter)))
	}
	return packets
}

func TestAnEvenStreamIsHeardAsItIs(t *testing.T) {
	for _, f := range []codec.Format{codec.PCMA, codec.G722} {
		sound := codectest.Speech(f.Rate, 2*time.Second, 1)
		p := NewPlayout(f)
		packets := stream(f, sound)
		packets = append(packets, packets...) // twice each
		heard := play(p, packets, 2*time.Second)
		want, _ := f.NewDecoder().Decode(nil, nil)
		d := f.NewDecoder()
		for _, a := range stream(f, sound) {
			want, _ = d.Decode(want, a.payload)
		}
		snr, delay := codectest.SNR(want[:len(want)-f.Rate/10], heard, f.Rate/16)
		if snr < 60 || delay > f.Samples(60*ms) {
			t.Errorf("%s: SNR %.1f dB after %d samples", f.Name, snr, delay)
		}
		if s := p.Stats(); s.Concealed+s.Stretched+s.Shortened+s.Late+s.Malformed > 0 || s.Target > 40*ms {
			t.Errorf("%s: %+v", f.Name, s)
		}
	}
}

// The delay follows the jitter up and down, and once it has, next to nothing is missed.
func TestTheDelayFollowsTheJitter(t *testing.T) {
	f := codec.PCMA
	for _, jitter := range []time.Duration{30 * ms, 80 * ms, 150 * ms} {
		sound := talk(f.Rate, 40*time.Second, 2)
		packets := stream(f, sound)
		delayed(packets[:1000], jitter, 9) // 20 s of jitter, 20 s without
		p := NewPlayout(f)
		play(p, slices.Clone(packets[:400]), 8*time.Second)
		rough := NewPlayout(f)
		heard := play(rough, slices.Clone(packets[:1000]), 20*time.Second)
		if s := rough.Stats(); s.Target < jitter*8/10 || s.Target > jitter+margin+10*ms {
			t.Errorf("jitter of %v: target %v", jitter, s.Target)
		}
		missed := float64(rough.Stats().Concealed-p.Stats().Concealed) / float64(12*f.Rate)
		if missed > 0.06 {
			t.Errorf("jitter of %v: %.1f %% of the last 12 s were made up: %+v", jitter, 100*missed, rough.Stats())
		}
		if l, want := codectest.Level(heard), codectest.Level(sound[:20*f.Rate]); l < want-1.5 || l > want+1 {
			t.Errorf("jitter of %v: heard at %.1f dBm0, said at %.1f", jitter, l, want)
		}
		whole := NewPlayout(f)
		play(whole, packets, 40*time.Second)
		if s := whole.Stats(); s.Target > 40*ms || s.Shortened == 0 {
			t.Errorf("after a jitter of %v: %+v", jitter, s)
		}
		if delay := whole.delay(40*time.Second - 20*ms); delay > 40*ms+above {
			t.Errorf("after a jitter of %v the delay is still %v", jitter, delay)
		}
	}
}

// Loss is concealed: a tone stays a tone, at nearly its level.
func TestLossIsConcealed(t *testing.T) {
	f := codec.G722
	packets := stream(f, codectest.Tone(f.Rate, 400, -10, 10*time.Second))
	random := rand.New(rand.NewPCG(4, 4))
	packets = slices.DeleteFunc(packets, func(arrival) bool { return random.IntN(20) == 0 })
	p := NewPlayout(f)
	heard := play(p, packets, 10*time.Second)[f.Rate:]
	if s := p.Stats(); s.Concealed < uint64(f.Rate)/5 || s.Late > 0 {
		t.Errorf("%+v", s)
	}
	if l := codectest.Level(heard); l < -11 || l > -9.5 {
		t.Errorf("level %.1f dBm0", l)
	}
	for i := 0; i+f.Rate/10 <= len(heard); i += f.Rate / 10 {
		if p := codectest.Tonality(heard[i:i+f.Rate/10], f.Rate, 400); p < 0.8 {
			t.Errorf("at %d ms only %.2f of the power is the tone", i*1000/f.Rate, p)
		}
	}
}

// A pause is no loss: with comfort noise that is heard, without it silence; and the voice comes back whole.
func TestPauses(t *testing.T) {
	f := codec.PCMU
	for _, noise := range []bool{true, false} {
		packets := stream(f, codectest.Tone(f.Rate, 400, -10, 3*time.Second))
		if noise {
			packets[50].noise, packets[50].payload = true, []byte{50}
		}
		// the sender is silent from 1 to 2 s and counts no packets meanwhile
		first := 50
		if noise {
			first = 51
		}
		for i := 100; i < len(packets); i++ {
			packets[i].h.Sequence -= uint16(100 - first)
		}
		packets = append(packets[:first], packets[100:]...)
		p := NewPlayout(f)
		heard := play(p, packets, 3*time.Second)
		quiet := codectest.Level(heard[f.Rate*3/2 : f.Rate*19/10])
		if noise && (quiet < -45 || quiet > -43) || !noise && quiet > -60 {
			t.Errorf("noise %v: the pause is heard at %.1f dBm0", noise, quiet)
		}
		if l := codectest.Level(heard[f.Rate*21/10 : f.Rate*29/10]); l < -10.5 || l > -9.5 {
			t.Errorf("noise %v: afterwards %.1f dBm0", noise, l)
		}
		if s := p.Stats(); s.Late > 0 || s.Concealed > uint64(f.Rate)/10 {
			t.Errorf("noise %v: %+v", noise, s)
		}
	}
}

// A phone that comes back from hold, or is another one, is heard at once: with another source, with timestamps that jumped
// or stood still.
func TestASenderThatCountsAnew(t *testing.T) {
	f := codec.PCMA
	for _, row := range []struct {
		name   string
		change func(h *packet.Header)
	}{
		{"other source", func(h *packet.Header) { h.SSRC, h.Sequence, h.Timestamp = 99, h.Sequence+777, h.Timestamp+12_345_678 }},
		{"timestamps jump ahead", func(h *packet.Header) { h.Timestamp += 80_000_000 }},
		{"timestamps jump back", func(h *packet.Header) { h.Timestamp -= 80_000_000 }},
		{"timestamps stood still", func(h *packet.Header) { h.Timestamp -= 5 * 8_000 }},
	} {
		packets := stream(f, codectest.Tone(f.Rate, 400, -10, 12*time.Second))
		for i := 300; i < len(packets); i++ {
			row.change(&packets[i].h)
		}
		packets = slices.Delete(packets, 50, 300)
		heard := play(NewPlayout(f), packets, 12*time.Second)
		if l := codectest.Level(heard[f.Rate*61/10 : f.Rate*11]); l < -10.5 || l > -9.5 {
			t.Errorf("%s: afterwards %.1f dBm0", row.name, l)
		}
	}
}

// The clocks of two machines differ by up to 100 ppm; nothing runs dry or over.
func TestClocksThatDrift(t *testing.T) {
	f := codec.PCMA
	for _, ppm := range []int{-200, 200} {
		packets := stream(f, talk(f.Rate, 60*time.Second, 6))
		for i := range packets {
			packets[i].at += packets[i].at * time.Duration(ppm) / 1_000_000
		}
		p := NewPlayout(f)
		play(p, packets, 59*time.Second)
		if s := p.Stats(); s.Late > 5 || s.Overflow > 0 || s.Concealed > uint64(f.Rate)/5 || p.delay(59*time.Second) > 80*ms {
			t.Errorf("%d ppm: %+v, delay %v", ppm, s, p.delay(59*time.Second))
		}
	}
}

func TestPlayoutAllocatesNothing(t *testing.T) {
	for _, f := range []codec.Format{codec.PCMA, codec.G722} {
		p := NewPlayout(f)
		frame, i := make([]int16, f.Samples(codec.Frame)), 0
		packets := delayed(stream(f, talk(f.Rate, 20*time.Second, 1)), 60*ms, 1)
		if n := testing.AllocsPerRun(900, func() {
			a := packets[i]
			i++
			p.Put(a.at, a.h, false, a.payload)
			p.Pull(time.Duration(i)*20*ms, frame)
		}); n != 0 {
			t.Errorf("%s: %.2f allocations per frame", f.Name, n)
		}
	}
}

func FuzzEar(f *testing.F) {
	f.Add([]byte{0x80, 8, 0, 1, 0, 0, 0, 160, 0, 0, 0, 7, 1, 2, 3}, uint8(20))
	f.Add([]byte{0x80, 101, 0, 1, 0, 0, 0, 160, 0, 0, 0, 7, 5, 0x8a, 3, 2}, uint8(1))
	f.Fuzz(func(t *testing.T, datagrams []byte, step uint8) {
		for _, format := range []codec.Format{codec.PCMA, codec.G722, codec.Opus} {
			e := NewEar(Line{Format: format, Type: 8, Event: 101, Noise: 13})
			frame := make([]int16, FrameSamples)
			rest, now := datagrams, time.Duration(0)
			for range 20 {
				n := min(len(rest), 12+int(step)%40)
				e.Put(now, rest[:n])
				rest = rest[n:]
				now += time.Duration(step) * ms
				if _, keys := e.Hear(now, frame); len(keys) > 16 {
					t.Fatalf("%d keys", len(keys))
				}
			}
		}
	})
}
