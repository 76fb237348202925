package forward

import "encoding/binary"

// vp8 is a VP8 payload descriptor (RFC 7741 §4.2) and, at the start of a keyframe, the picture size (§4.3).
//
//	 0 1 2 3 4 5 6 7
//	|X|R|N|S|R| PID |   S and PID 0: first packet of the frame
//	|I|L|T|K| RSV   |   if X
//	|M| PictureID   |   if I, 7 or 15 bits
//	|   TL0PICIDX   |   if L
//	|TID|Y| KEYIDX  |   if T or K
type vp8 struct {
	pictureOffset int // of the picture id in the payload, 0: none
	longPicture   bool
	picture       uint16
	tl0Offset     int // of TL0PICIDX, 0: none
	tl0           uint8
	hasTemporal   bool
	temporal      uint8 // TID
	layerSync     bool  // Y
	start         bool  // first packet of a frame
	keyframe      bool  // start of a keyframe
	width, height int   // of a keyframe
}

// parse reads the descriptor; false: malformed or empty.
func (d *vp8) parse(b []byte) bool {
	*d = vp8{}
	if len(b) < 2 {
		return false
	}
	d.start = b[0]&0x10 != 0 && b[0]&0x07 == 0
	i := 1
	if b[0]&0x80 != 0 {
		x := b[1]
		i = 2
		if x&0x80 != 0 {
			if len(b) <= i {
				return false
			}
			d.pictureOffset = i
			if b[i]&0x80 != 0 {
				if len(b) <= i+1 {
					return false
				}
				d.longPicture = true
				d.picture = binary.BigEndian.Uint16(b[i:]) & 0x7fff
				i += 2
			} else {
				d.picture = uint16(b[i])
				i++
			}
		}
		if x&0x40 != 0 {
			if len(b) <= i {
				return false
			}
			d.tl0Offset, d.tl0 = i, b[i]
			i++
		}
		if x&0x30 != 0 {
			if len(b) <= i {
				return false
			}
			if x&0x20 != 0 {
				d.hasTemporal, d.temporal, d.layerSync = true, b[i]>>6, b[i]&0x20 != 0
			}
			i++
		}
	}
	if len(b) <= i {
		return false
	}
	if d.start && b[i]&0x01 == 0 { // RFC 6386 §9.1: key frame
		d.keyframe = true
		if frame := b[i:]; len(frame) >= 10 {
			d.width = int(binary.LittleEndian.Uint16(frame[6:]) & 0x3fff)
			d.height = int(binary.LittleEndian.Uint16(frame[8:]) & 0x3fff)
		}
	}
	return true
}

// rewrite moves the picture id and TL0PICIDX by the given distances. Both run on without a gap at the receiver, although the
// layers that they come from count each on its own.
func (d *vp8) rewrite(b []byte, picture uint16, tl0 uint8) {
	if d.pictureOffset > 0 {
		if d.longPicture {
			binary.BigEndian.PutUint16(b[d.pictureOffset:], (d.picture+picture)&0x7fff|0x8000)
		} else {
			b[d.pictureOffset] = uint8(d.picture+picture) & 0x7f
		}
	}
	if d.tl0Offset > 0 {
		b[d.tl0Offset] = d.tl0 + tl0
	}
}
