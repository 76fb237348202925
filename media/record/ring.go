package record

import (
	"encoding/binary"
	"sync/atomic"
)

// ringSize is how much waits for the disk: seven seconds of a call with two G.711 parties. A power of two.
const ringSize = 128 << 10

// ring hands packets from the relay's worker to the goroutine that writes. One of each, no lock.
//
//	size 2 | leg 1 | time 8 | packet
type ring struct {
	head, tail atomic.Uint64 // bytes written and read since the beginning
	lost       atomic.Uint64 // packets that found it full
	bytes      [ringSize]byte
}

const entryHead = 2 + 1 + 8

// push copies a packet in, in two pieces.
func (r *ring) push(leg int, at int64, header, payload []byte) bool {
	size := entryHead + len(header) + len(payload)
	head := r.head.Load()
	if head+uint64(size)-r.tail.Load() > ringSize {
		r.lost.Add(1)
		return false
	}
	var h [entryHead]byte
	binary.LittleEndian.PutUint16(h[0:], uint16(len(header)+len(payload)))
	h[2] = byte(leg)
	binary.LittleEndian.PutUint64(h[3:], uint64(at))
	r.put(head, h[:])
	r.put(head+entryHead, header)
	r.put(head+entryHead+uint64(len(header)), payload)
	r.head.Store(head + uint64(size))
	return true
}

func (r *ring) put(at uint64, b []byte) {
	n := copy(r.bytes[at%ringSize:], b)
	copy(r.bytes[:], b[n:])
}

func (r *ring) get(at uint64, b []byte) {
	n := copy(b, r.bytes[at%ringSize:])
	copy(b[n:], r.bytes[:])
}

// pop returns the oldest packet, in b if it has room.
func (r *ring) pop(b []byte) (leg int, at int64, packet []byte, ok bool) {
	tail := r.tail.Load()
	if tail == r.head.Load() {
		return 0, 0, b[:0], false
	}
	var h [entryHead]byte
	r.get(tail, h[:])
	size := int(binary.LittleEndian.Uint16(h[0:]))
	if cap(b) < size {
		b = make([]byte, size)
	}
	b = b[:size]
	r.get(tail+entryHead, b)
	r.tail.Store(tail + entryHead + uint64(size))
	return int(h[2]), int64(binary.LittleEndian.Uint64(h[3:])), b, true
}
