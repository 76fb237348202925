package stack_test

import (
	"net/http"
	"net/netip"
	"sync/atomic"
	"testing"
	"time"

	"github.com/coder/websocket"

	"linehall/sip/stack"
	"linehall/sip/stack/stacktest"
)

// gate keeps out everybody while it is shut.
type gate struct{ shut atomic.Bool }

func (g *gate) Admit(netip.AddrPort, string) bool { return !g.shut.Load() }

// Who is kept out gets no answer: not to a datagram, not on a connection from before, and no new connection.
func TestFilterIsAskedBeforeParsing(t *testing.T) {
	g := &gate{}
	e := start(t, stack.Options{Filter: g}, nil)
	url, _, _ := web(t, e)
	peers := map[string]*stacktest.Peer{
		"sip_udp": stacktest.DialUDP(t, e.addr(stack.UDP)), "sip_tcp": stacktest.DialTCP(t, e.addr(stack.TCP)), "sip_ws": stacktest.DialWS(t, url, "", nil),
	}
	for name, p := range peers {
		p.Send(anonymous(p.Name, "OPTIONS", "before-"+name)...)
		if m := p.Final(); m.Code != 200 {
			t.Errorf("%s: before it was shut: %s", name, m.Raw)
		}
	}
	g.shut.Store(true)
	for name, p := range peers {
		p.Send(anonymous(p.Name, "OPTIONS", "after-"+name)...)
		if m, ok := p.Read(300 * time.Millisecond); ok {
			t.Errorf("%s: answered with %s", name, m.Raw)
		}
	}
	if m, ok := stacktest.DialTCP(t, e.addr(stack.TCP)).Read(time.Second); ok {
		t.Errorf("a new connection got %s", m.Raw)
	}
	c, response, err := websocket.Dial(t.Context(), url, &websocket.DialOptions{Subprotocols: []string{stack.Subprotocol}})
	if err == nil {
		_ = c.CloseNow()
		t.Fatal("a new WebSocket was opened")
	}
	if response == nil || response.StatusCode != http.StatusForbidden {
		t.Errorf("a new WebSocket got %v, %v", response, err)
	}
	for name, want := range map[string]float64{"sip_udp": 1, "sip_tcp": 2, "sip_ws": 2} {
		eventually(t, name+": the drops are counted", func() bool { return e.counted(t, "linehall_dropped_total", name, "banned") == want })
	}
}
