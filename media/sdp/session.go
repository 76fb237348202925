package sdp

import (
	"net/netip"
	"slices"
	"strconv"
	"strings"
)

// Origin is the o= line (RFC 8866 §5.2).
type Origin struct {
	Username  string
	SessionID string
	Version   uint64     // 0 when it is not a number
	Address   netip.Addr // invalid when the address is a name
	Host      string     // the address as it stands there
}

// Origin returns the o= line; ok is false when there is none or it is cut short.
func (d *Document) Origin() (Origin, bool) {
	v, ok := d.session.value("o=")
	f := strings.Fields(v)
	if !ok || len(f) < 6 {
		return Origin{}, false
	}
	o := Origin{Username: f[0], SessionID: f[1], Host: f[5]}
	o.Version, _ = strconv.ParseUint(f[2], 10, 64) // not a number: 0
	o.Address, _ = netip.ParseAddr(f[5])           // a name: invalid
	return o, true
}

// SetOrigin replaces the o= line, or adds one. Address wins over Host when it is valid.
func (d *Document) SetOrigin(o Origin) {
	host := "IP4 " + o.Host
	if o.Address.IsValid() {
		host = addressText(o.Address)
	} else if strings.Contains(o.Host, ":") {
		host = "IP6 " + o.Host
	}
	if o.Username == "" {
		o.Username = "-"
	}
	d.session.set(d.session.index("o="), strings.Join([]string{
		"o=" + o.Username, o.SessionID, strconv.FormatUint(o.Version, 10), "IN", host,
	}, " "))
}

// Address returns the address of the session's own c= line.
func (d *Document) Address() (netip.Addr, bool) { return d.session.connection() }

// Attribute returns the value of the session's own a=name line.
func (d *Document) Attribute(name string) (string, bool) {
	i, v := d.session.attribute(name)
	return v, i >= 0
}

// SetAddress makes addr the address of the given media sections, all of them if none are given. The session's c= line
// and those of the sections are replaced, one is added where neither is there. Other sections that can be used keep
// their address, as a line of their own if need be. An address 0.0.0.0 stays: it is the hold of RFC 2543, which must
// reach the other side.
func (d *Document) SetAddress(addr netip.Addr, sections ...*Media) {
	if len(sections) == 0 {
		sections = d.media
	}
	common := d.session.index("c=")
	for _, m := range d.media {
		if common >= 0 && m.Port() != 0 && m.index("c=") < 0 && !slices.Contains(sections, m) {
			m.set(-1, d.session.lines[common].text)
		}
	}
	d.session.moveTo(addr)
	for _, m := range sections {
		if !m.moveTo(addr) && common < 0 {
			m.setConnection(addr)
		}
	}
}

// moveTo replaces the c= line of a section; it returns false when there is none.
func (s *section) moveTo(addr netip.Addr) bool {
	if s.index("c=") < 0 {
		return false
	}
	if a, ok := s.connection(); !ok || !a.IsUnspecified() {
		s.setConnection(addr)
	}
	return true
}

// connection reads "c=IN IP4 192.0.2.1[/ttl[/n]]".
func (s *section) connection() (netip.Addr, bool) {
	v, ok := s.value("c=")
	f := strings.Fields(v)
	if !ok || len(f) < 3 {
		return netip.Addr{}, false
	}
	host, _, _ := strings.Cut(f[2], "/")
	addr, err := netip.ParseAddr(host)
	return addr, err == nil
}

func (s *section) setConnection(addr netip.Addr) { s.set(s.index("c="), "c=IN "+addressText(addr)) }

// addressText writes an address with its type, like "IP4 192.0.2.1".
func addressText(addr netip.Addr) string {
	addr = addr.Unmap().WithZone("")
	if addr.Is4() {
		return "IP4 " + addr.String()
	}
	return "IP6 " + addr.String()
}

// RemoveICE deletes every line of RFC 8839. A relay whose address stands in the c= line is no candidate: with the
// candidates left in place the peers would bypass it, or find an ice-mismatch.
func (d *Document) RemoveICE() bool {
	removed := false
	for _, s := range d.sections() {
		removed = s.remove(isICE) || removed
	}
	return removed
}

func isICE(text string) bool {
	for _, name := range []string{
		"candidate", "remote-candidates", "ice-ufrag", "ice-pwd", "ice-options", "ice-lite", "ice-mismatch",
		"ice-pacing", "end-of-candidates",
	} {
		if rest, ok := strings.CutPrefix(text, "a="+name); ok && (rest == "" || rest[0] == ':' || rest[0] == ' ') {
			return true
		}
	}
	return false
}
