package discover

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// Client asks a DHCP server (RFC 2131) as a phone does. It takes no address: the interface keeps what it has.
type Client struct {
	Interface string
	MAC       string // 12 hex digits
	Class     string // option 60; "" = none
}

const (
	dhcpTries = 4
	dhcpWait  = 2 * time.Second

	dhcpDiscover, dhcpOffer, dhcpRequest, dhcpAck = 1, 2, 3, 5
)

// wanted are the options that phones ask for.
var wanted = []byte{1, 2, 3, 4, 6, 15, 42, 43, 66, 67, 120, 125, 132, 133, 150, 159, 160}

// magic begins the options (RFC 2131 section 3).
var magic = []byte{0x63, 0x82, 0x53, 0x63}

var errDHCP = errors.New("dhcp")

// DHCP gets an offer and takes it; the options are those of the acknowledgement.
func DHCP(ctx context.Context, c Client) (Options, error) {
	mac, err := hex.DecodeString(c.MAC)
	if err != nil || len(mac) != 6 {
		return nil, fmt.Errorf("%w: %q is no MAC address", errDHCP, c.MAC)
	}
	lc := net.ListenConfig{Control: func(_, _ string, raw syscall.RawConn) error {
		var err error
		if control := raw.Control(func(fd uintptr) {
			err = errors.Join(
				unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_REUSEADDR, 1),
				unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_BROADCAST, 1),
				unix.BindToDevice(int(fd), c.Interface))
		}); control != nil {
			return control
		}
		return err
	}}
	conn, err := lc.ListenPacket(ctx, "udp4", "0.0.0.0:68")
	if err != nil {
		return nil, fmt.Errorf("%w: %w", errDHCP, err)
	}
	defer conn.Close() //nolint:errcheck // a datagram socket has nothing left to say
	x := &lease{client: c, conn: conn, mac: mac}
	if _, err := rand.Read(x.id[:]); err != nil {
		return nil, err
	}
	offer, at, err := x.exchange(ctx, dhcpDiscover, dhcpOffer, nil)
	if err != nil {
		return nil, err
	}
	address := at.As4()
	ack, _, err := x.exchange(ctx, dhcpRequest, dhcpAck, Options{50: address[:], 54: offer[54]})
	return ack, err
}

// lease is one exchange.
type lease struct {
	client Client
	conn   net.PacketConn
	mac    []byte
	id     [4]byte
}

// exchange sends a message until its answer is there.
func (x *lease) exchange(ctx context.Context, kind, answer byte, more Options) (Options, netip.Addr, error) {
	for range dhcpTries {
		if _, err := x.conn.WriteTo(x.message(kind, more), &net.UDPAddr{IP: net.IPv4bcast, Port: 67}); err != nil {
			return nil, netip.Addr{}, fmt.Errorf("%w: %w", errDHCP, err)
		}
		deadline := time.Now().Add(dhcpWait)
		buffer := make([]byte, 2048)
		for ctx.Err() == nil {
			if err := x.conn.SetReadDeadline(deadline); err != nil {
				return nil, netip.Addr{}, err
			}
			n, _, err := x.conn.ReadFrom(buffer)
			if err != nil {
				break
			}
			if options, at, ok := x.read(buffer[:n]); ok && len(options[53]) == 1 && options[53][0] == answer {
				return options, at, nil
			}
		}
	}
	return nil, netip.Addr{}, fmt.Errorf("%w: %w", errDHCP, errors.Join(ErrSilence, ctx.Err()))
}

// message is a BOOTREQUEST that wants its answer as a broadcast.
func (x *lease) message(kind byte, more Options) []byte {
	b := make([]byte, 236, 548)
	b[0], b[1], b[2] = 1, 1, 6
	copy(b[4:8], x.id[:])
	binary.BigEndian.PutUint16(b[10:], 0x8000)
	copy(b[28:], x.mac)
	b = append(append(b, magic...), 53, 1, kind)
	add := func(number int, value []byte) { b = append(append(b, byte(number), byte(len(value))), value...) } //nolint:gosec // ours, short
	add(61, append([]byte{1}, x.mac...))
	if x.client.Class != "" {
		add(60, []byte(x.client.Class))
	}
	for _, number := range []int{50, 54} {
		if value := more[number]; value != nil {
			add(number, value)
		}
	}
	add(55, wanted)
	b = append(b, 255)
	return append(b, make([]byte, max(0, 300-len(b)))...) // the shortest that relays pass (RFC 1542 section 2.1)
}

// read is an answer to us.
func (x *lease) read(b []byte) (Options, netip.Addr, bool) {
	if len(b) < 240 || b[0] != 2 || !bytes.Equal(b[4:8], x.id[:]) || !bytes.Equal(b[28:34], x.mac) || !bytes.Equal(b[236:240], magic) {
		return nil, netip.Addr{}, false
	}
	options := Options{}
	for rest := b[240:]; len(rest) >= 2 && rest[0] != 255; {
		if rest[0] == 0 {
			rest = rest[1:]
			continue
		}
		length := int(rest[1])
		if len(rest) < 2+length {
			break
		}
		options[int(rest[0])] = append(options[int(rest[0])], rest[2:2+length]...) // long ones are split (RFC 3396)
		rest = rest[2+length:]
	}
	return options, netip.AddrFrom4([4]byte(b[16:20])), true
}
