package venue

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/netip"
	"sync"
	"time"

	"github.com/coder/websocket"
	"github.com/pion/webrtc/v4"
	"golang.org/x/sync/errgroup"

	"linehall/cmd/linesim/media"
)

// Config describes one native venue.
type Config struct {
	Link   Link
	TLS    *tls.Config
	Bind   netip.Addr // own address for signalling and media; the zero value leaves it to the kernel
	Height int        // how tall the others' pictures are shown, 360 when 0
	Strip  int        // how tall all but the first of them are shown; 0: like the first
	Full   bool       // encode at the commanded rates and pace, as a browser's camera does; otherwise the film's own rates
	Log    *slog.Logger
}

// ErrRemoved says that the server ended the participation for good.
var ErrRemoved = errors.New("the server ended it")

// errAgain says that the signalling broke and the venue shall come back.
var errAgain = errors.New("signalling lost")

// Venue is one native participant; see the package comment.
type Venue struct {
	cfg    Config
	number int

	mu          sync.Mutex // guards everything below; taken per received packet, never held while sending
	tiles       map[string]*TileStats
	voices      map[string]*VoiceStats
	reasons     map[string]string
	firstFrame  time.Duration
	joined      time.Duration // device token to welcome
	joins       int
	resumed     int
	wrongVoices uint64
	heard       hearing // of all m-lines together: packets and lost
	complaints  []string
	state       string
	resume      string
	instance    string
	sent        Sent
}

// Sent sums up the publishing side.
type Sent struct {
	Packets   uint64            `json:"packets"`
	NACKed    uint64            `json:"nacked"`
	Resent    uint64            `json:"resent"`
	Stills    uint64            `json:"stills"`
	Keyframes map[string]uint64 `json:"keyframes_on_request"`
	Requests  map[string]uint64 `json:"keyframe_requests"`
	Layers    map[string]bool   `json:"layers_active"`
}

// session is one life of the two connections.
type session struct {
	socket       *websocket.Conn
	publishAPI   *webrtc.API
	subscribeAPI *webrtc.API
	publisher    *publisher
	subscribe    *webrtc.PeerConnection
	self         string
	instance     string
	joinedAt     time.Time
	people       map[string]participant // guarded by Venue.mu
	tiles        map[string]*tile       // guarded by Venue.mu
	voices       map[string]*hearing    // guarded by Venue.mu
	videoSlots   []slot                 // guarded by Venue.mu
	audioSlots   []slot                 // guarded by Venue.mu
	group        *errgroup.Group
	sockets      []io.Closer
	stopStills   context.CancelFunc // ends the sending of still pictures
}

// New prepares a venue; nothing is sent before Run.
func New(cfg Config) (*Venue, error) {
	if cfg.Height == 0 {
		const grid = 360 // what six tiles leave on a full-HD screen
		cfg.Height = grid
	}
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	cfg.Log = cfg.Log.With("venue", cfg.Link.Venue)
	return &Venue{
		cfg: cfg, number: media.Number(cfg.Link.Venue), tiles: make(map[string]*TileStats),
		voices: make(map[string]*VoiceStats), reasons: make(map[string]string), state: "off",
	}, nil
}

// Run takes part in the room until ctx ends (then it leaves) or the server removes the venue. A broken connection is
// taken up again.
func (v *Venue) Run(ctx context.Context) error {
	const first, longest = 300 * time.Millisecond, 5 * time.Second
	wait := first
	for {
		started := time.Now()
		err := v.live(ctx)
		if ctx.Err() != nil {
			v.become("off")
			return nil
		}
		if errors.Is(err, ErrRemoved) {
			v.become("removed")
			return err
		}
		v.become("away")
		v.cfg.Log.Info("coming back", "error", err)
		if time.Since(started) > longest {
			wait = first
		}
		v.complain(err)
		timer := time.NewTimer(wait)
		select {
		case <-ctx.Done():
			timer.Stop()
			v.become("off")
			return nil
		case <-timer.C:
		}
		wait = min(2*wait, longest)
	}
}

func (v *Venue) become(state string) {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.state = state
}

func (v *Venue) complain(err error) {
	const keep = 20
	v.mu.Lock()
	defer v.mu.Unlock()
	if err != nil && len(v.complaints) < keep {
		v.complaints = append(v.complaints, err.Error())
	}
}

// live is one session: from the device token to the end of the signalling.
func (v *Venue) live(ctx context.Context) (err error) {
	started := time.Now()
	client, err := newClient(v.cfg.Bind, v.cfg.TLS)
	if err != nil {
		return err
	}
	defer client.CloseIdleConnections()
	socket, err := v.connect(ctx, client)
	if err != nil {
		return err
	}
	s := &session{
		socket: socket, people: make(map[string]participant), tiles: make(map[string]*tile), voices: make(map[string]*hearing), joinedAt: started,
	}
	ctx, cancel := context.WithCancel(ctx)
	s.group, ctx = errgroup.WithContext(ctx)
	defer func() {
		cancel()
		_ = socket.CloseNow() // orderly closing has been tried by then
		v.tallySent(s)
		err = errors.Join(err, s.closeAll())
		if groupErr := s.group.Wait(); err == nil {
			err = groupErr
		}
	}()
	if s.publishAPI, err = s.api(v.cfg.Bind, publishAPI); err != nil {
		return err
	}
	if s.subscribeAPI, err = s.api(v.cfg.Bind, subscribeAPI); err != nil {
		return err
	}
	return v.converse(ctx, s)
}

func (v *Venue) connect(ctx context.Context, client *http.Client) (*websocket.Conn, error) {
	const patience = 15 * time.Second
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	if err := v.cfg.Link.enter(ctx, client); err != nil {
		return nil, err
	}
	return v.cfg.Link.dial(ctx, client)
}

func (v *Venue) send(ctx context.Context, s *session, m envelope) error {
	data, err := json.Marshal(m)
	if err != nil {
		return fmt.Errorf("%s: %w", m.Type, err)
	}
	if err := s.socket.Write(ctx, websocket.MessageText, data); err != nil {
		return fmt.Errorf("%s: %w: %w", m.Type, errAgain, err)
	}
	return nil
}

// converse joins and handles the server's messages until the connection ends.
func (v *Venue) converse(ctx context.Context, s *session) error {
	v.mu.Lock()
	resume := v.resume
	v.mu.Unlock()
	if err := v.send(ctx, s, envelope{Type: "join", Client: "linesim native venue", Resume: resume}); err != nil {
		return err
	}
	// Reading must not be bound to ctx: its end closes the socket, and the goodbye below would not leave.
	reading, stopReading := context.WithCancel(context.WithoutCancel(ctx))
	defer stopReading()
	messages := make(chan incoming, 16)
	s.group.Go(func() error { return v.read(reading, s, messages) })
	ticker := time.NewTicker(5 * time.Second)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			v.leave(s)
			return nil
		case <-ticker.C:
			if err := v.sendStats(ctx, s); err != nil {
				return err
			}
		case m, ok := <-messages:
			if !ok {
				return errAgain
			}
			if err := v.handle(ctx, s, m); err != nil {
				return err
			}
		}
	}
}

// leave says goodbye within a bounded time.
func (v *Venue) leave(s *session) {
	const patience = time.Second
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	if err := v.send(ctx, s, envelope{Type: "leave"}); err == nil {
		_ = s.socket.Close(websocket.StatusNormalClosure, "") // the venue is gone either way
	}
	v.mu.Lock()
	v.resume = "" // an orderly end is not resumed
	v.mu.Unlock()
}

// read passes messages on until the socket ends; the channel is closed then.
func (v *Venue) read(ctx context.Context, s *session, into chan<- incoming) error {
	defer close(into)
	for {
		_, data, err := s.socket.Read(ctx)
		if err != nil {
			return nil // the end of the session; converse says how it went on
		}
		var m incoming
		if err := json.Unmarshal(data, &m); err != nil {
			v.complain(fmt.Errorf("message from the server: %w", err))
			continue
		}
		select {
		case into <- m:
		case <-ctx.Done():
			return nil
		}
	}
}

func (v *Venue) handle(ctx context.Context, s *session, m incoming) error {
	v.cfg.Log.Debug("from the server", "type", m.Type, "reason", m.Reason, "message", m.Message)
	switch m.Type {
	case "welcome":
		return v.welcomed(ctx, s, m)
	case "publish_answer":
		return v.publishing(ctx, s, m.SDP)
	case "subscribe_offer":
		return v.answerSubscribe(ctx, s, m.SDP)
	case "participants":
		return v.meet(ctx, s, m.List)
	case "slots":
		v.assign(s, m.Video, m.Audio)
	case "layers":
		if s.publisher != nil {
			s.publisher.obey(m.Camera)
		}
	case "stills":
		v.orderStills(ctx, s, m)
	case "still":
		v.takeStill(s, m)
	case "error":
		v.complain(fmt.Errorf("server refused %s: %s: %s", m.Request, m.Code, m.Message))
		if m.Request == "join" {
			v.mu.Lock()
			v.resume = ""
			v.mu.Unlock()
			return fmt.Errorf("join refused: %s: %s", m.Code, m.Message)
		}
	case "ended":
		if m.Reason == "shutdown" {
			return fmt.Errorf("%w: the server is restarting", errAgain)
		}
		return fmt.Errorf("%w: %s", ErrRemoved, m.Reason)
	}
	return nil
}

func (v *Venue) welcomed(ctx context.Context, s *session, m incoming) error {
	v.mu.Lock()
	v.joins++
	if v.resume != "" && v.instance == m.Instance {
		v.resumed++
	}
	v.resume, v.instance = m.Resume, m.Instance
	v.joined = time.Since(s.joinedAt)
	v.state = "in"
	v.mu.Unlock()
	s.self, s.instance = m.Participant, m.Instance
	p, err := newPublisher(s.publishAPI, v.number)
	if err != nil {
		return err
	}
	p.full = v.cfg.Full
	s.publisher = p
	if m.Layers != nil {
		p.obey(m.Layers.Camera)
	}
	offer, err := p.offer(ctx)
	if err != nil {
		return err
	}
	return v.send(ctx, s, envelope{Type: "publish", SDP: offer})
}

// publishing starts the film once the server has answered.
func (v *Venue) publishing(ctx context.Context, s *session, sdp string) error {
	p := s.publisher
	if p == nil {
		return nil
	}
	started := false
	p.pc.OnConnectionStateChange(func(state webrtc.PeerConnectionState) {
		if state == webrtc.PeerConnectionStateConnected && !started {
			started = true
			s.group.Go(func() error {
				p.run(ctx)
				return nil
			})
		}
	})
	return p.answered(sdp, func(f func()) {
		s.group.Go(func() error {
			f()
			return nil
		})
	})
}

// meet notes who is there and says which pictures are wanted: every other camera.
func (v *Venue) meet(ctx context.Context, s *session, list []participant) error {
	v.mu.Lock()
	s.people = make(map[string]participant, len(list))
	want := envelope{Type: "want", Views: []view{}}
	for _, p := range list {
		s.people[p.ID] = p
		if p.ID != s.self && p.HasVideo {
			height := v.cfg.Height
			if v.cfg.Strip > 0 && len(want.Views) > 0 {
				height = v.cfg.Strip
			}
			want.Views = append(want.Views, view{Participant: p.ID, Media: "camera", Height: height})
		}
	}
	v.reassign(s)
	v.mu.Unlock()
	return v.send(ctx, s, want)
}
