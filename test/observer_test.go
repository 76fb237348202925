package test

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
	"unsafe"

	"golang.org/x/net/bpf"
	"golang.org/x/sys/unix"
)

// observer sees the SIP of calls on the loopback interface with the kernel's own times, so that what it says of the
// appliance holds nothing of the phones' time: a message's time is when the kernel put it into the receiver's socket.
type observer struct {
	port uint16 // the appliance's

	mu      sync.Mutex // guards the rest
	came    map[string]time.Time
	added   map[string]time.Duration   // by call: what its steps have taken so far
	delays  map[string][]time.Duration // by step
	strange int                        // messages that no earlier one explains: a repetition, a call of before
}

// The steps of a set-up in which a caller waits for the appliance.
const (
	stepChallenge = "INVITE to 401"
	stepInvite    = "INVITE to INVITE"
	stepRinging   = "180 to 180"
	allSteps      = "INVITE to ringing" // the three of one call together
)

// observe watches until ctx ends; the appliance's UDP port is told by number. It needs the right to open a packet socket.
func observe(ctx context.Context, t *testing.T, port uint16) *observer {
	t.Helper()
	fd, err := unix.Socket(unix.AF_PACKET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if errors.Is(err, unix.EPERM) {
		t.Skip("a packet socket needs CAP_NET_RAW")
	}
	if err != nil {
		t.Fatal(err)
	}
	lo := loopbackIndex(t)
	for _, err := range []error{
		attach(fd),
		unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_TIMESTAMPNS, 1),
		unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_RCVBUFFORCE, 32<<20),
		unix.SetsockoptTimeval(fd, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &unix.Timeval{Usec: 200_000}),
		unix.Bind(fd, &unix.SockaddrLinklayer{Protocol: htons(unix.ETH_P_IP), Ifindex: lo}),
	} {
		if err != nil {
			t.Fatal(err)
		}
	}
	o := &observer{port: port, came: map[string]time.Time{}, added: map[string]time.Duration{}, delays: map[string][]time.Duration{}}
	done := make(chan struct{})
	go func() {
		defer close(done)
		defer unix.Close(fd) //nolint:errcheck // of a test
		o.run(ctx, fd)
	}()
	t.Cleanup(func() { <-done })
	return o
}

func loopbackIndex(t *testing.T) int {
	t.Helper()
	raw, err := os.ReadFile("/sys/class/net/lo/ifindex")
	if err != nil {
		t.Fatal(err)
	}
	var index int
	if _, err := fmt.Sscan(string(raw), &index); err != nil {
		t.Fatal(err)
	}
	return index
}

func htons(v uint16) uint16 { return v<<8 | v>>8 }

// attach lets through UDP over IPv4 that begins with INVITE, or is a response 401 or 180.
func attach(fd int) error {
	const udp, header = 9, 20 // protocol; our datagrams carry no IP options
	payload := uint32(header + 8)
	program, err := bpf.Assemble([]bpf.Instruction{
		bpf.LoadAbsolute{Off: udp, Size: 1},
		bpf.JumpIf{Cond: bpf.JumpNotEqual, Val: unix.IPPROTO_UDP, SkipTrue: 7},
		bpf.LoadAbsolute{Off: payload, Size: 4},
		bpf.JumpIf{Cond: bpf.JumpEqual, Val: binary.BigEndian.Uint32([]byte("INVI")), SkipTrue: 4},
		bpf.JumpIf{Cond: bpf.JumpNotEqual, Val: binary.BigEndian.Uint32([]byte("SIP/")), SkipTrue: 4},
		bpf.LoadAbsolute{Off: payload + 7, Size: 4},
		bpf.JumpIf{Cond: bpf.JumpEqual, Val: binary.BigEndian.Uint32([]byte(" 180")), SkipTrue: 1},
		bpf.JumpIf{Cond: bpf.JumpNotEqual, Val: binary.BigEndian.Uint32([]byte(" 401")), SkipTrue: 1},
		bpf.RetConstant{Val: 1 << 16},
		bpf.RetConstant{Val: 0},
	})
	if err != nil {
		return err
	}
	filter := make([]unix.SockFilter, len(program))
	for i, in := range program {
		filter[i] = unix.SockFilter{Code: in.Op, Jt: in.Jt, Jf: in.Jf, K: in.K}
	}
	return unix.SetsockoptSockFprog(fd, unix.SOL_SOCKET, unix.SO_ATTACH_FILTER, &unix.SockFprog{Len: uint16(len(filter)), Filter: &filter[0]}) //nolint:gosec // ten
}

func (o *observer) run(ctx context.Context, fd int) {
	packet, control := make([]byte, 1<<16), make([]byte, 256)
	for ctx.Err() == nil {
		n, size, _, from, err := unix.Recvmsg(fd, packet, control, 0)
		if err != nil {
			continue // the time of waiting is over
		}
		if link, ok := from.(*unix.SockaddrLinklayer); !ok || link.Pkttype != unix.PACKET_HOST {
			continue // loopback shows each datagram twice
		}
		if at := kernelTime(control[:size]); !at.IsZero() && n > 28 {
			o.take(at, binary.BigEndian.Uint16(packet[20:]), binary.BigEndian.Uint16(packet[22:]), packet[28:n])
		}
	}
}

func kernelTime(control []byte) time.Time {
	messages, err := unix.ParseSocketControlMessage(control)
	if err != nil {
		return time.Time{}
	}
	for _, m := range messages {
		if m.Header.Level == unix.SOL_SOCKET && m.Header.Type == unix.SCM_TIMESTAMPNS && len(m.Data) >= int(unsafe.Sizeof(unix.Timespec{})) {
			ts := (*unix.Timespec)(unsafe.Pointer(&m.Data[0]))
			return time.Unix(ts.Unix())
		}
	}
	return time.Time{}
}

// take pairs what reaches the appliance with what leaves it for the same call: the parties' numbers are in From and To on
// both sides, and a phone has one call at a time.
func (o *observer) take(at time.Time, from, to uint16, text []byte) {
	kind := "180"
	switch {
	case bytes.HasPrefix(text, []byte("INVITE")):
		kind = "INVITE"
	case bytes.HasPrefix(text, []byte("SIP/2.0 401")):
		kind = "401"
	}
	call := user(text, "From") + " " + user(text, "To")
	o.mu.Lock()
	defer o.mu.Unlock()
	switch {
	case to == o.port && kind == "INVITE":
		o.came[stepChallenge+call], o.came[stepInvite+call] = at, at
	case to == o.port && kind == "180":
		o.came[stepRinging+call] = at
	case from == o.port:
		o.left(at, map[string]string{"INVITE": stepInvite, "180": stepRinging, "401": stepChallenge}[kind], call)
	}
}

func (o *observer) left(at time.Time, step, call string) {
	came, ok := o.came[step+call]
	if !ok {
		o.strange++
		return
	}
	delete(o.came, step+call)
	o.delays[step] = append(o.delays[step], at.Sub(came))
	o.added[call] += at.Sub(came)
	if step == stepRinging {
		o.delays[allSteps] = append(o.delays[allSteps], o.added[call])
		delete(o.added, call)
	}
}

// user is the user part of the URI in From or To.
func user(text []byte, header string) string {
	for line := range strings.Lines(string(text)) {
		if rest, ok := strings.CutPrefix(line, header+":"); ok {
			if _, uri, ok := strings.Cut(rest, "sip:"); ok {
				name, _, _ := strings.Cut(uri, "@")
				return name
			}
		}
	}
	return ""
}

// quantile returns a step's delay that the share q of its messages did not exceed, and how many messages there were.
func (o *observer) quantile(step string, q float64) (time.Duration, int) {
	o.mu.Lock()
	defer o.mu.Unlock()
	all := slices.Sorted(slices.Values(o.delays[step]))
	if len(all) == 0 {
		return 0, 0
	}
	return all[min(int(q*float64(len(all))), len(all)-1)], len(all)
}

// report is one line for each step.
func (o *observer) report(t *testing.T) {
	t.Helper()
	for _, step := range []string{stepChallenge, stepInvite, stepRinging, allSteps} {
		half, n := o.quantile(step, 0.5)
		most, _ := o.quantile(step, 0.99)
		worst, _ := o.quantile(step, 1)
		t.Logf("%-18s %5d times, p50 %.2f ms, p99 %.2f ms, at most %.2f ms", step, n, millis(half), millis(most), millis(worst))
	}
}

func millis(d time.Duration) float64 { return float64(d) / float64(time.Millisecond) }

// forget begins anew.
func (o *observer) forget() {
	o.mu.Lock()
	defer o.mu.Unlock()
	clear(o.came)
	clear(o.added)
	clear(o.delays)
	o.strange = 0
}
