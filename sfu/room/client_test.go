package room_test

import (
	"context"
	"encoding/binary"
	"encoding/json"
	"maps"
	"net"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/coder/websocket"
	"github.com/pion/interceptor"
	"github.com/pion/rtcp"
	"github.com/pion/rtp"
	"github.com/pion/sdp/v3"
	pion "github.com/pion/webrtc/v4"
	"github.com/prometheus/client_golang/prometheus"

	"linehall/internal/auth"
	"linehall/internal/site"
	"linehall/media/line"
	"linehall/media/webrtc"
	"linehall/sfu/congestion"
	"linehall/sfu/room"
	"linehall/sfu/signal"
)

// world is a media plane, the rooms and their WebSocket, on loopback ports of their own.
type world struct {
	manager *room.Manager
	plane   *webrtc.Plane
	url     string
	stop    func()
	dismiss func() // ends the rooms and returns when Run has
	cut     func() // breaks all WebSockets, as the end of the process would
	plain   bool   // clients without NACK
	who     func(name string) auth.Principal
}

var demoVenues = []string{"hq", "branch1", "branch2", "branch3", "branch4", "branch5"}

func demoConfig() room.Config {
	c := room.Config{}
	for _, id := range demoVenues {
		c.Venues = append(c.Venues, room.VenueConfig{ID: id, Site: site.ID(id), Name: room.VenueName{Zh: "会场" + id, En: "Venue " + id}})
	}
	c.Rooms = []room.Settings{{Number: "9000", Name: "全省例会", Voices: 3, Venues: demoVenues}}
	return c
}

type worldOptions struct {
	without bool
	sites   []site.Site
	ledger  **line.Ledger
	reg     prometheus.Registerer
	config  *room.Config
	book    *room.Book
	plan    room.Schedule
}

func newWorld(tb testing.TB, o worldOptions) *world {
	tb.Helper()
	plane, err := webrtc.Open(webrtc.Options{UDP: "127.0.0.1:0", TCP: "127.0.0.1:0"})
	if err != nil {
		tb.Fatal(err)
	}
	options := room.Options{Config: demoConfig(), Plane: plane, WithoutRecovery: o.without, Registry: o.reg, Book: o.book, Schedule: o.plan}
	if o.config != nil {
		options.Config = *o.config
	}
	w := &world{plane: plane, who: func(name string) auth.Principal {
		return auth.Principal{Kind: auth.KindDevice, Role: auth.Room, Room: "9000", Venue: name}
	}}
	if o.sites != nil {
		table, err := site.NewTable(o.sites)
		if err != nil {
			tb.Fatal(err)
		}
		options.Atlas = site.NewAtlas(table)
		options.Ledger = line.NewLedger(table, discard(), nil)
		options.Congestion = congestion.NewPool(options.Ledger)
		if o.ledger != nil {
			*o.ledger = options.Ledger
		}
	}
	manager := room.NewManager(options)
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		if err := manager.Run(ctx); err != nil {
			tb.Error(err)
		}
	}()
	measured := make(chan struct{})
	go func() {
		defer close(measured)
		if options.Congestion != nil {
			_ = options.Congestion.Run(ctx)
		}
	}()
	handler := signal.NewHandler(signal.Options{Rooms: manager, Number: func(*http.Request) string { return "9000" }})
	server := httptest.NewUnstartedServer(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		who := w.who(r.URL.Query().Get("venue"))
		handler.ServeHTTP(rw, r.WithContext(auth.WithPrincipal(r.Context(), who)))
	}))
	var sockets sync.Map
	server.Config.ConnState = func(c net.Conn, s http.ConnState) {
		if s == http.StateHijacked {
			sockets.Store(c, nil)
		}
	}
	server.Start()
	w.manager, w.url = manager, "ws"+strings.TrimPrefix(server.URL, "http")
	w.dismiss = func() { cancel(); <-ended; <-measured }
	w.cut = func() {
		sockets.Range(func(c, _ any) bool { _ = c.(net.Conn).Close(); return true })
	}
	var once sync.Once
	w.stop = func() {
		once.Do(func() {
			w.dismiss()
			server.Close()
			if err := plane.Close(); err != nil {
				tb.Error(err)
			}
		})
	}
	tb.Cleanup(w.stop)
	return w
}

// client is a native venue on pion, as a load generator or a browser would be one.
type client struct {
	t      testing.TB
	socket *websocket.Conn
	ctx    context.Context
	cancel context.CancelFunc
	settle func(*pion.SettingEngine)
	plain  bool
	done   chan struct{}

	writeMu sync.Mutex
	mu      sync.Mutex
	welcome signal.Welcome
	people  []signal.Participant
	slots   signal.Slots
	layers  signal.Commands
	line    signal.Line
	ended   string
	meeting signal.Meeting
	standby signal.Standby
	chat    []signal.ChatLine
	minutes []signal.Minute
	quality []signal.QualityLine
	ordered signal.StillOrder
	stills  []signal.Still
	waiting bool
	pongs   int
	errors  []signal.Error
	changed chan struct{}
	leaving atomic.Bool

	publish   *pion.PeerConnection
	subscribe *pion.PeerConnection
	cameras   map[string]*camera
	audio     *pion.TrackLocalStaticRTP
	received  map[string]*receiver // by mid
}

// camera is one layer of synthetic VP8.
type camera struct {
	track    *pion.TrackLocalStaticRTP
	height   int
	active   atomic.Bool
	keyframe atomic.Bool
	plis     atomic.Int64
	frames   atomic.Int64
	frame    uint16
	tl0      uint8
	sequence uint16
	stamp    uint32
	mid, rid uint8 // header extensions
}

func (w *world) join(tb testing.TB, venue, resume string, settle func(*pion.SettingEngine)) *client {
	tb.Helper()
	c := w.dial(tb, venue, settle)
	c.send(map[string]any{"type": "join", "resume": resume, "client": "test"})
	return c
}

// joinAs joins with more than the usual fields.
func (w *world) joinAs(tb testing.TB, venue string, fields map[string]any) *client {
	tb.Helper()
	c := w.dial(tb, venue, nil)
	m := map[string]any{"type": "join", "client": "test"}
	maps.Copy(m, fields)
	c.send(m)
	return c
}

func (w *world) dial(tb testing.TB, venue string, settle func(*pion.SettingEngine)) *client {
	tb.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	socket, _, err := websocket.Dial(ctx, w.url+"?venue="+venue, &websocket.DialOptions{Subprotocols: []string{signal.Subprotocol}})
	if err != nil {
		cancel()
		tb.Fatal(err)
	}
	socket.SetReadLimit(signal.MaxMessage)
	c := &client{
		t: tb, socket: socket, ctx: ctx, cancel: cancel, settle: settle, plain: w.plain, changed: make(chan struct{}, 1), done: make(chan struct{}),
		cameras: map[string]*camera{}, received: map[string]*receiver{},
	}
	go c.read()
	return c
}

func (c *client) send(m any) {
	frame, err := json.Marshal(m)
	if err != nil {
		c.t.Error(err)
		return
	}
	c.writeMu.Lock()
	defer c.writeMu.Unlock()
	_ = c.socket.Write(c.ctx, websocket.MessageText, frame)
}

func (c *client) read() {
	defer close(c.done)
	for {
		_, frame, err := c.socket.Read(c.ctx)
		if err != nil {
			return
		}
		var head struct{ Type string }
		_ = json.Unmarshal(frame, &head)
		var d signal.Description
		c.mu.Lock()
		switch head.Type {
		case "welcome":
			_ = json.Unmarshal(frame, &c.welcome)
		case "participants":
			var m signal.Participants
			_ = json.Unmarshal(frame, &m)
			c.people = m.List
		case "slots":
			c.slots = signal.Slots{}
			_ = json.Unmarshal(frame, &c.slots)
		case "layers":
			var m signal.Layers
			_ = json.Unmarshal(frame, &m)
			c.layers = m.Commands
			for _, l := range m.Camera {
				if cam := c.cameras[l.RID]; cam != nil {
					cam.active.Store(l.Active)
				}
			}
		case "line":
			_ = json.Unmarshal(frame, &c.line)
		case "meeting":
			c.meeting = signal.Meeting{}
			_ = json.Unmarshal(frame, &c.meeting)
		case "standby":
			c.standby = signal.Standby{}
			_ = json.Unmarshal(frame, &c.standby)
		case "pong":
			c.pongs++
		case "waiting":
			c.waiting = true
		case "chat":
			var m signal.Chat
			_ = json.Unmarshal(frame, &m)
			if m.Whole {
				c.chat = nil
			}
			c.chat = append(c.chat, m.Lines...)
		case "minutes":
			var m signal.Minutes
			_ = json.Unmarshal(frame, &m)
			if m.Whole {
				c.minutes = nil
			}
			c.minutes = append(c.minutes, m.List...)
		case "quality":
			var m signal.Quality
			_ = json.Unmarshal(frame, &m)
			c.quality = m.List
		case "stills":
			_ = json.Unmarshal(frame, &c.ordered)
		case "still":
			var m signal.Still
			_ = json.Unmarshal(frame, &m)
			c.stills = append(c.stills, m)
		case "ended":
			var m signal.Ended
			_ = json.Unmarshal(frame, &m)
			c.ended = m.Reason
		case "error":
			var m signal.Error
			_ = json.Unmarshal(frame, &m)
			c.errors = append(c.errors, m)
		case "publish_answer", "subscribe_offer":
			_ = json.Unmarshal(frame, &d)
		}
		c.mu.Unlock()
		switch d.Type {
		case "publish_answer":
			err := c.publish.SetRemoteDescription(pion.SessionDescription{Type: pion.SDPTypeAnswer, SDP: d.SDP})
			if err != nil && !c.leaving.Load() {
				c.t.Errorf("publish answer: %v", err)
			}
		case "subscribe_offer":
			c.answer(d.SDP)
		}
		select {
		case c.changed <- struct{}{}:
		default:
		}
	}
}

// await waits until a condition on what the server said holds.
func (c *client) await(what string, cond func() bool) {
	c.t.Helper()
	deadline := time.After(patience)
	for {
		c.mu.Lock()
		ok := cond()
		c.mu.Unlock()
		if ok {
			return
		}
		select {
		case <-c.changed:
		case <-time.After(20 * time.Millisecond):
		case <-deadline:
			c.t.Fatalf("never: %s (errors %v)", what, c.errors)
		}
	}
}

func (c *client) api() *pion.API {
	m := &pion.MediaEngine{}
	if err := m.RegisterDefaultCodecs(); err != nil {
		c.t.Fatal(err)
	}
	for _, uri := range []string{sdp.SDESMidURI, sdp.SDESRTPStreamIDURI, sdp.SDESRepairRTPStreamIDURI} {
		if err := m.RegisterHeaderExtension(pion.RTPHeaderExtensionCapability{URI: uri}, pion.RTPCodecTypeVideo); err != nil {
			c.t.Fatal(err)
		}
	}
	registry := &interceptor.Registry{}
	if !c.plain {
		if err := pion.ConfigureNack(m, registry); err != nil { // a client answers NACKs and asks for what it lost
			c.t.Fatal(err)
		}
		if err := pion.ConfigureTWCCSender(m, registry); err != nil { // and says what arrives
			c.t.Fatal(err)
		}
	}
	s := pion.SettingEngine{}
	s.SetIncludeLoopbackCandidate(true)
	s.SetNetworkTypes([]pion.NetworkType{pion.NetworkTypeUDP4})
	if c.settle != nil {
		c.settle(&s)
	}
	return pion.NewAPI(pion.WithMediaEngine(m), pion.WithInterceptorRegistry(registry), pion.WithSettingEngine(s))
}

// startPublish offers a camera of the given layers (RID to height; "" is a plain track) and a microphone.
func (c *client) startPublish(layers map[string]int) {
	c.t.Helper()
	pc, err := c.api().NewPeerConnection(pion.Configuration{})
	if err != nil {
		c.t.Fatal(err)
	}
	c.publish = pc
	c.audio, err = pion.NewTrackLocalStaticRTP(pion.RTPCodecCapability{MimeType: pion.MimeTypeOpus, ClockRate: 48000, Channels: 2}, "audio", "venue")
	if err != nil {
		c.t.Fatal(err)
	}
	sendonly := pion.RTPTransceiverInit{Direction: pion.RTPTransceiverDirectionSendonly}
	if _, err = pc.AddTransceiverFromTrack(c.audio, sendonly); err != nil {
		c.t.Fatal(err)
	}
	var sender *pion.RTPSender
	for _, rid := range []string{"", "l", "m", "h"} {
		height, ok := layers[rid]
		if !ok {
			continue
		}
		cam := &camera{height: height, sequence: uint16(height), stamp: uint32(height) * 1000}
		cam.active.Store(rid == "" || rid == "l")
		cam.keyframe.Store(true)
		options := []func(*pion.TrackLocalStaticRTP){}
		if rid != "" {
			options = append(options, pion.WithRTPStreamID(rid))
		}
		cam.track, err = pion.NewTrackLocalStaticRTP(pion.RTPCodecCapability{MimeType: pion.MimeTypeVP8, ClockRate: 90000}, "camera", "venue", options...)
		if err != nil {
			c.t.Fatal(err)
		}
		if sender == nil {
			tr, err := pc.AddTransceiverFromTrack(cam.track, sendonly)
			if err != nil {
				c.t.Fatal(err)
			}
			sender = tr.Sender()
		} else if err := sender.AddEncoding(cam.track); err != nil {
			c.t.Fatal(err)
		}
		c.mu.Lock()
		c.cameras[rid] = cam
		c.mu.Unlock()
	}
	if _, err = pc.AddTransceiverFromKind(pion.RTPCodecTypeVideo, sendonly); err != nil {
		c.t.Fatal(err)
	}
	offer, err := pc.CreateOffer(nil)
	if err != nil {
		c.t.Fatal(err)
	}
	gathered := pion.GatheringCompletePromise(pc)
	if err := pc.SetLocalDescription(offer); err != nil {
		c.t.Fatal(err)
	}
	<-gathered
	for rid, cam := range c.cameras {
		for _, e := range sender.GetParameters().HeaderExtensions {
			switch e.URI {
			case sdp.SDESMidURI:
				cam.mid = uint8(e.ID)
			case sdp.SDESRTPStreamIDURI:
				cam.rid = uint8(e.ID)
			}
		}
		go c.readFeedback(sender, rid, cam)
	}
	c.send(map[string]any{"type": "publish", "sdp": pc.LocalDescription().SDP})
}

func (c *client) readFeedback(sender *pion.RTPSender, rid string, cam *camera) {
	buf := make([]byte, 1600)
	for {
		var n int
		var err error
		if rid == "" {
			n, _, err = sender.Read(buf)
		} else {
			n, _, err = sender.ReadSimulcast(buf, rid)
		}
		if err != nil {
			return
		}
		packets, err := rtcp.Unmarshal(buf[:n])
		if err != nil {
			continue
		}
		for _, p := range packets {
			if _, ok := p.(*rtcp.PictureLossIndication); ok {
				cam.plis.Add(1)
				cam.keyframe.Store(true)
			}
		}
	}
}

// film sends frames of some packets at 25 frames/s and voice at 50 packets/s until ctx ends.
func (c *client) film(ctx context.Context, packets int) {
	ticker := time.NewTicker(20 * time.Millisecond)
	defer ticker.Stop()
	mid := c.publish.GetTransceivers()[1].Mid()
	for i := 0; ; i++ {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
		voice := &rtp.Packet{Header: rtp.Header{Version: 2, SequenceNumber: uint16(i), Timestamp: uint32(i) * 960}, Payload: make([]byte, 80)}
		_ = c.audio.WriteRTP(voice)
		if i%2 == 0 {
			continue
		}
		for rid, cam := range c.cameras {
			if cam.active.Load() {
				cam.write(mid, rid, packets)
			} else {
				cam.stamp += 3600
			}
		}
	}
}

// write sends one frame: the payload says which frame it is, so that a receiver can count whole ones.
func (cam *camera) write(mid, rid string, packets int) {
	key := cam.keyframe.Swap(false)
	cam.frame = (cam.frame + 1) & 0x7fff
	cam.frames.Add(1)
	cam.tl0++
	cam.stamp += 3600
	for i := range packets {
		payload := make([]byte, 6+10+900)
		payload[0] = 0x80
		if i == 0 {
			payload[0] |= 0x10
		}
		payload[1] = 0xe0
		binary.BigEndian.PutUint16(payload[2:], cam.frame|0x8000)
		payload[4], payload[5] = cam.tl0, 0
		if i > 0 || !key {
			payload[6] = 1
		} else {
			copy(payload[9:], []byte{0x9d, 0x01, 0x2a})
			binary.LittleEndian.PutUint16(payload[12:], uint16(cam.height*16/9))
			binary.LittleEndian.PutUint16(payload[14:], uint16(cam.height))
		}
		payload[16], payload[17] = byte(i), byte(packets)
		p := &rtp.Packet{
			Header:  rtp.Header{Version: 2, Marker: i == packets-1, SequenceNumber: cam.sequence, Timestamp: cam.stamp},
			Payload: payload,
		}
		cam.sequence++
		if rid != "" {
			_ = p.SetExtension(cam.mid, []byte(mid))
			_ = p.SetExtension(cam.rid, []byte(rid))
		}
		_ = cam.track.WriteRTP(p)
	}
}

// answer takes an offer of the subscribe connection.
func (c *client) answer(text string) {
	if c.subscribe == nil {
		pc, err := c.api().NewPeerConnection(pion.Configuration{})
		if err != nil {
			c.t.Error(err)
			return
		}
		c.subscribe = pc
		pc.OnTrack(func(track *pion.TrackRemote, r *pion.RTPReceiver) {
			rec := newReceiver(track.Kind())
			c.mu.Lock()
			for _, tr := range pc.GetTransceivers() {
				if tr.Receiver() == r {
					c.received[tr.Mid()] = rec
				}
			}
			c.mu.Unlock()
			rec.run(pc, track)
		})
	}
	if err := c.subscribe.SetRemoteDescription(pion.SessionDescription{Type: pion.SDPTypeOffer, SDP: text}); err != nil {
		c.t.Errorf("subscribe offer: %v", err)
		return
	}
	answer, err := c.subscribe.CreateAnswer(nil)
	if err != nil {
		c.t.Error(err)
		return
	}
	gathered := pion.GatheringCompletePromise(c.subscribe)
	if err := c.subscribe.SetLocalDescription(answer); err != nil {
		c.t.Error(err)
		return
	}
	<-gathered
	c.send(map[string]any{"type": "subscribe_answer", "sdp": c.subscribe.LocalDescription().SDP})
}

// id is the participant's, empty before the welcome.
func (c *client) id() string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.welcome.Participant
}

// first is the first video m-line's stream.
func (c *client) first() *receiver {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.received[c.slots.Video[0].MID]
}

// sees says whether the list shows another client's camera as on; for await.
func (c *client) sees(other *client) bool {
	id := other.id()
	return slices.ContainsFunc(c.people, func(p signal.Participant) bool { return p.ID == id && p.HasVideo })
}

// watch wants everyone's camera.
func (c *client) watch(height int) {
	c.mu.Lock()
	views := []signal.View{}
	for _, p := range c.people {
		if p.ID != c.welcome.Participant {
			views = append(views, signal.View{Participant: p.ID, Media: "camera", Height: height})
		}
	}
	c.mu.Unlock()
	c.send(map[string]any{"type": "want", "views": views})
}

// of returns what was received in the m-line that shows a participant's camera.
func (c *client) of(participant string) *receiver {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, s := range c.slots.Video {
		if s.Participant == participant && s.Media == "camera" {
			return c.received[s.MID]
		}
	}
	return nil
}

func (c *client) close() {
	c.leaving.Store(true) // an answer may still be under way
	if c.publish != nil {
		_ = c.publish.Close()
	}
	c.send(map[string]any{"type": "leave"})
	select {
	case <-c.done:
	case <-time.After(patience):
		c.t.Error("the server did not close the connection after leave")
	}
	c.cancel()
	if c.subscribe != nil {
		_ = c.subscribe.Close()
	}
	_ = c.socket.CloseNow()
}

// receiver checks one m-line's stream as a decoder would.
type receiver struct {
	kind pion.RTPCodecType

	mu       sync.Mutex
	packets  int
	frames   int // whole frames, in decodable order
	heights  map[int]int
	started  bool
	parts    map[uint32]*frameParts
	lastTime uint32
	backward int // timestamps that went back by more than reordering explains
}

type frameParts struct {
	have, want int
}

func newReceiver(kind pion.RTPCodecType) *receiver {
	return &receiver{kind: kind, heights: map[int]int{}, parts: map[uint32]*frameParts{}}
}

// run reads a stream. A decoder that has nothing to begin with asks for a keyframe: what comes before the encryption is
// negotiated is lost, and nobody repeats it.
func (r *receiver) run(pc *pion.PeerConnection, track *pion.TrackRemote) {
	var asked time.Time
	for {
		p, _, err := track.ReadRTP()
		if err != nil {
			return
		}
		r.take(p)
		if r.kind == pion.RTPCodecTypeVideo && !r.begun() && time.Since(asked) > 300*time.Millisecond {
			asked = time.Now()
			_ = pc.WriteRTCP([]rtcp.Packet{&rtcp.PictureLossIndication{MediaSSRC: uint32(track.SSRC())}})
		}
	}
}

// begun says whether there was a keyframe.
func (r *receiver) begun() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return len(r.heights) > 0
}

func (r *receiver) take(p *rtp.Packet) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.packets++
	if r.kind == pion.RTPCodecTypeAudio || len(p.Payload) < 18 {
		return
	}
	if r.started && int32(p.Timestamp-r.lastTime) < -90000 {
		r.backward++
	}
	r.started, r.lastTime = true, p.Timestamp
	f := r.parts[p.Timestamp]
	if f == nil {
		f = &frameParts{}
		r.parts[p.Timestamp] = f
		delete(r.parts, p.Timestamp-90000) // a second old
	}
	f.have++
	f.want = int(p.Payload[17])
	if p.Payload[0]&0x10 != 0 && p.Payload[6]&1 == 0 {
		r.heights[int(binary.LittleEndian.Uint16(p.Payload[14:]))]++
	}
	if f.have == f.want {
		r.frames++
	}
}

func (r *receiver) count() (packets, frames int) {
	if r == nil {
		return 0, 0
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.packets, r.frames
}

// sawHeight says whether a keyframe of that height came.
func (r *receiver) sawHeight(h int) bool {
	if r == nil {
		return false
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.heights[h] > 0
}
