package configs

import (
	"slices"

	"linehall/internal/setting"
	"linehall/sip/dialplan"
	"linehall/sip/trunk"
)

// trunks compares the trunks with the number plan and the listeners.
func (p *numberPlan) trunks() {
	names := make([]string, 0, len(p.config.Trunks))
	for i, t := range p.config.Trunks {
		path := setting.Index("trunks", i)
		if first := slices.Index(names, t.Name); first >= 0 {
			p.add(path+".name", "trunk %q is that of %s already", t.Name, p.where(setting.Index("trunks", first)+".name"))
		}
		names = append(names, t.Name)
		p.did(t, path)
		p.gateways(t, path)
	}
	d := p.config.Dialplan
	for i, rule := range d.Rules {
		p.trunkNames(rule.Trunks, setting.Index("dialplan.rules", i)+".trunks", names)
	}
	p.trunkNames(d.EmergencyTrunks, "dialplan.emergency_trunks", names)
}

func (p *numberPlan) trunkNames(used []string, path string, known []string) {
	for i, name := range used {
		if !slices.Contains(known, name) {
			p.add(setting.Index(path, i), "unknown trunk %q%s", name, setting.Hint(name, known))
		}
	}
}

// did checks where the numbers of a trunk lead.
func (p *numberPlan) did(t trunk.Config, path string) {
	calendars := p.config.Dialplan.CalendarNames()
	canonical := map[string]string{}
	for i, did := range t.DIDs {
		at := setting.Index(path+".dids", i)
		for key, number := range map[string]string{"to": did.To, "closed": did.Closed, "holiday": did.Holiday} {
			if number != "" {
				p.ours(number, at+"."+key)
			}
		}
		if did.Calendar != "" && !slices.Contains(calendars, did.Calendar) {
			p.add(at+".calendar", "unknown calendar %q%s", did.Calendar, setting.Hint(did.Calendar, calendars))
		}
		form, _ := p.config.Dialplan.Numbering.Canonical(did.Number)
		if first, taken := canonical[form]; taken && form != dialplan.Normalise(did.Number) {
			p.add(at+".number", "the DID %s is the number at %s, written otherwise", did.Number, p.where(first+".number"))
		}
		canonical[form] = at
	}
	if t.Unknown != "" {
		p.ours(t.Unknown, path+".unknown")
	}
}

// gateways checks that the listener is on that a gateway's answers come to.
func (p *numberPlan) gateways(t trunk.Config, path string) {
	listen := p.config.Listen
	off := map[string]bool{"udp": listen.SIPUDP == "", "tcp": listen.SIPTCP == "", "tls": listen.SIPTLS == ""}
	for i, g := range t.Gateways {
		transport := g.Transport
		if transport == "" && g.Address != "" {
			transport = "udp"
		}
		if off[transport] {
			p.add(setting.Index(path+".gateways", i)+".transport", "the gateway uses %s, but listen.sip_%s is off", transport, transport)
		}
	}
}
