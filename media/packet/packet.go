// Package packet reads media packets in place: which protocol a datagram is (RFC 7983, RFC 5761) and what an RTP header
// says (RFC 3550 §5.1, extensions of RFC 8285).
//
// All functions are pure, allocate nothing and borrow their []byte until they return; what they return are numbers and
// offsets. None of them trusts a length that stands in the packet. Encryption and RTCP reports live elsewhere
// (media/srtp, media/rtcp).
//
//	switch packet.Classify(datagram) {
//	case packet.RTP:
//		h, ok := packet.Parse(datagram)
//		payload := datagram[h.Payload:h.End]
//	case packet.RTCP:
//	}
package packet

import "encoding/binary"

// Kind is the protocol of a datagram on a media port.
type Kind uint8

// The protocols that share a media port, told apart by the first byte (RFC 7983 §7, RFC 9443):
//
//	+----------------+
//	|        [0..3] -+--> STUN
//	|      [16..19] -+--> ZRTP
//	|      [20..63] -+--> DTLS
//	|      [64..79] -+--> TURN channel
//	|    [128..191] -+--> RTP, or RTCP if the second byte is 192..223 (RFC 5761 §4)
//	+----------------+
const (
	Unknown Kind = iota
	RTP
	RTCP
	STUN
	DTLS
	ZRTP
	TURN
)

// String returns the name in lower case.
func (k Kind) String() string {
	switch k {
	case RTP:
		return "rtp"
	case RTCP:
		return "rtcp"
	case STUN:
		return "stun"
	case DTLS:
		return "dtls"
	case ZRTP:
		return "zrtp"
	case TURN:
		return "turn"
	case Unknown:
		return "unknown"
	default:
		return "unknown"
	}
}

// Classify tells the protocol of a datagram by its first bytes; it does not check the rest.
func Classify(b []byte) Kind {
	if len(b) < 2 {
		return Unknown
	}
	switch c := b[0]; {
	case c >= 128 && c <= 191:
		if b[1] >= 192 && b[1] <= 223 {
			return RTCP
		}
		return RTP
	case c <= 3:
		return STUN
	case c >= 16 && c <= 19:
		return ZRTP
	case c >= 20 && c <= 63:
		return DTLS
	case c >= 64 && c <= 79:
		return TURN
	default:
		return Unknown
	}
}

// SSRC names a source of RTP packets within a session.
type SSRC uint32

// PayloadType is the 7-bit number of a format.
type PayloadType uint8

// HeaderSize is the length of an RTP header without CSRCs and extension.
const HeaderSize = 12

// Header is what an RTP header says.
//
//	 0                   1                   2                   3
//	 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1
//	+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
//	|V=2|P|X|  CC   |M|     PT      |       sequence number         |
//	|                           timestamp                           |
//	|                             SSRC                              |
//	|                         CSRC (CC times)                       |
//	|      extension profile        |     length in 32-bit words    |  with X
//	+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
type Header struct {
	Marker    bool
	Type      PayloadType
	Sequence  uint16
	Timestamp uint32 // ticks of the format's clock
	SSRC      SSRC

	Profile      uint16 // of the extension, 0 without one
	Extension    int    // offset of the extension's first element, 0 without one
	ExtensionEnd int
	Payload      int // offset
	End          int // offset behind the payload; padding follows
}

// Parse reads an RTP header; ok is false when b is not RTP of version 2 or is shorter than it says. Padding of encrypted
// packets is encrypted too: End is then the length of b, see ParseSecure.
func Parse(b []byte) (h Header, ok bool) {
	if h, ok = ParseSecure(b); !ok {
		return Header{}, false
	}
	if b[0]&0x20 != 0 { // P: the last octet counts the padding, itself included
		pad := int(b[len(b)-1])
		if pad == 0 || pad > len(b)-h.Payload {
			return Header{}, false
		}
		h.End -= pad
	}
	return h, true
}

// ParseSecure is Parse for SRTP, whose header is clear while padding and tag are not: it ignores the padding.
func ParseSecure(b []byte) (h Header, ok bool) {
	if len(b) < HeaderSize || b[0]>>6 != 2 {
		return Header{}, false
	}
	at := HeaderSize + 4*int(b[0]&0x0f)
	if len(b) < at {
		return Header{}, false
	}
	if b[0]&0x10 != 0 { // X
		if len(b) < at+4 {
			return Header{}, false
		}
		h.Profile = binary.BigEndian.Uint16(b[at:])
		h.Extension = at + 4
		at += 4 + 4*int(binary.BigEndian.Uint16(b[at+2:]))
		if len(b) < at {
			return Header{}, false
		}
		h.ExtensionEnd = at
	}
	h.Marker = b[1]&0x80 != 0
	h.Type = PayloadType(b[1] & 0x7f)
	h.Sequence = binary.BigEndian.Uint16(b[2:])
	h.Timestamp = binary.BigEndian.Uint32(b[4:])
	h.SSRC = SSRC(binary.BigEndian.Uint32(b[8:]))
	h.Payload = at
	h.End = len(b)
	return h, true
}

// Profiles of RFC 8285.
const (
	oneByte     = 0xbede
	twoByte     = 0x1000 // the low four bits are free
	twoByteMask = 0xfff0
)

// Find returns the bytes of the extension element with that id, as a part of b; nil without one. h is what Parse said
// about b.
func (h Header) Find(b []byte, id uint8) []byte {
	if h.Extension == 0 || h.ExtensionEnd > len(b) {
		return nil
	}
	switch ext := b[h.Extension:h.ExtensionEnd]; {
	case h.Profile == oneByte:
		return findOne(ext, id)
	case h.Profile&twoByteMask == twoByte:
		return findTwo(ext, id)
	default:
		return nil
	}
}

// findOne walks elements of |ID 4|len-1 4|data|; id 15 ends the list, 0 is a padding byte (RFC 8285 §4.2).
func findOne(ext []byte, id uint8) []byte {
	for i := 0; i < len(ext); {
		if ext[i] == 0 {
			i++
			continue
		}
		got, n := ext[i]>>4, int(ext[i]&0x0f)+1
		if got == 15 || i+1+n > len(ext) {
			return nil
		}
		if got == id {
			return ext[i+1 : i+1+n]
		}
		i += 1 + n
	}
	return nil
}

// findTwo walks elements of |ID 8|len 8|data|; 0 is a padding byte (RFC 8285 §4.3).
func findTwo(ext []byte, id uint8) []byte {
	for i := 0; i < len(ext); {
		if ext[i] == 0 {
			i++
			continue
		}
		if i+2 > len(ext) {
			return nil
		}
		n := int(ext[i+1])
		if i+2+n > len(ext) {
			return nil
		}
		if ext[i] == id {
			return ext[i+2 : i+2+n]
		}
		i += 2 + n
	}
	return nil
}

// SetSequence rewrites the sequence number in place. b must have passed Parse, here and in the setters below.
func SetSequence(b []byte, n uint16) { binary.BigEndian.PutUint16(b[2:], n) }

// SetTimestamp rewrites the timestamp.
func SetTimestamp(b []byte, t uint32) { binary.BigEndian.PutUint32(b[4:], t) }

// SetSSRC rewrites the source.
func SetSSRC(b []byte, s SSRC) { binary.BigEndian.PutUint32(b[8:], uint32(s)) }

// SetType rewrites the payload type and keeps the marker.
func SetType(b []byte, t PayloadType) { b[1] = b[1]&0x80 | byte(t)&0x7f }

// Newer reports whether sequence number a comes after b, modulo 2^16 (RFC 1982).
func Newer(a, b uint16) bool { return a != b && a-b < 1<<15 }
