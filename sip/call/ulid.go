package call

import (
	"crypto/rand"
	"time"
)

// crockford is the alphabet of ULIDs: sorts like the number, no I, L, O, U.
const crockford = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"

// newID returns a ULID: 48 bits of milliseconds, 80 random bits, 26 characters. Ids sort by
// the time their calls began; the first ten of the random bits are the microseconds, so that
// calls of one millisecond do too.
func newID(now time.Time) string {
	var raw [16]byte
	_, _ = rand.Read(raw[6:]) // never fails (crypto/rand)
	ms := uint64(now.UnixMilli())
	for i := range 6 {
		raw[i] = byte(ms >> (40 - 8*i))
	}
	micro := now.Nanosecond() / 1000 % 1000
	raw[6] = byte(micro >> 2)
	raw[7] = byte(micro<<6) | raw[7]&0x3f
	out := make([]byte, 26)
	for i := range out { // 130 bits, the first two are zero
		var v byte
		for b := range 5 {
			bit := i*5 + b - 2
			v <<= 1
			if bit >= 0 {
				v |= raw[bit/8] >> (7 - bit%8) & 1
			}
		}
		out[i] = crockford[v]
	}
	return string(out)
}
