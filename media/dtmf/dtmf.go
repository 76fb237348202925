// Package dtmf understands the keys that a caller presses, in each of the ways in which a phone says them: events in RTP
// (RFC 4733), tones in the sound (ITU-T Q.23, Q.24), and the bodies of SIP INFO that phones send (application/dtmf-relay,
// application/dtmf). It sends events, and tones are in media/prompt.
//
// A key is one of 0-9 * # A-D, as a byte. Digits may be passwords: nothing here logs, and nobody else should.
//
// Values belong to one goroutine. Nothing allocates per packet or frame.
//
//	var r dtmf.Receiver
//	if key, ok := r.Packet(header.Timestamp, payload); ok { … }
package dtmf

import (
	"encoding/binary"
	"errors"
	"strconv"
	"strings"
	"time"
)

// keys are in the order of their event codes (RFC 4733 §3.2).
const keys = "0123456789*#ABCD"

// Valid reports whether key is one.
func Valid(key byte) bool { return strings.IndexByte(keys, key) >= 0 }

// payloadSize is that of an event:
//
//	 0                   1                   2                   3
//	 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1
//	+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
//	|     event     |E|R| volume    |          duration             |
//	+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
const payloadSize = 4

// longestSegment is the longest duration of a packet; a longer event goes on with a new timestamp (RFC 4733 §2.5.1.3).
const longestSegment = 0xffff

// Receiver makes keys of the events in one RTP stream. Its zero value is ready.
type Receiver struct {
	started   bool
	timestamp uint32 // of the last event
	duration  uint16 // the longest that was said
	event     byte
}

// Packet takes the payload of a packet of telephone-event and its RTP timestamp. It returns a key when it is pressed:
// at the first packet of an event that comes, whichever that is, and never again for that event (RFC 4733 §2.5.2.3:
// packets with the same timestamp are the same event, and the last is sent three times). Packets of events before the
// last one, and of events that are no keys, are ignored.
func (r *Receiver) Packet(timestamp uint32, payload []byte) (key byte, ok bool) {
	if len(payload) < payloadSize || int(payload[0]) >= len(keys) {
		return 0, false
	}
	event, duration := payload[0], binary.BigEndian.Uint16(payload[2:])
	if r.started {
		distance := int32(timestamp - r.timestamp)
		switch {
		case distance < 0:
			return 0, false
		case distance == 0:
			r.duration = max(r.duration, duration)
			return 0, false
		case event == r.event && r.duration >= longestSegment-longestSegment/16 && distance == longestSegment:
			r.timestamp, r.duration = timestamp, duration // the next segment of a key that is held
			return 0, false
		}
	}
	r.started, r.timestamp, r.event, r.duration = true, timestamp, event, duration
	return keys[event], true
}

const (
	endPackets = 3 // RFC 4733 §2.5.1.4
	endBit     = 0x80
	// volume is -10 dBm0, what Q.24 expects of the louder tone.
	volume = 10
)

// Sender makes the packets of one key, one every 20 ms.
type Sender struct {
	event          byte
	duration, step uint32
	total          uint32
	sent, ends     int
}

// NewSender returns a sender of key, pressed for that long; step is how many ticks of the RTP clock lie between two
// packets. A key that is none, or a duration beyond 8 s (one segment), is cut to what is possible.
func NewSender(key byte, length time.Duration, clock int, step uint32) *Sender {
	total := uint32(min(int64(length)*int64(clock)/int64(time.Second), longestSegment))
	return &Sender{event: byte(max(0, strings.IndexByte(keys, key))), step: step, total: max(total, step)}
}

// Append appends the next payload. All packets carry the timestamp of the first, which is the one with the marker bit;
// more is false after the last.
func (s *Sender) Append(dst []byte) (payload []byte, marker, more bool) {
	marker = s.sent == 0
	s.sent++
	s.duration = min(s.duration+s.step, s.total)
	flags := byte(volume)
	if s.duration == s.total {
		flags |= endBit
		s.ends++
	}
	return append(dst, s.event, flags, byte(s.duration>>8), byte(s.duration)), marker, s.ends < endPackets
}

// ErrInfo says that the body of an INFO is no key.
var ErrInfo = errors.New("no key in the body")

// ParseInfo reads the body of a SIP INFO by its content type:
//
//	application/dtmf-relay   Signal=5 CRLF Duration=160 (milliseconds); Signal may be an event code 10 to 15
//	application/dtmf         5
//
// The duration is 0 when the phone does not say it.
func ParseInfo(contentType string, body []byte) (key byte, length time.Duration, err error) {
	kind, _, _ := strings.Cut(contentType, ";")
	text := string(body)
	switch strings.ToLower(strings.TrimSpace(kind)) {
	case "application/dtmf":
		key, ok := named(text)
		if !ok {
			return 0, 0, ErrInfo
		}
		return key, 0, nil
	case "application/dtmf-relay":
	default:
		return 0, 0, ErrInfo
	}
	found := false
	for line := range strings.Lines(text) {
		name, value, _ := strings.Cut(line, "=")
		switch strings.ToLower(strings.TrimSpace(name)) {
		case "signal":
			if key, found = named(value); !found {
				return 0, 0, ErrInfo
			}
		case "duration":
			if ms, err := strconv.ParseUint(strings.TrimSpace(value), 10, 16); err == nil {
				length = time.Duration(ms) * time.Millisecond
			}
		}
	}
	if !found {
		return 0, 0, ErrInfo
	}
	return key, length, nil
}

// named reads a key or its event code.
func named(text string) (byte, bool) {
	text = strings.ToUpper(strings.TrimSpace(text))
	if len(text) == 1 {
		return text[0], Valid(text[0])
	}
	if n, err := strconv.ParseUint(text, 10, 8); err == nil && len(text) == 2 && n >= 10 && int(n) < len(keys) {
		return keys[n], true
	}
	return 0, false
}
