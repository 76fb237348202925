// Package discovery knows how phones find their files: by which DHCP options
// (RFC 2132) and with which address by SIP PnP. What is known of each kind of
// phone is a row of phones.csv; a fact is corrected there.
//
// It writes ready-made pieces for DHCP servers that are not ours: Kea, dnsmasq,
// ISC dhcpd and Windows. They hold no secret: what they name is the bootstrap.
//
//	url := discovery.PnP(phone.Snom, "http://10.1.0.10:8080/", mac)
//	text, err := discovery.Write(discovery.Kea, network)
//
// Everything is a pure function.
package discovery

import (
	_ "embed"
	"encoding/csv"
	"fmt"
	"strings"
)

// Kind is a row of phones.csv.
type Kind struct {
	Name    string
	Brand   string
	Classes []string // beginnings of option 60; none = by MAC address only
	pnp     string
	url     map[int]string // of options that hold an address, by their number
	vendor  string         // option 43: "", text:..., tlv:...
	tftp    bool           // option 150: our address, for phones that ask by TFTP
	vlan    string         // where it takes its VLAN: "", option, tlv
}

//go:embed phones.csv
var table string

var kinds = mustParse(table)

// Kinds lists what is known.
func Kinds() []Kind { return kinds }

func mustParse(text string) []Kind {
	list, err := parse(text)
	if err != nil {
		panic(err) // part of the program
	}
	return list
}

func parse(text string) ([]Kind, error) {
	reader := csv.NewReader(strings.NewReader(text))
	reader.Comment = '#'
	rows, err := reader.ReadAll()
	if err != nil {
		return nil, fmt.Errorf("phones.csv: %w", err)
	}
	const header = "kind,brand,classes,pnp,66,43,159,160,150,vlan"
	if len(rows) == 0 || strings.Join(rows[0], ",") != header {
		return nil, fmt.Errorf("phones.csv: the first line must be %s", header)
	}
	list := make([]Kind, 0, len(rows)-1)
	for _, row := range rows[1:] {
		k := Kind{Name: row[0], Brand: row[1], pnp: row[3], vendor: row[5], tftp: row[8] == "tftp", vlan: row[9], url: map[int]string{}}
		if row[2] != "" {
			k.Classes = strings.Split(row[2], "|")
		}
		for option, value := range map[int]string{66: row[4], 159: row[6], 160: row[7]} {
			if value != "" {
				k.url[option] = value
			}
		}
		list = append(list, k)
	}
	return list, nil
}

// PnP is the address that a phone is told; base is our folder and ends with a
// slash. A brand that nothing is known of gets the folder.
func PnP(brand, base, mac string) string {
	form := "{base}"
	for _, k := range kinds {
		if k.Brand == brand {
			form = k.pnp
		}
	}
	return strings.NewReplacer("{base}", base, "{mac}", strings.ReplaceAll(mac, ":", "")).Replace(form)
}
