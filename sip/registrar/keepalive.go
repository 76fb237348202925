package registrar

import (
	"context"
	"net/netip"
	"strings"
	"time"

	"github.com/emiago/sipgo/sip"

	"linehall/sip/location"
	"linehall/sip/stack"
)

// Run holds open the NAT in front of phones over UDP that do not do it themselves, until ctx ends: an empty datagram
// (CRLF CRLF, which every phone ignores or answers) to the address where each was seen, more often than a NAT forgets
// (RFC 4787 §4.3: two minutes at least, 30 s with many that are sold). Phones whose Contact is where they are seen have no
// NAT before them and are left alone; connections have keep-alives of the kernel.
func (r *Registrar) Run(ctx context.Context) error {
	tick := time.NewTicker(r.opts.KeepAlive)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
		for _, b := range r.opts.Location.Snapshot() {
			if behindNAT(b) {
				_ = r.opts.Stack.KeepAlive(b.Flow) // the next one comes soon
			}
		}
	}
}

// behindNAT reports whether the phone names itself by another address than the one it is seen at.
func behindNAT(b location.Binding) bool {
	var uri sip.Uri
	if b.Flow.Transport != stack.UDP || len(b.Path) > 0 || sip.ParseUri(b.Contact, &uri) != nil {
		return false
	}
	host, err := netip.ParseAddr(strings.Trim(uri.Host, "[]"))
	return err != nil || netip.AddrPortFrom(host.Unmap(), portOf(&uri)) != b.Flow.Remote
}

func portOf(uri *sip.Uri) uint16 {
	port := uri.Port
	if port <= 0 || port > 65535 {
		port = sip.DefaultUdpPort
	}
	return uint16(port)
}
