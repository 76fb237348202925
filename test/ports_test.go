package test

import (
	"math/rand/v2"
	"net"
	"net/netip"
	"os"
	"sync"
	"testing"
)

// Every port lies below the kernel's own choices (32768) and above those that SIPp takes unasked (media 6000 to 6200,
// control 8888 and up): nothing else takes them, nor do tests that run beside each other, here or in a second run.
//
//	10000 phones  13000 softphones  15000 media of SIPp  20000 the relays  30000 listeners of appliances  32768
const (
	firstPhonePort    = 10000
	firstSoftphone    = 13000
	firstMediaPort    = 15000
	afterMediaPort    = 20000
	firstRelayPort    = 20000
	relayPorts        = 2500 // of each appliance: 625 relayed calls in the half minute that a port rests
	appliances        = 4    // that run at once at most
	firstListenerPort = firstRelayPort + appliances*relayPorts
	afterListenerPort = 32768
)

// relayRanges holds the first ports of the ranges that no appliance has.
var relayRanges = func() chan int {
	free := make(chan int, appliances)
	for i := range appliances {
		free <- firstRelayPort + i*relayPorts
	}
	return free
}()

// freePorts is what an appliance needs for itself. It waits while enough of them run.
func freePorts(t *testing.T) ports {
	t.Helper()
	listener := func() int {
		t.Helper()
		return unusedPort(t, firstListenerPort, afterListenerPort, 1, freeOnAny)
	}
	p := ports{
		sip: listener(), tls: listener(), https: listener(), provisioning: listener(), tftp: listener(), metrics: listener(), media: listener(),
		rtpFirst: firstRelayPort, rtpLast: firstListenerPort - 1,
	}
	if os.Getenv("LINEHALL_SOAK") == "" { // what is long has the machine to itself, and needs them all
		p.rtpFirst = <-relayRanges
		p.rtpLast = p.rtpFirst + relayPorts - 1
		t.Cleanup(func() { relayRanges <- p.rtpFirst })
	}
	return p
}

// phonePort is a port for a client that nobody uses now, for UDP and TCP alike, on any address.
func phonePort(t *testing.T) int {
	t.Helper()
	return unusedPort(t, firstPhonePort, firstSoftphone, 2, freeOnAny)
}

// softphonePorts is the first of twenty ports in a row that nobody uses.
func softphonePorts(t *testing.T) int {
	t.Helper()
	const row = 20
	return unusedPort(t, firstSoftphone, firstMediaPort, row, func(port uint16) bool {
		for next := port; next < port+row; next++ {
			if !freeOnAny(next) {
				return false
			}
		}
		return true
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
	return unusedPort(t, firstMediaPort, afterMediaPort, 4, func(port uint16) bool {
		for next := port; next < port+4; next++ {
			if !freeUDP(netip.AddrPortFrom(bind, next)) {
				return false
			}
		}
		return true
	})
}

// handedOut has the ports of the tests that run.
var handedOut sync.Map

// unusedPort draws ports, a step apart, until one is free; it is the test's own until the test ends.
func unusedPort(t *testing.T, first, after, step int, free func(port uint16) bool) int {
	t.Helper()
	for range 1000 {
		port := first + step*rand.IntN((after-first)/step)
		if _, taken := handedOut.LoadOrStore(port, true); taken {
			continue
		}
		t.Cleanup(func() { handedOut.Delete(port) })
		if free(uint16(port)) {
			return port
		}
	}
	t.Fatalf("no free port between %d and %d", first, after)
	return 0
}

func freeOnAny(port uint16) bool {
	return freeUDP(netip.AddrPortFrom(netip.IPv4Unspecified(), port)) && freeTCP(port)
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
