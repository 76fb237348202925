package codec

import (
	"fmt"

	"github.com/pion/opus"
)

// OpusDecoder decodes one stream of Opus to mono. New ones come from NewOpusDecoder.
//
// The library conceals nothing; whoever plays the stream does, with a Concealer. It allocates for most frames.
type OpusDecoder struct {
	decoder opus.Decoder
	rate    int
	pcm     [MaxFrame]int16
}

// NewOpusDecoder returns a decoder that gives samples at rate, which is 8000, 16000 or 48000: the decoder changes the
// rate itself.
func NewOpusDecoder(rate int) *OpusDecoder {
	d, err := opus.NewDecoderWithOutput(rate, 1)
	if err != nil {
		panic(fmt.Sprintf("codec: opus at %d Hz: %v", rate, err)) // the caller's constant
	}
	return &OpusDecoder{decoder: d, rate: rate}
}

// Decode implements Decoder. A packet without audio, as discontinuous transmission sends it (RFC 6716 §2.1.9: a TOC
// byte and at most one more), gives silence of its length.
func (d *OpusDecoder) Decode(dst []int16, payload []byte) ([]int16, error) {
	ms4, err := opusDuration(payload)
	if err != nil {
		return dst, err
	}
	if len(payload) <= 2 {
		for range d.rate * ms4 / 4000 {
			dst = append(dst, 0)
		}
		return dst, nil
	}
	n, err := d.decode(payload)
	if err != nil {
		return dst, fmt.Errorf("%w: %w", ErrPayload, err)
	}
	return append(dst, d.pcm[:n]...), nil
}

// decode keeps a defect of the library to the packet that shows it: the stream comes from the network.
func (d *OpusDecoder) decode(payload []byte) (n int, err error) {
	defer func() {
		if r := recover(); r != nil {
			n, err = 0, fmt.Errorf("decoder: %v", r)
			d.decoder, _ = opus.NewDecoderWithOutput(d.rate, 1)
		}
	}()
	return d.decoder.DecodeToInt16(payload, d.pcm[:])
}

// opusDuration returns the length of a packet in quarters of a millisecond, from its TOC byte (RFC 6716 §3.1):
//
//	 0 1 2 3 4 5 6 7
//	+-+-+-+-+-+-+-+-+
//	| config  |s| c |
//	+-+-+-+-+-+-+-+-+
func opusDuration(payload []byte) (quarters int, err error) {
	if len(payload) == 0 {
		return 0, ErrPayload
	}
	config := payload[0] >> 3
	var frame int
	switch {
	case config < 12: // SILK: 10, 20, 40, 60 ms
		frame = [4]int{40, 80, 160, 240}[config&3]
	case config < 16: // hybrid: 10, 20 ms
		frame = [2]int{40, 80}[config&1]
	default: // CELT: 2.5, 5, 10, 20 ms
		frame = 10 << (config & 3)
	}
	count := 1
	switch payload[0] & 3 {
	case 1, 2:
		count = 2
	case 3:
		if len(payload) < 2 {
			return 0, ErrPayload
		}
		count = int(payload[1] & 0x3f)
	}
	if count == 0 || frame*count > 480 { // 120 ms
		return 0, ErrPayload
	}
	return frame * count, nil
}
