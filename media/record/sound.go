package record

import (
	"errors"
	"fmt"
	"time"

	"linehall/media/codec"
	"linehall/media/mix"
	"linehall/media/prompt"
)

// longestAnnouncement bounds how long both parties do not hear each other.
const longestAnnouncement = 30 * time.Second

// ErrAnnouncement says that a sound cannot be an announcement.
var ErrAnnouncement = errors.New("an announcement is sound of at most 30 seconds")

// cue is a sound as payload of each codec that it can ride on: 8 bytes for a millisecond in all of them.
type cue struct{ aLaw, muLaw, g722 []byte }

func (c *cue) payload(u use) []byte {
	switch u {
	case useALaw:
		return c.aLaw
	case useMuLaw:
		return c.muLaw
	case useG722:
		return c.g722
	default:
		return nil
	}
}

// newCue lets a program speak to its end.
func newCue(p prompt.Program) (*cue, error) {
	c, coder, narrow := &cue{}, codec.NewG722Encoder(), codec.NewResampler(mix.Rate, 8_000)
	var said [mix.FrameSamples]int16
	var small []int16
	for long := time.Duration(0); p.Frame(nil, said[:], nil); long += codec.Frame {
		if long >= longestAnnouncement {
			return nil, ErrAnnouncement
		}
		small = narrow.Resample(small[:0], said[:])
		c.g722 = coder.Encode(c.g722, said[:])
		c.aLaw = codec.ALaw{}.Encode(c.aLaw, small)
		c.muLaw = codec.MuLaw{}.Encode(c.muLaw, small)
	}
	if len(c.g722) == 0 {
		return nil, ErrAnnouncement
	}
	return c, nil
}

// ParseAnnouncement reads a WAV file that is to be an announcement.
func ParseAnnouncement(file []byte) error {
	_, err := wavCue(file)
	return err
}

func wavCue(file []byte) (*cue, error) {
	recorded, err := prompt.ParseWAV(file)
	if err != nil {
		return nil, fmt.Errorf("announcement: %w", err)
	}
	return newCue(recorded.Play(false))
}

// The sounds of ours. Two high tones say to both parties that they are recorded, in the manner of ITU-T E.180
// supplement 2 (1400 Hz, the warning that a call is recorded); a short one answers whoever pressed the key.
func announcementTone() (*cue, error) {
	beep, pause := prompt.Sound{Hz: []float64{1400}, Long: 400 * time.Millisecond}, prompt.Sound{Long: 200 * time.Millisecond}
	return newCue(prompt.NewPlayer(prompt.Tone{beep, pause, beep, pause}, 1200*time.Millisecond))
}

func confirmationTone() (*cue, error) {
	return newCue(prompt.NewPlayer(prompt.Tone{{Hz: []float64{1400}, Long: 200 * time.Millisecond}, {Long: 100 * time.Millisecond}}, 300*time.Millisecond))
}
