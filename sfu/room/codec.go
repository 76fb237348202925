package room

import (
	"strconv"
	"strings"

	"linehall/sfu/forward"
)

// codec is what the room's cameras and content shall be sent in: the configured codec if everybody who is there can show it,
// or else VP8, which every browser has. Who has not answered yet does not count: it would switch all encoders twice.
func (r *Room) codec() forward.Codec {
	wanted := forward.CodecOf("video/" + r.config.Codec)
	if wanted == forward.NoCodec {
		return forward.VP8
	}
	for _, p := range r.participants {
		if wanted == forward.AV1 && p.unsafeAV1 {
			return forward.VP8
		}
		if slots := p.peer.VideoSlots(); len(slots) > 0 && slots[0].Negotiated() && !slots[0].Accepts(wanted) {
			return forward.VP8
		}
	}
	return wanted
}

// undecodable says that a slot cannot show a layer: its publisher does not do what it is told.
func undecodable(s *forward.Slot, l *forward.Layer) bool {
	return l != nil && s.Negotiated() && l.Codec() != forward.NoCodec && !s.Accepts(l.Codec())
}

// firefoxAV1 is the first Firefox whose AV1 can be relied on; earlier ones negotiate it all the same (livekit#4962).
const firefoxAV1 = 157

// unsafeAV1 says whether a browser is a Firefox that should not be sent AV1.
func unsafeAV1(userAgent string) bool {
	_, rest, ok := strings.Cut(userAgent, "Firefox/")
	if !ok {
		return false
	}
	number, _, _ := strings.Cut(rest, ".")
	version, err := strconv.Atoi(number)
	return err != nil || version < firefoxAV1
}
