package kernel_test

import (
	"bufio"
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"strings"
	"sync"
	"testing"
	"time"

	"linehall/internal/lab"
	"linehall/media/kernel"
	"linehall/media/relay"
)

// The tests below run the relay as a process of its own in the appliance's network, so that it can be killed; they play
// both phones and talk to it through pipes.

func TestMain(m *testing.M) {
	if os.Getenv("LINEHALL_TEST_RELAY") != "" {
		if err := relayProcess(os.Stdin, os.Stdout); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		return
	}
	os.Exit(m.Run())
}

// order is what the test wants of the process; every order gets one report.
type order struct {
	Do    string // open, expect, held, tap, untap, stats, restored, close
	Pins  string
	Local [2]netip.Addr
	Ports [2]uint16
	Party [2]netip.AddrPort // where each says it is
	Host  [2]netip.Addr     // where its signalling comes from
}

type report struct {
	Err      string
	InKernel bool // at least one direction
	Flows    int  // the directions that are
	Ports    [2]uint16
	Packets  [2]uint64
	Bytes    [2]uint64
	Lost     [2]uint64
	Remote   [2]netip.AddrPort
}

func relayProcess(in io.Reader, out io.Writer) error {
	ctx, stop := context.WithCancel(context.Background())
	defer stop()
	var (
		r       *relay.Relay
		path    *kernel.Path
		s       *relay.Stream
		running sync.WaitGroup
	)
	orders, reports := json.NewDecoder(in), json.NewEncoder(out)
	for {
		var o order
		if err := orders.Decode(&o); err != nil { // the test ended, or wants the process to end in an orderly way
			stop()
			running.Wait()
			if path != nil {
				return path.Close()
			}
			return nil
		}
		var rep report
		var err error
		switch o.Do {
		case "open":
			if path == nil {
				path, err = kernel.Open(kernel.Options{Pins: o.Pins, Flows: 16, Log: slog.New(slog.NewTextHandler(os.Stderr, nil))})
				if err != nil {
					break
				}
				if r, err = relay.New(relay.Options{First: 20000, Last: 20099, Kernel: path, Log: slog.New(slog.NewTextHandler(os.Stderr, nil))}); err != nil {
					break
				}
				running.Go(func() { _ = r.Run(ctx) })
				running.Go(func() { _ = path.Run(ctx) })
			}
			spec := relay.Spec{}
			for i := range spec.Legs {
				spec.Legs[i] = relay.Leg{Local: o.Local[i], Port: o.Ports[i]}
			}
			s, err = r.Open(spec)
		case "expect", "held":
			for i := range o.Party {
				p := relay.Peer{RTP: o.Party[i], Source: o.Host[i], Held: o.Do == "held"}
				p.Clocks[8] = 8000
				s.Expect(i, p)
			}
		case "tap":
			s.Tap(deaf{})
		case "untap":
			s.Tap(nil)
		case "restored":
			r.Restored()
		case "close":
			s.Close()
		}
		if err != nil {
			rep.Err = err.Error()
		} else if s != nil {
			rep.InKernel, rep.Flows = s.InKernel(), path.Flows()
			for i, leg := range s.Stats() {
				rep.Packets[i], rep.Bytes[i], rep.Lost[i], rep.Remote[i], rep.Ports[i] = leg.Packets, leg.Bytes, leg.Lost, leg.Remote, s.Port(i)
			}
		}
		if err := reports.Encode(rep); err != nil {
			return err
		}
	}
}

// deaf looks on and does nothing.
type deaf struct{}

func (deaf) Packet(int, int64, []byte) {}

// call is a relayed call between two phones.
type call struct {
	t      *testing.T
	hq     *lab.Host
	hosts  [2]*lab.Host
	addr   [2]netip.Addr
	phones [2]*phone
	order  order
	cmd    *exec.Cmd
	in     io.WriteCloser
	out    *json.Decoder
}

func newCall(t *testing.T, vlan bool) *call {
	t.Helper()
	if err := lab.Available(); err != nil {
		t.Skipf("lab: %v", err)
	}
	if err := kernel.Probe(); err != nil {
		t.Skipf("no kernel path here: %v", err)
	}
	n := lab.New(t)
	c := &call{t: t, hq: n.Host("hq"), hosts: [2]*lab.Host{n.Host("a"), n.Host("b")}}
	for i, h := range c.hosts {
		l := n.Link(h, fmt.Sprintf("10.9.%d.2/24", i+1), c.hq, fmt.Sprintf("10.9.%d.1/24", i+1))
		c.addr[i], c.order.Local[i] = l.Addr(h), l.Addr(c.hq)
		if vlan && i == 0 {
			for _, end := range []*lab.Host{h, c.hq} {
				host := map[bool]int{true: 2, false: 1}[end == h]
				c.ip(end, "link", "add", "link", l.Device(end), "name", "voice", "type", "vlan", "id", "7")
				c.ip(end, "addr", "add", fmt.Sprintf("10.9.77.%d/24", host), "dev", "voice")
				c.ip(end, "link", "set", "voice", "up")
			}
			c.addr[i], c.order.Local[i] = netip.MustParseAddr("10.9.77.2"), netip.MustParseAddr("10.9.77.1")
		}
	}
	c.order.Pins = fmt.Sprintf("/sys/fs/bpf/linehall-test/%d-%d", os.Getpid(), rand.Uint32())
	t.Cleanup(func() { _ = os.RemoveAll(c.order.Pins) })
	c.start()
	c.do("open")
	for i := range c.phones {
		c.phones[i] = c.phone(i)
		c.order.Party[i], c.order.Host[i] = c.phones[i].local, c.addr[i]
	}
	c.do("expect")
	return c
}

func (c *call) ip(h *lab.Host, args ...string) {
	c.t.Helper()
	if out, err := exec.CommandContext(c.t.Context(), "ip", append([]string{"-n", h.Namespace}, args...)...).CombinedOutput(); err != nil {
		if strings.Contains(string(out), "Unknown device type") {
			c.t.Skip("this kernel has no VLAN devices")
		}
		c.t.Fatalf("ip %v: %v: %s", args, err, out)
	}
}

func (c *call) start() {
	c.t.Helper()
	self, err := os.Executable()
	if err != nil {
		c.t.Fatal(err)
	}
	c.cmd = c.hq.Command(context.Background(), self)
	c.cmd.Env = append(os.Environ(), "LINEHALL_TEST_RELAY=1")
	c.cmd.Stderr = os.Stderr
	if c.in, err = c.cmd.StdinPipe(); err != nil {
		c.t.Fatal(err)
	}
	out, err := c.cmd.StdoutPipe()
	if err != nil {
		c.t.Fatal(err)
	}
	c.out = json.NewDecoder(bufio.NewReader(out))
	if err := c.cmd.Start(); err != nil {
		c.t.Fatal(err)
	}
	cmd, in := c.cmd, c.in
	c.t.Cleanup(func() { _ = in.Close(); _ = cmd.Process.Kill(); _ = cmd.Wait() })
}

// do gives an order and returns the report.
func (c *call) do(what string) report {
	c.t.Helper()
	c.order.Do = what
	var r report
	if err := errors.Join(json.NewEncoder(c.in).Encode(c.order), c.out.Decode(&r)); err != nil {
		c.t.Fatalf("%s: %v", what, err)
	}
	if r.Err != "" {
		c.t.Fatalf("%s: %s", what, r.Err)
	}
	c.order.Ports = r.Ports
	return r
}

// until asks for the state until it is as wanted.
func (c *call) until(what string, ok func(report) bool) report {
	c.t.Helper()
	for begun := time.Now(); ; {
		r := c.do("stats")
		if ok(r) {
			return r
		}
		if time.Since(begun) > 20*time.Second {
			c.t.Fatalf("%s: not after 20 s: %+v", what, r)
		}
		pause()
	}
}

func pause() { <-time.After(10 * time.Millisecond) }

// phone sends a packet every few milliseconds and remembers the numbers of those it hears.
type phone struct {
	conn  *net.UDPConn
	local netip.AddrPort
	mu    sync.Mutex
	sent  uint16
	mute  bool
	heard map[uint16]int
	to    netip.AddrPort
}

func (c *call) phone(i int) *phone {
	c.t.Helper()
	p := &phone{heard: map[uint16]int{}, to: netip.AddrPortFrom(c.order.Local[i], c.order.Ports[i])}
	if err := c.hosts[i].Do(func() (err error) {
		p.conn, err = net.ListenUDP("udp", net.UDPAddrFromAddrPort(netip.AddrPortFrom(c.addr[i], 0)))
		return err
	}); err != nil {
		c.t.Fatal(err)
	}
	at := p.conn.LocalAddr().(*net.UDPAddr).AddrPort()
	p.local = netip.AddrPortFrom(at.Addr().Unmap(), at.Port())
	stop := make(chan struct{})
	var wg sync.WaitGroup
	wg.Go(func() {
		for b := make([]byte, 2000); ; {
			n, err := p.conn.Read(b)
			if errors.Is(err, net.ErrClosed) {
				return
			}
			if err == nil && n >= 12 {
				p.mu.Lock()
				p.heard[binary.BigEndian.Uint16(b[2:])]++
				p.mu.Unlock()
			}
		}
	})
	wg.Go(func() {
		tick := time.NewTicker(5 * time.Millisecond)
		defer tick.Stop()
		for {
			select {
			case <-stop:
				return
			case <-tick.C:
				p.send()
			}
		}
	})
	c.t.Cleanup(func() { close(stop); _ = p.conn.Close(); wg.Wait() })
	return p
}

func (p *phone) send() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.mute {
		return
	}
	p.sent++
	b := make([]byte, 172)
	b[0], b[1], b[11] = 0x80, 8, byte(p.local.Port())
	binary.BigEndian.PutUint16(b[2:], p.sent)
	binary.BigEndian.PutUint32(b[4:], uint32(p.sent)*40)
	_, _ = p.conn.WriteToUDPAddrPort(b, p.to)
}

func (p *phone) silence(mute bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.mute = mute
}

// judge compares what a phone heard with what the other one sent, all of it.
func (c *call) judge(what string, from, to int) {
	c.t.Helper()
	for begun := time.Now(); ; pause() {
		c.phones[from].mu.Lock()
		sent := c.phones[from].sent
		c.phones[from].mu.Unlock()
		c.phones[to].mu.Lock()
		missing, twice := 0, 0
		for seq := uint16(1); seq <= sent; seq++ {
			switch n := c.phones[to].heard[seq]; {
			case n == 0:
				missing++
			case n > 1:
				twice++
			}
		}
		c.phones[to].mu.Unlock()
		if missing+twice == 0 {
			return
		}
		if time.Since(begun) > 3*time.Second {
			c.t.Errorf("%s: of %d packets %d are missing and %d came twice", what, sent, missing, twice)
			return
		}
	}
}

func (c *call) silence() {
	for _, p := range c.phones {
		p.silence(true)
	}
}

func TestCallMovesBothWays(t *testing.T) {
	for _, vlan := range []bool{false, true} {
		t.Run(fmt.Sprintf("vlan %v", vlan), func(t *testing.T) {
			c := newCall(t, vlan)
			c.until("into the kernel", func(r report) bool { return r.InKernel })
			if r := c.do("held"); r.InKernel {
				t.Error("a held call is in the kernel")
			}
			c.do("expect")
			c.until("into the kernel again", func(r report) bool { return r.InKernel })
			stranger := c.phone(0)
			c.until("back for a stranger", func(r report) bool { return !r.InKernel })
			stranger.silence(true)
			c.until("home", func(r report) bool { return r.Packets[0] > 0 })
			c.silence()
			var last report
			c.until("all counted", func(r report) bool {
				same := r.Packets == last.Packets
				last = r
				return same && r.Packets[0] == uint64(c.phones[0].sent) && r.Packets[1] == uint64(c.phones[1].sent)
			})
			if last.Lost != [2]uint64{} || last.Bytes[0] != last.Packets[0]*200 || last.Remote != c.order.Party {
				t.Errorf("counted %+v", last)
			}
			if stranger.count() > 0 {
				t.Error("the stranger heard the call")
			}
			if final := c.do("close"); final.Packets != last.Packets {
				t.Errorf("at the end %+v", final)
			}
		})
	}
}

// Nothing is lost, nothing comes twice, when a stream moves up and down in the middle.
func TestNothingIsLostInAMove(t *testing.T) {
	c := newCall(t, false)
	c.until("into the kernel", func(r report) bool { return r.InKernel })
	if r := c.do("expect"); !r.InKernel {
		t.Error("a re-INVITE that changes nothing moves the stream")
	}
	if r := c.do("tap"); r.InKernel {
		t.Error("a stream that is recorded is in the kernel")
	}
	c.do("untap")
	c.until("into the kernel after the recording", func(r report) bool { return r.InKernel })
	s := c.phone(0) // somebody else on the phone's host
	c.until("back", func(r report) bool { return !r.InKernel })
	s.silence(true)
	c.silence()
	c.judge("a to b", 0, 1)
	c.judge("b to a", 1, 0)
}

func TestCallOutlivesTheProcess(t *testing.T) {
	c := newCall(t, false)
	r := c.until("into the kernel", func(r report) bool { return r.Flows == 2 && r.Packets[0] > 0 })
	if err := c.cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = c.cmd.Wait()
	// Both phones talk on while nobody is there.
	before := [2]int{c.phones[0].count(), c.phones[1].count()}
	for begun := time.Now(); c.phones[0].count() < before[0]+100 || c.phones[1].count() < before[1]+100; pause() {
		if time.Since(begun) > 20*time.Second {
			t.Fatal("the call stood still")
		}
	}
	c.start()
	c.order.Ports = r.Ports
	c.do("open")
	if r := c.do("expect"); !r.InKernel {
		t.Error("the restored call is not in the kernel")
	}
	c.do("restored")
	c.until("counts went on", func(now report) bool { return now.Packets[0] > r.Packets[0]+100 && now.InKernel })
	c.silence()
	c.judge("a to b", 0, 1)
	c.judge("b to a", 1, 0)
	// All are counted but one that may have been in the socket when the stream moved: it was counted in the memory of
	// the process that was killed.
	c.until("all counted", func(r report) bool {
		return r.Packets[0]+1 >= uint64(c.phones[0].sent) && r.Packets[1]+1 >= uint64(c.phones[1].sent) &&
			r.Packets[0] <= uint64(c.phones[0].sent) && r.Packets[1] <= uint64(c.phones[1].sent)
	})
	if final := c.do("close"); final.InKernel {
		t.Error("an ended call is in the kernel")
	}
	_ = c.in.Close() // an orderly end without calls leaves nothing
	_ = c.cmd.Wait()
	if _, err := os.Stat(c.order.Pins); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("pins are left: %v", err)
	}
}

func (p *phone) count() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return len(p.heard)
}
