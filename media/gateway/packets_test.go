package gateway_test

import (
	"encoding/json"
	"net"
	"net/netip"
	"testing"
	"time"

	"linehall/media/gateway"
	"linehall/media/relay"
	"linehall/media/srtp"
	"linehall/media/webrtc"
)

// udp is a socket of somebody on this machine.
func udp(t *testing.T) (*net.UDPConn, netip.AddrPort) {
	t.Helper()
	conn, err := net.ListenUDP("udp4", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	return conn, conn.LocalAddr().(*net.UDPAddr).AddrPort()
}

// Nothing is allocated for a packet from a browser to a phone's socket, nor for one from there to the browser: neither by the
// shared port, the keys, the leg and the relay, nor by the relay's worker.
func TestPacketsAllocateNothing(t *testing.T) {
	plane, err := webrtc.Open(webrtc.Options{UDP: "127.0.0.1:0"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = plane.Close() })
	g := gateway.New(gateway.Options{Plane: plane})
	r, err := relay.New(relay.Options{First: 20000, Last: 29999})
	if err != nil {
		t.Fatal(err)
	}
	browser, at := udp(t)
	phone, there := udp(t)

	// A leg of before a restart needs neither checks nor DTLS.
	ours, theirs := srtp.NewKey(srtp.AEADAES128GCM), srtp.NewKey(srtp.AEADAES128GCM)
	here, page := srtp.NewSession(ours, theirs), srtp.NewSession(theirs, ours)
	keys := here.State()
	state := gateway.State{Fingerprint: "sha-256 00", At: plane.Addresses()[0], Peer: at, SRTP: &keys}
	text, err := json.Marshal(state)
	if err == nil {
		text = append(text[:len(text)-1], `,"names":[{"fragment":"abcdefgh","password":"0123456789abcdefghijklmn"}]}`...)
		err = json.Unmarshal(text, &state)
	}
	if err != nil {
		t.Fatal(err)
	}
	leg, err := g.Restore(&state)
	if err != nil {
		t.Fatal(err)
	}
	stream, err := r.Open(relay.Spec{Legs: [2]relay.Leg{{Local: loopback, Link: leg}, {Local: loopback}}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { stream.Close() })
	leg.Attach(func(b []byte, n int) { stream.Take(0, b, n) })
	clocks := [128]uint32{8: 8000}
	stream.Expect(0, relay.Peer{Clocks: clocks})
	stream.Expect(1, relay.Peer{RTP: there, Source: loopback, Clocks: clocks})

	packet := func(ssrc byte) []byte {
		b := make([]byte, 172, 300)
		b[0], b[1], b[11] = 0x80, 8, ssrc
		return b
	}
	buf, seq := make([]byte, 2048), uint16(0)
	number := func(b []byte) []byte {
		seq++
		b[2], b[3] = byte(seq>>8), byte(seq)
		b[6], b[7] = byte(seq*160>>8), byte(seq*160)
		return b
	}
	pass := func(from, to *net.UDPConn, b []byte, through netip.AddrPort) {
		if _, err := from.WriteToUDPAddrPort(b, through); err != nil {
			t.Fatal(err)
		}
		if n, _, err := to.ReadFromUDPAddrPort(buf); err != nil || n < 172 {
			t.Fatalf("%d octets came, %v", n, err)
		}
	}
	for _, conn := range []*net.UDPConn{browser, phone} {
		_ = conn.SetReadDeadline(time.Now().Add(20 * time.Second)) // of a live socket
	}
	fromBrowser, fromPhone, sealed := packet(1), packet(2), make([]byte, 300)
	up := func() {
		n, ok := page.Seal(sealed, copy(sealed, number(fromBrowser)), false)
		if !ok {
			t.Fatal("not sealed")
		}
		pass(browser, phone, sealed[:n], state.At)
	}
	down := func() {
		pass(phone, browser, number(fromPhone), netip.AddrPortFrom(loopback, stream.Port(1)))
	}
	up()
	down() // their sources are new
	// AllocsPerRun leaves one processor, on which each of the three hand-overs of a packet takes some milliseconds.
	for way, do := range map[string]func(){"from the browser": up, "to the browser": down} {
		if n := testing.AllocsPerRun(25, do); n > 0 {
			t.Errorf("%v allocations per packet %s", n, way)
		}
	}
	down()
	if n, ok := page.Open(buf[:188], false); !ok || n != 172 {
		t.Errorf("the browser cannot open what it got: %d, %v", n, ok)
	}
}
