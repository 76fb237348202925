package forward

import (
	"encoding/binary"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/pion/interceptor/pkg/twcc"
	"github.com/pion/rtcp"

	"linehall/internal/observe"
)

// The life of a packet from a publisher:
//
//  1. The SRTP goroutine of the publisher's connection decrypts it in place and calls the stream's function (Uplink.RTP).
//  2. Its transport-wide number is noted for the publisher's bandwidth estimation (Uplink.feedback).
//  3. A stream seen for the first time is bound to a layer by what the SDP or its header extensions say (Uplink.bind);
//     a retransmission is unwrapped in place (RFC 4588 §4).
//  4. Layer.receive counts it, stores it in the layer's history and offers it to each slot of the snapshot.
//  5. Slot.forward rewrites sequence number, timestamp and picture id in place and writes it: pion encrypts into its own
//     buffer, the plane collects the datagram.
//  6. The plane sends what was collected in one system call; where the packets of a frame come together, with the last of them.
//     The packet's memory goes back to step 1.
//
// All of it happens on the one goroutine of step 1.

const (
	// senderSSRC stands for the appliance in the reports it sends as a receiver; it sends no media under it.
	senderSSRC = 1
	// maxStreams bounds what one publisher can make us remember: 3 layers, content, audio and their RTX are 9.
	maxStreams       = 32
	feedbackInterval = 50 * time.Millisecond
	feedbackPackets  = 100
	// wireOverhead is IPv4, UDP and the authentication tag that SRTP takes off before we see the packet.
	wireOverhead = 20 + 8 + 16
)

// Batch collects the datagrams of a fan-out; it is the media plane.
type Batch interface {
	Begin()
	Hold() // ends a fan-out that another one follows at once
	End()
}

// Meter counts traffic on a line. *line.Meter is one.
type Meter interface {
	Add(packets, ipBytes int64)
}

// UplinkOptions configure an [Uplink].
type UplinkOptions struct {
	Batch   Batch
	Send    func([]rtcp.Packet) error // to the publisher; called from the receiving goroutine and from reports
	Log     *slog.Logger
	Metrics *Metrics
	Dropped *observe.Dropped
	// WithoutRecovery switches off NACK, RTX and repeated PLI towards the publisher: to measure what they are worth.
	WithoutRecovery bool
}

// Uplink is what one publisher sends. Its tracks exist from the start, before any media.
type Uplink struct {
	batch    Batch
	sendRTCP func([]rtcp.Packet) error
	log      *slog.Logger
	metrics  *Metrics
	dropped  *observe.Dropped
	recovery bool
	tracks   [3]*Track
	offer    atomic.Pointer[Description]
	rtt      atomic.Int64
	shift    atomic.Int64 // our clock minus the publisher's

	mu      sync.Mutex // guards streams; taken once per stream, not per packet
	streams map[uint32]*stream

	// Owned by the receiving goroutine.
	header       header
	recorder     *twcc.Recorder
	held         int
	lastFeedback time.Time

	meters   atomic.Pointer[[3]Meter]
	observer atomic.Pointer[observerBox]
}

// Observer watches what comes up the publisher's line: *congestion.Source is one.
type Observer interface {
	Voice(timestamp uint32, now time.Time)
	Count(arrived, lost int, now time.Time)
}

type observerBox struct{ Observer }

// stream is one SSRC of the publisher.
type stream struct {
	uplink *Uplink
	ssrc   uint32
	layer  *Layer // nil until bound
	repair bool   // RTX of that layer
}

// NewUplink makes the receiving side of one publisher's connection.
func NewUplink(o UplinkOptions) *Uplink {
	u := &Uplink{
		batch: o.Batch, sendRTCP: o.Send, log: o.Log, metrics: o.Metrics, dropped: o.Dropped, recovery: !o.WithoutRecovery,
		streams: map[uint32]*stream{}, recorder: twcc.NewRecorder(senderSSRC),
	}
	if u.log == nil {
		u.log = slog.New(slog.DiscardHandler)
	}
	if u.metrics == nil {
		u.metrics = NewMetrics(nil)
	}
	u.rtt.Store(int64(50 * time.Millisecond))
	u.offer.Store(&Description{})
	for kind := range u.tracks {
		u.tracks[kind] = newTrack(u, Kind(kind)) //nolint:gosec // 0 to 2
	}
	return u
}

// Track returns the track of a kind.
func (u *Uplink) Track(k Kind) *Track { return u.tracks[k] }

// Describe tells which streams the publisher announced in its offer. Streams bound before keep their layer.
func (u *Uplink) Describe(d *Description) { u.offer.Store(d) }

// SetRTT tells the round trip time to the publisher, for the pace of repeated NACKs.
func (u *Uplink) SetRTT(d time.Duration) { u.rtt.Store(int64(d)) }

// RTT is the round trip time to the publisher.
func (u *Uplink) RTT() time.Duration { return time.Duration(u.rtt.Load()) }

// SetMeters tells where to count received traffic, per kind of track.
func (u *Uplink) SetMeters(m [3]Meter) { u.meters.Store(&m) }

// SetObserver tells who watches the line.
func (u *Uplink) SetObserver(o Observer) { u.observer.Store(&observerBox{o}) }

func (u *Uplink) send(packets ...rtcp.Packet) {
	if err := u.sendRTCP(packets); err != nil {
		u.log.Debug("report not sent", observe.Err, err)
	}
}

// RTP returns the function for the packets of one stream.
func (u *Uplink) RTP(ssrc uint32) func([]byte) {
	s := u.stream(ssrc)
	if s == nil {
		return func([]byte) { u.dropped.Count("media", "too_many_streams") }
	}
	return func(b []byte) { u.receive(s, b, time.Now()) }
}

func (u *Uplink) stream(ssrc uint32) *stream {
	u.mu.Lock()
	defer u.mu.Unlock()
	if s, ok := u.streams[ssrc]; ok {
		return s
	}
	if len(u.streams) >= maxStreams {
		return nil
	}
	s := &stream{uplink: u, ssrc: ssrc}
	u.streams[ssrc] = s
	return s
}

func (u *Uplink) receive(s *stream, b []byte, now time.Time) {
	h := &u.header
	if !h.parse(b) {
		u.dropped.Count("media", "malformed_rtp")
		return
	}
	d := u.offer.Load()
	u.feedback(d, s.ssrc, now)
	if s.layer == nil && !u.bind(s, d) {
		u.dropped.Count("media", "unbound_stream")
		return
	}
	format := d.formats[h.payloadType]
	wire := len(b) + wireOverhead
	l := s.layer
	if m := u.meters.Load(); m != nil && m[l.track.kind] != nil {
		m[l.track.kind].Add(1, int64(wire))
	}
	if s.repair {
		u.receiveRepair(l, d.formats[format.of].codec, b, wire, now)
		return
	}
	if format.codec == NoCodec || format.codec.video() != l.video {
		u.dropped.Count("media", "unknown_codec")
		return
	}
	if l.ssrc != s.ssrc {
		l.restart(s.ssrc)
	}
	if l.track.kind == Microphone {
		l.track.noteLevel(h.extension(d.audioLevelID), now)
		if o := u.observer.Load(); o != nil {
			o.Voice(h.timestamp, now)
		}
	}
	l.receive(h, format.codec, b[h.start:h.end], wire, now)
}

// receiveRepair unwraps a retransmission: its first two octets are the original sequence number. A payload without them is
// padding that probes for bandwidth.
func (u *Uplink) receiveRepair(l *Layer, codec Codec, b []byte, wire int, now time.Time) {
	h := &u.header
	if h.end-h.start <= 2 || l.ssrc == 0 || !u.recovery || codec.video() != l.video {
		l.received.Add(uint64(wire)) //nolint:gosec // a length
		return
	}
	h.sequence = binary.BigEndian.Uint16(b[h.start:])
	h.ssrc = l.ssrc
	l.receive(h, codec, b[h.start+2:h.end], wire, now)
}

// feedback notes the transport-wide sequence number and reports arrivals (draft-holmer-rmcat-transport-wide-cc-extensions-01).
func (u *Uplink) feedback(d *Description, ssrc uint32, now time.Time) {
	e := u.header.extension(d.transportID)
	if len(e) != 2 {
		return
	}
	u.recorder.Record(ssrc, binary.BigEndian.Uint16(e), now.UnixMicro())
	u.held++
	if u.held < feedbackPackets && now.Sub(u.lastFeedback) < feedbackInterval {
		return
	}
	u.held, u.lastFeedback = 0, now
	if packets := u.recorder.BuildFeedbackPacket(); len(packets) > 0 {
		u.send(packets...)
	}
}

// bind finds the layer of a new stream: by the SSRCs of the offer, or by MID and RID (RFC 8852) in the packet.
func (u *Uplink) bind(s *stream, d *Description) bool {
	h := &u.header
	if declared, ok := d.ssrcs[s.ssrc]; ok {
		s.layer, s.repair = u.tracks[declared.kind].layer(""), declared.repair
	} else {
		kind, ok := d.kindOf(string(h.extension(d.midID)))
		if !ok {
			return false
		}
		track := u.tracks[kind]
		rid, repaired := string(h.extension(d.ridID)), string(h.extension(d.repairedRIDID))
		switch {
		case repaired != "":
			s.layer, s.repair = track.layer(repaired), true
		case d.isRepair(h.payloadType):
			return false // which stream it repairs is said in a later packet
		default:
			s.layer = track.layer(rid)
		}
	}
	if s.layer == nil {
		return false
	}
	if s.repair {
		s.layer.mu.Lock()
		s.layer.rtx = s.ssrc
		s.layer.mu.Unlock()
	}
	u.log.Debug("stream bound", observe.SSRC, s.ssrc, "track", s.layer.track.kind.String(), "rid", s.layer.rid, "repair", s.repair)
	return true
}
