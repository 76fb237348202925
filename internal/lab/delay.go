package lab

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// Latency is what a carrier's network adds to every packet.
type Latency struct {
	Delay  time.Duration
	Jitter time.Duration // more or less than the delay, without changing the order of packets
}

// longestFrame is larger than any frame of a link.
const longestFrame = 2048

// waiting bounds the frames under way in one direction: seconds of a fast line.
const waiting = 1 << 15

// Carry passes frames on between two links of a host, later by the latency, in place of a bridge. What a shaper drops is dropped
// when the frame leaves, so shapers go on the devices as usual. It ends with the test.
func (n *Net) Carry(host *Host, a, b *Link, l Latency) {
	n.t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	var running sync.WaitGroup
	sockets := [2]int{-1, -1}
	for i, link := range []*Link{a, b} {
		err := host.Do(func() (err error) {
			sockets[i], err = openRaw(link.Device(host))
			return err
		})
		if err != nil {
			cancel()
			n.t.Fatalf("lab: %v", err)
		}
	}
	for i := range sockets {
		queue := make(chan delayed, waiting)
		running.Go(func() { receive(ctx, sockets[i], l, queue) })
		running.Go(func() { release(sockets[1-i], queue) })
	}
	n.t.Cleanup(func() {
		cancel()
		running.Wait()
		for _, fd := range sockets {
			_ = unix.Close(fd) // of a network that goes away
		}
	})
}

// delayed is a frame and when it is let go.
type delayed struct {
	frame []byte
	due   time.Time
}

func openRaw(device string) (int, error) {
	at, err := net.InterfaceByName(device)
	if err != nil {
		return -1, fmt.Errorf("device %s: %w", device, err)
	}
	const every = unix.ETH_P_ALL<<8&0xff00 | unix.ETH_P_ALL>>8 // in network order
	fd, err := unix.Socket(unix.AF_PACKET, unix.SOCK_RAW|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return -1, fmt.Errorf("packet socket: %w", err)
	}
	const buffer = 8 << 20
	err = errors.Join(
		unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_RCVBUFFORCE, buffer),
		// What comes in has a header that says whose checksum is still to be filled in; it goes out with the same one.
		unix.SetsockoptInt(fd, unix.SOL_PACKET, unix.PACKET_VNET_HDR, 1),
		unix.SetsockoptTimeval(fd, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &unix.Timeval{Usec: 200_000}),
		unix.SetsockoptPacketMreq(fd, unix.SOL_PACKET, unix.PACKET_ADD_MEMBERSHIP, &unix.PacketMreq{Ifindex: int32(at.Index), Type: unix.PACKET_MR_PROMISC}), //nolint:gosec // an index
		unix.Bind(fd, &unix.SockaddrLinklayer{Protocol: every, Ifindex: at.Index}),
	)
	if err != nil {
		return -1, errors.Join(fmt.Errorf("packet socket at %s: %w", device, err), unix.Close(fd))
	}
	return fd, nil
}

// receive takes what comes in at a device.
func receive(ctx context.Context, fd int, l Latency, queue chan<- delayed) {
	defer close(queue)
	buffer := make([]byte, longestFrame)
	var last time.Time
	for ctx.Err() == nil {
		n, from, err := unix.Recvfrom(fd, buffer, 0)
		if err != nil {
			if errors.Is(err, unix.EAGAIN) || errors.Is(err, unix.EINTR) {
				continue
			}
			return
		}
		if link, ok := from.(*unix.SockaddrLinklayer); !ok || link.Pkttype == unix.PACKET_OUTGOING {
			continue
		}
		due := time.Now().Add(l.Delay)
		if l.Jitter > 0 {
			due = due.Add(time.Duration(rand.Int64N(int64(2*l.Jitter))) - l.Jitter) //nolint:gosec // not a secret
		}
		if due.Before(last) {
			due = last
		}
		last = due
		select {
		case queue <- delayed{append([]byte(nil), buffer[:n]...), due}:
		default: // more than any line carries
		}
	}
}

// release sends what is due out of the other device.
func release(fd int, queue <-chan delayed) {
	for d := range queue {
		time.Sleep(time.Until(d.due))  // the latency itself
		_, _ = unix.Write(fd, d.frame) // dropped by the shaper, or the network is going away
	}
}
