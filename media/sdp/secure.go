package sdp

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
