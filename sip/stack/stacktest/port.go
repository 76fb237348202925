package stacktest

import (
	"math/rand/v2"
	"net"
	"net/netip"
	"sync/atomic"
	"testing"
)

// The ports of Address lie below those that the kernel gives to sockets without one: nobody takes
// them by accident while a server is restarted.
const (
	firstPort = 10000
	ports     = 10000
)

var nextPort atomic.Uint32 //nolint:gochecknoglobals // no test of a process gets the port of another one

func init() { nextPort.Store(rand.Uint32N(ports)) } //nolint:gochecknoinits,gosec // processes begin at different ports

// Address is an address of this machine whose port is free for UDP and TCP, for a server that will be restarted.
func Address(tb testing.TB) string {
	tb.Helper()
	for range ports {
		at := netip.AddrPortFrom(netip.AddrFrom4([4]byte{127, 0, 0, 1}), uint16(firstPort+nextPort.Add(1)%ports))
		u, err := net.ListenUDP("udp4", net.UDPAddrFromAddrPort(at))
		if err != nil {
			continue
		}
		_ = u.Close()
		l, err := net.ListenTCP("tcp4", net.TCPAddrFromAddrPort(at))
		if err != nil {
			continue
		}
		_ = l.Close()
		return at.String()
	}
	tb.Fatal("no port is free")
	return ""
}
