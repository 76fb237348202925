package forward

// Types of open bitstream units (AV1 §6.2.2).
const obuSequence = 1

// parseAV1 reads the aggregation header (RTP Payload Format For AV1 §4.4) and the header of the first unit.
//
//	|Z|Y| W |N|-|-|-|   Z: goes on with a unit of the packet before; W: how many units, 0: each with its length; N: a new
//	                    coded video sequence begins, which is a keyframe
func (f *frame) parseAV1(b []byte) bool {
	if len(b) < 2 {
		return false
	}
	const continued, more, fresh = 0x80, 0x40, 0x08
	count := b[0] >> 4 & 3
	if b[0]&(continued|fresh) == continued|fresh {
		return false // §4.4: never both
	}
	if b[0]&continued != 0 {
		return true
	}
	unit := b[1:]
	if count != 1 {
		size, n := leb128(unit)
		if n == 0 || size > uint32(len(unit)-n) { //nolint:gosec // a packet's length
			return false
		}
		unit = unit[n : n+int(size)]
	}
	if len(unit) == 0 || unit[0]&0x80 != 0 { // obu_forbidden_bit
		return false
	}
	f.start = true
	kind, extended, sized := unit[0]>>3&0x0f, unit[0]&0x04 != 0, unit[0]&0x02 != 0
	unit = unit[1:]
	if extended {
		if len(unit) == 0 {
			return false
		}
		f.hasTemporal, f.temporal, f.spatial = true, unit[0]>>5, unit[0]>>3&3
		unit = unit[1:]
	}
	if b[0]&fresh == 0 {
		return true
	}
	f.keyframe = true
	if sized {
		_, n := leb128(unit)
		unit = unit[n:]
	}
	if kind == obuSequence {
		f.width, f.height = sequenceSize(unit)
	}
	return true
}

// leb128 reads a length (AV1 §4.10.5) and how many octets it has; 0: it is not one.
func leb128(b []byte) (v uint32, n int) {
	for i := range min(len(b), 4) {
		v |= uint32(b[i]&0x7f) << (7 * i)
		if b[i]&0x80 == 0 {
			return v, i + 1
		}
	}
	return 0, 0
}

// sequenceSize reads the largest picture size of a sequence header (AV1 §5.5.1); 0: cannot be read.
func sequenceSize(b []byte) (width, height int) {
	r := bitReader{b: b}
	r.bits(3)           // seq_profile
	r.bits(1)           // still_picture
	if r.bits(1) == 1 { // reduced_still_picture_header
		r.bits(5)
	} else {
		if r.bits(1) == 1 { // timing_info_present_flag
			return 0, 0 // no browser sends it
		}
		delays := r.bits(1)
		for range r.bits(5) + 1 { // operating points
			r.bits(12)
			if r.bits(5) > 7 {
				r.bits(1)
			}
			if delays == 1 && r.bits(1) == 1 {
				r.bits(4)
			}
		}
	}
	wide, high := r.bits(4)+1, r.bits(4)+1
	width, height = int(r.bits(int(wide)))+1, int(r.bits(int(high)))+1
	if r.bad {
		return 0, 0
	}
	return width, height
}
