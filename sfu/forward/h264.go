package forward

import "encoding/binary"

// Types of NAL units (ITU-T H.264 table 7-1) and of packets (RFC 6184 §5.2).
const (
	nalIDR        = 5
	nalParameters = 7 // sequence parameter set
	nalAggregate  = 24
	nalFragment   = 28
)

// parseH264 looks for what a decoder can begin with (RFC 6184 §5.6 to §5.8): a sequence parameter set, or an IDR picture.
func (f *frame) parseH264(b []byte) bool {
	if len(b) < 2 {
		return false
	}
	switch kind := b[0] & 0x1f; kind {
	case nalAggregate: // units, each behind its length
		for rest := b[1:]; len(rest) > 0; {
			if len(rest) < 3 {
				return false
			}
			size := int(binary.BigEndian.Uint16(rest))
			if rest = rest[2:]; size == 0 || size > len(rest) {
				return false
			}
			f.unit(rest[0]&0x1f, rest[:size])
			rest = rest[size:]
		}
	case nalFragment: // indicator, header with S, E, R and the type
		if len(b) < 3 {
			return false
		}
		if b[1]&0x80 != 0 {
			f.unit(b[1]&0x1f, b[1:])
		}
	default:
		if kind == 0 || kind > nalAggregate {
			return false // interleaved, or reserved: nobody negotiates them
		}
		f.unit(kind, b)
	}
	return true
}

// unit takes note of a NAL unit; its first octet is the header.
func (f *frame) unit(kind uint8, b []byte) {
	switch kind {
	case nalParameters:
		f.start, f.keyframe, f.parameters = true, true, true
		f.width, f.height = parameterSetSize(b[1:])
	case nalIDR:
		f.start, f.keyframe = true, true
	}
}

// parameterSetSize reads the picture size of a sequence parameter set (ITU-T H.264 §7.3.2.1.1); 0: cannot be read.
func parameterSetSize(b []byte) (width, height int) {
	if len(b) < 4 {
		return 0, 0
	}
	profile := b[0]
	r := bitReader{b: b[3:], escaped: true}
	r.exp() // seq_parameter_set_id
	chroma := uint32(1)
	switch profile {
	case 100, 110, 122, 244, 44, 83, 86, 118, 128, 138, 139, 134, 135:
		if chroma = r.exp(); chroma == 3 {
			r.bits(1)
		}
		r.exp() // bit_depth_luma
		r.exp()
		r.bits(1)
		if r.bits(1) == 1 {
			return 0, 0 // scaling lists: no browser sends them
		}
	}
	r.exp()                          // log2_max_frame_num
	switch order := r.exp(); order { // pic_order_cnt_type
	case 0:
		r.exp()
	case 1:
		r.bits(1)
		r.exp()
		r.exp()
		for range min(r.exp(), 255) {
			r.exp()
		}
	}
	r.exp() // max_num_ref_frames
	r.bits(1)
	across, down := r.exp()+1, r.exp()+1 // in macroblocks, in map units
	frames := r.bits(1)
	if frames == 0 {
		r.bits(1)
	}
	r.bits(1)
	var crop [4]uint32
	if r.bits(1) == 1 {
		for i := range crop {
			crop[i] = r.exp()
		}
	}
	const largest = 1 << 10 // macroblocks: 16,384 points
	if r.bad || across > largest || down > largest {
		return 0, 0
	}
	unitX, unitY := uint32(1), 2-frames
	if chroma == 1 || chroma == 2 {
		unitX = 2
	}
	if chroma == 1 {
		unitY *= 2
	}
	w := int64(across)*16 - int64(unitX)*(int64(crop[0])+int64(crop[1]))
	h := int64(2-frames)*int64(down)*16 - int64(unitY)*(int64(crop[2])+int64(crop[3]))
	if w <= 0 || h <= 0 {
		return 0, 0
	}
	return int(w), int(h)
}
