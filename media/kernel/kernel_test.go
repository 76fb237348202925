package kernel

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"testing"
	"time"
	"unsafe"

	"github.com/cilium/ebpf"
	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	"linehall/internal/lab"
	"linehall/media/packet"
	"linehall/media/rtcp"
)

// The committed object is the one that its source gives.
func TestObjectIsFresh(t *testing.T) {
	if _, err := exec.LookPath("clang-19"); err != nil {
		t.Skip("clang-19 is not here (Debian package clang-19): cannot compile forward.c")
	}
	dir := t.TempDir()
	for _, f := range []string{"forward.c", "generate.go"} {
		b, err := os.ReadFile(f)
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, f), b, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	cmd := exec.CommandContext(t.Context(), "go", "run", "github.com/cilium/ebpf/cmd/bpf2go", "-output-dir", dir, "-cc", "clang-19", "-strip", "llvm-strip-19",
		"-target", "bpfel", "-go-package", "kernel", "-type", "key", "-type", "rule", "-type", "slot", "-type", "control", "-output-stem", "forward",
		"program", "forward.c", "--", "-O2", "-Wall", "-Wextra", "-Werror", "-I/usr/include/x86_64-linux-gnu")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	for _, f := range []string{"forward_bpfel.o", "forward_bpfel.go"} {
		want, err := os.ReadFile(filepath.Join(dir, f))
		if err != nil {
			t.Fatal(err)
		}
		if got, err := os.ReadFile(f); err != nil || !bytes.Equal(got, want) {
			t.Errorf("%s is not what forward.c gives (%v): make gen", f, err)
		}
	}
}

const flowsHere = 64

// world is a phone, the appliance and another phone, each behind a link of its own.
type world struct {
	t            *testing.T
	a, hq, b     *lab.Host
	la, lb       *lab.Link
	path         *Path
	pins         string
	addrA, oursA netip.Addr
	addrB, oursB netip.Addr
}

// requireBPF skips where the program cannot be loaded at all.
func requireBPF(t *testing.T) {
	t.Helper()
	if err := lab.Available(); err != nil {
		t.Skipf("lab: %v", err)
	}
	objects := programObjects{}
	if err := loadProgramObjects(&objects, nil); err != nil {
		if errors.Is(err, ebpf.ErrNotSupported) || errors.Is(err, os.ErrPermission) {
			t.Skipf("this kernel takes no such program: %v", err)
		}
		t.Fatalf("%+v", err)
	}
	_ = objects.Close()
}

func newWorld(t *testing.T, six, clsact bool) *world {
	t.Helper()
	requireBPF(t)
	n := lab.New(t)
	w := &world{t: t, a: n.Host("a"), hq: n.Host("hq"), b: n.Host("b")}
	net := func(i int, host int) string {
		if six {
			return fmt.Sprintf("fd00:9:%d::%d/64", i, host)
		}
		return fmt.Sprintf("10.9.%d.%d/24", i, host)
	}
	w.la, w.lb = n.Link(w.a, net(1, 2), w.hq, net(1, 1)), n.Link(w.b, net(2, 2), w.hq, net(2, 1))
	w.addrA, w.oursA, w.addrB, w.oursB = w.la.Addr(w.a), w.la.Addr(w.hq), w.lb.Addr(w.b), w.lb.Addr(w.hq)
	w.pins = fmt.Sprintf("/sys/fs/bpf/linehall-test/%d-%d", os.Getpid(), rand.Uint32())
	t.Cleanup(func() { discard(w.pins) })
	w.open(clsact)
	return w
}

func (w *world) open(clsact bool) {
	w.t.Helper()
	w.in(func() (err error) {
		w.path, err = Open(Options{Pins: w.pins, Flows: flowsHere, clsact: clsact})
		return err
	})
	w.t.Cleanup(func() { w.in(w.path.Close) })
}

func (w *world) in(f func() error) {
	w.t.Helper()
	if err := w.hq.Do(f); err != nil {
		w.t.Fatalf("%+v", err)
	}
}

func (w *world) listen(h *lab.Host, addr netip.AddrPort) *net.UDPConn {
	w.t.Helper()
	var c *net.UDPConn
	if err := h.Do(func() (err error) { c, err = net.ListenUDP("udp", net.UDPAddrFromAddrPort(addr)); return err }); err != nil {
		w.t.Fatal(err)
	}
	w.t.Cleanup(func() { _ = c.Close() })
	return c
}

func (w *world) enter(f Flow, s rtcp.State) Entry {
	w.t.Helper()
	var e Entry
	w.in(func() (err error) {
		if e, err = w.path.Enter(f, s); errors.Is(err, ErrPreparing) {
			if err = w.path.prepare(); err == nil {
				e, err = w.path.Enter(f, s)
			}
		}
		return err
	})
	return e
}

func addrPort(c *net.UDPConn) netip.AddrPort {
	p := c.LocalAddr().(*net.UDPAddr).AddrPort()
	return netip.AddrPortFrom(p.Addr().Unmap(), p.Port())
}

func rtp(seq uint16, ts, ssrc uint32, pt uint8, payload int) []byte {
	b := make([]byte, 12+payload)
	b[0], b[1] = 0x80, pt
	binary.BigEndian.PutUint16(b[2:], seq)
	binary.BigEndian.PutUint32(b[4:], ts)
	binary.BigEndian.PutUint32(b[8:], ssrc)
	for i := range payload {
		b[12+i] = byte(i + int(seq))
	}
	return b
}

func receive(t *testing.T, c *net.UDPConn, within time.Duration) ([]byte, netip.AddrPort) {
	t.Helper()
	b := make([]byte, 2000)
	_ = c.SetReadDeadline(time.Now().Add(within))
	n, from, err := c.ReadFromUDPAddrPort(b)
	if err != nil {
		return nil, netip.AddrPort{}
	}
	return b[:n], netip.AddrPortFrom(from.Addr().Unmap(), from.Port())
}

// sniffer sees frames as they are on the wire.
func sniffer(t *testing.T, h *lab.Host, device string) int {
	t.Helper()
	var fd int
	err := h.Do(func() (err error) {
		fd, err = unix.Socket(unix.AF_PACKET, unix.SOCK_RAW, int(port(unix.ETH_P_ALL)))
		if err != nil {
			return err
		}
		dev, err := net.InterfaceByName(device)
		if err != nil {
			return err
		}
		return unix.Bind(fd, &unix.SockaddrLinklayer{Protocol: port(unix.ETH_P_ALL), Ifindex: dev.Index})
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = unix.Close(fd) })
	_ = unix.SetsockoptTimeval(fd, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &unix.Timeval{Sec: 5})
	return fd
}

// udpFrame waits for a UDP frame to a port.
func udpFrame(t *testing.T, fd int, to uint16) []byte {
	t.Helper()
	for range 50 {
		b := make([]byte, 2000)
		n, _, err := unix.Recvfrom(fd, b, 0)
		if err != nil {
			break
		}
		b = b[:n]
		at := 14 + 20
		if b[12] == 0x86 {
			at = 14 + 40
		}
		if n > at+8 && binary.BigEndian.Uint16(b[at+2:]) == to {
			return b
		}
	}
	t.Fatal("no such frame")
	return nil
}

func sum(parts ...[]byte) uint16 {
	var s uint32
	for _, b := range parts {
		for i := 0; i+1 < len(b); i += 2 {
			s += uint32(binary.BigEndian.Uint16(b[i:]))
		}
		if len(b)%2 == 1 {
			s += uint32(b[len(b)-1]) << 8
		}
	}
	for s > 0xffff {
		s = s&0xffff + s>>16
	}
	return uint16(s)
}

func TestForwardsOverTheWire(t *testing.T) {
	for _, tc := range []struct {
		name                   string
		six, clsact, noChecked bool
	}{{name: "IPv4"}, {name: "IPv6", six: true}, {name: "clsact", clsact: true}, {name: "IPv4 without UDP checksum", noChecked: true}} {
		t.Run(tc.name, func(t *testing.T) {
			w := newWorld(t, tc.six, tc.clsact)
			// As a real line would carry them: nothing is left to the receiving device.
			sumInSoftware(t, w.a, w.la.Device(w.a))
			a, b := w.listen(w.a, netip.AddrPortFrom(w.addrA, 0)), w.listen(w.b, netip.AddrPortFrom(w.addrB, 0))
			ours, other := w.listen(w.hq, netip.AddrPortFrom(w.oursA, 0)), w.listen(w.hq, netip.AddrPortFrom(w.oursB, 0))
			if tc.noChecked {
				raw, _ := a.SyscallConn()
				_ = raw.Control(func(fd uintptr) { _ = unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_NO_CHECK, 1) })
			}
			if tc.six {
				raw, _ := a.SyscallConn()
				_ = raw.Control(func(fd uintptr) { _ = unix.SetsockoptInt(int(fd), unix.IPPROTO_IPV6, unix.IPV6_TCLASS, 1) })
			} else {
				raw, _ := a.SyscallConn()
				_ = raw.Control(func(fd uintptr) { _ = unix.SetsockoptInt(int(fd), unix.IPPROTO_IP, unix.IP_TOS, 1) })
			}
			if _, err := other.WriteToUDPAddrPort([]byte("so that the neighbour is known"), addrPort(b)); err != nil {
				t.Fatal(err)
			}
			if got, _ := receive(t, b, time.Second*5); got == nil {
				t.Fatal("no way to b")
			}
			e := w.enter(Flow{From: addrPort(a), At: addrPort(ours), As: addrPort(other), To: addrPort(b), DSCP: 46, Clocks: &[128]uint32{8: 8000}}, rtcp.State{})
			wire := sniffer(t, w.b, w.lb.Device(w.b))
			send := func(p []byte) {
				t.Helper()
				if _, err := a.WriteToUDPAddrPort(p, addrPort(ours)); err != nil {
					t.Fatal(err)
				}
			}
			p := rtp(7, 1600, 0xfeed, 8, 160)
			send(p)
			got, from := receive(t, b, 5*time.Second)
			if !bytes.Equal(got, p) || from != addrPort(other) {
				t.Fatalf("b got %x from %v, want it from %v; %+v", got, from, addrPort(other), must(w.path.Read(e)))
			}
			f := udpFrame(t, wire, addrPort(b).Port())
			if tc.six {
				ip, udp := f[14:54], f[54:]
				if class := ip[0]<<4 | ip[1]>>4; class != 46<<2|1 || ip[7] != 63 {
					t.Errorf("class %#x hops %d", class, ip[7])
				}
				if s := sum(ip[8:40], []byte{0, 17, 0, 0}, udp[4:6], udp); s != 0xffff {
					t.Errorf("UDP checksum is wrong: %#x", s)
				}
			} else {
				ip, udp := f[14:34], f[34:]
				if ip[1] != 46<<2|1 || ip[8] != 63 || sum(ip) != 0xffff {
					t.Errorf("TOS %#x TTL %d header sum %#x", ip[1], ip[8], sum(ip))
				}
				udp = udp[:binary.BigEndian.Uint16(udp[4:])]
				if tc.noChecked != (udp[6] == 0 && udp[7] == 0) {
					t.Errorf("checksum %x", udp[6:8])
				}
				if s := sum(ip[12:20], []byte{0, 17}, udp[4:6], udp); !tc.noChecked && s != 0xffff {
					t.Errorf("UDP checksum is wrong: %#x", s)
				}
			}
			// What is not RTP, or not the party's, goes up.
			stranger := w.listen(w.a, netip.AddrPortFrom(w.addrA, 0))
			for _, up := range []struct {
				name string
				c    *net.UDPConn
				p    []byte
			}{
				{"STUN", a, append([]byte{0, 1, 0, 0, 0x21, 0x12, 0xa4, 0x42}, make([]byte, 12)...)},
				{"RTCP", a, append([]byte{0x80, 200, 0, 6}, make([]byte, 24)...)},
				{"short", a, []byte{0x80, 8, 0, 1}},
				{"stranger", stranger, p},
				{"contributors missing", a, append([]byte{0x8f}, p[1:40]...)},
			} {
				if _, err := up.c.WriteToUDPAddrPort(up.p, addrPort(ours)); err != nil {
					t.Fatal(err)
				}
				if got, from := receive(t, ours, 5*time.Second); !bytes.Equal(got, up.p) || from != addrPort(up.c) {
					t.Errorf("%s did not come up: %x", up.name, got)
				}
			}
			c := must(w.path.Read(e))
			ipBytes := uint64(len(p) + 28)
			if tc.six {
				ipBytes += 20
			}
			if c.Packets != 1 || c.Bytes != ipBytes || c.SSRC != 0xfeed {
				t.Errorf("counted %+v", c)
			}
			if st := w.path.Status(); st.Flows != 1 || len(st.Devices) != 2 || !st.Pinned || st.Hook != map[bool]string{false: "tcx", true: "clsact"}[tc.clsact] {
				t.Errorf("status %+v", st)
			}
			if _, err := w.path.Leave(e); err != nil {
				t.Fatal(err)
			}
			send(p)
			if got, _ := receive(t, ours, 5*time.Second); !bytes.Equal(got, p) {
				t.Error("after leaving, the sockets get nothing")
			}
		})
	}
}

// sumInSoftware makes a device of the lab send finished checksums.
func sumInSoftware(t *testing.T, h *lab.Host, device string) {
	t.Helper()
	const setTxChecksum = 0x17 // ETHTOOL_STXCSUM
	value := [2]uint32{setTxChecksum, 0}
	var request [40]byte // struct ifreq: a name of 16 bytes and a pointer
	copy(request[:], device)
	*(*unsafe.Pointer)(unsafe.Pointer(&request[16])) = unsafe.Pointer(&value)
	if err := h.Do(func() error {
		fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM, 0)
		if err != nil {
			return err
		}
		defer unix.Close(fd)
		if _, _, errno := unix.Syscall(unix.SYS_IOCTL, uintptr(fd), unix.SIOCETHTOOL, uintptr(unsafe.Pointer(&request))); errno != 0 {
			return errno
		}
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	runtime.KeepAlive(&value)
}

func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}

// frame4 is an Ethernet frame with an RTP packet, as the test run takes it.
func frame4(f Flow, payload []byte) []byte {
	b := make([]byte, 14+20+8, 14+20+8+len(payload))
	b[12] = 8
	ip := b[14:]
	ip[0], ip[8], ip[9] = 0x45, 64, 17
	binary.BigEndian.PutUint16(ip[2:], uint16(28+len(payload)))
	src, dst := f.From.Addr().As4(), f.At.Addr().As4()
	copy(ip[12:], src[:])
	copy(ip[16:], dst[:])
	binary.BigEndian.PutUint16(ip[10:], ^sum(ip[:20]))
	binary.BigEndian.PutUint16(ip[20:], f.From.Port())
	binary.BigEndian.PutUint16(ip[22:], f.At.Port())
	binary.BigEndian.PutUint16(ip[24:], uint16(8+len(payload)))
	return append(b, payload...)
}

// run gives a frame to the program as if it came from the link of a.
func (w *world) run(frame []byte) (rc uint32, out []byte) {
	w.t.Helper()
	w.in(func() error {
		var err error
		rc, out, err = w.path.objects.Forward.Test(frame)
		return err
	})
	return rc, out
}

const (
	unspec   = uint32(0xffffffff)
	redirect = uint32(7)
)

// testFlow is a flow whose next hop is known.
func testFlow(w *world) Flow {
	b := w.listen(w.b, netip.AddrPortFrom(w.addrB, 4002))
	hq := w.listen(w.hq, netip.AddrPortFrom(w.oursB, 4002))
	if _, err := hq.WriteToUDPAddrPort([]byte("x"), addrPort(b)); err != nil {
		w.t.Fatal(err)
	}
	receive(w.t, b, 5*time.Second)
	return Flow{
		From: netip.AddrPortFrom(w.addrA, 4000), At: netip.AddrPortFrom(w.oursA, 4000), As: addrPort(hq), To: addrPort(b), DSCP: 46,
		Clocks: &[128]uint32{0: 8000, 8: 8000, 96: 90000, 101: 8000, 111: 48000},
	}
}

// The program counts exactly as media/rtcp does, whatever comes.
func TestCountsAsTheModel(t *testing.T) {
	w := newWorld(t, false, false)
	f := testFlow(w)
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	rnd := rand.New(rand.NewPCG(seed, 1))
	var model rtcp.Reception
	e := w.enter(f, model.State())
	seq, ts, ssrc := uint16(65000), uint32(1<<32-5000), uint32(1)
	for i := range 3000 {
		seq++
		ts += 160
		switch r := rnd.IntN(100); {
		case r < 5:
			seq += uint16(rnd.IntN(40)) // lost
		case r < 8:
			seq -= uint16(rnd.IntN(5)) // again, or late
		case r < 9:
			seq += uint16(rnd.IntN(1 << 16)) // anything
		case r < 10:
			ssrc = rnd.Uint32()
		case r < 11:
			ts = rnd.Uint32()
		}
		p := rtp(seq, ts, ssrc, []uint8{0, 8, 8, 8, 8 | 0x80, 96, 101, 13, 111}[rnd.IntN(9)], rnd.IntN(200))
		if rc, _ := w.run(frame4(f, p)); rc != redirect {
			t.Fatalf("packet %d: verdict %d, %+v", i, int32(rc), must(w.path.Read(e)))
		}
		got := must(w.path.Read(e))
		h, _ := packet.ParseSecure(p)
		model.Packet(got.Arrival, h, f.Clocks[h.Type], len(p)+28)
		if diff := cmp.Diff(model.State(), got.State); diff != "" {
			t.Fatalf("packet %d: model (-) and program (+) differ:\n%s", i, diff)
		}
		if rnd.IntN(200) == 0 { // out and in again: nothing is forgotten
			s, err := w.path.Leave(e)
			if err != nil {
				t.Fatal(err)
			}
			e = w.enter(f, s.State)
		}
	}
	if s := model.Snapshot(); s.Lost == 0 || s.Jitter == 0 || s.Sources < 2 {
		t.Errorf("the traffic was too tame: %+v", s)
	}
}

func TestWhatGoesUp(t *testing.T) {
	w := newWorld(t, false, false)
	f := testFlow(w)
	e := w.enter(f, rtcp.State{})
	good := frame4(f, rtp(1, 160, 1, 8, 160))
	alter := func(change func(b []byte)) []byte {
		b := bytes.Clone(good)
		change(b)
		return b
	}
	if rc, out := w.run(good); rc != redirect || out[22] != 63 {
		t.Fatalf("a good packet: %d", int32(rc))
	}
	for name, b := range map[string][]byte{
		"IP options":               alter(func(b []byte) { b[14] = 0x46 }),
		"first fragment":           alter(func(b []byte) { b[20] = 0x20 }),
		"later fragment":           alter(func(b []byte) { b[21] = 5 }),
		"another protocol":         alter(func(b []byte) { b[23] = 6 }),
		"another version":          alter(func(b []byte) { b[14] = 0x55 }),
		"IP length beyond":         alter(func(b []byte) { b[16]++ }),
		"IP length short":          alter(func(b []byte) { b[16], b[17] = 0, 30 }),
		"UDP length wrong":         alter(func(b []byte) { b[39]++ }),
		"last hop":                 alter(func(b []byte) { b[22] = 1 }),
		"RTP version 1":            alter(func(b []byte) { b[42] = 0x40 }),
		"RTCP":                     alter(func(b []byte) { b[43] = 200 }),
		"extension longer than it": alter(func(b []byte) { b[42] |= 0x10; b[56], b[57] = 0xff, 0xff }),
		"another source port":      alter(func(b []byte) { b[35]++ }),
		"another port of ours":     alter(func(b []byte) { b[37]++ }),
		"cut in the header":        good[:50],
		"ARP":                      alter(func(b []byte) { b[13] = 6 }),
		"IPv6 in name only":        alter(func(b []byte) { b[12], b[13] = 0x86, 0xdd }),
	} {
		if rc, out := w.run(b); rc != unspec || !bytes.Equal(out, b) {
			t.Errorf("%s: verdict %d, changed %v", name, int32(rc), !bytes.Equal(out, b))
		}
	}
	// Long enough for every header, random inside: whatever the program does, it must not harm the others.
	seed := rand.Uint64()
	rnd := rand.New(rand.NewPCG(seed, 2))
	for range 2000 {
		b := alter(func(b []byte) {
			for range 1 + rnd.IntN(6) {
				b[12+rnd.IntN(60)] = byte(rnd.Uint32())
			}
		})
		if rc, _ := w.run(b[:34+rnd.IntN(len(b)-33)]); rc != unspec && rc != redirect {
			t.Fatalf("verdict %d, seed %d", int32(rc), seed)
		}
	}
	if c := must(w.path.Read(e)); c.Returned.LastHop == 0 {
		t.Errorf("not counted: %+v", c.Returned)
	}
	if _, err := w.path.Leave(e); err != nil {
		t.Fatal(err)
	}
	for _, tc := range []struct {
		name string
		to   netip.AddrPort
		prep func()
		why  func(Returned) uint32
		size int
	}{
		{"no route", netip.MustParseAddrPort("192.0.2.1:4000"), nil, func(r Returned) uint32 { return r.NoRoute + r.Local }, 160},
		{"no neighbour", netip.AddrPortFrom(netip.MustParseAddr("10.9.2.77"), 4000), nil, func(r Returned) uint32 { return r.NoNeighbour }, 160},
		{"too big", f.To, func() {
			must(w.hq.Command(t.Context(), "ip", "link", "set", w.lb.Device(w.hq), "mtu", "600").CombinedOutput())
		}, func(r Returned) uint32 { return r.TooBig }, 800},
		{"forwarding of lo is off", f.To, func() {
			must(w.hq.Command(t.Context(), "sysctl", "-w", "net.ipv4.conf.lo.forwarding=0").CombinedOutput())
		}, func(r Returned) uint32 { return r.NoForward }, 160},
	} {
		if tc.prep != nil {
			tc.prep()
		}
		g := f
		g.To = tc.to
		e := w.enter(g, rtcp.State{})
		b := frame4(g, rtp(1, 160, 1, 8, tc.size))
		rc, out := w.run(b)
		c := must(w.path.Leave(e))
		if rc != unspec || !bytes.Equal(out, b) || tc.why(c.Returned) != 1 || c.Packets != 0 {
			t.Errorf("%s: verdict %d, %+v", tc.name, int32(rc), c)
		}
	}
}

func TestRefusesWhatItCannotCarry(t *testing.T) {
	w := newWorld(t, false, false)
	good := testFlow(w)
	w.in(func() error {
		_, err := w.path.Leave(w.enter(good, rtcp.State{}))
		return err
	})
	for name, tc := range map[string]struct {
		change func(*Flow)
		want   error
	}{
		"loopback":           {func(f *Flow) { f.From = netip.MustParseAddrPort("127.0.0.1:4000") }, ErrLocal},
		"party on this host": {func(f *Flow) { f.To = netip.AddrPortFrom(w.oursA, 9) }, ErrLocal},
		"versions mixed":     {func(f *Flow) { f.To = netip.MustParseAddrPort("[fd00::1]:4000") }, ErrMixed},
		"no address":         {func(f *Flow) { f.As = netip.AddrPort{} }, ErrMixed},
		"multicast":          {func(f *Flow) { f.To = netip.MustParseAddrPort("224.0.0.1:4000") }, ErrMixed},
	} {
		f := good
		tc.change(&f)
		w.in(func() error {
			if _, err := w.path.Enter(f, rtcp.State{}); !errors.Is(err, tc.want) {
				t.Errorf("%s: %v", name, err)
			}
			return nil
		})
	}
	for i := range flowsHere { // one slot rests
		f := good
		f.From = netip.AddrPortFrom(f.From.Addr(), uint16(5000+i))
		w.in(func() error {
			if _, err := w.path.Enter(f, rtcp.State{}); (i < flowsHere-1) != (err == nil) || err != nil && !errors.Is(err, ErrFull) {
				t.Errorf("flow %d: %v", i, err)
			}
			return nil
		})
	}
}

func TestFlowsOutliveTheProcess(t *testing.T) {
	for _, clsact := range []bool{false, true} {
		w := newWorld(t, false, clsact)
		f := testFlow(w)
		g := f
		g.From = netip.AddrPortFrom(f.From.Addr(), 4400)
		g.At = netip.AddrPortFrom(f.At.Addr(), 4400)
		w.enter(f, rtcp.State{Packets: 1000, Bytes: 200000})
		w.enter(g, rtcp.State{})
		w.in(w.path.Close)
		a, b := w.listen(w.a, f.From), w.listen(w.b, netip.AddrPortFrom(w.addrB, 0))
		_ = b
		if _, err := a.WriteToUDPAddrPort(rtp(1, 160, 1, 8, 160), f.At); err != nil {
			t.Fatal(err)
		}
		w.open(clsact)
		got, e, ok := w.path.Adopt(f.At)
		if !ok || !got.Same(f) {
			t.Fatalf("adopted %v %+v, want %+v", ok, got, f)
		}
		if c := must(w.path.Read(e)); c.Packets != 1001 {
			t.Errorf("counted %d while nobody was there", c.Packets)
		}
		if _, _, ok := w.path.Adopt(f.At); ok {
			t.Error("adopted twice")
		}
		if n := w.path.Sweep(); n != 1 {
			t.Errorf("swept %d", n)
		}
		if _, err := w.path.Leave(e); err != nil {
			t.Fatal(err)
		}
		if n := w.path.Flows(); n != 0 {
			t.Errorf("%d flows", n)
		}
		w.in(w.path.Close)
		if _, err := os.Stat(w.pins); !errors.Is(err, os.ErrNotExist) {
			t.Errorf("pins are left: %v", err)
		}
	}
}
