package relay_test

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"net"
	"net/netip"
	"os"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	"go.uber.org/goleak"
	"golang.org/x/sys/unix"

	"linehall/internal/observe"
	"linehall/media/relay"
)

func TestMain(m *testing.M) {
	if os.Getenv(phonesVariable) != "" {
		if err := benchPhones(os.Stdin, os.Stdout); err != nil {
			fmt.Fprintln(os.Stderr, "phones:", err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	goleak.VerifyTestMain(m)
}

var (
	loopback = netip.MustParseAddr("127.0.0.1")
	foreign  = netip.MustParseAddr("127.0.0.66")
)

// phone is a party with a pair of sockets.
type phone struct {
	t         *testing.T
	rtp, rtcp *net.UDPConn
	seq       uint16
	ssrc      uint32
}

func newPhone(t *testing.T, host netip.Addr, ssrc uint32) *phone {
	t.Helper()
	p := &phone{t: t, ssrc: ssrc}
	for _, c := range []**net.UDPConn{&p.rtp, &p.rtcp} {
		conn, err := net.ListenUDP("udp", net.UDPAddrFromAddrPort(netip.AddrPortFrom(host, 0)))
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = conn.Close() })
		*c = conn
	}
	return p
}

func addr(c *net.UDPConn) netip.AddrPort { return c.LocalAddr().(*net.UDPAddr).AddrPort() }

func (p *phone) peer() relay.Peer {
	r := relay.Peer{RTP: addr(p.rtp), RTCP: addr(p.rtcp), Source: addr(p.rtp).Addr()}
	r.Clocks[8] = 8000
	return r
}

// packet returns the phone's next RTP packet.
func (p *phone) packet() []byte {
	p.seq++
	b := make([]byte, 172)
	b[0], b[1] = 0x80, 8
	binary.BigEndian.PutUint16(b[2:], p.seq)
	binary.BigEndian.PutUint32(b[4:], uint32(p.seq)*160)
	binary.BigEndian.PutUint32(b[8:], p.ssrc)
	return b
}

func (p *phone) send(c *net.UDPConn, port uint16, b []byte) {
	p.t.Helper()
	to := loopback
	if addr(c).Addr().Is6() {
		to = netip.IPv6Loopback()
	}
	if _, err := c.WriteToUDPAddrPort(b, netip.AddrPortFrom(to, port)); err != nil {
		p.t.Fatal(err)
	}
}

// patience is how long a datagram may take on a machine that is busy with other things; a quiet one takes microseconds.
const patience = 15 * time.Second

// receive returns the next datagram and where it came from; nil when nothing comes for a while.
func (p *phone) receive(c *net.UDPConn) ([]byte, netip.AddrPort) {
	p.t.Helper()
	return p.receiveWithin(c, patience)
}

func (p *phone) receiveWithin(c *net.UDPConn, wait time.Duration) ([]byte, netip.AddrPort) {
	p.t.Helper()
	if err := c.SetReadDeadline(time.Now().Add(wait)); err != nil {
		p.t.Fatal(err)
	}
	b := make([]byte, 4096)
	n, from, err := c.ReadFromUDPAddrPort(b)
	if err != nil {
		return nil, from
	}
	return b[:n], from
}

// hears fails the test unless the next datagram is b.
func (p *phone) hears(c *net.UDPConn, b []byte) {
	p.t.Helper()
	if got, _ := p.receive(c); !bytes.Equal(got, b) {
		p.t.Fatalf("heard %x, want %x", got, b)
	}
}

func (p *phone) hearsNothing(c *net.UDPConn) {
	p.t.Helper()
	if got, from := p.receiveWithin(c, 50*time.Millisecond); got != nil {
		p.t.Fatalf("heard %x from %v, want nothing", got, from)
	}
}

type bench struct {
	relay  *relay.Relay
	stream *relay.Stream
	reg    *prometheus.Registry
}

// open returns a stream between two legs; who the parties are is for the test to say.
func open(t *testing.T, legs [2]relay.Leg, raw bool) *bench {
	t.Helper()
	reg := prometheus.NewRegistry()
	r, err := relay.New(relay.Options{First: 20000, Last: 29999, Registerer: reg, Dropped: observe.NewDropped(reg)})
	if err != nil {
		t.Fatal(err)
	}
	s, err := r.Open(relay.Spec{Legs: legs, Raw: raw})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	return &bench{r, s, reg}
}

func onLoopback() [2]relay.Leg { return [2]relay.Leg{{Local: loopback}, {Local: loopback}} }

// call returns a stream between two phones that signalling has introduced.
func call(t *testing.T) (b *bench, caller, callee *phone) {
	t.Helper()
	b = open(t, onLoopback(), false)
	caller, callee = newPhone(t, loopback, 1), newPhone(t, loopback, 2)
	b.stream.Expect(0, caller.peer())
	b.stream.Expect(1, callee.peer())
	return b, caller, callee
}

func TestPacketsPassBothWays(t *testing.T) {
	t.Parallel()
	b, caller, callee := call(t)
	for range 3 {
		p := caller.packet()
		caller.send(caller.rtp, b.stream.Port(0), p)
		callee.hears(callee.rtp, p)
		p = callee.packet()
		callee.send(callee.rtp, b.stream.Port(1), p)
		got, from := caller.receive(caller.rtp)
		if !bytes.Equal(got, p) || from != netip.AddrPortFrom(loopback, b.stream.Port(0)) {
			t.Fatalf("heard %x from %v, want %x from port %d", got, from, p, b.stream.Port(0))
		}
	}
	report := []byte{0x80, 201, 0, 1, 0, 0, 0, 1}
	caller.send(caller.rtcp, b.stream.Port(0)+1, report)
	callee.hears(callee.rtcp, report)
}

func TestEverythingOfThePartyPassesUntouched(t *testing.T) {
	t.Parallel()
	b, caller, callee := call(t)
	event := append([]byte{0x80, 0x80 | 101, 0, 1, 0, 0, 0, 2, 0, 0, 0, 3}, 5, 10, 0, 160)
	for name, p := range map[string][]byte{
		"dtmf":                  event,
		"comfort noise":         {0x80, 13, 0, 2, 0, 0, 0, 2, 0, 0, 0, 3, 40},
		"unknown payload type":  {0x80, 77, 0, 3, 0, 0, 0, 2, 0, 0, 0, 3, 1, 2, 3},
		"rtcp on the rtp port":  {0x80, 200, 0, 6, 0, 0, 0, 3, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0},
		"srtp with header only": {0x80, 8, 0, 4, 0, 0, 0, 2, 0, 0, 0, 3, 9, 9, 9, 9, 9, 9, 9, 9, 9, 9},
		"stun":                  {0, 1, 0, 0, 0x21, 0x12, 0xa4, 0x42, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0},
		"dtls":                  {22, 254, 253, 0, 0},
	} {
		caller.send(caller.rtp, b.stream.Port(0), p)
		if got, _ := callee.receive(callee.rtp); !bytes.Equal(got, p) {
			t.Errorf("%s: heard %x, want %x", name, got, p)
		}
	}
}

func TestRubbishIsDropped(t *testing.T) {
	t.Parallel()
	b, caller, callee := call(t)
	for _, p := range [][]byte{{}, {0}, {0xff, 0xff, 0xff}, bytes.Repeat([]byte{0x80}, 3000)} {
		caller.send(caller.rtp, b.stream.Port(0), p)
	}
	good := caller.packet()
	caller.send(caller.rtp, b.stream.Port(0), good)
	callee.hears(callee.rtp, good)
	if n := b.stream.Stats()[0].Dropped; n != 4 {
		t.Errorf("%d packets dropped, want 4", n)
	}
}

func TestPartyBehindNATIsLatchedAtItsFirstPacket(t *testing.T) {
	t.Parallel()
	b, caller, callee := call(t)
	// What signalling said about the callee is an address behind its router; its packets come from the router.
	private := relay.Peer{
		RTP: netip.MustParseAddrPort("10.9.9.9:4000"), RTCP: netip.MustParseAddrPort("10.9.9.9:4001"), Source: loopback,
	}
	b.stream.Expect(1, private)
	p := callee.packet()
	callee.send(callee.rtp, b.stream.Port(1), p)
	caller.hears(caller.rtp, p)
	p = caller.packet()
	caller.send(caller.rtp, b.stream.Port(0), p)
	callee.hears(callee.rtp, p)
	if got, _ := b.stream.Latched(1); got != addr(callee.rtp) {
		t.Errorf("latched to %v, want %v", got, addr(callee.rtp))
	}
}

func TestForeignSourceIsNotHeardAndDoesNotMoveTheLatch(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		name string
		host netip.Addr
	}{{"another host", foreign}, {"another port of the same host", loopback}} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			b, caller, callee := call(t)
			first := callee.packet()
			callee.send(callee.rtp, b.stream.Port(1), first)
			caller.hears(caller.rtp, first)

			thief := newPhone(t, tc.host, callee.ssrc)
			thief.seq = callee.seq // it even knows the stream, but the party is not silent
			for range 5 {
				p := callee.packet()
				callee.send(callee.rtp, b.stream.Port(1), p)
				caller.hears(caller.rtp, p)
				thief.seq = callee.seq
				thief.send(thief.rtp, b.stream.Port(1), thief.packet())
				thief.send(thief.rtcp, b.stream.Port(1)+1, []byte{0x80, 201, 0, 1, 9, 9, 9, 9})
			}
			caller.hearsNothing(caller.rtp)
			p := caller.packet()
			caller.send(caller.rtp, b.stream.Port(0), p)
			callee.hears(callee.rtp, p)
			thief.hearsNothing(thief.rtp)
			if got := b.stream.Stats()[1].Dropped; got < 5 {
				t.Errorf("%d packets dropped, want at least 5", got)
			}
		})
	}
}

func TestForeignSourceCannotTakeAFreshLeg(t *testing.T) {
	t.Parallel()
	b, caller, callee := call(t)
	thief := newPhone(t, foreign, 9)
	thief.send(thief.rtp, b.stream.Port(1), thief.packet())
	caller.hearsNothing(caller.rtp)
	p := caller.packet()
	caller.send(caller.rtp, b.stream.Port(0), p)
	callee.hears(callee.rtp, p)
	if n := testutil.ToFloat64(dropped(t, b.reg, "foreign_source")); n != 1 {
		t.Errorf("counted %v drops, want 1", n)
	}
}

func dropped(t *testing.T, reg *prometheus.Registry, reason string) prometheus.Collector {
	t.Helper()
	families, err := reg.Gather()
	if err != nil {
		t.Fatal(err)
	}
	g := prometheus.NewGauge(prometheus.GaugeOpts{Name: "dropped"})
	for _, f := range families {
		for _, m := range f.GetMetric() {
			for _, l := range m.GetLabel() {
				if f.GetName() == "linehall_dropped_total" && l.GetName() == "reason" && l.GetValue() == reason {
					g.Set(m.GetCounter().GetValue())
				}
			}
		}
	}
	return g
}

func TestSignalledAddressBeatsTheFirstSource(t *testing.T) {
	t.Parallel()
	b, caller, callee := call(t)
	early := newPhone(t, loopback, 7) // same host, other port: could be a NAT, so it is latched
	p := early.packet()
	early.send(early.rtp, b.stream.Port(1), p)
	caller.hears(caller.rtp, p)
	p = callee.packet()
	callee.send(callee.rtp, b.stream.Port(1), p) // exactly where signalling said
	caller.hears(caller.rtp, p)
	if got, _ := b.stream.Latched(1); got != addr(callee.rtp) {
		t.Errorf("latched to %v, want %v", got, addr(callee.rtp))
	}
}

func TestStreamContinuesFromAnotherPortAfterSilence(t *testing.T) {
	t.Parallel()
	b, caller, callee := call(t)
	first := callee.packet()
	callee.send(callee.rtp, b.stream.Port(1), first)
	caller.hears(caller.rtp, first)

	moved := newPhone(t, loopback, callee.ssrc)
	moved.seq = callee.seq
	sent := map[string]bool{}
	deadline := time.Now().Add(patience)
	for time.Now().Before(deadline) { // the router forgot its mapping: the old port stays silent
		p := moved.packet()
		sent[string(p)] = true
		moved.send(moved.rtp, b.stream.Port(1), p)
		if got, _ := caller.receiveWithin(caller.rtp, 20*time.Millisecond); sent[string(got)] {
			return
		}
	}
	t.Error("the stream never came through from its new port")
}

func TestReInviteMovesAParty(t *testing.T) {
	t.Parallel()
	b, caller, callee := call(t)
	p := callee.packet()
	callee.send(callee.rtp, b.stream.Port(1), p)
	caller.hears(caller.rtp, p)

	other := newPhone(t, netip.MustParseAddr("127.0.0.9"), 5)
	b.stream.Expect(1, other.peer())
	p = caller.packet()
	caller.send(caller.rtp, b.stream.Port(0), p)
	other.hears(other.rtp, p)
	callee.send(callee.rtp, b.stream.Port(1), callee.packet())
	caller.hearsNothing(caller.rtp)
	p = other.packet()
	other.send(other.rtp, b.stream.Port(1), p)
	caller.hears(caller.rtp, p)
}

// Signalling speaks in other goroutines than the packets; the last word holds.
func TestSignallingWhileTheyTalk(t *testing.T) {
	t.Parallel()
	b, caller, callee := call(t)
	other := newPhone(t, netip.MustParseAddr("127.0.0.9"), 5)
	var parties sync.WaitGroup
	for range 2 {
		parties.Go(func() {
			for range 200 {
				b.stream.Expect(1, other.peer())
				b.stream.Expect(1, callee.peer())
				b.stream.Stats()
				b.stream.Latched(1)
			}
		})
	}
	for range 200 {
		caller.send(caller.rtp, b.stream.Port(0), caller.packet())
		callee.send(callee.rtp, b.stream.Port(1), callee.packet())
		other.send(other.rtp, b.stream.Port(1), other.packet())
	}
	parties.Wait()
	b.stream.Expect(1, other.peer())
	p := caller.packet()
	caller.send(caller.rtp, b.stream.Port(0), p)
	for got, _ := other.receive(other.rtp); !bytes.Equal(got, p); got, _ = other.receive(other.rtp) {
		if got == nil {
			t.Fatal("the last word of signalling does not hold")
		}
	}
}

func TestHoldSendsNothingAndKeepsTheLatch(t *testing.T) {
	t.Parallel()
	b, caller, callee := call(t)
	p := callee.packet()
	callee.send(callee.rtp, b.stream.Port(1), p)
	caller.hears(caller.rtp, p)

	hold := callee.peer()
	hold.RTP, hold.RTCP, hold.Held = netip.AddrPort{}, netip.AddrPort{}, true
	b.stream.Expect(1, hold)
	caller.send(caller.rtp, b.stream.Port(0), caller.packet())
	callee.hearsNothing(callee.rtp)
	p = callee.packet() // music from the holder still passes
	callee.send(callee.rtp, b.stream.Port(1), p)
	caller.hears(caller.rtp, p)

	b.stream.Expect(1, callee.peer())
	if got, _ := b.stream.Latched(1); got != addr(callee.rtp) {
		t.Errorf("latched to %v after hold, want %v", got, addr(callee.rtp))
	}
	p = caller.packet()
	caller.send(caller.rtp, b.stream.Port(0), p)
	callee.hears(callee.rtp, p)
}

func TestStatsCountTheParty(t *testing.T) {
	t.Parallel()
	b, caller, callee := call(t)
	for i := range 10 {
		p := caller.packet()
		if i == 5 {
			continue // lost on the way
		}
		caller.send(caller.rtp, b.stream.Port(0), p)
		callee.hears(callee.rtp, p)
	}
	last := b.stream.Close()
	if s := last[0]; s.Packets != 9 || s.Lost != 1 || s.Bytes != 9*200 || !s.Latched || s.Remote != addr(caller.rtp) {
		t.Errorf("caller's leg: %+v", s)
	}
	if s := last[1]; s.Packets != 0 || s.Latched || s.Remote != addr(callee.rtp) {
		t.Errorf("callee's leg: %+v", s)
	}
	want := `
# HELP linehall_rtp_lost_packets_total RTP packets that never arrived here.
# TYPE linehall_rtp_lost_packets_total counter
linehall_rtp_lost_packets_total 1
# HELP linehall_rtp_packets_total RTP and RTCP packets passed on.
# TYPE linehall_rtp_packets_total counter
linehall_rtp_packets_total{path="gateway"} 0
linehall_rtp_packets_total{path="relay"} 9
`
	if err := testutil.GatherAndCompare(b.reg, bytes.NewReader([]byte(want)),
		"linehall_rtp_packets_total", "linehall_rtp_lost_packets_total"); err != nil {
		t.Error(err)
	}
}

func TestRoundTripFromReports(t *testing.T) {
	t.Parallel()
	b, caller, callee := call(t)
	sender := make([]byte, 28)
	copy(sender, []byte{0x80, 200, 0, 6, 0, 0, 0, 1})
	binary.BigEndian.PutUint64(sender[8:], 0x1111_2222_3333_4444)
	begun := time.Now()
	caller.send(caller.rtcp, b.stream.Port(0)+1, sender)
	callee.hears(callee.rtcp, sender)
	time.Sleep(20 * time.Millisecond) // the phone takes its time, and does not say so: it counts as way
	report := make([]byte, 32)
	copy(report, []byte{0x81, 201, 0, 7, 0, 0, 0, 2})
	binary.BigEndian.PutUint32(report[24:], 0x2222_3333)
	callee.send(callee.rtcp, b.stream.Port(1)+1, report)
	caller.hears(caller.rtcp, report)
	for b.stream.Stats()[1].RTT == 0 && time.Since(begun) < patience { // it is counted after it was passed on
		time.Sleep(time.Millisecond)
	}
	if got, took := b.stream.Stats()[1].RTT, time.Since(begun); got < 15*time.Millisecond || got > took {
		t.Errorf("round trip to the callee %v, want 20 ms or a little more, and no more than %v", got, took)
	}
}

func TestRawStreamPassesAnything(t *testing.T) {
	t.Parallel()
	b := open(t, onLoopback(), true)
	caller, callee := newPhone(t, loopback, 1), newPhone(t, loopback, 2)
	b.stream.Expect(0, caller.peer())
	b.stream.Expect(1, callee.peer())
	ifp := []byte{0xff, 0xff, 1, 0, 1, 2}
	caller.send(caller.rtp, b.stream.Port(0), ifp)
	callee.hears(callee.rtp, ifp)
	if s := b.stream.Close()[0]; s.Packets != 1 || s.Lost != 0 {
		t.Errorf("%+v", s)
	}
}

func TestIPv6(t *testing.T) {
	t.Parallel()
	six := netip.IPv6Loopback()
	if c, err := net.ListenUDP("udp6", net.UDPAddrFromAddrPort(netip.AddrPortFrom(six, 0))); err != nil {
		t.Skip("no IPv6 here")
	} else if err := c.Close(); err != nil {
		t.Fatal(err)
	}
	b := open(t, [2]relay.Leg{{Local: six}, {Local: loopback}}, false)
	caller, callee := newPhone(t, six, 1), newPhone(t, loopback, 2)
	b.stream.Expect(0, caller.peer())
	b.stream.Expect(1, callee.peer())
	p := caller.packet()
	caller.send(caller.rtp, b.stream.Port(0), p)
	callee.hears(callee.rtp, p)
	p = callee.packet()
	callee.send(callee.rtp, b.stream.Port(1), p)
	caller.hears(caller.rtp, p)
	report := []byte{0x80, 201, 0, 1, 0, 0, 0, 1}
	caller.send(caller.rtcp, b.stream.Port(0)+1, report)
	callee.hears(callee.rtcp, report)
}

func TestRecoveryTakesTheSamePorts(t *testing.T) {
	t.Parallel()
	b, caller, callee := call(t)
	ports := [2]uint16{b.stream.Port(0), b.stream.Port(1)}
	p := callee.packet()
	callee.send(callee.rtp, b.stream.Port(1), p)
	caller.hears(caller.rtp, p)
	if _, err := b.relay.Open(relay.Spec{Legs: [2]relay.Leg{{Local: loopback, Port: ports[0]}, {Local: loopback}}}); err == nil {
		t.Fatal("a port that is in use was given away")
	}
	b.stream.Close()

	again, err := b.relay.Open(relay.Spec{Legs: [2]relay.Leg{{Local: loopback, Port: ports[0]}, {Local: loopback, Port: ports[1]}}})
	if err != nil {
		t.Fatal(err)
	}
	defer again.Close()
	if got := [2]uint16{again.Port(0), again.Port(1)}; got != ports {
		t.Fatalf("ports %v, want %v", got, ports)
	}
	again.Expect(0, caller.peer())
	behind := callee.peer()
	behind.LatchedRTP, behind.RTP = behind.RTP, netip.MustParseAddrPort("10.9.9.9:4000")
	again.Expect(1, behind)
	p = caller.packet() // the latch was restored: the callee need not speak first
	caller.send(caller.rtp, again.Port(0), p)
	callee.hears(callee.rtp, p)
}

func TestAdvertisedAddressNeedNotBeOurs(t *testing.T) {
	t.Parallel()
	b := open(t, [2]relay.Leg{{Local: netip.MustParseAddr("192.0.2.77")}, {Local: loopback}}, false)
	caller, callee := newPhone(t, loopback, 1), newPhone(t, loopback, 2)
	b.stream.Expect(0, caller.peer())
	b.stream.Expect(1, callee.peer())
	p := caller.packet()
	caller.send(caller.rtp, b.stream.Port(0), p)
	callee.hears(callee.rtp, p)
}

// goleak counts the goroutines at the end of all tests.
func TestCloseEndsEveryGoroutineUnderLoad(t *testing.T) {
	t.Parallel()
	b, caller, callee := call(t)
	stop, done := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(done)
		for {
			select {
			case <-stop:
				return
			default:
				_, _ = caller.rtp.WriteToUDPAddrPort(caller.packet(), netip.AddrPortFrom(loopback, b.stream.Port(0)))
			}
		}
	}()
	callee.receive(callee.rtp)
	b.stream.Close()
	b.stream.Close()
	close(stop)
	<-done
	if n := b.relay.Streams(); n != 0 {
		t.Errorf("%d streams are open", n)
	}
}

// What leaves has our DSCP and, where signalling agreed on them, the ECN bits that it came with (RFC 3168), over both versions
// of IP and from one to the other.
func TestPacketsAreMarked(t *testing.T) {
	t.Parallel()
	six := netip.IPv6Loopback()
	for name, hosts := range map[string][2]netip.Addr{"IPv4": {loopback, loopback}, "IPv6 to IPv4": {six, loopback}, "IPv4 to IPv6": {loopback, six}} {
		t.Run(name, func(t *testing.T) {
			if c, err := net.ListenUDP("udp", net.UDPAddrFromAddrPort(netip.AddrPortFrom(hosts[0], 0))); err != nil {
				t.Skip("no IPv6 here")
			} else if err := c.Close(); err != nil {
				t.Fatal(err)
			}
			b := open(t, [2]relay.Leg{{Local: hosts[0]}, {Local: hosts[1]}}, false)
			caller, callee := newPhone(t, hosts[0], 1), newPhone(t, hosts[1], 2)
			for leg, p := range []*phone{caller, callee} {
				p.option(unix.IP_RECVTOS, unix.IPV6_RECVTCLASS, 1)
				peer := p.peer()
				peer.ECN = true
				b.stream.Expect(leg, peer)
			}
			for _, ecn := range []int{0, 2, 1, 3, 0} {
				for _, way := range []struct {
					from, to *phone
					port     uint16
				}{{caller, callee, b.stream.Port(0)}, {callee, caller, b.stream.Port(1)}} {
					way.from.option(unix.IP_TOS, unix.IPV6_TCLASS, 8<<2|ecn) // a phone's own DSCP says nothing here
					way.from.send(way.from.rtp, way.port, way.from.packet())
					if got, want := way.to.mark(), relay.ExpeditedForwarding<<2|ecn; got != want {
						t.Errorf("came as %#x, want %#x", got, want)
					}
				}
			}
		})
	}
}

// option sets an option of the phone's RTP socket, in the version of IP that it has.
func (p *phone) option(four, six, value int) {
	p.t.Helper()
	raw, err := p.rtp.SyscallConn()
	if err != nil {
		p.t.Fatal(err)
	}
	level, option := unix.IPPROTO_IP, four
	if addr(p.rtp).Addr().Is6() {
		level, option = unix.IPPROTO_IPV6, six
	}
	var failed error
	if err := raw.Control(func(fd uintptr) { failed = unix.SetsockoptInt(int(fd), level, option, value) }); err != nil || failed != nil {
		p.t.Fatal(err, failed)
	}
}

// mark is the DSCP and ECN byte of the next packet.
func (p *phone) mark() int {
	p.t.Helper()
	if err := p.rtp.SetReadDeadline(time.Now().Add(patience)); err != nil {
		p.t.Fatal(err)
	}
	oob := make([]byte, 64)
	_, n, _, _, err := p.rtp.ReadMsgUDP(make([]byte, 2048), oob)
	if err != nil {
		p.t.Fatal(err)
	}
	messages, err := unix.ParseSocketControlMessage(oob[:n])
	if err != nil || len(messages) != 1 {
		p.t.Fatalf("control messages %v, %v; want one", messages, err)
	}
	return int(messages[0].Data[0])
}

func TestDelayIsSampledFromTheKernelsReceiveTime(t *testing.T) {
	t.Parallel()
	b, caller, callee := call(t)
	for range 200 {
		p := caller.packet()
		caller.send(caller.rtp, b.stream.Port(0), p)
		callee.hears(callee.rtp, p)
	}
	families, err := b.reg.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range families {
		if f.GetName() == "linehall_rtp_forward_seconds" {
			h := f.GetMetric()[0].GetHistogram()
			if h.GetSampleCount() != 3 || h.GetSampleSum() <= 0 || h.GetSampleSum() > 2 {
				t.Errorf("%d samples of %v s together", h.GetSampleCount(), h.GetSampleSum())
			}
			return
		}
	}
	t.Error("no histogram")
}

// RFC 5761: reports on the RTP port are passed on there, and measure the way as those on a port of their own do.
func TestReportsThatShareThePortOfRTP(t *testing.T) {
	t.Parallel()
	b, caller, callee := call(t)
	sender := make([]byte, 28)
	copy(sender, []byte{0x80, 200, 0, 6, 0, 0, 0, 1})
	binary.BigEndian.PutUint64(sender[8:], 0x1111_2222_3333_4444)
	caller.send(caller.rtp, b.stream.Port(0), sender)
	callee.hears(callee.rtp, sender)
	report := make([]byte, 32)
	copy(report, []byte{0x81, 201, 0, 7, 0, 0, 0, 2})
	binary.BigEndian.PutUint32(report[24:], 0x2222_3333)
	time.Sleep(time.Millisecond) // a way that can be told from none
	callee.send(callee.rtp, b.stream.Port(1), report)
	caller.hears(caller.rtp, report)
	for deadline := time.Now().Add(patience); b.stream.Stats()[1].RTT == 0; time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("no round trip was measured")
		}
	}
	if s := b.stream.Stats()[0]; s.Packets != 0 {
		t.Errorf("a report counts as %d packets of sound", s.Packets)
	}
}

// A phone that plays music on hold, or whose sound comes from elsewhere after a transfer, has a new source: it is heard at
// once, and nothing counts as lost for it.
func TestANewSourceIsHeard(t *testing.T) {
	t.Parallel()
	b, caller, callee := call(t)
	for _, ssrc := range []uint32{1, 77} {
		caller.ssrc, caller.seq = ssrc, uint16(1000*ssrc)
		for range 5 {
			p := caller.packet()
			caller.send(caller.rtp, b.stream.Port(0), p)
			callee.hears(callee.rtp, p)
		}
	}
	if s := b.stream.Close()[0]; s.Packets != 10 || s.Lost != 0 || s.Sources != 2 || s.SSRC != 77 {
		t.Errorf("%+v", s)
	}
}
