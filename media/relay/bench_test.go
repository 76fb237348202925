package relay_test

import (
	"bufio"
	"encoding/binary"
	"encoding/json"
	"errors"
	"io"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"slices"
	"syscall"
	"testing"
	"time"

	"linehall/media/relay"
)

// The phones of the benchmark live in a process of their own (this test binary again), so that the CPU clock of the
// benchmark's process is the relay's.
const phonesVariable = "LINEHALL_BENCH_PHONES"

const (
	benchCalls  = 120
	benchPeriod = 20 * time.Millisecond
	benchTime   = 3 * time.Second
)

// benchResult is what the phones saw.
type benchResult struct {
	Sent, Received int
	P50, P99       time.Duration // from a phone's send call to the other one's receipt
}

// BenchmarkCalls carries 120 calls, 240 RTP sockets and 12,000 packets/s, for a few seconds per iteration.
//
//	go test ./media/relay -run '^$' -bench Calls -benchtime 1x -count 3
func BenchmarkCalls(b *testing.B) {
	for b.Loop() {
		before := processCPU(b)
		r := runCalls(b)
		used := processCPU(b) - before
		b.ReportMetric(float64(used.Microseconds())/float64(r.Received), "cpu-us/packet")
		b.ReportMetric(float64(r.Received)/benchTime.Seconds(), "packets/s")
		b.ReportMetric(float64(r.Sent-r.Received), "lost")
		b.ReportMetric(float64(r.P50.Microseconds()), "p50-us")
		b.ReportMetric(float64(r.P99.Microseconds()), "p99-us")
	}
}

func processCPU(tb testing.TB) time.Duration {
	tb.Helper()
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		tb.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

func runCalls(b *testing.B) benchResult {
	b.Helper()
	r, err := relay.New(relay.Options{First: 10000, Last: 29999})
	if err != nil {
		b.Fatal(err)
	}
	phones := exec.CommandContext(b.Context(), os.Args[0])
	phones.Env = append(os.Environ(), phonesVariable+"=1")
	phones.Stderr = os.Stderr
	in, err := phones.StdinPipe()
	if err != nil {
		b.Fatal(err)
	}
	out, err := phones.StdoutPipe()
	if err != nil {
		b.Fatal(err)
	}
	if err := phones.Start(); err != nil {
		b.Fatal(err)
	}
	answers := json.NewDecoder(bufio.NewReader(out))
	var addresses []netip.AddrPort
	if err := answers.Decode(&addresses); err != nil {
		b.Fatal(err)
	}
	targets := make([]netip.AddrPort, len(addresses))
	for i := 0; i < len(addresses); i += 2 {
		s, err := r.Open(relay.Spec{Legs: onLoopback()})
		if err != nil {
			b.Fatal(err)
		}
		defer s.Close()
		for leg := range 2 {
			peer := relay.Peer{RTP: addresses[i+leg], Source: loopback}
			peer.Clocks[8] = 8000
			s.Expect(leg, peer)
			targets[i+leg] = netip.AddrPortFrom(loopback, s.Port(leg))
		}
	}
	if err := json.NewEncoder(in).Encode(targets); err != nil {
		b.Fatal(err)
	}
	var result benchResult
	if err := answers.Decode(&result); err != nil {
		b.Fatal(err)
	}
	if err := errors.Join(in.Close(), phones.Wait()); err != nil {
		b.Fatal(err)
	}
	return result
}

// benchPhones is the main function of the other process: it says where its phones are, hears where to send, talks for
// benchTime and says what it saw.
func benchPhones(in io.Reader, out io.Writer) error {
	conns := make([]*net.UDPConn, 2*benchCalls)
	addresses := make([]netip.AddrPort, len(conns))
	for i := range conns {
		c, err := net.ListenUDP("udp4", net.UDPAddrFromAddrPort(netip.AddrPortFrom(loopback, 0)))
		if err != nil {
			return err
		}
		conns[i], addresses[i] = c, addr(c)
	}
	if err := json.NewEncoder(out).Encode(addresses); err != nil {
		return err
	}
	var targets []netip.AddrPort
	if err := json.NewDecoder(in).Decode(&targets); err != nil {
		return err
	}
	start, end := time.Now(), time.Now().Add(benchTime)
	heard := make(chan []time.Duration)
	for _, c := range conns {
		go func() { heard <- benchListen(c, start, end.Add(200*time.Millisecond)) }()
	}
	sent, err := benchTalk(conns, targets, start, end)
	if err != nil {
		return err
	}
	var delays []time.Duration
	for range conns {
		delays = append(delays, <-heard...)
	}
	if len(delays) == 0 {
		return errors.New("nothing came through")
	}
	slices.Sort(delays)
	return json.NewEncoder(out).Encode(benchResult{
		Sent: sent, Received: len(delays), P50: delays[len(delays)/2], P99: delays[len(delays)*99/100],
	})
}

// benchTalk sends every phone's packets evenly over the period, as phones that know nothing of each other do.
func benchTalk(conns []*net.UDPConn, targets []netip.AddrPort, start, end time.Time) (sent int, err error) {
	b := make([]byte, 172)
	b[0], b[1] = 0x80, 8
	for now := time.Now(); now.Before(end); now = time.Now() {
		due := int(now.Sub(start) * time.Duration(len(conns)) / benchPeriod)
		for ; sent < due; sent++ {
			i, round := sent%len(conns), sent/len(conns)
			binary.BigEndian.PutUint16(b[2:], uint16(round))
			binary.BigEndian.PutUint32(b[4:], uint32(round*160))
			binary.BigEndian.PutUint32(b[8:], uint32(i))
			binary.BigEndian.PutUint64(b[12:], uint64(time.Since(start)))
			if _, err := conns[i].WriteToUDPAddrPort(b, targets[i]); err != nil {
				return sent, err
			}
		}
		time.Sleep(benchPeriod / time.Duration(len(conns)))
	}
	return sent, nil
}

func benchListen(c *net.UDPConn, start, end time.Time) []time.Duration {
	delays := make([]time.Duration, 0, int(benchTime/benchPeriod)+1)
	if err := c.SetReadDeadline(end); err != nil {
		return nil
	}
	b := make([]byte, 2048)
	for {
		n, _, err := c.ReadFromUDPAddrPort(b)
		if err != nil {
			return delays
		}
		if n >= 20 {
			delays = append(delays, time.Since(start)-time.Duration(binary.BigEndian.Uint64(b[12:])))
		}
	}
}
