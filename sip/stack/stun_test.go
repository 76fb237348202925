package stack_test

import (
	"bytes"
	"net"
	"net/netip"
	"testing"
	"time"

	"github.com/pion/stun/v4"

	"linehall/sip/stack"
)

// RFC 5626 §3.5.2: a phone's STUN keep-alive on the SIP port is answered with the address that it has there; checked with
// an implementation that is not ours.
func TestSTUNKeepAlive(t *testing.T) {
	e := start(t, stack.Options{}, nil)
	for _, from := range []string{"127.0.0.1:0", "127.0.1.7:0"} {
		conn := dialUDP(t, from, e.addr(stack.UDP))
		request := stun.MustBuild(stun.TransactionID, stun.BindingRequest, stun.Fingerprint)
		if _, err := conn.Write(request.Raw); err != nil {
			t.Fatal(err)
		}
		buf := make([]byte, 1500)
		_ = conn.SetReadDeadline(time.Now().Add(5 * time.Second)) // of a live socket
		n, err := conn.Read(buf)
		if err != nil {
			t.Fatal(err)
		}
		response := &stun.Message{Raw: bytes.Clone(buf[:n])}
		var mapped stun.XORMappedAddress
		if err := response.Decode(); err != nil || response.Type != stun.BindingSuccess || response.TransactionID != request.TransactionID || mapped.GetFrom(response) != nil {
			t.Fatalf("%v: %v", err, response)
		}
		if got := mapped.String(); got != netip.MustParseAddrPort(conn.LocalAddr().String()).String() {
			t.Errorf("mapped to %s, sent from %s", got, conn.LocalAddr())
		}
	}
	// Anything else of STUN is dropped and counted.
	conn := dialUDP(t, "127.0.0.1:0", e.addr(stack.UDP))
	allocate := stun.MustBuild(stun.TransactionID, stun.NewType(stun.MethodAllocate, stun.ClassRequest))
	cut := stun.MustBuild(stun.TransactionID, stun.BindingRequest, stun.NewSoftware("phone")).Raw[:26]
	for _, raw := range [][]byte{allocate.Raw, cut} {
		if _, err := conn.Write(raw); err != nil {
			t.Fatal(err)
		}
	}
	eventually(t, "two dropped", func() bool { return e.counted(t, "linehall_dropped_total", "sip_udp", "stun") == 2 })
}

func dialUDP(t *testing.T, from string, to netip.AddrPort) net.Conn {
	t.Helper()
	conn, err := net.DialUDP("udp", net.UDPAddrFromAddrPort(netip.MustParseAddrPort(from)), net.UDPAddrFromAddrPort(to))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	return conn
}
