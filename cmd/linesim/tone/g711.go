package tone

import "math/bits"

// Encode compresses one linear sample (ITU-T G.711).
func (l Law) Encode(sample int16) byte {
	if l == MuLaw {
		return encodeMuLaw(sample)
	}
	return encodeALaw(sample)
}

// Decode expands one code.
func (l Law) Decode(code byte) int16 {
	if l == MuLaw {
		return decodeMuLaw(code)
	}
	return decodeALaw(code)
}

// A-law: sign, three bits of segment, four of mantissa, even bits inverted; 13 bit input.
//
//	s eee mmmm   ^ 0x55
func encodeALaw(sample int16) byte {
	sign := byte(0x80)
	v := int(sample) >> 3
	if v < 0 {
		sign = 0
		v = -v - 1
	}
	v = min(v, 0xfff)
	var code byte
	if v < 32 {
		code = byte(v >> 1)
	} else {
		segment := bits.Len(uint(v)) - 5
		code = byte(segment<<4 | v>>segment&0x0f)
	}
	return (sign | code) ^ 0x55
}

func decodeALaw(code byte) int16 {
	code ^= 0x55
	segment := int(code&0x70) >> 4
	v := int(code&0x0f)<<4 + 8
	if segment > 0 {
		v = (v + 0x100) << (segment - 1)
	}
	if code&0x80 == 0 {
		v = -v
	}
	return int16(v)
}

// muLawBias is added before the logarithm so that the first segment is linear; 14 bit input.
const muLawBias = 0x84

func encodeMuLaw(sample int16) byte {
	sign := byte(0)
	v := int(sample)
	if v < 0 {
		sign = 0x80
		v = -v
	}
	v = min(v, 32635) + muLawBias
	segment := bits.Len(uint(v)) - 8
	return ^(sign | byte(segment<<4) | byte(v>>(segment+3)&0x0f))
}

func decodeMuLaw(code byte) int16 {
	code = ^code
	segment := int(code&0x70) >> 4
	v := (int(code&0x0f)<<3+muLawBias)<<segment - muLawBias
	if code&0x80 != 0 {
		v = -v
	}
	return int16(v)
}
