package srtp

// window is a replay window (RFC 3711 §3.3.2): the highest index and which of the 64 up to it were used.
type window struct {
	highest uint64
	used    uint64 // bit i: highest - i
}

const windowSize = 64

// standing of an index.
type standing uint8

const (
	fresh standing = iota
	repeated
	tooOld
)

func (w *window) check(index uint64) standing {
	switch {
	case index > w.highest:
		return fresh
	case w.highest-index >= windowSize:
		return tooOld
	case w.used>>(w.highest-index)&1 != 0:
		return repeated
	default:
		return fresh
	}
}

// use marks an index that check found fresh.
func (w *window) use(index uint64) {
	if index <= w.highest {
		w.used |= 1 << (w.highest - index)
		return
	}
	w.used = w.used<<(index-w.highest) | 1 // shifted out altogether when it is far ahead
	w.highest = index
}

// estimate is the index of a sequence number near the highest one (RFC 3711 §3.3.1); ok is false below zero and above
// 2^48.
func estimate(highest uint64, seq uint16) (index uint64, ok bool) {
	roc, last := highest>>16, uint16(highest) //nolint:gosec // the lower bits
	switch {
	case last < 1<<15 && int(seq)-int(last) > 1<<15:
		if roc == 0 {
			return 0, false
		}
		roc--
	case last >= 1<<15 && int(last)-(1<<15) > int(seq):
		roc++
	}
	return roc<<16 | uint64(seq), roc < 1<<32
}
