package venue

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/pion/rtcp"
	"github.com/pion/rtp"
	"github.com/pion/webrtc/v4"

	"linehall/cmd/linesim/media"
)

const (
	frameTime = time.Second / media.FramesPerSecond
	voiceTime = 20 * time.Millisecond
	// keyframePause is the shortest time between two keyframes of a layer, however often they are asked for.
	keyframePause = 250 * time.Millisecond
	reportPause   = time.Second
	videoClock    = 90000
	voiceClock    = 48000
)

// publisher is the sending connection with its tracks.
type publisher struct {
	pc     *webrtc.PeerConnection
	voice  *stream
	layers [3]*stream
	venue  int

	mu       sync.Mutex // guards orders, wanted, muted
	orders   [3]layerOrder
	wanted   [3]bool // a keyframe has been asked for
	muted    bool
	keys     [3]uint64 // keyframes sent on request
	requests [3]uint64

	// The film's position; only the pacing goroutine touches it.
	frame   [3]int
	picture [3]uint16
	tl0     [3]uint8
	lastKey [3]time.Time
	tick    uint32
	voiceAt int
	talking time.Time // until when the voice goes on, or
	paused  time.Time // until when it rests
	sent    uint64

	full     bool // encode at the commanded rates, and pace
	encoders [3]encoder
	pacer    pacer
	scratch  []byte
}

// newPublisher builds the connection of docs/signalling.md: m-lines audio, camera, content.
func newPublisher(api *webrtc.API, venue int) (*publisher, error) {
	pc, err := api.NewPeerConnection(webrtc.Configuration{})
	if err != nil {
		return nil, fmt.Errorf("publish connection: %w", err)
	}
	p := &publisher{pc: pc, venue: venue}
	for i := range p.orders {
		p.orders[i] = layerOrder{RID: media.Layer(i).RID(), Active: true}
	}
	if err := p.addTracks(); err != nil {
		return nil, errors.Join(err, pc.Close())
	}
	return p, nil
}

func (p *publisher) addTracks() error {
	const group = "venue"
	sendonly := webrtc.RTPTransceiverInit{Direction: webrtc.RTPTransceiverDirectionSendonly}
	p.voice = &stream{id: "voice", group: group, kind: webrtc.RTPCodecTypeAudio, mime: webrtc.MimeTypeOpus, clock: voiceClock}
	microphone, err := p.pc.AddTransceiverFromTrack(p.voice, sendonly)
	if err != nil {
		return fmt.Errorf("microphone: %w", err)
	}
	p.voice.mid = microphone.Mid
	for i := range p.layers {
		p.layers[i] = &stream{
			id: "camera", group: group, rid: media.Layer(i).RID(), kind: webrtc.RTPCodecTypeVideo, mime: webrtc.MimeTypeVP8, clock: videoClock,
			seq: uint16(rand.Uint32N(1 << 15)), rtxSeq: uint16(rand.Uint32N(1 << 15)),
		}
	}
	camera, err := p.pc.AddTransceiverFromTrack(p.layers[media.Low], sendonly)
	if err != nil {
		return fmt.Errorf("camera: %w", err)
	}
	for i := range p.layers {
		p.layers[i].mid = camera.Mid
		if i == 0 {
			continue
		}
		if err := camera.Sender().AddEncoding(p.layers[i]); err != nil {
			return fmt.Errorf("camera layer %s: %w", p.layers[i].rid, err)
		}
	}
	if _, err := p.pc.AddTransceiverFromKind(webrtc.RTPCodecTypeVideo, sendonly); err != nil {
		return fmt.Errorf("content: %w", err)
	}
	return nil
}

// offer creates and applies the local description with all candidates inside.
func (p *publisher) offer(ctx context.Context) (string, error) {
	offer, err := p.pc.CreateOffer(nil)
	if err != nil {
		return "", fmt.Errorf("publish offer: %w", err)
	}
	return describe(ctx, p.pc, offer)
}

// describe sets a local description and waits until all candidates are in it.
func describe(ctx context.Context, pc *webrtc.PeerConnection, d webrtc.SessionDescription) (string, error) {
	gathered := webrtc.GatheringCompletePromise(pc)
	if err := pc.SetLocalDescription(d); err != nil {
		return "", fmt.Errorf("local description: %w", err)
	}
	select {
	case <-gathered:
		return pc.LocalDescription().SDP, nil
	case <-ctx.Done():
		return "", context.Cause(ctx)
	}
}

// answered applies the server's answer and starts listening to feedback.
func (p *publisher) answered(sdp string, start func(func())) error {
	if err := p.pc.SetRemoteDescription(webrtc.SessionDescription{Type: webrtc.SDPTypeAnswer, SDP: sdp}); err != nil {
		return fmt.Errorf("publish answer: %w", err)
	}
	for _, sender := range p.pc.GetSenders() {
		track, ok := sender.Track().(*stream)
		if !ok {
			continue
		}
		if track == p.voice {
			start(func() { p.listen(func() ([]rtcp.Packet, error) { return first(sender.ReadRTCP()) }) })
			continue
		}
		for _, layer := range p.layers {
			start(func() { p.listen(func() ([]rtcp.Packet, error) { return first(sender.ReadSimulcastRTCP(layer.rid)) }) })
		}
	}
	return nil
}

func first[A, B any](a A, _ B, err error) (A, error) { return a, err }

// listen reads feedback until the connection is closed.
func (p *publisher) listen(read func() ([]rtcp.Packet, error)) {
	for {
		packets, err := read()
		if err != nil {
			return
		}
		for _, packet := range packets {
			switch packet := packet.(type) {
			case *rtcp.PictureLossIndication:
				p.keyframe(packet.MediaSSRC)
			case *rtcp.FullIntraRequest:
				for _, entry := range packet.FIR {
					p.keyframe(entry.SSRC)
				}
			case *rtcp.TransportLayerNack:
				for _, layer := range p.layers {
					layer.resend(packet)
				}
				p.voice.resend(packet)
			}
		}
	}
}

// keyframe notes that a layer shall begin anew.
func (p *publisher) keyframe(ssrc uint32) {
	for i, layer := range p.layers {
		layer.mu.Lock()
		match := layer.ssrc == ssrc
		layer.mu.Unlock()
		if match {
			p.mu.Lock()
			p.wanted[i] = true
			p.requests[i]++
			p.mu.Unlock()
		}
	}
}

// obey takes the server's orders about layers.
func (p *publisher) obey(orders []layerOrder) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, order := range orders {
		for i := range p.orders {
			if p.orders[i].RID != order.RID {
				continue
			}
			if order.Active && !p.orders[i].Active {
				p.wanted[i] = true // a layer that comes back begins with a keyframe
			}
			p.orders[i] = order
		}
	}
}

// run paces film and voice until ctx ends.
func (p *publisher) run(ctx context.Context) {
	timer := time.NewTimer(0)
	defer timer.Stop()
	started := time.Now()
	// Venues of one process do not send their frames at the same instant.
	nextFrame := started.Add(time.Duration(rand.Int64N(int64(frameTime))))
	nextVoice, nextReport := started, started.Add(reportPause)
	for {
		select {
		case <-ctx.Done():
			return
		case now := <-timer.C:
			nextFrame = skip(nextFrame, now, frameTime)
			for ; !nextFrame.After(now); nextFrame = nextFrame.Add(frameTime) {
				p.sendFrames(now)
			}
			nextVoice = skip(nextVoice, now, voiceTime)
			for ; !nextVoice.After(now); nextVoice = nextVoice.Add(voiceTime) {
				p.sendVoice(now)
			}
			if !nextReport.After(now) {
				nextReport = now.Add(reportPause)
				p.sendReports(now)
			}
			wake := earlier(nextFrame, nextVoice)
			if p.full && p.pacer.due(now, p.ordered()) {
				wake = earlier(wake, now.Add(paceTick))
			}
			timer.Reset(time.Until(wake))
		}
	}
}

// ordered is what all layers together may be encoded at.
func (p *publisher) ordered() (bps int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for i, order := range p.orders {
		if order.Active {
			rate := order.MaxBitrate
			if rate <= 0 {
				rate = media.Camera(p.venue, media.Layer(i)).BitrateBps
			}
			bps += rate
		}
	}
	return bps
}

// skip drops what a long pause of the process would otherwise send in one burst.
func skip(next, now time.Time, step time.Duration) time.Time {
	const tolerated = 200 * time.Millisecond
	if late := now.Sub(next); late > tolerated {
		return next.Add(late / step * step)
	}
	return next
}

func earlier(a, b time.Time) time.Time {
	if a.Before(b) {
		return a
	}
	return b
}

// sendFrames sends one frame of every layer that is wanted.
func (p *publisher) sendFrames(now time.Time) {
	p.tick++
	timestamp := p.tick * (videoClock / media.FramesPerSecond)
	for i, layer := range p.layers {
		loop := media.Camera(p.venue, media.Layer(i))
		p.mu.Lock()
		order, wanted, muted := p.orders[i], p.wanted[i], p.muted
		if wanted && now.Sub(p.lastKey[i]) >= keyframePause {
			p.wanted[i] = false
			p.frame[i] = 0
			p.keys[i]++
		}
		p.mu.Unlock()
		if muted || !order.Active {
			continue
		}
		frame := loop.Frames[p.frame[i]]
		if p.full {
			p.frame[i] = next(p.frame[i], len(loop.Frames))
			p.scratch = resize(p.scratch, frame.Data, p.encoders[i].size(frame, loop, order.MaxBitrate))
			frame.Data = p.scratch
		} else {
			p.frame[i] = (p.frame[i] + 1) % len(loop.Frames)
		}
		if !p.full && frame.Temporal > 0 && order.MaxBitrate > 0 && order.MaxBitrate < loop.BitrateBps {
			continue // the frames nobody refers to are what a smaller rate costs
		}
		if frame.Key {
			p.lastKey[i] = now
		}
		if frame.Temporal == 0 {
			p.tl0[i]++
		}
		p.picture[i] = (p.picture[i] + 1) & 0x7fff
		p.packetize(layer, frame, timestamp, p.picture[i], p.tl0[i])
	}
}

func (p *publisher) packetize(layer *stream, frame media.Frame, timestamp uint32, picture uint16, tl0 uint8) {
	var packet [descriptorSize + payloadMax]byte
	rest := frame.Data
	for start := true; len(rest) > 0; start = false {
		n := min(len(rest), payloadMax)
		writeDescriptor(packet[:], start, picture, tl0, frame.Temporal)
		copy(packet[descriptorSize:], rest[:n])
		rest = rest[n:]
		if p.full {
			p.pacer.waiting = append(p.pacer.waiting, held{layer, bytes.Clone(packet[:descriptorSize+n]), timestamp, len(rest) == 0})
			p.sent++
			continue
		}
		layer.write(packet[:descriptorSize+n], timestamp, len(rest) == 0, nil)
		p.sent++
	}
}

// sendVoice sends 20 ms of talk or silence; venues take turns as people do, each by its own dice.
func (p *publisher) sendVoice(now time.Time) {
	if now.After(p.talking) && now.After(p.paused) {
		p.talking = now.Add(6*time.Second + time.Duration(rand.Int64N(int64(10*time.Second))))
		p.paused = p.talking.Add(3*time.Second + time.Duration(rand.Int64N(int64(8*time.Second))))
	}
	talking := now.Before(p.talking)
	var payload []byte
	level := byte(127) // silence (RFC 6464: -dBov)
	if talking {
		voice := media.Voice(p.venue)
		payload = voice[p.voiceAt%len(voice)]
		level = 0x80 | 18 // voice activity, -18 dBov
	} else {
		payload = media.Silence()[p.voiceAt%len(media.Silence())]
	}
	p.voiceAt++
	p.voice.write(payload, uint32(p.voiceAt)*voiceClock/50, false, func(h *rtp.Header, extensions map[string]uint8) {
		if id, ok := extensions[audioLevelURI]; ok {
			_ = h.SetExtension(id, []byte{level}) // one byte always fits
		}
	})
	p.sent++
}

func (p *publisher) sendReports(now time.Time) {
	for _, s := range []*stream{p.voice, p.layers[0], p.layers[1], p.layers[2]} {
		if report := s.senderReport(now); report != nil {
			_ = p.pc.WriteRTCP([]rtcp.Packet{report}) // fails only while the connection is not up; the next one follows in a second
		}
	}
}
