package webrtc

import (
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

func open(tb testing.TB, o Options) *Plane {
	tb.Helper()
	if o.UDP == "" {
		o.UDP = "127.0.0.1:0"
	}
	p, err := Open(o)
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { _ = p.Close() })
	return p
}

// far is a socket of a subscriber that sees the DSCP of what arrives.
type far struct {
	conn *net.UDPConn
	addr netip.AddrPort
}

func newFar(tb testing.TB) *far {
	tb.Helper()
	conn, err := net.ListenUDP("udp4", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { _ = conn.Close() })
	raw, err := conn.SyscallConn()
	if err != nil {
		tb.Fatal(err)
	}
	if err := raw.Control(func(fd uintptr) { err = unix.SetsockoptInt(int(fd), unix.IPPROTO_IP, unix.IP_RECVTOS, 1) }); err != nil {
		tb.Fatal(err)
	}
	return &far{conn: conn, addr: netip.MustParseAddrPort(conn.LocalAddr().String())}
}

// next is the next datagram.
func (f *far) next() ([]byte, error) {
	buf := make([]byte, 2000)
	if err := f.conn.SetReadDeadline(time.Now().Add(15 * time.Second)); err != nil {
		return nil, err
	}
	n, err := f.conn.Read(buf)
	return buf[:n], err
}

func (f *far) receive(tb testing.TB) (payload []byte, tos byte) {
	tb.Helper()
	buf, oob := make([]byte, 2000), make([]byte, 100)
	if err := f.conn.SetReadDeadline(time.Now().Add(15 * time.Second)); err != nil {
		tb.Fatal(err)
	}
	n, oobn, _, _, err := f.conn.ReadMsgUDPAddrPort(buf, oob)
	if err != nil {
		tb.Fatal(err)
	}
	messages, err := unix.ParseSocketControlMessage(oob[:oobn])
	if err != nil || len(messages) != 1 {
		tb.Fatalf("%d control messages: %v", len(messages), err)
	}
	return buf[:n], messages[0].Data[0]
}

func rtpPacket(ssrc uint32, sequence uint16, size int) []byte {
	b := make([]byte, size)
	b[0], b[1] = 0x80, 96
	binary.BigEndian.PutUint16(b[2:], sequence)
	binary.BigEndian.PutUint32(b[8:], ssrc)
	return b
}

// A port of the kernel's choice is free for UDP and TCP alike, also where many are taken.
func TestAnyPortIsFreeForBoth(t *testing.T) {
	first, last := ephemeral(t)
	const taken, tries = 500, 200
	for range taken {
		at := &net.TCPAddr{IP: net.IPv4(127, 0, 0, 77), Port: first + rand.IntN(last-first)}
		if l, err := net.ListenTCP("tcp4", at); err == nil {
			t.Cleanup(func() { _ = l.Close() })
		}
	}
	for range tries {
		p, err := Open(Options{UDP: "127.0.0.77:0", TCP: "127.0.0.77:0"})
		if err != nil {
			t.Fatal(err)
		}
		if err := p.Close(); err != nil {
			t.Error(err)
		}
	}
}

// ephemeral is the range that the kernel chooses from.
func ephemeral(t *testing.T) (first, last int) {
	t.Helper()
	text, err := os.ReadFile("/proc/sys/net/ipv4/ip_local_port_range")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := fmt.Sscan(string(text), &first, &last); err != nil {
		t.Fatal(err)
	}
	return first, last
}

func TestEveryDatagramCarriesItsDSCP(t *testing.T) {
	p := open(t, Options{})
	p.Announce(1, Audio)
	p.Announce(2, Content)
	p.Announce(4, Audio)
	p.Withdraw(4)
	stun := make([]byte, 20)
	report := []byte{0x80, 201, 0, 1, 0, 0, 0, 1, 0, 0, 0, 1}
	for _, tc := range []struct {
		name   string
		packet []byte
		want   byte
	}{
		{"voice", rtpPacket(1, 1, 100), 46 << 2},
		{"content", rtpPacket(2, 1, 100), 26 << 2},
		{"camera", rtpPacket(3, 1, 100), 34 << 2},
		{"withdrawn", rtpPacket(4, 1, 100), 34 << 2},
		{"report", report, 34 << 2},
		{"connectivity check", stun, 24 << 2},
	} {
		t.Run(tc.name, func(t *testing.T) {
			f := newFar(t)
			for _, collected := range []bool{false, true} {
				if collected {
					p.Begin()
				}
				if _, err := p.sockets[0].WriteToAddrPort(tc.packet, f.addr); err != nil {
					t.Fatal(err)
				}
				if collected {
					p.End()
				}
				if got, tos := f.receive(t); tos != tc.want || len(got) != len(tc.packet) {
					t.Errorf("%d octets with %#x, want %d with %#x", len(got), tos, len(tc.packet), tc.want)
				}
			}
		})
	}
}

func TestAFanOutLeavesAtItsEnd(t *testing.T) {
	p := open(t, Options{})
	f := newFar(t)
	p.Begin()
	for i := range 10 {
		if _, err := p.sockets[0].WriteToAddrPort(rtpPacket(1, uint16(i), 100), f.addr); err != nil {
			t.Fatal(err)
		}
	}
	if err := f.conn.SetReadDeadline(time.Now().Add(50 * time.Millisecond)); err != nil {
		t.Fatal(err)
	}
	if n, _ := f.conn.Read(make([]byte, 2000)); n > 0 {
		t.Error("a datagram left before the end of the fan-out")
	}
	p.End()
	for i := range 10 {
		if b, _ := f.receive(t); binary.BigEndian.Uint16(b[2:]) != uint16(i) {
			t.Errorf("datagram %d is number %d", i, binary.BigEndian.Uint16(b[2:]))
		}
	}
}

// Fan-outs of several goroutines overlap, more than fits one batch: nothing is lost, and each goroutine's packets keep their order.
func TestOverlappingFanOutsLoseNothing(t *testing.T) {
	p := open(t, Options{})
	const writers, rounds, copies = 4, 50, 20
	fars := make([]*far, writers)
	for i := range fars {
		fars[i] = newFar(t)
	}
	var read [writers]atomic.Int64 // by whom the packets are for
	var all sync.WaitGroup
	for w := range writers {
		all.Go(func() {
			for r := range rounds {
				p.Begin()
				for c := range copies {
					_, _ = p.sockets[0].WriteToAddrPort(rtpPacket(uint32(w), uint16(r*copies+c), 60), fars[w].addr)
				}
				p.End()
				for read[w].Load() < int64(r-1)*copies && !t.Failed() { // what a receive buffer holds is not the question
					runtime.Gosched()
				}
			}
		})
		all.Go(func() {
			for i := range rounds * copies {
				b, err := fars[w].next()
				if err != nil || binary.BigEndian.Uint16(b[2:]) != uint16(i) {
					t.Errorf("writer %d: packet %d is %x: %v", w, i, b, err)
					return
				}
				read[w].Add(1)
			}
		})
	}
	all.Wait()
}

// A browser on the appliance's own machine must not end up on the pair of its network address and our loopback address.
func TestLoopbackTalksToLoopbackOnly(t *testing.T) {
	own, err := ownAddresses()
	if err != nil {
		t.Fatal(err)
	}
	i := slices.IndexFunc(own, func(a netip.Addr) bool { return a.Is4() && !a.IsLoopback() })
	if i < 0 {
		t.Skip("no address besides loopback")
	}
	p := open(t, Options{})
	s, err := p.openSocket(netip.MustParseAddrPort("127.0.0.1:0"))
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close() //nolint:errcheck // the end of the test
	outside, err := net.ListenUDP("udp4", net.UDPAddrFromAddrPort(netip.AddrPortFrom(own[i], 0)))
	if err != nil {
		t.Fatal(err)
	}
	defer outside.Close() //nolint:errcheck // the end of the test
	if _, err := s.WriteToAddrPort(make([]byte, 20), netip.MustParseAddrPort(outside.LocalAddr().String())); err != nil {
		t.Fatal(err)
	}
	if err := outside.SetReadDeadline(time.Now().Add(100 * time.Millisecond)); err != nil {
		t.Fatal(err)
	}
	if n, _ := outside.Read(make([]byte, 100)); n > 0 {
		t.Error("a datagram left loopback")
	}
	inside := newFar(t)
	_, _ = outside.WriteToUDPAddrPort(make([]byte, 30), s.local)
	_, _ = inside.conn.WriteToUDPAddrPort(make([]byte, 40), s.local)
	if n, from, err := s.ReadFromAddrPort(make([]byte, 100)); n != 40 || from != inside.addr || err != nil {
		t.Errorf("read %d octets from %v: %v", n, from, err)
	}
}

func TestSendingAllocatesNothing(t *testing.T) {
	p := open(t, Options{})
	f := newFar(t)
	packet := rtpPacket(1, 1, 1100)
	if n := testing.AllocsPerRun(200, func() {
		p.Begin()
		for range 5 {
			_, _ = p.sockets[0].WriteToAddrPort(packet, f.addr)
		}
		p.End()
	}); n != 0 {
		t.Errorf("%v allocations per fan-out of five", n)
	}
}

func TestReceivingAllocatesNothing(t *testing.T) {
	p := open(t, Options{})
	s, err := p.openSocket(netip.MustParseAddrPort("127.0.0.1:0")) // one that no mux reads
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close() //nolint:errcheck // the end of the test
	f := newFar(t)
	buf := make([]byte, receiveMTU)
	if n := testing.AllocsPerRun(100, func() {
		_, _ = f.conn.WriteToUDPAddrPort(buf[:100], s.local)
		if n, from, err := s.ReadFromAddrPort(buf); n != 100 || from != f.addr || err != nil {
			t.Errorf("%d octets from %v: %v", n, from, err)
		}
	}); n != 0 {
		t.Errorf("%v allocations per datagram", n)
	}
}

func TestTheCertificateSurvivesARestart(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "webrtc")
	now := time.Now()
	first, err := open(t, Options{Directory: dir}).certificate(now)
	if err != nil {
		t.Fatal(err)
	}
	p := open(t, Options{Directory: dir})
	second, err := p.certificate(now)
	if err != nil {
		t.Fatal(err)
	}
	if !first.Equals(second) {
		t.Error("another certificate after the restart")
	}
	if info, err := os.Stat(filepath.Join(dir, certificateFile)); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("certificate file: %v %v", info, err)
	}
	renewed, err := p.certificate(now.Add(certificateLifetime - certificateRenewal/2))
	if err != nil {
		t.Fatal(err)
	}
	if renewed.Equals(first) {
		t.Error("a certificate that ends in two weeks is still used")
	}
}

func TestAddresses(t *testing.T) {
	p := open(t, Options{UDP: ":0", TCP: ":0", Advertise: []netip.Addr{netip.MustParseAddr("127.0.0.1")}})
	want := []netip.AddrPort{netip.AddrPortFrom(netip.MustParseAddr("127.0.0.1"), p.port)}
	if got := p.Addresses(); len(got) != 1 || got[0] != want[0] {
		t.Errorf("bound %v, want %v", got, want)
	}
	for _, bad := range []string{"", "30000", ":x", "name:1"} {
		if p, err := Open(Options{UDP: bad}); err == nil {
			_ = p.Close()
			t.Errorf("%q is taken as a listen address", bad)
		}
	}
}

func BenchmarkSend(b *testing.B) {
	for name, collected := range map[string]bool{"single": false, "collected": true} {
		b.Run(name, func(b *testing.B) {
			p := open(b, Options{})
			f := newFar(b)
			go func() { // keep the receive buffer empty
				buf := make([]byte, 2000)
				for {
					if _, _, err := f.conn.ReadFromUDPAddrPort(buf); err != nil {
						return
					}
				}
			}()
			packet := rtpPacket(1, 1, 1100)
			b.ReportAllocs()
			for b.Loop() {
				if collected {
					p.Begin()
				}
				for range 5 {
					_, _ = p.sockets[0].WriteToAddrPort(packet, f.addr)
				}
				if collected {
					p.End()
				}
			}
			b.ReportMetric(float64(b.N*5)/b.Elapsed().Seconds(), "packets/s")
		})
	}
}
