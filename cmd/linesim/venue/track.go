package venue

import (
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/pion/rtcp"
	"github.com/pion/rtp"
	"github.com/pion/webrtc/v4"
)

// Header extensions this venue sends (RFC 8843, RFC 8852, RFC 6464).
const (
	midURI         = "urn:ietf:params:rtp-hdrext:sdes:mid"
	ridURI         = "urn:ietf:params:rtp-hdrext:sdes:rtp-stream-id"
	repairedRIDURI = "urn:ietf:params:rtp-hdrext:sdes:repaired-rtp-stream-id"
	audioLevelURI  = "urn:ietf:params:rtp-hdrext:ssrc-audio-level"
	transportCCURI = "http://www.ietf.org/id/draft-holmer-rmcat-transport-wide-cc-extensions-01"
)

// historySize is how many packets a layer can retransmit: over a second of the highest layer.
const historySize = 512

var errNoCodec = errors.New("the server did not accept the codec")

// stream is one RTP stream that we send: a simulcast layer or the microphone. It implements webrtc.TrackLocal.
type stream struct {
	id, group, rid string
	kind           webrtc.RTPCodecType
	mime           string
	clock          uint32
	mid            func() string

	mu         sync.Mutex // guards everything below
	writer     webrtc.TrackLocalWriter
	ssrc, rtx  uint32
	payload    uint8
	rtxPayload uint8
	extensions map[string]uint8
	seq        uint16
	rtxSeq     uint16
	timestamp  uint32
	lastSent   time.Time
	packets    uint32
	octets     uint32
	history    [historySize]sent
	answered   uint64 // packets retransmitted
	asked      uint64 // packets asked for
	failures   uint64
}

// sent is a packet kept for retransmission; the payload's backing array is reused.
type sent struct {
	header  rtp.Header
	payload []byte
	used    bool
}

var _ webrtc.TrackLocal = (*stream)(nil)

func (s *stream) ID() string                { return s.id }
func (s *stream) RID() string               { return s.rid }
func (s *stream) StreamID() string          { return s.group }
func (s *stream) Kind() webrtc.RTPCodecType { return s.kind }

// Bind implements webrtc.TrackLocal: it is called when negotiation is complete.
func (s *stream) Bind(c webrtc.TrackLocalContext) (webrtc.RTPCodecParameters, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	codecs := c.CodecParameters()
	i := slices.IndexFunc(codecs, func(p webrtc.RTPCodecParameters) bool { return strings.EqualFold(p.MimeType, s.mime) })
	if i < 0 {
		return webrtc.RTPCodecParameters{}, fmt.Errorf("%s: %w", s.mime, errNoCodec)
	}
	chosen := codecs[i]
	s.writer, s.ssrc, s.rtx, s.payload = c.WriteStream(), uint32(c.SSRC()), uint32(c.SSRCRetransmission()), uint8(chosen.PayloadType)
	s.rtxPayload = 0
	apt := fmt.Sprintf("apt=%d", chosen.PayloadType)
	for _, p := range codecs {
		if strings.EqualFold(p.MimeType, webrtc.MimeTypeRTX) && p.SDPFmtpLine == apt {
			s.rtxPayload = uint8(p.PayloadType)
		}
	}
	s.extensions = make(map[string]uint8)
	for _, e := range c.HeaderExtensions() {
		s.extensions[e.URI] = uint8(e.ID)
	}
	return chosen, nil
}

// Unbind implements webrtc.TrackLocal.
func (s *stream) Unbind(webrtc.TrackLocalContext) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.writer = nil
	return nil
}

// write sends one packet; payload is copied. extra is added to the header's extensions.
func (s *stream) write(payload []byte, timestamp uint32, marker bool, extra func(*rtp.Header, map[string]uint8)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.writer == nil {
		return
	}
	header := rtp.Header{
		Version: 2, Marker: marker, PayloadType: s.payload, SequenceNumber: s.seq, Timestamp: timestamp, SSRC: s.ssrc,
	}
	s.identify(&header, ridURI)
	if extra != nil {
		extra(&header, s.extensions)
	}
	s.seq++
	slot := &s.history[header.SequenceNumber%historySize]
	slot.header, slot.payload, slot.used = header, append(slot.payload[:0], payload...), true
	s.timestamp, s.lastSent = timestamp, time.Now()
	s.packets++
	s.octets += uint32(len(payload))
	if _, err := s.writer.WriteRTP(&header, payload); err != nil {
		s.failures++
	}
}

// identify writes MID and RID (or the repaired one) into a header; the caller holds s.mu.
func (s *stream) identify(h *rtp.Header, rid string) {
	if id, ok := s.extensions[midURI]; ok && s.mid != nil {
		_ = h.SetExtension(id, []byte(s.mid())) // fails only beyond 16 bytes
	}
	if id, ok := s.extensions[rid]; ok && s.rid != "" {
		_ = h.SetExtension(id, []byte(s.rid))
	}
}

// resend answers a NACK (RFC 4585 §6.2.1) by RFC 4588 packets, or by the packets themselves without RTX.
func (s *stream) resend(nack *rtcp.TransportLayerNack) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.writer == nil || nack.MediaSSRC != s.ssrc {
		return
	}
	for _, pair := range nack.Nacks {
		for _, seq := range pair.PacketList() {
			s.asked++
			slot := &s.history[seq%historySize]
			if !slot.used || slot.header.SequenceNumber != seq {
				continue
			}
			s.answered++
			if err := s.repeat(slot); err != nil {
				s.failures++
			}
		}
	}
}

func (s *stream) repeat(slot *sent) error {
	if s.rtxPayload == 0 || s.rtx == 0 {
		header := slot.header
		_, err := s.writer.WriteRTP(&header, slot.payload)
		return err // only counted
	}
	header := rtp.Header{
		Version: 2, Marker: slot.header.Marker, PayloadType: s.rtxPayload, SequenceNumber: s.rtxSeq, Timestamp: slot.header.Timestamp, SSRC: s.rtx,
	}
	s.identify(&header, repairedRIDURI)
	s.rtxSeq++
	payload := make([]byte, 2+len(slot.payload))
	binary.BigEndian.PutUint16(payload, slot.header.SequenceNumber)
	copy(payload[2:], slot.payload)
	_, err := s.writer.WriteRTP(&header, payload)
	return err // only counted
}

// senderReport describes the stream so far (RFC 3550 §6.4.1), nil before the first packet.
func (s *stream) senderReport(now time.Time) *rtcp.SenderReport {
	const ntpEpoch = 2208988800 // 1900 to 1970 in seconds
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.packets == 0 {
		return nil
	}
	elapsed := now.Sub(s.lastSent).Seconds() * float64(s.clock)
	return &rtcp.SenderReport{
		SSRC:        s.ssrc,
		NTPTime:     uint64(now.Unix()+ntpEpoch)<<32 | uint64(now.Nanosecond())<<32/1e9,
		RTPTime:     s.timestamp + uint32(elapsed),
		PacketCount: s.packets, OctetCount: s.octets,
	}
}

// counters returns packets sent, asked again, and answered.
func (s *stream) counters() (packets uint32, asked, answered uint64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.packets, s.asked, s.answered
}
