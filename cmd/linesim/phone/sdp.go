package phone

import (
	"encoding/base64"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"strings"

	"github.com/pion/sdp/v3"

	"linehall/cmd/linesim/tone"
	"linehall/cmd/linesim/voice"
)

var errNoAudio = errors.New("no usable audio in the session description")

// laws are the codecs of a simulated phone in its order of preference.
func laws() []tone.Law { return []tone.Law{tone.ALaw, tone.MuLaw} }

// session is our side of a session description (RFC 8866, RFC 3264).
type session struct {
	id, version uint64
	local       netip.AddrPort
	laws        []tone.Law
	direction   string
	key         string // of our SRTP; "": RTP
	tag         string // of our key in the description
}

// marshal writes the description: one audio line, telephone events (RFC 4733) beside the codecs.
func (s session) marshal() []byte {
	var b strings.Builder
	address := s.local.Addr().String()
	fmt.Fprintf(&b, "v=0\r\no=- %d %d IN IP4 %s\r\ns=linesim\r\nc=IN IP4 %s\r\nt=0 0\r\n", s.id, s.version, address, address)
	profile := "RTP/AVP"
	if s.key != "" {
		profile = "RTP/SAVP"
	}
	fmt.Fprintf(&b, "m=audio %d %s", s.local.Port(), profile)
	for _, law := range s.laws {
		fmt.Fprintf(&b, " %d", law)
	}
	b.WriteString(" 101\r\n")
	for _, law := range s.laws {
		fmt.Fprintf(&b, "a=rtpmap:%d %s/8000\r\n", law, law.Name())
	}
	if s.key != "" {
		fmt.Fprintf(&b, "a=crypto:%s %s inline:%s\r\n", s.tag, suite, base64.StdEncoding.EncodeToString([]byte(s.key)))
	}
	fmt.Fprintf(&b, "a=rtpmap:101 telephone-event/8000\r\na=fmtp:101 0-15\r\na=ptime:20\r\na=%s\r\n", s.direction)
	return []byte(b.String())
}

// remoteMedia is what the other side's description says to us.
type remoteMedia struct {
	address   netip.AddrPort
	laws      []tone.Law // in the peer's order, only those we speak
	direction string     // as written by the peer
	held      bool       // the peer does not want to hear us
	key, tag  string     // of its SRTP; "": RTP
}

// parseSDP reads the first audio line.
func parseSDP(body []byte) (remoteMedia, error) {
	var d sdp.SessionDescription
	if err := d.Unmarshal(body); err != nil {
		return remoteMedia{}, fmt.Errorf("session description: %w", err)
	}
	for _, m := range d.MediaDescriptions {
		if m.MediaName.Media != "audio" || m.MediaName.Port.Value == 0 {
			continue
		}
		return audioOf(&d, m)
	}
	return remoteMedia{}, errNoAudio
}

func audioOf(d *sdp.SessionDescription, m *sdp.MediaDescription) (remoteMedia, error) {
	connection := m.ConnectionInformation
	if connection == nil {
		connection = d.ConnectionInformation
	}
	if connection == nil || connection.Address == nil {
		return remoteMedia{}, fmt.Errorf("%w: no c= line", errNoAudio)
	}
	addr, err := netip.ParseAddr(connection.Address.Address)
	if err != nil {
		return remoteMedia{}, fmt.Errorf("%w: %w", errNoAudio, err)
	}
	r := remoteMedia{address: netip.AddrPortFrom(addr, uint16(m.MediaName.Port.Value)), direction: "sendrecv"}
	for _, direction := range []string{"sendonly", "recvonly", "inactive", "sendrecv"} {
		if _, ok := m.Attribute(direction); ok {
			r.direction = direction
			break
		}
		if _, ok := d.Attribute(direction); ok {
			r.direction = direction
		}
	}
	if slices.Contains(m.MediaName.Protos, "SAVP") {
		if r.key, r.tag = keyOf(m); r.key == "" {
			return remoteMedia{}, errNoKey
		}
	}
	for _, format := range m.MediaName.Formats {
		pt, err := strconv.Atoi(format)
		if err == nil && slices.Contains(laws(), tone.Law(pt)) {
			r.laws = append(r.laws, tone.Law(pt))
		}
	}
	if len(r.laws) == 0 {
		return remoteMedia{}, fmt.Errorf("%w: no common codec in %v", errNoAudio, m.MediaName.Formats)
	}
	// RFC 3264 §8.4, and the older form with an address of zeros.
	r.held = r.direction == "sendonly" || r.direction == "inactive" || addr.IsUnspecified()
	return r, nil
}

// suite is the one that a phone here talks (RFC 4568 §6.2).
const suite = "AES_CM_128_HMAC_SHA1_80"

var errNoKey = errors.New("no usable key in the session description")

// keyOf reads the key of a media line (RFC 4568 §9.1): tag, suite, "inline:" and key and salt, then perhaps more.
func keyOf(m *sdp.MediaDescription) (key, tag string) {
	for _, a := range m.Attributes {
		fields := strings.Fields(a.Value)
		if a.Key != "crypto" || len(fields) < 3 || fields[1] != suite {
			continue
		}
		text, _, _ := strings.Cut(strings.TrimPrefix(fields[2], "inline:"), "|")
		if key, err := base64.StdEncoding.DecodeString(text); err == nil && len(key) == voice.KeyLength {
			return string(key), fields[0]
		}
	}
	return "", ""
}

// mirror is the direction to answer with (RFC 3264 §6.1).
func mirror(offered string) string {
	switch offered {
	case "sendonly":
		return "recvonly"
	case "recvonly":
		return "sendonly"
	case "inactive":
		return "inactive"
	}
	return "sendrecv"
}
