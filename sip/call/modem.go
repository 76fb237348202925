package call

import (
	"strings"

	"linehall/media/sdp"
)

// Fax and modem calls pass untouched: T.38 as a raw stream, G.711 as it is. They are only
// marked, because loss that nobody hears breaks them, and because whoever looks at the record
// of a failed fax wants to know that it was one.

// What a call carried, for people; once a fax, always a fax.
const (
	mediaVoice = "voice"
	mediaModem = "modem"
	mediaFax   = "fax"
)

// mediaOf reads what a description switches the call to; again is true for all but the first:
// many adapters announce a clear channel in every call, but change to one only for data.
func mediaOf(body []byte, again bool) string {
	doc, err := sdp.Parse(body)
	if err != nil {
		return mediaVoice
	}
	found := mediaVoice
	for _, m := range doc.Media() {
		switch {
		case m.Port() == 0:
		case m.Kind() == "image", hasCodec(m, "t38"): // RFC 3362; T.38 in RTP is RFC 4612
			return mediaFax
		case m.Kind() == "audio" && (voiceBandData(m) || again && clearChannel(m)):
			found = mediaModem
		}
	}
	return found
}

func hasCodec(m *sdp.Media, name string) bool {
	for _, c := range m.Codecs() {
		if c.Is(name) {
			return true
		}
	}
	return false
}

// voiceBandData: the first format is marked as such (ITU-T V.152 §7).
func voiceBandData(m *sdp.Media) bool {
	formats := m.Formats()
	for _, v := range m.Attributes("gpmd") {
		format, params, _ := strings.Cut(v, " ")
		if format == formats[0] && strings.Contains(strings.ReplaceAll(params, " ", ""), "vbd=yes") {
			return true
		}
	}
	return false
}

// clearChannel: silence suppression is off (RFC 3108 §5.6.2.1), and nothing but G.711 is left.
func clearChannel(m *sdp.Media) bool {
	off := false
	for _, v := range m.Attributes("silenceSupp") {
		off = off || strings.HasPrefix(v, "off")
	}
	if !off {
		return false
	}
	for _, c := range m.Codecs() {
		if !c.Is("PCMA") && !c.Is("PCMU") && !c.Auxiliary() {
			return false
		}
	}
	return true
}

// markMedia notes what both phones have agreed on.
func (c *call) markMedia(again bool) {
	if c.rec.Media == "" {
		c.rec.Media = mediaVoice
	}
	for _, l := range []*leg{c.pair.caller, c.pair.callee} {
		switch found := mediaOf(l.Agreed, again); {
		case found == mediaFax, found == mediaModem && c.rec.Media == mediaVoice:
			c.rec.Media = found
		}
	}
	c.rec.SRTP, c.rec.SRTPHere = c.secured(), c.securedHere()
	c.rec.SRTPCaller, c.rec.SRTPCallee = c.pair.caller.Secure, c.pair.callee.Secure
}
