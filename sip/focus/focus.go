package focus

import (
	"context"
	"errors"
	"log/slog"
	"strings"
	"sync"
	"time"

	"github.com/emiago/sipgo/sip"
	"github.com/prometheus/client_golang/prometheus"

	"linehall/internal/observe"
	"linehall/sip/dialog"
	"linehall/sip/stack"
)

// Options are the parts of a Service.
type Options struct {
	Packets    stack.PacketSocket // the far end of stack.NewInside
	Domain     string             // of the organisation's numbers
	Server     string             // User-Agent and Server
	Rooms      Rooms
	Ours       func(number string) bool // is it one of our extensions
	Store      *Store                   // nil: no leg outlives the process
	Most       int                      // telephones in all meetings together; 0 = DefaultMost
	Dropped    *observe.Dropped
	Panics     prometheus.Counter // may be nil
	Log        *slog.Logger
	Registerer prometheus.Registerer // nil registers nothing
}

// DefaultMost is more than an organisation of 120 telephones needs; a telephone in a meeting costs a port, two goroutines and
// half a percent of a core.
const DefaultMost = 128

// Service is the focus of all rooms.
type Service struct {
	o       Options
	stack   *stack.Stack
	metrics *metrics
	pins    *pins
	tones   tones
	work    sync.WaitGroup

	mu          sync.Mutex         // guards what follows; held briefly
	ctx         context.Context    //nolint:containedctx // of Run, for the legs
	legs        map[dialog.ID]*leg // the remote tag is left out
	dialling    map[*dialled]struct{}
	conferences map[string]*conference
}

// New builds the service.
func New(o Options) (*Service, error) {
	if o.Rooms == nil || o.Packets == nil {
		return nil, errors.New("focus: a part is missing")
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	if o.Most == 0 {
		o.Most = DefaultMost
	}
	if o.Ours == nil {
		o.Ours = func(string) bool { return false }
	}
	s := &Service{o: o, pins: newPINs(), tones: newTones(), legs: map[dialog.ID]*leg{}, dialling: map[*dialled]struct{}{}, conferences: map[string]*conference{}}
	var err error
	s.stack, err = stack.New(stack.Options{
		Packets: []stack.PacketSocket{o.Packets}, Domain: o.Domain, Server: o.Server, Dropped: o.Dropped, Panics: o.Panics, Log: o.Log,
		Limits: stack.Limits{SourceRate: 1e5, SourceBurst: 1e5}, // the only source is the exchange, which has limits of its own
	})
	if err != nil {
		return nil, err //nolint:wrapcheck // it says what is wrong
	}
	s.metrics = newMetrics(o.Registerer, s)
	s.stack.Handle(sip.INVITE, s.serveInvite)
	for _, m := range []sip.RequestMethod{sip.ACK, sip.BYE, sip.UPDATE, sip.INFO} {
		s.stack.Handle(m, s.serveInDialog)
	}
	s.stack.Handle(sip.OPTIONS, func(ctx context.Context, req *stack.Request) {
		if req.InDialog() {
			s.serveInDialog(ctx, req)
			return
		}
		s.stack.ServeOptions(ctx, req)
	})
	s.stack.OnStrayResponse(s.stray)
	return s, nil
}

// Run serves until ctx ends. Legs in meetings are kept for the next process; telephones that ring are given up.
func (s *Service) Run(ctx context.Context) error {
	running, cancel := context.WithCancel(ctx)
	defer cancel()
	s.mu.Lock()
	s.ctx = running
	s.mu.Unlock()
	var signalling sync.WaitGroup
	var err error
	wire, unplug := context.WithCancel(context.WithoutCancel(ctx))
	signalling.Go(func() { err = s.stack.Run(wire) })
	s.restore(running)
	<-ctx.Done()
	s.mu.Lock()
	s.ctx = nil
	ringing := make([]*dialled, 0, len(s.dialling))
	for d := range s.dialling {
		ringing = append(ringing, d)
	}
	s.mu.Unlock()
	for _, d := range ringing {
		d.Cancel() //nolint:contextcheck // ctx has ended
	}
	cancel()
	s.work.Wait()
	unplug()
	signalling.Wait()
	return err //nolint:wrapcheck // the stack's
}

// Ready says why telephones cannot be served yet, for health checks.
func (s *Service) Ready() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.ctx == nil {
		return errors.New("the focus of the meetings does not run")
	}
	return s.stack.Ready() //nolint:wrapcheck // it says what is missing
}

// count is how many telephones are connected.
func (s *Service) count() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.legs)
}

func key(id dialog.ID) dialog.ID { return dialog.ID{CallID: id.CallID, LocalTag: id.LocalTag} }

// enter makes a leg known and runs it; false: there are too many, or the service ends.
func (s *Service) enter(l *leg, first func()) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.ctx == nil || len(s.legs) >= s.o.Most {
		return false
	}
	s.legs[key(l.dialog.ID)] = l
	ctx := s.ctx
	s.work.Go(func() { l.run(ctx, first) })
	return true
}

func (s *Service) forget(l *leg) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.legs, key(l.dialog.ID))
}

func (s *Service) find(callID, localTag string) *leg {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.legs[dialog.ID{CallID: callID, LocalTag: localTag}]
}

// CallerOf reports which room an INVITE from the focus is made for.
func CallerOf(req *stack.Request) (room string, ok bool) {
	if !req.Flow.Inside() || req.From() == nil {
		return "", false
	}
	return req.From().Address.User, true
}

// tagOf is a parameter "tag".
func tagOf(params sip.HeaderParams) string {
	v, _ := params.Get("tag")
	return v
}

// respond refuses a request in words, which telephones show.
func (s *Service) respond(req *stack.Request, code int, text string) {
	res := s.stack.NewResponse(req, code, text)
	if code != 481 && code != 491 {
		res.AppendHeader(sip.NewHeader("Warning", `399 linehall "`+strings.ReplaceAll(text, `"`, "'")+`"`))
	}
	_ = req.Tx.Respond(res) // the peer repeats a request whose response is lost
}

// timeouts of what a leg waits for.
const (
	joinTime  = 10 * time.Second
	byeTime   = 40 * time.Second // longer than a transaction
	probeTime = 3 * time.Minute  // between two OPTIONS to the call core
)
