package prompt

import (
	"encoding/binary"
	"errors"
	"fmt"

	"linehall/media/codec"
	"linehall/media/mix"
)

// ErrWAV says that a file is no WAV file that can be played.
var ErrWAV = errors.New("not a playable WAV file")

// longestRecording is 10 minutes at the mixer's rate.
const longestRecording = 10 * 60 * mix.Rate

// Recording is a recorded prompt in memory; any number of players share it.
type Recording struct{ samples []int16 }

// Samples returns how long it is at the mixer's rate.
func (r Recording) Samples() int { return len(r.samples) }

// ParseWAV reads a WAV file: linear 16 bit, A-law or mu-law, mono or stereo (mixed), at 8, 16 or 48 kHz.
func ParseWAV(file []byte) (Recording, error) {
	if len(file) < 12 || string(file[:4]) != "RIFF" || string(file[8:12]) != "WAVE" {
		return Recording{}, fmt.Errorf("%w: no RIFF header", ErrWAV)
	}
	var form, channels, rate, bits int
	for rest := file[12:]; len(rest) >= 8; {
		name, size := string(rest[:4]), int(binary.LittleEndian.Uint32(rest[4:]))
		rest = rest[8:]
		body := rest[:min(size, len(rest))] // a recorder that was cut off says more than there is
		switch name {
		case "fmt ":
			if len(body) < 16 {
				return Recording{}, fmt.Errorf("%w: short format", ErrWAV)
			}
			form, channels = int(binary.LittleEndian.Uint16(body)), int(binary.LittleEndian.Uint16(body[2:]))
			rate, bits = int(binary.LittleEndian.Uint32(body[4:])), int(binary.LittleEndian.Uint16(body[14:]))
		case "data":
			return record(body, form, channels, rate, bits)
		}
		rest = rest[min(len(body)+len(body)%2, len(rest)):]
	}
	return Recording{}, fmt.Errorf("%w: no data", ErrWAV)
}

// The formats of WAV files.
const (
	linear  = 1
	aLaw    = 6
	muLaw   = 7
	listing = 0xfffe // extensible; only ever linear here
)

func record(body []byte, form, channels, rate, bits int) (Recording, error) {
	if channels < 1 || channels > 2 || rate != 8_000 && rate != 16_000 && rate != 48_000 {
		return Recording{}, fmt.Errorf("%w: %d channels at %d Hz", ErrWAV, channels, rate)
	}
	width := 2
	switch {
	case (form == linear || form == listing) && bits == 16:
	case (form == aLaw || form == muLaw) && bits == 8:
		width = 1
	default:
		return Recording{}, fmt.Errorf("%w: format %d with %d bits", ErrWAV, form, bits)
	}
	count := len(body) / width / channels
	if count*mix.Rate/rate > longestRecording {
		return Recording{}, fmt.Errorf("%w: longer than ten minutes", ErrWAV)
	}
	native := make([]int16, count)
	var law codec.Decoder = codec.ALaw{}
	if form == muLaw {
		law = codec.MuLaw{}
	}
	var one [1]int16
	for i := range native {
		sum := 0
		for c := range channels {
			at := (i*channels + c) * width
			if width == 2 {
				sum += int(int16(binary.LittleEndian.Uint16(body[at:])))
				continue
			}
			if v, err := law.Decode(one[:0], body[at:at+1]); err == nil {
				sum += int(v[0])
			}
		}
		native[i] = int16(sum / channels)
	}
	return Recording{codec.NewResampler(rate, mix.Rate).Resample(make([]int16, 0, count*mix.Rate/rate+8), native)}, nil
}

// Playback plays a recording.
type Playback struct {
	left   []int16
	whole  []int16
	repeat bool
}

// Play returns a player; with repeat it never ends, as music on hold.
func (r Recording) Play(repeat bool) *Playback {
	return &Playback{left: r.samples, whole: r.samples, repeat: repeat && len(r.samples) > 0}
}

// Frame implements Program; it does not listen.
func (p *Playback) Frame(_, said []int16, _ []byte) bool {
	n := copy(said, p.left)
	p.left = p.left[n:]
	for n < len(said) && p.repeat {
		m := copy(said[n:], p.whole)
		n, p.left = n+m, p.whole[m:]
	}
	clear(said[n:])
	return n > 0
}
