package configs

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"linehall/internal/setting"
	"linehall/internal/site"
	"linehall/provisioning/inventory"
)

// compare checks what no domain can see alone.
func (c *checker) compare() {
	c.sites()
	c.overflows()
	c.ports()
	c.transport()
	c.venues()
	c.rows()
	c.overrides()
	c.numbers()
	c.recording()
}

// where says in a message where another setting is.
func (c *checker) where(path string) string {
	at := c.document.find(path)
	return fmt.Sprintf("line %d column %d", at.line, at.column)
}

func (c *checker) sites() {
	sites := c.config.Sites
	if len(sites) == 0 {
		c.add("sites", "there are no sites; at least the main one is needed")
		return
	}
	mains, ids, prefixes := "", map[string]string{}, map[string]string{}
	unreadable := false
	for i, s := range sites {
		path := setting.Index("sites", i)
		unreadable = unreadable || c.document.failed[path] || c.document.failed[path+".main"]
		if s.Main {
			if mains != "" {
				c.add(path+".main", "a second main site; the first is at %s", c.where(mains))
			} else {
				mains = path + ".main"
			}
		}
		if first, taken := ids[string(s.ID)]; taken && s.ID != "" {
			c.add(path+".id", "site id %q is that of %s already", s.ID, c.where(first))
		} else {
			ids[string(s.ID)] = path + ".id"
		}
		c.prefix(path+".prefix", s.Prefix, prefixes)
	}
	if mains == "" && !unreadable {
		c.add("sites", "no site is the main one; set \"main: true\" at headquarters")
	}
	c.subnets()
}

// overflows compares the sites' ways around the lines with the trunks.
func (c *checker) overflows() {
	names := make([]string, 0, len(c.config.Trunks))
	for _, t := range c.config.Trunks {
		names = append(names, t.Name)
	}
	for i, s := range c.config.Sites {
		if o := s.Overflow; o.Trunk != "" && !slices.Contains(names, o.Trunk) {
			c.add(setting.Index("sites", i)+".overflow.trunk", "unknown trunk %q%s", o.Trunk, setting.Hint(o.Trunk, names))
		}
	}
}

// prefix checks a site's leading digits against those of the sites before it.
func (c *checker) prefix(path, prefix string, before map[string]string) {
	if prefix == "" {
		return
	}
	if emergency, collides := c.config.Dialplan.EmergencyPrefix(prefix); collides {
		c.add(path, "prefix %q begins like the emergency number %s", prefix, emergency)
	}
	for other, at := range before {
		switch {
		case other == prefix:
			c.add(path, "prefix %q is that of the site at %s already", prefix, c.where(at))
		case strings.HasPrefix(other, prefix) || strings.HasPrefix(prefix, other):
			c.add(path, "prefix %q and prefix %q at %s begin alike: a number could belong to both sites", prefix, other, c.where(at))
		}
	}
	if _, taken := before[prefix]; !taken {
		before[prefix] = path
	}
}

// subnets of different sites may not lie inside each other: an address belongs
// to one site.
func (c *checker) subnets() {
	type owned struct {
		subnet netip.Prefix
		site   int
		path   string
	}
	var before []owned
	for i, s := range c.config.Sites {
		for j, subnet := range s.Subnets {
			if !subnet.IsValid() {
				continue
			}
			path := setting.Index(setting.Index("sites", i)+".subnets", j)
			for _, other := range before {
				if other.site != i && subnet.Overlaps(other.subnet) {
					c.add(path, "subnet %s overlaps %s at %s", subnet, other.subnet, c.where(other.path))
				}
			}
			before = append(before, owned{subnet, i, path})
		}
	}
}

// ports checks the listeners against each other and against the relay.
func (c *checker) ports() {
	listen := c.config.Listen
	type listener struct {
		key     string
		address setting.Address
		udp     bool
	}
	listeners := []listener{
		{"sip_udp", listen.SIPUDP, true},
		{"tftp", listen.TFTP, true},
		{"media.udp", listen.Media.UDP, true},
		{"sip_tcp", listen.SIPTCP, false},
		{"sip_tls", listen.SIPTLS, false},
		{"https", listen.HTTPS, false},
		{"provisioning", listen.Provisioning, false},
		{"metrics", listen.Metrics, false},
		{"media.tcp", listen.Media.TCP, false},
	}
	for i, a := range listeners {
		for _, b := range listeners[:i] {
			if a.udp == b.udp && a.address.Overlaps(b.address) {
				c.add("listen."+a.key, "port %d is that of listen.%s at %s already", a.address.Port(), b.key, c.where("listen."+b.key))
			}
		}
		if a.udp && a.address.Port() != 0 && listen.RTP.Ports.Contains(a.address.Port()) {
			c.add("listen."+a.key, "port %d lies in the relay's range %s (listen.rtp.ports)", a.address.Port(), listen.RTP.Ports)
		}
	}
}

// transport checks that the listener that phones are sent to is on.
func (c *checker) transport() {
	listen := c.config.Listen
	listeners := map[string]setting.Address{"udp": listen.SIPUDP, "tcp": listen.SIPTCP, "tls": listen.SIPTLS}
	if address, known := listeners[c.config.Terminals.Transport]; known && address == "" {
		c.add("terminals.transport", "phones are told to use %s, but listen.sip_%s is off", c.config.Terminals.Transport, c.config.Terminals.Transport)
	}
	for i, s := range c.config.Sites {
		path := setting.Index("sites", i) + ".srtp"
		switch {
		case s.SRTP != site.SRTPRequired:
		case listen.SIPTLS == "":
			c.add(path, "\"srtp: required\" needs listen.sip_tls: the keys would be readable on the way")
		case c.config.Terminals.SRTP == "off":
			c.add(path, "\"srtp: required\" refuses every call while terminals.srtp tells the phones not to encrypt")
		}
	}
}

func (c *checker) venues() {
	for i, v := range c.config.Conference.Venues {
		path := setting.Index("conference.venues", i) + ".site"
		if v.Site == "" {
			c.add(path, "venue %q needs a site", v.ID)
		} else if !c.knownSite(string(v.Site)) {
			c.add(path, "unknown site %q%s", v.Site, setting.Hint(string(v.Site), c.siteIDs()))
		}
	}
}

// overrides must be for somebody who is there, and may not send phones to a
// listener that is off.
func (c *checker) overrides() {
	listen := c.config.Listen
	listeners := map[string]setting.Address{"udp": listen.SIPUDP, "tcp": listen.SIPTCP, "tls": listen.SIPTLS}
	for i, o := range c.config.Terminals.Overrides {
		path := setting.Index("terminals.overrides", i)
		if o.Site != "" && !c.knownSite(string(o.Site)) {
			c.add(path+".site", "unknown site %q%s", o.Site, setting.Hint(string(o.Site), c.siteIDs()))
		}
		if o.Extension != "" && !slices.ContainsFunc(c.config.inventory, func(r inventory.Row) bool { return r.Extension == o.Extension }) {
			c.add(path+".extension", "no terminal has the extension %q", o.Extension)
		}
		if address, known := listeners[o.Transport]; known && address == "" {
			c.add(path+".transport", "phones are told to use %s, but listen.sip_%s is off", o.Transport, o.Transport)
		}
	}
}

func (c *checker) siteIDs() []string {
	ids := make([]string, 0, len(c.config.Sites))
	for _, s := range c.config.Sites {
		ids = append(ids, string(s.ID))
	}
	return ids
}

func (c *checker) knownSite(id string) bool {
	for _, s := range c.config.Sites {
		if string(s.ID) == id {
			return true
		}
	}
	return false
}
