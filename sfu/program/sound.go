package program

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"sort"
	"strings"
	"time"

	"linehall/media/codec"
)

const (
	soundRate = 16000
	wavHead   = 44
	// preroll is how much earlier decoding begins after a seek (RFC 7845 §4.6).
	preroll = 200 * time.Millisecond
	// lookahead is how much later a block of sound may lie in the file than its time says (settle and a cluster).
	lookahead = 2 * time.Second
	// joint is how far a packet may be from where the one before it ended without a gap between them.
	joint = soundRate * 60 / 1000
)

// sound is the voices of a file mixed into one, as a WAV file that is made while it is read. It is for one reader.
type sound struct {
	r       io.ReaderAt
	index   *index
	samples int64 // in all
	pos     int64 // in the WAV file

	// what was decoded: mixed samples from base on, of which the first sure ones are whole
	base   int64
	mixed  []int32
	sure   int64
	next   int // cluster to decode
	voices map[int]*voice
}

type voice struct {
	decode func(dst []int16, payload []byte) ([]int16, error)
	resize *codec.Resampler
	end    int64 // sample behind the last one; -1: none yet
	pcm    []int16
	fitted []int16
}

func newSound(v *volume) (*sound, error) {
	x, err := survey(v, v.size)
	if err != nil {
		return nil, err
	}
	s := &sound{r: v, index: x, samples: int64(x.duration/time.Millisecond+20) * soundRate / 1000}
	s.restart(0)
	return s, nil
}

// restart begins decoding before a sample.
func (s *sound) restart(sample int64) {
	at := time.Duration(sample) * time.Second / soundRate
	s.next = max(sort.Search(len(s.index.clusters), func(i int) bool { return s.index.clusters[i].at > at-preroll-time.Second })-1, 0)
	s.voices, s.mixed, s.base, s.sure = map[int]*voice{}, s.mixed[:0], sample, sample
}

// Seek sets the place of the next Read.
func (s *sound) Seek(offset int64, whence int) (int64, error) {
	switch whence {
	case io.SeekCurrent:
		offset += s.pos
	case io.SeekEnd:
		offset += s.length()
	}
	if offset < 0 {
		return 0, errors.New("before the beginning")
	}
	s.pos = offset
	return offset, nil
}

func (s *sound) length() int64 { return wavHead + 2*s.samples }

// Read reads the WAV file.
func (s *sound) Read(b []byte) (n int, err error) {
	if s.pos >= s.length() {
		return 0, io.EOF
	}
	if s.pos < wavHead {
		n = copy(b, s.header()[s.pos:])
		s.pos += int64(n)
		return n, nil
	}
	sample := (s.pos - wavHead) / 2
	if sample < s.base || sample > s.sure+5*soundRate {
		s.restart(sample)
	}
	for s.sure <= sample {
		if err := s.more(); err != nil {
			return 0, err
		}
	}
	odd := (s.pos - wavHead) % 2
	for i := sample; i < min(s.sure, s.samples) && n < len(b); i++ {
		var two [2]byte
		binary.LittleEndian.PutUint16(two[:], uint16(s.at(i))) //nolint:gosec // two's complement on purpose
		n += copy(b[n:], two[odd:])
		odd = 0
	}
	s.pos += int64(n)
	if done := (s.pos-wavHead)/2 - s.base; done > soundRate {
		k := min(int(done), len(s.mixed))
		s.mixed = append(s.mixed[:0], s.mixed[k:]...)
		s.base += done
	}
	return n, nil
}

func (s *sound) at(sample int64) int16 {
	i := sample - s.base
	if i < 0 || i >= int64(len(s.mixed)) {
		return 0
	}
	return int16(min(max(s.mixed[i], -32768), 32767)) //nolint:gosec // clamped
}

// more decodes one more cluster.
func (s *sound) more() error {
	if s.next >= len(s.index.clusters) {
		s.sure = s.samples + 1
		return nil
	}
	p := s.index.clusters[s.next]
	s.next++
	b := make([]byte, p.size)
	if n, err := s.r.ReadAt(b, p.pos); n < len(b) {
		return fmt.Errorf("recording: %w", err)
	}
	var at time.Duration
	var failed error
	if !eachBlock(b, func(k block) {
		if err := s.mix(k); err != nil && failed == nil {
			failed = err
		}
	}, &at) {
		return ErrDamaged
	}
	if s.next >= len(s.index.clusters) {
		s.sure = s.samples + 1
	} else {
		s.sure = max(s.sure, int64((s.index.clusters[s.next].at-lookahead)*soundRate/time.Second))
	}
	return failed
}

// mix decodes a packet into its place. One that cannot be decoded is silence.
func (s *sound) mix(k block) error {
	v := s.voices[k.track]
	if v == nil {
		var err error
		if v, err = s.newVoice(k.track); err != nil || v == nil {
			return err
		}
		s.voices[k.track] = v
	}
	pcm, err := v.decode(v.pcm[:0], k.data)
	if err != nil {
		return nil //nolint:nilerr // damaged on the network, or comfort noise
	}
	v.pcm = pcm
	if v.resize != nil {
		v.fitted = v.resize.Resample(v.fitted[:0], pcm)
		pcm = v.fitted
	}
	from := int64(k.at) * soundRate / int64(time.Second)
	if d := from - v.end; v.end >= 0 && d < joint && d > -joint {
		from = v.end
	}
	v.end = from + int64(len(pcm))
	for i, sample := range pcm {
		n := from + int64(i) - s.base
		if n < 0 {
			continue
		}
		for int64(len(s.mixed)) <= n {
			s.mixed = append(s.mixed, 0)
		}
		s.mixed[n] += int32(sample)
	}
	return nil
}

// newVoice makes the decoder of a track; nil: it is not sound that we know.
func (s *sound) newVoice(number int) (*voice, error) {
	for i := range s.index.tracks {
		t := &s.index.tracks[i]
		if t.Number != number || t.video() {
			continue
		}
		_, name, _ := strings.Cut(t.MIME, "/")
		v := &voice{end: -1}
		if strings.EqualFold(name, "opus") {
			v.decode = codec.NewOpusDecoder(soundRate).Decode
			return v, nil
		}
		f, ok := codec.Find(name, 8000)
		if !ok {
			return nil, nil
		}
		v.decode = f.NewDecoder().Decode
		if f.Rate != soundRate {
			v.resize = codec.NewResampler(f.Rate, soundRate)
		}
		return v, nil
	}
	return nil, nil
}

func (s *sound) header() []byte {
	size := uint32(min(2*s.samples, 1<<32-1-wavHead)) //nolint:gosec // clamped: 37 hours
	b := binary.LittleEndian.AppendUint32([]byte("RIFF"), size+wavHead-8)
	b = append(b, "WAVEfmt "...)
	b = binary.LittleEndian.AppendUint32(b, 16)
	b = binary.LittleEndian.AppendUint16(b, 1)
	b = binary.LittleEndian.AppendUint16(b, 1)
	b = binary.LittleEndian.AppendUint32(b, soundRate)
	b = binary.LittleEndian.AppendUint32(b, 2*soundRate)
	b = binary.LittleEndian.AppendUint16(b, 2)
	b = binary.LittleEndian.AppendUint16(b, 16)
	return binary.LittleEndian.AppendUint32(append(b, "data"...), size)
}
