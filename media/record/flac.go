package record

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"math/bits"
)

// FLAC (RFC 9639), as much of it as a voice needs: each party is a channel of its own, predicted by a fixed polynomial of
// order 0 to 3, the rest in Rice codes; silence is a constant. Of a call with two G.711 parties half is left, of one in
// which one party speaks at a time a third.

const flacBlock = 4096

// WriteFLAC writes the recording as a FLAC file.
func (s *Sound) WriteFLAC(w io.Writer) error {
	if err := s.rewind(); err != nil {
		return err
	}
	out := bufio.NewWriterSize(w, 64<<10)
	_, _ = out.Write(flacHead(s.rate, s.length)) // bufio keeps the error
	var block [2][]int32
	var f flacFrame
	for number, left := 0, s.length; left > 0; number++ {
		n := int(min(left, flacBlock))
		for channel := range block {
			block[channel] = block[channel][:0]
		}
		for got := 0; got < n; {
			var some [2048]int16
			count, err := s.read(some[:min(len(some), 2*(n-got))])
			if err != nil {
				return errors.Join(fmt.Errorf("recording: %w", err), out.Flush())
			}
			for i := 0; i+1 < count; i += 2 {
				block[0], block[1] = append(block[0], int32(some[i])), append(block[1], int32(some[i+1]))
			}
			got += count / 2
		}
		if _, err := out.Write(f.encode(number, block)); err != nil {
			return fmt.Errorf("recording: %w", err)
		}
		left -= int64(n)
	}
	if err := out.Flush(); err != nil {
		return fmt.Errorf("recording: %w", err)
	}
	return nil
}

// flacHead is the marker and STREAMINFO (RFC 9639 §8.2), without the optional hash of the samples.
func flacHead(rate int, length int64) []byte {
	var b bitWriter
	b.put(0x664c6143, 32) // fLaC
	b.put(0x80, 8)        // the last block of metadata, STREAMINFO
	b.put(34, 24)
	b.put(flacBlock, 16)
	b.put(flacBlock, 16)
	b.put(0, 24) // sizes of frames: not known
	b.put(0, 24)
	b.put(uint64(rate), 20)
	b.put(1, 3)  // two channels
	b.put(15, 5) // 16 bits
	b.put(uint64(length), 36)
	for range 16 {
		b.put(0, 8)
	}
	return b.bytes
}

// flacFrame makes frames, one after the other.
type flacFrame struct {
	b        bitWriter
	residual [4][]int32
}

// encode returns a frame (RFC 9639 §9); it is valid until the next call.
func (f *flacFrame) encode(number int, block [2][]int32) []byte {
	b, n := &f.b, len(block[0])
	b.bytes = b.bytes[:0]
	b.put(0xfff8, 16) // sync, blocks of fixed size
	b.put(7, 4)       // their size stands behind the number
	b.put(0, 4)       // rate as in STREAMINFO
	b.put(1, 4)       // left and right, independent
	b.put(4, 3)       // 16 bits
	b.put(0, 1)
	b.number(uint64(number))
	b.put(uint64(n-1), 16)
	b.put(uint64(crc8(b.bytes)), 8)
	for _, samples := range block {
		f.subframe(samples)
	}
	b.align()
	b.put(uint64(crc16(b.bytes)), 16)
	return b.bytes
}

// subframe writes a channel in the shortest of the ways that we have.
func (f *flacFrame) subframe(samples []int32) {
	b := &f.b
	if constant(samples) {
		b.put(0, 8)
		b.put(uint64(uint16(samples[0])), 16)
		return
	}
	f.predict(samples)
	best, parameter, size := -1, 0, 16*len(samples)
	for order, residual := range f.residual {
		if order >= len(samples) {
			break
		}
		k, took := rice(residual)
		if took += 16*order + 10; took < size {
			best, parameter, size = order, k, took
		}
	}
	if best < 0 { // verbatim
		b.put(1<<1, 8)
		for _, s := range samples {
			b.put(uint64(uint16(s)), 16)
		}
		return
	}
	b.put(uint64(8|best)<<1, 8)
	for _, s := range samples[:best] {
		b.put(uint64(uint16(s)), 16)
	}
	b.put(0, 2) // Rice codes with parameters of 4 bits
	b.put(0, 4) // one partition
	b.put(uint64(parameter), 4)
	for _, r := range f.residual[best] {
		u := zigzag(r)
		b.unary(u >> parameter)
		b.put(uint64(u&(1<<parameter-1)), parameter)
	}
}

func constant(samples []int32) bool {
	for _, s := range samples {
		if s != samples[0] {
			return false
		}
	}
	return true
}

// predict leaves what the fixed predictors of each order do not say (RFC 9639 §9.2.5).
func (f *flacFrame) predict(samples []int32) {
	previous := samples
	for order := range f.residual {
		r := f.residual[order][:0]
		if order == 0 {
			r = append(r, samples...)
		} else {
			for i := 1; i < len(previous); i++ {
				r = append(r, previous[i]-previous[i-1])
			}
		}
		f.residual[order], previous = r, r
	}
}

func zigzag(v int32) uint32 { return uint32(v<<1) ^ uint32(v>>31) }

// rice returns the best parameter for a residual, and how many bits it takes.
func rice(residual []int32) (parameter, size int) {
	var sum uint64
	for _, r := range residual {
		sum += uint64(zigzag(r))
	}
	mean := sum / uint64(max(1, len(residual)))
	guess := max(0, bits.Len64(mean)-1)
	size = -1
	for k := max(0, guess-1); k <= min(14, guess+1); k++ {
		total := len(residual) * (k + 1)
		for _, r := range residual {
			total += int(zigzag(r) >> k)
		}
		if size < 0 || total < size {
			parameter, size = k, total
		}
	}
	if size < 0 { // steeper than any voice
		return 0, 1 << 30
	}
	return parameter, size
}

// bitWriter writes the highest bit first.
type bitWriter struct {
	bytes []byte
	hold  uint64
	held  int
}

func (b *bitWriter) put(v uint64, n int) {
	for n > 0 {
		take := min(n, 8-b.held)
		b.hold = b.hold<<take | v>>(n-take)&(1<<take-1)
		b.held += take
		n -= take
		if b.held == 8 {
			b.bytes = append(b.bytes, byte(b.hold))
			b.hold, b.held = 0, 0
		}
	}
}

func (b *bitWriter) unary(n uint32) {
	for ; n >= 32; n -= 32 {
		b.put(0, 32)
	}
	b.put(1, int(n)+1)
}

func (b *bitWriter) align() {
	if b.held > 0 {
		b.put(0, 8-b.held)
	}
}

// number writes a frame's number in the manner of UTF-8 (RFC 9639 §9.1.5).
func (b *bitWriter) number(n uint64) {
	if n < 0x80 {
		b.put(n, 8)
		return
	}
	size := 2
	for n >= 1<<(5*size+1) {
		size++
	}
	b.put(0xff<<(8-size)&0xff|n>>(6*(size-1)), 8)
	for i := size - 2; i >= 0; i-- {
		b.put(0x80|n>>(6*i)&0x3f, 8)
	}
}

func crc8(b []byte) (c byte) {
	for _, v := range b {
		c ^= v
		for range 8 {
			if c&0x80 != 0 {
				c = c<<1 ^ 0x07
			} else {
				c <<= 1
			}
		}
	}
	return c
}

func crc16(b []byte) uint16 {
	var c uint16
	for _, v := range b {
		c ^= uint16(v) << 8
		for range 8 {
			if c&0x8000 != 0 {
				c = c<<1 ^ 0x8005
			} else {
				c <<= 1
			}
		}
	}
	return c
}
