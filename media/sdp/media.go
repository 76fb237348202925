package sdp

import (
	"net/netip"
	"slices"
	"strconv"
	"strings"
)

// Direction of a medium, seen from who wrote the description.
type Direction string

// The directions of RFC 3264 §5.1.
const (
	SendRecv Direction = "sendrecv"
	SendOnly Direction = "sendonly"
	RecvOnly Direction = "recvonly"
	Inactive Direction = "inactive"
)

// Media is one media section: an m= line and what follows it.
type Media struct {
	section
	session *section
}

// checkMedia returns what is wrong with an m= line, or "".
func checkMedia(text string) string {
	f := strings.Fields(text[2:])
	if len(f) < 4 {
		return "an m= line needs a medium, a port, a protocol and a format"
	}
	port, count, _ := strings.Cut(f[1], "/")
	if n, err := strconv.ParseUint(port, 10, 32); err != nil || n > 65535 {
		return "the port is not a number up to 65535"
	}
	if count != "" {
		if _, err := strconv.ParseUint(count, 10, 16); err != nil {
			return "the number of ports is not a number"
		}
	}
	return ""
}

// fields returns the parts of the m= line; Parse saw to it that there are four.
func (m *Media) fields() []string { return strings.Fields(m.lines[0].text[2:]) }

// Kind returns audio, video, image, application, text or message.
func (m *Media) Kind() string { return m.fields()[0] }

// Proto returns the transport, like RTP/AVP.
func (m *Media) Proto() string { return m.fields()[2] }

// Formats returns what follows the transport: payload types in RTP.
func (m *Media) Formats() []string { return m.fields()[3:] }

// Port returns the port; 0 means that the section was rejected or is switched off.
func (m *Media) Port() int {
	port, _, _ := strings.Cut(m.fields()[1], "/")
	n, _ := strconv.Atoi(port) // Parse checked it
	return n
}

// SetPort replaces the port. A number of ports ("/2") goes: there is one port behind a relay.
func (m *Media) SetPort(port int) {
	f := m.fields()
	f[1] = strconv.Itoa(port)
	m.lines[0].text = "m=" + strings.Join(f, " ")
}

// Reject sets port 0 and removes every other line of the section: what an answer or a kept m-line needs.
func (m *Media) Reject() {
	m.SetPort(0)
	m.lines = m.lines[:1:1]
}

// SetFormats replaces the list of formats; it must not be empty. Attributes of formats that left stay, which
// RFC 8866 §9 allows.
func (m *Media) SetFormats(formats []string) {
	if len(formats) > 0 {
		m.lines[0].text = "m=" + strings.Join(append(m.fields()[:3:3], formats...), " ")
	}
}

// OverUDP reports whether the section's transport is datagrams: RTP in any profile, T.38 over UDPTL, anything over UDP.
func (m *Media) OverUDP() bool {
	proto := strings.ToUpper(m.Proto())
	if strings.HasPrefix(proto, "TCP") {
		return false
	}
	return m.IsRTP() || strings.HasPrefix(proto, "UDP") || strings.HasPrefix(proto, "DTLS")
}

// IsRTP reports whether the section carries RTP or SRTP.
func (m *Media) IsRTP() bool { return strings.Contains(strings.ToUpper(m.Proto()), "RTP/") }

// IsSecure reports whether the section carries SRTP.
func (m *Media) IsSecure() bool { return strings.Contains(strings.ToUpper(m.Proto()), "SAVP") }

// Address returns the address that holds for this section: its own c= line or the session's. It is invalid when that is
// a name or missing, and unspecified (0.0.0.0, ::) in a hold of RFC 2543.
func (m *Media) Address() netip.Addr {
	if m.index("c=") >= 0 {
		a, _ := m.connection()
		return a
	}
	a, _ := m.session.connection()
	return a
}

// SetAddress gives the section a c= line of its own.
func (m *Media) SetAddress(addr netip.Addr) { m.setConnection(addr) }

// Target returns where the writer of the description wants RTP; ok is false in a hold of RFC 2543, with port 0 and
// where the address is a name.
func (m *Media) Target() (target netip.AddrPort, ok bool) {
	addr, port := m.Address(), m.Port()
	if !addr.IsValid() || addr.IsUnspecified() || port == 0 {
		return netip.AddrPort{}, false
	}
	return netip.AddrPortFrom(addr.Unmap(), uint16(port)), true //nolint:gosec // Parse allows up to 65535
}

// RTCP returns where RTCP goes unless both sides agree to multiplex it (see RTCPMux): what the a=rtcp line says
// (RFC 3605), otherwise the port above RTP.
func (m *Media) RTCP() (target netip.AddrPort, ok bool) {
	rtp, ok := m.Target()
	if !ok {
		return netip.AddrPort{}, false
	}
	if i, v := m.attribute("rtcp"); i >= 0 {
		f := strings.Fields(v)
		if len(f) > 0 {
			if port, err := strconv.ParseUint(f[0], 10, 16); err == nil && port != 0 {
				addr := rtp.Addr()
				if len(f) >= 4 {
					if a, err := netip.ParseAddr(f[3]); err == nil {
						addr = a.Unmap()
					}
				}
				return netip.AddrPortFrom(addr, uint16(port)), true
			}
		}
	}
	if rtp.Port() == 65535 {
		return netip.AddrPort{}, false
	}
	return netip.AddrPortFrom(rtp.Addr(), rtp.Port()+1), true
}

// SharesPort reports whether a=rtcp names the RTP port itself: RTP and RTCP are multiplexed without asking.
func (m *Media) SharesPort() bool {
	_, v := m.attribute("rtcp")
	port, _, _ := strings.Cut(v, " ")
	return port == strconv.Itoa(m.Port())
}

// SetRTCP rewrites the a=rtcp line if there is one; with an address only if there was one.
func (m *Media) SetRTCP(target netip.AddrPort) {
	i, v := m.attribute("rtcp")
	if i < 0 {
		return
	}
	text := "a=rtcp:" + strconv.Itoa(int(target.Port()))
	if len(strings.Fields(v)) > 1 {
		text += " IN " + addressText(target.Addr())
	}
	m.set(i, text)
}

// RTCPMux reports whether the writer is willing to have RTP and RTCP on one port; they share it when the other side is
// willing too (RFC 5761 §5.1.1).
func (m *Media) RTCPMux() bool {
	i, _ := m.attribute("rtcp-mux")
	return i >= 0
}

// Direction returns the section's direction, the session's if it has none, sendrecv if neither has one.
func (m *Media) Direction() Direction {
	for _, s := range []*section{&m.section, m.session} {
		for _, l := range s.lines {
			if d := direction(l.text); d != "" {
				return d
			}
		}
	}
	return SendRecv
}

// SetDirection replaces the section's direction or adds one; the session's stays.
func (m *Media) SetDirection(d Direction) {
	m.set(slices.IndexFunc(m.lines, func(l line) bool { return direction(l.text) != "" }), "a="+string(d))
}

func direction(text string) Direction {
	for _, d := range []Direction{SendRecv, SendOnly, RecvOnly, Inactive} {
		if strings.TrimSpace(text) == "a="+string(d) {
			return d
		}
	}
	return ""
}

// OnHold reports whether the writer wants to hear nothing: sendonly, inactive, or the address 0.0.0.0 of RFC 2543. A browser
// writes that address when it has nothing to say there (RFC 8829 §5.2.1).
func (m *Media) OnHold() bool {
	d := m.Direction()
	return d == SendOnly || d == Inactive || m.Address().IsValid() && m.Address().IsUnspecified() && !m.Web()
}

// Attribute returns the value of the section's own first a=name line; a flag has the value "".
func (m *Media) Attribute(name string) (string, bool) {
	i, v := m.attribute(name)
	return v, i >= 0
}

// Attributes returns the values of all a=name:value lines of the section.
func (m *Media) Attributes(name string) []string { return m.values("a=" + name + ":") }

// Bandwidth returns the bit/s of a b= line: AS (kbit/s with IP headers) or TIAS (bit/s without, RFC 3890).
func (m *Media) Bandwidth(kind string) (bps int64, ok bool) {
	v, ok := m.value("b=" + kind + ":")
	if !ok {
		return 0, false
	}
	n, err := strconv.ParseUint(v, 10, 40)
	if err != nil {
		return 0, false
	}
	if kind == "AS" || kind == "CT" {
		n *= 1000
	}
	return int64(n), true //nolint:gosec // 40 bits times 1000
}
