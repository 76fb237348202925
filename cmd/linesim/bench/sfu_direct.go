package bench

import (
	"context"
	"fmt"

	"github.com/pion/webrtc/v4"
)

// directRoom connects every pair of members: the floor of the harness.
type directRoom struct {
	api     *webrtc.API
	members []directMember
}

type directMember struct {
	publisher *publisher
	meter     *meter
}

func (d *directRoom) join(ctx context.Context, _ int, p *publisher, m *meter) (func(), error) {
	var connections []*webrtc.PeerConnection
	leave := func() {
		for _, pc := range connections {
			_ = pc.Close() // the room is over
		}
	}
	for _, other := range d.members {
		if p == nil && other.publisher == nil {
			continue
		}
		a, b, err := d.connect(ctx, directMember{p, m}, other)
		connections = append(connections, a, b)
		if err != nil {
			leave()
			return nil, err
		}
	}
	d.members = append(d.members, directMember{p, m})
	return leave, nil
}

func (d *directRoom) connect(ctx context.Context, from, to directMember) (a, b *webrtc.PeerConnection, err error) {
	if a, err = d.end(from); err != nil {
		return a, nil, err
	}
	if b, err = d.end(to); err != nil {
		return a, b, err
	}
	offer, err := a.CreateOffer(nil)
	if err != nil {
		return a, b, fmt.Errorf("offer: %w", err)
	}
	text, err := gather(ctx, a, offer)
	if err != nil {
		return a, b, err
	}
	if err := b.SetRemoteDescription(webrtc.SessionDescription{Type: webrtc.SDPTypeOffer, SDP: text}); err != nil {
		return a, b, fmt.Errorf("offer: %w", err)
	}
	answer, err := b.CreateAnswer(nil)
	if err != nil {
		return a, b, fmt.Errorf("answer: %w", err)
	}
	if text, err = gather(ctx, b, answer); err != nil {
		return a, b, err
	}
	if err := a.SetRemoteDescription(webrtc.SessionDescription{Type: webrtc.SDPTypeAnswer, SDP: text}); err != nil {
		return a, b, fmt.Errorf("answer: %w", err)
	}
	return a, b, nil
}

func (d *directRoom) end(m directMember) (*webrtc.PeerConnection, error) {
	pc, err := d.api.NewPeerConnection(webrtc.Configuration{})
	if err != nil {
		return nil, fmt.Errorf("connection: %w", err)
	}
	pc.OnTrack(func(track *webrtc.TrackRemote, _ *webrtc.RTPReceiver) { m.meter.consume(track) })
	if m.publisher == nil {
		return d.receiver(pc)
	}
	for _, track := range []webrtc.TrackLocal{m.publisher.audio, m.publisher.video} {
		sender, err := pc.AddTrack(track)
		if err != nil {
			return pc, fmt.Errorf("track: %w", err)
		}
		go m.publisher.listen(sender)
	}
	return pc, nil
}

// receiver makes the m-lines of a member that only receives.
func (d *directRoom) receiver(pc *webrtc.PeerConnection) (*webrtc.PeerConnection, error) {
	for _, kind := range []webrtc.RTPCodecType{webrtc.RTPCodecTypeAudio, webrtc.RTPCodecTypeVideo} {
		if _, err := pc.AddTransceiverFromKind(kind, webrtc.RTPTransceiverInit{Direction: webrtc.RTPTransceiverDirectionRecvonly}); err != nil {
			return pc, fmt.Errorf("track: %w", err)
		}
	}
	return pc, nil
}

func (d *directRoom) settle(context.Context) error { return nil }
