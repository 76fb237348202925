package discover

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strings"
	"time"

	"golang.org/x/net/ipv4"
)

// Group is the multicast group that phones have built in.
var Group = netip.MustParseAddrPort("224.0.1.75:5060")

// Searcher is a phone that looks for its files by SIP PnP.
type Searcher struct {
	MAC, Vendor, Model, Version string // MAC: 12 hex digits
	Bind                        netip.Addr
	Interface                   string         // "" = the one of the route
	Group                       netip.AddrPort // or a server's own address
}

// pnpTries and pnpWait: phones ask five times and wait a second each.
const (
	pnpTries = 5
	pnpWait  = time.Second
)

// ErrSilence says that nobody told the phone anything.
var ErrSilence = errors.New("nobody answered")

// PnP asks, and returns the address that the NOTIFY carries.
func PnP(ctx context.Context, s Searcher) (string, error) {
	conn, err := s.socket(ctx)
	if err != nil {
		return "", err
	}
	defer conn.Close() //nolint:errcheck // a datagram socket has nothing left to say
	local, ok := conn.LocalAddr().(*net.UDPAddr)
	if !ok {
		return "", fmt.Errorf("%v is no UDP address", conn.LocalAddr())
	}
	uri := "sip:MAC%3a" + strings.ToUpper(s.MAC) + "@" + Group.Addr().String()
	if s.Vendor == "fanvil" { // its family writes it so
		uri = "sip:MAC=" + strings.ToLower(s.MAC) + "@" + Group.Addr().String()
	}
	callID := rand.Text()
	question := fmt.Sprintf("SUBSCRIBE %s SIP/2.0\r\nVia: SIP/2.0/UDP %s;branch=z9hG4bK%s;rport\r\nFrom: <%s>;tag=%s\r\nTo: <%s>\r\nCall-ID: %s\r\n"+
		"CSeq: 1 SUBSCRIBE\r\nContact: <sip:%s>\r\nEvent: ua-profile;profile-type=\"device\";vendor=\"%s\";model=\"%s\";version=\"%s\"\r\n"+
		"Accept: application/url\r\nMax-Forwards: 70\r\nExpires: 0\r\nContent-Length: 0\r\n\r\n",
		uri, local, callID, uri, callID[:8], uri, callID, local, s.Vendor, s.Model, s.Version)
	for range pnpTries {
		if _, err := conn.WriteTo([]byte(question), net.UDPAddrFromAddrPort(s.Group)); err != nil {
			return "", fmt.Errorf("pnp: %w", err)
		}
		url, err := awaitNotify(ctx, conn, callID)
		if err == nil || ctx.Err() != nil {
			return url, err
		}
	}
	return "", fmt.Errorf("pnp: %w", ErrSilence)
}

func (s Searcher) socket(ctx context.Context) (net.PacketConn, error) {
	bind := "0.0.0.0:0"
	if s.Bind.IsValid() {
		bind = netip.AddrPortFrom(s.Bind, 0).String()
	}
	conn, err := (&net.ListenConfig{}).ListenPacket(ctx, "udp4", bind)
	if err != nil {
		return nil, fmt.Errorf("pnp: %w", err)
	}
	if s.Interface == "" || !s.Group.Addr().IsMulticast() {
		return conn, nil
	}
	ifi, err := net.InterfaceByName(s.Interface)
	if err == nil {
		err = ipv4.NewPacketConn(conn).SetMulticastInterface(ifi)
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("interface %s: %w", s.Interface, err), conn.Close())
	}
	return conn, nil
}

// awaitNotify reads until the NOTIFY is there, and acknowledges it.
func awaitNotify(ctx context.Context, conn net.PacketConn, callID string) (string, error) {
	stop := context.AfterFunc(ctx, func() { _ = conn.SetDeadline(time.Unix(1, 0)) })
	defer stop()
	buffer := make([]byte, 4096)
	deadline := time.Now().Add(pnpWait)
	for {
		if err := conn.SetReadDeadline(deadline); err != nil {
			return "", err
		}
		n, from, err := conn.ReadFrom(buffer)
		if err != nil {
			return "", errors.Join(ctx.Err(), ErrSilence)
		}
		head, body, _ := bytes.Cut(buffer[:n], []byte("\r\n\r\n"))
		lines := strings.Split(string(head), "\r\n")
		fields := map[string]string{}
		for _, line := range lines[1:] {
			name, value, _ := strings.Cut(line, ": ")
			fields[strings.ToLower(name)] = value
		}
		if !strings.HasPrefix(lines[0], "NOTIFY ") || fields["call-id"] != callID || !strings.HasPrefix(fields["event"], "ua-profile") {
			continue
		}
		answer := fmt.Sprintf("SIP/2.0 200 OK\r\nVia: %s\r\nFrom: %s\r\nTo: %s\r\nCall-ID: %s\r\nCSeq: %s\r\nContent-Length: 0\r\n\r\n",
			fields["via"], fields["from"], fields["to"], callID, fields["cseq"])
		if _, err := conn.WriteTo([]byte(answer), from); err != nil {
			return "", fmt.Errorf("pnp: %w", err)
		}
		if fields["content-type"] != "application/url" || len(body) == 0 {
			return "", fmt.Errorf("pnp: a NOTIFY with %q: %w", fields["content-type"], ErrSilence)
		}
		return strings.TrimSpace(string(body)), nil
	}
}
