package venue

import (
	"encoding/binary"
	"errors"
)

// The VP8 payload descriptor (RFC 7741 §4.2) as this venue writes it, six bytes:
//
//	 0 1 2 3 4 5 6 7
//	+-+-+-+-+-+-+-+-+
//	|X|R|N|S|R| PID |  X=1, N set for frames nobody refers to, S on the first packet of a frame
//	|I|L|T|K| RSV   |  I L T set
//	|M| PictureID   |  15 bits
//	|   PictureID   |
//	|   TL0PICIDX   |
//	|TID|Y| KEYIDX  |
const descriptorSize = 6

// payloadMax keeps packets below 1200 bytes of payload with descriptor, so that extensions, RTX and SRTP fit any line.
const payloadMax = 1160

var errDescriptor = errors.New("VP8 payload descriptor is cut short")

// writeDescriptor fills the first descriptorSize bytes.
func writeDescriptor(b []byte, first bool, picture uint16, tl0 uint8, temporal uint8) {
	b[0] = 0x80
	if first {
		b[0] |= 0x10
	}
	b[5] = temporal << 6
	if temporal > 0 {
		b[0] |= 0x20
		b[5] |= 0x20 // Y: depends on the base layer only
	}
	b[1] = 0xe0
	binary.BigEndian.PutUint16(b[2:], picture|0x8000)
	b[4] = tl0
}

// descriptor is what a receiver reads.
type descriptor struct {
	start    bool // first packet of a frame
	picture  uint16
	hasTL0   bool
	tl0      uint8
	temporal uint8
	sync     bool
	size     int
}

func parseDescriptor(p []byte) (descriptor, error) {
	if len(p) < 1 {
		return descriptor{}, errDescriptor
	}
	d := descriptor{start: p[0]&0x10 != 0 && p[0]&0x07 == 0, size: 1}
	if p[0]&0x80 == 0 {
		return d, nil
	}
	if len(p) < 2 {
		return d, errDescriptor
	}
	flags := p[1]
	d.size = 2
	if flags&0x80 != 0 {
		if len(p) < d.size+1 {
			return d, errDescriptor
		}
		d.picture = uint16(p[d.size] & 0x7f)
		if p[d.size]&0x80 != 0 {
			if len(p) < d.size+2 {
				return d, errDescriptor
			}
			d.picture = d.picture<<8 | uint16(p[d.size+1])
			d.size++
		}
		d.size++
	}
	if flags&0x40 != 0 {
		if len(p) < d.size+1 {
			return d, errDescriptor
		}
		d.hasTL0, d.tl0 = true, p[d.size]
		d.size++
	}
	if flags&0x30 != 0 {
		if len(p) < d.size+1 {
			return d, errDescriptor
		}
		d.temporal, d.sync = p[d.size]>>6, p[d.size]&0x20 != 0
		d.size++
	}
	return d, nil
}

// keyframeSize reads width and height from an uncompressed data chunk (RFC 6386 §9.1); ok is false for inter frames.
func keyframeSize(frame []byte) (width, height int, ok bool) {
	if len(frame) < 10 || frame[0]&1 != 0 || frame[3] != 0x9d || frame[4] != 0x01 || frame[5] != 0x2a {
		return 0, 0, false
	}
	return int(binary.LittleEndian.Uint16(frame[6:]) & 0x3fff), int(binary.LittleEndian.Uint16(frame[8:]) & 0x3fff), true
}
