package sdp

import (
	"strconv"
	"strings"
)

// Codec is one RTP format of a media section.
type Codec struct {
	PayloadType uint8
	Name        string // as in the rtpmap, like PCMA or opus
	ClockRate   int    // ticks per second of the RTP timestamp
	Channels    int
	Parameters  string // the a=fmtp value
}

// Is compares the name without regard to case (RFC 8866 §6.6).
func (c Codec) Is(name string) bool { return strings.EqualFold(c.Name, name) }

// Auxiliary reports whether the format accompanies speech and is no speech itself: DTMF and comfort noise.
func (c Codec) Auxiliary() bool {
	return c.Is("telephone-event") || c.Is("CN") || c.Is("tone") || c.Is("rtx") || c.Is("ulpfec") || c.Is("flexfec-03")
}

// static holds the payload types of RFC 3551 §6 that phones use without an rtpmap.
func static(pt uint8) (name string, clock int) {
	switch pt {
	case 0:
		return "PCMU", 8000
	case 3:
		return "GSM", 8000
	case 4:
		return "G723", 8000
	case 5:
		return "DVI4", 8000
	case 6:
		return "DVI4", 16000
	case 7:
		return "LPC", 8000
	case 8:
		return "PCMA", 8000
	case 9:
		return "G722", 8000 // 16 kHz; the clock is an error of RFC 1890 that stayed
	case 10, 11:
		return "L16", 44100
	case 12:
		return "QCELP", 8000
	case 13:
		return "CN", 8000
	case 15:
		return "G728", 8000
	case 18:
		return "G729", 8000
	case 26:
		return "JPEG", 90000
	case 31:
		return "H261", 90000
	case 34:
		return "H263", 90000
	default:
		return "", 0
	}
}

// Codecs returns the RTP formats in the order of preference. A dynamic payload type without rtpmap has no name.
func (m *Media) Codecs() []Codec {
	if !m.IsRTP() {
		return nil
	}
	maps, params := m.formatValues("rtpmap"), m.formatValues("fmtp")
	out := make([]Codec, 0, len(m.Formats()))
	for _, f := range m.Formats() {
		pt, err := strconv.ParseUint(f, 10, 7)
		if err != nil {
			continue
		}
		c := Codec{PayloadType: uint8(pt), Channels: 1, Parameters: params[f]}
		c.Name, c.ClockRate = static(c.PayloadType)
		if pt == 10 {
			c.Channels = 2
		}
		if text, ok := maps[f]; ok {
			c.readMap(text)
		}
		out = append(out, c)
	}
	return out
}

// formatValues maps the first word of each a=name line to the rest of the line.
func (m *Media) formatValues(name string) map[string]string {
	out := map[string]string{}
	for _, v := range m.Attributes(name) {
		format, rest, _ := strings.Cut(v, " ")
		if _, twice := out[format]; !twice {
			out[format] = strings.TrimSpace(rest)
		}
	}
	return out
}

// readMap reads "opus/48000/2".
func (c *Codec) readMap(text string) {
	parts := strings.Split(text, "/")
	c.Name = strings.TrimSpace(parts[0])
	if len(parts) > 1 {
		if n, err := strconv.ParseUint(strings.TrimSpace(parts[1]), 10, 24); err == nil && n > 0 {
			c.ClockRate = int(n)
		}
	}
	if len(parts) > 2 {
		if n, err := strconv.ParseUint(strings.TrimSpace(parts[2]), 10, 8); err == nil && n > 0 {
			c.Channels = int(n)
		}
	}
}

// PacketTime returns the a=ptime of the section in milliseconds: how much the writer wants to receive per packet.
func (m *Media) PacketTime() (ms int, ok bool) {
	v, ok := m.Attribute("ptime")
	if !ok {
		return 0, false
	}
	f, err := strconv.ParseFloat(v, 64) // some phones write 20.0
	if err != nil || f < 1 || f > 1000 {
		return 0, false
	}
	return int(f), true
}

// Stream is a rate as a line needs it: headers cost per packet.
type Stream struct {
	PacketsPerSecond int
	BytesPerPacket   int // the whole IP packet
}

// BitsPerSecond returns the rate with that many bytes per packet added.
func (s Stream) BitsPerSecond(overhead int) int64 {
	return int64(s.PacketsPerSecond) * int64(s.BytesPerPacket+overhead) * 8
}

// Worse returns the stream that takes more of a leased Ethernet line (18 bytes per packet).
func (s Stream) Worse(o Stream) Stream {
	const ethernet = 18
	if o.BitsPerSecond(ethernet) > s.BitsPerSecond(ethernet) {
		return o
	}
	return s
}

// header returns what surrounds the payload: IP, UDP, RTP, and with SRTP the longest tag in use (AES-GCM, 16 bytes;
// AES-CM has 10: RFC 7714, RFC 3711).
func (m *Media) header() int {
	n := 20 + 8 + 12
	if a := m.Address(); a.IsValid() && a.Is6() && !a.Is4In6() {
		n += 20
	}
	if m.IsSecure() {
		n += m.tag()
	}
	return n
}

func (m *Media) tag() int {
	const gcm, cm = 16, 10
	crypto := m.Attributes("crypto")
	for _, c := range crypto {
		if strings.Contains(c, "GCM") {
			return gcm
		}
	}
	if len(crypto) > 0 {
		return cm
	}
	return gcm // DTLS-SRTP: not known yet
}

// Worst returns the most that the section can take in one direction with any of its codecs. ptime is the packet time in
// milliseconds that the receiver asked for, 0 if it did not.
//
//	audio    per codec, see payload; a name that is not known counts as 64 kbit/s
//	video    b=TIAS or b=AS, else VideoRate
//	image    T.38 with redundancy counts like G.711, which it replaces
func (m *Media) Worst(ptime int) Stream {
	switch {
	case m.Port() == 0 || !m.OverUDP():
		return Stream{}
	case m.Kind() == "video":
		return m.video()
	case !m.IsRTP():
		return packets(64_000, 20, m.header())
	}
	var worst Stream
	speech := false
	for _, c := range m.Codecs() {
		if c.Auxiliary() {
			continue
		}
		speech = true
		bps, own := c.payload()
		ms := own
		if ptime > 0 && own == defaultPacketTime {
			ms = max(10, ptime) // nobody sends less than 10 ms
		}
		worst = worst.Worse(packets(bps, ms, m.header()))
	}
	if !speech { // only DTMF or comfort noise
		worst = packets(8_000, defaultPacketTime, m.header())
	}
	return worst
}

// packets returns the stream of a codec of bps with ms milliseconds in a packet.
func packets(bps, ms, header int) Stream {
	return Stream{PacketsPerSecond: (1000 + ms - 1) / ms, BytesPerPacket: (bps*ms+7999)/8000 + header}
}

const defaultPacketTime = 20 // RFC 3551 §4.2

// payload returns the highest bit rate of a codec without headers, and its packet time: the default, or the one that
// the codec is used with (RFC 3551 table 1; RFC 3952; RFC 4867).
func (c Codec) payload() (bps, ms int) {
	switch strings.ToUpper(c.Name) {
	case "G729", "G729A", "G729B", "G729AB", "G729D", "G729E":
		return 8_000, 20
	case "G723":
		return 6_400, 30
	case "GSM":
		return 13_200, 20
	case "GSM-EFR":
		return 12_400, 20
	case "ILBC":
		return 15_200, 20
	case "G726-16":
		return 16_000, 20
	case "G726-24":
		return 24_000, 20
	case "G726-32", "G721":
		return 32_000, 20
	case "G726-40":
		return 40_000, 20
	case "G728":
		return 16_000, 20
	case "AMR":
		return 12_800, 20
	case "AMR-WB":
		return 24_400, 20
	case "SPEEX":
		return 44_000, 20
	case "LPC":
		return 5_600, 20
	case "DVI4":
		return c.ClockRate * 4, 20
	case "L16":
		return c.ClockRate * 16 * c.Channels, 20
	case "L8":
		return c.ClockRate * 8 * c.Channels, 20
	case "OPUS":
		return c.opus(), 20
	default: // PCMU, PCMA, G722, and what we do not know
		return 64_000, 20
	}
}

// opus returns maxaveragebitrate (RFC 7587 §6.1), or 64 kbit/s: twice what browsers and phones use for one voice.
func (c Codec) opus() int {
	for p := range strings.SplitSeq(c.Parameters, ";") {
		name, value, _ := strings.Cut(strings.TrimSpace(p), "=")
		if strings.EqualFold(name, "maxaveragebitrate") {
			if n, err := strconv.Atoi(value); err == nil {
				return min(max(n, 6_000), 510_000)
			}
		}
	}
	return 64_000
}

// VideoRate is what a video section without a b= line counts: a video phone at CIF or 360p; bit/s without headers.
const VideoRate = 768_000

// video reads b=TIAS (without headers), b=AS (with IP headers), or takes VideoRate; packets of 1000 bytes.
func (m *Media) video() Stream {
	const size = 1000
	payload := int64(VideoRate)
	if tias, ok := m.Bandwidth("TIAS"); ok && tias > 0 {
		payload = tias
	} else if as, ok := m.Bandwidth("AS"); ok && as > 0 {
		payload = as * size / int64(size+m.header())
	}
	payload = min(payload, 100_000_000)
	return Stream{PacketsPerSecond: int(payload/(size*8)) + 1, BytesPerPacket: size + m.header()}
}
