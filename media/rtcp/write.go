package rtcp

import (
	"encoding/binary"
	"time"
)

// Packet types that we write only.
const (
	typeSDES = 202
	typeBYE  = 203
)

// itemCNAME is the item that each compound must have (RFC 3550 §6.5.1).
const itemCNAME = 1

// Sent is what a source has sent, for a sender report (RFC 3550 §6.4.1).
type Sent struct {
	At        time.Time // of the report
	Timestamp uint32    // of RTP at the same moment
	Packets   uint32
	Octets    uint32 // of payload
}

// Received is a reception report block (RFC 3550 §6.4.1), as it is written.
type Received struct {
	SSRC         uint32
	FractionLost uint8
	Lost         int32 // since the beginning; 24 bits of it go out
	Highest      uint32
	Jitter       uint32 // ticks
	LSR, DLSR    uint32
}

// AppendCompound appends a report of ssrc: a sender report if it has sent (RFC 3550 §6.4), else a receiver report, with what was
// received, if anything was, and the CNAME. With bye it says that the source leaves (§6.6). cname has at most 255 octets.
func AppendCompound(b []byte, ssrc uint32, sent *Sent, received *Received, cname string, bye bool) []byte {
	at, count, kind := len(b), byte(0), byte(typeRR)
	if received != nil {
		count = 1
	}
	if sent != nil {
		kind = typeSR
	}
	b = append(b, 2<<6|count, kind, 0, 0)
	b = binary.BigEndian.AppendUint32(b, ssrc)
	if sent != nil {
		b = binary.BigEndian.AppendUint64(b, NTP(sent.At))
		b = binary.BigEndian.AppendUint32(b, sent.Timestamp)
		b = binary.BigEndian.AppendUint32(b, sent.Packets)
		b = binary.BigEndian.AppendUint32(b, sent.Octets)
	}
	if r := received; r != nil {
		lost := min(max(r.Lost, -1<<23), 1<<23-1)
		b = binary.BigEndian.AppendUint32(b, r.SSRC)
		b = binary.BigEndian.AppendUint32(b, uint32(r.FractionLost)<<24|uint32(lost)&0xffffff) //nolint:gosec // two's complement
		b = binary.BigEndian.AppendUint32(b, r.Highest)
		b = binary.BigEndian.AppendUint32(b, r.Jitter)
		b = binary.BigEndian.AppendUint32(b, r.LSR)
		b = binary.BigEndian.AppendUint32(b, r.DLSR)
	}
	b = measure(b, at)
	at = len(b)
	b = append(b, 2<<6|1, typeSDES, 0, 0)
	b = binary.BigEndian.AppendUint32(b, ssrc)
	cname = cname[:min(len(cname), 255)]
	b = append(append(b, itemCNAME, byte(len(cname))), cname...)
	for b = append(b, 0); (len(b)-at)%4 != 0; { // the list ends with one zero at least
		b = append(b, 0)
	}
	b = measure(b, at)
	if bye {
		at = len(b)
		b = binary.BigEndian.AppendUint32(append(b, 2<<6|1, typeBYE, 0, 0), ssrc)
		b = measure(b, at)
	}
	return b
}

// measure writes the length of the packet that begins at at.
func measure(b []byte, at int) []byte {
	binary.BigEndian.PutUint16(b[at+2:], uint16((len(b)-at)/4-1)) //nolint:gosec // bounded by cname
	return b
}

// ntpEpoch is 1 January 1900 in seconds before that of Unix.
const ntpEpoch = 2_208_988_800

// NTP is a moment in the format of sender reports: seconds since 1900, and 2^-32 of a second.
func NTP(t time.Time) uint64 {
	return uint64(t.Unix()+ntpEpoch)<<32 | uint64(t.Nanosecond())<<32/uint64(time.Second) //nolint:gosec // positive
}
