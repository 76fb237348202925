package stack

import (
	"context"
	"net"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

// trafficClass reads what a socket marks its packets with.
func trafficClass(t *testing.T, c syscall.Conn, v6 bool) (tos int) {
	t.Helper()
	raw, err := c.SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	var optErr error
	if err := raw.Control(func(fd uintptr) {
		if v6 {
			tos, optErr = unix.GetsockoptInt(int(fd), unix.IPPROTO_IPV6, unix.IPV6_TCLASS)
			return
		}
		tos, optErr = unix.GetsockoptInt(int(fd), unix.IPPROTO_IP, unix.IP_TOS)
	}); err != nil || optErr != nil {
		t.Fatal(err, optErr)
	}
	return tos
}

// Signalling is CS3 (RFC 4594 §2.3) on every socket: listeners, accepted connections, which TLS and WebSocket wrap, and
// those that we dial.
func TestSignallingIsMarked(t *testing.T) {
	for _, address := range []string{"127.0.0.1:0", "[::1]:0"} {
		v6 := strings.HasPrefix(address, "[")
		packets, err := listenPacket(t.Context(), address)
		if err != nil {
			t.Logf("%s: %v", address, err) // a machine without IPv6
			continue
		}
		if got := trafficClass(t, packets.(*kernelSocket).conn, v6); got != signallingTOS {
			t.Errorf("UDP %s: %#x", address, got)
		}
		_ = packets.Close()

		l, err := listenStream(t.Context(), &Stack{}, Listen{Transport: TCP, Address: address})
		if err != nil {
			t.Fatal(err)
		}
		accepted := make(chan net.Conn, 1)
		go func() {
			conn, err := l.listener.Accept()
			if err == nil {
				mark(conn)
				accepted <- conn
			}
			close(accepted)
		}()
		dialled, err := (&net.Dialer{Control: setTOS}).DialContext(context.Background(), "tcp", l.addr.String())
		if err != nil {
			t.Fatal(err)
		}
		ours, ok := <-accepted
		if !ok {
			t.Fatal("nothing was accepted")
		}
		for name, conn := range map[string]net.Conn{"accepted": ours, "dialled": dialled} {
			if got := trafficClass(t, conn.(*net.TCPConn), v6); got != signallingTOS {
				t.Errorf("%s TCP %s: %#x", name, address, got)
			}
			_ = conn.Close()
		}
		_ = l.listener.Close()
	}
}
