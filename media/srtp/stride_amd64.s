#include "textflag.h"

// Eight blocks go through the rounds together, so that each AESENC need not wait for the one before. Only the three lowest
// bits of the counter differ between them; they are zero in the first one.

DATA lanes<>+0x00(SB)/8, $0
DATA lanes<>+0x08(SB)/8, $0x0100000000000000
DATA lanes<>+0x10(SB)/8, $0
DATA lanes<>+0x18(SB)/8, $0x0200000000000000
DATA lanes<>+0x20(SB)/8, $0
DATA lanes<>+0x28(SB)/8, $0x0300000000000000
DATA lanes<>+0x30(SB)/8, $0
DATA lanes<>+0x38(SB)/8, $0x0400000000000000
DATA lanes<>+0x40(SB)/8, $0
DATA lanes<>+0x48(SB)/8, $0x0500000000000000
DATA lanes<>+0x50(SB)/8, $0
DATA lanes<>+0x58(SB)/8, $0x0600000000000000
DATA lanes<>+0x60(SB)/8, $0
DATA lanes<>+0x68(SB)/8, $0x0700000000000000
GLOBL lanes<>(SB), RODATA|NOPTR, $112

// func stride(schedule *[240]byte, rounds int, counter *[16]byte, out *[128]byte)
TEXT ·stride(SB), NOSPLIT, $0-32
	MOVQ  schedule+0(FP), AX
	MOVQ  rounds+8(FP), CX
	MOVQ  counter+16(FP), DX
	MOVQ  out+24(FP), DI
	MOVOU (DX), X0
	MOVOU (AX), X8
	PXOR  X8, X0
	MOVOU lanes<>+0x00(SB), X1
	MOVOU lanes<>+0x10(SB), X2
	MOVOU lanes<>+0x20(SB), X3
	MOVOU lanes<>+0x30(SB), X4
	MOVOU lanes<>+0x40(SB), X5
	MOVOU lanes<>+0x50(SB), X6
	MOVOU lanes<>+0x60(SB), X7
	PXOR  X0, X1
	PXOR  X0, X2
	PXOR  X0, X3
	PXOR  X0, X4
	PXOR  X0, X5
	PXOR  X0, X6
	PXOR  X0, X7
	DECQ  CX

round:
	ADDQ   $16, AX
	MOVOU  (AX), X8
	AESENC X8, X0
	AESENC X8, X1
	AESENC X8, X2
	AESENC X8, X3
	AESENC X8, X4
	AESENC X8, X5
	AESENC X8, X6
	AESENC X8, X7
	DECQ   CX
	JNZ    round

	MOVOU      16(AX), X8
	AESENCLAST X8, X0
	AESENCLAST X8, X1
	AESENCLAST X8, X2
	AESENCLAST X8, X3
	AESENCLAST X8, X4
	AESENCLAST X8, X5
	AESENCLAST X8, X6
	AESENCLAST X8, X7
	MOVOU      X0, 0x00(DI)
	MOVOU      X1, 0x10(DI)
	MOVOU      X2, 0x20(DI)
	MOVOU      X3, 0x30(DI)
	MOVOU      X4, 0x40(DI)
	MOVOU      X5, 0x50(DI)
	MOVOU      X6, 0x60(DI)
	MOVOU      X7, 0x70(DI)
	RET
