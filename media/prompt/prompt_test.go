package prompt_test

import (
	"encoding/binary"
	"errors"
	"math"
	"slices"
	"testing"
	"time"

	"linehall/media/codec"
	"linehall/media/codec/codectest"
	"linehall/media/dtmf"
	"linehall/media/mix"
	"linehall/media/prompt"
)

// hear runs a program and returns what it says, d at most.
func hear(p prompt.Program, d time.Duration) (out []int16) {
	frame := make([]int16, mix.FrameSamples)
	for range d / codec.Frame {
		if !p.Frame(frame, frame, nil) {
			break
		}
		out = append(out, frame...)
	}
	return out
}

// Each tone has its frequencies, its level and its rhythm.
func TestTones(t *testing.T) {
	for _, row := range []struct {
		name    string
		tone    prompt.Tone
		hz      float64
		on, off time.Duration
	}{
		{"ringback in China", prompt.China.Ringback, 450, time.Second, 4 * time.Second},
		{"busy in China", prompt.China.Busy, 450, 350 * time.Millisecond, 350 * time.Millisecond},
		{"congestion in China", prompt.China.Congestion, 450, 700 * time.Millisecond, 700 * time.Millisecond},
		{"busy elsewhere", prompt.Generic.Busy, 425, 500 * time.Millisecond, 500 * time.Millisecond},
	} {
		heard := hear(prompt.NewPlayer(row.tone, 20*time.Second), time.Minute)
		if len(heard) != 20*mix.Rate {
			t.Errorf("%s: %d samples in 20 s", row.name, len(heard))
		}
		on, period := codectest.Samples(mix.Rate, row.on), codectest.Samples(mix.Rate, row.on+row.off)
		for at := 0; at+period <= len(heard); at += period {
			loud, quiet := heard[at:at+on], heard[at+on:at+period]
			if p := codectest.Tonality(loud, mix.Rate, row.hz); p < 0.98 {
				t.Errorf("%s: only %.3f of the power is %.0f Hz", row.name, p, row.hz)
			}
			if l := codectest.Level(loud); math.Abs(l+10) > 0.5 {
				t.Errorf("%s: level %.1f dBm0", row.name, l)
			}
			if codectest.Level(quiet) != -100 {
				t.Errorf("%s: the pause is not silent", row.name)
			}
		}
	}
	if prompt.Tones("CN").Busy[0].Hz[0] != 450 || prompt.Tones("XX").Busy[0].Hz[0] != 425 {
		t.Error("tables are mixed up")
	}
}

func TestKeysAreUnderstood(t *testing.T) {
	for _, key := range []byte("0123456789*#ABCD") {
		if got := string(dtmf.NewDetector(mix.Rate).Samples(nil, hear(prompt.NewKey(key, 100*time.Millisecond), time.Second))); got != string(key) {
			t.Errorf("%c is heard as %q", key, got)
		}
	}
}

func wav(form, channels, rate, bits int, data []byte) []byte {
	out := append([]byte("RIFF\x00\x00\x00\x00WAVEjunk\x03\x00\x00\x00abc\x00fmt "), 16, 0, 0, 0)
	out = binary.LittleEndian.AppendUint16(out, uint16(form))
	out = binary.LittleEndian.AppendUint16(out, uint16(channels))
	out = binary.LittleEndian.AppendUint32(out, uint32(rate))
	out = binary.LittleEndian.AppendUint32(out, uint32(rate*channels*bits/8))
	out = binary.LittleEndian.AppendUint16(out, uint16(channels*bits/8))
	out = binary.LittleEndian.AppendUint16(out, uint16(bits))
	out = append(out, "data"...)
	out = binary.LittleEndian.AppendUint32(out, uint32(len(data)))
	return append(out, data...)
}

func linear(samples []int16, channels int) (out []byte) {
	for _, s := range samples {
		for range channels {
			out = binary.LittleEndian.AppendUint16(out, uint16(s))
		}
	}
	return out
}

func TestRecordings(t *testing.T) {
	for _, row := range []struct {
		name string
		file []byte
	}{
		{"8 kHz", wav(1, 1, 8_000, 16, linear(codectest.Tone(8_000, 600, -12, time.Second), 1))},
		{"16 kHz stereo", wav(1, 2, 16_000, 16, linear(codectest.Tone(16_000, 600, -12, time.Second), 2))},
		{"48 kHz", wav(1, 1, 48_000, 16, linear(codectest.Tone(48_000, 600, -12, time.Second), 1))},
		{"A-law", wav(6, 1, 8_000, 8, codec.ALaw{}.Encode(nil, codectest.Tone(8_000, 600, -12, time.Second)))},
		{"mu-law", wav(7, 1, 8_000, 8, codec.MuLaw{}.Encode(nil, codectest.Tone(8_000, 600, -12, time.Second)))},
	} {
		r, err := prompt.ParseWAV(row.file)
		if err != nil {
			t.Errorf("%s: %v", row.name, err)
			continue
		}
		heard := hear(r.Play(false), time.Minute)
		if n := r.Samples(); n < mix.Rate-10 || n > mix.Rate || len(heard) < n || len(heard) > n+mix.FrameSamples {
			t.Errorf("%s: %d samples, heard %d", row.name, n, len(heard))
		}
		heard = heard[mix.Rate/10 : mix.Rate*9/10]
		if p, l := codectest.Tonality(heard, mix.Rate, 600), codectest.Level(heard); p < 0.99 || math.Abs(l+12) > 0.3 {
			t.Errorf("%s: tone %.3f at %.1f dBm0", row.name, p, l)
		}
		if again := hear(r.Play(true), 3*time.Second); len(again) != 3*mix.Rate || !slices.Equal(again[:mix.FrameSamples], again[r.Samples():][:mix.FrameSamples]) {
			t.Errorf("%s: repeated, %d samples in 3 s", row.name, len(again))
		}
	}
	for _, bad := range [][]byte{nil, []byte("RIFF....WAVE"), wav(1, 3, 8_000, 16, nil), wav(1, 1, 44_100, 16, nil), wav(2, 1, 8_000, 4, nil), wav(6, 1, 8_000, 16, nil)} {
		if _, err := prompt.ParseWAV(bad); !errors.Is(err, prompt.ErrWAV) {
			t.Errorf("%.20q: %v", bad, err)
		}
	}
}

// What is said comes back; a key comes back as its tones, # ends.
func TestEcho(t *testing.T) {
	voice := codectest.Speech(mix.Rate, codec.Frame, 3)
	said := make([]int16, mix.FrameSamples)
	e := &prompt.Sequence{prompt.NewPlayer(prompt.China.Confirmation, 40*time.Millisecond), &prompt.Echo{}}
	for range 2 {
		if !e.Frame(voice, said, nil) || slices.Equal(said, voice) {
			t.Fatal("the echo begins before the tone ends")
		}
	}
	if !e.Frame(voice, said, nil) || !slices.Equal(said, voice) {
		t.Error("the voice does not come back")
	}
	var tones []int16
	for i := range 12 {
		var keys []byte
		if i == 0 {
			keys = []byte("7")
		}
		if !e.Frame(voice, said, keys) {
			t.Fatal("ended")
		}
		tones = append(tones, said...)
	}
	if got := string(dtmf.NewDetector(mix.Rate).Samples(nil, tones)); got != "7" {
		t.Errorf("the key comes back as %q", got)
	}
	if e.Frame(voice, said, []byte("#")) || codectest.Level(said) != -100 {
		t.Error("# does not end it")
	}
}

func TestFramesAllocateNothing(t *testing.T) {
	r, err := prompt.ParseWAV(wav(1, 1, 8_000, 16, linear(codectest.Tone(8_000, 600, -12, time.Second), 1)))
	if err != nil {
		t.Fatal(err)
	}
	frame := make([]int16, mix.FrameSamples)
	for _, p := range []prompt.Program{prompt.NewPlayer(prompt.China.Ringback, 0), r.Play(true), &prompt.Sequence{&prompt.Echo{}}} {
		if n := testing.AllocsPerRun(200, func() { p.Frame(frame, frame, nil) }); n != 0 {
			t.Errorf("%T: %.1f allocations per frame", p, n)
		}
	}
}

func FuzzParseWAV(f *testing.F) {
	f.Add(wav(1, 1, 8_000, 16, []byte{1, 2, 3, 4}))
	f.Add(wav(6, 2, 8_000, 8, []byte{1, 2, 3, 4}))
	f.Fuzz(func(t *testing.T, file []byte) {
		if r, err := prompt.ParseWAV(file); err == nil && r.Samples() > len(file)*8 {
			t.Fatalf("%d samples of %d bytes", r.Samples(), len(file))
		}
	})
}
