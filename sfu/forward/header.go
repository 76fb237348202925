package forward

import "encoding/binary"

// header is where things are in an RTP packet (RFC 3550 §5.1, RFC 8285).
type header struct {
	marker      bool
	payloadType uint8
	sequence    uint16
	timestamp   uint32
	ssrc        uint32
	profile     uint16 // of the extension block; 0: none
	extensions  []byte // its body, aliasing the packet
	start, end  int    // payload without padding
}

const (
	oneByteProfile = 0xBEDE
	twoByteProfile = 0x1000 // with the low four bits free
)

// parse reads the header of an RTP packet; false: not one.
func (h *header) parse(b []byte) bool {
	if len(b) < 12 || b[0]>>6 != 2 {
		return false
	}
	h.marker = b[1]&0x80 != 0
	h.payloadType = b[1] & 0x7f
	h.sequence = binary.BigEndian.Uint16(b[2:])
	h.timestamp = binary.BigEndian.Uint32(b[4:])
	h.ssrc = binary.BigEndian.Uint32(b[8:])
	h.profile, h.extensions = 0, nil
	h.start = 12 + 4*int(b[0]&0x0f)
	h.end = len(b)
	if b[0]&0x10 != 0 {
		if len(b) < h.start+4 {
			return false
		}
		length := 4 * int(binary.BigEndian.Uint16(b[h.start+2:]))
		h.profile = binary.BigEndian.Uint16(b[h.start:])
		if len(b) < h.start+4+length {
			return false
		}
		h.extensions = b[h.start+4 : h.start+4+length]
		h.start += 4 + length
	}
	if b[0]&0x20 != 0 {
		padding := int(b[len(b)-1])
		if padding == 0 {
			return false
		}
		h.end -= padding
	}
	return h.start <= h.end
}

// extension finds a header extension element by its identifier; nil: absent.
func (h *header) extension(id uint8) []byte {
	if id == 0 {
		return nil
	}
	b := h.extensions
	switch {
	case h.profile == oneByteProfile:
		for len(b) > 0 {
			if b[0] == 0 {
				b = b[1:]
				continue
			}
			elementID, length := b[0]>>4, int(b[0]&0x0f)+1
			if elementID == 15 || len(b) < 1+length {
				return nil
			}
			if elementID == id {
				return b[1 : 1+length]
			}
			b = b[1+length:]
		}
	case h.profile&0xfff0 == twoByteProfile:
		for len(b) > 1 {
			if b[0] == 0 {
				b = b[1:]
				continue
			}
			length := int(b[1])
			if len(b) < 2+length {
				return nil
			}
			if b[0] == id {
				return b[2 : 2+length]
			}
			b = b[2+length:]
		}
	}
	return nil
}
