package stack_test

import (
	"context"
	"errors"
	"net/netip"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/emiago/sipgo/sip"

	"linehall/sip/stack"
	"linehall/sip/stack/stacktest"
)

const (
	here  = "10.0.0.1:5060"
	there = "10.0.0.2:5062"
)

var toPhone = stack.Flow{Transport: stack.UDP, Local: netip.MustParseAddrPort(here), Remote: netip.MustParseAddrPort(there)}

// bubble is a test in fake time: a stack and one phone.
type bubble struct {
	*testing.T

	s     *stack.Stack
	phone *stacktest.Socket
}

// inMemory runs a stack and one phone in a bubble of fake time.
func inMemory(t *testing.T, opts stack.Options, setup func(*stack.Stack), body func(*bubble)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		var network stacktest.Net
		opts.Packets = []stack.PacketSocket{network.Listen(here)}
		phone := network.Listen(there)
		s, err := stack.New(opts)
		if err != nil {
			t.Fatal(err)
		}
		if setup != nil {
			setup(s)
		}
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error, 1)
		go func() { done <- s.Run(ctx) }()
		synctest.Wait()
		body(&bubble{t, s, phone})
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
}

func newRequest(method sip.RequestMethod) *sip.Request {
	uri := sip.Uri{Scheme: "sip", User: "8002", Host: "10.0.0.2", Port: 5062}
	req := sip.NewRequest(method, uri)
	req.AppendHeader(&sip.FromHeader{Address: sip.Uri{Scheme: "sip", User: "8001", Host: "linehall.test"}, Params: sip.HeaderParams{{K: "tag", V: "us"}}})
	req.AppendHeader(&sip.ToHeader{Address: uri})
	id := sip.CallIDHeader("client@linehall.test")
	req.AppendHeader(&id)
	req.AppendHeader(&sip.CSeqHeader{SeqNo: 1, MethodName: method})
	return req
}

func (b *bubble) send(method sip.RequestMethod) *stack.ClientTx {
	b.Helper()
	tx, err := b.s.Request(b.Context(), newRequest(method), toPhone)
	if err != nil {
		b.Fatal(err)
	}
	return tx
}

func TestTimerF(t *testing.T) {
	inMemory(t, stack.Options{}, nil, func(t *bubble) {
		began := time.Now()
		tx := t.send(sip.MESSAGE)
		for range tx.Responses() {
			t.Error("a response from nobody")
		}
		if !errors.Is(tx.Err(), stack.ErrTimeout) || time.Since(began) != 32*time.Second {
			t.Errorf("ended after %s with %v", time.Since(began), tx.Err())
		}
		// RFC 3261 §17.1.2.2: 500 ms, 1 s, 2 s, then every 4 s.
		if n := len(t.phone.Pending()); n != 11 {
			t.Errorf("sent %d times, want 11", n)
		}
	})
}

// Hazard 26: a non-INVITE transaction over UDP lives 5 s after its response,
// not 32.
func TestTimerK(t *testing.T) {
	inMemory(t, stack.Options{}, nil, func(t *bubble) {
		tx := t.send(sip.OPTIONS)
		t.phone.Answer(here, t.phone.Recv(), "200 OK")
		if res := <-tx.Responses(); res.StatusCode != 200 {
			t.Errorf("got %d", res.StatusCode)
		}
		began := time.Now()
		<-tx.Done()
		if d := time.Since(began); d != 5*time.Second {
			t.Errorf("ended after %s", d)
		}
		if tx.Err() != nil {
			t.Errorf("err %v", tx.Err())
		}
	})
}

// Hazard 9: forks of one message do not share Max-Forwards.
func TestForksOwnTheirHops(t *testing.T) {
	inMemory(t, stack.Options{}, nil, func(t *bubble) {
		origin := newRequest(sip.MESSAGE)
		hops := sip.MaxForwardsHeader(1)
		origin.AppendHeader(&hops)
		expires := sip.ExpiresHeader(60)
		origin.AppendHeader(&expires)
		forks := []*sip.Request{origin.Clone(), origin.Clone()}
		for i, f := range forks {
			tx, err := t.s.Request(t.Context(), f, toPhone)
			if err != nil {
				t.Fatal(err)
			}
			defer tx.Terminate()
			if i == 0 {
				f.MaxForwards().Dec()
			}
		}
		t.phone.Pending()
		if *forks[0].MaxForwards() == *forks[1].MaxForwards() || *origin.MaxForwards() != 1 {
			t.Errorf("hops %d and %d, of the original %d", *forks[0].MaxForwards(), *forks[1].MaxForwards(), *origin.MaxForwards())
		}
	})
}

func TestCancelWaitsForAProvisional(t *testing.T) {
	inMemory(t, stack.Options{}, nil, func(t *bubble) {
		tx := t.send(sip.INVITE)
		invite := t.phone.Recv()
		if err := tx.Cancel(t.Context()); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		if m := t.phone.Pending(); len(m) != 0 {
			t.Fatalf("sent before a provisional response: %s", m[0].Start)
		}
		t.phone.Answer(here, invite, "180 Ringing")
		cancel := t.phone.Recv()
		if cancel.Method != "CANCEL" || cancel.Header("Via") != invite.Header("Via") || cancel.Header("CSeq") != "1 CANCEL" || cancel.Header("To") != invite.Header("To") {
			t.Fatalf("the CANCEL does not fit:\n%s", cancel.Raw)
		}
		t.phone.Answer(here, cancel, "200 OK")
		t.phone.Answer(here, invite, "487 Request Terminated")
		var codes []int
		for res := range tx.Responses() {
			codes = append(codes, res.StatusCode)
		}
		if len(codes) != 2 || codes[1] != 487 || tx.Err() != nil {
			t.Errorf("got %v, %v", codes, tx.Err())
		}
		if ack := t.phone.Recv(); ack.Method != "ACK" || ack.Header("Via") != invite.Header("Via") {
			t.Errorf("no ACK of the 487: %s", ack.Start)
		}
	})
}

// A CANCEL that nobody answers ends the INVITE after 64*T1 (RFC 3261 §9.1).
func TestCancelIntoTheVoid(t *testing.T) {
	inMemory(t, stack.Options{}, nil, func(t *bubble) {
		tx := t.send(sip.INVITE)
		t.phone.Answer(here, t.phone.Recv(), "180 Ringing")
		<-tx.Responses()
		began := time.Now()
		if err := tx.Cancel(t.Context()); err != nil {
			t.Fatal(err)
		}
		for range tx.Responses() {
			t.Error("a response")
		}
		if !errors.Is(tx.Err(), stack.ErrTimeout) || time.Since(began) != 32*time.Second {
			t.Errorf("%v after %s", tx.Err(), time.Since(began))
		}
	})
}

// Hazard 10: an INVITE that rings forever is cancelled by Timer C.
func TestTimerC(t *testing.T) {
	inMemory(t, stack.Options{}, nil, func(t *bubble) {
		tx := t.send(sip.INVITE)
		invite := t.phone.Recv()
		t.phone.Answer(here, invite, "180 Ringing")
		began := time.Now()
		cancel := t.phone.Recv()
		if d := time.Since(began); cancel.Method != "CANCEL" || d < 3*time.Minute || d > 4*time.Minute {
			t.Errorf("%s after %s", cancel.Start, d)
		}
		t.phone.Answer(here, invite, "487 Request Terminated")
		for range tx.Responses() { //nolint:revive // wait for the end
		}
	})
}

// Hazard 25: a caller that does not read its responses holds up nobody, and
// still finds the final one.
func TestResponsesNobodyReads(t *testing.T) {
	inMemory(t, stack.Options{}, nil, func(t *bubble) {
		tx := t.send(sip.INVITE)
		invite := t.phone.Recv()
		for range 100 {
			t.phone.Answer(here, invite, "183 Session Progress")
		}
		t.phone.Answer(here, invite, "200 OK")
		synctest.Wait()
		other := t.send(sip.OPTIONS)
		t.phone.Answer(here, t.phone.Recv(), "200 OK")
		if res := <-other.Responses(); res.StatusCode != 200 {
			t.Errorf("the other transaction got %d", res.StatusCode)
		}
		last := 0
		for res := range tx.Responses() {
			last = res.StatusCode
		}
		if last != 200 {
			t.Errorf("the last response was %d", last)
		}
	})
}

func TestRepeated2xxIsStray(t *testing.T) {
	stray := make(chan *sip.Response, 4)
	inMemory(t, stack.Options{}, func(s *stack.Stack) {
		s.OnStrayResponse(func(res *sip.Response, f stack.Flow, _ *stack.Reading) {
			if f != toPhone {
				t.Errorf("flow %s", f)
			}
			stray <- res
		})
	}, func(t *bubble) {
		tx := t.send(sip.INVITE)
		invite := t.phone.Recv()
		t.phone.Answer(here, invite, "200 OK")
		<-tx.Responses()
		t.phone.Answer(here, invite, "200 OK")
		if res := <-stray; res.StatusCode != 200 {
			t.Errorf("got %d", res.StatusCode)
		}
		tx.Terminate()
		<-tx.Done()
		synctest.Wait()
		t.phone.Answer(here, invite, "200 OK")
		if res := <-stray; res.StatusCode != 200 {
			t.Errorf("after the end: %d", res.StatusCode)
		}
	})
}

// The library sends before it sets Timer B; a response that is faster must not
// leave a timer behind that ends the call after 32 s of ringing.
func TestRingingForAMinute(t *testing.T) {
	inMemory(t, stack.Options{}, nil, func(t *bubble) {
		tx := t.send(sip.INVITE)
		invite := t.phone.Recv()
		t.phone.Answer(here, invite, "180 Ringing")
		<-tx.Responses()
		time.Sleep(time.Minute)
		t.phone.Answer(here, invite, "486 Busy Here")
		if res, ok := <-tx.Responses(); !ok || res.StatusCode != 486 {
			t.Errorf("after a minute: %v, %v", res, tx.Err())
		}
		tx.Terminate()
	})
}

func TestUnansweredRequestsEnd(t *testing.T) {
	var txs []*stack.ServerTx
	inMemory(t, stack.Options{}, func(s *stack.Stack) {
		keep := func(_ context.Context, req *stack.Request) { txs = append(txs, req.Tx) }
		s.Handle(sip.MESSAGE, keep)
		s.Handle(sip.INVITE, keep)
	}, func(t *bubble) {
		for _, method := range []string{"MESSAGE", "INVITE"} {
			t.phone.Send(here, method+" sip:a@10.0.0.1 SIP/2.0", "Via: SIP/2.0/UDP "+there+";branch=z9hG4bK"+method,
				"From: <sip:b@10.0.0.2>;tag=1", "To: <sip:a@10.0.0.1>", "Call-ID: "+method, "CSeq: 1 "+method, "Max-Forwards: 70")
			synctest.Wait()
		}
		time.Sleep(time.Second)
		if m := t.phone.Pending(); len(m) != 1 || m[0].Code != 100 {
			t.Errorf("in the first second: %d messages", len(m))
		}
		<-txs[0].Done()
		time.Sleep(11 * time.Minute)
		codes := map[int]bool{}
		for _, m := range t.phone.Pending() {
			codes[m.Code] = true
		}
		if len(codes) != 1 || !codes[408] {
			t.Errorf("answers %v, want 408 to the INVITE and silence to the MESSAGE (RFC 4320)", codes)
		}
		<-txs[1].Done()
	})
}

// API-supplied values must not become headers (hazard 14).
func TestInjectedHeadersDoNotLeave(t *testing.T) {
	inMemory(t, stack.Options{}, nil, func(t *bubble) {
		for _, value := range []string{"a\r\nX-Evil: 1", "a\nX-Evil: 1", "a\r\n\r\nbody", "a\rb"} {
			req := newRequest(sip.MESSAGE)
			req.AppendHeader(sip.NewHeader("Subject", value))
			tx, err := t.s.Request(t.Context(), req, toPhone)
			if err == nil {
				tx.Terminate()
				t.Errorf("%q was sent", value)
			}
		}
		synctest.Wait()
		if m := t.phone.Pending(); len(m) != 0 {
			t.Errorf("left: %s", m[0].Raw)
		}
	})
}

func TestBigMessagesOverUDP(t *testing.T) {
	big := strings.Repeat("a=x-filler:0123456789\r\n", 300)
	e := start(t, stack.Options{}, func(s *stack.Stack) {
		s.Handle(sip.MESSAGE, func(_ context.Context, req *stack.Request) {
			res := s.NewResponse(req, 200, "OK")
			res.SetBody(req.Body())
			_ = req.Tx.Respond(res)
		})
	})
	p := stacktest.DialUDP(t, e.addr(stack.UDP))
	p.Write(strings.Join(request(p, "MESSAGE", "big", "big"), "\r\n") + "\r\nContent-Length: 6900\r\n\r\n" + big)
	if m := p.Final(); m.Code != 200 || m.Body != big {
		t.Errorf("got %s with %d bytes", m.Start, len(m.Body))
	}
	req := newRequest(sip.MESSAGE)
	req.SetBody([]byte(big))
	flow := stack.Flow{Transport: stack.UDP, Local: e.addr(stack.UDP), Remote: p.Local}
	tx, err := e.Request(t.Context(), req, flow)
	if err != nil {
		t.Fatal(err)
	}
	defer tx.Terminate()
	if m := p.Request("MESSAGE"); m.Body != big {
		t.Errorf("arrived with %d bytes", len(m.Body))
	}
}
