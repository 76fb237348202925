package site

import (
	"fmt"
	"net/netip"
	"strings"
	"time"

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
	SRTP     SRTP           `yaml:"srtp"`     // media of its calls: off, offered (what was encrypted stays so) or required; "" = offered
	Survivor string         `yaml:"survivor"` // address of a second server in this site, for its phones; "" = none
	// EmergencyIdentity is the public number shown for emergency calls from
	// this site, so that help comes to the right place; "" = the trunk's own.
	EmergencyIdentity string `yaml:"emergency_identity"`
	// Overflow is the way around the lines; without a trunk, a call that finds
	// no room on a line is refused.
	Overflow OverflowConfig `yaml:"overflow"`
}

// OverflowConfig says how a site is called over a trunk when a line is full
// or down, and which trunk its own calls take then.
type OverflowConfig struct {
	Trunk  string `yaml:"trunk"`
	Strip  int    `yaml:"strip"`  // leading digits to remove from an extension of this site
	Prefix string `yaml:"prefix"` // digits to put in front afterwards, as the trunk expects them
}

// LineConfig is a leased line, seen from the branch: up is what the branch
// sends.
type LineConfig struct {
	Up            setting.Rate  `yaml:"up"`
	Down          setting.Rate  `yaml:"down"`
	Overhead      Overhead      `yaml:"overhead"`       // what the line adds to a packet; "" is ethernet
	OfficeReserve setting.Share `yaml:"office_reserve"` // share of each direction that voice and video never get
	// ConferenceFloor is the share of each direction that calls leave to the
	// voices of meetings; auto is 120 kbit/s, or a tenth of a small line.
	ConferenceFloor Floor         `yaml:"conference_floor"`
	CallsMax        int           `yaml:"calls_max"`      // calls at the same time; 0 = as many as the rate allows
	OutOfService    bool          `yaml:"out_of_service"` // takes no new calls but emergencies
	DownAfter       time.Duration `yaml:"down_after"`     // silence of the whole site after which the line counts as down; 0s = never
}

// Floor is a share of a line, or "auto", its zero value.
type Floor struct {
	Fixed bool
	Share setting.Share
}

const autoFloor = "auto"

// UnmarshalText reads "auto" or "6%".
func (f *Floor) UnmarshalText(text []byte) error {
	*f = Floor{}
	if strings.TrimSpace(string(text)) == autoFloor {
		return nil
	}
	f.Fixed = true
	if err := f.Share.UnmarshalText(text); err != nil {
		return fmt.Errorf("%w, or auto", err)
	}
	return nil
}

// MarshalText writes what UnmarshalText reads.
func (f Floor) MarshalText() ([]byte, error) {
	if !f.Fixed {
		return []byte(autoFloor), nil
	}
	return f.Share.MarshalText()
}

// Overheads lists the accepted values of the key "overhead".
func Overheads() []string { return []string{string(Ethernet), string(PPPoE), string(MPLS)} }

// SRTPModes lists the accepted values of the key "srtp".
func SRTPModes() []string {
	return []string{string(SRTPOff), string(SRTPOffered), string(SRTPRequired)}
}

// smallestLine carries one G.711 call with its Ethernet overhead (about
// 102 kbit/s); a slower "line" is a mistake in the unit.
const smallestLine setting.Rate = 128_000

// DefaultLine holds what a line has when its keys are absent.
func DefaultLine() LineConfig {
	return LineConfig{Overhead: Ethernet, OfficeReserve: 0.15, DownAfter: time.Minute}
}

// shortestSilence is what a site may be silent although its line is up: its
// phones are asked every few seconds and may miss a question.
const shortestSilence = 10 * time.Second

// longestExtension bounds what an overflow may strip.
const longestExtension = 8

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
	if c.SRTP != "" {
		found.OneOf("srtp", string(c.SRTP), SRTPModes())
	}
	if c.Survivor != "" {
		if _, err := netip.ParseAddr(c.Survivor); err != nil {
			found.Add("survivor", "%q is no IP address", c.Survivor)
		}
	}
	found.Merge("overflow", c.Overflow.validate())
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
	if floor := l.ConferenceFloor; l.OfficeReserve < 1 && l.OfficeReserve+floor.Share >= 1 {
		found.Add("conference_floor", "a floor of %s beside the office's %s leaves nothing for calls", floor.Share, l.OfficeReserve)
	}
	if l.CallsMax < 0 {
		found.Add("calls_max", "%d calls cannot be; 0 means as many as the rate allows", l.CallsMax)
	}
	if l.DownAfter != 0 && l.DownAfter < shortestSilence {
		found.Add("down_after", "%s is too short, a line that is up may be silent as long: at least %s, or 0s for never", l.DownAfter, shortestSilence)
	}
	return found.Err()
}

func (o OverflowConfig) validate() error {
	var found setting.Complaints
	if o.Trunk == "" && (o.Strip != 0 || o.Prefix != "") {
		found.Add("trunk", "the overflow needs the name of a trunk")
	}
	if o.Strip < 0 || o.Strip > longestExtension {
		found.Add("strip", "%d digits cannot be stripped from an extension", o.Strip)
	}
	if strings.Trim(strings.TrimPrefix(o.Prefix, "+"), "0123456789") != "" {
		found.Add("prefix", "%q must be digits, with or without a + in front", o.Prefix)
	}
	return found.Err()
}

// Site returns the place that the configuration describes.
func (c Config) Site() Site {
	s := Site{ID: c.ID, Name: c.Name, Main: c.Main, Subnets: append([]netip.Prefix(nil), c.Subnets...), Prefix: c.Prefix, SRTP: c.SRTP, EmergencyIdentity: c.EmergencyIdentity}
	if c.Line != nil {
		s.Line = &Line{
			Up: int64(c.Line.Up), Down: int64(c.Line.Down),
			Overhead: c.Line.Overhead, OfficeReserve: float64(c.Line.OfficeReserve),
			CallsMax: c.Line.CallsMax, OutOfService: c.Line.OutOfService, DownAfter: c.Line.DownAfter,
		}
		if floor := c.Line.ConferenceFloor; floor.Fixed {
			share := float64(floor.Share)
			s.Line.ConferenceFloor = &share
		}
	}
	if o := c.Overflow; o.Trunk != "" {
		s.Overflow = &Overflow{Trunk: o.Trunk, Strip: o.Strip, Prefix: o.Prefix}
	}
	return s
}

func validID(id string) bool {
	const letters = "abcdefghijklmnopqrstuvwxyz0123456789"
	return len(id) <= 32 && strings.Trim(id, letters+"-") == "" && strings.Trim(id[:1]+id[len(id)-1:], letters) == ""
}
