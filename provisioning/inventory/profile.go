package inventory

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"linehall/internal/setting"
	"linehall/internal/site"
)

// Override changes what the phones of a site, of a model, or one phone are
// told; exactly one of the three names whom it is for. What is left out is
// inherited: organisation, site, model, terminal.
type Override struct {
	Site      site.ID `yaml:"site"`
	Model     string  `yaml:"model"`
	Extension string  `yaml:"extension"`

	// Language and TimeZone are like those of the section "appliance".
	Language string `yaml:"language"`
	TimeZone string `yaml:"time_zone"`
	// The others are like those of the section "terminals".
	Transport     string        `yaml:"transport"`
	SRTP          string        `yaml:"srtp"`
	NTP           []string      `yaml:"ntp"`
	Codecs        []string      `yaml:"codecs"`
	BackupServer  string        `yaml:"backup_server"`
	VLAN          int           `yaml:"vlan"`
	VLANPriority  int           `yaml:"vlan_priority"`
	LLDP          string        `yaml:"lldp"`
	WebPage       string        `yaml:"web_page"`
	IntercomReply string        `yaml:"intercom_reply"`
	Resync        time.Duration `yaml:"resync"`
	// PlainSecrets lets one phone that cannot fetch by HTTPS get its password
	// by plain HTTP from its own site; only for a single extension.
	PlainSecrets bool `yaml:"plain_secrets"`
}

// Profile is what one phone is told, after all overrides.
type Profile struct {
	Override

	Origins []Origin // of every value that is not empty, in a fixed order
}

// Origin says where a value came from.
type Origin struct {
	Key   string
	Value string
	From  string // organisation, site branch1, model T54W, terminal 8001
	Path  string // in linehall.yaml, like terminals.overrides[2].vlan
}

// Codecs lists the accepted values of the key "codecs".
func Codecs() []string { return []string{"g722", "pcma", "pcmu"} }

// Switches lists the accepted values of keys that are on or off; "" inherits.
func Switches() []string { return []string{"on", "off"} }

// value is one overridable value.
type value struct {
	key  string
	text func(o Override) string // "" = not said
	copy func(into *Override, from Override)
}

func values() []value {
	number := func(n int) string {
		if n == 0 {
			return ""
		}
		return strconv.Itoa(n)
	}
	return []value{
		{"language", func(o Override) string { return o.Language }, func(i *Override, f Override) { i.Language = f.Language }},
		{"time_zone", func(o Override) string { return o.TimeZone }, func(i *Override, f Override) { i.TimeZone = f.TimeZone }},
		{"transport", func(o Override) string { return o.Transport }, func(i *Override, f Override) { i.Transport = f.Transport }},
		{"srtp", func(o Override) string { return o.SRTP }, func(i *Override, f Override) { i.SRTP = f.SRTP }},
		{"ntp", func(o Override) string { return strings.Join(o.NTP, " ") }, func(i *Override, f Override) { i.NTP = f.NTP }},
		{"codecs", func(o Override) string { return strings.Join(o.Codecs, " ") }, func(i *Override, f Override) { i.Codecs = f.Codecs }},
		{"backup_server", func(o Override) string { return o.BackupServer }, func(i *Override, f Override) { i.BackupServer = f.BackupServer }},
		{"vlan", func(o Override) string { return number(o.VLAN) }, func(i *Override, f Override) { i.VLAN = f.VLAN }},
		{"vlan_priority", func(o Override) string { return number(o.VLANPriority) }, func(i *Override, f Override) { i.VLANPriority = f.VLANPriority }},
		{"lldp", func(o Override) string { return o.LLDP }, func(i *Override, f Override) { i.LLDP = f.LLDP }},
		{"web_page", func(o Override) string { return o.WebPage }, func(i *Override, f Override) { i.WebPage = f.WebPage }},
		{"intercom_reply", func(o Override) string { return o.IntercomReply }, func(i *Override, f Override) { i.IntercomReply = f.IntercomReply }},
		{"resync", func(o Override) string {
			if o.Resync == 0 {
				return ""
			}
			return setting.Duration(o.Resync)
		}, func(i *Override, f Override) { i.Resync = f.Resync }},
		{"plain_secrets", func(o Override) string {
			if !o.PlainSecrets {
				return ""
			}
			return "true"
		}, func(i *Override, f Override) { i.PlainSecrets = f.PlainSecrets }},
	}
}

// Profile resolves what the phone with this extension is told; language and
// zone are the organisation's. sameModel compares two ways to write a model.
func (c Config) Profile(language, zone string, at site.ID, model, extension string, sameModel func(a, b string) bool) Profile {
	var p Profile
	lay := func(from, path string, o Override) {
		for _, v := range values() {
			text := v.text(o)
			if text == "" {
				continue
			}
			v.copy(&p.Override, o)
			origin := Origin{Key: v.key, Value: text, From: from, Path: path + "." + v.key}
			if path == "terminals" && (v.key == "language" || v.key == "time_zone") {
				origin.Path = "appliance." + v.key
			}
			if i := slices.IndexFunc(p.Origins, func(o Origin) bool { return o.Key == v.key }); i >= 0 {
				p.Origins[i] = origin
			} else {
				p.Origins = append(p.Origins, origin)
			}
		}
	}
	lay("organisation", "terminals", Override{
		Language: language, TimeZone: zone, Transport: c.Transport, SRTP: c.SRTP, NTP: c.NTP, Codecs: c.Codecs,
		BackupServer: c.BackupServer, VLAN: c.VLAN, VLANPriority: c.VLANPriority, LLDP: c.LLDP, WebPage: c.WebPage,
		IntercomReply: c.IntercomReply, Resync: c.Resync,
	})
	for _, level := range []struct {
		from  string
		means func(o Override) bool
	}{
		{"site " + string(at), func(o Override) bool { return o.Site != "" && o.Site == at }},
		{"model " + model, func(o Override) bool { return o.Model != "" && sameModel(o.Model, model) }},
		{"terminal " + extension, func(o Override) bool { return o.Extension != "" && o.Extension == extension }},
	} {
		for i, o := range c.Overrides {
			if level.means(o) {
				lay(level.from, setting.Index("terminals.overrides", i), o)
			}
		}
	}
	return p
}

// validate reports every value out of range.
func (o Override) validate(found *setting.Complaints, path string, languages []string) {
	named := 0
	for _, name := range []string{string(o.Site), o.Model, o.Extension} {
		if name != "" {
			named++
		}
	}
	if named != 1 {
		found.Add(path, "an override is for one site, one model or one extension; this one names %d", named)
	}
	if o.Language != "" {
		found.OneOf(path+".language", o.Language, languages)
	}
	if o.TimeZone != "" {
		if _, err := time.LoadLocation(o.TimeZone); err != nil {
			found.Add(path+".time_zone", "%q is no time zone; write it like Asia/Shanghai", o.TimeZone)
		}
	}
	if o.Transport != "" {
		found.OneOf(path+".transport", o.Transport, Transports())
	}
	if o.SRTP != "" {
		found.OneOf(path+".srtp", o.SRTP, SRTPModes())
	}
	if o.PlainSecrets && o.Extension == "" {
		found.Add(path+".plain_secrets", "passwords by plain HTTP are allowed phone by phone: name an extension")
	}
	o.validateNetwork(found, path+".")
}

// validateNetwork checks what the section and its overrides have in common;
// prefix is "" or ends with a dot.
func (o Override) validateNetwork(found *setting.Complaints, prefix string) {
	for i, server := range o.NTP {
		if !validServer(server) {
			found.Add(setting.Index(prefix+"ntp", i), "%q is neither an address nor a host name", server)
		}
	}
	for i, codec := range o.Codecs {
		found.OneOf(setting.Index(prefix+"codecs", i), codec, Codecs())
		if slices.Contains(o.Codecs[:i], codec) {
			found.Add(setting.Index(prefix+"codecs", i), "%s is there twice", codec)
		}
	}
	if o.BackupServer != "" && !validServer(o.BackupServer) {
		found.Add(prefix+"backup_server", "%q is neither an address nor a host name", o.BackupServer)
	}
	const maxVLAN, maxPriority = 4094, 7
	if o.VLAN < 0 || o.VLAN > maxVLAN {
		found.Add(prefix+"vlan", "%d is not between 1 and %d; 0 leaves what is set on the phone", o.VLAN, maxVLAN)
	}
	if o.VLANPriority < 0 || o.VLANPriority > maxPriority {
		found.Add(prefix+"vlan_priority", "%d is not between 0 and %d", o.VLANPriority, maxPriority)
	}
	for key, text := range map[string]string{"lldp": o.LLDP, "web_page": o.WebPage, "intercom_reply": o.IntercomReply} {
		if text != "" {
			found.OneOf(prefix+key, text, Switches())
		}
	}
	const shortest, longest = 30 * time.Minute, 7 * 24 * time.Hour
	if o.Resync != 0 && (o.Resync < shortest || o.Resync > longest) {
		found.Add(prefix+"resync", "%s is not between %s and %s", setting.Duration(o.Resync), setting.Duration(shortest), setting.Duration(longest))
	}
}

func validServer(name string) bool {
	return name != "" && len(name) <= 128 && strings.Trim(strings.ToLower(name), "abcdefghijklmnopqrstuvwxyz0123456789.-:") == ""
}

// String is for people.
func (o Origin) String() string { return fmt.Sprintf("%s = %s (%s)", o.Key, o.Value, o.From) }
