// Package discover is how a simulated desk phone that was just unpacked finds the address of its files: DHCP options (given,
// or by an exchange with a DHCP server), or SIP PnP. TFTP is here as well, because an address without a scheme means it.
//
// It is written from what is known of phones, brand by brand: which option each looks at and what it makes of the value.
// What a phone does after the first file is in the packages of the brands.
//
//	options, err := discover.DHCP(ctx, discover.Client{Interface: "eth0", MAC: mac, Class: "snomD785"})
//	url, err := discover.FromOptions("snom", "D785", options)
package discover

import (
	"encoding/hex"
	"errors"
	"fmt"
	"maps"
	"net/netip"
	"strconv"
	"strings"
)

// Options are DHCP options by their number, as they are on the wire.
type Options map[int][]byte

// ErrNothing says that no option is one that such a phone looks at.
var ErrNothing = errors.New("no DHCP option says where the files are")

var errOption = errors.New("an option is NUMBER=TEXT or NUMBER=0xHEX")

// ParseOption reads 66=http://10.1.0.10/ and 150=0x0a01000a.
func ParseOption(text string) (number int, value []byte, err error) {
	left, right, ok := strings.Cut(text, "=")
	number, err = strconv.Atoi(left)
	if err != nil || !ok || number < 1 || number > 254 {
		return 0, nil, fmt.Errorf("%q: %w", text, errOption)
	}
	if digits, isHex := strings.CutPrefix(right, "0x"); isHex {
		value, err = hex.DecodeString(digits)
		return number, value, err
	}
	return number, []byte(right), nil
}

// Class is what the phone sends as option 60, "" where that is not known.
func Class(brand, model string) string {
	switch brand {
	case "snom":
		return "snom" + model
	case "grandstream":
		return "Grandstream " + model
	case "yealink":
		return "yealink"
	case "cisco":
		if strings.HasPrefix(model, "SPA") {
			return "Cisco " + model
		}
		return "CP-" + model + "-3PCC\x00" // some send the NUL as well
	}
	return ""
}

// order lists the options that a phone looks at, first one first.
func order(brand, model string) []int {
	switch {
	case brand == "cisco" && strings.HasPrefix(model, "SPA"):
		return []int{66, 160, 159, 150}
	case brand == "cisco":
		return []int{66, 160, 159, 150}
	case brand == "poly":
		return []int{160, 66}
	case brand == "snom":
		return []int{66}
	}
	return []int{66, 43}
}

// FromOptions is the address that a phone makes of the options.
func FromOptions(brand, model string, options Options) (string, error) {
	if brand == "snom" { // what is inside of option 43 wins over the options themselves
		options = overlay(options, options[43])
	}
	for _, number := range order(brand, model) {
		value := options[number]
		switch {
		case len(value) == 0:
		case number == 150:
			if len(value)%4 != 0 { // addresses, not a text
				return "", fmt.Errorf("option 150 has %d bytes: %w", len(value), ErrNothing)
			}
			return "tftp://" + netip.AddrFrom4([4]byte(value[:4])).String() + "/", nil
		default:
			url := address(text(value))
			if brand == "snom" {
				url += text(options[67])
			}
			return url, nil
		}
	}
	return "", ErrNothing
}

// overlay lays the sub-options (RFC 2132 section 8.4) over the options.
func overlay(options Options, encapsulated []byte) Options {
	all := maps.Clone(options)
	for len(encapsulated) >= 2 && encapsulated[0] != 255 {
		length := int(encapsulated[1])
		if len(encapsulated) < 2+length {
			break
		}
		all[int(encapsulated[0])] = encapsulated[2 : 2+length]
		encapsulated = encapsulated[2+length:]
	}
	return all
}

func text(value []byte) string { return strings.TrimRight(string(value), "\x00") }

// address gives a plain host the scheme that it means.
func address(value string) string {
	if strings.Contains(value, "://") {
		return value
	}
	return "tftp://" + value + "/"
}
