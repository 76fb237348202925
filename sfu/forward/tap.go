package forward

import (
	"time"

	"github.com/pion/interceptor"
	"github.com/pion/rtp"
	"github.com/pion/webrtc/v4"
)

// Sink takes the packets of a slot that is no m-line: of a recorder.
type Sink interface {
	// Take is called on the goroutine of the publisher and must not wait. The payload is borrowed until it returns.
	Take(p *Taken)
}

// Taken is a packet as a slot forwards it: numbers and times run on over every switch.
type Taken struct {
	MIME      string
	Clock     uint32 // of the timestamp
	Sequence  uint16
	Timestamp uint32
	Marker    bool
	Payload   []byte
	// Captured is when the publisher captured it, on our clock, by its sender reports (RFC 3550 §6.4.1). Before the first
	// report, and then Exact is false, it is the time of arrival.
	Captured time.Time
	Exact    bool
	Track    *Track
}

// Tap makes the slot forward into a sink, as if that were a subscriber. The slot must not be an m-line.
func (s *Slot) Tap(sink Sink) error {
	_, err := s.Bind(&tap{slot: s, sink: sink, codecs: tapCodecs(s.video)})
	return err
}

// Untap ends that.
func (s *Slot) Untap() { s.bound.Store(nil) }

// phoneClock is that of telephones' codecs (RFC 3551 §4.5).
const phoneClock = 8000

// tap stands for the subscriber's connection. Its methods that write are called with the slot's mu held.
type tap struct {
	slot   *Slot
	sink   Sink
	codecs []webrtc.RTPCodecParameters
	taken  Taken
}

// tapCodecs are what a sink takes, under payload types of its own. Cameras send VP8 as long as somebody takes nothing else.
func tapCodecs(video bool) []webrtc.RTPCodecParameters {
	kinds := []webrtc.RTPCodecCapability{
		{MimeType: webrtc.MimeTypeOpus, ClockRate: audioClock, Channels: 2},
		{MimeType: webrtc.MimeTypePCMU, ClockRate: phoneClock},
		{MimeType: webrtc.MimeTypePCMA, ClockRate: phoneClock},
		{MimeType: webrtc.MimeTypeG722, ClockRate: phoneClock},
	}
	if video {
		kinds = []webrtc.RTPCodecCapability{{MimeType: webrtc.MimeTypeVP8, ClockRate: videoClock}}
	}
	list := make([]webrtc.RTPCodecParameters, 0, len(kinds))
	for i, k := range kinds {
		list = append(list, webrtc.RTPCodecParameters{RTPCodecCapability: k, PayloadType: webrtc.PayloadType(96 + i)}) //nolint:gosec // a few
	}
	return list
}

func (t *tap) CodecParameters() []webrtc.RTPCodecParameters           { return t.codecs }
func (t *tap) HeaderExtensions() []webrtc.RTPHeaderExtensionParameter { return nil }
func (t *tap) SSRC() webrtc.SSRC                                      { return 0 }
func (t *tap) SSRCRetransmission() webrtc.SSRC                        { return 0 }
func (t *tap) SSRCForwardErrorCorrection() webrtc.SSRC                { return 0 }
func (t *tap) WriteStream() webrtc.TrackLocalWriter                   { return t }
func (t *tap) ID() string                                             { return "tap " + t.slot.id }
func (t *tap) RTCPReader() interceptor.RTCPReader                     { return nil }

// Write is not used by slots.
func (t *tap) Write(b []byte) (int, error) { return len(b), nil }

// WriteRTP passes a packet on with the time of its capture.
func (t *tap) WriteRTP(h *rtp.Header, payload []byte) (int, error) {
	s := t.slot
	t.taken = Taken{}
	for i := range t.codecs {
		if c := &t.codecs[i]; uint8(c.PayloadType) == h.PayloadType {
			t.taken.MIME, t.taken.Clock = c.MimeType, c.ClockRate
		}
	}
	p := &t.taken
	p.Sequence, p.Timestamp, p.Marker, p.Payload = h.SequenceNumber, h.Timestamp, h.Marker, payload
	if l := s.current; l != nil {
		p.Track = l.track
		p.Captured, p.Exact = l.captured(h.Timestamp-s.rewrite.timestamp, time.Now())
	}
	t.sink.Take(p)
	return len(payload), nil
}

// captured says when a timestamp of the layer was, on our clock; without a sender report: now.
func (l *Layer) captured(timestamp uint32, now time.Time) (at time.Time, exact bool) {
	info := l.senderInfo()
	if info.at.IsZero() {
		return now, false
	}
	clock := time.Duration(l.clockRate())
	// The report's instant on our clock: when it came, less what its way took longer than the fastest one's.
	late := ntpDistance(toNTP(info.at), info.ntp) - l.track.uplink.clockShift(info)
	elapsed := time.Duration(int32(timestamp-info.rtp)) * time.Second / clock //nolint:gosec // two's complement on purpose
	return info.at.Add(elapsed - late), true
}
