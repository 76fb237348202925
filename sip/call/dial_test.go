package call_test

import (
	"bufio"
	"fmt"
	"net"
	"testing"
	"time"

	"linehall/sip/call"
)

// listens gives a TCP phone a listener of its own, which its Contact names, and cuts its
// connection: a firewall, or a client that registers in one process and answers in another.
func (p *phone) listens() {
	p.t.Helper()
	host, _, _ := net.SplitHostPort(p.local)
	l, err := net.Listen("tcp", net.JoinHostPort(host, "0"))
	if err != nil {
		p.t.Fatal(err)
	}
	p.t.Cleanup(func() { _ = l.Close() })
	p.local = l.Addr().String()
	p.register()
	p.cut()
	p.accepts(l)
}

// cut drops the phone's connection and waits until the exchange has seen it.
func (p *phone) cut() {
	p.t.Helper()
	_ = p.conn.Close()
	eventually(p.t, "the connection is gone", func() bool { return p.x.connections() == 0 })
}

// accepts answers the exchange's call back, once.
func (p *phone) accepts(l net.Listener) {
	accepted := make(chan net.Conn, 1)
	go func() {
		defer close(accepted)
		conn, err := l.Accept()
		if err != nil {
			return
		}
		accepted <- conn
		for r := bufio.NewReader(conn); ; {
			m, err := readMessage(r)
			if err != nil {
				return
			}
			p.inbox <- m
		}
	}()
	p.redial = func() {
		select {
		case p.conn = <-accepted:
		case <-time.After(patience):
			p.t.Fatalf("%s: nobody dials", p.ext)
		}
	}
	p.t.Cleanup(func() { _ = p.conn.Close() })
}

// connections is how many the exchange holds.
func (x *exchange) connections() int {
	x.t.Helper()
	families, err := x.reg.Gather()
	if err != nil {
		x.t.Fatal(err)
	}
	for _, f := range families {
		if f.GetName() == "linehall_sip_connections" {
			return int(f.GetMetric()[0].GetGauge().GetValue())
		}
	}
	x.t.Fatal("no such metric")
	return 0
}

// RFC 3261 §18.1.1: a phone that listens gets its call although its connection is gone, and
// the BYE finds it again when the new one is cut as well.
func TestCallsReachAListeningPhoneWithoutAConnection(t *testing.T) {
	t.Parallel()
	x := newExchange(t, labOptions{})
	a, b := newPhone(t, x, "8001", "UDP", "127.0.0.11"), newPhone(t, x, "8002", "TCP", "127.0.0.12")
	a.register()
	b.listens()
	a.invite("8002", sdpFrom("127.0.0.11"))
	b.redial()
	inv := b.request("INVITE")
	answer := b.reply(inv, 200, "OK", sdpFrom("127.0.0.12"))
	b.send(answer)
	ok := a.status("INVITE", 200)
	da := a.dialogOfCaller(ok)
	a.send(da.request("ACK", ""))
	b.request("ACK")
	l, err := net.Listen("tcp", b.local) // as above, for the second time
	if err != nil {
		t.Skipf("the port is taken: %v", err)
	}
	defer l.Close() //nolint:errcheck // the test ends
	b.cut()
	b.accepts(l)
	da.send("BYE", "")
	a.status("BYE", 200)
	b.redial()
	b.send(b.reply(b.request("BYE"), 200, "OK", ""))
	eventually(t, "released", func() bool { return len(x.calls.Snapshot()) == 0 })
}

// Nobody is dialled at an address that is not where the registration came from.
func TestPhoneBehindANATIsNotDialled(t *testing.T) {
	t.Parallel()
	x := newExchange(t, labOptions{})
	a, b := newPhone(t, x, "8001", "UDP", "127.0.0.11"), newPhone(t, x, "8002", "TCP", "127.0.0.12")
	a.register()
	l, err := net.Listen("tcp", "127.0.0.13:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close() //nolint:errcheck // the test ends
	b.local = l.Addr().String()
	b.register()
	b.cut()
	refused(t, x, a, "8002", 480)
	_ = l.(*net.TCPListener).SetDeadline(time.Now().Add(200 * time.Millisecond)) //nolint:forcetypeassert // of a TCP listener
	if c, err := l.Accept(); err == nil {
		_ = c.Close()
		t.Error("the exchange dialled another host")
	}
}

// MESSAGE is served inside of calls and nowhere else.
func TestMessageInsideAndOutsideOfCalls(t *testing.T) {
	t.Parallel()
	_, a, b := phones(t, labOptions{})
	k := connect(t, a, b)
	k.da.send("MESSAGE", "hello", [2]string{"Content-Type", "text/plain"})
	m := b.request("MESSAGE")
	if m.body != "hello" || m.header("Content-Type") != "text/plain" {
		t.Errorf("got %q as %q", m.body, m.header("Content-Type"))
	}
	b.send(b.reply(m, 200, "OK", ""))
	a.status("MESSAGE", 200)
	k.hangUp(k.da)
	a.call = token()
	a.send(a.fresh("MESSAGE", "sip:8002@"+domain, "sip:8002@"+domain))
	if res := a.status("MESSAGE", 405); res.header("Allow") == "" {
		t.Error("405 without Allow")
	}
	for _, method := range []string{"MESSAGE", "OPTIONS", "NOTIFY"} {
		lost := a.fresh(method, "sip:8002@"+domain, "sip:8002@"+domain)
		for i, h := range lost.headers {
			if h[0] == "To" {
				lost.headers[i][1] += ";tag=nobody"
			}
		}
		a.send(lost)
		a.status(method, 481)
	}
}

// Every series of a dashboard exists before the first call.
func TestMetricsExistWithoutCalls(t *testing.T) {
	t.Parallel()
	x := newExchange(t, labOptions{limits: call.Limits{}})
	families, err := x.reg.Gather()
	if err != nil {
		t.Fatal(err)
	}
	got := map[string]bool{}
	for _, f := range families {
		for _, m := range f.GetMetric() {
			labels := ""
			for _, l := range m.GetLabel() {
				labels += " " + l.GetValue()
			}
			got[f.GetName()+labels] = m.GetGauge().GetValue() == 0 && m.GetHistogram().GetSampleCount() == 0
		}
	}
	want := []string{"linehall_call_setup_seconds", "linehall_call_mos"}
	for _, site := range []string{"hq", "branch1"} {
		for _, path := range []string{"direct", "relay"} {
			want = append(want, fmt.Sprintf("linehall_calls_active %s %s", path, site))
		}
	}
	for _, w := range want {
		if !got[w] {
			t.Errorf("%s is not there, or not zero", w)
		}
	}
}
