package served

import (
	"fmt"
	"net"
	"net/netip"
	"reflect"
	"strconv"
	"strings"

	"linehall/media/codec"
	"linehall/media/mix"
	"linehall/media/packet"
	"linehall/media/sdp"
)

// Answer takes an offer and returns the answer: the first audio section with a format that we have, every other one
// rejected. The format is the first of the party's that we can encode (RFC 3264 §6.1). A later offer, as of a hold, is answered
// the same way; where the format stays, what is heard and said goes on without a seam. An offer that cannot be used changes
// nothing.
func (l *Leg) Answer(offer []byte) ([]byte, error) {
	a, err := Answer(offer, portOf(l.rtp), portOf(l.rtcp))
	if err != nil {
		return nil, err
	}
	l.turn(a)
	return a.Body, nil
}

// Answered is an answer of ours.
type Answered struct {
	Body []byte

	line    mix.Line
	peer    netip.AddrPort // invalid in a hold of RFC 2543
	control netip.AddrPort // for reports
	silent  bool           // the party wants to hear nothing
}

// Answer is Leg.Answer for an end on other ports of Host.
func Answer(offer []byte, rtp, rtcp int) (Answered, error) {
	doc, err := sdp.Parse(offer)
	if err != nil {
		return Answered{}, fmt.Errorf("offer to a served leg: %w", err)
	}
	var a Answered
	var b strings.Builder
	fmt.Fprintf(&b, "v=0\r\no=- 1 1 IN IP4 %[1]s\r\ns=-\r\nc=IN IP4 %[1]s\r\nt=0 0\r\n", Host)
	taken := false
	for _, m := range doc.Media() {
		line, ok := negotiate(m)
		peer, reachable := m.Target()
		if taken || !ok || !reachable && !m.OnHold() {
			fmt.Fprintf(&b, "m=%s 0 %s %s\r\n", m.Kind(), m.Proto(), strings.Join(m.Formats(), " "))
			continue
		}
		taken = true
		a.line, a.peer, a.silent = line, peer, m.OnHold()
		a.control, _ = m.RTCP()
		section(&b, m, line, rtp, rtcp)
	}
	if !taken {
		return Answered{}, ErrNoFormat
	}
	a.Body = []byte(b.String())
	return a, nil
}

// turn follows an answer.
func (l *Leg) turn(a Answered) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.ear == nil || !reflect.DeepEqual(a.line, l.line) {
		l.line, l.ear, l.mouth = a.line, mix.NewEar(a.line), mix.NewMouth(a.line)
	}
	l.silent = a.silent
	if a.peer.IsValid() {
		l.peer, l.control = a.peer, a.control
	}
}

// negotiate reads what a section offers.
func negotiate(m *sdp.Media) (line mix.Line, ok bool) {
	if m.Kind() != "audio" || m.Port() == 0 || !m.IsRTP() || !m.OverUDP() || m.IsSecure() {
		return line, false
	}
	codecs := m.Codecs()
	for _, c := range codecs {
		if f, known := codec.Find(c.Name, c.ClockRate); known && f.CanEncode() && !ok {
			line.Format, line.Type, ok = f, packet.PayloadType(c.PayloadType), true
		}
	}
	for _, c := range codecs {
		switch {
		case c.Is("telephone-event") && c.ClockRate == line.Format.Clock && line.Event == 0:
			line.Event = packet.PayloadType(c.PayloadType)
		case c.Is("CN") && c.ClockRate == line.Format.Clock && line.Noise == 0:
			line.Noise = packet.PayloadType(c.PayloadType)
		}
	}
	return line, ok
}

func section(b *strings.Builder, m *sdp.Media, line mix.Line, rtp, rtcp int) {
	formats, maps := strconv.Itoa(int(line.Type)), fmt.Sprintf("a=rtpmap:%d %s/%d\r\n", line.Type, line.Format.Name, line.Format.Clock)
	if line.Event != 0 {
		formats += " " + strconv.Itoa(int(line.Event))
		maps += fmt.Sprintf("a=rtpmap:%[1]d telephone-event/%[2]d\r\na=fmtp:%[1]d 0-15\r\n", line.Event, line.Format.Clock)
	}
	direction := sdp.SendRecv
	switch m.Direction() {
	case sdp.SendOnly:
		direction = sdp.RecvOnly
	case sdp.RecvOnly:
		direction = sdp.SendOnly
	case sdp.Inactive:
		direction = sdp.Inactive
	default:
	}
	fmt.Fprintf(b, "m=audio %d %s %s\r\n%sa=ptime:20\r\na=rtcp:%d\r\na=%s\r\n", rtp, m.Proto(), formats, maps, rtcp, direction)
}

func portOf(c conn) int {
	if a, ok := c.LocalAddr().(*net.UDPAddr); ok {
		return a.Port
	}
	return 0
}
