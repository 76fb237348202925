package phone

import (
	"regexp"
	"slices"
	"strings"
)

// The brands that Detect tells apart; the set is closed, so that a brand can
// be a metric's label.
const (
	Yealink     = "yealink"
	Grandstream = "grandstream"
	Fanvil      = "fanvil"
	Snom        = "snom"
	Cisco       = "cisco"
	Poly        = "poly"
	Htek        = "htek"
	Other       = "other"
)

// Hint is what a request tells about the phone; every part may be empty
// except Brand.
type Hint struct {
	Brand    string
	Model    string
	Firmware string
	MAC      string
}

// agentPattern reads one vendor's User-Agent; its groups are named model,
// firmware and mac.
type agentPattern struct {
	brand string
	form  *regexp.Regexp
}

// agents are the forms of User-Agents of the vendors' HTTP clients, as seen in
// production logs. The order does not matter: no two match the same text.
var agents = []agentPattern{
	{Yealink, regexp.MustCompile(`(?i)^(?:yealink[ -]+)?(?:SIP[ -]+)?(?:VP-)?(?P<model>(?:AX|CP|VP|T|W)[0-9][A-Z0-9_]*)\s+(?P<firmware>[0-9]+(?:\.[0-9]+)+)(?:\s+(?P<mac>[0-9A-F]{12}|(?:[0-9A-F]{2}:){5}[0-9A-F]{2})|\s+[0-9.]+)?$`)},
	{Grandstream, regexp.MustCompile(`^Grandstream Model HW (?P<model>\S+)(?:\s+V\S+)?\s+SW (?P<firmware>[0-9.]+) DevId (?P<mac>[0-9A-Fa-f]{12})`)},
	{Fanvil, regexp.MustCompile(`^Fanvil (?P<model>[A-Za-z]+[0-9]+[A-Za-z0-9]*(?:-V[0-9]+)?(?: ?Pro)?) (?P<firmware>[0-9.]+) (?P<mac>[0-9A-Fa-f]{12})`)},
	{Snom, regexp.MustCompile(`\bsnom(?P<model>[A-Za-z0-9]+)-SIP (?P<firmware>[0-9.]+)(?:.*?\s(?P<mac>[0-9A-F]{12})(?:[\s)]|$))?`)},
	{Cisco, regexp.MustCompile(`^Cisco-CP-(?P<model>[0-9]{4})-3PCC/(?P<firmware>\S+) \((?P<mac>[0-9A-Fa-f]{12})\)`)},
	{Cisco, regexp.MustCompile(`^(?:Cisco|Linksys)/(?P<model>SPA-?[0-9]{3}[A-Z0-9]*)-(?P<firmware>\S+) (?:\((?P<mac>[0-9A-F]{12})\)\(\w+\)|\(\w+\))$`)},
	{Poly, regexp.MustCompile(`^FileTransport Polycom\w+-(?P<model>\w+)-UA/(?P<firmware>[0-9.]+)(?: Type/\w+)?`)},
	{Htek, regexp.MustCompile(`^Htek (?P<model>\S+) (?P<firmware>\S+) (?P<mac>(?:[0-9A-Fa-f]{2}:){5}[0-9A-Fa-f]{2})$`)},
}

// vendors are the first three bytes of MAC addresses seen in use.
var vendors = map[string]string{
	"00:15:65": Yealink, "80:5e:c0": Yealink, "80:5e:0c": Yealink, "24:9a:d8": Yealink, "44:db:d2": Yealink, "c4:fc:22": Yealink,
	"ec:1d:a9": Yealink, "34:97:d7": Yealink, "b0:61:a9": Yealink, "f0:16:53": Yealink, "e4:34:d7": Yealink, "64:4f:56": Yealink,
	"00:0b:82": Grandstream, "c0:74:ad": Grandstream, "ec:74:d7": Grandstream,
	"00:a8:59": Fanvil, "0c:38:3e": Fanvil,
	"00:04:13": Snom, "00:08:7b": Snom,
	"00:04:f2": Poly, "64:16:7f": Poly, "48:25:67": Poly, "00:90:7a": Poly,
	"00:1f:c1": Htek,
}

// maxAgent bounds the work on a foreign header.
const maxAgent = 256

// Detect reads a User-Agent, and falls back to the vendor's part of mac
// (00:15:65:ab:cd:ef, "" when unknown) for the brand.
func Detect(userAgent, mac string) Hint {
	if len(userAgent) <= maxAgent {
		for _, agent := range agents {
			if groups := agent.form.FindStringSubmatch(userAgent); groups != nil {
				return agent.hint(groups)
			}
		}
	}
	if len(mac) > 8 {
		if brand, ok := vendors[strings.ToLower(mac[:8])]; ok {
			return Hint{Brand: brand}
		}
	}
	return Hint{Brand: Other}
}

func (a agentPattern) hint(groups []string) Hint {
	group := func(name string) string {
		if i := a.form.SubexpIndex(name); i > 0 {
			return groups[i]
		}
		return ""
	}
	return Hint{Brand: a.brand, Model: group("model"), Firmware: group("firmware"), MAC: colons(group("mac"))}
}

// colons brings 12 hex digits, with or without colons, to 00:15:65:ab:cd:ef.
func colons(mac string) string {
	hex := strings.ToLower(strings.ReplaceAll(mac, ":", ""))
	if len(hex) != 12 {
		return ""
	}
	return hex[0:2] + ":" + hex[2:4] + ":" + hex[4:6] + ":" + hex[6:8] + ":" + hex[8:10] + ":" + hex[10:12]
}

// fileMAC is a MAC address inside a file's name: 12 hex digits that stand
// alone.
var fileMAC = regexp.MustCompile(`(?i)(?:^|[^0-9a-f])(?:cfg)?([0-9a-f]{12})(?:$|[^0-9a-f])`)

// MACInName finds the MAC address in the name of a file that any brand's phone
// asks for: 001565abcdef.cfg, cfgc074ad112233.xml, snomD785-000413AABBCC.htm.
func MACInName(name string) (string, bool) {
	if len(name) > maxAgent {
		return "", false
	}
	groups := fileMAC.FindStringSubmatch(name)
	if groups == nil || strings.HasPrefix(groups[1], "000000000") {
		return "", false // 000000000000.cfg, y000000000096.cfg: names of files for all phones
	}
	return colons(groups[1]), true
}

// Prefixes lists the first three bytes of MAC addresses that a brand is known
// by, like 00:15:65, in order.
func Prefixes(brand string) []string {
	var list []string
	for prefix, of := range vendors {
		if of == brand {
			list = append(list, prefix)
		}
	}
	slices.Sort(list)
	return list
}
