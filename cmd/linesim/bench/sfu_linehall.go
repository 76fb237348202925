package bench

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"net/netip"
	"os/exec"
	"strings"
	"sync"
	"time"

	"github.com/coder/websocket"
	"github.com/pion/webrtc/v4"

	"linehall/cmd/linesim/venue"
)

// linehallRoom joins by the links and the signalling of docs/signalling.md.
type linehallRoom struct {
	api    *webrtc.API
	server *linehall
}

func (l *linehallRoom) join(ctx context.Context, i int, p *publisher, m *meter) (func(), error) {
	link, err := l.server.link(ctx, venueName(i))
	if err != nil {
		return nil, err
	}
	bind := netip.AddrFrom4([4]byte{127, 0, byte(i), 12})
	socket, err := venue.Connect(ctx, link, bind, l.server.tls())
	if err != nil {
		return nil, err // says what it tried
	}
	life, off := context.WithCancel(context.WithoutCancel(ctx))
	j := &linehallMember{room: l, socket: socket, publisher: p, meter: m, up: make(chan struct{})}
	var runErr error // written before ended is closed
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		runErr = j.run(life)
	}()
	leave := func() {
		off()
		_ = socket.CloseNow() // the room is over
		<-ended
		j.close()
	}
	select {
	case <-j.up:
		return leave, nil
	case <-ended:
		leave()
		return nil, runErr
	case <-time.After(15 * time.Second):
		leave()
		return nil, fmt.Errorf("room: %w", errTimeout)
	}
}

func (l *linehallRoom) settle(context.Context) error { return nil }

// linehallMember is one member's signalling.
type linehallMember struct {
	room      *linehallRoom
	socket    *websocket.Conn
	publisher *publisher
	meter     *meter
	up        chan struct{} // closed when the publish connection stands
	once      sync.Once
	self      string

	publish, subscribe *webrtc.PeerConnection
	video, audio       *webrtc.RTPTransceiver
}

func (j *linehallMember) close() {
	for _, pc := range []*webrtc.PeerConnection{j.publish, j.subscribe} {
		if pc != nil {
			_ = pc.Close() // the room is over
		}
	}
}

func (j *linehallMember) send(ctx context.Context, message map[string]any) error {
	data, err := json.Marshal(message)
	if err != nil {
		return fmt.Errorf("signalling: %w", err)
	}
	if err := j.socket.Write(ctx, websocket.MessageText, data); err != nil {
		return fmt.Errorf("signalling: %w", err)
	}
	return nil
}

func (j *linehallMember) run(ctx context.Context) error {
	if err := j.send(ctx, map[string]any{"type": "join", "client": "linesim bench"}); err != nil {
		return err
	}
	for {
		_, data, err := j.socket.Read(ctx)
		if err != nil {
			return fmt.Errorf("signalling: %w", err)
		}
		var m struct {
			Type, SDP, Participant, Code, Message, Reason string
			List                                          []struct {
				ID       string
				HasVideo bool `json:"has_video"`
			}
		}
		if err := json.Unmarshal(data, &m); err != nil {
			continue // a message we do not need
		}
		switch m.Type {
		case "welcome":
			j.self = m.Participant
			if j.publisher != nil {
				err = j.offer(ctx)
			}
		case "publish_answer":
			err = j.publish.SetRemoteDescription(webrtc.SessionDescription{Type: webrtc.SDPTypeAnswer, SDP: m.SDP})
		case "subscribe_offer":
			err = j.answer(ctx, m.SDP)
		case "participants":
			views := []map[string]any{}
			for _, other := range m.List {
				if other.ID != j.self && other.HasVideo {
					views = append(views, map[string]any{"participant": other.ID, "media": "camera", "height": 720})
				}
			}
			err = j.send(ctx, map[string]any{"type": "want", "views": views})
		case "error":
			err = fmt.Errorf("%s %s: %w", m.Code, m.Message, errRejected)
		case "ended":
			err = fmt.Errorf("ended: %s: %w", m.Reason, errRejected)
		}
		if err != nil {
			return err
		}
	}
}

func (j *linehallMember) offer(ctx context.Context) error {
	pc, err := j.room.api.NewPeerConnection(webrtc.Configuration{})
	if err != nil {
		return fmt.Errorf("connection: %w", err)
	}
	j.publish = pc
	pc.OnConnectionStateChange(func(state webrtc.PeerConnectionState) {
		if state == webrtc.PeerConnectionStateConnected {
			j.publisher.level.Store(uint32(extensionID(j.audio.Sender(), audioLevelURI)))
			j.once.Do(func() { close(j.up) })
		}
	})
	sendonly := webrtc.RTPTransceiverInit{Direction: webrtc.RTPTransceiverDirectionSendonly}
	if j.audio, err = pc.AddTransceiverFromTrack(j.publisher.audio, sendonly); err != nil {
		return fmt.Errorf("track: %w", err)
	}
	if j.video, err = pc.AddTransceiverFromTrack(j.publisher.video, sendonly); err != nil {
		return fmt.Errorf("track: %w", err)
	}
	if _, err := pc.AddTransceiverFromKind(webrtc.RTPCodecTypeVideo, sendonly); err != nil {
		return fmt.Errorf("track: %w", err)
	}
	go j.publisher.listen(j.video.Sender())
	offer, err := pc.CreateOffer(nil)
	if err != nil {
		return fmt.Errorf("offer: %w", err)
	}
	text, err := gather(ctx, pc, offer)
	if err != nil {
		return err
	}
	return j.send(ctx, map[string]any{"type": "publish", "sdp": text})
}

func (j *linehallMember) answer(ctx context.Context, sdp string) error {
	if j.subscribe == nil {
		pc, err := j.room.api.NewPeerConnection(webrtc.Configuration{})
		if err != nil {
			return fmt.Errorf("connection: %w", err)
		}
		j.subscribe = pc
		pc.OnTrack(func(track *webrtc.TrackRemote, _ *webrtc.RTPReceiver) { j.meter.consume(track) })
		if j.publisher == nil {
			pc.OnConnectionStateChange(func(state webrtc.PeerConnectionState) {
				if state == webrtc.PeerConnectionStateConnected {
					j.once.Do(func() { close(j.up) })
				}
			})
		}
	}
	if err := j.subscribe.SetRemoteDescription(webrtc.SessionDescription{Type: webrtc.SDPTypeOffer, SDP: sdp}); err != nil {
		return fmt.Errorf("subscribe offer: %w", err)
	}
	answer, err := j.subscribe.CreateAnswer(nil)
	if err != nil {
		return fmt.Errorf("answer: %w", err)
	}
	text, err := gather(ctx, j.subscribe, answer)
	if err != nil {
		return err
	}
	return j.send(ctx, map[string]any{"type": "subscribe_answer", "sdp": text})
}

// link asks the operator's command for a venue's room link.
func (l *linehall) link(ctx context.Context, name string) (venue.Link, error) {
	out, err := exec.CommandContext(ctx, l.binary, "room", "link", "9000", "--venue", name, "--config", l.config, "--data", l.data).Output()
	if err != nil {
		if exit, ok := errors.AsType[*exec.ExitError](err); ok {
			return venue.Link{}, fmt.Errorf("room link: %w: %s", err, exit.Stderr)
		}
		return venue.Link{}, fmt.Errorf("room link: %w", err)
	}
	link, err := venue.ParseLink(strings.TrimSpace(string(out)))
	if err != nil {
		return venue.Link{}, fmt.Errorf("room link: %w", err)
	}
	return link, nil
}

// tls accepts whatever certificate the appliance presents on its own loopback port: the bench measures, and what it
// sends is no secret.
func (l *linehall) tls() *tls.Config {
	return &tls.Config{MinVersion: tls.VersionTLS12, InsecureSkipVerify: true}
}
