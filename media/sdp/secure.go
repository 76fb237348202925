package sdp

import "strings"

// Keyed reports whether the section brings keys for SRTP: SDES (RFC 4568), or a DTLS fingerprint (RFC 5763), its own or
// the session's. With the profile RTP/AVP it is an offer that may be answered without (RFC 8643).
func (m *Media) Keyed() bool {
	if m.SDES() {
		return true
	}
	if i, _ := m.attribute("fingerprint"); i >= 0 {
		return true
	}
	i, _ := m.session.attribute("fingerprint")
	return i >= 0
}

// SDES reports whether the section carries its keys in clear text (RFC 4568 §7: the signalling has to be protected).
func (m *Media) SDES() bool {
	i, _ := m.attribute("crypto")
	return i >= 0
}

// SetSecure makes the section one of SRTP (RFC 3711, RFC 5124) or of RTP, in the profile it has otherwise.
func (m *Media) SetSecure(secure bool) {
	f := m.fields()
	switch {
	case secure == m.IsSecure():
		return
	case secure:
		f[2] = strings.Replace(strings.ToUpper(f[2]), "RTP/AVP", "RTP/SAVP", 1)
	default:
		f[2] = strings.Replace(strings.ToUpper(f[2]), "RTP/SAVP", "RTP/AVP", 1)
	}
	m.lines[0].text = "m=" + strings.Join(f, " ")
}

// SetCrypto replaces the a=crypto lines, and leaves out what says the same of other sources and keys (k=, a=ssrc, DTLS).
func (m *Media) SetCrypto(values ...string) {
	m.remove(func(text string) bool {
		for _, name := range []string{"crypto", "ssrc", "ssrc-group", "fingerprint", "setup", "tls-id"} {
			if attributeOf(text, name) {
				return true
			}
		}
		return strings.HasPrefix(text, "k=")
	})
	for _, v := range values {
		m.set(-1, "a=crypto:"+v)
	}
}
