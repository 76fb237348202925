package bench

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"sync"
	"sync/atomic"
	"time"

	"github.com/pion/interceptor"
	"github.com/pion/logging"
	"github.com/pion/rtcp"
	"github.com/pion/rtp"
	"github.com/pion/webrtc/v4"
	"golang.org/x/sync/errgroup"

	"linehall/cmd/linesim/report"
)

// SFULoad is a room: every publisher sends 210 video and 50 audio packets per second, every member receives all others.
type SFULoad struct {
	Members    int
	Viewers    int // of one publisher, in sfu-broadcast
	Publishers int // how many of them publish, the others only receive; 0: all
	Warm       time.Duration
	Measure    time.Duration
}

const (
	framesPerSecond = 30
	packetsPerFrame = 7
	filmPayload     = 1100 // bytes of VP8 per packet
	voicePayload    = 80   // bytes of Opus at 32 kbit/s and 20 ms
	audioLevelURI   = "urn:ietf:params:rtp-hdrext:ssrc-audio-level"
	midURI          = "urn:ietf:params:rtp-hdrext:sdes:mid"
)

// stamp marks our payloads; the send time follows it.
var stamp = [8]byte{'l', 'i', 'n', 'e', 's', 'i', 'm', 0xfe} // a constant

// meter counts what all members of a room receive.
type meter struct {
	base  time.Time
	first atomic.Int64 // when the first packet came, since base

	mu      sync.Mutex // guards what follows; a few thousand times a second
	on      bool
	packets uint64
	strange uint64 // packets without our stamp
	delay   report.Histogram
}

func (m *meter) now() int64 { return int64(time.Since(m.base)) }

// receive counts one packet's payload.
func (m *meter) receive(payload []byte) {
	at := m.now()
	m.first.CompareAndSwap(0, at)
	sent, ok := sentAt(payload)
	m.mu.Lock()
	defer m.mu.Unlock()
	if !m.on {
		return
	}
	if !ok {
		m.strange++
		return
	}
	m.packets++
	m.delay.Record(time.Duration(at - sent))
}

// sentAt finds the stamp: near the beginning, behind descriptors and headers.
func sentAt(payload []byte) (int64, bool) {
	const furthest = 40
	for i := 0; i+16 <= len(payload) && i < furthest; i++ {
		if payload[i] == stamp[0] && [8]byte(payload[i:i+8]) == stamp {
			return int64(binary.BigEndian.Uint64(payload[i+8:])), true
		}
	}
	return 0, false
}

// stop ends the counting.
func (m *meter) stop() {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.on = false
}

func (m *meter) reset() {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.on, m.packets, m.strange, m.delay = true, 0, 0, report.Histogram{}
}

// film and voice of one member; the tracks may be in several connections (direct).
type publisher struct {
	meter *meter
	video *webrtc.TrackLocalStaticRTP
	audio *webrtc.TrackLocalStaticRTP
	level atomic.Uint32 // extension id of the audio level, 0 without
	key   atomic.Bool   // a keyframe has been asked for
}

func newPublisher(m *meter) (*publisher, error) {
	video, err := webrtc.NewTrackLocalStaticRTP(webrtc.RTPCodecCapability{MimeType: webrtc.MimeTypeVP8, ClockRate: 90000}, "video", "bench")
	if err != nil {
		return nil, fmt.Errorf("track: %w", err)
	}
	audio, err := webrtc.NewTrackLocalStaticRTP(webrtc.RTPCodecCapability{MimeType: webrtc.MimeTypeOpus, ClockRate: 48000, Channels: 2}, "audio", "bench")
	if err != nil {
		return nil, fmt.Errorf("track: %w", err)
	}
	p := &publisher{meter: m, video: video, audio: audio}
	p.key.Store(true)
	return p, nil
}

// run paces both until ctx ends; i shifts members against each other.
func (p *publisher) run(ctx context.Context, i int) error {
	const frame, voice = time.Second / framesPerSecond, 20 * time.Millisecond
	offset := time.Duration(i) * 3 * time.Millisecond
	timer := time.NewTimer(offset)
	defer timer.Stop()
	nextFrame, nextVoice := time.Now().Add(offset), time.Now().Add(offset)
	w := writer{publisher: p}
	for {
		select {
		case <-ctx.Done():
			return nil
		case now := <-timer.C:
			for ; !nextFrame.After(now); nextFrame = nextFrame.Add(frame) {
				w.frame()
			}
			for ; !nextVoice.After(now); nextVoice = nextVoice.Add(voice) {
				w.voice()
			}
		}
		next := nextFrame
		if nextVoice.Before(next) {
			next = nextVoice
		}
		timer.Reset(time.Until(next))
	}
}

// writer holds the counters of one publisher's two streams.
type writer struct {
	*publisher
	videoSeq, audioSeq uint16
	videoTS, audioTS   uint32
	picture            uint16
	buffer             [1300]byte
}

// frame sends seven packets of 30 frames per second: a VP8 descriptor with a 15-bit picture id, a frame header on the
// first packet (RFC 6386 §9.1; a keyframe when asked for), the stamp, filler.
func (w *writer) frame() {
	key := w.key.Swap(false)
	w.videoTS += 90000 / framesPerSecond
	w.picture = (w.picture + 1) & 0x7fff
	for i := range packetsPerFrame {
		b := w.buffer[:0]
		descriptor := byte(0x80)
		if i == 0 {
			descriptor |= 0x10
		}
		b = append(b, descriptor, 0x80, 0x80|byte(w.picture>>8), byte(w.picture))
		if i == 0 {
			b = append(b, frameHeader(key)...)
		}
		b = w.stamp(b)
		b = b[:4+filmPayload]
		h := rtp.Header{Version: 2, SequenceNumber: w.videoSeq, Timestamp: w.videoTS, Marker: i == packetsPerFrame-1}
		w.videoSeq++
		_ = w.video.WriteRTP(&rtp.Packet{Header: h, Payload: b}) // what is not sent is not received: it shows in the rate
	}
}

func frameHeader(key bool) []byte {
	const size = packetsPerFrame*filmPayload - 10
	tag := uint32(size&0x7ffff) << 5
	if !key {
		tag |= 1
		return []byte{byte(tag | 0x10), byte(tag >> 8), byte(tag >> 16)}
	}
	return []byte{byte(tag | 0x10), byte(tag >> 8), byte(tag >> 16), 0x9d, 0x01, 0x2a, 0x80, 0x02, 0x68, 0x01} // 640x360
}

func (w *writer) stamp(b []byte) []byte {
	b = append(b, stamp[:]...)
	return binary.BigEndian.AppendUint64(b, uint64(w.meter.now()))
}

func (w *writer) voice() {
	b := append(w.buffer[:0], 0x78) // an Opus table-of-contents byte (RFC 6716 §3.1)
	b = w.stamp(b)[:voicePayload]
	w.audioTS += 960
	h := rtp.Header{Version: 2, SequenceNumber: w.audioSeq, Timestamp: w.audioTS}
	w.audioSeq++
	if id := uint8(w.level.Load()); id != 0 {
		_ = h.SetExtension(id, []byte{0x80 | 20}) // one byte always fits
	}
	_ = w.audio.WriteRTP(&rtp.Packet{Header: h, Payload: b}) // as above
}

// listen turns keyframe requests of one sender into keyframes.
func (p *publisher) listen(sender *webrtc.RTPSender) {
	for {
		packets, _, err := sender.ReadRTCP()
		if err != nil {
			return
		}
		for _, packet := range packets {
			switch packet.(type) {
			case *rtcp.PictureLossIndication, *rtcp.FullIntraRequest:
				p.key.Store(true)
			}
		}
	}
}

// consume reads a received track into the meter.
func (m *meter) consume(track *webrtc.TrackRemote) {
	buf := make([]byte, 1600)
	var packet rtp.Packet
	for {
		n, _, err := track.Read(buf)
		if err != nil {
			return
		}
		if packet.Unmarshal(buf[:n]) == nil {
			m.receive(packet.Payload)
		}
	}
}

// clientAPI is the load's own pion: the same for every server, with nothing that is not needed.
func clientAPI(loopback bool) (*webrtc.API, error) {
	m := &webrtc.MediaEngine{}
	for _, c := range []struct {
		kind  webrtc.RTPCodecType
		codec webrtc.RTPCodecParameters
	}{
		{webrtc.RTPCodecTypeAudio, webrtc.RTPCodecParameters{PayloadType: 111, RTPCodecCapability: webrtc.RTPCodecCapability{
			MimeType: webrtc.MimeTypeOpus, ClockRate: 48000, Channels: 2, SDPFmtpLine: "minptime=10;useinbandfec=1",
		}}},
		{webrtc.RTPCodecTypeVideo, webrtc.RTPCodecParameters{PayloadType: 96, RTPCodecCapability: webrtc.RTPCodecCapability{
			MimeType: webrtc.MimeTypeVP8, ClockRate: 90000,
			RTCPFeedback: []webrtc.RTCPFeedback{{Type: "ccm", Parameter: "fir"}, {Type: "nack"}, {Type: "nack", Parameter: "pli"}},
		}}},
	} {
		if err := m.RegisterCodec(c.codec, c.kind); err != nil {
			return nil, fmt.Errorf("codec: %w", err)
		}
	}
	for uri, kinds := range map[string][]webrtc.RTPCodecType{
		midURI: {webrtc.RTPCodecTypeAudio, webrtc.RTPCodecTypeVideo}, audioLevelURI: {webrtc.RTPCodecTypeAudio},
	} {
		for _, kind := range kinds {
			if err := m.RegisterHeaderExtension(webrtc.RTPHeaderExtensionCapability{URI: uri}, kind); err != nil {
				return nil, fmt.Errorf("extension: %w", err)
			}
		}
	}
	s := webrtc.SettingEngine{LoggerFactory: &logging.DefaultLoggerFactory{Writer: io.Discard, DefaultLogLevel: logging.LogLevelDisabled}}
	s.SetNetworkTypes([]webrtc.NetworkType{webrtc.NetworkTypeUDP4})
	s.SetIncludeLoopbackCandidate(loopback)
	if loopback {
		s.SetInterfaceFilter(func(name string) bool { return name == "lo" })
	}
	return webrtc.NewAPI(webrtc.WithMediaEngine(m), webrtc.WithSettingEngine(s), webrtc.WithInterceptorRegistry(&interceptor.Registry{})), nil
}

// gather sets a local description and waits for its candidates.
func gather(ctx context.Context, pc *webrtc.PeerConnection, d webrtc.SessionDescription) (string, error) {
	done := webrtc.GatheringCompletePromise(pc)
	if err := pc.SetLocalDescription(d); err != nil {
		return "", fmt.Errorf("description: %w", err)
	}
	select {
	case <-done:
		return pc.LocalDescription().SDP, nil
	case <-ctx.Done():
		return "", context.Cause(ctx)
	}
}

// extensionID finds what was negotiated for an extension on a sender.
func extensionID(sender *webrtc.RTPSender, uri string) uint8 {
	for _, e := range sender.GetParameters().HeaderExtensions {
		if e.URI == uri {
			return uint8(e.ID)
		}
	}
	return 0
}

// room is a server's room from the members' side.
type room interface {
	// join brings one member in: its publisher's tracks are sent, if there is one, everything it receives goes to the meter.
	join(ctx context.Context, i int, p *publisher, m *meter) (leave func(), err error)
	// settle is called when all members have joined.
	settle(ctx context.Context) error
}

// runRoom fills a room and measures.
func runRoom(ctx context.Context, name string, where room, proc *process, load SFULoad) (r Result, err error) {
	publishers := load.Publishers
	if publishers == 0 {
		publishers = load.Members
	}
	r = Result{Bench: "sfu", Server: name, Rate: float64(publishers) * (framesPerSecond*packetsPerFrame + 50)}
	if publishers < load.Members {
		r.Bench = "sfu-broadcast"
	}
	m := &meter{base: time.Now()}
	life, off := context.WithCancel(context.WithoutCancel(ctx))
	g, life := errgroup.WithContext(life)
	defer func() {
		off()
		err = errors.Join(err, g.Wait())
	}()
	for i := range load.Members {
		var p *publisher
		if i < publishers {
			if p, err = newPublisher(m); err != nil {
				return r, err
			}
		}
		leave, err := where.join(ctx, i, p, m)
		if err != nil {
			return r, fmt.Errorf("member %d: %w", i, err)
		}
		defer leave()
		if p != nil {
			g.Go(func() error { return p.run(life, i) })
		}
	}
	if err := where.settle(ctx); err != nil {
		return r, err
	}
	if err := sleep(ctx, load.Warm); err != nil {
		return r, err
	}
	before, err := proc.usage()
	if err != nil {
		return r, err
	}
	m.reset()
	started := time.Now()
	if err := sleep(ctx, load.Measure); err != nil {
		return r, err
	}
	after, err := proc.usage()
	if err != nil {
		return r, err
	}
	m.stop()
	r.Seconds = time.Since(started).Seconds()
	r.Operations, r.Delay = m.packets, m.delay.Summary()
	r.spend(before, after)
	// Everything that was sent to the others and did not arrive.
	expected := uint64(r.Rate * float64(load.Members-1) * r.Seconds)
	if short := expected - min(expected, m.packets); short > expected/100 {
		r.Note = fmt.Sprintf("%d of about %d packets did not arrive", short, expected)
		r.Lost = short
	}
	if m.packets == 0 {
		return r, fmt.Errorf("%s: nothing was forwarded (%d strange packets): %w", name, m.strange, errRejected)
	}
	r.JoinMs, err = joinOne(ctx, where, load.Members)
	return r, err
}

// joinOne lets one more member come in, and says how long its first packet took.
func joinOne(ctx context.Context, where room, i int) (float64, error) {
	began := time.Now()
	m := &meter{base: began}
	m.reset()
	leave, err := where.join(ctx, i, nil, m)
	if err != nil {
		return 0, fmt.Errorf("late member: %w", err)
	}
	defer leave()
	if err := where.settle(ctx); err != nil {
		return 0, fmt.Errorf("late member: %w", err)
	}
	for time.Since(began) < 10*time.Second {
		if first := m.first.Load(); first > 0 {
			return float64(first) / float64(time.Millisecond), nil
		}
		if err := sleep(ctx, time.Millisecond); err != nil {
			return 0, err
		}
	}
	return 0, fmt.Errorf("first packet of a late member: %w", errTimeout)
}

func sleep(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}
