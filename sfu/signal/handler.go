package signal

import (
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/coder/websocket"
	"github.com/prometheus/client_golang/prometheus"

	"linehall/internal/auth"
	"linehall/internal/observe"
)

const (
	joinTimeout  = 10 * time.Second
	writeTimeout = 10 * time.Second
	pingInterval = 15 * time.Second
	// stillInterval is how often it is asked whether a connection still stands for somebody.
	stillInterval = 10 * time.Second
	queueSize     = 128 // a second of everything at once; then the client is too slow
)

// Errors of [Rooms.Join].
var (
	ErrNotFound  = errors.New("no such room")
	ErrForbidden = errors.New("not allowed in this room")
	ErrFull      = errors.New("the room is full")
	ErrPIN       = errors.New("this room asks for its PIN")
	ErrWrongPIN  = errors.New("the PIN is wrong")
	ErrPINLocked = errors.New("the PIN was wrong too often; try again in some minutes")
)

// Coded is an error that says its own code.
type Coded interface {
	error
	ErrorCode() string
}

// Client is the way back to a participant's page. Its methods may be called by any goroutine and never wait.
type Client interface {
	// Send queues a message.
	Send(message any)
	// End queues the last message and closes the connection after it; without a reason there is no such message.
	End(reason string)
	// Told is closed when the last message was written, or cannot be any more.
	Told() <-chan struct{}
}

// Member is a participant as seen by its connection.
type Member interface {
	// Handle takes one message after the join.
	Handle(r Request)
	// Lost tells that the connection broke; the participant may come back.
	Lost()
	// Remove ends the participation for good.
	Remove()
}

// Rooms is where participants join.
type Rooms interface {
	Join(ctx context.Context, number string, who auth.Principal, join Request, client Client) (Member, error)
}

// Options configure a [Handler].
type Options struct {
	Rooms   Rooms
	Number  func(*http.Request) string // the room of a request
	Origins []string                   // additional host patterns a browser's Origin may have, besides the request's own host
	// Still is asked every ten seconds, with a request's context, whether the connection still stands for who opened it. After
	// an error (but the context's own) the participant is removed. Nil: never asked.
	Still    func(context.Context) error
	Log      *slog.Logger
	Panics   prometheus.Counter
	Dropped  *observe.Dropped
	Shutdown <-chan struct{} // closed: no new connections; nil: never
}

// Handler serves the WebSocket. The request must be authenticated already (auth.PrincipalFrom).
type Handler struct {
	options    Options
	stillEvery time.Duration
}

// NewHandler makes the handler.
func NewHandler(o Options) *Handler {
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	return &Handler{options: o, stillEvery: stillInterval}
}

// ServeHTTP upgrades the request and serves it until the connection ends.
func (h *Handler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	who, ok := auth.PrincipalFrom(r.Context())
	if !ok {
		http.Error(w, http.StatusText(http.StatusUnauthorized), http.StatusUnauthorized)
		return
	}
	number := h.options.Number(r)
	if !who.MayEnter(number) {
		http.Error(w, http.StatusText(http.StatusForbidden), http.StatusForbidden)
		return
	}
	select {
	case <-h.options.Shutdown:
		http.Error(w, http.StatusText(http.StatusServiceUnavailable), http.StatusServiceUnavailable)
		return
	default:
	}
	if !slices.Contains(subprotocols(r), Subprotocol) {
		http.Error(w, "WebSocket subprotocol "+Subprotocol+" required", http.StatusBadRequest)
		return
	}
	socket, err := websocket.Accept(w, r, &websocket.AcceptOptions{Subprotocols: []string{Subprotocol}, OriginPatterns: h.options.Origins})
	if err != nil {
		h.options.Dropped.Count("signal", "upgrade_refused")
		return // Accept answered
	}
	socket.SetReadLimit(MaxMessage)
	c := newConnection(socket, h.options.Log.With(observe.Room, number))
	c.serve(r.Context(), func(ctx context.Context) { h.converse(ctx, c, number, who) })
}

func subprotocols(r *http.Request) []string {
	var list []string
	for _, v := range r.Header.Values("Sec-WebSocket-Protocol") {
		for s := range strings.SplitSeq(v, ",") {
			list = append(list, strings.TrimSpace(s))
		}
	}
	return list
}

// converse reads until the connection ends. It is the edge of the participant's messages: a panic ends this connection only.
func (h *Handler) converse(ctx context.Context, c *connection, number string, who auth.Principal) {
	defer observe.Recover(h.options.Log, h.options.Panics, "room signalling")
	joining, cancel := context.WithTimeout(ctx, joinTimeout)
	first, err := c.read(joining)
	cancel()
	if err != nil {
		h.complain(c, "join", err)
		return
	}
	if first.Type != "join" {
		c.Send(Error{Type: "error", Code: BadState, Message: "the first message is join", Request: first.Type})
		return
	}
	member, err := h.options.Rooms.Join(ctx, number, who, first, c)
	if err != nil {
		c.Send(Error{Type: "error", Code: CodeOf(err), Message: err.Error(), Request: "join"})
		return
	}
	defer member.Lost()
	if h.options.Still != nil {
		var asking sync.WaitGroup
		defer asking.Wait()
		asked, stop := context.WithCancel(ctx)
		defer stop()
		asking.Go(func() { h.ask(asked, c, member) })
	}
	for {
		request, err := c.read(ctx)
		if err != nil {
			if h.complain(c, "", err) {
				continue
			}
			return
		}
		if request.Type == "ping" {
			c.Send(Pong{Type: "pong", ID: request.ID})
			continue
		}
		member.Handle(request)
	}
}

// ask ends the participation when its connection does not stand for anybody any more: the room link was revoked, the user
// removed. It returns with ctx or after that.
func (h *Handler) ask(ctx context.Context, c *connection, member Member) {
	defer observe.Recover(h.options.Log, h.options.Panics, "room signalling")
	ticker := time.NewTicker(h.stillEvery)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
		if err := h.options.Still(ctx); err != nil && ctx.Err() == nil {
			c.log.Info("participant may not stay", observe.Err, err)
			c.End(Removed)
			member.Remove()
			return
		}
	}
}

// complain answers a message that could not be read; false: the connection is gone.
func (h *Handler) complain(c *connection, request string, err error) bool {
	if !errors.Is(err, errMessage) {
		return false
	}
	h.options.Dropped.Count("signal", "bad_message")
	c.Send(Error{Type: "error", Code: BadMessage, Message: err.Error(), Request: request})
	return true
}

// CodeOf is the code of an error message for what [Rooms.Join] or an act answered.
func CodeOf(err error) string {
	switch {
	case errors.Is(err, ErrNotFound):
		return NotFound
	case errors.Is(err, ErrForbidden):
		return Forbidden
	case errors.Is(err, ErrFull):
		return RoomFull
	case errors.Is(err, ErrPIN):
		return PINNeeded
	case errors.Is(err, ErrWrongPIN):
		return PINWrong
	case errors.Is(err, ErrPINLocked):
		return PINLocked
	}
	if coded, ok := errors.AsType[Coded](err); ok {
		return coded.ErrorCode()
	}
	return Internal
}

// connection is one WebSocket and its queue.
type connection struct {
	socket *websocket.Conn
	log    *slog.Logger
	queue  chan any
	ending chan string // the reason of End, once
	once   sync.Once
	told   chan struct{}      // closed: see Told
	cancel context.CancelFunc // ends reader and writer; set before either runs
}

func newConnection(s *websocket.Conn, log *slog.Logger) *connection {
	return &connection{socket: s, log: log, queue: make(chan any, queueSize), ending: make(chan string, 1), told: make(chan struct{})}
}

// Send queues a message; when the queue is full the client is disconnected, and may resume.
func (c *connection) Send(message any) {
	select {
	case c.queue <- message:
	default:
		c.log.Info("client too slow")
		c.cancel()
	}
}

// End queues the last message.
func (c *connection) End(reason string) {
	c.once.Do(func() { c.ending <- reason })
}

// Told is closed when the last message was written, or cannot be any more.
func (c *connection) Told() <-chan struct{} { return c.told }

// serve runs the reader beside the writer and returns when both have ended. The end of the server's context tells the page
// of the shutdown: cutting the connection would leave that out.
func (c *connection) serve(server context.Context, reader func(context.Context)) {
	ctx, cancel := context.WithCancel(context.WithoutCancel(server))
	defer cancel()
	c.cancel = cancel
	defer context.AfterFunc(server, func() { c.End(Shutdown) })()
	done := make(chan struct{})
	go func() {
		defer close(done)
		reader(ctx)
	}()
	if last, ok := c.write(ctx, done); ok {
		c.finish(ctx, last)
	} else {
		close(c.told)
	}
	cancel()
	_ = c.socket.CloseNow() // the reader returns; an error means it is closed already
	<-done
}

func (c *connection) read(ctx context.Context) (Request, error) {
	kind, frame, err := c.socket.Read(ctx)
	if err != nil {
		return Request{}, err //nolint:wrapcheck // only looked at
	}
	if kind != websocket.MessageText {
		return Request{}, errMessage
	}
	return Decode(frame)
}

// write sends what is queued until the reader is done, the client is too slow or the participation has ended. It returns the
// reason of the end, if the client can still be told.
func (c *connection) write(ctx context.Context, done <-chan struct{}) (reason string, ok bool) {
	ping := time.NewTicker(pingInterval)
	defer ping.Stop()
	for {
		var err error
		select {
		case m := <-c.queue:
			err = c.writeOne(ctx, m)
		case <-ping.C:
			err = c.ping(ctx)
		case reason = <-c.ending:
			return reason, true
		case <-done:
			return "", true
		case <-ctx.Done():
			return "", false
		}
		if err != nil {
			return "", false
		}
	}
}

// finish writes what is queued and the reason, and closes in an orderly way.
func (c *connection) finish(ctx context.Context, reason string) {
	if !c.writeLast(ctx, reason) {
		return
	}
	_ = c.socket.Close(websocket.StatusNormalClosure, "") // the peer may be gone; nothing depends on it
}

func (c *connection) writeLast(ctx context.Context, reason string) bool {
	defer close(c.told)
	for {
		select {
		case m := <-c.queue:
			if c.writeOne(ctx, m) != nil {
				return false
			}
			continue
		default:
		}
		break
	}
	return reason == "" || c.writeOne(ctx, Ended{Type: "ended", Reason: reason}) == nil
}

func (c *connection) writeOne(ctx context.Context, m any) error {
	frame, err := json.Marshal(m)
	if err != nil {
		c.log.Error("message not encodable", observe.Err, err)
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, writeTimeout)
	defer cancel()
	return c.socket.Write(ctx, websocket.MessageText, frame) //nolint:wrapcheck // only looked at
}

func (c *connection) ping(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, writeTimeout)
	defer cancel()
	return c.socket.Ping(ctx) //nolint:wrapcheck // only looked at
}
