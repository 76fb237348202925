// Package live pushes what happens to open console pages: one WebSocket per page, JSON text frames {topic, data}, each
// with the whole body of a topic as the API shows it.
//
// A page first gets one frame per topic it may see, then a frame per topic that changed, at most one per second and
// topic. Frames are states, not events: a page that reads slowly gets the newest state of each topic and never a queue
// of old ones, so that a client holds at most one frame per topic here. Bodies are made once for all pages with the
// same role and site. The session of a page is asked again every few seconds; when it has ended the page is closed with
// status 4401. What a body holds and who may see it is the source's business (web/api).
//
// Run owns the clock: it looks for changes once a second while pages are open, and at once when Changed is called.
//
//	feed := live.New(live.Options{Source: api, Topics: api.Topics(), Log: log})
//	mux.Handle("GET /api/v1/live", feed)
//	group.Go(func() error { return feed.Run(ctx) })
package live

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"net/http"
	"slices"
	"sync"
	"time"

	"github.com/coder/websocket"
	"github.com/prometheus/client_golang/prometheus"

	"linehall/internal/auth"
	"linehall/internal/observe"
	"linehall/web/session"
)

const (
	interval     = time.Second           // between two frames of a topic
	tickSlack    = 50 * time.Millisecond // a tick that comes a little early must not wait for the next
	recheck      = 5 * time.Second       // between two looks at a page's session
	writeTimeout = 10 * time.Second
	maxPages     = 256
	listener     = "live"
)

// StatusSessionEnded closes a page whose session has ended: it should log in again, not reconnect.
const StatusSessionEnded websocket.StatusCode = 4401

// Source knows the topics. An error means that the principal may not see the topic.
type Source interface {
	Topic(ctx context.Context, topic string, p auth.Principal) (any, error)
}

// Options are the parts of a Feed.
type Options struct {
	Source  Source
	Topics  []string // in the order of the first frames
	Log     *slog.Logger
	Dropped *observe.Dropped
	Panics  prometheus.Counter // nil = not counted
	Recheck time.Duration      // between two looks at a page's session; 0 = 5 s
}

// Feed is the live feed and the handler of its WebSocket.
type Feed struct {
	opts   Options
	kicked chan string // topics that may have changed; full = the next tick looks anyway

	mu      sync.Mutex // guards everything below; never held while a source is asked or a page written
	views   map[view]*state
	pages   int
	stopped bool
	open    sync.WaitGroup // pages being served
}

// view is what pages have in common when they see the same bodies.
type view struct {
	role auth.Role
	site string
}

// state is the newest frame of each topic for one view, and the pages that get it.
type state struct {
	principal auth.Principal
	frames    map[string]frame
	pages     map[*page]struct{}
}

type frame struct {
	bytes []byte
	at    time.Time
}

// New returns a feed that Run drives.
func New(opts Options) *Feed {
	if opts.Log == nil {
		opts.Log = slog.New(slog.DiscardHandler)
	}
	if opts.Recheck == 0 {
		opts.Recheck = recheck
	}
	return &Feed{opts: opts, kicked: make(chan string, 64), views: map[view]*state{}}
}

// Changed says that a topic may have changed, so that pages see it sooner than at the next second. It never blocks.
func (f *Feed) Changed(topic string) {
	select {
	case f.kicked <- topic:
	default: // the next tick looks at everything
	}
}

// Run looks for changes until ctx ends, then closes all pages and waits for them.
func (f *Feed) Run(ctx context.Context) error {
	tick := time.NewTicker(interval)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			f.stop()
			f.open.Wait()
			return nil
		case <-tick.C:
			f.refresh(ctx, f.opts.Topics, interval-tickSlack)
		case topic := <-f.kicked:
			f.refresh(ctx, []string{topic}, interval)
		}
	}
}

func (f *Feed) stop() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.stopped = true
	for _, s := range f.views {
		for p := range s.pages {
			p.end(errStopped)
		}
	}
}

// refresh makes the bodies of the topics again, for every view whose last frame of the topic is old enough, and hands
// those that changed to the pages.
func (f *Feed) refresh(ctx context.Context, topics []string, age time.Duration) {
	defer observe.Recover(f.opts.Log, f.opts.Panics, "live feed")
	f.mu.Lock()
	views := make(map[view]auth.Principal, len(f.views))
	for v, s := range f.views {
		views[v] = s.principal
	}
	f.mu.Unlock()

	now := time.Now()
	for v, principal := range views {
		for _, topic := range topics {
			if !f.due(v, topic, now, age) {
				continue
			}
			encoded, ok := f.encode(ctx, topic, principal)
			if ok {
				f.publish(v, topic, encoded, now)
			}
		}
	}
}

func (f *Feed) due(v view, topic string, now time.Time, age time.Duration) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	s, ok := f.views[v]
	return ok && now.Sub(s.frames[topic].at) >= age
}

func (f *Feed) encode(ctx context.Context, topic string, p auth.Principal) ([]byte, bool) {
	data, err := f.opts.Source.Topic(ctx, topic, p)
	if err != nil {
		return nil, false // not for this principal
	}
	encoded, err := json.Marshal(struct {
		Topic string `json:"topic"`
		Data  any    `json:"data"`
	}{topic, data})
	if err != nil {
		f.opts.Log.Error("live topic not encoded", slog.String("topic", topic), slog.Any(observe.Err, err))
		return nil, false
	}
	return encoded, true
}

func (f *Feed) publish(v view, topic string, encoded []byte, now time.Time) {
	f.mu.Lock()
	defer f.mu.Unlock()
	s, ok := f.views[v]
	if !ok || bytes.Equal(s.frames[topic].bytes, encoded) {
		return
	}
	s.frames[topic] = frame{encoded, now}
	for p := range s.pages {
		p.put(topic, encoded)
	}
}

// join adds a page to its view with the newest frame of each topic. The first page of a view makes them.
func (f *Feed) join(ctx context.Context, principal auth.Principal) (*page, error) {
	v := view{principal.Role, string(principal.Site)}
	first := map[string][]byte{}
	for _, topic := range f.opts.Topics {
		if encoded, ok := f.encode(ctx, topic, principal); ok {
			first[topic] = encoded
		}
	}
	if len(first) == 0 {
		return nil, errForbidden
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.stopped || f.pages >= maxPages {
		return nil, errFull
	}
	s, ok := f.views[v]
	if !ok {
		s = &state{principal: principal, frames: map[string]frame{}, pages: map[*page]struct{}{}}
		f.views[v] = s
	}
	p := newPage(f.opts.Topics)
	now := time.Now()
	for topic, encoded := range first {
		if _, there := s.frames[topic]; !there {
			s.frames[topic] = frame{encoded, now}
		}
		p.put(topic, s.frames[topic].bytes)
	}
	s.pages[p] = struct{}{}
	f.pages++
	f.open.Add(1)
	p.leave = func() {
		f.mu.Lock()
		defer f.mu.Unlock()
		delete(s.pages, p)
		if len(s.pages) == 0 && f.views[v] == s {
			delete(f.views, v)
		}
		f.pages--
		f.open.Done()
	}
	return p, nil
}

// ServeHTTP serves one page. Its principal is in the request's context (web/session).
func (f *Feed) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	principal, ok := auth.PrincipalFrom(r.Context())
	if !ok {
		http.Error(w, http.StatusText(http.StatusUnauthorized), http.StatusUnauthorized)
		return
	}
	p, err := f.join(r.Context(), principal)
	if err != nil {
		f.refuse(w, err)
		return
	}
	defer p.leave()
	// Accept compares the browser's Origin with the request's host.
	socket, err := websocket.Accept(w, r, &websocket.AcceptOptions{CompressionMode: websocket.CompressionContextTakeover, CompressionThreshold: 512})
	if err != nil {
		f.opts.Dropped.Count(listener, "upgrade_refused")
		return // Accept has answered
	}
	socket.SetReadLimit(1 << 10)
	f.serve(r.Context(), socket, p, view{principal.Role, string(principal.Site)})
}

func (f *Feed) refuse(w http.ResponseWriter, err error) {
	status := http.StatusServiceUnavailable
	if err == errForbidden { //nolint:errorlint // made by join, never wrapped
		status = http.StatusForbidden
	} else {
		f.opts.Dropped.Count(listener, "too_many_pages")
		w.Header().Set("Retry-After", "5")
	}
	http.Error(w, err.Error(), status)
}

// serve writes frames until the page goes, its session ends or the feed stops.
func (f *Feed) serve(ctx context.Context, socket *websocket.Conn, p *page, v view) {
	read := make(chan error, 1)
	var reader sync.WaitGroup
	// Reading answers pings and sees the page go. The library's own CloseRead waits for itself for 15 s when a page talks.
	reader.Go(func() {
		_, _, err := socket.Reader(ctx)
		read <- err
	})
	defer reader.Wait()
	defer func() { _ = socket.CloseNow() }() // ends the reader
	again := time.NewTicker(f.opts.Recheck)
	defer again.Stop()
	for {
		select {
		case err := <-read:
			if err == nil {
				f.opts.Dropped.Count(listener, "page_talked")
				_ = socket.Close(websocket.StatusPolicyViolation, "pages only listen here")
			}
			return
		case <-p.ended:
			_ = socket.Close(websocket.StatusGoingAway, "the appliance stops or restarts")
			return
		case <-again.C:
			now, err := session.Still(ctx)
			if ctx.Err() != nil {
				return
			}
			if err != nil || (view{now.Role, string(now.Site)}) != v {
				_ = socket.Close(StatusSessionEnded, "the session has ended")
				return
			}
		case <-p.wake:
			if err := write(ctx, socket, p.take()); err != nil {
				f.opts.Dropped.Count(listener, "slow_page")
				return
			}
		}
	}
}

func write(ctx context.Context, socket *websocket.Conn, frames [][]byte) error {
	ctx, cancel := context.WithTimeout(ctx, writeTimeout)
	defer cancel()
	for _, frame := range frames {
		if err := socket.Write(ctx, websocket.MessageText, frame); err != nil {
			return fmt.Errorf("live frame: %w", err)
		}
	}
	return nil
}

// topicOrder returns the position of a topic, for frames that wait together.
func topicOrder(topics []string, topic string) int { return slices.Index(topics, topic) }
