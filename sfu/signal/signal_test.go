package signal_test

import (
	"context"
	"encoding/json"
	"errors"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/coder/websocket"
	"github.com/google/go-cmp/cmp"

	"linehall/internal/auth"
	"linehall/sfu/signal"
)

// rooms records what a handler does to it.
type rooms struct {
	mu       sync.Mutex
	joined   []signal.Request
	handled  []signal.Request
	lost     chan struct{}
	removed  chan struct{}
	client   signal.Client
	admitted chan struct{}
}

func newRooms() *rooms {
	return &rooms{lost: make(chan struct{}), removed: make(chan struct{}), admitted: make(chan struct{}, 8)}
}

func (r *rooms) Join(_ context.Context, number string, _ auth.Principal, join signal.Request, c signal.Client) (signal.Member, error) {
	if number != "9000" {
		return nil, signal.ErrNotFound
	}
	r.mu.Lock()
	r.joined, r.client = append(r.joined, join), c
	r.mu.Unlock()
	c.Send(signal.Welcome{Type: "welcome", Participant: "p1"})
	r.admitted <- struct{}{}
	return r, nil
}

func (r *rooms) Handle(q signal.Request) {
	r.mu.Lock()
	r.handled = append(r.handled, q)
	r.mu.Unlock()
	if q.Type == "panic" {
		panic("a bug in the room")
	}
}

func (r *rooms) Lost() { close(r.lost) }

func (r *rooms) Remove() { close(r.removed) }

func serve(t *testing.T, r *rooms, who *auth.Principal, number string) string {
	t.Helper()
	h := signal.NewHandler(signal.Options{Rooms: r, Number: func(*http.Request) string { return number }})
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, q *http.Request) {
		if who != nil {
			q = q.WithContext(auth.WithPrincipal(q.Context(), *who))
		}
		h.ServeHTTP(w, q)
	}))
	t.Cleanup(s.Close)
	return "ws" + strings.TrimPrefix(s.URL, "http")
}

var venue = auth.Principal{Kind: auth.KindDevice, Role: auth.Room, Room: "9000", Venue: "hq"}

func dial(t *testing.T, url string, options *websocket.DialOptions) (*websocket.Conn, int) {
	t.Helper()
	if options == nil {
		options = &websocket.DialOptions{Subprotocols: []string{signal.Subprotocol}}
	}
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
	defer cancel()
	c, res, err := websocket.Dial(ctx, url, options)
	if err != nil {
		if res == nil {
			t.Fatal(err)
		}
		return nil, res.StatusCode
	}
	t.Cleanup(func() { _ = c.CloseNow() })
	return c, http.StatusSwitchingProtocols
}

func write(t *testing.T, c *websocket.Conn, text string) {
	t.Helper()
	if err := c.Write(t.Context(), websocket.MessageText, []byte(text)); err != nil {
		t.Fatal(err)
	}
}

func read(t *testing.T, c *websocket.Conn) map[string]any {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
	defer cancel()
	_, frame, err := c.Read(ctx)
	if err != nil {
		t.Fatal(err)
	}
	var m map[string]any
	if err := json.Unmarshal(frame, &m); err != nil {
		t.Fatal(err)
	}
	return m
}

func TestTheUpgradeIsRefused(t *testing.T) {
	other := venue
	other.Room = "9001"
	for _, tc := range []struct {
		name    string
		who     *auth.Principal
		options *websocket.DialOptions
		want    int
	}{
		{"without authentication", nil, nil, http.StatusUnauthorized},
		{"to a device of another room", &other, nil, http.StatusForbidden},
		{"without the subprotocol", &venue, &websocket.DialOptions{}, http.StatusBadRequest},
		{"from a foreign page", &venue, &websocket.DialOptions{Subprotocols: []string{signal.Subprotocol}, HTTPHeader: http.Header{"Origin": {"https://evil.example"}}}, http.StatusForbidden},
	} {
		t.Run(tc.name, func(t *testing.T) {
			if _, status := dial(t, serve(t, newRooms(), tc.who, "9000"), tc.options); status != tc.want {
				t.Errorf("status %d, want %d", status, tc.want)
			}
		})
	}
}

func TestAMeetingsMessagesPass(t *testing.T) {
	r := newRooms()
	c, _ := dial(t, serve(t, r, &venue, "9000"), nil)
	write(t, c, `{"type":"join","resume":"x","client":"Mozilla/5.0","unknown":1}`)
	if m := read(t, c); m["type"] != "welcome" {
		t.Fatalf("got %v", m)
	}
	write(t, c, `{"type":"want","views":[{"participant":"p2","media":"camera","height":360}]}`)
	write(t, c, `{"type":"ping","id":7}`)
	if d := cmp.Diff(map[string]any{"type": "pong", "id": 7.0}, read(t, c)); d != "" {
		t.Errorf("(-want +got):\n%s", d)
	}
	write(t, c, `{"type":`)
	if m := read(t, c); m["code"] != signal.BadMessage {
		t.Errorf("got %v for half a message", m)
	}
	r.mu.Lock()
	want := []signal.Request{{Type: "want", Views: []signal.View{{Participant: "p2", Media: "camera", Height: 360}}}}
	if d := cmp.Diff(want, r.handled); d != "" {
		t.Errorf("handled (-want +got):\n%s", d)
	}
	r.client.End(signal.Replaced)
	r.mu.Unlock()
	if m := read(t, c); m["type"] != "ended" || m["reason"] != signal.Replaced {
		t.Errorf("got %v", m)
	}
	<-r.lost
}

func TestTheFirstMessageIsJoin(t *testing.T) {
	c, _ := dial(t, serve(t, newRooms(), &venue, "9000"), nil)
	write(t, c, `{"type":"want"}`)
	if m := read(t, c); m["code"] != signal.BadState || m["request"] != "want" {
		t.Errorf("got %v", m)
	}
}

func TestAnUnknownRoomIsNotFound(t *testing.T) {
	anywhere := venue
	anywhere.Room = ""
	c, _ := dial(t, serve(t, newRooms(), &anywhere, "9099"), nil)
	write(t, c, `{"type":"join"}`)
	if m := read(t, c); m["code"] != signal.NotFound {
		t.Errorf("got %v", m)
	}
}

func TestAClientThatDoesNotReadIsDisconnected(t *testing.T) {
	r := newRooms()
	c, _ := dial(t, serve(t, r, &venue, "9000"), nil)
	write(t, c, `{"type":"join"}`)
	<-r.admitted
	big := strings.Repeat("x", 100_000)
	for range 2000 { // more than socket buffers and queue hold
		r.client.Send(signal.Error{Type: "error", Message: big})
	}
	select {
	case <-r.lost:
	case <-time.After(20 * time.Second):
		t.Error("a client that reads nothing keeps its connection")
	}
}

func TestAConnectionThatStandsForNobodyIsRemoved(t *testing.T) {
	r := newRooms()
	type key struct{}
	var revoked atomic.Bool
	h := signal.NewHandler(signal.Options{
		Rooms: r, Number: func(*http.Request) string { return "9000" },
		Still: func(ctx context.Context) error {
			if ctx.Value(key{}) != "of the request" {
				t.Error("asked with another context than the request's")
			}
			if revoked.Load() {
				return errors.New("the room link was revoked")
			}
			return nil
		},
	})
	h.AskEvery(10 * time.Millisecond)
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, q *http.Request) {
		h.ServeHTTP(w, q.WithContext(context.WithValue(auth.WithPrincipal(q.Context(), venue), key{}, "of the request")))
	}))
	t.Cleanup(s.Close)
	c, _ := dial(t, "ws"+strings.TrimPrefix(s.URL, "http"), nil)
	write(t, c, `{"type":"join"}`)
	read(t, c)
	write(t, c, `{"type":"ping","id":1}`)
	if m := read(t, c); m["type"] != "pong" {
		t.Errorf("got %v while the link holds", m)
	}
	revoked.Store(true)
	if m := read(t, c); m["type"] != "ended" || m["reason"] != signal.Removed {
		t.Errorf("got %v", m)
	}
	<-r.removed
	_ = c.CloseNow()
	<-r.lost
}

func TestTheEndOfTheServerTellsThePages(t *testing.T) {
	r := newRooms()
	h := signal.NewHandler(signal.Options{Rooms: r, Number: func(*http.Request) string { return "9000" }})
	ctx, stop := context.WithCancel(t.Context())
	s := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, q *http.Request) {
		h.ServeHTTP(w, q.WithContext(auth.WithPrincipal(q.Context(), venue)))
	}))
	s.Config.BaseContext = func(net.Listener) context.Context { return ctx }
	s.Start()
	t.Cleanup(s.Close)
	c, _ := dial(t, "ws"+strings.TrimPrefix(s.URL, "http"), nil)
	write(t, c, `{"type":"join"}`)
	read(t, c)
	stop()
	if m := read(t, c); m["type"] != "ended" || m["reason"] != signal.Shutdown {
		t.Errorf("got %v", m)
	}
	<-r.client.Told()
}

func TestAPanicEndsOneConnection(t *testing.T) {
	r := newRooms()
	c, _ := dial(t, serve(t, r, &venue, "9000"), nil)
	write(t, c, `{"type":"join"}`)
	read(t, c)
	write(t, c, `{"type":"panic"}`)
	<-r.lost
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
	defer cancel()
	if _, _, err := c.Read(ctx); err == nil || ctx.Err() != nil {
		t.Errorf("the connection goes on: %v", err)
	}
}

// Whatever a client sends, decoding does not panic, and what is accepted is bounded.
func FuzzDecode(f *testing.F) {
	f.Add([]byte(`{"type":"join","resume":"x"}`))
	f.Add([]byte(`{"type":"want","views":[{"participant":"p","media":"camera","height":720}]}`))
	f.Add([]byte(`{"type":"candidate","connection":"publish","candidate":{"candidate":"candidate:1 1 udp 1 127.0.0.1 1 typ host"}}`))
	f.Fuzz(func(t *testing.T, frame []byte) {
		q, err := signal.Decode(frame)
		if err != nil {
			return
		}
		if q.Type == "" || len(q.Views) > 64 || len(q.Name) > 256 || len(q.Resume) > 256 || len(q.Client) > 256 || len(q.ID) > 256 {
			t.Errorf("accepted %+v", q)
		}
	})
}
