package stack_test

import (
	"net"
	"net/netip"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"linehall/sip/stack"
)

// shout sends a datagram to a group over the loopback interface.
func shout(t *testing.T, from *net.UDPConn, to netip.AddrPort, text string) {
	t.Helper()
	raw, err := from.SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	lo, err := net.InterfaceByName("lo")
	if err != nil {
		t.Fatal(err)
	}
	var failed error
	if err := raw.Control(func(fd uintptr) {
		failed = unix.SetsockoptIPMreqn(int(fd), unix.IPPROTO_IP, unix.IP_MULTICAST_IF, &unix.IPMreqn{Ifindex: int32(lo.Index)})
	}); err != nil || failed != nil {
		t.Fatal(err, failed)
	}
	if _, err := from.WriteToUDPAddrPort([]byte(text), to); err != nil {
		t.Fatal(err)
	}
}

// A group is heard by the listener of its port, and by a socket of its own where that listener has one address only. Who has
// asked for datagrams gets its own, with our address towards the sender, and nothing that came by the group goes further.
func TestAGroupIsHeardAndAnsweredFromOurAddress(t *testing.T) {
	for _, tc := range []struct{ name, listen string }{{"on all addresses", ":0"}, {"on one address", "127.0.0.1:0"}} {
		t.Run(tc.name, func(t *testing.T) {
			free, err := net.ListenUDP("udp4", nil)
			if err != nil {
				t.Fatal(err)
			}
			port := strconv.Itoa(free.LocalAddr().(*net.UDPAddr).Port)
			if err := free.Close(); err != nil {
				t.Fatal(err)
			}
			group := netip.MustParseAddrPort("239.77.7.1:" + port)
			listen := strings.Replace(tc.listen, ":0", ":"+port, 1)
			taken := make(chan stack.Flow, 8)
			var s *stack.Stack
			e := start(t, stack.Options{
				Listen: []stack.Listen{{Transport: stack.UDP, Address: listen}}, Groups: []stack.Group{{Address: group, Interfaces: []string{"lo", "none9"}}},
			}, func(made *stack.Stack) {
				s = made
				s.OnDatagram(func(data []byte, flow stack.Flow) bool {
					if !strings.HasPrefix(string(data), "SUBSCRIBE sip:MAC") {
						return false
					}
					taken <- flow
					return true
				})
			})
			conn, err := net.ListenUDP("udp4", net.UDPAddrFromAddrPort(netip.MustParseAddrPort("127.0.0.5:0")))
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { _ = conn.Close() })
			shout(t, conn, group, "OPTIONS sip:all@224.0.1.75 SIP/2.0\r\nVia: SIP/2.0/UDP 127.0.0.5;branch=z9hG4bK1\r\n\r\n")
			shout(t, conn, group, "SUBSCRIBE sip:MAC%3a0004130A0B0C@224.0.1.75 SIP/2.0\r\n\r\n")
			flow := <-taken
			if want := netip.MustParseAddrPort("127.0.0.1:" + port); flow.Local.Port() != want.Port() || !flow.Local.Addr().IsLoopback() {
				t.Errorf("local address %s, want one of ours with port %s", flow.Local, port)
			}
			if err := s.WriteDatagram(flow, []byte("an answer")); err != nil {
				t.Fatal(err)
			}
			buffer := make([]byte, 100)
			_ = conn.SetReadDeadline(time.Now().Add(5 * time.Second))
			n, from, err := conn.ReadFromUDPAddrPort(buffer)
			if err != nil || string(buffer[:n]) != "an answer" || from.Port() != group.Port() {
				t.Errorf("got %q from %s: %v", buffer[:n], from, err)
			}
			eventually(t, "the other one is counted", func() bool { return e.counted(t, "linehall_dropped_total", "sip_udp", "multicast") == 1 })
		})
	}
}
