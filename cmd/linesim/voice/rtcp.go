package voice

import (
	"time"

	"github.com/pion/rtcp"
)

// ntpEpoch is the distance of the NTP era (1900) from Unix time in seconds (RFC 5905).
const ntpEpoch = 2208988800

// sendReport sends a sender report with one report block about what we hear, and the CNAME every compound must
// carry (RFC 3550 §6.1).
func (s *Stream) sendReport() {
	now := time.Now()
	sr := &rtcp.SenderReport{
		SSRC:        s.ssrc,
		NTPTime:     uint64(now.Unix()+ntpEpoch)<<32 | uint64(now.Nanosecond())<<32/1e9,
		RTPTime:     s.timestamp,
		PacketCount: uint32(s.sent),
		OctetCount:  uint32(s.sent * 160),
	}
	if s.in.known {
		sr.Reports = []rtcp.ReceptionReport{{
			SSRC:               s.in.ssrc,
			TotalLost:          uint32(min(s.in.lost(), 0x7fffff)),
			LastSequenceNumber: uint32(s.in.highest),
			Jitter:             uint32(s.in.jitter),
		}}
	}
	cname := &rtcp.SourceDescription{Chunks: []rtcp.SourceDescriptionChunk{{
		Source: s.ssrc, Items: []rtcp.SourceDescriptionItem{{Type: rtcp.SDESCNAME, Text: "linesim"}},
	}}}
	packets := []rtcp.Packet{sr, cname}
	if s.in.known {
		packets = append(packets, &rtcp.ExtendedReport{SenderSSRC: s.ssrc, Reports: []rtcp.ReportBlock{s.in.metrics()}})
	}
	data, err := rtcp.Marshal(packets)
	if err != nil {
		return // the packets are built above from fields in range
	}
	s.rtcp.send(s.protected.outReport(data))
}

// metrics is what a phone says of what it hears (RFC 3611 §4.7). Losses are not told apart into bursts: all are gap.
func (r *receiver) metrics() *rtcp.VoIPMetricsReportBlock {
	const unavailable = 127
	stats := r.stats(0)
	share := uint8(min(255, 256*stats.Lost/max(1, stats.Lost+stats.Received)))
	return &rtcp.VoIPMetricsReportBlock{
		SSRC: r.ssrc, LossRate: share, GapDensity: share, EndSystemDelay: uint16(FrameTime / time.Millisecond),
		SignalLevel: unavailable, NoiseLevel: unavailable, RERL: unavailable, Gmin: 16, RFactor: unavailable, ExtRFactor: unavailable,
		MOSLQ: uint8(10*stats.MOS + 0.5), MOSCQ: unavailable,
	}
}

// report takes in what the other end says about us.
func (r *receiver) report(a arrival) {
	packets, err := rtcp.Unmarshal(a.data)
	if err != nil {
		return // foreign bytes
	}
	for _, p := range packets {
		var blocks []rtcp.ReceptionReport
		switch p := p.(type) {
		case *rtcp.SenderReport:
			blocks = p.Reports
		case *rtcp.ReceiverReport:
			blocks = p.Reports
		default:
			continue
		}
		r.reports++
		for _, b := range blocks {
			r.reportLost = max(r.reportLost, b.FractionLost)
		}
	}
}
