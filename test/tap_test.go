package test

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/maphash"
	"net"
	"slices"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"linehall/internal/lab"
)

// What a packet is, by its clear RTP header.
const (
	otherPacket = iota
	voicePacket // of a call or a meeting
	videoPacket
	invitePacket
	byePacket
	officePacket // not ours
	kinds
)

// seenPacket is one packet that came in at a device, with the kernel's own time.
type seenPacket struct {
	at     int64 // nanoseconds
	octets int   // on a leased Ethernet line: header and check sequence included
	kind   int
	ssrc   uint32 // of RTP
	key    uint64
}

// tap notes what comes in at devices.
type tap struct {
	t    *testing.T
	fd   int
	seed maphash.Seed
	done sync.WaitGroup
	stop chan struct{}

	mu   sync.Mutex // guards the rest
	from int64      // when the measurement began
	seen []seenPacket
}

// listenAt opens a tap on a device of a host's network. Taps with one seed give the same packet the same key.
func listenAt(t *testing.T, host *lab.Host, device string, seed maphash.Seed) *tap {
	t.Helper()
	p := &tap{t: t, fd: -1, seed: seed, stop: make(chan struct{})}
	err := host.Do(func() error {
		at, err := net.InterfaceByName(device)
		if err != nil {
			return err
		}
		if p.fd, err = unix.Socket(unix.AF_PACKET, unix.SOCK_RAW|unix.SOCK_CLOEXEC, 0); err != nil {
			return err
		}
		for _, err := range []error{
			unix.SetsockoptInt(p.fd, unix.SOL_SOCKET, unix.SO_TIMESTAMPNS, 1),
			unix.SetsockoptInt(p.fd, unix.SOL_SOCKET, unix.SO_RCVBUFFORCE, 32<<20),
			unix.SetsockoptTimeval(p.fd, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &unix.Timeval{Usec: 200_000}),
			unix.Bind(p.fd, &unix.SockaddrLinklayer{Protocol: htons(unix.ETH_P_ALL), Ifindex: at.Index}),
		} {
			if err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		t.Fatalf("tap at %s of %s: %v", device, host.Name, err)
	}
	p.done.Go(p.run)
	t.Cleanup(p.end)
	return p
}

func (p *tap) end() {
	select {
	case <-p.stop:
		return
	default:
	}
	close(p.stop)
	p.done.Wait()
	_ = unix.Close(p.fd)
}

// begin starts the measurement: by the packets' own times, as the tap may not have read them all yet.
func (p *tap) begin() {
	p.mu.Lock()
	p.from = time.Now().UnixNano()
	p.mu.Unlock()
}

// packets are those since the beginning.
func (p *tap) packets() []seenPacket {
	p.mu.Lock()
	defer p.mu.Unlock()
	return slices.DeleteFunc(slices.Clone(p.seen), func(s seenPacket) bool { return s.at < p.from })
}

func (p *tap) run() {
	const headers = 128 // enough to tell packets apart
	buffer, control := make([]byte, headers), make([]byte, 128)
	for {
		select {
		case <-p.stop:
			return
		default:
		}
		n, length, _, from, err := unix.Recvmsg(p.fd, buffer, control, unix.MSG_TRUNC)
		if errors.Is(err, unix.EAGAIN) || errors.Is(err, unix.EINTR) {
			continue
		}
		link, ok := from.(*unix.SockaddrLinklayer)
		if err != nil || !ok {
			return
		}
		if link.Pkttype == unix.PACKET_OUTGOING {
			continue
		}
		whole := n // with MSG_TRUNC the length of the frame
		p.note(buffer[:min(n, headers)], whole, control[:length])
	}
}

func (p *tap) note(frame []byte, whole int, control []byte) {
	const checkSequence = 4
	s := seenPacket{octets: max(60, whole) + checkSequence, at: time.Now().UnixNano()}
	s.kind, s.ssrc = kindOf(frame)
	if messages, err := unix.ParseSocketControlMessage(control); err == nil {
		for _, m := range messages {
			if m.Header.Type == unix.SO_TIMESTAMPNS && len(m.Data) >= 16 {
				s.at = int64(binary.NativeEndian.Uint64(m.Data))*1e9 + int64(binary.NativeEndian.Uint64(m.Data[8:])) //nolint:gosec // a time
			}
		}
	}
	s.key = maphash.Bytes(p.seed, frame[min(14, len(frame)):])
	p.mu.Lock()
	p.seen = append(p.seen, s)
	p.mu.Unlock()
}

func kindOf(frame []byte) (kind int, ssrc uint32) {
	if len(frame) < 54 || binary.BigEndian.Uint16(frame[12:]) != unix.ETH_P_IP {
		return otherPacket, 0
	}
	if frame[23] != unix.IPPROTO_UDP {
		if binary.BigEndian.Uint16(frame[34:]) == officePort || binary.BigEndian.Uint16(frame[36:]) == officePort {
			return officePacket, 0
		}
		return otherPacket, 0
	}
	text := frame[14+int(frame[14]&15)*4+8:]
	switch {
	case bytes.HasPrefix(text, []byte("INVITE ")):
		return invitePacket, 0
	case bytes.HasPrefix(text, []byte("BYE ")):
		return byePacket, 0
	case len(text) < 12 || text[0]>>6 != 2 || text[1] >= 192 && text[1] <= 223:
		return otherPacket, 0
	}
	ssrc = binary.BigEndian.Uint32(text[8:])
	switch text[1] & 0x7f {
	case 0, 8, 9, 111:
		return voicePacket, ssrc
	case 96, 97:
		return videoPacket, ssrc
	}
	return otherPacket, 0
}

// passage is what became of the packets between two taps, one before a line's shaper and one behind it.
type passage struct {
	Offered     int           // octets
	Most        int           // octets in the fullest second
	Lost        [kinds]int    // by kind
	Packets     [kinds]int    // by kind
	Dropped     int64         // packets, by the shaper's own count
	VoiceMedian time.Duration // what the shaper added
	VoiceP99    time.Duration
	VoiceMax    time.Duration
}

// follow compares two taps. Packets of the last second may still be under way and are not counted as lost.
func follow(before, behind []seenPacket) (p passage) {
	came := make(map[uint64][]int64, len(behind))
	for _, s := range behind {
		came[s.key] = append(came[s.key], s.at)
	}
	var delays []time.Duration
	from, sum := 0, 0
	before = slices.DeleteFunc(slices.Clone(before), func(s seenPacket) bool { return s.kind == officePacket })
	for _, s := range before {
		p.Offered += s.octets
		sum += s.octets
		for s.at-before[from].at >= int64(time.Second) {
			sum -= before[from].octets
			from++
		}
		p.Most = max(p.Most, sum)
		if before[len(before)-1].at-s.at < int64(time.Second) {
			continue
		}
		p.Packets[s.kind]++
		times := came[s.key]
		if len(times) == 0 {
			p.Lost[s.kind]++
			continue
		}
		came[s.key] = times[1:]
		if s.kind == voicePacket {
			delays = append(delays, time.Duration(times[0]-s.at))
		}
	}
	if len(delays) > 0 {
		slices.Sort(delays)
		p.VoiceMedian, p.VoiceP99, p.VoiceMax = delays[len(delays)/2], delays[len(delays)*99/100], delays[len(delays)-1]
	}
	return p
}

func (p passage) String() string {
	ms := func(d time.Duration) float64 { return float64(d.Microseconds()) / 1000 }
	return fmt.Sprintf("fullest second %.3f Mbit/s; %d voice, %d video, %d other packets, lost %v, dropped %d; voices waited %.1f ms, p99 %.1f, at most %.1f",
		float64(p.Most)*8/1e6, p.Packets[voicePacket], p.Packets[videoPacket], p.Packets[otherPacket], p.Lost, p.Dropped, ms(p.VoiceMedian), ms(p.VoiceP99), ms(p.VoiceMax))
}

// between adds up the octets of a kind in a span of time.
func between(list []seenPacket, kind int, from, to int64) (octets int) {
	for _, s := range list {
		if s.kind == kind && s.at >= from && s.at < to {
			octets += s.octets
		}
	}
	return octets
}

// longestGap is the longest time between two packets of one voice.
func longestGap(list []seenPacket) (gap time.Duration) {
	last := map[uint32]int64{}
	for _, s := range list {
		if s.kind != voicePacket {
			continue
		}
		if before, ok := last[s.ssrc]; ok {
			gap = max(gap, time.Duration(s.at-before))
		}
		last[s.ssrc] = s.at
	}
	return gap
}
