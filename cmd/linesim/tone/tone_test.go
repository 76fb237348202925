package tone_test

import (
	"testing"

	"linehall/cmd/linesim/tone"
)

func TestKnownCodes(t *testing.T) {
	tests := []struct {
		name   string
		law    tone.Law
		sample int16
		code   byte
	}{
		{"a-law zero", tone.ALaw, 0, 0xd5},
		{"a-law full scale", tone.ALaw, 32767, 0xaa},
		{"a-law negative full scale", tone.ALaw, -32768, 0x2a},
		{"mu-law zero", tone.MuLaw, 0, 0xff},
		{"mu-law full scale", tone.MuLaw, 32767, 0x80},
		{"mu-law negative full scale", tone.MuLaw, -32768, 0x00},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			if got := test.law.Encode(test.sample); got != test.code {
				t.Errorf("encode(%d) = %#02x, want %#02x", test.sample, got, test.code)
			}
		})
	}
}

func TestEveryCodeSurvivesDecodingAndEncoding(t *testing.T) {
	for _, law := range []tone.Law{tone.ALaw, tone.MuLaw} {
		for code := range 256 {
			sample := law.Decode(byte(code))
			if got := law.Encode(sample); law.Decode(got) != sample {
				t.Errorf("%s: %#02x -> %d -> %#02x -> %d", law.Name(), code, sample, got, law.Decode(got))
			}
		}
	}
}

func TestAToneIsHeardAndItsNeighboursAreNot(t *testing.T) {
	for _, law := range []tone.Law{tone.ALaw, tone.MuLaw} {
		for i := 0; i < 120; i += 7 {
			g := tone.NewGenerator(law, tone.Frequency(i))
			own, next := tone.NewDetector(law, tone.Frequency(i)), tone.NewDetector(law, tone.Frequency(i+1))
			var frame [tone.FrameSamples]byte
			for range 50 {
				g.Fill(frame[:])
				own.Write(frame[:])
				next.Write(frame[:])
			}
			if heard, _, windows := own.Counts(); heard != windows || windows != 10 {
				t.Errorf("%s phone %d: heard in %d of %d windows", law.Name(), i, heard, windows)
			}
			if heard, _, _ := next.Counts(); heard != 0 {
				t.Errorf("%s phone %d: its neighbour's detector heard it in %d windows", law.Name(), i, heard)
			}
		}
	}
}

func TestSilenceIsNotATone(t *testing.T) {
	d := tone.NewDetector(tone.ALaw, 1000)
	frame := make([]byte, tone.FrameSamples)
	for i := range frame {
		frame[i] = tone.ALaw.Silence()
	}
	for range 50 {
		d.Write(frame)
	}
	if heard, silent, windows := d.Counts(); heard != 0 || silent != windows || d.Heard() {
		t.Fatalf("heard %d, silent %d of %d", heard, silent, windows)
	}
}
