package srtp

import (
	"crypto/aes"
	"crypto/cipher"
)

// Labels of RFC 3711 §4.3.1; those of RTCP are three higher.
const (
	labelCipher = 0
	labelAuth   = 1
	labelSalt   = 2
	labelRTCP   = 3
)

// authKey is the length of the key of HMAC-SHA1 (RFC 3711 §5.2).
const authKey = 20

// derive returns n bytes of session key (RFC 3711 §4.3.3, without a derivation rate): the keystream of AES-CM under the
// master key from x = label || 0^48 XOR salt. The salt of AES-GCM is filled up with zeros on the right (RFC 7714 §11).
func (k Key) derive(label byte, n int) []byte {
	var iv [aes.BlockSize]byte
	copy(iv[:14], k.salt)
	iv[7] ^= label
	out := make([]byte, n)
	cipher.NewCTR(newBlock(k.master), iv[:]).XORKeyStream(out, out)
	return out
}

// newBlock is aes.NewCipher for keys whose length the suite has given.
func newBlock(key []byte) cipher.Block {
	b, err := aes.NewCipher(key)
	if err != nil {
		panic(err) // a suite with a wrong length
	}
	return b
}
