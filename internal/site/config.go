package site

import (
	"net/netip"
	"strings"

	"linehall/internal/setting"
)

// Config is one entry of the list "sites".
type Config struct {
	ID       ID             `yaml:"id"`
	Name     string         `yaml:"name"`
	Main     bool           `yaml:"main"`     // headquarters; exactly one site
	Subnets  []netip.Prefix `yaml:"subnets"`  // what belongs here by source address
	Prefix   string         `yaml:"prefix"`   // leading digits of its extensions
	Line     *LineConfig    `yaml:"line"`     // absent at the main site: every line ends there
	Survivor string         `yaml:"survivor"` // address of a second server in this site, for its phones; "" = none
	// EmergencyIdentity is the public number shown for emergency calls from
	// this site, so that help comes to the right place; "" = the trunk's own.
	EmergencyIdentity string `yaml:"emergency_identity"`
}

// LineConfig is a leased line, seen from the branch: up is what the branch
// sends.
type LineConfig struct {
	Up            setting.Rate  `yaml:"up"`
	Down          setting.Rate  `yaml:"down"`
	Overhead      Overhead      `yaml:"overhead"`       // what the line adds to a packet; "" is ethernet
	OfficeReserve setting.Share `yaml:"office_reserve"` // share of each direction that voice and video never get
}

// Overheads lists the accepted values of the key "overhead".
func Overheads() []string { return []string{string(Ethernet), string(PPPoE), string(MPLS)} }

// smallestLine carries one G.711 call with its Ethernet overhead (about
// 102 kbit/s); a slower "line" is a mistake in the unit.
const smallestLine setting.Rate = 128_000

// DefaultLine holds what a line has when its keys are absent.
func DefaultLine() LineConfig { return LineConfig{Overhead: Ethernet, OfficeReserve: 0.15} }

// Validate reports what is wrong with this site alone.
func (c Config) Validate() error {
	var found setting.Complaints
	if c.ID == "" {
		found.Add("id", "a site needs an id")
	} else if !validID(string(c.ID)) {
		found.Add("id", "site id %q must be lower-case letters, digits and hyphens, at most 32", c.ID)
	}
	if c.Name == "" {
		found.Add("name", "site %q needs a name", c.ID)
	}
	if len(c.Subnets) == 0 {
		found.Add("subnets", "site %q needs at least one subnet: a device's site is found by its address", c.ID)
	}
	for i, subnet := range c.Subnets {
		if subnet.IsValid() && subnet != subnet.Masked() {
			found.Add(setting.Index("subnets", i), "%s has bits behind its mask; did you mean %q?", subnet, subnet.Masked())
		}
	}
	if strings.Trim(c.Prefix, "0123456789") != "" {
		found.Add("prefix", "prefix %q must be digits", c.Prefix)
	}
	switch {
	case c.Main && c.Line != nil:
		found.Add("line", "site %q is the main one: every line ends there, so it has none of its own", c.ID)
	case !c.Main && c.Line == nil:
		found.Add("main", "site %q is not the main one, so it needs a line", c.ID)
	case c.Line != nil:
		found.Merge("line", c.Line.validate())
	}
	if c.Survivor != "" {
		if _, err := netip.ParseAddr(c.Survivor); err != nil {
			found.Add("survivor", "%q is no IP address", c.Survivor)
		}
	}
	if number := strings.TrimPrefix(c.EmergencyIdentity, "+"); c.EmergencyIdentity != "" && (len(number) < 3 || len(number) > 15 || strings.Trim(number, "0123456789") != "") {
		found.Add("emergency_identity", "%q is no public number; write it like 04715550000 or +864715550000", c.EmergencyIdentity)
	}
	return found.Err()
}

func (l LineConfig) validate() error {
	var found setting.Complaints
	for _, d := range []struct {
		key  string
		rate setting.Rate
	}{{"up", l.Up}, {"down", l.Down}} {
		switch {
		case d.rate == 0:
			found.Add(d.key, "the line needs a rate, like 2Mbps")
		case d.rate < smallestLine:
			found.Add(d.key, "a line of %s cannot carry one call; check the unit", d.rate)
		}
	}
	if !l.Overhead.Valid() {
		found.Add("overhead", "unknown overhead %q%s", l.Overhead, setting.Hint(string(l.Overhead), Overheads()))
	}
	if l.OfficeReserve >= 1 {
		found.Add("office_reserve", "a reserve of %s leaves nothing for calls", l.OfficeReserve)
	}
	return found.Err()
}

// Site returns the place that the configuration describes.
func (c Config) Site() Site {
	s := Site{ID: c.ID, Name: c.Name, Main: c.Main, Subnets: append([]netip.Prefix(nil), c.Subnets...), Prefix: c.Prefix, EmergencyIdentity: c.EmergencyIdentity}
	if c.Line != nil {
		s.Line = &Line{
			Up: int64(c.Line.Up), Down: int64(c.Line.Down),
			Overhead: c.Line.Overhead, OfficeReserve: float64(c.Line.OfficeReserve),
		}
	}
	return s
}

func validID(id string) bool {
	const letters = "abcdefghijklmnopqrstuvwxyz0123456789"
	return len(id) <= 32 && strings.Trim(id, letters+"-") == "" && strings.Trim(id[:1]+id[len(id)-1:], letters) == ""
}
