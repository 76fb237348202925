package forward

// bitReader reads bits, most significant first. Behind the end it reads zeros and is bad.
type bitReader struct {
	b       []byte
	at      int  // bits read
	escaped bool // H.264: 3 behind two zeros is not part of it (§7.4.1)
	zeros   int
	bad     bool
}

func (r *bitReader) bits(n int) uint32 {
	var v uint32
	for range n {
		v = v<<1 | r.bit()
	}
	return v
}

func (r *bitReader) bit() uint32 {
	if r.at%8 == 0 && r.escaped && len(r.b) > 0 {
		if r.zeros >= 2 && r.b[0] == 3 {
			r.b, r.zeros = r.b[1:], 0
		}
		if len(r.b) > 0 && r.b[0] == 0 {
			r.zeros++
		} else {
			r.zeros = 0
		}
	}
	if len(r.b) == 0 {
		r.bad = true
		return 0
	}
	v := uint32(r.b[0]>>(7-r.at%8)) & 1
	if r.at++; r.at%8 == 0 {
		r.b = r.b[1:]
	}
	return v
}

// exp reads an unsigned Exp-Golomb code (ITU-T H.264 §9.1).
func (r *bitReader) exp() uint32 {
	zeros := 0
	for r.bit() == 0 {
		if zeros++; zeros > 31 || r.bad {
			r.bad = true
			return 0
		}
	}
	return 1<<zeros - 1 + r.bits(zeros)
}
