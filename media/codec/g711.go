package codec

import "math/bits"

// ALaw and MuLaw are the two laws of G.711: one octet per sample, no state.
type (
	// ALaw is that of Europe and China, RTP's PCMA.
	ALaw struct{}
	// MuLaw is that of North America and Japan, RTP's PCMU.
	MuLaw struct{}
)

// One table per direction and law. A-law looks at the upper 12 bits of a sample, mu-law at the upper 14; the tables are
// as long as that, 4 and 16 KiB, so that they stay in the cache.
var (
	aLawCode   = codes(12, aLawOf)
	muLawCode  = codes(14, muLawOf)
	aLawValue  = values(aLawTo)
	muLawValue = values(muLawTo)
)

func codes(width int, law func(sample int) byte) []byte {
	table := make([]byte, 1<<width)
	for i := range table {
		table[i] = law(int(int16(i << (16 - width))))
	}
	return table
}

func values(law func(code byte) int16) (table [256]int16) {
	for i := range table {
		table[i] = law(byte(i))
	}
	return table
}

// aLawOf is G.711 table 1: sign, three bits of the segment, four of the interval; every second bit inverted. Negative
// values are one's complements, so that there are two zeroes.
//
//	magnitude (11 bits)   1 a b c d . . . . . .   segment 7, interval abcd
//	                      0 1 a b c d . . . . .   segment 6
//	                      …
//	                      0 0 0 0 0 0 1 a b c d   segment 1
//	                      0 0 0 0 0 0 0 a b c d   segment 0
func aLawOf(sample int) byte {
	sign, magnitude := 0x80, sample
	if sample < 0 {
		sign, magnitude = 0, ^sample
	}
	magnitude >>= 4
	segment := max(0, bits.Len(uint(magnitude))-4)
	return byte(sign|segment<<4|magnitude>>max(0, segment-1)&0x0f) ^ 0x55
}

// aLawTo returns the middle of the interval.
func aLawTo(code byte) int16 {
	code ^= 0x55
	segment, interval := int(code>>4&7), int(code&0x0f)
	value := interval<<4 + 8
	if segment > 0 {
		value = (value + 0x100) << (segment - 1)
	}
	if code&0x80 == 0 {
		value = -value
	}
	return int16(value)
}

const (
	muLawBias = 33     // G.711 table 2: added to a 14-bit magnitude, so that each segment begins at a power of two
	muLawMax  = 0x1fff // the highest biased magnitude
)

// muLawOf is G.711 table 2: like A-law with a bias of 33 and all bits inverted.
func muLawOf(sample int) byte {
	sign, magnitude := 0, sample
	if sample < 0 {
		sign, magnitude = 0x80, ^sample
	}
	magnitude = min(magnitude>>2+muLawBias, muLawMax)
	segment := bits.Len(uint(magnitude)) - 6
	return ^byte(sign | segment<<4 | magnitude>>(segment+1)&0x0f)
}

// muLawTo returns the middle of the interval.
func muLawTo(code byte) int16 {
	code = ^code
	segment, interval := int(code>>4&7), int(code&0x0f)
	value := ((interval<<1+muLawBias)<<segment - muLawBias) << 2
	if code&0x80 != 0 {
		value = -value
	}
	return int16(value)
}

// Encode implements Encoder.
func (ALaw) Encode(dst []byte, samples []int16) []byte {
	for _, s := range samples {
		dst = append(dst, aLawCode[uint16(s)>>4])
	}
	return dst
}

// Decode implements Decoder.
func (ALaw) Decode(dst []int16, payload []byte) ([]int16, error) {
	return expand(dst, payload, &aLawValue)
}

// Encode implements Encoder.
func (MuLaw) Encode(dst []byte, samples []int16) []byte {
	for _, s := range samples {
		dst = append(dst, muLawCode[uint16(s)>>2])
	}
	return dst
}

// Decode implements Decoder.
func (MuLaw) Decode(dst []int16, payload []byte) ([]int16, error) {
	return expand(dst, payload, &muLawValue)
}

func expand(dst []int16, payload []byte, table *[256]int16) ([]int16, error) {
	if len(payload) > MaxFrame {
		return dst, ErrTooLong
	}
	for _, c := range payload {
		dst = append(dst, table[c])
	}
	return dst, nil
}
