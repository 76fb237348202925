package trace

import (
	"encoding/binary"
	"errors"
	"net/netip"
	"time"

	"github.com/klauspost/compress/zstd"

	"linehall/sip/stack"
)

// A call's messages in the database: a Zstandard frame (RFC 8878) over, for each message,
//
//	time      varint, Unix microseconds; from the second message on since the one before
//	way       byte, 1 received, 0 sent
//	transport, local, remote, text   each a length (uvarint) and as many bytes; addresses as netip.AddrPort writes them
const (
	wayOut = 0
	wayIn  = 1
)

const (
	// maxStored bounds what one row may unpack to.
	maxStored = maxMessages * 16 * 65536
	// packWindow is how far back the compressor looks: a call is some ten kilobytes.
	packWindow = 128 << 10
)

var errPacked = errors.New("stored messages are damaged")

// packer compresses one call after the other with one compressor.
type packer struct {
	raw []byte
	z   *zstd.Encoder
}

func newPacker() (*packer, error) {
	z, err := zstd.NewWriter(nil, zstd.WithEncoderLevel(zstd.SpeedFastest), zstd.WithEncoderConcurrency(1),
		zstd.WithWindowSize(packWindow), zstd.WithLowerEncoderMem(true))
	return &packer{z: z}, err
}

func (p *packer) pack(messages []Message) []byte {
	p.raw = p.raw[:0]
	var before int64
	for _, m := range messages {
		at := m.At.UnixMicro()
		p.raw = binary.AppendVarint(p.raw, at-before)
		before = at
		way := byte(wayOut)
		if m.In {
			way = wayIn
		}
		p.raw = append(p.raw, way)
		p.field([]byte(m.Flow.Transport))
		p.address(m.Flow.Local)
		p.address(m.Flow.Remote)
		p.field(m.Text)
	}
	return p.z.EncodeAll(p.raw, nil)
}

func (p *packer) field(b []byte) {
	p.raw = binary.AppendUvarint(p.raw, uint64(len(b)))
	p.raw = append(p.raw, b...)
}

func (p *packer) address(a netip.AddrPort) {
	var room [64]byte
	b, _ := a.AppendBinary(room[:0]) //nolint:errcheck // it has none to return
	p.field(b)
}

func unpack(packed []byte) ([]Message, error) {
	z, err := zstd.NewReader(nil, zstd.WithDecoderConcurrency(1), zstd.WithDecoderMaxMemory(maxStored))
	if err != nil {
		return nil, err
	}
	defer z.Close()
	raw, err := z.DecodeAll(packed, nil)
	if err != nil {
		return nil, err
	}
	u := unpacker{rest: raw}
	var messages []Message
	var at int64
	for len(u.rest) > 0 {
		at += u.varint()
		m := Message{At: time.UnixMicro(at), In: u.next(1) == string(rune(wayIn))}
		m.Flow = stack.Flow{Transport: u.field(), Local: u.address(), Remote: u.address()}
		m.Text = []byte(u.field())
		if u.damaged {
			return nil, errPacked
		}
		messages = append(messages, m)
	}
	return messages, nil
}

// unpacker reads what packer wrote; once damaged, everything it returns is empty.
type unpacker struct {
	rest    []byte
	damaged bool
}

func (u *unpacker) varint() int64 {
	v, n := binary.Varint(u.rest)
	u.skip(n)
	return v
}

// skip passes over the n bytes of a number; n < 1 says that there was none.
func (u *unpacker) skip(n int) {
	if n < 1 {
		u.damaged, u.rest = true, nil
		return
	}
	u.rest = u.rest[n:]
}

func (u *unpacker) next(n uint64) string {
	if n > uint64(len(u.rest)) {
		u.damaged, u.rest = true, nil
		return ""
	}
	b := string(u.rest[:n])
	u.rest = u.rest[n:]
	return b
}

func (u *unpacker) field() string {
	n, size := binary.Uvarint(u.rest)
	u.skip(size)
	return u.next(n)
}

func (u *unpacker) address() (a netip.AddrPort) {
	if err := a.UnmarshalBinary([]byte(u.field())); err != nil {
		u.damaged = true
	}
	return a
}
