package live_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/coder/websocket"
	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"

	"linehall/internal/auth"
	"linehall/internal/database"
	"linehall/web/live"
	"linehall/web/session"
)

// values is a source whose topics are set by the test. The topic "secret" is for administrators.
type values struct {
	mu    sync.Mutex
	data  map[string]int
	asked int
}

func (v *values) set(topic string, n int) {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.data[topic] = n
}

func (v *values) Topic(_ context.Context, topic string, p auth.Principal) (any, error) {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.asked++
	if topic == "secret" && p.Role != auth.Admin || p.Role == auth.Room {
		return nil, errors.New("not for you")
	}
	return map[string]any{"n": v.data[topic], "site": p.Site}, nil
}

type world struct {
	*values
	users    *auth.Service
	sessions *session.Manager
	feed     *live.Feed
	url      string
	stop     func()
}

func newWorld(t *testing.T) world {
	t.Helper()
	db, err := database.Open(t.Context(), filepath.Join(t.TempDir(), "x.db"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = db.Close() })
	if err := database.Migrate(t.Context(), db, auth.Schema(), session.Schema()); err != nil {
		t.Fatal(err)
	}
	w := world{values: &values{data: map[string]int{}}}
	if w.users, err = auth.Open(t.Context(), db, auth.Options{}); err != nil {
		t.Fatal(err)
	}
	if w.sessions, err = session.Open(t.Context(), db, w.users, session.Options{}); err != nil {
		t.Fatal(err)
	}
	w.feed = live.New(live.Options{Source: w.values, Topics: []string{"status", "calls", "secret"}, Recheck: 50 * time.Millisecond})
	server := httptest.NewServer(w.sessions.Handler(w.feed))
	w.url = "ws" + strings.TrimPrefix(server.URL, "http")
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- w.feed.Run(ctx) }()
	w.stop = sync.OnceFunc(func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	t.Cleanup(func() { w.stop(); server.Close() })
	return w
}

func (w world) token(t *testing.T, role auth.Role) (id string, header http.Header) {
	t.Helper()
	token, plain, err := w.users.AddToken(t.Context(), auth.NewToken{Role: role})
	if err != nil {
		t.Fatal(err)
	}
	return token.ID, http.Header{"Authorization": {"Bearer " + plain}}
}

func (w world) dial(t *testing.T, header http.Header) *websocket.Conn {
	t.Helper()
	c, res, err := websocket.Dial(t.Context(), w.url, &websocket.DialOptions{HTTPHeader: header}) //nolint:bodyclose // the library's
	if err != nil {
		t.Fatalf("%v %v", err, res)
	}
	t.Cleanup(func() { _ = c.CloseNow() })
	return c
}

func read(t *testing.T, c *websocket.Conn) string {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	_, b, err := c.Read(ctx)
	if err != nil {
		t.Fatal(err)
	}
	var f struct {
		Topic string
		Data  struct{ N int }
	}
	if err := json.Unmarshal(b, &f); err != nil {
		t.Fatal(err)
	}
	return fmt.Sprint(f.Topic, " ", f.Data.N)
}

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestFirstAllTopicsThenChanges(t *testing.T) {
	w := newWorld(t)
	w.set("calls", 1)
	_, header := w.token(t, auth.Operator)
	c := w.dial(t, header)
	if diff := cmp.Diff([]string{"status 0", "calls 1"}, []string{read(t, c), read(t, c)}); diff != "" {
		t.Fatal(diff)
	}
	w.set("calls", 2) // seen at the next second
	if got := read(t, c); got != "calls 2" {
		t.Error(got)
	}
	_, header = w.token(t, auth.Admin)
	admin := w.dial(t, header)
	if got := []string{read(t, admin), read(t, admin), read(t, admin)}; got[2] != "secret 0" {
		t.Errorf("an administrator sees %v", got)
	}
}

func TestAtMostOneFramePerSecondAndTheNewestWins(t *testing.T) {
	w := newWorld(t)
	_, header := w.token(t, auth.Operator)
	c := w.dial(t, header)
	read(t, c)
	read(t, c)
	var (
		frames []string
		times  []time.Time
		last   int
	)
	stop := make(chan struct{})
	var changes sync.WaitGroup
	changes.Go(func() {
		tick := time.NewTicker(5 * time.Millisecond)
		defer tick.Stop()
		for n := 1; ; n++ {
			select {
			case <-stop:
				last = n
				w.set("calls", n)
				return
			case <-tick.C:
				w.set("calls", n)
				w.feed.Changed("calls")
			}
		}
	})
	for range 3 {
		frames, times = append(frames, read(t, c)), append(times, time.Now())
	}
	close(stop)
	changes.Wait()
	if got, want := read(t, c), fmt.Sprint("calls ", last); got != want {
		t.Errorf("the last frame is %s, want %s", got, want)
	}
	for i := 1; i < len(times); i++ {
		if gap := times[i].Sub(times[i-1]); gap < 800*time.Millisecond {
			t.Errorf("frames %v came %v apart", frames[i-1:i+1], gap)
		}
	}
}

func TestTheEndOfTheSessionClosesThePage(t *testing.T) {
	w := newWorld(t)
	id, header := w.token(t, auth.Operator)
	c := w.dial(t, header)
	read(t, c)
	read(t, c)
	if err := w.users.RevokeToken(t.Context(), id); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	if _, _, err := c.Read(ctx); websocket.CloseStatus(err) != live.StatusSessionEnded {
		t.Errorf("closed with %v", err)
	}
}

func TestTheEndOfTheFeedClosesPages(t *testing.T) {
	w := newWorld(t)
	_, header := w.token(t, auth.Operator)
	c := w.dial(t, header)
	read(t, c)
	read(t, c)
	gone := make(chan error, 1)
	go func() {
		_, _, err := c.Read(t.Context())
		gone <- err
	}()
	w.stop()
	if err := <-gone; websocket.CloseStatus(err) != websocket.StatusGoingAway {
		t.Errorf("closed with %v", err)
	}
	if _, res, err := websocket.Dial(t.Context(), w.url, &websocket.DialOptions{HTTPHeader: header}); err == nil || res.StatusCode != http.StatusServiceUnavailable { //nolint:bodyclose // the library's
		t.Errorf("after the end: %v", err)
	}
}

func TestWhoIsRefused(t *testing.T) {
	w := newWorld(t)
	_, operator := w.token(t, auth.Operator)
	_, room := w.token(t, auth.Room)
	foreign := operator.Clone()
	foreign.Set("Origin", "https://evil.example")
	for name, tc := range map[string]struct {
		header http.Header
		want   int
	}{
		"nobody":                   {nil, http.StatusUnauthorized},
		"a role that sees nothing": {room, http.StatusForbidden},
		"a page of another site":   {foreign, http.StatusForbidden},
	} {
		_, res, err := websocket.Dial(t.Context(), w.url, &websocket.DialOptions{HTTPHeader: tc.header}) //nolint:bodyclose // the library's
		if err == nil || res == nil || res.StatusCode != tc.want {
			t.Errorf("%s: %v %v", name, res, err)
		}
	}
	own := operator.Clone()
	own.Set("Origin", "http"+strings.TrimPrefix(w.url, "ws"))
	w.dial(t, own)
}

func TestAPageThatTalksIsClosed(t *testing.T) {
	w := newWorld(t)
	_, header := w.token(t, auth.Operator)
	c := w.dial(t, header)
	if err := c.Write(t.Context(), websocket.MessageText, []byte(`{}`)); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	for {
		if _, _, err := c.Read(ctx); err != nil {
			if websocket.CloseStatus(err) != websocket.StatusPolicyViolation {
				t.Errorf("closed with %v", err)
			}
			return
		}
	}
}

// A page that does not read must neither hold the others up nor collect frames.
func TestASlowPageHoldsNobodyUp(t *testing.T) {
	w := newWorld(t)
	_, header := w.token(t, auth.Operator)
	w.dial(t, header) // never read
	c := w.dial(t, header)
	read(t, c)
	read(t, c)
	for n := 1; n <= 3; n++ {
		w.set("calls", n)
		if got, want := read(t, c), fmt.Sprint("calls ", n); got != want {
			t.Errorf("%s, want %s", got, want)
		}
	}
}

func TestNobodyIsAskedWhenNoPageIsOpen(t *testing.T) {
	w := newWorld(t)
	_, header := w.token(t, auth.Operator)
	c := w.dial(t, header)
	read(t, c)
	if err := c.Close(websocket.StatusNormalClosure, ""); err != nil {
		t.Fatal(err)
	}
	w.feed.Changed("calls")
	before := func() int {
		w.mu.Lock()
		defer w.mu.Unlock()
		return w.asked
	}
	// The server learns of the close a moment later; from then on the count stands still.
	for range 100 {
		n := before()
		time.Sleep(1200 * time.Millisecond)
		if before() == n {
			return
		}
	}
	t.Error("the source is still asked")
}
