package rtcp

import (
	"encoding/binary"
	"sync/atomic"
	"time"
)

// Packet types of RFC 3550 §12.1.
const (
	typeSR = 200
	typeRR = 201
)

const (
	headerSize = 8 // with the SSRC of the sender
	senderSize = 20
	blockSize  = 24
)

// Block is a reception report block (RFC 3550 §6.4.1).
type Block struct {
	SSRC         uint32 // of the source that is reported on
	FractionLost uint8  // of 256, since the last report
	Jitter       uint32 // ticks
	LSR          uint32 // middle 32 bits of the NTP time in the last SR, 0: none
	DLSR         uint32 // since then, 1/65536 s
}

// Reader is what is done with the parts of a compound packet; each may be nil.
type Reader struct {
	Sender func(ntp uint32) // of a sender report: the middle 32 bits of its NTP time
	Block  func(Block)      // of a sender or receiver report
	VoIP   func(VoIPBlock)  // of an extended report
}

// Compound walks a compound packet. It returns false when the datagram is not RTCP throughout; what came before was
// reported. With SRTCP everything after the first eight bytes is encrypted and nothing may be read: don't call it.
func Compound(b []byte, r Reader) bool {
	if len(b) == 0 {
		return false
	}
	for len(b) > 0 {
		if len(b) < 4 || b[0]>>6 != 2 {
			return false
		}
		size := 4 * (int(binary.BigEndian.Uint16(b[2:])) + 1)
		if size > len(b) {
			return false
		}
		switch b[1] {
		case typeSR, typeRR:
			if !report(b[:size], r.Sender, r.Block) {
				return false
			}
		case typeXR:
			if !extended(b[:size], r.VoIP) {
				return false
			}
		}
		b = b[size:]
	}
	return true
}

// report reads one SR or RR.
func report(b []byte, sender func(ntp uint32), block func(Block)) bool {
	count, at := int(b[0]&0x1f), headerSize
	if b[1] == typeSR {
		if len(b) < headerSize+senderSize {
			return false
		}
		if sender != nil {
			sender(binary.BigEndian.Uint32(b[headerSize+2:]))
		}
		at += senderSize
	}
	if len(b) < at+count*blockSize {
		return false
	}
	for ; count > 0 && block != nil; count-- {
		block(Block{
			SSRC:         binary.BigEndian.Uint32(b[at:]),
			FractionLost: b[at+4],
			Jitter:       binary.BigEndian.Uint32(b[at+12:]),
			LSR:          binary.BigEndian.Uint32(b[at+16:]),
			DLSR:         binary.BigEndian.Uint32(b[at+20:]),
		})
		at += blockSize
	}
	return true
}

// RoundTrip measures the way from the relay to a phone and back: the time between passing on a sender report and the
// report block that answers it, less the time the phone held it (RFC 3550 figure 2, seen from the middle). Its zero
// value is ready; both methods may be called by any goroutine.
type RoundTrip struct {
	// Each word is one sender report: |middle 32 bits of its NTP time|when we sent it, 1/65536 s|, so that both change
	// at once. Four cover reports that cross each other.
	sent  [4]atomic.Uint64
	next  atomic.Uint32
	nanos atomic.Int64
}

// Sent notes that a sender report went to the phone at now (nanoseconds of a steady clock).
func (t *RoundTrip) Sent(now int64, ntp uint32) {
	i := t.next.Add(1) % uint32(len(t.sent))
	t.sent[i].Store(uint64(ntp)<<32 | uint64(short(now)))
}

// Answered takes a report block of the phone that arrived at now.
func (t *RoundTrip) Answered(now int64, b Block) {
	if b.LSR == 0 {
		return
	}
	for i := range t.sent {
		v := t.sent[i].Load()
		if v == 0 || uint32(v>>32) != b.LSR {
			continue
		}
		trip := short(now) - uint32(v) - b.DLSR //nolint:gosec // modular, as in the RFC
		if trip < 1<<31 {                       // a phone with a coarse clock may come out below zero
			t.nanos.Store(int64(trip) * int64(time.Second) >> 16)
		}
		return
	}
}

// Last returns the last round trip, 0 if none was measured.
func (t *RoundTrip) Last() time.Duration { return time.Duration(t.nanos.Load()) }

// short is a time in the format of LSR: 1/65536 s, modulo 65536 s.
func short(nanos int64) uint32 {
	const second = int64(time.Second)
	return uint32((nanos/second)<<16 | (nanos%second)<<16/second) //nolint:gosec // modular
}
