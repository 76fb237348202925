package record

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"time"

	"linehall/media/codec"
)

// ErrSilent says that no party's codec can be decoded: the packets can be had, sound cannot.
var ErrSilent = errors.New("nothing of the recording can be decoded")

// Sound is a recording as both parties were heard. It belongs to one goroutine and wants to be closed. Of a recording that
// goes on it has what was written when it was opened.
type Sound struct {
	Info Info

	secrets Secrets
	file    *reader
	rate    int
	length  int64 // samples of each party
	damaged bool

	tracks [2]*track
	kind   byte   // of the entry that waits, if one does
	at     int64  // its time
	body   []byte // the file's, until the next entry
	waits  bool
	taken  int64   // samples
	frame  []int16 // interleaved, taken and not read yet
	buffer []int16
	ended  bool
}

// Sound opens a recording.
func (r *Recorder) Sound(ctx context.Context, id string) (*Sound, error) {
	i, err := r.Get(ctx, id)
	if err != nil {
		return nil, err
	}
	f, err := openFile(r.find(&i), r.o.Secrets)
	if err != nil {
		return nil, err
	}
	s := &Sound{Info: i, secrets: r.o.Secrets, file: f, rate: codec.PCMA.Rate}
	if err := s.survey(); err != nil {
		return nil, errors.Join(err, f.close())
	}
	return s, nil
}

// Close closes the file.
func (s *Sound) Close() error { return s.file.close() }

// Rate is in samples per second.
func (s *Sound) Rate() int { return s.rate }

// Length is how long it is.
func (s *Sound) Length() time.Duration {
	return time.Duration(s.length) * time.Second / time.Duration(s.rate)
}

// Damaged reports whether the file was altered somewhere; what is before that place can be heard.
func (s *Sound) Damaged() bool { return s.damaged }

// Size is that of the file that it was made of, for telling one state of a recording from another.
func (s *Sound) Size() int64 { return s.file.limit }

// survey reads the file once: how long it is, and how wide.
func (s *Sound) survey() error {
	var uses table
	var rates [2][128]int
	var last int64
	voiced, packets := false, 0
	for {
		kind, at, body, err := s.file.next()
		if errors.Is(err, ErrDamaged) {
			s.damaged = true
		}
		if err != nil {
			break
		}
		last = max(last, at)
		switch kind {
		case entryFormats:
			var f Formats
			if err := json.Unmarshal(body, &f); err != nil {
				return ErrDamaged
			}
			uses = *f.table()
			for leg := range f {
				for _, one := range f[leg] {
					if found, ok := codec.Find(one.Name, one.Clock); ok {
						rates[leg][one.Type&0x7f] = found.Rate
					}
				}
			}
		case entryCaller, entryCallee:
			packets++
			if len(body) < 2 {
				continue
			}
			switch pt := body[1] & 0x7f; uses[kind][pt] {
			case useUnknown:
			case useNoise, useEvent:
				voiced = true
			default:
				voiced = true
				s.rate = max(s.rate, rates[kind][pt])
			}
		}
	}
	s.length = last * int64(s.rate) / 1_000_000
	if packets > 0 && !voiced {
		return ErrSilent
	}
	return s.rewind()
}

// rewind goes to the beginning.
func (s *Sound) rewind() error {
	s.tracks = [2]*track{newTrack(s.rate), newTrack(s.rate)}
	s.taken, s.frame, s.ended, s.waits = 0, nil, false, false
	return s.file.rewind(s.secrets)
}

// settle is how far behind the newest packet the time line is final.
const settle = 600_000 // microseconds

// fill gets the next samples of both parties.
func (s *Sound) fill() error {
	for len(s.frame) == 0 {
		if s.ended && s.taken >= s.length {
			return io.EOF
		}
		if s.ended {
			s.take(s.length)
			continue
		}
		if !s.waits {
			if err := s.fetch(); err != nil { // the end, or where it is damaged
				s.ended = true
				for _, t := range s.tracks {
					t.flush()
				}
				continue
			}
		}
		kind, at, body := s.kind, s.at, s.body
		if upTo := (at - settle) * int64(s.rate) / 1_000_000; upTo >= s.taken+int64(s.rate) { // nothing came for so long
			s.advance(at, upTo)
			continue
		}
		s.waits = false
		switch kind {
		case entryFormats:
			var f Formats
			if err := json.Unmarshal(body, &f); err != nil {
				return ErrDamaged
			}
			for leg, t := range s.tracks {
				t.flush()
				t.describe(f[leg])
			}
		case entryCaller, entryCallee:
			s.tracks[kind].put(at, body)
		}
		if upTo := (at - settle) * int64(s.rate) / 1_000_000; upTo >= s.taken+int64(s.rate)/10 {
			s.advance(at, upTo)
		}
	}
	return nil
}

// fetch reads the next entry, which waits until the time line has come near it.
func (s *Sound) fetch() (err error) {
	s.kind, s.at, s.body, err = s.file.next()
	s.waits = err == nil
	return err
}

// advance plays what no packet of that time can come before, and takes it.
func (s *Sound) advance(at, upTo int64) {
	for _, t := range s.tracks {
		t.play(at)
	}
	s.take(min(upTo, s.length))
}

// take moves samples from the tracks to the frame, a second at most at once: a call may be held for hours.
func (s *Sound) take(upTo int64) {
	n := min(max(upTo-s.taken, 0), int64(s.rate))
	if int64(cap(s.buffer)) < 2*n {
		s.buffer = make([]int16, 2*n)
	}
	s.buffer = s.buffer[:2*n]
	for channel, t := range s.tracks {
		t.takeUntil(s.taken+n, s.buffer, channel)
	}
	s.taken += n
	s.frame = s.buffer
}

// read fills dst with samples, caller and callee in turn.
func (s *Sound) read(dst []int16) (int, error) {
	if err := s.fill(); err != nil {
		return 0, err
	}
	n := copy(dst, s.frame)
	s.frame = s.frame[n:]
	return n, nil
}

// Ranged is sound as a file of known size, from any place of it.
type Ranged struct {
	s      *Sound
	head   []byte
	at     int64 // that is read next
	ready  int64 // that the samples stand at, behind the head
	sample [2]byte
	odd    int // bytes of sample that were read
	some   [4096]int16
}

// WAV returns the recording as a stereo file of 16-bit samples, the caller left and the callee right.
func (s *Sound) WAV() *Ranged {
	return &Ranged{s: s, head: wavHead(s.rate, s.length*4), ready: math.MaxInt64} // somewhere: the first read begins anew
}

// Size is that of the file in bytes.
func (r *Ranged) Size() int64 { return int64(len(r.head)) + r.s.length*4 }

// Seek implements io.Seeker.
func (r *Ranged) Seek(offset int64, whence int) (int64, error) {
	switch whence {
	case io.SeekCurrent:
		offset += r.at
	case io.SeekEnd:
		offset += r.Size()
	}
	if offset < 0 {
		return 0, fmt.Errorf("recording: seek to %d", offset)
	}
	r.at = offset
	return offset, nil
}

// Read implements io.Reader. A place behind the last one is gone to by decoding what lies between, one before it from the
// beginning: a second of a call takes a millisecond at most.
func (r *Ranged) Read(b []byte) (int, error) {
	if r.at < int64(len(r.head)) {
		n := copy(b, r.head[r.at:])
		r.at += int64(n)
		return n, nil
	}
	if r.at >= r.Size() {
		return 0, io.EOF
	}
	want := r.at - int64(len(r.head))
	if want < r.ready {
		if err := r.s.rewind(); err != nil {
			return 0, err
		}
		r.ready, r.odd = 0, len(r.sample)
	}
	for skip := want - r.ready; skip > 0; {
		n, err := r.bytes(nil, skip)
		if err != nil {
			return 0, err
		}
		skip -= n
	}
	n, err := r.bytes(b, int64(len(b)))
	r.at += n
	return int(n), err
}

// bytes reads at most so many bytes of samples; dst nil throws them away.
func (r *Ranged) bytes(dst []byte, most int64) (n int64, err error) {
	if r.odd < len(r.sample) { // the second byte of a sample
		if dst != nil {
			dst[0] = r.sample[r.odd]
		}
		r.odd++
		r.ready++
		return 1, nil
	}
	count, err := r.s.read(r.some[:max(1, min(int64(len(r.some)), most/2))])
	if err != nil {
		if errors.Is(err, io.EOF) && r.ready < r.s.length*4 {
			err = io.ErrUnexpectedEOF
		}
		return 0, err
	}
	for _, v := range r.some[:count] {
		two := [2]byte{byte(v), byte(uint16(v) >> 8)}
		for i, one := range two {
			if n == most {
				r.sample, r.odd = two, i
				break
			}
			if dst != nil {
				dst[n] = one
			}
			n++
		}
	}
	r.ready += n
	return n, nil
}

func wavHead(rate int, size int64) []byte {
	b := []byte("RIFF\x00\x00\x00\x00WAVEfmt \x10\x00\x00\x00\x01\x00\x02\x00")
	le := func(n int64, bytes int) {
		for range bytes {
			b = append(b, byte(n))
			n >>= 8
		}
	}
	le(int64(rate), 4)
	le(int64(rate)*4, 4)
	le(4, 2)
	le(16, 2)
	b = append(b, "data"...)
	le(size, 4)
	riff := size + 36
	for i := range 4 {
		b[4+i] = byte(riff >> (8 * i))
	}
	return b
}
