package stack_test

import (
	"context"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/emiago/sipgo/sip"
	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/goleak"

	"linehall/internal/observe"
	"linehall/sip/stack"
	"linehall/sip/stack/stacktest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// endpoint is a running stack with its metrics.
type endpoint struct {
	*stack.Stack
	reg *prometheus.Registry
}

// start runs a stack on loopback; setup adds handlers before it runs.
func start(t *testing.T, opts stack.Options, setup func(*stack.Stack)) *endpoint {
	t.Helper()
	e := &endpoint{reg: prometheus.NewRegistry()}
	if opts.Listen == nil && opts.Packets == nil {
		opts.Listen = []stack.Listen{{Transport: stack.UDP, Address: "127.0.0.1:0"}, {Transport: stack.TCP, Address: "127.0.0.1:0"}}
	}
	opts.Registerer, opts.Dropped, opts.Domain = e.reg, observe.NewDropped(e.reg), "linehall.test"
	opts.Panics = observe.NewPanics(e.reg)
	s, err := stack.New(opts)
	if err != nil {
		t.Fatal(err)
	}
	e.Stack = s
	if setup != nil {
		setup(s)
	}
	if err := s.Listen(t.Context()); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- s.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("run: %v", err)
		}
	})
	return e
}

func (e *endpoint) addr(transport string) netip.AddrPort {
	for _, l := range e.Listeners() {
		if l.Transport == transport {
			return l.Address
		}
	}
	return netip.AddrPort{}
}

// counted returns the sum of a metric's series that carry the given label values.
func (e *endpoint) counted(t *testing.T, name string, values ...string) float64 {
	t.Helper()
	families, err := e.reg.Gather()
	if err != nil {
		t.Fatal(err)
	}
	sum := 0.0
	for _, f := range families {
		if f.GetName() != name {
			continue
		}
	series:
		for _, m := range f.GetMetric() {
			var have []string
			for _, l := range m.GetLabel() {
				have = append(have, l.GetValue())
			}
			for _, v := range values {
				if !slices.Contains(have, v) {
					continue series
				}
			}
			sum += m.GetCounter().GetValue() + m.GetGauge().GetValue()
		}
	}
	return sum
}

// eventually waits for a condition that another goroutine brings about.
func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(30 * time.Second); time.Now().Before(end); time.Sleep(2 * time.Millisecond) { // idle workers stay for 10 s
		if ok() {
			return
		}
	}
	t.Fatal("never: " + what)
}

func request(p *stacktest.Peer, method, branch, callID string, extra ...string) []string {
	return append([]string{
		method + " sip:8002@linehall.test SIP/2.0",
		p.Via(branch),
		"Max-Forwards: 70",
		"From: <sip:8001@linehall.test>;tag=" + callID,
		"To: <sip:8002@linehall.test>",
		"Call-ID: " + callID,
		"CSeq: 1 " + method,
		"Contact: <sip:8001@" + p.Local.String() + ">",
	}, extra...)
}

func TestOptionsOverEachTransport(t *testing.T) {
	e := start(t, stack.Options{}, nil)
	for name, p := range map[string]*stacktest.Peer{
		"udp": stacktest.DialUDP(t, e.addr(stack.UDP)),
		"tcp": stacktest.DialTCP(t, e.addr(stack.TCP)),
	} {
		t.Run(name, func(t *testing.T) {
			p.Send(request(p, "OPTIONS", name, name)...)
			res := p.Final()
			if res.Code != 200 || !strings.Contains(res.Header("Allow"), "OPTIONS") || res.Header("Accept") != "application/sdp" {
				t.Errorf("answer:\n%s", res.Raw)
			}
			want := ";received=127.0.0.1"
			if via := res.Header("Via"); !strings.Contains(via, want) || !strings.Contains(via, fmt.Sprintf("rport=%d", p.Local.Port())) {
				t.Errorf("via without the source: %s", via)
			}
		})
	}
}

// Hazard 2 and 1: one To tag for every response of a request, also for those
// that the stack makes itself, and for the 200 of a CANCEL.
func TestOneToTagForAllResponses(t *testing.T) {
	var s *stack.Stack
	cancelled := make(chan error, 1)
	e := start(t, stack.Options{}, func(st *stack.Stack) {
		s = st
		st.Handle(sip.INVITE, func(_ context.Context, req *stack.Request) {
			_ = req.Tx.Respond(s.NewResponse(req, 180, "Ringing"))
			_ = req.Tx.Respond(s.NewResponse(req, 183, "Session Progress"))
			req.Tx.OnCancel(func() { cancelled <- req.Tx.Respond(s.NewResponse(req, 200, "OK")) })
		})
	})
	p := stacktest.DialUDP(t, e.addr(stack.UDP))
	invite := request(p, "INVITE", "tag", "tag")
	p.Send(invite...)
	tags := map[string]bool{p.Code(180).Tag("To"): true, p.Code(183).Tag("To"): true}
	cancel := slices.Clone(invite)
	cancel[0] = strings.Replace(cancel[0], "INVITE", "CANCEL", 1)
	cancel[6] = "CSeq: 1 CANCEL"
	p.Send(cancel...)
	for range 2 {
		m := p.Final()
		tags[m.Tag("To")] = true
		if m.Code == 200 && m.Header("CSeq") != "1 CANCEL" || m.Code != 200 && m.Code != 487 {
			t.Errorf("after CANCEL:\n%s", m.Raw)
		}
	}
	if len(tags) != 1 || tags[""] {
		t.Errorf("To tags %v, want one", tags)
	}
	if err := <-cancelled; err != stack.ErrCancelled { //nolint:errorlint // Respond returns it bare
		t.Errorf("respond after CANCEL: %v", err)
	}
	ack := slices.Clone(invite)
	ack[0] = strings.Replace(ack[0], "INVITE", "ACK", 1)
	ack[4] += ";tag=" + slices.Collect(keys(tags))[0]
	ack[6] = "CSeq: 1 ACK"
	p.Send(ack...)
}

func keys(m map[string]bool) func(func(string) bool) {
	return func(yield func(string) bool) {
		for k := range m {
			if !yield(k) {
				return
			}
		}
	}
}

// Hazard 3: a CANCEL that overtakes its INVITE is not lost.
func TestCancelBeforeInvite(t *testing.T) {
	e := start(t, stack.Options{}, func(s *stack.Stack) {
		s.Handle(sip.INVITE, func(context.Context, *stack.Request) { t.Error("the handler saw a cancelled INVITE") })
	})
	p := stacktest.DialUDP(t, e.addr(stack.UDP))
	invite := request(p, "INVITE", "early", "early")
	cancel := slices.Clone(invite)
	cancel[0], cancel[6] = strings.Replace(cancel[0], "INVITE", "CANCEL", 1), "CSeq: 1 CANCEL"
	p.Send(cancel...)
	p.Send(invite...)
	got := []string{}
	for range 2 {
		m := p.Final()
		got = append(got, fmt.Sprint(m.Code, " ", m.Header("CSeq")))
	}
	if want := []string{"200 1 CANCEL", "487 1 INVITE"}; !slices.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
}

func TestCancelOfNothingGets481(t *testing.T) {
	e := start(t, stack.Options{}, nil)
	p := stacktest.DialUDP(t, e.addr(stack.UDP))
	p.Send(request(p, "CANCEL", "none", "none")...)
	if m := p.Final(); m.Code != 481 {
		t.Errorf("got %d", m.Code)
	}
}

// Hazard 3: back-to-back INVITE and CANCEL, which the library reorders in one
// case of ten, never leaves a phone ringing.
func TestBackToBackCancels(t *testing.T) {
	e := start(t, stack.Options{}, func(s *stack.Stack) {
		s.Handle(sip.INVITE, func(_ context.Context, req *stack.Request) {
			_ = req.Tx.Respond(s.NewResponse(req, 180, "Ringing"))
		})
	})
	p := stacktest.DialUDP(t, e.addr(stack.UDP))
	const calls = 300
	for i := range calls {
		id := fmt.Sprintf("b2b%d", i)
		invite := request(p, "INVITE", id, id)
		cancel := slices.Clone(invite)
		cancel[0], cancel[6] = strings.Replace(cancel[0], "INVITE", "CANCEL", 1), "CSeq: 1 CANCEL"
		p.Send(invite...)
		p.Send(cancel...)
		m := p.Await(func(m stacktest.Message) bool { return m.Code >= 300 })
		if m.Code != 487 || m.Header("Call-ID") != id {
			t.Fatalf("call %d: %s", i, m.Start)
		}
		ack := slices.Clone(invite)
		ack[0], ack[6] = strings.Replace(ack[0], "INVITE", "ACK", 1), "CSeq: 1 ACK"
		p.Send(ack...)
	}
}

// Hazard 12: a panic in a handler ends one request, not the appliance.
func TestPanicIsAnswered(t *testing.T) {
	e := start(t, stack.Options{}, func(s *stack.Stack) {
		s.Handle(sip.MESSAGE, func(context.Context, *stack.Request) { panic("handler") })
	})
	p := stacktest.DialUDP(t, e.addr(stack.UDP))
	p.Send(request(p, "MESSAGE", "panic", "panic")...)
	if m := p.Final(); m.Code != 500 {
		t.Errorf("got %d", m.Code)
	}
	p.Send(request(p, "OPTIONS", "after", "after")...)
	if m := p.Final(); m.Code != 200 {
		t.Errorf("after the panic: %d", m.Code)
	}
	if n := e.counted(t, "linehall_panics_total"); n != 1 {
		t.Errorf("panics counted: %v", n)
	}
}

// Hazard 15 and 16: compact and oddly spelled names arrive as what they mean.
func TestHeaderNamesAreCanonical(t *testing.T) {
	got := make(chan []string, 1)
	e := start(t, stack.Options{}, func(s *stack.Stack) {
		s.Handle(sip.INFO, func(_ context.Context, req *stack.Request) {
			var names []string
			for _, h := range req.Headers() {
				names = append(names, h.Name())
			}
			if !stack.HasToken(req, "Supported", "TIMER") || req.ReferTo() == nil || req.Contact() == nil {
				t.Error("a compact header is not found by its full name")
			}
			got <- names
			_ = req.Tx.Respond(s.NewResponse(req, 200, "OK"))
		})
	})
	p := stacktest.DialUDP(t, e.addr(stack.UDP))
	p.Send("INFO sip:x@linehall.test SIP/2.0", "v: SIP/2.0/UDP "+p.Local.String()+";branch=z9hG4bKcompact", "f: <sip:a@b.test>;tag=1",
		"t: <sip:b@b.test>", "i: compact", "CSEQ: 1 INFO", "m: <sip:a@127.0.0.1>", "k: timer, replaces", "o: x", "x: 1800", "r: <sip:c@b.test>",
		"EXPIRES: 5", "max-forwards: 70", "Vendor-THING: kept")
	if m := p.Final(); m.Code != 200 {
		t.Fatalf("got:\n%s", m.Raw)
	}
	want := []string{"Via", "From", "To", "Call-ID", "CSeq", "Contact", "Supported", "Event", "Session-Expires", "Refer-To", "Expires", "Max-Forwards", "Vendor-THING", "Content-Length"}
	if names := <-got; !slices.Equal(names, want) {
		t.Errorf("names %v\nwant  %v", names, want)
	}
}

// A request of one Call-ID starts when its forerunner has been handled.
func TestOrderWithinACall(t *testing.T) {
	var mu sync.Mutex
	var order []string
	e := start(t, stack.Options{}, func(s *stack.Stack) {
		s.Handle(sip.INFO, func(_ context.Context, req *stack.Request) {
			mu.Lock()
			order = append(order, req.CSeq().Value())
			mu.Unlock()
			_ = req.Tx.Respond(s.NewResponse(req, 200, "OK"))
		})
	})
	p := stacktest.DialTCP(t, e.addr(stack.TCP))
	var all strings.Builder
	var want []string
	const many = 200
	for i := 1; i <= many; i++ {
		lines := request(p, "INFO", fmt.Sprintf("o%d", i), "order")
		lines[6] = fmt.Sprintf("CSeq: %d INFO", i)
		all.WriteString(strings.Join(lines, "\r\n") + "\r\nContent-Length: 0\r\n\r\n")
		want = append(want, fmt.Sprintf("%d INFO", i))
	}
	p.Write(all.String())
	for range many {
		p.Code(200)
	}
	mu.Lock()
	defer mu.Unlock()
	if !slices.Equal(order, want) {
		t.Errorf("handled in the order %v", order)
	}
}

// One that blocks holds up its dialog for a moment only.
func TestBlockedHandlerDoesNotBlockItsDialog(t *testing.T) {
	release := make(chan struct{})
	e := start(t, stack.Options{}, func(s *stack.Stack) {
		s.Handle(sip.INFO, func(context.Context, *stack.Request) { <-release })
	})
	defer close(release)
	p := stacktest.DialUDP(t, e.addr(stack.UDP))
	p.Send(request(p, "INFO", "blocks", "blocked")...)
	p.Send(request(p, "OPTIONS", "goes", "blocked")...)
	if m := p.Final(); m.Code != 200 || m.Header("CSeq") != "1 OPTIONS" {
		t.Errorf("got %s", m.Start)
	}
}

// Hazard 11: the ACK of a failed INVITE reaches its transaction over streams
// too, and nobody mistakes it for the ACK of a 2xx.
func TestAckOfAFailedInvite(t *testing.T) {
	acks := make(chan *sip.Request, 1)
	e := start(t, stack.Options{}, func(s *stack.Stack) {
		s.Handle(sip.INVITE, func(_ context.Context, req *stack.Request) {
			_ = req.Tx.Respond(s.NewResponse(req, 486, "Busy Here"))
			acks <- <-req.Tx.Acks()
		})
		s.Handle(sip.ACK, func(context.Context, *stack.Request) { t.Error("ACK of a 486 at the handler of ACK") })
	})
	for _, p := range []*stacktest.Peer{stacktest.DialUDP(t, e.addr(stack.UDP)), stacktest.DialTCP(t, e.addr(stack.TCP))} {
		id := "ack" + p.Name
		invite := request(p, "INVITE", id, id)
		p.Send(invite...)
		tag := p.Code(486).Tag("To")
		invite[0], invite[4], invite[6] = strings.Replace(invite[0], "INVITE", "ACK", 1), invite[4]+";tag="+tag, "CSeq: 1 ACK"
		p.Send(invite...)
		if a := <-acks; !a.IsAck() || a.CallID().Value() != id {
			t.Errorf("%s: %s", p.Name, a.Short())
		}
	}
}

func TestAckOfA2xxReachesItsHandler(t *testing.T) {
	acks := make(chan string, 1)
	e := start(t, stack.Options{}, func(s *stack.Stack) {
		s.Handle(sip.INVITE, func(_ context.Context, req *stack.Request) {
			_ = req.Tx.Respond(s.NewResponse(req, 200, "OK"))
		})
		s.Handle(sip.ACK, func(_ context.Context, req *stack.Request) {
			if err := req.Tx.Respond(s.NewResponse(req, 200, "OK")); err == nil {
				t.Error("an ACK took a response")
			}
			acks <- req.CallID().Value()
		})
	})
	p := stacktest.DialUDP(t, e.addr(stack.UDP))
	for i, branch := range []string{"other", "same"} {
		id := fmt.Sprint("ok", i)
		invite := request(p, "INVITE", "same"+id, id)
		p.Send(invite...)
		tag := p.Code(200).Tag("To")
		invite[0], invite[4], invite[6] = strings.Replace(invite[0], "INVITE", "ACK", 1), invite[4]+";tag="+tag, "CSeq: 1 ACK"
		invite[1] = p.Via(branch + id)
		p.Send(invite...)
		if got := <-acks; got != id {
			t.Errorf("ACK of %s", got)
		}
	}
}

func TestRetransmissionsReachTheHandlerOnce(t *testing.T) {
	var mu sync.Mutex
	calls := 0
	e := start(t, stack.Options{}, func(s *stack.Stack) {
		s.Handle(sip.MESSAGE, func(_ context.Context, req *stack.Request) {
			mu.Lock()
			calls++
			mu.Unlock()
			_ = req.Tx.Respond(s.NewResponse(req, 200, "OK"))
		})
	})
	p := stacktest.DialUDP(t, e.addr(stack.UDP))
	var first string
	for range 5 {
		p.Send(request(p, "MESSAGE", "again", "again")...)
		m := p.Code(200)
		if first == "" {
			first = m.Raw
		}
		if m.Raw != first {
			t.Errorf("a repeated answer differs:\n%s", m.Raw)
		}
	}
	mu.Lock()
	defer mu.Unlock()
	if calls != 1 {
		t.Errorf("handled %d times", calls)
	}
}

// leaving calls a function once, when the first message leaves.
type leaving func()

func (f *leaving) Message(in bool, _ stack.Flow, _ []byte) {
	if !in && *f != nil {
		first := *f
		*f = nil
		first()
	}
}

// A copy of the request that comes while the answer leaves gets the answer as well (RFC 3261 §17.2.2).
func TestRetransmissionWhileTheAnswerLeaves(t *testing.T) {
	var again leaving
	inMemory(t, stack.Options{Tap: &again}, func(s *stack.Stack) {
		s.Handle(sip.MESSAGE, func(_ context.Context, req *stack.Request) { _ = req.Tx.Respond(s.NewResponse(req, 200, "OK")) })
	}, func(t *bubble) {
		message := []string{
			"MESSAGE sip:8002@linehall.test SIP/2.0", "Via: SIP/2.0/UDP " + there + ";branch=z9hG4bKcopy", "Max-Forwards: 70",
			"From: <sip:8001@linehall.test>;tag=a", "To: <sip:8002@linehall.test>", "Call-ID: copy", "CSeq: 1 MESSAGE",
		}
		again = func() {
			t.phone.Send(here, message...)
			synctest.Wait() // it has been dealt with
		}
		t.phone.Send(here, message...)
		if one, other := t.phone.Recv(), t.phone.Recv(); one.Code != 200 || one.Raw != other.Raw {
			t.Errorf("answered with\n%s\nand\n%s", one.Raw, other.Raw)
		}
	})
}

func TestMethodsWithoutAHandler(t *testing.T) {
	e := start(t, stack.Options{}, nil)
	p := stacktest.DialUDP(t, e.addr(stack.UDP))
	for method, want := range map[string]int{"PUBLISH": 405, "FROBNICATE": 501, "NOTIFY": 489} {
		p.Send(request(p, method, method, method)...)
		m := p.Final()
		if m.Code != want || want != 489 && !strings.Contains(m.Header("Allow"), "OPTIONS") {
			t.Errorf("%s: %s, Allow %q", method, m.Start, m.Header("Allow"))
		}
	}
	p.Send(append(request(p, "NOTIFY", "ka", "ka"), "Event: keep-alive")...)
	if m := p.Final(); m.Code != 200 {
		t.Errorf("keep-alive NOTIFY: %s", m.Start)
	}
	if n := e.counted(t, "linehall_sip_requests_total", "other", "501"); n != 1 {
		t.Errorf("unknown method counted %v times as other", n)
	}
}

// RFC 3261 §16.4: a strict router puts our URI into the request line, and the target into the last Route.
func TestStrictRouteIsUndone(t *testing.T) {
	type seen struct {
		uri    string
		routes int
	}
	got := make(chan seen, 1)
	e := start(t, stack.Options{}, func(s *stack.Stack) {
		s.Handle(sip.MESSAGE, func(_ context.Context, req *stack.Request) {
			got <- seen{req.Recipient.String(), len(req.GetHeaders("Route"))}
			_ = req.Tx.Respond(s.NewResponse(req, 200, "OK"))
		})
	})
	p := stacktest.DialUDP(t, e.addr(stack.UDP))
	for i, c := range []struct {
		uri    string
		routes []string
		want   seen
	}{
		{"sip:127.0.0.1;lr", []string{"Route: <sip:far.example;lr>", "Route: <sip:8002@linehall.test>"}, seen{"sip:8002@linehall.test", 1}},
		{"sip:8002@linehall.test", []string{"Route: <sip:127.0.0.1;lr>"}, seen{"sip:8002@linehall.test", 1}},
		{"sip:127.0.0.1;lr", nil, seen{"sip:127.0.0.1;lr", 0}},
	} {
		id := fmt.Sprintf("strict%d", i)
		lines := request(p, "MESSAGE", id, id, c.routes...)
		lines[0] = "MESSAGE " + c.uri + " SIP/2.0"
		p.Send(lines...)
		p.Code(200)
		if s := <-got; s != c.want {
			t.Errorf("%s with %v: %+v", c.uri, c.routes, s)
		}
	}
}
