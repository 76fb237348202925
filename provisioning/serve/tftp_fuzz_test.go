package serve

import (
	"testing"
	"time"
)

func FuzzParseRRQ(f *testing.F) {
	f.Add([]byte("\x00\x01001565000001.cfg\x00octet\x00blksize\x001428\x00tsize\x000\x00"))
	f.Add([]byte("\x00\x02x\x00mail\x00"))
	f.Fuzz(func(t *testing.T, datagram []byte) {
		r, err := parseRRQ(datagram)
		if err != nil {
			return
		}
		if r.block < blockMin || r.block > blockMax || r.timeout < time.Second || r.timeout > tftpMaxSecond*time.Second || len(r.options) > 4 {
			t.Errorf("%q became %+v", datagram, r)
		}
	})
}
