package lab_test

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"linehall/internal/lab"
)

// listen opens a socket in the host.
func listen(t *testing.T, h *lab.Host, addr netip.Addr) *net.UDPConn {
	t.Helper()
	var conn *net.UDPConn
	err := h.Do(func() (err error) {
		conn, err = net.ListenUDP("udp", net.UDPAddrFromAddrPort(netip.AddrPortFrom(addr, 0)))
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	return conn
}

// count runs send and returns how many packets came until nothing has come for a while.
func count(t *testing.T, conn *net.UDPConn, send func()) int {
	t.Helper()
	if err := conn.SetReadDeadline(time.Time{}); err != nil {
		t.Fatal(err)
	}
	var packets atomic.Int64
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		for buf := make([]byte, 2000); ; packets.Add(1) {
			if _, err := conn.Read(buf); err != nil {
				if !errors.Is(err, os.ErrDeadlineExceeded) {
					t.Error(err)
				}
				return
			}
		}
	}()
	send()
	for last, since := packets.Load(), time.Now(); time.Since(since) < 300*time.Millisecond; time.Sleep(10 * time.Millisecond) {
		if n := packets.Load(); n != last {
			last, since = n, time.Now()
		}
	}
	if err := conn.SetReadDeadline(time.Now()); err != nil {
		t.Fatal(err)
	}
	<-ended
	return int(packets.Load())
}

func TestLinkCarriesShapesAndLoses(t *testing.T) {
	n := lab.New(t)
	hq, branch := n.Host("hq"), n.Host("branch")
	line := n.Link(hq, "10.9.0.1/24", branch, "10.9.0.2/24")
	to := listen(t, hq, line.Addr(hq))
	from := listen(t, branch, line.Addr(branch))
	target := net.UDPAddrFromAddrPort(to.LocalAddr().(*net.UDPAddr).AddrPort())
	// paced sends packets at a rate and reports whether the machine was quick enough for it.
	paced := func(packets int, gap time.Duration) (got int, kept bool) {
		t.Helper()
		got = count(t, to, func() {
			begun := time.Now()
			tick := time.NewTicker(gap)
			defer tick.Stop()
			for range packets {
				<-tick.C
				if _, err := from.WriteTo(make([]byte, 958), target); err != nil { // 1000 bytes on Ethernet
					t.Error(err)
					return
				}
			}
			kept = time.Since(begun) < time.Duration(packets)*gap*5/4
		})
		return got, kept
	}
	sent := func(packets int, gap time.Duration) int {
		t.Helper()
		got, _ := paced(packets, gap)
		return got
	}

	if got := sent(100, time.Millisecond); got != 100 {
		t.Fatalf("%d of 100 packets over an open link", got)
	}
	for _, htb := range []bool{false, true} {
		var got int
		for kept, tries := false, 0; !kept; tries++ {
			if tries == 20 {
				t.Fatal("the machine is too busy to send 500 packets a second")
			}
			line.Shape(branch, lab.Rate{BitsPerSecond: 2_000_000, HTB: htb})
			got, kept = paced(300, 2*time.Millisecond) // 4 Mbit/s onto 2 Mbit/s
		}
		stats := line.Stats(branch)
		if got >= 290 || got < 100 || stats.SentPackets-int64(got) > 10 || stats.SentPackets < int64(got) || stats.Dropped+int64(got) < 290 || stats.QueuedBytes != 0 {
			t.Errorf("htb %v: %d packets through, %+v", htb, got, stats)
		}
	}
	line.Shape(branch, lab.Rate{BitsPerSecond: 1_000_000_000})
	line.Lose(hq, 20)
	if got := sent(2000, 100*time.Microsecond); got < 1450 || got > 1750 {
		t.Errorf("%d of 2000 packets at 20 %% loss", got)
	}
	line.Lose(hq, 0)
	if got := sent(100, time.Millisecond); got != 100 {
		t.Errorf("%d of 100 packets after the loss ended", got)
	}
	line.Cut(hq, true)
	if err := branch.Command(t.Context(), "ip", "link", "show", line.Device(branch), "up").Run(); err != nil {
		t.Error(err)
	}
	out, err := branch.Command(t.Context(), "cat", "/sys/class/net/lo/ifindex").CombinedOutput()
	if err != nil || strings.TrimSpace(string(out)) != "1" {
		t.Errorf("a command in the host: %s %v", out, err)
	}
}

func TestRoutedStar(t *testing.T) {
	n := lab.New(t)
	a, hq, b := n.Host("a"), n.Host("hq"), n.Host("b")
	n.Link(a, "10.9.1.2/24", hq, "10.9.1.1/24")
	n.Link(b, "10.9.2.2/24", hq, "10.9.2.1/24")
	hq.Forward()
	a.Route("10.9.2.0/24", "10.9.1.1")
	b.Route("10.9.1.0/24", "10.9.2.1")
	from, to := listen(t, a, netip.MustParseAddr("10.9.1.2")), listen(t, b, netip.MustParseAddr("10.9.2.2"))
	got := count(t, to, func() {
		if _, err := from.WriteTo([]byte("x"), to.LocalAddr()); err != nil {
			t.Error(err)
		}
	})
	if got != 1 {
		t.Error("nothing came through the star's centre")
	}
}

// recorder stands in for a test so that its clean-up can be watched.
type recorder struct {
	*testing.T
	cleanups []func()
}

func (r *recorder) Cleanup(f func()) { r.cleanups = append(r.cleanups, f) }

func TestNothingIsLeftBehind(t *testing.T) {
	if err := lab.Available(); err != nil {
		t.Skipf("lab: %v", err)
	}
	r := &recorder{T: t}
	n := lab.New(r)
	h := n.Host("gone")
	for _, f := range r.cleanups {
		f()
	}
	// A namespace of a process that was killed, as its name says: no process has this number.
	dead := "lab-4194304-1-dead"
	if out, err := exec.CommandContext(t.Context(), "ip", "netns", "add", dead).CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	lab.New(t)
	out, err := exec.CommandContext(context.WithoutCancel(t.Context()), "ip", "netns", "list").CombinedOutput()
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{h.Namespace, dead} {
		if strings.Contains(string(out), name) {
			t.Errorf("%s is still there", name)
		}
	}
}
