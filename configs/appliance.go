package configs

import (
	"net/netip"
	"strconv"
	"strings"
	"time"
	_ "time/tzdata"

	"linehall/internal/setting"
)

func (a Appliance) validate() error {
	var found setting.Complaints
	if a.Name == "" || len([]rune(a.Name)) > 64 {
		found.Add("name", "the appliance needs a name of at most 64 characters")
	}
	if !validDomain(a.Domain) {
		found.Add("domain", "%q is no domain name; write it like voice.example.org", a.Domain)
	}
	if a.Data == "" {
		found.Add("data", "the folder for data needs a name")
	}
	found.OneOf("language", a.Language, Languages())
	if _, err := time.LoadLocation(a.TimeZone); err != nil || a.TimeZone == "" || a.TimeZone == "Local" {
		found.Add("time_zone", "unknown time zone %q%s", a.TimeZone, setting.Hint(a.TimeZone, commonZones()))
	}
	return found.Err()
}

// commonZones feeds the hint only; every IANA name is accepted.
func commonZones() []string {
	return []string{
		"Asia/Shanghai", "Asia/Urumqi", "Asia/Hong_Kong", "Asia/Macau", "Asia/Taipei", "Asia/Singapore", "Asia/Tokyo", "Asia/Seoul",
		"Asia/Bangkok", "Asia/Kolkata", "Asia/Dubai", "Europe/Berlin", "Europe/London", "Europe/Paris", "Europe/Madrid", "Europe/Moscow",
		"America/New_York", "America/Chicago", "America/Denver", "America/Los_Angeles", "America/Sao_Paulo", "Australia/Sydney", "UTC",
	}
}

// validDomain accepts host names of RFC 1123 section 2.1, at least one label.
func validDomain(domain string) bool {
	if domain == "" || len(domain) > 253 {
		return false
	}
	for label := range strings.SplitSeq(strings.ToLower(domain), ".") {
		if label == "" || len(label) > 63 || strings.Trim(label, "abcdefghijklmnopqrstuvwxyz0123456789-") != "" ||
			strings.HasPrefix(label, "-") || strings.HasSuffix(label, "-") {
			return false
		}
	}
	return true
}

func (l Listen) validate() error {
	var found setting.Complaints
	if l.Advertise != "" {
		if addr, err := netip.ParseAddr(l.Advertise); err != nil {
			found.Add("advertise", "%q is no IP address", l.Advertise)
		} else if addr.IsUnspecified() || addr.IsMulticast() {
			found.Add("advertise", "%s is no address that a peer can reach", addr)
		}
	}
	if l.SIPUDP == "" && l.SIPTCP == "" && l.SIPTLS == "" {
		found.Add("", "all SIP listeners are off; at least one of sip_udp, sip_tcp and sip_tls must be on")
	}
	for i, origin := range l.SIPOrigins {
		host, port, colon := strings.Cut(origin, ":")
		if n, err := strconv.ParseUint(port, 10, 16); !validDomain(host) || colon && (err != nil || n == 0) {
			found.Add(setting.Index("sip_origins", i), "%q is no host like \"phones.example\" or \"phones.example:8443\"", origin)
		}
	}
	if group := l.PnP.Group; group != "" {
		if !group.Host().Is4() || !group.Host().IsMulticast() || group.Port() == 0 {
			found.Add("pnp.group", "%q is no multicast group like \"224.0.1.75:5060\"", group)
		}
		for i, name := range l.PnP.Interfaces {
			if name == "" || len(name) > 15 || strings.ContainsAny(name, "/ \t") {
				found.Add(setting.Index("pnp.interfaces", i), "%q is no name of an interface like \"eth0\"; \"auto\" is each", name)
			}
		}
	}
	if l.HTTPS == "" {
		found.Add("https", "the console cannot be off: without it the appliance cannot be operated")
	}
	if l.Metrics != "" && !l.Metrics.Host().IsValid() {
		found.Add("metrics", "metrics have no log-in; bind them to a concrete address like \"127.0.0.1:9464\"")
	}
	return found.Err()
}
