//go:build !amd64

package srtp

import "crypto/aes"

const hasAES = false

func stride(*[15 * aes.BlockSize]byte, int, *[aes.BlockSize]byte, *[strideSize]byte) {
	panic("no AES instructions of this processor are known") // never called: hasAES
}
