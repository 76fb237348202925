package configs

import (
	"net/netip"
	"path/filepath"
	"time"

	"linehall/internal/auth"
	"linehall/internal/observe"
	"linehall/internal/setting"
	"linehall/internal/site"
	"linehall/media/capture"
	"linehall/media/record"
	"linehall/media/relay"
	"linehall/provisioning/inventory"
	"linehall/sfu/room"
	"linehall/sip/dialplan"
	"linehall/sip/feature"
	"linehall/sip/stack"
	"linehall/sip/trace"
	"linehall/sip/trunk"
)

// Config is the whole configuration. Nobody writes to it after Load returned
// it; a reload makes a new one. Paths in it are resolved already.
type Config struct {
	Appliance     Appliance        `yaml:"appliance"`
	Listen        Listen           `yaml:"listen"`
	Sites         []site.Config    `yaml:"sites"`
	Terminals     inventory.Config `yaml:"terminals"`
	Dialplan      dialplan.Config  `yaml:"dialplan"`
	Trunks        []trunk.Config   `yaml:"trunks"`
	Feature       feature.Config   `yaml:"feature"`
	Conference    room.Config      `yaml:"conference"`
	Security      auth.Config      `yaml:"security"`
	Recording     record.Config    `yaml:"recording"`
	Observability Observability    `yaml:"observability"`

	path      string           // the file it came from, "" for defaults
	places    map[string]place // where each setting stood in it
	inventory []inventory.Row  // the terminals of Terminals.File
}

// Appliance says who we are.
type Appliance struct {
	Name     string `yaml:"name"`      // shown on pages and phones
	Domain   string `yaml:"domain"`    // SIP domain, digest realm and name in our certificates
	Data     string `yaml:"data"`      // folder of database, keys and certificates; relative to the working directory
	Language string `yaml:"language"`  // of pages, phones and prompts
	TimeZone string `yaml:"time_zone"` // IANA name, of phones and schedules
}

// Listen says where the listeners are; an empty address turns one off.
type Listen struct {
	Advertise    string          `yaml:"advertise"` // own address told to peers; "" = the kernel's choice for each peer
	SIPUDP       setting.Address `yaml:"sip_udp"`
	SIPTCP       setting.Address `yaml:"sip_tcp"`
	SIPTLS       setting.Address `yaml:"sip_tls"`
	HTTPS        setting.Address `yaml:"https"`        // console, API, SIP over WebSocket, rooms, /prov/
	SIPOrigins   []string        `yaml:"sip_origins"`  // hosts whose pages may open a SIP WebSocket, besides ours
	Provisioning setting.Address `yaml:"provisioning"` // plain HTTP for phones that know us not yet
	TFTP         setting.Address `yaml:"tftp"`
	PnP          ListenPnP       `yaml:"pnp"`     // phones that look for their files by multicast
	Metrics      setting.Address `yaml:"metrics"` // metrics and health
	RTP          relay.Config    `yaml:"rtp"`
	Media        ListenMedia     `yaml:"media"`
}

// ListenPnP is where phones are heard that look for their files by SIP PnP.
// It is answered by the listener of sip_udp, which hears those as well that ask
// it directly.
type ListenPnP struct {
	// Group is the multicast group, which phones have built in: 224.0.1.75:5060;
	// "" = off.
	Group setting.Address `yaml:"group"`
	// Interfaces are the names of those that it is heard on; auto stands for
	// each that is up and can do multicast.
	Interfaces []string `yaml:"interfaces"`
}

// ListenMedia is the media of browsers: one port for all of them.
type ListenMedia struct {
	UDP setting.Address `yaml:"udp"`
	TCP setting.Address `yaml:"tcp"`
}

// Observability says what is logged, and what is kept of SIP messages.
type Observability struct {
	Log   observe.LogConfig `yaml:"log"`
	Trace trace.Config      `yaml:"trace"`
	// Capture is the media of calls in their capture files.
	Capture capture.Config `yaml:"capture"`
}

// Languages lists the accepted values of appliance.language.
func Languages() []string { return inventory.Languages() }

// Default is what applies where the file says nothing.
func Default() Config {
	return Config{
		Appliance: Appliance{Name: "Linehall", Domain: "linehall.test", Data: "./data", Language: "zh-CN", TimeZone: "Asia/Shanghai"},
		Listen: Listen{
			SIPUDP: ":5060", SIPTCP: ":5060", SIPTLS: ":5061", HTTPS: ":8443", Provisioning: ":8080", TFTP: ":6969",
			PnP:     ListenPnP{Group: "224.0.1.75:5060", Interfaces: []string{stack.AutoInterfaces}},
			Metrics: "127.0.0.1:9464", RTP: relay.DefaultConfig(), Media: ListenMedia{UDP: ":30000", TCP: ":30000"},
		},
		Terminals:     inventory.DefaultConfig(),
		Dialplan:      dialplan.DefaultConfig(),
		Feature:       feature.DefaultConfig(),
		Recording:     record.DefaultConfig(),
		Security:      auth.DefaultConfig(),
		Observability: Observability{Log: observe.DefaultLog(), Trace: trace.DefaultConfig(), Capture: capture.DefaultConfig()},
	}
}

// Path is the file that the configuration came from.
func (c Config) Path() string { return c.path }

// Inventory returns the terminals in the order of their rows. The caller must
// not write to it.
func (c Config) Inventory() []inventory.Row { return c.inventory }

// SiteList returns the sites as the table of internal/site wants them.
func (c Config) SiteList() []site.Site {
	sites := make([]site.Site, 0, len(c.Sites))
	for _, s := range c.Sites {
		sites = append(sites, s.Site())
	}
	return sites
}

// Zone is the organisation's time zone.
func (c Config) Zone() *time.Location {
	zone, err := time.LoadLocation(c.Appliance.TimeZone)
	if err != nil { // checked when it was loaded
		return time.UTC
	}
	return zone
}

// AdvertiseAddr is the address told to peers; the zero Addr leaves the choice
// to the kernel.
func (c Config) AdvertiseAddr() netip.Addr {
	addr, err := netip.ParseAddr(c.Listen.Advertise)
	if err != nil {
		return netip.Addr{}
	}
	return addr
}

// resolve returns a path that the configuration file names, relative to its folder.
func resolve(file, path string) string {
	if path == "" || filepath.IsAbs(path) {
		return path
	}
	return filepath.Join(filepath.Dir(file), path)
}
