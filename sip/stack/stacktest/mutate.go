package stacktest

import (
	"bytes"
	"math/rand/v2"
	"strconv"
)

// Mutator makes bad messages out of good ones: what a broken phone, a bad line or an attacker sends. The same seed makes
// the same messages. It is not safe for concurrent use.
type Mutator struct {
	rand  *rand.Rand
	seeds [][]byte
}

// NewMutator mutates the given messages.
func NewMutator(seed uint64, seeds ...[]byte) *Mutator {
	return &Mutator{rand: rand.New(rand.NewPCG(seed, seed)), seeds: seeds} //nolint:gosec // repeatable on purpose
}

// tokens is what hurts where it does not belong.
var tokens = []string{
	"\r\n", "\r", "\n", "\x00", "\"", "<", ">", ";", ",", ":", "@", "%00", "%", "[", "]", "[::", " ", "\t", "=", "*", "SIP/2.0", "z9hG4bK",
	"4294967296", "-1", "99999999999999999999", ";tag=", ";lr", "sip:", "tel:", "\r\n ", "\r\n\r\n", "Content-Length: 0\r\n", "Via: ", "\xff\xfe", "你好",
}

// Next returns a message with one to four faults, of bytes of its own. Most keep enough to be answered.
func (m *Mutator) Next() []byte {
	b := bytes.Clone(m.seeds[m.rand.IntN(len(m.seeds))])
	// Messages of their own: a copy of one would be absorbed as a retransmission.
	b = bytes.Replace(b, []byte("z9hG4bK"), []byte("z9hG4bK"+strconv.FormatUint(m.rand.Uint64(), 36)), 1)
	for range 1 + m.rand.IntN(4) {
		b = m.fault(b)
	}
	return b[:min(len(b), 60000)]
}

func (m *Mutator) fault(b []byte) []byte {
	if len(b) < 2 {
		return append(b, "INVITE"...)
	}
	at := m.rand.IntN(len(b))
	end := min(len(b), at+1+m.rand.IntN(32))
	switch m.rand.IntN(9) {
	case 0:
		b[at] ^= 1 << m.rand.IntN(8)
	case 1:
		b[at] = byte(m.rand.Uint32()) //nolint:gosec // any byte
	case 2: // something is missing
		return append(b[:at], b[end:]...)
	case 3: // something is there twice
		return append(b[:end:end], append(bytes.Clone(b[at:end]), b[end:]...)...)
	case 4:
		token := tokens[m.rand.IntN(len(tokens))]
		return append(b[:at:at], append([]byte(token), b[at:]...)...)
	case 5: // lines change places
		lines := bytes.SplitAfter(b, []byte("\r\n"))
		i, j := m.rand.IntN(len(lines)), m.rand.IntN(len(lines))
		lines[i], lines[j] = lines[j], lines[i]
		return bytes.Join(lines, nil)
	case 6: // a line is of another message
		other := bytes.SplitAfter(m.seeds[m.rand.IntN(len(m.seeds))], []byte("\r\n"))
		lines := bytes.SplitAfter(b, []byte("\r\n"))
		lines[m.rand.IntN(len(lines))] = bytes.Clone(other[m.rand.IntN(len(other))])
		return bytes.Join(lines, nil)
	case 7: // it ends in the middle
		return b[:at]
	case 8: // something is very long
		return append(b[:at:at], append(bytes.Repeat([]byte{b[at]}, m.rand.IntN(3000)), b[at:]...)...)
	}
	return b
}
