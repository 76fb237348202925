package lab_test

import (
	"net"
	"testing"
	"time"

	"linehall/internal/lab"
)

// A packet comes later by the latency, each way, and nothing is lost.
func TestACarrierIsLate(t *testing.T) {
	n := lab.New(t)
	hq, carrier, branch := n.Host("hq"), n.Host("carrier"), n.Host("branch")
	near := n.Link(hq, "10.97.0.1/24", carrier, "10.97.1.1/24")
	far := n.Link(carrier, "10.97.2.1/24", branch, "10.97.0.2/24")
	n.Carry(carrier, near, far, lab.Latency{Delay: 40 * time.Millisecond, Jitter: 10 * time.Millisecond})
	var here, there *net.UDPConn
	open := func(at *lab.Host, address string) (conn *net.UDPConn) {
		t.Helper()
		if err := at.Do(func() (err error) {
			conn, err = net.ListenUDP("udp4", &net.UDPAddr{IP: net.ParseIP(address), Port: 5000})
			return err
		}); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = conn.Close() })
		return conn
	}
	here, there = open(hq, "10.97.0.1"), open(branch, "10.97.0.2")
	buffer := make([]byte, 100)
	for i := range 20 {
		begin := time.Now()
		if _, err := here.WriteTo([]byte("there"), there.LocalAddr()); err != nil {
			t.Fatal(err)
		}
		for _, end := range []*net.UDPConn{there, here} {
			_ = end.SetReadDeadline(time.Now().Add(10 * time.Second))
			size, from, err := end.ReadFrom(buffer)
			if err != nil {
				t.Fatalf("packet %d: %v", i, err)
			}
			if end == there {
				if _, err := there.WriteTo(buffer[:size], from); err != nil {
					t.Fatal(err)
				}
			}
		}
		// The first one also waits for the addresses of the link (ARP). A busy machine makes it later, never earlier.
		if passed := time.Since(begin); passed < 60*time.Millisecond || i > 0 && passed > 5*time.Second {
			t.Errorf("packet %d came back after %v", i, passed)
		}
	}
}
