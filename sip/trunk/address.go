package trunk

import (
	"fmt"
	"net"
	"net/netip"
	"strconv"
	"strings"
)

// parseAddress reads an IP address with or without a port; the port is 0 when there is none.
func parseAddress(text string) (netip.AddrPort, error) {
	if addr, err := netip.ParseAddr(strings.Trim(text, "[]")); err == nil {
		return netip.AddrPortFrom(addr.Unmap(), 0), nil
	}
	ap, err := netip.ParseAddrPort(text)
	if err != nil {
		return netip.AddrPort{}, fmt.Errorf("%q is no address", text)
	}
	return netip.AddrPortFrom(ap.Addr().Unmap(), ap.Port()), nil
}

// splitPort reads a host name with or without a port; the port is 0 when there is none.
func splitPort(text string) (host string, port uint16, err error) {
	if !strings.Contains(text, ":") {
		return text, 0, nil
	}
	host, word, err := net.SplitHostPort(text)
	if err != nil {
		return "", 0, fmt.Errorf("%q: %w", text, err)
	}
	n, err := strconv.ParseUint(word, 10, 16)
	if err != nil || n == 0 {
		return "", 0, fmt.Errorf("port %q is not between 1 and 65535", word)
	}
	return host, uint16(n), nil
}
