package setting

import (
	"fmt"
	"net"
	"net/netip"
	"strconv"
	"strings"
)

// Address is where a listener binds: ":5060", "192.0.2.1:5060",
// "[2001:db8::1]:5060". The empty Address means that the listener is off.
// Port 0 lets the kernel choose.
type Address string

// UnmarshalText checks the form; a name instead of an IP address is refused,
// because a listener must not depend on a resolver.
func (a *Address) UnmarshalText(text []byte) error {
	word := strings.TrimSpace(string(text))
	if word == "" {
		*a = ""
		return nil
	}
	if _, err := strconv.Atoi(word); err == nil {
		return fmt.Errorf("address %q is a bare port; did you mean %q?", word, ":"+word)
	}
	host, port, err := net.SplitHostPort(word)
	if err != nil {
		return fmt.Errorf("%q is no listen address; write it like \":5060\" or \"192.0.2.1:5060\"", word)
	}
	if host != "" {
		if _, err := netip.ParseAddr(host); err != nil {
			return fmt.Errorf("%q is no IP address; a listener binds to an address or to all of them (\":%s\")", host, port)
		}
	}
	if n, err := strconv.ParseUint(port, 10, 32); err != nil || n > 65535 {
		return fmt.Errorf("port %q is not between 0 and 65535", port)
	}
	*a = Address(word)
	return nil
}

// MarshalText returns the address as it was written.
func (a Address) MarshalText() ([]byte, error) { return []byte(a), nil }

// Host returns the address without the port; the zero Addr means all.
func (a Address) Host() netip.Addr {
	host, _, err := net.SplitHostPort(string(a))
	if err != nil {
		return netip.Addr{}
	}
	addr, err := netip.ParseAddr(host)
	if err != nil || addr.IsUnspecified() {
		return netip.Addr{}
	}
	return addr
}

// Port returns the port, 0 when the listener is off or the kernel chooses.
func (a Address) Port() uint16 {
	_, port, err := net.SplitHostPort(string(a))
	if err != nil {
		return 0
	}
	n, err := strconv.ParseUint(port, 10, 16)
	if err != nil {
		return 0
	}
	return uint16(n)
}

// Overlaps reports whether two listeners of the same transport would want the
// same socket.
func (a Address) Overlaps(b Address) bool {
	if a.Port() == 0 || a.Port() != b.Port() {
		return false
	}
	return SameHost(a.Host(), b.Host())
}

// SameHost reports whether two bind addresses meet; the zero Addr is all
// addresses.
func SameHost(a, b netip.Addr) bool {
	return !a.IsValid() || !b.IsValid() || a.Unmap() == b.Unmap()
}

// Ports is an inclusive range of ports: 10000-29999.
type Ports struct{ First, Last uint16 }

// UnmarshalText reads "10000-29999".
func (p *Ports) UnmarshalText(text []byte) error {
	word := strings.TrimSpace(string(text))
	first, last, ok := strings.Cut(word, "-")
	if !ok {
		return fmt.Errorf("%q is no port range; write it like 10000-29999", word)
	}
	low, errLow := strconv.ParseUint(strings.TrimSpace(first), 10, 16)
	high, errHigh := strconv.ParseUint(strings.TrimSpace(last), 10, 16)
	if errLow != nil || errHigh != nil || low == 0 {
		return fmt.Errorf("%q is no port range; ports are 1 to 65535", word)
	}
	if low > high {
		return fmt.Errorf("port range %q ends before it begins; did you mean %q?", word, fmt.Sprintf("%d-%d", high, low))
	}
	*p = Ports{First: uint16(low), Last: uint16(high)}
	return nil
}

// MarshalText writes "10000-29999".
func (p Ports) MarshalText() ([]byte, error) { return []byte(p.String()), nil }

// String returns the text form.
func (p Ports) String() string { return fmt.Sprintf("%d-%d", p.First, p.Last) }

// Contains reports whether port lies in the range.
func (p Ports) Contains(port uint16) bool { return port >= p.First && port <= p.Last }

// Count is the number of ports in the range.
func (p Ports) Count() int { return int(p.Last) - int(p.First) + 1 }
