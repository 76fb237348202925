package discovery

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"strings"

	"linehall/provisioning/phone"
)

// Format is the DHCP server that a piece is for.
type Format string

// The formats.
const (
	Kea     Format = "kea"
	Dnsmasq Format = "dnsmasq"
	ISC     Format = "isc"
	Windows Format = "windows"
)

// Formats lists them.
func Formats() []string { return []string{string(Kea), string(Dnsmasq), string(ISC), string(Windows)} }

// Network is what the pieces of a site are made of.
type Network struct {
	Site         string // id, part of names
	Subnets      []netip.Prefix
	Server       netip.Addr // our address
	Base         string     // our folder for phones; ends with a slash
	TFTP         bool       // we answer at port 69, the only one that phones ask at
	NTP          []netip.Addr
	VLAN         int // 0 = none
	VLANPriority int
	NUL          bool // texts end with a NUL, which some old phones want
}

var (
	// ErrFormat means that there is no such format.
	ErrFormat = errors.New("no such format")
	errLong   = errors.New("longer than the 255 bytes of a DHCP option (RFC 2132)")
)

// Write writes the piece.
func Write(format Format, n Network) ([]byte, error) {
	groups, err := n.groups()
	if err != nil {
		return nil, err
	}
	switch format {
	case Kea:
		return writeKea(n, groups)
	case Dnsmasq:
		return writeDnsmasq(n, groups), nil
	case ISC:
		return writeISC(n, groups), nil
	case Windows:
		return writeWindows(n, groups), nil
	}
	return nil, fmt.Errorf("%w: %q; there are %s", ErrFormat, format, strings.Join(Formats(), ", "))
}

// form says what an option's value looks like on the wire.
type form uint8

const (
	text      form = iota // characters
	addresses             // 4 bytes each
	octets                // anything
)

// option is one option with its value.
type option struct {
	number    int
	form      form
	text      string // of text
	addresses []netip.Addr
	octets    []byte
}

// group is the phones that get the same options.
type group struct {
	name     string
	classes  []string // beginnings of option 60
	prefixes []string // of the MAC address
	options  []option
}

// names of the options, for comments and definitions.
var names = map[int]string{
	42: "ntp-servers", 43: "vendor-encapsulated-options", 66: "tftp-server-name",
	132: "vlan-id", 133: "vlan-priority", 150: "tftp-addresses", 159: "provisioning-url-159", 160: "provisioning-url",
}

// standard are the options that every DHCP server knows.
func standard(number int) bool { return number < 128 }

func (n Network) groups() ([]group, error) {
	groups := make([]group, 0, len(kinds))
	for _, k := range kinds {
		g := group{name: k.Name, classes: k.Classes}
		if len(kindsOf(k.Brand)) == 1 { // else only the class tells which kind it is
			g.prefixes = phone.Prefixes(k.Brand)
		}
		options, err := n.options(k)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", k.Name, err)
		}
		g.options = options
		groups = append(groups, g)
	}
	return groups, nil
}

func kindsOf(brand string) []Kind {
	return slices.DeleteFunc(slices.Clone(kinds), func(k Kind) bool { return k.Brand != brand })
}

func (n Network) options(k Kind) ([]option, error) {
	fill := func(form string) string { return strings.ReplaceAll(form, "{base}", n.Base) }
	var list []option
	add := func(o option) { list = append(list, o) }
	if len(n.NTP) > 0 {
		add(option{number: 42, form: addresses, addresses: n.NTP})
	}
	kind, value, _ := strings.Cut(k.vendor, ":")
	switch kind {
	case "text":
		add(option{number: 43, form: octets, octets: n.terminated(fill(value))})
	case "tlv":
		b := tlv(nil, 66, n.terminated(fill(value)))
		if n.VLAN != 0 && k.vlan == "tlv" {
			b = tlv(b, 132, n.terminated(strconv.Itoa(n.VLAN)))
			b = tlv(b, 133, n.terminated(strconv.Itoa(n.VLANPriority)))
		}
		add(option{number: 43, form: octets, octets: b})
	}
	if n.VLAN != 0 && k.vlan != "" {
		add(option{number: 132, form: text, text: strconv.Itoa(n.VLAN)})
		add(option{number: 133, form: text, text: strconv.Itoa(n.VLANPriority)})
	}
	for _, number := range []int{66, 159, 160} {
		if value := k.url[number]; value != "" {
			add(option{number: number, form: text, text: fill(value)})
		}
	}
	if k.tftp && n.TFTP && n.Server.Is4() {
		add(option{number: 150, form: addresses, addresses: []netip.Addr{n.Server}})
	}
	slices.SortStableFunc(list, func(a, b option) int { return a.number - b.number })
	for _, o := range list {
		if len(o.text) > 255 || len(o.octets) > 255 {
			return nil, fmt.Errorf("option %d: %w", o.number, errLong)
		}
	}
	return list, nil
}

// terminated is a text for inside of option 43.
func (n Network) terminated(text string) []byte {
	if n.NUL {
		return append([]byte(text), 0)
	}
	return []byte(text)
}

// tlv appends a sub-option (RFC 2132 section 8.4).
func tlv(b []byte, code byte, value []byte) []byte {
	return append(append(b, code, byte(min(len(value), 255))), value...) //nolint:gosec // the whole is checked against 255
}

func join(addrs []netip.Addr, separator string) string {
	list := make([]string, 0, len(addrs))
	for _, a := range addrs {
		list = append(list, a.String())
	}
	return strings.Join(list, separator)
}

// introduction is what the pieces have to say to whoever pastes them, a line
// each.
func introduction(n Network) []string {
	lines := []string{
		"Desk phones of site " + n.Site + ", made by: linehall terminal dhcp --site " + n.Site,
		"Phones are told apart by vendor class (option 60) or the vendor's part of their MAC address.",
	}
	if len(n.NTP) == 0 {
		lines = append(lines, "No time server in terminals.ntp: phones start in 1970 and refuse certificates until they know the time.")
	}
	if !n.TFTP {
		lines = append(lines, "No option 150: phones ask by TFTP at port 69, and listen.tftp is another one.")
	}
	return lines
}
