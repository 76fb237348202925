package sdp

import (
	"net/netip"
	"strconv"
	"strings"
)

// WebEnd is what a browser's section says of its transport (RFC 8829 §5.2.1).
type WebEnd struct {
	Fragment, Password string   // ICE
	Fingerprints       []string // values of a=fingerprint
	Setup              string   // who opens DTLS: actpass, active, passive
	Candidates         []string // values of a=candidate; only written
	Stream             string   // value of a=msid; only written
}

// Web reports whether the section is a browser's: SRTP with keys from DTLS, over ICE (RFC 8827 §6.5).
func (m *Media) Web() bool {
	if !strings.Contains(strings.ToUpper(m.Proto()), "TLS/RTP/SAVP") {
		return false
	}
	e := m.WebEnd()
	return e.Fragment != "" && len(e.Fingerprints) > 0
}

// WebEnd reads the section's own lines, or else the session's.
func (m *Media) WebEnd() WebEnd {
	fingerprints := m.Attributes("fingerprint")
	if len(fingerprints) == 0 {
		fingerprints = m.session.values("a=fingerprint:")
	}
	return WebEnd{Fragment: m.inherited("ice-ufrag"), Password: m.inherited("ice-pwd"), Fingerprints: fingerprints, Setup: m.inherited("setup")}
}

// inherited is the value of an attribute that may stand in the session instead.
func (m *Media) inherited(name string) string {
	if i, v := m.attribute(name); i >= 0 {
		return v
	}
	_, v := m.session.attribute(name)
	return v
}

// webOnly are the attributes that only make sense to a browser's transport, or between browsers.
var webOnly = []string{
	"fingerprint", "setup", "tls-id", "mid", "group", "msid", "msid-semantic", "extmap", "extmap-allow-mixed", "rtcp",
	"rtcp-mux", "rtcp-mux-only", "rtcp-rsize", "rtcp-fb", "ssrc", "ssrc-group", "bundle-only", "rid", "simulcast", "cryptex",
}

func isWebOnly(text string) bool {
	for _, name := range webOnly {
		if attributeOf(text, name) {
			return true
		}
	}
	return isICE(text)
}

// Plain turns a browser's description into one of RTP (RFC 3551): what is said of ICE, DTLS, bundles and feedback goes, and
// the address is one that stands for the browser, which itself has none to speak of.
func (d *Document) Plain(addr netip.Addr) {
	d.session.remove(isWebOnly)
	for _, m := range d.media {
		m.remove(isWebOnly)
		if f := m.fields(); m.IsRTP() {
			f[2] = "RTP/AVP"
			m.lines[0].text = "m=" + strings.Join(f, " ")
		}
		if m.Port() != 0 {
			m.SetAddress(addr)
		}
	}
}

// Dress turns a section of RTP into one of a browser's that is at addr.
func (m *Media) Dress(e WebEnd, addr netip.AddrPort) {
	held := m.Address().IsValid() && m.Address().IsUnspecified() // RFC 2543, which browsers do not know
	m.remove(func(text string) bool {
		return isWebOnly(text) || attributeOf(text, "crypto") || strings.HasPrefix(text, "k=")
	})
	f := m.fields()
	f[1], f[2] = strconv.Itoa(int(addr.Port())), "UDP/TLS/RTP/SAVPF"
	m.lines[0].text = "m=" + strings.Join(f, " ")
	m.SetAddress(addr.Addr())
	if held {
		m.SetDirection(SendOnly)
	}
	add := func(name, value string) { m.set(-1, "a="+name+":"+value) }
	maps := m.formatValues("rtpmap")
	for _, c := range m.Codecs() { // not all browsers know the static payload types
		if pt := strconv.Itoa(int(c.PayloadType)); maps[pt] == "" && c.Name != "" {
			add("rtpmap", pt+" "+c.Name+"/"+strconv.Itoa(c.ClockRate))
		}
	}
	add("ice-ufrag", e.Fragment)
	add("ice-pwd", e.Password)
	for _, v := range e.Fingerprints {
		add("fingerprint", v)
	}
	add("setup", e.Setup)
	m.set(-1, "a=rtcp-mux")
	if e.Stream != "" {
		add("msid", e.Stream)
	}
	for _, v := range e.Candidates {
		add("candidate", v)
	}
	m.set(-1, "a=end-of-candidates")
}

// Name gives a section its mid (RFC 8843 §7), also one that is rejected.
func (m *Media) Name(mid string) {
	i, _ := m.attribute("mid")
	m.set(i, "a=mid:"+mid)
}

// Undress gives a rejected section the transport that it was offered with.
func (m *Media) Undress(proto string) {
	f := m.fields()
	f[2] = proto
	m.lines[0].text = "m=" + strings.Join(f, " ")
}

// Lite says in the session that its writer, at addr, is a lite agent (RFC 8445 §2.5), and which section is alone in its bundle.
func (d *Document) Lite(mid string, addr netip.Addr) {
	d.session.remove(isWebOnly)
	d.session.setConnection(addr)
	if mid != "" {
		d.session.set(-1, "a=group:BUNDLE "+mid)
	}
	d.session.set(-1, "a=ice-lite")
}

// Speech reduces the section to codecs whose clock is that of telephones, 8000 Hz, and what goes with them. It reports
// whether one for speech is left.
func (m *Media) Speech() bool {
	var keep []string
	speech := false
	for _, c := range m.Codecs() {
		if c.ClockRate == 8000 && c.Channels == 1 {
			keep = append(keep, strconv.Itoa(int(c.PayloadType)))
			speech = speech || !c.Auxiliary()
		}
	}
	if speech {
		m.keepFormats(keep)
	}
	return speech
}
