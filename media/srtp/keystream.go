package srtp

import (
	"crypto/aes"
	"crypto/cipher"
	"encoding/binary"
)

// strideSize is how much of the keystream is made at a time: eight blocks, which a processor with AES instructions works
// on at once. crypto/cipher's CTR does so too, but makes an object of half a kilobyte for each packet; a block at a time
// costs six times as much. Other processors make the eight one after the other.
const strideSize = 8 * aes.BlockSize

// keystream makes the keystream of AES in counter mode. The last octet of counter holds a multiple of eight.
type keystream struct {
	block    cipher.Block
	schedule [15 * aes.BlockSize]byte // the round keys, where the processor is used directly
	rounds   int                      // 0: it is not
}

func newKeystream(key []byte) *keystream {
	k := &keystream{block: newBlock(key)}
	if hasAES {
		k.expand(key)
	}
	return k
}

// stride makes eight blocks.
func (k *keystream) stride(out *[strideSize]byte, counter *[aes.BlockSize]byte) {
	if k.rounds > 0 {
		stride(&k.schedule, k.rounds, counter, out)
		return
	}
	high, low := binary.BigEndian.Uint64(counter[:]), binary.BigEndian.Uint64(counter[8:])
	for i := range uint64(8) {
		binary.BigEndian.PutUint64(out[16*i:], high)
		binary.BigEndian.PutUint64(out[16*i+8:], low|i)
	}
	for at := 0; at < strideSize; at += aes.BlockSize {
		k.block.Encrypt(out[at:at+aes.BlockSize], out[at:at+aes.BlockSize])
	}
}

// expand makes the round keys (FIPS 197 §5.2).
func (k *keystream) expand(key []byte) {
	words := len(key) / 4
	k.rounds = words + 6
	w := k.schedule[:16*(k.rounds+1)]
	copy(w, key)
	power := byte(1)
	for i := words; 4*i < len(w); i++ {
		t := [4]byte(w[4*i-4:])
		switch {
		case i%words == 0:
			t = [4]byte{substitute(t[1]) ^ power, substitute(t[2]), substitute(t[3]), substitute(t[0])}
			power = double(power)
		case words > 6 && i%words == 4:
			t = [4]byte{substitute(t[0]), substitute(t[1]), substitute(t[2]), substitute(t[3])}
		}
		for j := range t {
			w[4*i+j] = w[4*(i-words)+j] ^ t[j]
		}
	}
}

// double multiplies by x in the field of FIPS 197 §4.2, without a branch on what may be secret.
func double(a byte) byte { return a<<1 ^ a>>7*0x1b }

func product(a, b byte) (p byte) {
	for range 8 {
		p ^= a * (b & 1)
		a, b = double(a), b>>1
	}
	return p
}

// substitute is SubBytes (FIPS 197 §5.1.1). A key needs it some fifty times, so it is computed: a table would be looked up
// at places that depend on the key.
func substitute(a byte) byte {
	inverse := byte(1) // a^254
	for square, bits := a, 254; bits > 0; square, bits = product(square, square), bits>>1 {
		if bits&1 != 0 {
			inverse = product(inverse, square)
		}
	}
	s := byte(0x63)
	for i := range 5 {
		s ^= inverse<<i | inverse>>(8-i)
	}
	return s
}
