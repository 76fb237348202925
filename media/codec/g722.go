package codec

// G.722 splits 16 kHz audio into two bands by a quadrature mirror filter and codes each by adaptive differential PCM:
// six bits per pair of samples for 0 to 4 kHz, two for 4 to 8 kHz. Block names below are those of ITU-T G.722 §6.
//
//	        ┌─ low ──► − ──► 60 levels ──► 6 bits ─┐
//	QMF ────┤          ▲        │                  ├─► I = IH IH IL IL IL IL IL IL
//	        │      predictor ◄─ 15 levels          │
//	        └─ high ─► − ──► 4 levels ───► 2 bits ─┘
//	                   ▲        │
//	               predictor ◄──┘
//
// The predictors of encoder and decoder run on what both know, the low band's on the four upper bits only, so that the
// two lower ones may be robbed for data; we never do.

const (
	qmfTaps = 24
	// 13 bits of the filter's gain and two bands, and from 16-bit samples to the Recommendation's 15.
	analysisShift  = 14
	synthesisShift = 11

	lowScaleShift, highScaleShift = 8, 10
	lowScaleMax, highScaleMax     = 18432, 22528
	lowScale, highScale           = 32, 8 // DETL and DETH after reset
)

// band is the adaptive predictor and quantizer scale of one band. Index 0 is the present value, 1 the one before.
type band struct {
	s, sp, sz int32    // the prediction, its pole part and its zero part
	r, p      [3]int32 // reconstructed signal; its zero part
	a         [3]int32 // pole coefficients; a[0] is not used
	d, b      [7]int32 // quantized differences; zero coefficients, b[0] is not used
	nb, det   int32    // scale factor, logarithmic and linear
}

// G722Encoder encodes one stream. New ones come from NewG722Encoder.
type G722Encoder struct {
	low, high band
	x         [qmfTaps]int32
}

// G722Decoder decodes one stream. New ones come from NewG722Decoder.
type G722Decoder struct {
	low, high band
	x         [qmfTaps]int32
}

// NewG722Encoder returns an encoder in the state of G.722 after a reset.
func NewG722Encoder() *G722Encoder {
	return &G722Encoder{low: band{det: lowScale}, high: band{det: highScale}}
}

// NewG722Decoder returns a decoder in the state of G.722 after a reset.
func NewG722Decoder() *G722Decoder {
	return &G722Decoder{low: band{det: lowScale}, high: band{det: highScale}}
}

// Encode implements Encoder: an octet for two samples, a last odd one is left out.
func (e *G722Encoder) Encode(dst []byte, samples []int16) []byte {
	for i := 0; i+1 < len(samples); i += 2 {
		copy(e.x[:qmfTaps-2], e.x[2:])
		e.x[qmfTaps-2], e.x[qmfTaps-1] = int32(samples[i]), int32(samples[i+1])
		var odd, even int32
		for k, c := range qmf {
			odd += e.x[2*k] * c
			even += e.x[2*k+1] * qmf[len(qmf)-1-k]
		}
		low, high := (even+odd)>>analysisShift, (even-odd)>>analysisShift
		dst = append(dst, e.high.encodeHigh(high)<<6|e.low.encodeLow(low))
	}
	return dst
}

// Decode implements Decoder: two samples for an octet.
func (d *G722Decoder) Decode(dst []int16, payload []byte) ([]int16, error) {
	if len(payload) > MaxFrame/2 {
		return dst, ErrTooLong
	}
	for _, code := range payload {
		low, high := d.low.decodeLow(code&0x3f), d.high.decodeHigh(code>>6)
		copy(d.x[:qmfTaps-2], d.x[2:])
		d.x[qmfTaps-2], d.x[qmfTaps-1] = low+high, low-high
		var first, second int32
		for k, c := range qmf {
			second += d.x[2*k] * c
			first += d.x[2*k+1] * qmf[len(qmf)-1-k]
		}
		dst = append(dst, int16(saturate(first>>synthesisShift)), int16(saturate(second>>synthesisShift)))
	}
	return dst, nil
}

// encodeLow is SUBTRA, QUANTL, INVQAL, LOGSCL and SCALEL for one value of the low band.
func (b *band) encodeLow(x int32) byte {
	e := saturate(x - b.s)
	magnitude := e
	if e < 0 {
		magnitude = ^e
	}
	level := 1
	for level < len(q6) && magnitude >= q6[level]*b.det>>12 {
		level++
	}
	code := ilp[level]
	if e < 0 {
		code = iln[level]
	}
	b.adaptLow(code)
	return code
}

// decodeLow is INVQBL, RECONS and LIMIT, then what the encoder does with the code.
func (b *band) decodeLow(code byte) int32 {
	y := limit(b.s + b.det*qm6[code]>>15)
	b.adaptLow(code)
	return y
}

func (b *band) adaptLow(code byte) {
	truncated := code >> 2
	d := b.det * qm4[truncated] >> 15
	b.scale(wl[truncated], lowScaleMax, lowScaleShift)
	b.predict(d)
}

// encodeHigh is SUBTRA, QUANTH, INVQAH, LOGSCH and SCALEH for one value of the high band.
func (b *band) encodeHigh(x int32) byte {
	e := saturate(x - b.s)
	magnitude, code := e, byte(3)
	if e < 0 {
		magnitude, code = ^e, 1
	}
	if magnitude >= 564*b.det>>12 {
		code--
	}
	b.adaptHigh(code)
	return code
}

func (b *band) decodeHigh(code byte) int32 {
	y := limit(b.s + b.det*qm2[code]>>15)
	b.adaptHigh(code)
	return y
}

func (b *band) adaptHigh(code byte) {
	d := b.det * qm2[code] >> 15
	b.scale(wh[code], highScaleMax, highScaleShift)
	b.predict(d)
}

// scale is LOGSCL and SCALEL, or LOGSCH and SCALEH.
func (b *band) scale(w, highest, shift int32) {
	b.nb = min(max(b.nb*127>>7+w, 0), highest)
	fraction, exponent := ilb[b.nb>>6&31], shift-b.nb>>11
	if exponent < 0 {
		b.det = fraction << -exponent << 2
	} else {
		b.det = fraction >> exponent << 2
	}
}

// predict is block 4 of either band: it takes the quantized difference and leaves the next prediction in s.
func (b *band) predict(d int32) {
	// RECONS and PARREC
	b.d[0] = d
	b.r[0] = saturate(b.s + d)
	b.p[0] = saturate(b.sz + d)

	// UPPOL2: the second pole, by the signs of p
	same1, same2 := b.p[0] < 0 == (b.p[1] < 0), b.p[0] < 0 == (b.p[2] < 0)
	w := saturate(b.a[1] << 2)
	if same1 {
		w = min(-w, 32767)
	}
	step := int32(-128)
	if same2 {
		step = 128
	}
	a2 := min(max(w>>7+step+b.a[2]*32512>>15, -12288), 12288)

	// UPPOL1: the first pole, within what keeps the filter stable
	step = -192
	if same1 {
		step = 192
	}
	bound := saturate(15360 - a2)
	a1 := min(max(saturate(step+b.a[1]*32640>>15), -bound), bound)

	// UPZERO, and DELAYA of d
	step = 128
	if d == 0 {
		step = 0
	}
	for i := 6; i > 0; i-- {
		w = -step
		if b.d[i] < 0 == (d < 0) {
			w = step
		}
		b.b[i] = saturate(w + b.b[i]*32640>>15)
	}
	copy(b.d[1:], b.d[:6])
	b.r[2], b.r[1] = b.r[1], b.r[0]
	b.p[2], b.p[1] = b.p[1], b.p[0]
	b.a[1], b.a[2] = a1, a2

	// FILTEP, FILTEZ, PREDIC
	b.sp = saturate(a1*saturate(b.r[1]<<1)>>15 + a2*saturate(b.r[2]<<1)>>15)
	b.sz = 0
	for i := 6; i > 0; i-- {
		b.sz += b.b[i] * saturate(b.d[i]<<1) >> 15
	}
	b.sz = saturate(b.sz)
	b.s = saturate(b.sp + b.sz)
}

// limit is LIMIT of G.722: the reconstructed signal has 15 bits.
func limit(v int32) int32 { return min(max(v, -16384), 16383) }

// saturate limits to 16 bits.
func saturate(v int32) int32 { return min(max(v, -32768), 32767) }
