package rtcp_test

import (
	"reflect"
	"testing"
	"time"

	pion "github.com/pion/rtcp"

	"linehall/media/rtcp"
)

// What we write is read by others as it was meant, and by ourselves.
func TestCompoundsAreRead(t *testing.T) {
	t.Parallel()
	at := time.Date(2026, 11, 28, 12, 0, 0, 500_000_000, time.UTC)
	sent := &rtcp.Sent{At: at, Timestamp: 160_000, Packets: 1000, Octets: 160_000}
	received := &rtcp.Received{SSRC: 9, FractionLost: 26, Lost: -3, Highest: 3<<16 | 7, Jitter: 80, LSR: 0x11223344, DLSR: 65536}
	block := pion.ReceptionReport{SSRC: 9, FractionLost: 26, TotalLost: 0xfffffd, LastSequenceNumber: 3<<16 | 7, Jitter: 80, LastSenderReport: 0x11223344, Delay: 65536}
	name := &pion.SourceDescription{Chunks: []pion.SourceDescriptionChunk{{Source: 7, Items: []pion.SourceDescriptionItem{{Type: pion.SDESCNAME, Text: "linehall"}}}}}
	for _, row := range []struct {
		name string
		got  []byte
		want []pion.Packet
	}{
		{"speaks and hears", rtcp.AppendCompound([]byte{}, 7, sent, received, "linehall", false), []pion.Packet{
			&pion.SenderReport{SSRC: 7, NTPTime: 0xeeb540c080000000, RTPTime: 160_000, PacketCount: 1000, OctetCount: 160_000, Reports: []pion.ReceptionReport{block}}, name,
		}},
		{"hears", rtcp.AppendCompound(nil, 7, nil, received, "linehall", false), []pion.Packet{&pion.ReceiverReport{SSRC: 7, Reports: []pion.ReceptionReport{block}}, name}},
		{"neither, and leaves", rtcp.AppendCompound(nil, 7, nil, nil, "linehall", true), []pion.Packet{&pion.ReceiverReport{SSRC: 7}, name, &pion.Goodbye{Sources: []uint32{7}}}},
	} {
		got, err := pion.Unmarshal(row.got)
		if err != nil {
			t.Errorf("%s: %v in % x", row.name, err, row.got)
			continue
		}
		for i, p := range got {
			switch p := p.(type) { // pion keeps empty slices
			case *pion.ReceiverReport:
				p.ProfileExtensions = nil
				if len(p.Reports) == 0 {
					p.Reports = nil
				}
			case *pion.SenderReport:
				p.ProfileExtensions = nil
			}
			if i < len(row.want) && !reflect.DeepEqual(p, row.want[i]) {
				t.Errorf("%s: %+v, want %+v", row.name, p, row.want[i])
			}
		}
		if len(got) != len(row.want) {
			t.Errorf("%s: %d packets, want %d", row.name, len(got), len(row.want))
		}
		blocks := 0
		if !rtcp.Compound(row.got, rtcp.Reader{Block: func(b rtcp.Block) { blocks++ }}) || blocks > 1 {
			t.Errorf("%s: we do not read it ourselves", row.name)
		}
	}
}
