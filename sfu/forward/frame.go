package forward

import "encoding/binary"

// frame is what a packet tells of the frame that it belongs to, as far as forwarding needs it, in any video codec.
type frame struct {
	start         bool // first packet of a picture
	keyframe      bool // a decoder can begin with this packet
	parameters    bool // H.264: carries a sequence parameter set
	end           bool // last packet of a spatial layer's frame (VP9)
	width, height int  // of a keyframe, 0: not told

	hasTemporal bool
	temporal    uint8
	layerSync   bool // a receiver may begin with this temporal layer here
	spatial     uint8
	sizes       [maxSpatial]uint16 // heights of the spatial layers, with a keyframe of VP9 (RFC 9628 §4.2.1); 0: not told

	// Where VP8 and VP9 number their pictures: receivers want these to run on over a switch of layers.
	pictureOffset int // of the picture id in the payload, 0: none
	longPicture   bool
	picture       uint16
	tl0Offset     int // of TL0PICIDX, 0: none
	tl0           uint8
}

// maxSpatial is how many spatial layers a stream can have.
const maxSpatial = 3

// parse reads the payload of a packet; false: malformed or empty.
func (f *frame) parse(c Codec, b []byte) bool {
	*f = frame{}
	switch c {
	case VP8:
		return f.parseVP8(b)
	case VP9:
		return f.parseVP9(b)
	case H264:
		return f.parseH264(b)
	case AV1:
		return f.parseAV1(b)
	case NoCodec, Opus, PCMU, PCMA, G722, codecCount:
	}
	return false
}

// pictureID reads a picture id of 7 or 15 bits at i; it returns where the next field is, or 0: too short.
func (f *frame) pictureID(b []byte, i int) int {
	if len(b) <= i {
		return 0
	}
	f.pictureOffset = i
	if b[i]&0x80 == 0 {
		f.picture = uint16(b[i])
		return i + 1
	}
	if len(b) <= i+1 {
		return 0
	}
	f.longPicture = true
	f.picture = binary.BigEndian.Uint16(b[i:]) & 0x7fff
	return i + 2
}

// rewrite moves the picture id and TL0PICIDX by the given distances. Both run on without a gap at the receiver, although the
// layers that they come from count each on its own.
func (f *frame) rewrite(b []byte, picture uint16, tl0 uint8) {
	if f.pictureOffset > 0 {
		if f.longPicture {
			binary.BigEndian.PutUint16(b[f.pictureOffset:], (f.picture+picture)&0x7fff|0x8000)
		} else {
			b[f.pictureOffset] = uint8(f.picture+picture) & 0x7f
		}
	}
	if f.tl0Offset > 0 {
		b[f.tl0Offset] = f.tl0 + tl0
	}
}
