// Package venuetest is a room just big enough for tests of native venues: it speaks the room signalling, takes one
// layer of every camera and all voices, and forwards them with pion's stock interceptors. It has no bandwidth
// management, never changes who is in a slot, and exists so that venues can be tested without the appliance.
//
//	room := venuetest.Start(t)
//	link := room.Link("hq")
package venuetest

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/coder/websocket"
	"github.com/pion/interceptor"
	"github.com/pion/logging"
	"github.com/pion/rtcp"
	"github.com/pion/webrtc/v4"
)

const (
	token      = "not-a-secret"
	voiceSlots = 5
	videoSlots = 8
)

// Room is a running room 9000.
type Room struct {
	t      testing.TB
	server *httptest.Server

	// Loss drops every n-th large packet on the wire from publishers, 0 for none.
	Loss int
	// RID is the layer that is forwarded.
	RID string

	mu       sync.Mutex // guards everything below
	members  map[string]*member
	next     int
	instance string
}

type member struct {
	room    *Room
	id      string
	venue   string
	socket  *websocket.Conn
	writing sync.Mutex

	publish   *webrtc.PeerConnection
	subscribe *webrtc.PeerConnection
	voices    []*webrtc.TrackLocalStaticRTP
	videos    []*webrtc.TrackLocalStaticRTP
	mids      []string
	owners    map[string]int // member id -> slot
	camera    uint32         // SSRC of the forwarded layer
}

// Start serves the room until the test ends.
func Start(tb testing.TB) *Room {
	tb.Helper()
	r := &Room{t: tb, members: make(map[string]*member), instance: "one", RID: "m"}
	mux := http.NewServeMux()
	mux.HandleFunc("POST /api/v1/rooms/9000/device", r.device)
	mux.HandleFunc("GET /api/v1/rooms/9000/signal", r.signal)
	r.server = httptest.NewTLSServer(mux)
	tb.Cleanup(r.server.Close)
	return r
}

// Link returns the room link of a venue.
func (r *Room) Link(venue string) string {
	return fmt.Sprintf("%s/room/9000#venue=%s&token=%s", r.server.URL, venue, token)
}

// TLS trusts the room's certificate.
func (r *Room) TLS() *tls.Config {
	return &tls.Config{RootCAs: r.server.Client().Transport.(*http.Transport).TLSClientConfig.RootCAs, MinVersion: tls.VersionTLS12}
}

// Cut breaks the signalling of all members.
func (r *Room) Cut() {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, m := range r.members {
		_ = m.socket.CloseNow()
	}
}

// Order sends a layers command to a venue.
func (r *Room) Order(venue string, active map[string]bool) {
	camera := []map[string]any{}
	for rid, on := range active {
		camera = append(camera, map[string]any{"rid": rid, "active": on, "max_bitrate_bps": 0})
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, m := range r.members {
		if m.venue == venue {
			m.send(map[string]any{"type": "layers", "camera": camera})
		}
	}
}

// Present counts the members.
func (r *Room) Present() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return len(r.members)
}

func (r *Room) device(w http.ResponseWriter, req *http.Request) {
	var body struct{ Venue, Token string }
	if err := json.NewDecoder(req.Body).Decode(&body); err != nil || body.Token != token {
		http.Error(w, "wrong token", http.StatusUnauthorized)
		return
	}
	http.SetCookie(w, &http.Cookie{Name: "device", Value: body.Venue, Path: "/", Secure: true, HttpOnly: true})
	w.WriteHeader(http.StatusNoContent)
}

func (r *Room) signal(w http.ResponseWriter, req *http.Request) {
	cookie, err := req.Cookie("device")
	if err != nil {
		http.Error(w, "no cookie", http.StatusUnauthorized)
		return
	}
	socket, err := websocket.Accept(w, req, &websocket.AcceptOptions{Subprotocols: []string{"linehall.room.v1"}})
	if err != nil {
		return
	}
	socket.SetReadLimit(256 << 10)
	r.mu.Lock()
	r.next++
	m := &member{room: r, id: fmt.Sprintf("p%d", r.next), venue: cookie.Value, socket: socket, owners: make(map[string]int)}
	r.mu.Unlock()
	m.serve(req.Context())
}

func (m *member) send(v any) {
	data, err := json.Marshal(v)
	if err != nil {
		m.room.t.Error(err)
		return
	}
	m.writing.Lock()
	defer m.writing.Unlock()
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	_ = m.socket.Write(ctx, websocket.MessageText, data) // a member that has gone
}

func (m *member) serve(ctx context.Context) {
	defer m.gone()
	for {
		_, data, err := m.socket.Read(ctx)
		if err != nil {
			return
		}
		var msg struct{ Type, SDP string }
		if err := json.Unmarshal(data, &msg); err != nil {
			m.room.t.Errorf("room: %v in %s", err, data)
			return
		}
		switch msg.Type {
		case "join":
			m.join()
		case "publish":
			err = m.accept(msg.SDP)
		case "subscribe_answer":
			err = m.subscribe.SetRemoteDescription(webrtc.SessionDescription{Type: webrtc.SDPTypeAnswer, SDP: msg.SDP})
		case "leave":
			return
		}
		if err != nil {
			m.room.t.Errorf("room: %s of %s: %v", msg.Type, m.venue, err)
			return
		}
	}
}

func (m *member) gone() {
	_ = m.socket.CloseNow()
	m.room.mu.Lock()
	delete(m.room.members, m.id)
	m.room.mu.Unlock()
	for _, pc := range []*webrtc.PeerConnection{m.publish, m.subscribe} {
		if pc != nil {
			_ = pc.Close()
		}
	}
	m.room.announce()
}

func (m *member) join() {
	m.send(map[string]any{
		"type": "welcome", "instance": m.room.instance, "participant": m.id, "resume": "r-" + m.id,
		"venue": map[string]any{"id": m.venue}, "layers": map[string]any{"camera": []any{}},
	})
	if err := m.offer(); err != nil {
		m.room.t.Errorf("room: %v", err)
		return
	}
	m.room.mu.Lock()
	m.room.members[m.id] = m
	m.room.mu.Unlock()
	m.room.announce()
}

// announce tells everybody who is there and in which slot.
func (r *Room) announce() {
	r.mu.Lock()
	defer r.mu.Unlock()
	list := []map[string]any{}
	for _, m := range r.members {
		list = append(list, map[string]any{"id": m.id, "venue": m.venue, "has_video": m.camera != 0})
	}
	for _, m := range r.members {
		video, audio := []map[string]any{}, []map[string]any{}
		for _, other := range r.members {
			if other == m {
				continue
			}
			if _, ok := m.owners[other.id]; !ok {
				m.owners[other.id] = len(m.owners)
			}
			i := m.owners[other.id]
			if i >= videoSlots || i >= voiceSlots {
				continue
			}
			video = append(video, map[string]any{"mid": m.mids[voiceSlots+i], "participant": other.id, "media": "camera", "rid": r.RID})
			audio = append(audio, map[string]any{"mid": m.mids[i], "participant": other.id})
		}
		m.send(map[string]any{"type": "participants", "list": list})
		m.send(map[string]any{"type": "slots", "video": video, "audio": audio})
	}
}

// lossy is a socket that loses every n-th packet of film.
type lossy struct {
	net.PacketConn
	every, seen int
}

func (l *lossy) ReadFrom(p []byte) (int, net.Addr, error) {
	const film = 400 // DTLS, STUN and voice are smaller
	for {
		n, from, err := l.PacketConn.ReadFrom(p)
		if err == nil && l.every > 0 && n > film {
			if l.seen++; l.seen%l.every == 0 {
				continue
			}
		}
		return n, from, err
	}
}

// newAPI returns stock pion on a socket of 127.0.0.1 that may lose packets.
func newAPI(tb testing.TB, loss int) *webrtc.API {
	tb.Helper()
	socket, err := net.ListenPacket("udp4", "127.0.0.1:0")
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { _ = socket.Close() })
	m := &webrtc.MediaEngine{}
	if err := m.RegisterDefaultCodecs(); err != nil {
		tb.Fatal(err)
	}
	registry := &interceptor.Registry{}
	if err := webrtc.RegisterDefaultInterceptors(m, registry); err != nil {
		tb.Fatal(err)
	}
	quiet := &logging.DefaultLoggerFactory{Writer: io.Discard, DefaultLogLevel: logging.LogLevelDisabled}
	s := webrtc.SettingEngine{LoggerFactory: quiet}
	s.SetIncludeLoopbackCandidate(true)
	s.SetNetworkTypes([]webrtc.NetworkType{webrtc.NetworkTypeUDP4})
	s.SetICEUDPMux(webrtc.NewICEUDPMux(quiet.NewLogger("ice"), &lossy{PacketConn: socket, every: loss}))
	return webrtc.NewAPI(webrtc.WithMediaEngine(m), webrtc.WithInterceptorRegistry(registry), webrtc.WithSettingEngine(s))
}

// offer builds the subscribe connection.
func (m *member) offer() error {
	pc, err := newAPI(m.room.t, 0).NewPeerConnection(webrtc.Configuration{})
	if err != nil {
		return err
	}
	m.subscribe = pc
	var transceivers []*webrtc.RTPTransceiver
	for i := range voiceSlots + videoSlots {
		codec := webrtc.RTPCodecCapability{MimeType: webrtc.MimeTypeOpus, ClockRate: 48000, Channels: 2}
		if i >= voiceSlots {
			codec = webrtc.RTPCodecCapability{MimeType: webrtc.MimeTypeVP8, ClockRate: 90000}
		}
		track, err := webrtc.NewTrackLocalStaticRTP(codec, fmt.Sprintf("t%d", i), fmt.Sprintf("s%d", i))
		if err != nil {
			return err
		}
		transceiver, err := pc.AddTransceiverFromTrack(track, webrtc.RTPTransceiverInit{Direction: webrtc.RTPTransceiverDirectionSendonly})
		if err != nil {
			return err
		}
		transceivers = append(transceivers, transceiver)
		if i < voiceSlots {
			m.voices = append(m.voices, track)
		} else {
			m.videos = append(m.videos, track)
		}
		go m.feedback(transceiver.Sender(), i-voiceSlots)
	}
	offer, err := pc.CreateOffer(nil)
	if err != nil {
		return err
	}
	sdp, err := gather(pc, offer)
	if err != nil {
		return err
	}
	for _, t := range transceivers {
		m.mids = append(m.mids, t.Mid())
	}
	m.send(map[string]any{"type": "subscribe_offer", "sdp": sdp})
	return nil
}

func gather(pc *webrtc.PeerConnection, d webrtc.SessionDescription) (string, error) {
	done := webrtc.GatheringCompletePromise(pc)
	if err := pc.SetLocalDescription(d); err != nil {
		return "", err
	}
	<-done
	return pc.LocalDescription().SDP, nil
}

// feedback passes keyframe requests of one slot to its owner.
func (m *member) feedback(sender *webrtc.RTPSender, slot int) {
	for {
		packets, _, err := sender.ReadRTCP()
		if err != nil {
			return
		}
		for _, p := range packets {
			if _, ok := p.(*rtcp.PictureLossIndication); ok {
				m.room.ask(m, slot)
			}
		}
	}
}

func (r *Room) ask(m *member, slot int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for id, i := range m.owners {
		if other := r.members[id]; i == slot && other != nil && other.camera != 0 {
			_ = other.publish.WriteRTCP([]rtcp.Packet{&rtcp.PictureLossIndication{MediaSSRC: other.camera}})
		}
	}
}

// accept answers a publish offer and forwards what arrives.
func (m *member) accept(sdp string) error {
	pc, err := newAPI(m.room.t, m.room.Loss).NewPeerConnection(webrtc.Configuration{})
	if err != nil {
		return err
	}
	m.publish = pc
	pc.OnTrack(func(track *webrtc.TrackRemote, _ *webrtc.RTPReceiver) {
		if track.Kind() == webrtc.RTPCodecTypeVideo && track.RID() == m.room.RID {
			m.room.mu.Lock()
			m.camera = uint32(track.SSRC())
			m.room.mu.Unlock()
			m.room.announce()
			_ = pc.WriteRTCP([]rtcp.Packet{&rtcp.PictureLossIndication{MediaSSRC: uint32(track.SSRC())}})
		}
		m.forward(track)
	})
	if err := pc.SetRemoteDescription(webrtc.SessionDescription{Type: webrtc.SDPTypeOffer, SDP: sdp}); err != nil {
		return err
	}
	if n := strings.Count(sdp, "\r\nm="); n != 3 {
		return fmt.Errorf("publish offer has %d m-lines", n)
	}
	answer, err := pc.CreateAnswer(nil)
	if err != nil {
		return err
	}
	text, err := gather(pc, answer)
	if err != nil {
		return err
	}
	m.send(map[string]any{"type": "publish_answer", "sdp": text})
	return nil
}

func (m *member) forward(track *webrtc.TrackRemote) {
	for {
		packet, _, err := track.ReadRTP()
		if err != nil {
			return
		}
		video := track.Kind() == webrtc.RTPCodecTypeVideo
		if video && track.RID() != m.room.RID {
			continue
		}
		packet.Extension, packet.Extensions = false, nil
		m.room.mu.Lock()
		for _, other := range m.room.members {
			i, ok := other.owners[m.id]
			if other == m || !ok || i >= voiceSlots {
				continue
			}
			to := other.voices[i]
			if video {
				to = other.videos[i]
			}
			_ = to.WriteRTP(packet) // not connected yet
		}
		m.room.mu.Unlock()
	}
}
