package forward

import "encoding/binary"

// parseVP9 reads a payload descriptor (RFC 9628 §4.2).
//
//	 0 1 2 3 4 5 6 7
//	|I|P|L|F|B|E|V|Z|   P: predicted from earlier pictures; B, E: first and last packet of a layer's frame
//	|M| PictureID   |   if I, 7 or 15 bits
//	| TID |U| SID |D|   if L; U: a receiver may go up to this temporal layer here
//	|   TL0PICIDX   |   if L and not F
//	| P_DIFF      |N|   if F and P, up to three
//	|     SS        |   if V: sizes of the spatial layers
func (f *frame) parseVP9(b []byte) bool {
	if len(b) < 2 {
		return false
	}
	const pictureID, predicted, layers, flexible, begins, ends, structure = 0x80, 0x40, 0x20, 0x10, 0x08, 0x04, 0x02
	head, i := b[0], 1
	f.start, f.end = head&begins != 0, head&ends != 0
	if head&pictureID != 0 {
		if i = f.pictureID(b, i); i == 0 {
			return false
		}
	}
	if head&layers != 0 {
		if len(b) <= i {
			return false
		}
		f.hasTemporal, f.temporal, f.layerSync, f.spatial = true, b[i]>>5, b[i]&0x10 != 0, b[i]>>1&7
		i++
		if head&flexible == 0 {
			if len(b) <= i {
				return false
			}
			f.tl0Offset, f.tl0 = i, b[i]
			i++
		}
	}
	if head&flexible != 0 && head&predicted != 0 {
		for n := 0; ; n++ {
			if len(b) <= i || n == 3 {
				return false
			}
			more := b[i]&1 != 0
			i++
			if !more {
				break
			}
		}
	}
	if head&structure != 0 {
		if i = f.scalability(b, i); i == 0 {
			return false
		}
	}
	f.start = f.start && f.spatial == 0 // of the whole picture
	f.keyframe = f.start && head&predicted == 0
	return len(b) > i
}

// scalability reads the scalability structure (§4.2.1): N_S (3 bits) | Y | G | reserved, then the sizes, then the group of
// pictures. It returns where it ends, or 0: too short.
func (f *frame) scalability(b []byte, i int) int {
	if len(b) <= i {
		return 0
	}
	count, sizes, group := int(b[i]>>5)+1, b[i]&0x10 != 0, b[i]&0x08 != 0
	i++
	if sizes {
		if len(b) < i+4*count {
			return 0
		}
		for n := range count {
			width, height := binary.BigEndian.Uint16(b[i:]), binary.BigEndian.Uint16(b[i+2:])
			if n < maxSpatial {
				f.sizes[n] = height
			}
			f.width, f.height = int(width), int(height) // the last one is the whole picture
			i += 4
		}
	}
	if !group {
		return i
	}
	if len(b) <= i {
		return 0
	}
	pictures := int(b[i])
	i++
	for range pictures { // TID (3) | U | R (2) | reserved, then R differences
		if len(b) <= i {
			return 0
		}
		i += 1 + int(b[i]>>2&3)
	}
	if len(b) < i {
		return 0
	}
	return i
}
