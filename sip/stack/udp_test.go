package stack_test

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/emiago/sipgo/sip"

	"linehall/sip/stack"
	"linehall/sip/stack/stacktest"
)

// A wildcard socket answers from the address it was asked at: the peer's socket
// is connected and would not hear any other.
func TestWildcardAnswersFromTheAddressAsked(t *testing.T) {
	for _, address := range []string{":0", "0.0.0.0:0"} {
		flows := make(chan stack.Flow, 1)
		e := start(t, stack.Options{Listen: []stack.Listen{{Transport: stack.UDP, Address: address}}}, func(s *stack.Stack) {
			s.Handle(sip.MESSAGE, func(_ context.Context, req *stack.Request) {
				flows <- req.Flow
				_ = req.Tx.Respond(s.NewResponse(req, 200, "OK"))
			})
		})
		port := e.addr(stack.UDP).Port()
		for i, asked := range []string{"127.0.0.1", "127.0.1.1", "127.9.9.9"} {
			at := netip.AddrPortFrom(netip.MustParseAddr(asked), port)
			p := stacktest.DialUDPFrom(t, netip.MustParseAddrPort("127.0.1.7:0"), at)
			id := fmt.Sprint("wild", i)
			p.Send(request(p, "MESSAGE", id, id)...)
			p.Code(200)
			flow := <-flows
			if flow.Local != at || flow.Remote != p.Local {
				t.Errorf("%s: flow %s", address, flow)
			}
			// A later request of ours leaves from there too, and says so.
			tx, err := e.Request(t.Context(), newRequest(sip.INFO), flow)
			if err != nil {
				t.Fatal(err)
			}
			if m := p.Request("INFO"); !strings.Contains(m.Header("Via"), "SIP/2.0/UDP "+at.String()) {
				t.Errorf("via %s", m.Header("Via"))
			}
			tx.Terminate()
			if uri := e.ContactURI(flow, "8002"); uri.String() != "sip:8002@"+at.String() {
				t.Errorf("contact %s", uri.String())
			}
		}
	}
}

// Hazard 7: a peer not yet heard of is reached from the listener's port.
func TestFirstRequestLeavesFromTheListener(t *testing.T) {
	e := start(t, stack.Options{Listen: []stack.Listen{{Transport: stack.UDP, Address: "127.0.0.1:0"}, {Transport: stack.UDP, Address: "127.0.0.2:0"}}}, nil)
	sink, err := net.ListenUDP("udp", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 9)})
	if err != nil {
		t.Fatal(err)
	}
	defer sink.Close() //nolint:errcheck // the test ends
	for _, l := range e.Listeners() {
		flow := stack.Flow{Transport: stack.UDP, Local: l.Address, Remote: sink.LocalAddr().(*net.UDPAddr).AddrPort()}
		tx, err := e.Request(t.Context(), newRequest(sip.INFO), flow)
		if err != nil {
			t.Fatal(err)
		}
		_ = sink.SetReadDeadline(time.Now().Add(5 * time.Second)) // of a live socket
		_, from, err := sink.ReadFromUDPAddrPort(make([]byte, 2000))
		if err != nil || from != l.Address {
			t.Errorf("from %s, want %s: %v", from, l.Address, err)
		}
		tx.Terminate()
	}
}

func TestAdvertisedAddress(t *testing.T) {
	e := start(t, stack.Options{Advertise: netip.MustParseAddr("203.0.113.5")}, nil)
	flow := stack.Flow{Transport: stack.UDP, Local: e.addr(stack.UDP), Remote: netip.MustParseAddrPort("127.0.0.1:9")}
	if uri, want := e.ContactURI(flow, "x"), fmt.Sprintf("sip:x@203.0.113.5:%d", e.addr(stack.UDP).Port()); uri.String() != want {
		t.Errorf("contact %s, want %s", uri.String(), want)
	}
	flow.Transport = stack.TCP
	if uri := e.ContactURI(flow, "x"); !strings.HasSuffix(uri.String(), ";transport=tcp") {
		t.Errorf("contact %s", uri.String())
	}
}

// RFC 3261 §18.2.2: without rport the answer goes to the Via's port when the
// Via's address is the real source; hazard 17: received is always there.
func TestAnswerToTheViaPort(t *testing.T) {
	e := start(t, stack.Options{}, nil)
	listening := stacktest.DialUDP(t, e.addr(stack.UDP))
	sending := stacktest.DialUDP(t, e.addr(stack.UDP))
	lines := request(listening, "OPTIONS", "via", "via")
	lines[1] = strings.Replace(lines[1], ";rport", "", 1)
	sending.Send(lines...)
	if m := listening.Final(); !strings.Contains(m.Header("Via"), "received=127.0.0.1") {
		t.Errorf("via %s", m.Header("Via"))
	}
	// Behind a NAT the Via's port means nothing here.
	lines = request(listening, "OPTIONS", "nat", "nat")
	lines[1] = "Via: SIP/2.0/UDP 192.168.1.10:5060;branch=z9hG4bKnat"
	sending.Send(lines...)
	if m := sending.Final(); !strings.Contains(m.Header("Via"), "received=127.0.0.1") {
		t.Errorf("via %s", m.Header("Via"))
	}
}

// Hazard 8 and 13: garbage costs a counter, not memory, and never the listener.
func TestGarbageDatagrams(t *testing.T) {
	e := start(t, stack.Options{Limits: stack.Limits{Sources: 64}}, nil)
	addr := e.addr(stack.UDP)
	stunAllocate := "\x00\x03\x00\x00\x21\x12\xa4\x42" + strings.Repeat("\x01", 12)
	for _, c := range []struct{ name, reason, raw string }{
		{"random", "garbage", string(noise(1200))},
		{"64 KiB", "garbage", strings.Repeat("A", 65507)},
		{"stun", "stun", stunAllocate},
		{"dns", "garbage", "\x12\x34\x01\x00\x00\x01\x00\x00"},
		{"http", "garbage", "GET / HTTP/1.0\r\n\r\n"},
		{"half", "malformed", "OPTIONS sip:x@y SIP/2.0\r\nVia: SIP/2.0/UDP a"},
		{"response", "malformed", "SIP/2.0 999999 X\r\n\r\n"},
		{"naked", "no_via", "OPTIONS sip:x@y SIP/2.0\r\n\r\n"},
	} {
		before := e.counted(t, "linehall_dropped_total", "sip_udp", c.reason)
		p := stacktest.DialUDP(t, addr)
		p.Write(c.raw)
		eventually(t, c.name+" counted as "+c.reason, func() bool {
			return e.counted(t, "linehall_dropped_total", "sip_udp", c.reason) == before+1
		})
		p.Close()
	}
	p := stacktest.DialUDP(t, addr)
	p.Write("\r\n\r\n")
	if m, ok := p.Read(5 * time.Second); !ok || m.Raw != "\r\n" {
		t.Errorf("keep-alive answered with %q", m.Raw)
	}
	p.Send(request(p, "OPTIONS", "alive", "alive")...)
	p.Code(200)
}

func TestManySourcesDoNotGrowAnything(t *testing.T) {
	e := start(t, stack.Options{Limits: stack.Limits{Sources: 64}}, nil)
	to := net.UDPAddrFromAddrPort(e.addr(stack.UDP))
	heap := func() uint64 {
		runtime.GC()
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		return m.HeapAlloc
	}
	c, err := net.ListenUDP("udp", nil)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close() //nolint:errcheck // the test ends
	before, routines := heap(), runtime.NumGoroutine()
	const many = 3000
	for i := range many {
		src, err := net.DialUDP("udp", &net.UDPAddr{IP: net.IPv4(127, 77, byte(i>>8), byte(i))}, to)
		if err != nil {
			t.Fatal(err)
		}
		_, _ = src.Write([]byte("OPTIONS sip:x SIP/2.0 garbage\r\n\r\n"))
		_ = src.Close()
	}
	eventually(t, "all counted", func() bool { return e.counted(t, "linehall_dropped_total", "sip_udp") >= many*9/10 })
	if grown := int64(heap()) - int64(before); grown > 2<<20 {
		t.Errorf("the heap grew by %d bytes", grown)
	}
	if n := runtime.NumGoroutine(); n > routines+5 {
		t.Errorf("%d goroutines, %d before", n, routines)
	}
}

// Hazard 27: answered requests hold a timer, not a goroutine.
func TestNoGoroutinePerTransaction(t *testing.T) {
	e := start(t, stack.Options{}, nil)
	p := stacktest.DialUDP(t, e.addr(stack.UDP))
	p.Send(request(p, "OPTIONS", "warm", "warm")...)
	p.Code(200)
	before := runtime.NumGoroutine()
	for i := range 500 {
		id := fmt.Sprint("g", i)
		p.Send(request(p, "OPTIONS", id, id)...)
		p.Code(200)
	}
	eventually(t, "handlers ended", func() bool { return runtime.NumGoroutine() <= before+2 })
	if n := e.counted(t, "linehall_sip_transactions", "server"); n != 501 {
		t.Errorf("%v server transactions", n)
	}
}

func TestRateLimitPerSource(t *testing.T) {
	e := start(t, stack.Options{Limits: stack.Limits{SourceRate: 1, SourceBurst: 10}}, nil)
	loud := stacktest.DialUDPFrom(t, netip.MustParseAddrPort("127.0.0.66:0"), e.addr(stack.UDP))
	for i := range 30 {
		id := fmt.Sprint("loud", i)
		loud.Send(request(loud, "OPTIONS", id, id)...)
	}
	eventually(t, "limited", func() bool { return e.counted(t, "linehall_dropped_total", "sip_udp", "rate_limit") == 20 })
	p := stacktest.DialUDP(t, e.addr(stack.UDP))
	p.Send(request(p, "OPTIONS", "calm", "calm")...)
	p.Code(200)
}

func TestOverloadIsSaid(t *testing.T) {
	e := start(t, stack.Options{Limits: stack.Limits{Transactions: 3}}, nil)
	p := stacktest.DialUDP(t, e.addr(stack.UDP))
	for i, want := range []int{200, 200, 200, 503} {
		id := fmt.Sprint("over", i)
		p.Send(request(p, "OPTIONS", id, id)...)
		if m := p.Final(); m.Code != want || want == 503 && m.Header("Retry-After") == "" {
			t.Errorf("request %d:\n%s", i, m.Raw)
		}
	}
}

// RFC 3261 §8.2.2.2: the same INVITE over two paths.
func TestMergedRequest(t *testing.T) {
	e := start(t, stack.Options{}, func(s *stack.Stack) {
		s.Handle(sip.INVITE, func(_ context.Context, req *stack.Request) {
			_ = req.Tx.Respond(s.NewResponse(req, 180, "Ringing"))
		})
	})
	p := stacktest.DialUDP(t, e.addr(stack.UDP))
	p.Send(request(p, "INVITE", "path1", "merged")...)
	p.Code(180)
	p.Send(request(p, "INVITE", "path2", "merged")...)
	if m := p.Final(); m.Code != 482 {
		t.Errorf("got %s", m.Start)
	}
}
