package test

import (
	"math/rand/v2"
	"net"
	"net/netip"
	"testing"
)

// The ports of clients lie below the relay's (20000) and the kernel's own choices (32768), and above those that SIPp
// takes unasked (media 6000 to 6200, control 8888 and up): nothing else, and no second run of these tests, takes them.
const (
	firstPhonePort = 10000
	firstMediaPort = 15000
	afterMediaPort = 20000
)

// phonePort is a port for a client that nobody uses now, for UDP and TCP alike, on any address.
func phonePort(t *testing.T) int {
	t.Helper()
	return unusedPort(t, firstPhonePort, firstMediaPort, func(port uint16) bool {
		return freeUDP(netip.AddrPortFrom(netip.IPv4Unspecified(), port)) && freeTCP(port)
	})
}

// mediaPort is the first of four UDP ports in a row that nobody uses at an address: SIPp ends at once when it cannot
// bind the one that it was told, or the second after it.
func mediaPort(t *testing.T, address string) int {
	t.Helper()
	bind, err := netip.ParseAddr(address)
	if err != nil {
		t.Fatal(err)
	}
	return unusedPort(t, firstMediaPort, afterMediaPort-4, func(port uint16) bool {
		for next := port; next < port+4; next++ {
			if !freeUDP(netip.AddrPortFrom(bind, next)) {
				return false
			}
		}
		return true
	})
}

// unusedPort draws even ports until one is free.
func unusedPort(t *testing.T, first, after int, free func(port uint16) bool) int {
	t.Helper()
	for range 1000 {
		if port := first + 2*rand.IntN((after-first)/2); free(uint16(port)) {
			return port
		}
	}
	t.Fatalf("no free port between %d and %d", first, after)
	return 0
}

func freeUDP(at netip.AddrPort) bool {
	socket, err := net.ListenUDP("udp4", net.UDPAddrFromAddrPort(at))
	if err != nil {
		return false
	}
	return socket.Close() == nil
}

func freeTCP(port uint16) bool {
	listener, err := net.ListenTCP("tcp4", &net.TCPAddr{Port: int(port)})
	if err != nil {
		return false
	}
	return listener.Close() == nil
}
