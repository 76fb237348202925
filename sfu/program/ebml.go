package program

import (
	"encoding/binary"
	"math"
)

// Element ids of EBML (RFC 8794) and Matroska (RFC 9559 §5).
const (
	idEBML         = 0x1A45DFA3
	idSegment      = 0x18538067
	idSeekHead     = 0x114D9B74
	idSeek         = 0x4DBB
	idSeekID       = 0x53AB
	idSeekPosition = 0x53AC
	idVoid         = 0xEC
	idInfo         = 0x1549A966
	idTimeScale    = 0x2AD7B1
	idDuration     = 0x4489
	idDate         = 0x4461
	idTitle        = 0x7BA9
	idMuxer        = 0x4D80
	idWriter       = 0x5741
	idTracks       = 0x1654AE6B
	idTrack        = 0xAE
	idTrackNumber  = 0xD7
	idTrackUID     = 0x73C5
	idTrackType    = 0x83
	idTrackLacing  = 0x9C
	idTrackName    = 0x536E
	idTrackLang    = 0x22B59C
	idCodec        = 0x86
	idCodecPrivate = 0x63A2
	idCodecDelay   = 0x56AA
	idSeekPreRoll  = 0x56BB
	idVideo        = 0xE0
	idWidth        = 0xB0
	idHeight       = 0xBA
	idAudio        = 0xE1
	idRate         = 0xB5
	idChannels     = 0x9F
	idBitDepth     = 0x6264
	idCluster      = 0x1F43B675
	idTimestamp    = 0xE7
	idSimpleBlock  = 0xA3
	idCues         = 0x1C53BB6B
	idCuePoint     = 0xBB
	idCueTime      = 0xB3
	idCuePositions = 0xB7
	idCueTrack     = 0xF7
	idCueCluster   = 0xF1
)

func appendID(b []byte, id uint32) []byte {
	switch {
	case id > 0xFFFFFF:
		return binary.BigEndian.AppendUint32(b, id)
	case id > 0xFFFF:
		return append(b, byte(id>>16), byte(id>>8), byte(id))
	case id > 0xFF:
		return append(b, byte(id>>8), byte(id))
	}
	return append(b, byte(id))
}

// appendSize writes a size in the fewest octets (RFC 8794 §4); all ones are reserved.
func appendSize(b []byte, size uint64) []byte {
	for n := 1; n < 8; n++ {
		if size < 1<<(7*n)-1 {
			for i := n - 1; i >= 0; i-- {
				octet := byte(size >> (8 * i))
				if i == n-1 {
					octet |= 1 << (8 - n)
				}
				b = append(b, octet)
			}
			return b
		}
	}
	return appendSize8(b, size)
}

func appendSize8(b []byte, size uint64) []byte {
	return binary.BigEndian.AppendUint64(b, size|1<<56)
}

// unknownSize is that of an element that ends where its parent's next one begins (RFC 8794 §6.2).
const unknownSize = 1<<56 - 1

func appendElement(b []byte, id uint32, body []byte) []byte {
	return append(appendSize(appendID(b, id), uint64(len(body))), body...)
}

func appendUint(b []byte, id uint32, v uint64) []byte {
	var body [8]byte
	binary.BigEndian.PutUint64(body[:], v)
	i := 0
	for i < 7 && body[i] == 0 {
		i++
	}
	return appendElement(b, id, body[i:])
}

func appendFloat(b []byte, id uint32, v float64) []byte {
	return appendElement(b, id, binary.BigEndian.AppendUint64(nil, math.Float64bits(v)))
}

func appendText(b []byte, id uint32, v string) []byte { return appendElement(b, id, []byte(v)) }

// appendVoid fills exactly so many octets, 2 to 128 of them.
func appendVoid(b []byte, octets int) []byte {
	return append(append(b, idVoid, byte(octets-2)|0x80), make([]byte, octets-2)...)
}

// element reads the head of an element; ok is false when there is not enough of it.
func element(b []byte) (id uint32, size uint64, head int, ok bool) {
	if len(b) == 0 || b[0] == 0 {
		return 0, 0, 0, false
	}
	n := 1
	for mask := byte(0x80); n <= 4 && b[0]&mask == 0; mask >>= 1 {
		n++
	}
	if n > 4 || len(b) < n+1 {
		return 0, 0, 0, false
	}
	for _, o := range b[:n] {
		id = id<<8 | uint32(o)
	}
	m := 1
	for mask := byte(0x80); m <= 8 && b[n]&mask == 0; mask >>= 1 {
		m++
	}
	if m > 8 || len(b) < n+m {
		return 0, 0, 0, false
	}
	size = uint64(b[n]) &^ (0x80 >> (m - 1))
	for _, o := range b[n+1 : n+m] {
		size = size<<8 | uint64(o)
	}
	if size == 1<<(7*m)-1 {
		size = unknownSize
	}
	return id, size, n + m, true
}

// children walks the elements of a body; false: they do not fill it.
func children(b []byte, each func(id uint32, body []byte)) bool {
	for len(b) > 0 {
		id, size, head, ok := element(b)
		if !ok || size > uint64(len(b)-head) {
			return false
		}
		each(id, b[head:head+int(size)])
		b = b[head+int(size):]
	}
	return true
}

func number(b []byte) (v uint64) {
	for _, o := range b {
		v = v<<8 | uint64(o)
	}
	return v
}
