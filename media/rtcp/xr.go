package rtcp

import (
	"encoding/binary"
	"sync/atomic"
	"time"
)

// Extended reports (RFC 3611).
const (
	typeXR    = 207
	blockVoIP = 7 // §4.7
	wordSize  = 4 // a block's header, and the unit of its length
	voipSize  = 32
)

// VoIPMetrics is what a party says of the stream that it hears, by a VoIP metrics block of its extended report (RFC 3611
// §4.7). The zero value says nothing.
type VoIPMetrics struct {
	SSRC uint32 // of the source that is reported on

	// Shares, 0..1: lost on the way, discarded by the playout buffer, and what is missing inside bursts and between them.
	Loss, Discard, BurstDensity, GapDensity float64
	Burst, Gap                              time.Duration // their mean lengths
	RoundTrip, EndSystem                    time.Duration

	R                           int // 0..100, 0 also when it is not given, as below
	MOSListening, MOSConversing float64
}

// Given reports whether the party said anything.
func (m VoIPMetrics) Given() bool { return m != VoIPMetrics{} }

// VoIPBlock is a VoIP metrics block as it was sent, without its header:
//
//	source 4 | loss 1 | discard 1 | burst density 1 | gap density 1 | burst 2 | gap 2 | round trip 2 | end system 2 |
//	signal 1 | noise 1 | RERL 1 | Gmin 1 | R 1 | external R 1 | MOS-LQ 1 | MOS-CQ 1 | RX config 1 | - 1 | buffer 6
type VoIPBlock [voipSize]byte

// Metrics reads a block.
func (b VoIPBlock) Metrics() VoIPMetrics {
	share := func(at int) float64 { return float64(b[at]) / 256 }
	ms := func(at int) time.Duration { return time.Duration(binary.BigEndian.Uint16(b[at:])) * time.Millisecond }
	score := func(at int) float64 { // 1.0 to 5.0 in tenths; 127 is unavailable
		if v := b[at]; v >= 10 && v <= 50 {
			return float64(v) / 10
		}
		return 0
	}
	m := VoIPMetrics{
		SSRC: binary.BigEndian.Uint32(b[:]), Loss: share(4), Discard: share(5), BurstDensity: share(6), GapDensity: share(7),
		Burst: ms(8), Gap: ms(10), RoundTrip: ms(12), EndSystem: ms(14), MOSListening: score(22), MOSConversing: score(23),
	}
	if b[20] <= 100 {
		m.R = int(b[20])
	}
	return m
}

// extended walks the blocks of an extended report.
func extended(b []byte, voip func(VoIPBlock)) bool {
	if len(b) < headerSize {
		return false
	}
	for b = b[headerSize:]; len(b) > 0; {
		size := wordSize * (int(binary.BigEndian.Uint16(b[2:])) + 1) // b is a multiple of words
		if size > len(b) {
			return false
		}
		if b[0] == blockVoIP && size == wordSize+voipSize && voip != nil { // §4.7: ignored with any other length
			voip(VoIPBlock(b[wordSize:size]))
		}
		b = b[size:]
	}
	return true
}

// VoIP keeps the last block of a party. Its zero value is ready. Put has one caller at a time, Last any number: the words
// come with a number that is odd while they change.
type VoIP struct {
	version atomic.Uint32
	words   [voipSize / 8]atomic.Uint64
}

// Put keeps a block in place of the one before.
func (v *VoIP) Put(b VoIPBlock) {
	v.version.Add(1)
	for i := range v.words {
		v.words[i].Store(binary.BigEndian.Uint64(b[8*i:]))
	}
	v.version.Add(1)
}

// Last returns what the last block says, nothing when there was none.
func (v *VoIP) Last() VoIPMetrics {
	var b VoIPBlock
	for {
		begun := v.version.Load()
		if begun == 0 {
			return VoIPMetrics{}
		}
		for i := range v.words {
			binary.BigEndian.PutUint64(b[8*i:], v.words[i].Load())
		}
		if begun%2 == 0 && v.version.Load() == begun {
			return b.Metrics()
		}
	}
}
