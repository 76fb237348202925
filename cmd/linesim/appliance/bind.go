package appliance

import (
	"errors"
	"fmt"
	"maps"
	"net"
	"net/netip"
	"strings"
	"sync"
)

// firstHost leaves room below for the appliance itself and for people's own experiments.
const firstHost = 10

var errSubnetFull = errors.New("no address left in the subnet")

// DemoSubnets is where the sites of the demo organisation lie on one machine: inside the loopback network, so that
// everything about sites works without any configuration of interfaces.
func DemoSubnets() map[string]netip.Prefix {
	subnets := map[string]netip.Prefix{"hq": netip.MustParsePrefix("127.0.0.0/24")}
	for n := 1; n <= 5; n++ {
		subnets[fmt.Sprintf("branch%d", n)] = netip.PrefixFrom(netip.AddrFrom4([4]byte{127, 0, byte(n), 0}), 24)
	}
	return subnets
}

// ParseBinds reads site=subnet pairs.
func ParseBinds(pairs []string) (map[string]netip.Prefix, error) {
	binds := make(map[string]netip.Prefix, len(pairs))
	for _, pair := range pairs {
		site, subnet, ok := strings.Cut(pair, "=")
		prefix, err := netip.ParsePrefix(subnet)
		if !ok || err != nil || site == "" {
			return nil, fmt.Errorf("%q is not SITE=SUBNET, as in branch1=127.0.1.0/24", pair)
		}
		binds[site] = prefix.Masked()
	}
	return binds, nil
}

// Binder hands out addresses inside the sites' subnets, one per device. It is safe for concurrent use.
type Binder struct {
	subnets map[string]netip.Prefix

	mu   sync.Mutex // guards next
	next map[string]netip.Addr
}

// NewBinder returns a binder for these subnets; sites not in it get the address the kernel would use.
func NewBinder(subnets map[string]netip.Prefix) *Binder {
	return &Binder{subnets: maps.Clone(subnets), next: make(map[string]netip.Addr)}
}

// For returns the binder for an appliance at server: explicit pairs win, and a server on this machine's loopback
// network means the demo's subnets.
func For(server netip.Addr, explicit map[string]netip.Prefix) *Binder {
	subnets := make(map[string]netip.Prefix)
	if server.IsLoopback() {
		subnets = DemoSubnets()
	}
	maps.Copy(subnets, explicit)
	return NewBinder(subnets)
}

// Next returns the next address of a site.
func (b *Binder) Next(site string, server netip.Addr) (netip.Addr, error) {
	subnet, ok := b.subnets[site]
	if !ok {
		return route(server)
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	addr, started := b.next[site]
	if !started {
		addr = subnet.Addr()
		for range firstHost {
			addr = addr.Next()
		}
	}
	addr = addr.Next()
	if !subnet.Contains(addr) || !subnet.Contains(addr.Next()) { // the last one is the broadcast address
		return netip.Addr{}, fmt.Errorf("site %s, %s: %w", site, subnet, errSubnetFull)
	}
	b.next[site] = addr
	return addr, nil
}

// route asks the kernel which own address it would use towards the server; nothing is sent.
func route(server netip.Addr) (netip.Addr, error) {
	conn, err := net.DialUDP("udp4", nil, net.UDPAddrFromAddrPort(netip.AddrPortFrom(server, 5060)))
	if err != nil {
		return netip.Addr{}, fmt.Errorf("own address towards %s: %w", server, err)
	}
	defer conn.Close() //nolint:errcheck // never written to
	local, err := netip.ParseAddrPort(conn.LocalAddr().String())
	if err != nil {
		return netip.Addr{}, fmt.Errorf("own address towards %s: %w", server, err)
	}
	return local.Addr(), nil
}
