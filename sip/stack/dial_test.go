package stack_test

import (
	"bufio"
	"context"
	"errors"
	"net"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/emiago/sipgo/sip"
	"golang.org/x/sys/unix"

	"linehall/sip/stack"
	"linehall/sip/stack/stacktest"
)

// listening is a phone's own listener.
func listening(t *testing.T, addr string) (*net.TCPListener, netip.AddrPort) {
	t.Helper()
	l, err := net.ListenTCP("tcp", net.TCPAddrFromAddrPort(netip.MustParseAddrPort(addr)))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	return l, l.Addr().(*net.TCPAddr).AddrPort()
}

// RFC 3261 §18.1.1: a request to a phone that listens opens a connection, which
// then carries requests in both directions like one that the phone opened.
func TestDialReachesAListeningPhone(t *testing.T) {
	closedFlows := make(chan stack.Flow, 1)
	e := start(t, stack.Options{}, func(s *stack.Stack) { s.OnFlowClosed(func(f stack.Flow) { closedFlows <- f }) })
	l, remote := listening(t, "127.0.0.1:0")
	flows := make(chan stack.Flow, 8)
	var callers sync.WaitGroup
	for range cap(flows) {
		callers.Go(func() {
			f, err := e.Dial(t.Context(), stack.TCP, remote)
			if err != nil {
				t.Error(err)
			}
			flows <- f
		})
	}
	conn, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close() //nolint:errcheck // the test ends
	callers.Wait()
	flow := <-flows
	for range cap(flows) - 1 {
		if f := <-flows; f != flow {
			t.Errorf("two connections: %s and %s", flow, f)
		}
	}
	if flow.Remote != remote || flow.Local != e.addr(stack.TCP) || !e.Alive(flow) {
		t.Errorf("the flow is %s, alive %t", flow, e.Alive(flow))
	}
	if again, err := e.Dial(t.Context(), stack.TCP, remote); err != nil || again != flow {
		t.Errorf("a second dial gives %s, %v", again, err)
	}
	if n := e.counted(t, "linehall_sip_connections"); n != 1 {
		t.Errorf("%v connections counted", n)
	}
	tx, err := e.Request(t.Context(), newRequest(sip.INFO), flow)
	if err != nil {
		t.Fatal(err)
	}
	defer tx.Terminate()
	r := bufio.NewReader(conn)
	if got := head(t, r); !strings.HasPrefix(got, "INFO ") || !strings.Contains(got, "SIP/2.0/TCP "+e.addr(stack.TCP).String()) {
		t.Errorf("the phone got:\n%s", got)
	}
	write(conn, []byte("OPTIONS sip:linehall.test SIP/2.0\r\nVia: SIP/2.0/TCP 127.0.0.1;branch=z9hG4bKback\r\nMax-Forwards: 70\r\n"+
		"From: <sip:a@b>;tag=1\r\nTo: <sip:c@d>\r\nCall-ID: back\r\nCSeq: 1 OPTIONS\r\nContent-Length: 0\r\n\r\n"))
	if got := head(t, r); !strings.HasPrefix(got, "SIP/2.0 200") {
		t.Errorf("the phone got:\n%s", got)
	}
	_ = conn.Close()
	if f := <-closedFlows; f != flow {
		t.Errorf("closed %s", f)
	}
}

func head(t *testing.T, r *bufio.Reader) string {
	t.Helper()
	var text strings.Builder
	for {
		line, err := r.ReadString('\n')
		if err != nil {
			t.Fatal(err)
		}
		if text.WriteString(line); line == "\r\n" {
			return text.String()
		}
	}
}

func TestDialThatFails(t *testing.T) {
	e := start(t, stack.Options{Limits: stack.Limits{ConnsPerSource: 1}}, nil)
	l, gone := listening(t, "127.0.0.1:0")
	_ = l.Close()
	_, second := listening(t, "127.0.0.1:0")
	for name, dial := range map[string]func() (stack.Flow, error){
		"nobody listens": func() (stack.Flow, error) { return e.Dial(t.Context(), stack.TCP, gone) },
		"TLS":            func() (stack.Flow, error) { return e.Dial(t.Context(), stack.TLS, gone) },
		"UDP":            func() (stack.Flow, error) { return e.Dial(t.Context(), stack.UDP, gone) },
		"no address":     func() (stack.Flow, error) { return e.Dial(t.Context(), stack.TCP, netip.AddrPort{}) },
		"the source has its connections": func() (stack.Flow, error) {
			stacktest.DialTCP(t, e.addr(stack.TCP))
			eventually(t, "accepted", func() bool { return e.counted(t, "linehall_sip_connections") == 1 })
			return e.Dial(t.Context(), stack.TCP, second)
		},
	} {
		if f, err := dial(); !errors.Is(err, stack.ErrFlowGone) || !f.IsZero() {
			t.Errorf("%s: %s, %v", name, f, err)
		}
	}
}

// An address that swallows packets costs its caller two seconds and nobody else anything.
func TestDialsAreBounded(t *testing.T) {
	e := start(t, stack.Options{Limits: stack.Limits{Dials: 1, DialTime: 3 * time.Second}}, nil)
	// A listener with a full queue: it neither takes nor refuses.
	full, stop := unanswered(t)
	defer stop()
	began := time.Now()
	away, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := e.Dial(away, stack.TCP, full); !errors.Is(err, context.Canceled) {
		t.Errorf("a caller that went away: %v", err)
	}
	l, gone := listening(t, "127.0.0.1:0")
	_ = l.Close()
	if _, err := e.Dial(t.Context(), stack.TCP, gone); !errors.Is(err, stack.ErrFlowGone) || !strings.Contains(err.Error(), "too many") {
		t.Errorf("a second dial at once: %v", err)
	}
	if _, err := e.Dial(t.Context(), stack.TCP, full); !errors.Is(err, stack.ErrFlowGone) { // it joins the first
		t.Errorf("got %v", err)
	}
	if d := time.Since(began); d > 15*time.Second {
		t.Errorf("gave up after %s", d)
	}
	_, free := listening(t, "127.0.0.1:0")
	eventually(t, "room again", func() bool { _, err := e.Dial(t.Context(), stack.TCP, free); return err == nil })
}

func TestOnlyContactsThatAreTheSourceAreDialled(t *testing.T) {
	seen := netip.MustParseAddrPort("192.0.2.7:49152")
	for _, c := range []struct{ transport, contact, want string }{
		{stack.TCP, "sip:8001@192.0.2.7:5070;transport=tcp", "192.0.2.7:5070"},
		{stack.TCP, "sip:8001@192.0.2.7;transport=TCP", "192.0.2.7:5060"},
		{stack.TCP, "sip:192.0.2.7:5062;transport=tcp;ob", "192.0.2.7:5062"},
		{stack.TCP, "sip:8001@192.0.2.7:5070", ""},
		{stack.TCP, "sip:8001@10.0.0.7:5070;transport=tcp", ""},
		{stack.TCP, "sip:8001@phone.example:5070;transport=tcp", ""},
		{stack.TCP, "sip:8001@192.0.2.7:5070;transport=tcp;maddr=192.0.2.1", ""},
		{stack.TCP, "sips:8001@192.0.2.7:5070;transport=tcp", ""},
		{stack.TLS, "sip:8001@192.0.2.7:5070;transport=tcp", ""},
		{stack.UDP, "sip:8001@192.0.2.7:5070;transport=tcp", ""},
	} {
		var uri sip.Uri
		if err := sip.ParseUri(c.contact, &uri); err != nil {
			t.Fatal(err)
		}
		to, ok := stack.DialBack(stack.Flow{Transport: c.transport, Remote: seen}, &uri)
		if got := to.String(); ok != (c.want != "") || ok && got != c.want {
			t.Errorf("%s %s: %s, %t; want %q", c.transport, c.contact, got, ok, c.want)
		}
	}
}

// unanswered returns the address of a listener whose queue is full, so that a
// connection to it is neither made nor refused.
func unanswered(t *testing.T) (netip.AddrPort, func()) {
	t.Helper()
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM, 0)
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(unix.Bind(fd, &unix.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}}), unix.Listen(fd, 0)); err != nil {
		t.Fatal(err)
	}
	name, err := unix.Getsockname(fd)
	if err != nil {
		t.Fatal(err)
	}
	addr := netip.AddrPortFrom(netip.MustParseAddr("127.0.0.1"), uint16(name.(*unix.SockaddrInet4).Port))
	var queued []net.Conn
	for range 8 {
		c, err := net.DialTimeout("tcp", addr.String(), 100*time.Millisecond)
		if err != nil {
			break
		}
		queued = append(queued, c)
	}
	return addr, func() {
		for _, c := range queued {
			_ = c.Close()
		}
		_ = unix.Close(fd)
	}
}

// A datagram to a peer outside never leaves by the network within the process, whichever socket was there first.
func TestDatagramsLeaveByASocket(t *testing.T) {
	near, far := stack.NewInside()
	defer far.Close() //nolint:errcheck // the test ends
	e := start(t, stack.Options{Packets: []stack.PacketSocket{near}, Listen: []stack.Listen{{Transport: stack.UDP, Address: "127.0.0.1:0"}}}, nil)
	remote := netip.MustParseAddrPort("127.0.0.9:5060")
	flow, err := e.Datagram(t.Context(), remote)
	if err != nil {
		t.Fatal(err)
	}
	if flow.Inside() || flow.Local != e.Listeners()[1].Address || flow.Remote != remote {
		t.Errorf("the flow is %s", flow)
	}
}
