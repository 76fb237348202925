package inventory

import (
	"cmp"
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
	// Codecs are what the phones use, best first: g722, pcma, pcmu.
	Codecs []string `yaml:"codecs"`
	// BackupServer is the address of a second server with the same ports, that
	// phones use while they cannot reach this one; "" = none.
	BackupServer string `yaml:"backup_server"`
	// VLAN is the 802.1Q id that phones send in, with VLANPriority (802.1p); 0
	// leaves what is set on the phone. LLDP lets it learn both from the switch.
	VLAN         int    `yaml:"vlan"`
	VLANPriority int    `yaml:"vlan_priority"`
	LLDP         string `yaml:"lldp"`
	// WebPage opens or closes the phones' own web page: on or off.
	WebPage string `yaml:"web_page"`
	// IntercomReply lets phones answer by themselves when a call asks for it,
	// as intercom does: on or off.
	IntercomReply string `yaml:"intercom_reply"`
	// Resync is how often an enrolled phone asks for its file.
	Resync time.Duration `yaml:"resync"`
	// EnrolmentMax is the longest that an enrolment window may stay open.
	EnrolmentMax time.Duration `yaml:"enrolment_max"`
	// AdminPassword protects the menus and the web page of every phone. Without
	// one, OwnAdminPassword says whether each phone gets one of its own (on) or
	// keeps what is set on it (off).
	AdminPassword    setting.Secret `yaml:"admin_password"`
	OwnAdminPassword string         `yaml:"own_admin_password"`
	// PasswordAge is how old a phone's SIP password may get before an apply gives
	// it another one; 0 = only with --rotate.
	PasswordAge time.Duration `yaml:"password_age"`
	// Maintenance is the time of day in which an apply may disturb phones, like
	// 22:00-05:30 in the organisation's zone; "" = always.
	Maintenance string `yaml:"maintenance"`
	// Overrides change these values for a site, a model or one terminal, in
	// this order: the terminal's own wins.
	Overrides []Override `yaml:"overrides"`
}

// defaultPriority is that of voice (IEEE 802.1Q annex I).
const defaultPriority = 5

// DefaultConfig holds what applies when a key is absent.
func DefaultConfig() Config {
	return Config{
		File: "terminals.csv", Templates: "templates/", Transport: "udp", SRTP: "off",
		Codecs: Codecs(), VLANPriority: defaultPriority, LLDP: "on", WebPage: "off", IntercomReply: "on",
		OwnAdminPassword: "on",
		Resync:           24 * time.Hour, EnrolmentMax: 4 * time.Hour,
	}
}

// Transports lists the accepted values of the key "transport".
func Transports() []string { return []string{"udp", "tcp", "tls"} }

// Languages lists the accepted values of the key "language".
func Languages() []string { return []string{"zh-CN", "en"} }

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
	Override{
		NTP: c.NTP, Codecs: c.Codecs, BackupServer: c.BackupServer, VLAN: c.VLAN, VLANPriority: c.VLANPriority,
		LLDP: c.LLDP, WebPage: c.WebPage, IntercomReply: c.IntercomReply, Resync: c.Resync,
	}.validateNetwork(&found, "")
	if len(c.Codecs) == 0 {
		found.Add("codecs", "phones need a codec: %s", strings.Join(Codecs(), ", "))
	}
	for i, o := range c.Overrides {
		o.validate(&found, setting.Index("overrides", i), Languages())
		if srtp, transport := cmp.Or(o.SRTP, c.SRTP), cmp.Or(o.Transport, c.Transport); srtp != "off" && transport != "tls" && (o.SRTP != "" || o.Transport != "") {
			found.Add(setting.Index("overrides", i), "srtp %q needs transport \"tls\" (RFC 4568 section 7); with both in one override it is sure", srtp)
		}
	}
	found.OneOf("own_admin_password", c.OwnAdminPassword, Switches())
	if c.PasswordAge != 0 {
		found.Between("password_age", c.PasswordAge, 24*time.Hour, 10*365*24*time.Hour)
	}
	if _, err := ParseHours(c.Maintenance); err != nil {
		found.Add("maintenance", "%s", err)
	}
	found.Between("enrolment_max", c.EnrolmentMax, time.Minute, 24*time.Hour)
	if err := validPhonePassword(c.AdminPassword.Reveal()); err != nil {
		found.Add("admin_password", "the password %s", err)
	}
	return found.Err()
}

// TemplateSuffix ends the name of a template's file.
const TemplateSuffix = ".cfg"
