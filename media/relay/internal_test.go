package relay

import (
	"net/netip"
	"runtime"
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"

	"linehall/internal/site"
	"linehall/media/line"
)

func TestPortsArePairsInRangeAndOnceOnly(t *testing.T) {
	t.Parallel()
	p := newPorts(10000, 10099, time.Hour)
	seen := map[uint16]bool{}
	for range 50 {
		port, ok := p.take()
		if !ok || port%2 != 0 || port < 10000 || port > 10098 || seen[port] {
			t.Fatalf("port %d, %v after %d others", port, ok, len(seen))
		}
		seen[port] = true
	}
	if port, ok := p.take(); ok {
		t.Fatalf("port %d from an empty range", port)
	}
}

func TestReleasedPortsRest(t *testing.T) {
	t.Parallel()
	p := newPorts(10000, 10007, time.Hour)
	a, _ := p.take()
	b, _ := p.take()
	p.put(a)
	p.put(b)
	for range 2 {
		if port, _ := p.take(); port == a || port == b {
			t.Fatalf("port %d came back at once", port)
		}
	}
	if port, ok := p.take(); !ok || port != a {
		t.Errorf("with only resting ports left: %d, want %d that rested longest", port, a)
	}
	if !p.claim(b) || p.claim(b) || p.claim(b+1) || p.claim(9998) || p.claim(10008) {
		t.Error("a certain port is claimed once, even while it rests, and only in the range")
	}
}

// The obvious model of the latch: rules in words, without regard to sockets.
func TestJudgeFollowsTheRules(t *testing.T) {
	t.Parallel()
	host := rapid.SampledFrom([]string{"192.0.2.1", "192.0.2.2", "198.51.100.7"})
	port := rapid.SampledFrom([]uint16{4000, 4002})
	source := rapid.Custom(func(t *rapid.T) netip.AddrPort {
		return netip.AddrPortFrom(netip.MustParseAddr(host.Draw(t, "host")), port.Draw(t, "port"))
	})
	rapid.Check(t, func(t *rapid.T) {
		st := unknown()
		var signalled, latched netip.AddrPort
		var named []netip.Addr
		for range rapid.IntRange(1, 40).Draw(t, "steps") {
			if rapid.Bool().Draw(t, "signal") {
				peer := Peer{RTP: source.Draw(t, "rtp"), Source: source.Draw(t, "source").Addr()}
				st = st.next(peer, kindRTP, false)
				named = []netip.Addr{peer.RTP.Addr(), peer.Source}
				if signalled.IsValid() && signalled != peer.RTP || latched.IsValid() && !slices.Contains(named, latched.Addr()) {
					latched = netip.AddrPort{}
				}
				signalled = peer.RTP
				continue
			}
			from, proof := source.Draw(t, "from"), rapid.Bool().Draw(t, "proof")
			accepted := slices.Contains(named, from.Addr()) &&
				(!latched.IsValid() || from == latched || from == signalled || proof)
			switch v := st.judge(from, func() bool { return proof }); {
			case v == latch:
				st = st.latch(from, false)
				fallthrough
			case v == pass:
				if !accepted {
					t.Fatalf("%v was accepted", from)
				}
				latched = from
			case accepted:
				t.Fatalf("%v was refused", from)
			}
			if st.latched != latched {
				t.Fatalf("latched to %v, want %v", st.latched, latched)
			}
		}
	})
}

// rig is a stream without readers: the test reads its first leg.
type rig struct {
	stream *Stream
	socket *socket
	source netip.AddrPort
	packet datagram
}

func newRig(tb testing.TB) *rig {
	tb.Helper()
	table, err := site.NewTable([]site.Site{
		{ID: "hq", Main: true},
		{ID: "branch1", Line: &site.Line{Up: 1e7, Down: 1e7}},
	})
	if err != nil {
		tb.Fatal(err)
	}
	ledger := line.NewLedger(table, nil, nil)
	r, err := New(Options{First: 20000, Last: 29999})
	if err != nil {
		tb.Fatal(err)
	}
	local := netip.MustParseAddr("127.0.0.1")
	s, err := r.open(Spec{Legs: [2]Leg{
		{Local: local, In: ledger.Meter("branch1", line.Up, line.Voice), Out: ledger.Meter("branch1", line.Down, line.Voice)},
		{Local: local},
	}})
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { s.Close() })
	source := netip.MustParseAddrPort("127.0.0.1:4000")
	peer := Peer{RTP: source, RTCP: source, Source: local}
	peer.Clocks[8] = 8000
	s.Expect(0, peer)
	s.Expect(1, Peer{RTP: netip.AddrPortFrom(local, s.Port(1)+1), Source: local}) // nobody reads there
	return &rig{stream: s, socket: s.legs[0].rtp(), source: source}
}

// put places a packet in the buffer as if it had been received.
func (r *rig) put(b []byte, from netip.AddrPort) *datagram {
	r.packet.from = newSockaddr(from, false)
	r.packet.size = copy(r.packet.buffer[:], b)
	return &r.packet
}

func TestForwardingDoesNotAllocate(t *testing.T) {
	for name, b := range map[string][]byte{
		"rtp":  append([]byte{0x80, 8, 0, 1, 0, 0, 0, 2, 0, 0, 0, 3}, make([]byte, 160)...),
		"rtcp": append([]byte{0x81, 200, 0, 12, 0, 0, 0, 3}, make([]byte, 44)...),
		"xr":   append([]byte{0x80, 207, 0, 10, 0, 0, 0, 3, 7, 0, 0, 8}, make([]byte, 32)...),
	} {
		for _, from := range []string{"127.0.0.1:4000", "127.0.0.9:4000", "127.0.0.1:4002"} {
			r := newRig(t)
			r.socket.forward(r.put(b, r.source), 1) // latches
			source := netip.MustParseAddrPort(from)
			if n := testing.AllocsPerRun(500, func() {
				b[3]++
				r.socket.forward(r.put(b, source), 1)
			}); n != 0 {
				t.Errorf("%s from %s: %v allocations per packet", name, from, n)
			}
		}
	}
}

// The whole path through the kernel: what allocates is the test's own sockets, once.
// count looks on.
type count struct{ packets int }

func (c *count) Packet(int, int64, []byte) { c.packets++ }

func TestShowingDoesNotAllocate(t *testing.T) {
	r := newRig(t)
	seen := &count{}
	r.stream.Tap(seen)
	b := append([]byte{0x80, 8, 0, 1, 0, 0, 0, 2, 0, 0, 0, 3}, make([]byte, 160)...)
	r.socket.forward(r.put(b, r.source), 1)
	if n := testing.AllocsPerRun(500, func() { r.socket.forward(r.put(b, r.source), 2) }); n != 0 || seen.packets != 502 {
		t.Errorf("%.1f allocations per packet, %d seen", n, seen.packets)
	}
}

func (c *count) Take(int, int64, []byte) { c.packets++ }

func TestDivertingDoesNotAllocate(t *testing.T) {
	r := newRig(t)
	seen := &count{}
	r.stream.Divert(seen)
	b := append([]byte{0x80, 8, 0, 1, 0, 0, 0, 2, 0, 0, 0, 3}, make([]byte, 160)...)
	r.socket.forward(r.put(b, r.source), 1)
	if n := testing.AllocsPerRun(500, func() {
		r.socket.forward(r.put(b, r.source), 2)
		if !r.stream.Say(1, b) {
			t.Fatal("not said")
		}
	}); n != 0 || seen.packets != 502 {
		t.Errorf("%.1f allocations per packet, %d taken", n, seen.packets)
	}
}

func TestReceivingAndSendingDoesNotAllocate(t *testing.T) {
	r := newRig(t)
	in, err := New(Options{First: 20000, Last: 29999})
	if err != nil {
		t.Fatal(err)
	}
	from, err := in.listen(r.source.Addr(), 0, ExpeditedForwarding)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = from.close() }()
	r.stream.Expect(0, Peer{Source: r.source.Addr()})
	if err := r.stream.relay.join(r.stream); err != nil {
		t.Fatal(err)
	}
	from.peer = from
	to := newSockaddr(netip.AddrPortFrom(r.source.Addr(), r.stream.Port(0)), false)
	b := append([]byte{0x80, 8, 0, 1, 0, 0, 0, 2, 0, 0, 0, 3}, make([]byte, 160)...)
	const packets = 2000
	send := func(count int) {
		for range count {
			want := r.socket.forwarded.Load() + 1
			if errno := from.send(b, &to); errno != 0 {
				t.Fatal(errno)
			}
			for deadline := time.Now().Add(15 * time.Second); r.socket.forwarded.Load() < want; runtime.Gosched() {
				if time.Now().After(deadline) {
					t.Fatal("a packet was not forwarded")
				}
			}
		}
	}
	send(100)
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	send(packets)
	runtime.ReadMemStats(&after)
	if per := float64(after.Mallocs-before.Mallocs) / packets; per > 0.05 {
		t.Errorf("%v allocations per packet", per)
	}
}

func TestLineMetersAreTold(t *testing.T) {
	r := newRig(t)
	b := append([]byte{0x80, 8, 0, 1, 0, 0, 0, 2, 0, 0, 0, 3}, make([]byte, 160)...)
	for range 10 {
		r.socket.forward(r.put(b, r.source), 1)
	}
	r.socket.flush()
	wire := int64(10 * (172 + 28 + site.Ethernet.Bytes()))
	if got := r.stream.legs[0].in.Total(); got != wire {
		t.Errorf("%d bytes up the line, want %d", got, wire)
	}
}

// FuzzForward feeds both sockets of a leg with what the party, its neighbour and a stranger may send.
func FuzzForward(f *testing.F) {
	f.Add([]byte{0x80, 8, 0, 1, 0, 0, 0, 2, 0, 0, 0, 3, 1, 2, 3}, uint8(0))
	f.Add(append([]byte{0x81, 200, 0, 12, 0, 0, 0, 3}, make([]byte, 44)...), uint8(1))
	f.Add([]byte{0x9f, 0xff, 0, 1, 0, 0, 0, 2, 0, 0, 0, 3, 0xbe, 0xde, 0xff, 0xff}, uint8(2))
	f.Add([]byte{}, uint8(3))
	r := newRig(f)
	sources := []netip.AddrPort{
		r.source, netip.MustParseAddrPort("127.0.0.1:4002"), netip.MustParseAddrPort("192.0.2.9:4000"),
	}
	f.Fuzz(func(t *testing.T, b []byte, which uint8) {
		b = b[:min(len(b), bufferSize)]
		source := sources[int(which>>1)%len(sources)]
		c := r.stream.legs[0].sockets[which&1]
		before := c.forwarded.Load() + c.dropped.Load()
		c.forward(r.put(b, source), 1)
		if after := c.forwarded.Load() + c.dropped.Load(); after != before+1 {
			t.Fatalf("the packet counts %d times", after-before)
		}
		if at := c.state.Load().latched; at.IsValid() && at.Addr() != r.source.Addr() {
			t.Fatalf("latched to %v", at)
		}
	})
}

func BenchmarkForward(b *testing.B) {
	r := newRig(b)
	packet := append([]byte{0x80, 8, 0, 1, 0, 0, 0, 2, 0, 0, 0, 3}, make([]byte, 160)...)
	n := r.put(packet, r.source)
	b.ReportAllocs()
	for b.Loop() {
		r.socket.forward(n, 1)
	}
	if sent := r.socket.forwarded.Load(); sent < uint64(b.N) {
		b.Fatalf("%d of %d packets sent, state %+v", sent, b.N, r.socket.peer.state.Load())
	}
}

// swallow is a party that takes everything.
type swallow struct{}

func (swallow) Send(_ []byte, n int, _ bool) (int, bool) { return n, true }

// A party behind a link is brought by another goroutine than the worker: who looks on still sees one packet after the other
// (the race detector watches).
func TestShownOneAfterTheOtherWithALink(t *testing.T) {
	r, err := New(Options{First: 20000, Last: 29999})
	if err != nil {
		t.Fatal(err)
	}
	local := netip.MustParseAddr("127.0.0.1")
	s, err := r.open(Spec{Legs: [2]Leg{{Local: local, Link: swallow{}}, {Local: local}}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	source := netip.MustParseAddrPort("127.0.0.1:4000")
	s.Expect(1, Peer{RTP: source, RTCP: source, Source: local})
	seen := &count{}
	s.Tap(seen)
	phone := &rig{stream: s, socket: s.legs[1].rtp(), source: source}
	const each = 2000
	done := make(chan struct{})
	go func() {
		defer close(done)
		b := append([]byte{0x80, 8, 0, 1, 0, 0, 0, 2, 0, 0, 0, 4}, make([]byte, 200)...)
		for range each {
			s.Take(0, b[:172], 172)
		}
	}()
	b := append([]byte{0x80, 8, 0, 1, 0, 0, 0, 2, 0, 0, 0, 3}, make([]byte, 160)...)
	for i := range each {
		phone.socket.forward(phone.put(b, source), int64(i))
	}
	<-done
	if seen.packets != 2*each {
		t.Errorf("%d packets were seen", seen.packets)
	}
}
