package program

import (
	"strings"
	"time"

	"github.com/pion/rtp/codecs"
	"github.com/pion/webrtc/v4"
)

// frame is a whole picture.
type frame struct {
	mime          string
	at            time.Time
	key           bool
	width, height int // of a keyframe
	data          []byte
}

// assembler makes frames of the packets of one slot. After a loss, and with another codec, it waits for a keyframe: nothing
// that depends on a lost picture is kept.
type assembler struct {
	mime      string
	timestamp uint32
	at        time.Time
	open      bool // a frame has begun
	key       bool
	data      []byte
	waits     bool // for a keyframe
}

// push takes a packet in order; ok: it ends a frame.
func (s *assembler) push(a *arrival, at time.Time, lost bool) (f frame, ok bool) {
	if lost || a.MIME != s.mime {
		s.open, s.waits, s.mime = false, true, a.MIME
	}
	if s.open && a.Timestamp != s.timestamp { // its end did not come, which the order would have said
		s.open, s.waits = false, true
	}
	payload, start, key := depacketize(a.MIME, a.Payload)
	switch {
	case start && !s.open:
		if s.waits && !key {
			return frame{}, false
		}
		s.open, s.waits, s.key, s.timestamp, s.at = true, false, key, a.Timestamp, at
		s.data = append([]byte(nil), payload...)
	case s.open:
		s.data = append(s.data, payload...)
	default:
		return frame{}, false
	}
	if !a.Marker {
		return frame{}, false
	}
	s.open = false
	f = frame{mime: s.mime, at: s.at, key: s.key, data: s.data}
	if f.key {
		f.width, f.height = sizeOf(s.mime, f.data)
	}
	s.data = nil
	return f, true
}

// depacketize returns what of a frame is in a payload, whether the frame begins there, and whether it is a keyframe.
func depacketize(mime string, b []byte) (payload []byte, start, key bool) {
	if !strings.EqualFold(mime, webrtc.MimeTypeVP8) {
		return nil, false, false
	}
	var p codecs.VP8Packet
	body, err := p.Unmarshal(b)
	if err != nil || len(body) == 0 {
		return nil, false, false
	}
	start = p.S == 1 && p.PID == 0
	return body, start, start && body[0]&1 == 0 // RFC 6386 §9.1
}

// sizeOf reads the size of a picture from a keyframe; what is not known is that of a common camera.
func sizeOf(mime string, b []byte) (width, height int) {
	if strings.EqualFold(mime, webrtc.MimeTypeVP8) && len(b) >= 10 {
		return (int(b[6]) | int(b[7])<<8) & 0x3fff, (int(b[8]) | int(b[9])<<8) & 0x3fff // RFC 6386 §9.1
	}
	return 1280, 720
}
