package webrtc

import (
	"fmt"
	"net"
	"net/netip"
)

// bindAddresses lists the concrete addresses to open a socket on. A socket per address, instead of one on the wildcard, makes
// every reply leave from the address it was sent to: a connectivity check answered from another address fails (RFC 8445
// §7.2.5.2.1). Loopback is included, so that server and browser on one machine see each other; link-local is not.
func bindAddresses(listen netip.AddrPort, advertise []netip.Addr) ([]netip.Addr, error) {
	own, err := ownAddresses()
	if err != nil {
		return nil, err
	}
	if a := listen.Addr(); a.IsValid() && !a.IsUnspecified() {
		return []netip.Addr{a}, nil
	}
	var chosen []netip.Addr
	for _, a := range own {
		for _, wanted := range advertise {
			if a == wanted {
				chosen = append(chosen, a)
			}
		}
	}
	if len(chosen) > 0 {
		return chosen, nil
	}
	return own, nil
}

func ownAddresses() ([]netip.Addr, error) {
	list, err := net.InterfaceAddrs()
	if err != nil {
		return nil, fmt.Errorf("own addresses: %w", err)
	}
	var own []netip.Addr
	for _, entry := range list {
		prefix, err := netip.ParsePrefix(entry.String())
		if err != nil {
			continue // not an IP address
		}
		if a := prefix.Addr().Unmap(); a.IsGlobalUnicast() || a.IsLoopback() {
			own = append(own, a)
		}
	}
	return own, nil
}

// parseListen reads "host:port" or ":port".
func parseListen(s string) (netip.AddrPort, error) {
	host, port, err := net.SplitHostPort(s)
	if err != nil {
		return netip.AddrPort{}, fmt.Errorf("listen address %q: %w", s, err)
	}
	if host == "" {
		host = "0.0.0.0"
	}
	ap, err := netip.ParseAddrPort(net.JoinHostPort(host, port))
	if err != nil {
		return netip.AddrPort{}, fmt.Errorf("listen address %q: %w", s, err)
	}
	return ap, nil
}
