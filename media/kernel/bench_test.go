package kernel_test

import (
	"encoding/binary"
	"net"
	"net/netip"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"

	"linehall/internal/lab"
	"linehall/media/kernel"
	"linehall/media/relay"
	"linehall/media/rtcp"
)

// BenchmarkPaths sends 12,000 packets/s of 172 bytes in 12 flows over the same veth links: routed by the host between
// the phones, which is a run without a relay, through the sockets of the relay, and through the kernel path. It reports
// the CPU of the whole machine per packet, and the delay from before the send call to the kernel's receipt at the other
// phone. Nothing else may run meanwhile.
func BenchmarkPaths(b *testing.B) {
	for _, path := range []string{"routed", "kernel", "sockets", "sockets with tick"} {
		b.Run(path, func(b *testing.B) {
			const flows, rounds = 12, 3000
			if err := kernel.Probe(); err != nil {
				b.Skip(err)
			}
			n := lab.New(b)
			x, hq, y := n.Host("x"), n.Host("hq"), n.Host("y")
			lx, ly := n.Link(x, "10.9.1.2/24", hq, "10.9.1.1/24"), n.Link(y, "10.9.2.2/24", hq, "10.9.2.1/24")
			x.Route("default", "10.9.1.1")
			y.Route("default", "10.9.2.1")
			hq.Forward()
			open := func(h *lab.Host, a netip.Addr) *net.UDPConn {
				var c *net.UDPConn
				if err := h.Do(func() (err error) {
					c, err = net.ListenUDP("udp4", net.UDPAddrFromAddrPort(netip.AddrPortFrom(a, 0)))
					return err
				}); err != nil {
					b.Fatal(err)
				}
				b.Cleanup(func() { _ = c.Close() })
				return c
			}
			at := func(c *net.UDPConn) netip.AddrPort {
				p := c.LocalAddr().(*net.UDPAddr).AddrPort()
				return netip.AddrPortFrom(p.Addr().Unmap(), p.Port())
			}
			var senders, receivers [flows]*net.UDPConn
			var to [flows]netip.AddrPort
			var inside *kernel.Path
			r, err := relay.New(relay.Options{First: 20000, Last: 20199, Tick: path == "sockets with tick"})
			if err != nil {
				b.Fatal(err)
			}
			if path == "kernel" {
				if err := hq.Do(func() (err error) { inside, err = kernel.Open(kernel.Options{Flows: flows}); return err }); err != nil {
					b.Fatal(err)
				}
				b.Cleanup(func() { _ = hq.Do(inside.Close) })
			}
			for i := range flows {
				senders[i], receivers[i] = open(x, lx.Addr(x)), open(y, ly.Addr(y))
				_, _ = receivers[i].WriteToUDPAddrPort([]byte("neighbour"), netip.AddrPortFrom(ly.Addr(hq), 9))
				switch path {
				case "routed":
					to[i] = at(receivers[i])
				case "kernel":
					to[i] = netip.AddrPortFrom(lx.Addr(hq), uint16(20000+2*i))
					f := kernel.Flow{From: at(senders[i]), At: to[i], As: netip.AddrPortFrom(ly.Addr(hq), uint16(20000+2*i)), To: at(receivers[i]), DSCP: 46, Clocks: &[128]uint32{8: 8000}}
					if err := hq.Do(func() error { return kernel.EnterNow(inside, f, rtcp.State{}) }); err != nil {
						b.Fatal(err)
					}
				default:
					var s *relay.Stream
					if err := hq.Do(func() (err error) {
						s, err = r.Open(relay.Spec{Legs: [2]relay.Leg{{Local: lx.Addr(hq)}, {Local: ly.Addr(hq)}}})
						return err
					}); err != nil {
						b.Fatal(err)
					}
					b.Cleanup(func() { s.Close() })
					for leg, c := range []*net.UDPConn{senders[i], receivers[i]} {
						p := relay.Peer{RTP: at(c), Source: at(c).Addr()}
						p.Clocks[8] = 8000
						s.Expect(leg, p)
					}
					to[i] = netip.AddrPortFrom(lx.Addr(hq), s.Port(0))
				}
			}
			var mu sync.Mutex
			var delays []int64
			var wg sync.WaitGroup
			for _, c := range receivers {
				raw, _ := c.SyscallConn()
				_ = raw.Control(func(fd uintptr) { _ = unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_TIMESTAMPNS, 1) })
				wg.Go(func() {
					var own []int64
					buf, oob := make([]byte, 300), make([]byte, 64)
					for {
						n, k, _, _, err := c.ReadMsgUDPAddrPort(buf, oob)
						if err != nil {
							break
						}
						if n == 172 && k >= unix.CmsgSpace(16) {
							ts := *(*unix.Timespec)(unsafe.Pointer(&oob[unix.CmsgLen(0)]))
							own = append(own, ts.Nano()-int64(binary.BigEndian.Uint64(buf[12:])))
						}
					}
					mu.Lock()
					delays = append(delays, own...)
					mu.Unlock()
				})
			}
			packet := make([]byte, 172)
			packet[0], packet[1] = 0x80, 8
			tick := time.NewTicker(time.Millisecond)
			before := busy(b)
			begun := time.Now()
			for k := range rounds {
				<-tick.C
				for i := range senders {
					binary.BigEndian.PutUint16(packet[2:], uint16(k))
					binary.BigEndian.PutUint32(packet[4:], uint32(8*k))
					binary.BigEndian.PutUint64(packet[12:], uint64(time.Now().UnixNano()))
					_, _ = senders[i].WriteToUDPAddrPort(packet, to[i])
				}
			}
			took, spent := time.Since(begun), busy(b)-before
			tick.Stop()
			<-time.After(50 * time.Millisecond)
			for _, c := range receivers {
				_ = c.SetReadDeadline(time.Now())
			}
			wg.Wait()
			slices.Sort(delays)
			if len(delays) == 0 {
				b.Fatal("nothing came through")
			}
			b.ReportMetric(spent.Seconds()*1e6/(flows*rounds), "cpu-us/packet")
			b.ReportMetric(float64(delays[len(delays)/2])/1e3, "p50-us")
			b.ReportMetric(float64(delays[len(delays)*99/100])/1e3, "p99-us")
			b.ReportMetric(float64(flows*rounds-len(delays)), "lost")
			b.ReportMetric(flows*rounds/took.Seconds(), "packets/s")
			b.ReportMetric(0, "ns/op")
		})
	}
}

// busy is how long the machine's cores have worked.
func busy(b *testing.B) time.Duration {
	b.Helper()
	text, err := os.ReadFile("/proc/stat")
	if err != nil {
		b.Fatal(err)
	}
	line, _, _ := strings.Cut(string(text), "\n")
	var sum int64
	for i, f := range strings.Fields(line)[1:] {
		if n, err := strconv.ParseInt(f, 10, 64); err == nil && (i < 3 || i == 5 || i == 6) { // user, nice, system, irq, softirq
			sum += n
		}
	}
	return time.Duration(sum) * 10 * time.Millisecond
}
