package codec_test

import (
	"errors"
	"math"
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"

	"linehall/media/codec"
	"linehall/media/codec/codectest"
)

func decode(t *testing.T, d codec.Decoder, payload []byte) []int16 {
	t.Helper()
	out, err := d.Decode(nil, payload)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

func TestFormatsAreFoundAsRTPNamesThem(t *testing.T) {
	for _, row := range []struct {
		name    string
		clock   int
		ok      bool
		ticks   uint32 // of 20 ms
		samples int
	}{
		{"PCMA", 8_000, true, 160, 160},
		{"pcmu", 8_000, true, 160, 160},
		{"G722", 8_000, true, 160, 320},
		{"G722", 16_000, false, 0, 0},
		{"OPUS", 48_000, true, 960, 320},
		{"G729", 8_000, false, 0, 0},
	} {
		f, ok := codec.Find(row.name, row.clock)
		if ok != row.ok {
			t.Errorf("%s/%d: found %v", row.name, row.clock, ok)
			continue
		}
		if !ok {
			continue
		}
		if n := f.Samples(codec.Frame); n != row.samples || f.Ticks(n) != row.ticks {
			t.Errorf("%s: 20 ms are %d samples and %d ticks, want %d and %d", f.Name, n, f.Ticks(n), row.samples, row.ticks)
		}
		if f.CanEncode() != (f.NewEncoder() != nil) || f.NewDecoder() == nil {
			t.Errorf("%s: encoder %v, decoder %v", f.Name, f.NewEncoder(), f.NewDecoder())
		}
	}
}

// What each codec leaves of a voice and of tones. The bounds are those of the codecs: G.711 has 38 dB at best, G.722 at
// 64 kbit/s about 35 for a tone.
func TestRoundTrips(t *testing.T) {
	for _, f := range []codec.Format{codec.PCMA, codec.PCMU, codec.G722} {
		t.Run(f.Name, func(t *testing.T) {
			for _, signal := range []struct {
				name  string
				pcm   []int16
				least float64
			}{
				{"speech", codectest.Speech(f.Rate, 3*time.Second, 1), 18},
				{"1004 Hz at -10 dBm0", codectest.Tone(f.Rate, 1004, -10, time.Second), 34},
				{"400 Hz at -30 dBm0", codectest.Tone(f.Rate, 400, -30, time.Second), 28},
			} {
				got := inPackets(t, f.NewDecoder(), f.NewEncoder().Encode(nil, signal.pcm))
				snr, delay := codectest.SNR(signal.pcm, got, 40)
				t.Logf("%s: %.1f dB after %d samples", signal.name, snr, delay)
				if snr < signal.least {
					t.Errorf("%s: SNR %.1f dB, want %.1f", signal.name, snr, signal.least)
				}
				if change := codectest.Level(got) - codectest.Level(signal.pcm); math.Abs(change) > 0.3 {
					t.Errorf("%s: level changed by %.2f dB", signal.name, change)
				}
			}
		})
	}
}

// The upper band of G.722 carries what G.711 cannot.
func TestG722CarriesWideband(t *testing.T) {
	for _, hz := range []float64{100, 1000, 3000, 5000, 6500} {
		got := inPackets(t, codec.NewG722Decoder(), codec.NewG722Encoder().Encode(nil, codectest.Tone(16_000, hz, -10, time.Second)))
		got = got[1600:]
		if p := codectest.Tonality(got, 16_000, hz); p < 0.97 {
			t.Errorf("%.0f Hz: %.3f of the power is the tone", hz, p)
		}
		if l := codectest.Level(got); math.Abs(l+10) > 0.7 {
			t.Errorf("%.0f Hz: %.2f dBm0, want -10", hz, l)
		}
	}
}

// G.711 as ITU-T G.191 counts: every code decodes to a value that encodes to the same code, and no sample moves further
// than half of its interval.
func TestG711Law(t *testing.T) {
	for _, law := range []struct {
		name   string
		codec  codec.Format
		zero   byte // the code of +0
		loud   byte // of the highest value
		widest int  // half of the widest interval, and what clipping adds
	}{
		{"A-law", codec.PCMA, 0xd5, 0xaa, 512},
		{"mu-law", codec.PCMU, 0xff, 0x80, 644},
	} {
		e, d := law.codec.NewEncoder(), law.codec.NewDecoder()
		if got := e.Encode(nil, []int16{0, 32767}); got[0] != law.zero || got[1] != law.loud {
			t.Errorf("%s: codes %x, want %x %x", law.name, got, law.zero, law.loud)
		}
		for code := range 256 {
			value := decode(t, d, []byte{byte(code)})
			if back := e.Encode(nil, value)[0]; back != byte(code) && value[0] != 0 {
				t.Errorf("%s: code %#x is %d, which is code %#x", law.name, code, value[0], back)
			}
		}
		last := math.MinInt16
		for s := math.MinInt16; s <= math.MaxInt16; s++ {
			v := int(decode(t, d, e.Encode(nil, []int16{int16(s)}))[0])
			if v < last {
				t.Fatalf("%s: %d decodes to less than the sample below", law.name, s)
			}
			if last = v; max(v-s, s-v) > law.widest {
				t.Fatalf("%s: %d decodes to %d", law.name, s, v)
			}
		}
	}
}

func TestPayloadsThatCannotBe(t *testing.T) {
	long := make([]byte, codec.MaxFrame+1)
	for _, f := range []codec.Format{codec.PCMA, codec.PCMU, codec.G722, codec.Opus} {
		kept := []int16{7}
		for _, payload := range [][]byte{long, {3}} {
			if len(payload) == 1 && f.Name != "opus" {
				continue
			}
			out, err := f.NewDecoder().Decode(kept, payload)
			if err == nil || !errors.Is(err, codec.ErrPayload) && !errors.Is(err, codec.ErrTooLong) || !slices.Equal(out, kept) {
				t.Errorf("%s, %d bytes: %v, %d samples", f.Name, len(payload), err, len(out))
			}
		}
	}
}

// Resampling keeps what both rates can carry and nothing else: no image above, no alias below.
func TestResampling(t *testing.T) {
	for _, row := range []struct{ from, to int }{{8_000, 16_000}, {8_000, 48_000}, {16_000, 48_000}, {16_000, 8_000}, {48_000, 16_000}, {48_000, 8_000}, {16_000, 16_000}} {
		lower := float64(min(row.from, row.to))
		for _, part := range []float64{0.02, 0.1, 0.25, 0.42} {
			hz := part * lower
			out := codec.NewResampler(row.from, row.to).Resample(nil, codectest.Tone(row.from, hz, -6, time.Second))
			if want := row.to; max(len(out)-want, want-len(out)) > 6 {
				t.Errorf("%d to %d: %d samples in a second", row.from, row.to, len(out))
			}
			out = out[row.to/10:]
			if p := codectest.Tonality(out, row.to, hz); p < 0.99999 {
				t.Errorf("%d to %d, %.0f Hz: only %.6f of the power is the tone", row.from, row.to, hz, p)
			}
			if l := codectest.Level(out); math.Abs(l+6) > 0.1 {
				t.Errorf("%d to %d, %.0f Hz: %.2f dBm0, want -6", row.from, row.to, hz, l)
			}
		}
		if row.to < row.from {
			out := codec.NewResampler(row.from, row.to).Resample(nil, codectest.Tone(row.from, 0.53*lower, -6, time.Second))
			if l := codectest.Level(out[row.to/10:]); l > -66 {
				t.Errorf("%d to %d: what the lower rate cannot carry is heard at %.1f dBm0", row.from, row.to, l)
			}
		}
	}
}

// However a stream is cut, it is resampled to the same samples.
func TestResamplingInPieces(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		rates := rapid.SampledFrom([][2]int{{8_000, 16_000}, {16_000, 8_000}, {48_000, 16_000}, {16_000, 48_000}, {48_000, 8_000}}).Draw(t, "rates")
		in := rapid.SliceOfN(rapid.Int16(), 0, 900).Draw(t, "samples")
		whole := codec.NewResampler(rates[0], rates[1]).Resample(nil, in)
		r := codec.NewResampler(rates[0], rates[1])
		var pieces []int16
		for rest := in; len(rest) > 0; {
			n := rapid.IntRange(1, len(rest)).Draw(t, "piece")
			pieces = r.Resample(pieces, rest[:n])
			rest = rest[n:]
		}
		if !slices.Equal(whole, pieces) {
			t.Fatalf("%d samples in pieces, %d at once", len(pieces), len(whole))
		}
	})
}

// A lost packet in a steady sound is not heard; a long gap fades to silence and comes back without a click.
func TestConcealment(t *testing.T) {
	for _, rate := range []int{8_000, 16_000, 48_000} {
		frame := codectest.Samples(rate, codec.Frame)
		original := codectest.Tones(rate, []float64{200, 400, 600}, -16, time.Second)
		played := slices.Clone(original)
		c := codec.NewConcealer(rate)
		for i := 0; i+frame <= len(played); i += frame {
			switch n := i / frame; {
			case n == 20, n >= 30 && n < 35:
				clear(played[i : i+frame])
				c.Conceal(played[i : i+frame])
			default:
				c.Good(played[i : i+frame])
			}
		}
		at := 20 * frame
		if snr, _ := codectest.SNR(original[at:at+frame/2], played[at:at+frame/2], 0); snr < 20 {
			t.Errorf("%d Hz: the first 10 ms of a lost packet have %.1f dB", rate, snr)
		}
		if l := codectest.Level(played[34*frame : 35*frame]); l > -60 {
			t.Errorf("%d Hz: after 80 ms without packets %.1f dBm0 are heard", rate, l)
		}
		if !slices.Equal(original[37*frame:], played[37*frame:]) {
			t.Errorf("%d Hz: good packets were changed", rate)
		}
		if worst := worstStep(original); worstStep(played) > worst*5/4 {
			t.Errorf("%d Hz: a step of %d, the tone's own are up to %d", rate, worstStep(played), worst)
		}
	}
}

func worstStep(samples []int16) (worst int) {
	for i := 1; i < len(samples); i++ {
		d := int(samples[i]) - int(samples[i-1])
		worst = max(worst, d, -d)
	}
	return worst
}

func TestPitchIsFound(t *testing.T) {
	for _, rate := range []int{8_000, 16_000, 48_000} {
		for _, hz := range []float64{80, 120, 155, 250} {
			tone := codectest.Tones(rate, []float64{hz, 2 * hz, 3 * hz}, -16, 100*time.Millisecond)
			got := float64(codec.Pitch(tone, rate))
			period := float64(rate) / hz
			if multiple := math.Round(got / period); multiple < 1 || math.Abs(got-multiple*period) > max(1, period*0.01) {
				t.Errorf("%.0f Hz at %d: a period of %.0f samples, want %.1f", hz, rate, got, period)
			}
		}
	}
	if n := codec.Pitch(make([]int16, 10), 8_000); n < 1 || n > 5 {
		t.Errorf("period %d in ten samples", n)
	}
}

func TestComfortNoiseHasItsLevel(t *testing.T) {
	var n codec.ComfortNoise
	samples := make([]int16, 16_000)
	n.Fill(samples)
	if codectest.Level(samples) != -100 {
		t.Error("noise before anybody asked for it")
	}
	for _, level := range []byte{30, 50, 60} {
		if err := n.Payload([]byte{level, 1, 2}); err != nil {
			t.Fatal(err)
		}
		n.Fill(samples)
		// 0 dBov is +6.15 dBm0 (RFC 3389 §3: that of a square wave; +3.14 dBm0 is the sine).
		if l := codectest.Level(samples); math.Abs(l-(6.15-float64(level))) > 0.5 {
			t.Errorf("level %d: %.1f dBm0", level, l)
		}
	}
	for _, bad := range [][]byte{nil, {200}} {
		if err := n.Payload(bad); !errors.Is(err, codec.ErrPayload) {
			t.Errorf("payload %x: %v", bad, err)
		}
	}
}

// Steady state allocates nothing; Opus is the library's.
func TestNothingIsAllocatedPerFrame(t *testing.T) {
	for _, f := range []codec.Format{codec.PCMA, codec.PCMU, codec.G722} {
		e, d := f.NewEncoder(), f.NewDecoder()
		frame := codectest.Speech(f.Rate, codec.Frame, 1)
		payload, samples := make([]byte, 0, 400), make([]int16, 0, 400)
		if n := testing.AllocsPerRun(100, func() {
			payload = e.Encode(payload[:0], frame)
			samples, _ = d.Decode(samples[:0], payload)
		}); n != 0 {
			t.Errorf("%s: %.1f allocations per frame", f.Name, n)
		}
	}
	up, down, c := codec.NewResampler(8_000, 16_000), codec.NewResampler(16_000, 8_000), codec.NewConcealer(16_000)
	narrow, wide, frame := make([]int16, 0, 400), make([]int16, 0, 400), codectest.Speech(8_000, codec.Frame, 1)
	if n := testing.AllocsPerRun(100, func() {
		wide = up.Resample(wide[:0], frame)
		narrow = down.Resample(narrow[:0], wide)
		c.Good(wide)
		c.Conceal(wide)
	}); n != 0 {
		t.Errorf("resampling and concealment: %.1f allocations per frame", n)
	}
}

func FuzzDecoders(f *testing.F) {
	f.Add([]byte{}, uint8(0))
	f.Add([]byte{0x80, 0x7f, 0xff, 0x00}, uint8(2))
	for _, p := range opusPackets(f)[:8] {
		f.Add(p, uint8(3))
	}
	formats := []codec.Format{codec.PCMA, codec.PCMU, codec.G722, codec.Opus}
	f.Fuzz(func(t *testing.T, payload []byte, which uint8) {
		format := formats[int(which)%len(formats)]
		d := format.NewDecoder()
		for range 3 { // what the first leaves behind must not hurt either
			kept := slices.Clone(payload)
			out, err := d.Decode([]int16{7}, payload)
			if !slices.Equal(kept, payload) {
				t.Fatal("the payload was changed")
			}
			if len(out) < 1 || out[0] != 7 || len(out) > codec.MaxFrame+1 || err != nil && len(out) != 1 {
				t.Fatalf("%s: %d samples, %v", format.Name, len(out), err)
			}
		}
	})
}

func BenchmarkFrame(b *testing.B) {
	for _, f := range []codec.Format{codec.PCMA, codec.G722} {
		frame := codectest.Speech(f.Rate, codec.Frame, 1)
		payload, samples := make([]byte, 0, 400), make([]int16, 0, 400)
		b.Run(f.Name+"/encode", func(b *testing.B) {
			e := f.NewEncoder()
			b.ReportAllocs()
			for b.Loop() {
				payload = e.Encode(payload[:0], frame)
			}
		})
		b.Run(f.Name+"/decode", func(b *testing.B) {
			d := f.NewDecoder()
			b.ReportAllocs()
			for b.Loop() {
				samples, _ = d.Decode(samples[:0], payload)
			}
		})
	}
	b.Run("opus/decode", func(b *testing.B) {
		d, packets, i := codec.Opus.NewDecoder(), opusPackets(b), 0
		samples := make([]int16, 0, codec.MaxFrame)
		b.ReportAllocs()
		for b.Loop() {
			samples, _ = d.Decode(samples[:0], packets[i%len(packets)])
			i++
		}
	})
	b.Run("resample 8 to 16 kHz", func(b *testing.B) {
		r, frame, samples := codec.NewResampler(8_000, 16_000), codectest.Speech(8_000, codec.Frame, 1), make([]int16, 0, 400)
		b.ReportAllocs()
		for b.Loop() {
			samples = r.Resample(samples[:0], frame)
		}
	})
}
