package forward

import (
	"strings"

	"github.com/pion/webrtc/v4"
)

// Codec is the format of a track's payload.
type Codec uint8

// The formats that are forwarded. The audio formats besides Opus are those of telephones.
const (
	NoCodec Codec = iota
	Opus
	PCMU
	PCMA
	G722
	VP8
	VP9
	H264
	AV1
	codecCount
)

var mimeTypes = [codecCount]string{
	Opus: webrtc.MimeTypeOpus, PCMU: webrtc.MimeTypePCMU, PCMA: webrtc.MimeTypePCMA, G722: webrtc.MimeTypeG722,
	VP8: webrtc.MimeTypeVP8, VP9: webrtc.MimeTypeVP9, H264: webrtc.MimeTypeH264, AV1: webrtc.MimeTypeAV1,
}

// String is the name in SDP.
func (c Codec) String() string {
	_, name, _ := strings.Cut(mimeTypes[c%codecCount], "/")
	return name
}

// video says that packets have frames, and that a receiver begins at a keyframe.
func (c Codec) video() bool { return c >= VP8 }

// CodecOf finds a codec by its MIME type; NoCodec: not one that is forwarded.
func CodecOf(mime string) Codec {
	for c := Opus; c < codecCount; c++ {
		if strings.EqualFold(mimeTypes[c], mime) {
			return c
		}
	}
	return NoCodec
}

// format is what a payload type means: media in some codec, or the repair of another payload type (RFC 4588 §8.6).
type format struct {
	codec  Codec
	repair bool
	of     uint8
}

// clockRate is that of an audio codec's timestamps; G.722 has that of G.711 (RFC 3551 §4.5.2).
func (c Codec) clockRate() uint32 {
	if c == PCMU || c == PCMA || c == G722 {
		return phoneClock
	}
	return audioClock
}
