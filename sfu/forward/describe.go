package forward

import (
	"fmt"
	"strconv"
	"strings"

	"github.com/pion/sdp/v3"
)

// Description is what the forwarder needs of a publisher's offer.
type Description struct {
	mids          map[string]Kind
	ssrcs         map[uint32]declared
	formats       [128]format
	midID         uint8
	ridID         uint8
	repairedRIDID uint8
	audioLevelID  uint8
	transportID   uint8
	Session       uint64 // session id of the o= line
	Fingerprint   string
}

type declared struct {
	kind   Kind
	repair bool
}

func (d *Description) kindOf(mid string) (Kind, bool) { k, ok := d.mids[mid]; return k, ok }
func (d *Description) isRepair(pt uint8) bool         { return d.formats[pt&0x7f].repair }

// Parse reads a publisher's offer or a subscriber's answer.
func Parse(text string) (*Description, error) {
	var s sdp.SessionDescription
	if err := s.UnmarshalString(text); err != nil {
		return nil, fmt.Errorf("session description: %w", err)
	}
	d := &Description{mids: map[string]Kind{}, ssrcs: map[uint32]declared{}, Session: s.Origin.SessionID}
	d.Fingerprint, _ = s.Attribute("fingerprint")
	videos := 0
	for _, m := range s.MediaDescriptions {
		kind := Microphone
		switch m.MediaName.Media {
		case "audio":
		case "video":
			kind = Camera
			if videos > 0 {
				kind = Content
			}
			videos++
		default:
			continue
		}
		d.readMedia(m, kind)
	}
	return d, nil
}

func (d *Description) readMedia(m *sdp.MediaDescription, kind Kind) {
	if mid, ok := m.Attribute("mid"); ok {
		if _, taken := d.mids[mid]; !taken {
			d.mids[mid] = kind
		}
	}
	if f, ok := m.Attribute("fingerprint"); ok && d.Fingerprint == "" {
		d.Fingerprint = f
	}
	_, simulcast := m.Attribute("simulcast")
	for _, a := range m.Attributes {
		switch a.Key {
		case "extmap":
			d.readExtension(a.Value)
		case "rtpmap":
			d.readCodec(m.MediaName.Media, a.Value)
		case "fmtp":
			d.readParameters(a.Value)
		case "ssrc":
			// Streams of a simulcast m-line are told by RID; Firefox lists their SSRCs as well, without saying which is which.
			if id, ok := parseSSRC(a.Value); ok && !simulcast && len(d.ssrcs) < maxStreams {
				d.ssrcs[id] = declared{kind: kind, repair: d.ssrcs[id].repair}
			}
		case "ssrc-group":
			if fields := strings.Fields(a.Value); len(fields) == 3 && fields[0] == "FID" && !simulcast && len(d.ssrcs) < maxStreams {
				if id, ok := parseSSRC(fields[2]); ok {
					d.ssrcs[id] = declared{kind: kind, repair: true}
				}
			}
		}
	}
}

func parseSSRC(v string) (uint32, bool) {
	first, _, _ := strings.Cut(v, " ")
	id, err := strconv.ParseUint(first, 10, 32)
	return uint32(id), err == nil //nolint:gosec // parsed with 32 bits
}

// readExtension reads "1[/direction] uri".
func (d *Description) readExtension(v string) {
	number, rest, _ := strings.Cut(v, " ")
	number, _, _ = strings.Cut(number, "/")
	id, err := strconv.ParseUint(number, 10, 8)
	if err != nil {
		return
	}
	uri, _, _ := strings.Cut(rest, " ")
	into := map[string]*uint8{
		sdp.SDESMidURI: &d.midID, sdp.SDESRTPStreamIDURI: &d.ridID, sdp.SDESRepairRTPStreamIDURI: &d.repairedRIDID,
		sdp.AudioLevelURI: &d.audioLevelID, sdp.TransportCCURI: &d.transportID,
	}[uri]
	if into != nil {
		*into = uint8(id)
	}
}

// readCodec reads "96 VP8/90000". A payload type means the same in all m-lines of a bundle (RFC 9143 §9.1).
func (d *Description) readCodec(media, v string) {
	number, name, _ := strings.Cut(v, " ")
	pt, err := strconv.ParseUint(number, 10, 7)
	if err != nil {
		return
	}
	name, _, _ = strings.Cut(name, "/")
	if strings.EqualFold(name, "rtx") {
		d.formats[pt].repair = true
		return
	}
	d.formats[pt].codec = CodecOf(media + "/" + name)
}

// readParameters reads "97 apt=96".
func (d *Description) readParameters(v string) {
	number, rest, _ := strings.Cut(v, " ")
	pt, err := strconv.ParseUint(number, 10, 7)
	if err != nil {
		return
	}
	for p := range strings.SplitSeq(rest, ";") {
		if of, ok := strings.CutPrefix(strings.TrimSpace(p), "apt="); ok {
			if n, err := strconv.ParseUint(of, 10, 7); err == nil {
				d.formats[pt].of = uint8(n)
			}
		}
	}
}
