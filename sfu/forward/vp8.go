package forward

import "encoding/binary"

// parseVP8 reads a payload descriptor (RFC 7741 §4.2) and, at the start of a keyframe, the picture size (§4.3).
//
//	 0 1 2 3 4 5 6 7
//	|X|R|N|S|R| PID |   S and PID 0: first packet of the frame
//	|I|L|T|K| RSV   |   if X
//	|M| PictureID   |   if I, 7 or 15 bits
//	|   TL0PICIDX   |   if L
//	|TID|Y| KEYIDX  |   if T or K
func (f *frame) parseVP8(b []byte) bool {
	if len(b) < 2 {
		return false
	}
	f.start = b[0]&0x10 != 0 && b[0]&0x07 == 0
	i := 1
	if b[0]&0x80 != 0 {
		x := b[1]
		i = 2
		if x&0x80 != 0 {
			if i = f.pictureID(b, i); i == 0 {
				return false
			}
		}
		if x&0x40 != 0 {
			if len(b) <= i {
				return false
			}
			f.tl0Offset, f.tl0 = i, b[i]
			i++
		}
		if x&0x30 != 0 {
			if len(b) <= i {
				return false
			}
			if x&0x20 != 0 {
				f.hasTemporal, f.temporal, f.layerSync = true, b[i]>>6, b[i]&0x20 != 0
			}
			i++
		}
	}
	if len(b) <= i {
		return false
	}
	if f.start && b[i]&0x01 == 0 { // RFC 6386 §9.1: key frame
		f.keyframe = true
		if head := b[i:]; len(head) >= 10 {
			f.width = int(binary.LittleEndian.Uint16(head[6:]) & 0x3fff)
			f.height = int(binary.LittleEndian.Uint16(head[8:]) & 0x3fff)
		}
	}
	return true
}
