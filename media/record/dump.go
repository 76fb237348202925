package record

import (
	"bufio"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
)

// Dump writes the packets of one party as they came, in the form of rtpdump (RTP Tools), which packet analysers read: for
// codecs that cannot be decoded here. Leg 0 is the caller.
func (r *Recorder) Dump(ctx context.Context, w io.Writer, id string, leg int) error {
	i, err := r.Get(ctx, id)
	if err != nil {
		return err
	}
	f, err := openFile(r.find(&i), r.o.Secrets)
	if err != nil {
		return err
	}
	defer func() { _ = f.close() }() // only read
	out := bufio.NewWriter(w)
	_, _ = fmt.Fprintf(out, "#!rtpplay1.0 127.0.0.1/%d\n", 5004+2*leg) // bufio keeps the error
	var head [16]byte
	binary.BigEndian.PutUint32(head[0:], uint32(i.StartedAt.Unix()))
	binary.BigEndian.PutUint32(head[4:], uint32(i.StartedAt.Nanosecond()/1000))
	copy(head[8:], []byte{127, 0, 0, 1})
	binary.BigEndian.PutUint16(head[12:], uint16(5004+2*leg))
	_, _ = out.Write(head[:])
	for {
		kind, at, body, err := f.next()
		if err != nil {
			if errors.Is(err, io.EOF) {
				return out.Flush()
			}
			return errors.Join(err, out.Flush())
		}
		if int(kind) != leg {
			continue
		}
		var h [8]byte
		binary.BigEndian.PutUint16(h[0:], uint16(len(h)+len(body)))
		binary.BigEndian.PutUint16(h[2:], uint16(len(body)))
		binary.BigEndian.PutUint32(h[4:], uint32(at/1000))
		_, _ = out.Write(h[:])
		_, _ = out.Write(body)
	}
}
