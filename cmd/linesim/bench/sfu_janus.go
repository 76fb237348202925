package bench

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"sync"
	"time"

	"github.com/coder/websocket"
	"github.com/pion/webrtc/v4"
)

var errJanus = errors.New("janus")

// janusRoom speaks the WebSocket API of Janus to its video room: each member publishes on one handle and, when all
// are there, receives all others on another.
type janusRoom struct {
	api     *webrtc.API
	address string // ws://...
	members []*janusMember
}

type janusMember struct {
	room       *janusRoom
	socket     *websocket.Conn
	meter      *meter
	session    uint64
	feed       uint64
	subscribed bool
	cancel     context.CancelFunc
	done       chan struct{}

	mu    sync.Mutex // guards waits
	waits map[string]chan janusMessage

	connections []*webrtc.PeerConnection
}

type janusMessage struct {
	Janus       string                     `json:"janus"`
	Transaction string                     `json:"transaction"`
	Data        struct{ ID uint64 }        `json:"data"`
	JSEP        *webrtc.SessionDescription `json:"jsep"`
	Error       *struct{ Reason string }   `json:"error"`
	PluginData  struct {
		Data struct {
			Videoroom string
			ID        uint64
			Error     string
		}
	} `json:"plugindata"`
}

func (r *janusRoom) join(ctx context.Context, _ int, p *publisher, m *meter) (func(), error) {
	socket, _, err := websocket.Dial(ctx, r.address, &websocket.DialOptions{Subprotocols: []string{"janus-protocol"}}) // the library closes it
	if err != nil {
		return nil, fmt.Errorf("%w: %w", errJanus, err)
	}
	socket.SetReadLimit(1 << 20)
	life, cancel := context.WithCancel(context.WithoutCancel(ctx))
	j := &janusMember{room: r, socket: socket, meter: m, cancel: cancel, done: make(chan struct{}), waits: make(map[string]chan janusMessage)}
	go j.read(life)
	if err := j.enter(ctx, p); err != nil {
		j.leave()
		return nil, err
	}
	r.members = append(r.members, j)
	return j.leave, nil
}

func (j *janusMember) leave() {
	j.cancel()
	_ = j.socket.CloseNow() // the room is over
	<-j.done
	for _, pc := range j.connections {
		_ = pc.Close() // as above
	}
}

// read hands answers to those who wait for them and keeps the session alive.
func (j *janusMember) read(ctx context.Context) {
	defer close(j.done)
	go j.keepAlive(ctx)
	for {
		_, data, err := j.socket.Read(ctx)
		if err != nil {
			return
		}
		var m janusMessage
		if json.Unmarshal(data, &m) != nil || m.Janus == "ack" {
			continue
		}
		j.mu.Lock()
		wait := j.waits[m.Transaction]
		j.mu.Unlock()
		if wait != nil {
			select {
			case wait <- m:
			default: // answered already
			}
		}
	}
}

func (j *janusMember) keepAlive(ctx context.Context) {
	ticker := time.NewTicker(20 * time.Second) // sessions end after 60 s of silence
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
			_ = j.write(ctx, map[string]any{"janus": "keepalive", "session_id": j.session, "transaction": unique()}) // the next read tells
		}
	}
}

func (j *janusMember) write(ctx context.Context, message map[string]any) error {
	data, err := json.Marshal(message)
	if err != nil {
		return fmt.Errorf("%w: %w", errJanus, err)
	}
	if err := j.socket.Write(ctx, websocket.MessageText, data); err != nil {
		return fmt.Errorf("%w: %w", errJanus, err)
	}
	return nil
}

// ask sends one request and waits for its final answer (the event, for plugin messages).
func (j *janusMember) ask(ctx context.Context, message map[string]any) (janusMessage, error) {
	transaction := unique()
	wait := make(chan janusMessage, 1)
	j.mu.Lock()
	j.waits[transaction] = wait
	j.mu.Unlock()
	defer func() {
		j.mu.Lock()
		delete(j.waits, transaction)
		j.mu.Unlock()
	}()
	message["transaction"] = transaction
	if err := j.write(ctx, message); err != nil {
		return janusMessage{}, err
	}
	select {
	case m := <-wait:
		if m.Error != nil {
			return m, fmt.Errorf("%w: %s", errJanus, m.Error.Reason)
		}
		if text := m.PluginData.Data.Error; text != "" {
			return m, fmt.Errorf("%w: %s", errJanus, text)
		}
		return m, nil
	case <-time.After(10 * time.Second):
		return janusMessage{}, fmt.Errorf("%w: %w", errJanus, errTimeout)
	case <-j.done:
		return janusMessage{}, fmt.Errorf("%w: %w", errJanus, net.ErrClosed)
	}
}

func (j *janusMember) attach(ctx context.Context) (uint64, error) {
	m, err := j.ask(ctx, map[string]any{"janus": "attach", "session_id": j.session, "plugin": "janus.plugin.videoroom"})
	return m.Data.ID, err
}

func (j *janusMember) plugin(ctx context.Context, handle uint64, body map[string]any, jsep *webrtc.SessionDescription) (janusMessage, error) {
	message := map[string]any{"janus": "message", "session_id": j.session, "handle_id": handle, "body": body}
	if jsep != nil {
		message["jsep"] = jsep
	}
	return j.ask(ctx, message)
}

func (j *janusMember) connection() (*webrtc.PeerConnection, <-chan struct{}, error) {
	pc, err := j.room.api.NewPeerConnection(webrtc.Configuration{})
	if err != nil {
		return nil, nil, fmt.Errorf("connection: %w", err)
	}
	j.connections = append(j.connections, pc)
	up := make(chan struct{})
	var once sync.Once
	pc.OnConnectionStateChange(func(state webrtc.PeerConnectionState) {
		if state == webrtc.PeerConnectionStateConnected {
			once.Do(func() { close(up) })
		}
	})
	return pc, up, nil
}

// enter opens a session, and publishes in it if there is something to be published.
func (j *janusMember) enter(ctx context.Context, p *publisher) error {
	m, err := j.ask(ctx, map[string]any{"janus": "create"})
	if err != nil {
		return err
	}
	j.session = m.Data.ID
	if p == nil {
		return nil
	}
	return j.publish(ctx, p)
}

func (j *janusMember) publish(ctx context.Context, p *publisher) error {
	handle, err := j.attach(ctx)
	if err != nil {
		return err
	}
	pc, up, err := j.connection()
	if err != nil {
		return err
	}
	for _, track := range []webrtc.TrackLocal{p.audio, p.video} {
		t, err := pc.AddTransceiverFromTrack(track, webrtc.RTPTransceiverInit{Direction: webrtc.RTPTransceiverDirectionSendonly})
		if err != nil {
			return fmt.Errorf("track: %w", err)
		}
		go p.listen(t.Sender())
	}
	offer, err := pc.CreateOffer(nil)
	if err != nil {
		return fmt.Errorf("offer: %w", err)
	}
	text, err := gather(ctx, pc, offer)
	if err != nil {
		return err
	}
	m, err := j.plugin(ctx, handle, map[string]any{"request": "joinandconfigure", "ptype": "publisher", "room": 1},
		&webrtc.SessionDescription{Type: webrtc.SDPTypeOffer, SDP: text})
	if err != nil {
		return err
	}
	if m.JSEP == nil {
		return fmt.Errorf("%w: no answer to the publisher's offer", errJanus)
	}
	j.feed = m.PluginData.Data.ID
	if err := pc.SetRemoteDescription(*m.JSEP); err != nil {
		return fmt.Errorf("answer: %w", err)
	}
	return await(up)
}

func await(up <-chan struct{}) error {
	const patience = 10 * time.Second
	select {
	case <-up:
		return nil
	case <-time.After(patience):
		return fmt.Errorf("media connection: %w", errTimeout)
	}
}

// settle lets every member receive all others.
func (r *janusRoom) settle(ctx context.Context) error {
	for _, j := range r.members {
		if j.subscribed {
			continue
		}
		j.subscribed = true
		var streams []map[string]any
		for _, other := range r.members {
			if other != j && other.feed != 0 {
				streams = append(streams, map[string]any{"feed": other.feed})
			}
		}
		if len(streams) == 0 {
			continue // the only publisher
		}
		if err := j.subscribe(ctx, streams); err != nil {
			return err
		}
	}
	return nil
}

func (j *janusMember) subscribe(ctx context.Context, streams []map[string]any) error {
	handle, err := j.attach(ctx)
	if err != nil {
		return err
	}
	m, err := j.joinFeeds(ctx, handle, streams)
	if err != nil {
		return err
	}
	pc, up, err := j.connection()
	if err != nil {
		return err
	}
	pc.OnTrack(func(track *webrtc.TrackRemote, _ *webrtc.RTPReceiver) { j.meter.consume(track) })
	if err := pc.SetRemoteDescription(*m.JSEP); err != nil {
		return fmt.Errorf("offer: %w", err)
	}
	answer, err := pc.CreateAnswer(nil)
	if err != nil {
		return fmt.Errorf("answer: %w", err)
	}
	text, err := gather(ctx, pc, answer)
	if err != nil {
		return err
	}
	if _, err := j.plugin(ctx, handle, map[string]any{"request": "start"}, &webrtc.SessionDescription{Type: webrtc.SDPTypeAnswer, SDP: text}); err != nil {
		return err
	}
	return await(up)
}

// joinFeeds asks for the others' streams. The server takes a moment longer than its client to find a publisher's
// connection up, and refuses its feed until then.
func (j *janusMember) joinFeeds(ctx context.Context, handle uint64, streams []map[string]any) (m janusMessage, err error) {
	const attempts, wait = 25, 200 * time.Millisecond
	for range attempts {
		m, err = j.plugin(ctx, handle, map[string]any{"request": "join", "ptype": "subscriber", "room": 1, "streams": streams}, nil)
		if err == nil {
			if m.JSEP == nil {
				return m, fmt.Errorf("%w: no offer for the subscriber", errJanus)
			}
			return m, nil
		}
		if sleepErr := sleep(ctx, wait); sleepErr != nil {
			return m, sleepErr
		}
	}
	return m, err
}
