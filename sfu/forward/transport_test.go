package forward

import (
	"bytes"
	"encoding/binary"
	"testing"
	"time"

	"github.com/pion/rtcp"
	"github.com/pion/rtp"
	"github.com/pion/sdp/v3"
	"github.com/pion/webrtc/v4"
)

// counter numbers packets and keeps reports.
type counter struct {
	next     uint16
	octets   int
	reports  int
	estimate int64
	lost     int
}

func (c *counter) Stamp(_ time.Time, octets int) uint16 {
	c.next++
	c.octets += octets
	return c.next
}
func (c *counter) Feedback(*rtcp.TransportLayerCC, time.Time) { c.reports++ }
func (c *counter) Estimate(bps int64, _ time.Time)            { c.estimate = bps }
func (c *counter) Report(_, lost int, _ time.Time)            { c.lost += lost }

// wire keeps the headers as they would be encrypted: as octets.
type wire struct {
	headers  [][]byte
	payloads [][]byte
}

func (w *wire) WriteRTP(h *rtp.Header, payload []byte) (int, error) {
	b, err := h.Marshal()
	w.headers, w.payloads = append(w.headers, b), append(w.payloads, bytes.Clone(payload))
	return len(payload), err
}

func (*wire) Write([]byte) (int, error) { return 0, nil }

// wide is a negotiation with transport-wide numbers.
type wide struct {
	negotiated
	wire *wire
	rtx  bool
}

func (w wide) WriteStream() webrtc.TrackLocalWriter { return w.wire }
func (w wide) HeaderExtensions() []webrtc.RTPHeaderExtensionParameter {
	return []webrtc.RTPHeaderExtensionParameter{{URI: sdp.TransportCCURI, ID: 5}}
}

func (w wide) CodecParameters() []webrtc.RTPCodecParameters {
	if w.rtx {
		return w.negotiated.CodecParameters()
	}
	return w.negotiated.CodecParameters()[:1]
}

func number(t *testing.T, header []byte) uint16 {
	t.Helper()
	var h rtp.Header
	if _, err := h.Unmarshal(header); err != nil {
		t.Fatal(err)
	}
	e := h.GetExtension(5)
	if len(e) != 2 {
		t.Fatalf("no transport-wide number in %x", header)
	}
	return binary.BigEndian.Uint16(e)
}

func TestPacketsAreNumberedAcrossTheConnection(t *testing.T) {
	for name, rtx := range map[string]bool{"with RTX": true, "without": false} {
		t.Run(name, func(t *testing.T) {
			b, c, w := newBench(), &counter{}, &wire{}
			camera := &encoder{ssrc: 20, rid: "l", height: 180}
			s := b.uplink.stream(20)
			now := time.Now()
			for _, p := range camera.frame(true, 0, 1) {
				b.uplink.receive(s, p, now)
			}
			slot := NewSlot("test", webrtc.RTPCodecTypeVideo, nil)
			if _, err := slot.Bind(wide{negotiated{video: true}, w, rtx}); err != nil {
				t.Fatal(err)
			}
			slot.SetTransport(c)
			slot.Follow(b.uplink.Track(Camera).Layer("l"))
			for _, p := range camera.frame(true, 0, 3) {
				b.uplink.receive(s, p, now)
			}
			if len(w.headers) != 3 || number(t, w.headers[0]) != 1 || number(t, w.headers[2]) != 3 {
				t.Fatalf("%x", w.headers)
			}
			var h rtp.Header
			if _, err := h.Unmarshal(w.headers[1]); err != nil {
				t.Fatal(err)
			}
			slot.resend([]rtcp.NackPair{{PacketID: h.SequenceNumber}}, now.Add(time.Second))
			if len(w.headers) != 4 {
				t.Fatal("nothing was sent again")
			}
			if rtx {
				if n := number(t, w.headers[3]); n != 4 {
					t.Errorf("the retransmission has number %d", n)
				}
			} else if !bytes.Equal(w.headers[3], w.headers[1]) || !bytes.Equal(w.payloads[3], w.payloads[1]) {
				// AES-GCM: the same nonce for another header would betray the key of the authentication.
				t.Errorf("without RTX the packet is not sent again as it was:\n%x\n%x", w.headers[1], w.headers[3])
			}
			if got := slot.Pad(); (got > paddingMost) != rtx {
				t.Errorf("padding of %d octets", got)
			}
			slot.SetTransport(nil)
			for _, p := range camera.frame(false, 0, 1) {
				b.uplink.receive(s, p, now)
			}
			if last := w.headers[len(w.headers)-1]; len(last) != 12 {
				t.Errorf("a site without a line gets %x", last)
			}
		})
	}
}

func TestReportsReachTheTransport(t *testing.T) {
	c := &counter{}
	r := SlotReceiver{Slots: func(uint32) *Slot { return nil }, Transport: c}
	report := &rtcp.TransportLayerCC{
		Header:             rtcp.Header{Count: rtcp.FormatTCC, Type: rtcp.TypeTransportSpecificFeedback, Length: 5, Padding: true},
		MediaSSRC:          1001, // a retransmission's: no slot has it
		PacketStatusCount:  1,
		PacketChunks:       []rtcp.PacketStatusChunk{&rtcp.RunLengthChunk{PacketStatusSymbol: rtcp.TypeTCCPacketReceivedSmallDelta, RunLength: 1}},
		RecvDeltas:         []*rtcp.RecvDelta{{Type: rtcp.TypeTCCPacketReceivedSmallDelta, Delta: 250}},
		BaseSequenceNumber: 7,
	}
	for _, p := range []rtcp.Packet{report, &rtcp.ReceiverEstimatedMaximumBitrate{Bitrate: 500_000, SSRCs: []uint32{1000}}} {
		b, err := p.Marshal()
		if err != nil {
			t.Fatal(err)
		}
		r.RTCP(1001)(b)
	}
	if c.reports != 1 || c.estimate != 500_000 {
		t.Errorf("%+v", c)
	}
}

// numbered is a negotiation with numbers, towards an edge that keeps nothing.
type numbered struct{ negotiated }

func (numbered) HeaderExtensions() []webrtc.RTPHeaderExtensionParameter {
	return []webrtc.RTPHeaderExtensionParameter{{URI: sdp.TransportCCURI, ID: 5}}
}
