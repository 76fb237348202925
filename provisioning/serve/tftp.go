package serve

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"time"

	"golang.org/x/net/ipv4"
	"golang.org/x/net/ipv6"
	"golang.org/x/sync/errgroup"

	"linehall/provisioning/phone"
)

// This file serves TFTP to factory-fresh phones that know nothing else (RFC 1350), with the
// options of RFC 2347, 2348 and 2349. One transfer is:
//
//	phone  port A -> our port 69    RRQ name mode [options]
//	phone  port A <- our port B     OACK options      (only if it sent some)
//	phone  port A -> our port B     ACK 0
//	phone  port A <- our port B     DATA 1            ... until a short block
//	phone  port A -> our port B     ACK 1
//
// Port B is new for every transfer and talks to port A only. What is served is
// the bootstrap: no secret ever leaves by TFTP.
const (
	opRRQ   = 1
	opData  = 3
	opACK   = 4
	opError = 5
	opOACK  = 6

	errNotFound = 1
	errAccess   = 2
)

const (
	blockDefault  = 512
	blockMin      = 8
	blockMax      = 1428 // one Ethernet frame: nothing of ours is worth fragments
	maxTransfers  = 64
	maxRequest    = 512
	tftpTries     = 4
	tftpTimeout   = 3 * time.Second
	tftpMaxSecond = 30
)

// RunTFTP answers on the socket until ctx ends, and returns after every
// transfer has ended.
func (s *Server) RunTFTP(ctx context.Context, conn net.PacketConn) error {
	ctx, stop := context.WithCancel(ctx)
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(maxTransfers + 1) // one place is the closer's
	group.Go(func() error {
		<-ctx.Done()
		return conn.Close()
	})
	err := s.readRequests(ctx, conn, group)
	stop() // on an error of the socket as well
	return errors.Join(err, group.Wait())
}

func (s *Server) readRequests(ctx context.Context, conn net.PacketConn, group *errgroup.Group) error {
	read := withDestination(conn)
	buffer := make([]byte, maxRequest+1)
	for {
		n, own, from, err := read(buffer)
		if ctx.Err() != nil {
			return nil
		}
		if err != nil {
			return fmt.Errorf("tftp: %w", err)
		}
		remote, ok := udpAddr(from)
		if !ok || n > maxRequest {
			s.Dropped.Count("tftp", resultSize)
			continue
		}
		request := slices.Clone(buffer[:n])
		if !s.limiter.allow(remote.Addr()) || !group.TryGo(func() error { s.transfer(ctx, own, remote, request); return nil }) {
			s.Dropped.Count("tftp", resultRate)
		}
	}
}

// withDestination reads datagrams with our address that they were sent to: on
// a machine with several, the answer must come from the same one, or the phone
// drops it.
func withDestination(conn net.PacketConn) func([]byte) (int, netip.Addr, net.Addr, error) {
	bound, _ := udpAddr(conn.LocalAddr())
	if bound.Addr().IsValid() && !bound.Addr().IsUnspecified() {
		return func(b []byte) (int, netip.Addr, net.Addr, error) {
			n, from, err := conn.ReadFrom(b)
			return n, bound.Addr(), from, err
		}
	}
	if v6 := ipv6.NewPacketConn(conn); v6.SetControlMessage(ipv6.FlagDst, true) == nil {
		return func(b []byte) (int, netip.Addr, net.Addr, error) {
			n, control, from, err := v6.ReadFrom(b)
			if control == nil {
				return n, netip.Addr{}, from, err
			}
			return n, addrFrom(control.Dst), from, err
		}
	}
	v4 := ipv4.NewPacketConn(conn)
	if v4.SetControlMessage(ipv4.FlagDst, true) != nil {
		return func(b []byte) (int, netip.Addr, net.Addr, error) {
			n, from, err := conn.ReadFrom(b)
			return n, netip.Addr{}, from, err
		}
	}
	return func(b []byte) (int, netip.Addr, net.Addr, error) {
		n, control, from, err := v4.ReadFrom(b)
		if control == nil {
			return n, netip.Addr{}, from, err
		}
		return n, addrFrom(control.Dst), from, err
	}
}

func addrFrom(ip net.IP) netip.Addr {
	addr, _ := netip.AddrFromSlice(ip)
	return addr.Unmap()
}

func udpAddr(addr net.Addr) (netip.AddrPort, bool) {
	udp, ok := addr.(*net.UDPAddr)
	if !ok {
		return netip.AddrPort{}, false
	}
	at := udp.AddrPort()
	return netip.AddrPortFrom(at.Addr().Unmap(), at.Port()), at.Port() != 0
}

// readRequest is a parsed RRQ.
type readRequest struct {
	name    string
	block   int
	timeout time.Duration
	options []string // accepted names and values, in order, for the OACK
	size    bool     // the phone asked for tsize
}

// errMalformed means that a datagram is no request at all.
var errMalformed = errors.New("malformed request")

// errRefusedWrite means that somebody wants to store a file.
var errRefusedWrite = errors.New("not a read request")

// parseRRQ reads opcode, name, mode and options. Unknown options are ignored
// (RFC 2347), bad values of known ones as well.
func parseRRQ(datagram []byte) (readRequest, error) {
	if len(datagram) < 2 || datagram[len(datagram)-1] != 0 {
		return readRequest{}, errMalformed
	}
	if binary.BigEndian.Uint16(datagram) != opRRQ {
		return readRequest{}, errRefusedWrite
	}
	parts := strings.Split(string(datagram[2:len(datagram)-1]), "\x00")
	if len(parts) < 2 || len(parts)%2 != 0 {
		return readRequest{}, errMalformed
	}
	r := readRequest{name: strings.TrimPrefix(parts[0], "/"), block: blockDefault, timeout: tftpTimeout}
	if mode := strings.ToLower(parts[1]); mode != "octet" && mode != "netascii" {
		return readRequest{}, errMalformed
	}
	seen := map[string]bool{}
	for i := 2; i < len(parts); i += 2 {
		option := strings.ToLower(parts[i])
		value, err := strconv.Atoi(parts[i+1])
		if err != nil || seen[option] {
			continue
		}
		seen[option] = true
		switch {
		case option == "blksize" && value >= blockMin && value <= 65464:
			r.block = min(value, blockMax)
			r.options = append(r.options, option, strconv.Itoa(r.block))
		case option == "timeout" && value >= 1 && value <= 255:
			if value <= tftpMaxSecond { // a longer one is not accepted, ours stays
				r.timeout = time.Duration(value) * time.Second
				r.options = append(r.options, option, strconv.Itoa(value))
			}
		case option == "tsize" && value == 0:
			r.size = true
		}
	}
	return r, nil
}

// transfer answers one request from a socket of its own.
func (s *Server) transfer(ctx context.Context, own netip.Addr, remote netip.AddrPort, datagram []byte) {
	request, err := parseRRQ(datagram)
	if errors.Is(err, errMalformed) {
		s.Dropped.Count("tftp", "malformed")
		return // an answer would make us a reflector
	}
	conn, err2 := dialBack(ctx, own, remote)
	if err2 != nil {
		s.Dropped.Count("tftp", resultError)
		return
	}
	defer func() { _ = conn.Close() }() // a datagram socket has nothing left to say
	local, _ := udpAddr(conn.LocalAddr())
	a := ask{remote: remote.Addr(), local: local.Addr()}
	result := answer{result: resultMethod, brand: phone.Other}
	if err == nil {
		if plain(request.name) {
			a.name = request.name
			result = s.answer(ctx, a)
		} else {
			result.result = resultNone
		}
	}
	s.requests.WithLabelValues(result.brand, result.result).Inc()
	s.log(a, result)
	switch {
	case result.result == resultMethod:
		reply(conn, tftpError(errAccess, "read only"))
	case result.result == resultOutside || result.result == resultSwept:
		return // a forged source: no answer, no reflection
	case result.content == nil:
		reply(conn, tftpError(errNotFound, "not found"))
	default:
		send(ctx, conn, request, result.content)
	}
}

// reply sends one datagram that nobody acknowledges.
func reply(conn *net.UDPConn, datagram []byte) {
	_, _ = conn.Write(datagram) // lost or not, the phone asks again
}

// dialBack opens a new port towards the phone, on the address it asked at. The
// socket is connected, so that the kernel drops what others send.
func dialBack(ctx context.Context, own netip.Addr, remote netip.AddrPort) (*net.UDPConn, error) {
	dialer := net.Dialer{}
	if own.IsValid() {
		dialer.LocalAddr = net.UDPAddrFromAddrPort(netip.AddrPortFrom(own, 0))
	}
	conn, err := dialer.DialContext(ctx, "udp", remote.String())
	if err != nil {
		return nil, err
	}
	udp, ok := conn.(*net.UDPConn)
	if !ok {
		return nil, errors.Join(errMalformed, conn.Close())
	}
	return udp, nil
}

// send carries the content over, block by block. It retransmits on a timeout
// only, never on a second ACK: that would double every block from then on.
func send(ctx context.Context, conn *net.UDPConn, request readRequest, content []byte) {
	stop := context.AfterFunc(ctx, func() { _ = conn.SetDeadline(time.Unix(1, 0)) })
	defer stop()
	if request.size {
		request.options = append(request.options, "tsize", strconv.Itoa(len(content)))
	}
	if len(request.options) > 0 {
		oack := []byte{0, opOACK}
		for _, text := range request.options {
			oack = append(append(oack, text...), 0)
		}
		if !exchangeBlock(ctx, conn, request.timeout, oack, 0) {
			return
		}
	}
	for block, rest := uint16(1), content; ; block++ {
		part := rest[:min(len(rest), request.block)]
		rest = rest[len(part):]
		datagram := append(binary.BigEndian.AppendUint16([]byte{0, opData}, block), part...)
		if !exchangeBlock(ctx, conn, request.timeout, datagram, block) || len(part) < request.block {
			return
		}
	}
}

// exchangeBlock sends a datagram until its ACK is there.
func exchangeBlock(ctx context.Context, conn *net.UDPConn, timeout time.Duration, datagram []byte, block uint16) bool {
	buffer := make([]byte, maxRequest)
	want := binary.BigEndian.AppendUint16([]byte{0, opACK}, block)
	for range tftpTries {
		if _, err := conn.Write(datagram); err != nil {
			return false
		}
		deadline := time.Now().Add(timeout)
		for ctx.Err() == nil {
			if conn.SetReadDeadline(deadline) != nil {
				return false
			}
			n, err := conn.Read(buffer)
			if err != nil {
				break // the time is over, or the phone's port is gone
			}
			if n >= 4 && bytes.Equal(buffer[:4], want) {
				return true
			}
			if n >= 2 && binary.BigEndian.Uint16(buffer) == opError {
				return false
			}
		}
	}
	return false
}

func tftpError(code uint16, text string) []byte {
	return append(append(binary.BigEndian.AppendUint16([]byte{0, opError}, code), text...), 0)
}
