// Package codec turns the payload of telephone and browser audio into linear samples and back: G.711 A-law and mu-law
// (ITU-T G.711, RFC 3551 §4.5.14), G.722 at 64 kbit/s (ITU-T G.722, RFC 3551 §4.5.2), Opus in one direction only
// (RFC 6716, RFC 7587), comfort noise (RFC 3389), the change between 8, 16 and 48 kHz, and what is heard in place of a
// packet that did not come.
//
// Samples are 16-bit, mono, at a Format's Rate. Encoders and decoders append to a slice that the caller owns, as append
// does: with enough capacity none of them allocates, except that of Opus. Opus is decoded and never encoded: phones get
// G.711 or G.722, and browsers understand both.
//
// Nothing here is safe for concurrent use, except the G.711 codecs, which have no state. Payloads come from the
// network: a decoder never panics and never returns more than MaxFrame samples.
//
//	f, _ := codec.Find("G722", 8000)
//	encoder, decoder := f.NewEncoder(), f.NewDecoder()
//	payload := encoder.Encode(nil, frame)
//	samples, err := decoder.Decode(nil, payload)
package codec

import (
	"errors"
	"strings"
	"time"
)

// Frame is what a leg sends per packet (RFC 3551 §4.2).
const Frame = 20 * time.Millisecond

// MaxFrame is the most samples that one payload decodes to: 120 ms of Opus at 48 kHz (RFC 6716 §3.1).
const MaxFrame = 48_000 * 120 / 1000

var (
	// ErrPayload says that a payload cannot be what its payload type promises.
	ErrPayload = errors.New("malformed audio payload")
	// ErrTooLong says that a payload holds more than MaxFrame samples.
	ErrTooLong = errors.New("audio payload is too long")
)

// Encoder makes payload of samples.
type Encoder interface {
	// Encode appends the payload of samples to dst. Both are borrowed until it returns.
	Encode(dst []byte, samples []int16) []byte
}

// Decoder makes samples of payload.
type Decoder interface {
	// Decode appends the samples of one packet's payload to dst. On an error dst is returned as it was, and the packet
	// counts as lost.
	Decode(dst []int16, payload []byte) ([]int16, error)
}

// Format is an audio format as RTP names it.
type Format struct {
	Name  string // of the rtpmap
	Clock int    // ticks of the RTP timestamp per second
	Rate  int    // samples per second
	kind  kind
}

type kind uint8

const (
	aLaw kind = iota
	muLaw
	g722
	opusVoice
)

// The formats that we decode. G.722 samples at 16 kHz and ticks at 8 (RFC 3551 §4.5.2); Opus always ticks at 48 kHz
// (RFC 7587 §4.1) and is decoded at the rate of the mixer, since voice ends below 8 kHz.
var (
	PCMA = Format{Name: "PCMA", Clock: 8_000, Rate: 8_000, kind: aLaw}
	PCMU = Format{Name: "PCMU", Clock: 8_000, Rate: 8_000, kind: muLaw}
	G722 = Format{Name: "G722", Clock: 8_000, Rate: 16_000, kind: g722}
	Opus = Format{Name: "opus", Clock: 48_000, Rate: 16_000, kind: opusVoice}
)

// Find returns the format with that name, in either case, and clock rate.
func Find(name string, clock int) (Format, bool) {
	for _, f := range [...]Format{PCMA, PCMU, G722, Opus} {
		if strings.EqualFold(f.Name, name) && f.Clock == clock {
			return f, true
		}
	}
	return Format{}, false
}

// Samples returns how many samples last that long.
func (f Format) Samples(d time.Duration) int {
	return int(int64(f.Rate) * int64(d) / int64(time.Second))
}

// Ticks returns how far the RTP timestamp moves while n samples play.
func (f Format) Ticks(n int) uint32 { return uint32(n * f.Clock / f.Rate) }

// CanEncode reports whether NewEncoder returns one.
func (f Format) CanEncode() bool { return f.kind != opusVoice }

// NewEncoder returns an encoder for one stream, nil for Opus.
func (f Format) NewEncoder() Encoder {
	switch f.kind {
	case muLaw:
		return MuLaw{}
	case g722:
		return NewG722Encoder()
	case opusVoice:
		return nil
	default:
		return ALaw{}
	}
}

// NewDecoder returns a decoder for one stream.
func (f Format) NewDecoder() Decoder {
	switch f.kind {
	case muLaw:
		return MuLaw{}
	case g722:
		return NewG722Decoder()
	case opusVoice:
		return NewOpusDecoder(f.Rate)
	default:
		return ALaw{}
	}
}
