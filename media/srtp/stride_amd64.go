package srtp

import (
	"crypto/aes"

	"golang.org/x/sys/cpu"
)

var hasAES = cpu.X86.HasAES

// stride encrypts counter, counter+1 ... counter+7 under the round keys. It needs the processor's AES instructions.
//
//go:noescape
func stride(schedule *[15 * aes.BlockSize]byte, rounds int, counter *[aes.BlockSize]byte, out *[strideSize]byte)
