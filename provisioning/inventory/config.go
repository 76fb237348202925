package inventory

import (
	"slices"
	"strings"
	"time"

	"linehall/internal/setting"
)

// Config is the section "terminals".
type Config struct {
	// File is the list of terminals, relative to the configuration file.
	File string `yaml:"file"`
	// Templates is the folder of the organisation's own additions to phone
	// files, relative to the configuration file: the column "template" of a
	// terminal names a file BRAND/NAME.cfg in it, whose lines win over ours.
	Templates string `yaml:"templates"`
	// Transport and SRTP are what the phones are told to use: udp, tcp or tls;
	// off, optional or required.
	Transport string `yaml:"transport"`
	SRTP      string `yaml:"srtp"`
	// NTP names the time servers of the phones; empty leaves it to DHCP.
	NTP []string `yaml:"ntp"`
	// EnrolmentMax is the longest that an enrolment window may stay open.
	EnrolmentMax time.Duration `yaml:"enrolment_max"`
	// AdminPassword protects the menus and the web page of every phone; ""
	// leaves what is set on the phone.
	AdminPassword setting.Secret `yaml:"admin_password"`
}

// DefaultConfig holds what applies when a key is absent.
func DefaultConfig() Config {
	return Config{File: "terminals.csv", Templates: "templates/", Transport: "udp", SRTP: "off", EnrolmentMax: 4 * time.Hour}
}

// Transports lists the accepted values of the key "transport".
func Transports() []string { return []string{"udp", "tcp", "tls"} }

// SRTPModes lists the accepted values of the key "srtp".
func SRTPModes() []string { return []string{"off", "optional", "required"} }

// Validate reports every value out of range.
func (c Config) Validate() error {
	var found setting.Complaints
	if c.File == "" {
		found.Add("file", "the list of terminals needs a file name, like terminals.csv")
	}
	found.OneOf("transport", c.Transport, Transports())
	found.OneOf("srtp", c.SRTP, SRTPModes())
	if c.SRTP != "off" && c.Transport != "tls" && slices.Contains(SRTPModes(), c.SRTP) {
		found.Add("srtp", "SRTP keys travel in the signalling (RFC 4568 section 7), so srtp %q needs transport \"tls\"", c.SRTP)
	}
	for i, server := range c.NTP {
		if server == "" || len(server) > 128 || strings.Trim(strings.ToLower(server), "abcdefghijklmnopqrstuvwxyz0123456789.-:") != "" {
			found.Add(setting.Index("ntp", i), "%q is neither an address nor a host name", server)
		}
	}
	found.Between("enrolment_max", c.EnrolmentMax, time.Minute, 24*time.Hour)
	if err := validPhonePassword(c.AdminPassword.Reveal()); err != nil {
		found.Add("admin_password", "the password %s", err)
	}
	return found.Err()
}

// TemplateSuffix ends the name of a template's file.
const TemplateSuffix = ".cfg"
