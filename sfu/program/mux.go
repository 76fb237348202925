package program

import (
	"encoding/binary"
	"strings"
	"time"

	"github.com/pion/webrtc/v4"
)

// track is one of a file's.
type track struct {
	Number        int
	MIME          string
	Name          string
	Width, Height int
	private       []byte // CodecPrivate
}

func (t *track) video() bool { return strings.HasPrefix(strings.ToLower(t.MIME), "video/") }

// codecOf names a codec as RFC 9559 and the codec mappings do.
func codecOf(mime string) string {
	switch strings.ToLower(mime) {
	case strings.ToLower(webrtc.MimeTypeVP8):
		return "V_VP8"
	case strings.ToLower(webrtc.MimeTypeVP9):
		return "V_VP9"
	case strings.ToLower(webrtc.MimeTypeAV1):
		return "V_AV1"
	case strings.ToLower(webrtc.MimeTypeH264):
		return "V_MPEG4/ISO/AVC"
	case strings.ToLower(webrtc.MimeTypeOpus):
		return "A_OPUS"
	case strings.ToLower(webrtc.MimeTypePCMU), strings.ToLower(webrtc.MimeTypePCMA), strings.ToLower(webrtc.MimeTypeG722):
		return "A_MS/ACM"
	}
	return ""
}

// opusHead is the identification header (RFC 7845 §5.1): one channel, no pre-skip, since the stream does not begin here.
var opusHead = []byte{'O', 'p', 'u', 's', 'H', 'e', 'a', 'd', 1, 1, 0, 0, 0x80, 0xBB, 0, 0, 0, 0, 0}

// opusPreRoll is how much a decoder needs after a seek, in nanoseconds.
const opusPreRoll = 80_000_000

// waveFormat is WAVEFORMATEX of a telephone's codec.
func waveFormat(mime string) []byte {
	tag, rate, bits := uint16(7), uint32(8000), uint16(8) // WAVE_FORMAT_MULAW
	switch strings.ToLower(mime) {
	case strings.ToLower(webrtc.MimeTypePCMA):
		tag = 6 // WAVE_FORMAT_ALAW
	case strings.ToLower(webrtc.MimeTypeG722):
		tag, rate, bits = 0x028F, 16000, 4 // WAVE_FORMAT_ADPCM_G722
	}
	b := binary.LittleEndian.AppendUint16(nil, tag)
	b = binary.LittleEndian.AppendUint16(b, 1)
	b = binary.LittleEndian.AppendUint32(b, rate)
	b = binary.LittleEndian.AppendUint32(b, 8000)
	b = binary.LittleEndian.AppendUint16(b, 1)
	b = binary.LittleEndian.AppendUint16(b, bits)
	return binary.LittleEndian.AppendUint16(b, 0)
}

func (t *track) entry() []byte {
	var b []byte
	b = appendUint(b, idTrackNumber, uint64(t.Number)) //nolint:gosec // 1, 2, …
	b = appendUint(b, idTrackUID, uint64(t.Number))    //nolint:gosec // as above
	b = appendUint(b, idTrackLacing, 0)
	b = appendText(b, idTrackLang, "und")
	if t.Name != "" {
		b = appendText(b, idTrackName, t.Name)
	}
	b = appendText(b, idCodec, codecOf(t.MIME))
	if t.private != nil {
		b = appendElement(b, idCodecPrivate, t.private)
	}
	if t.video() {
		b = appendUint(b, idTrackType, 1)
		size := appendUint(appendUint(nil, idWidth, uint64(t.Width)), idHeight, uint64(t.Height)) //nolint:gosec // 14 bits
		return appendElement(b, idVideo, size)
	}
	b = appendUint(b, idTrackType, 2)
	rate := 48000.0
	switch {
	case strings.EqualFold(t.MIME, webrtc.MimeTypeOpus):
		b = appendElement(b, idCodecPrivate, opusHead)
		b = appendUint(b, idCodecDelay, 0)
		b = appendUint(b, idSeekPreRoll, opusPreRoll)
	case strings.EqualFold(t.MIME, webrtc.MimeTypeG722):
		rate = 16000
		b = appendElement(b, idCodecPrivate, waveFormat(t.MIME))
	default:
		rate = 8000
		b = appendElement(b, idCodecPrivate, waveFormat(t.MIME))
	}
	return appendElement(b, idAudio, appendUint(appendFloat(nil, idRate, rate), idChannels, 1))
}

// head is what a file begins with. Its length does not depend on ended, so that it can be written anew over the first one.
type head struct {
	Title  string
	Start  time.Time
	Tracks []track
}

// ending is what is known of a file at its end.
type ending struct {
	duration time.Duration
	size     uint64 // of the whole file
	cues     uint64 // where they begin
}

const (
	seekOctets     = 26
	durationOctets = 11
)

// epoch is that of dates in Matroska.
var epoch = time.Date(2001, 1, 1, 0, 0, 0, 0, time.UTC)

// docType is webm where a browser can know everything in it.
func (h *head) docType() string {
	for i := range h.Tracks {
		switch codecOf(h.Tracks[i].MIME) {
		case "V_VP8", "V_VP9", "V_AV1", "A_OPUS":
		default:
			return "matroska"
		}
	}
	return "webm"
}

func (h *head) render(e *ending) []byte {
	var id []byte
	id = appendUint(id, 0x4286, 1) // EBMLVersion
	id = appendUint(id, 0x42F7, 1) // EBMLReadVersion
	id = appendUint(id, 0x42F2, 4) // EBMLMaxIDLength
	id = appendUint(id, 0x42F3, 8) // EBMLMaxSizeLength
	id = appendText(id, 0x4282, h.docType())
	id = appendUint(id, 0x4287, 4) // DocTypeVersion
	id = appendUint(id, 0x4285, 2) // DocTypeReadVersion
	b := appendElement(nil, idEBML, id)
	b = appendID(b, idSegment)
	segment := uint64(len(b) + 8) // where its body begins
	if e == nil {
		b = appendVoid(appendSize8(b, unknownSize), seekOctets)
	} else {
		seek := appendElement(nil, idSeekID, appendID(nil, idCues))
		seek = appendElement(seek, idSeekPosition, binary.BigEndian.AppendUint64(nil, e.cues-segment))
		b = appendElement(appendSize8(b, e.size-segment), idSeekHead, appendElement(nil, idSeek, seek))
	}
	info := appendUint(nil, idTimeScale, uint64(time.Millisecond))
	if e == nil {
		info = appendVoid(info, durationOctets)
	} else {
		info = appendFloat(info, idDuration, float64(e.duration.Milliseconds()))
	}
	info = appendElement(info, idDate, binary.BigEndian.AppendUint64(nil, uint64(h.Start.Sub(epoch)))) //nolint:gosec // after 2001
	info = appendText(info, idTitle, h.Title)
	info = appendText(info, idMuxer, "Linehall")
	info = appendText(info, idWriter, "Linehall")
	b = appendElement(b, idInfo, info)
	var tracks []byte
	for i := range h.Tracks {
		tracks = appendElement(tracks, idTrack, h.Tracks[i].entry())
	}
	return appendElement(b, idTracks, tracks)
}

// segmentAt is where the segment's body begins in a head.
func segmentAt(head []byte) uint64 {
	_, size, n, _ := element(head)
	return uint64(n) + size + 4 + 8 //nolint:gosec // a few
}

// block is a frame or a packet of sound in its place.
type block struct {
	track int
	at    time.Duration // since the file begins
	key   bool
	data  []byte
}

// cluster collects blocks of at most half a minute.
type cluster struct {
	at     time.Duration
	last   time.Duration
	key    bool // has a keyframe
	blocks []byte
}

// add appends a block.
func (c *cluster) add(k block) {
	if len(c.blocks) == 0 {
		c.at = k.at.Truncate(time.Millisecond)
	}
	c.last = max(c.last, k.at)
	var flags byte
	if k.key {
		flags = 0x80
	}
	b := appendID(c.blocks, idSimpleBlock)
	b = appendSize(b, uint64(len(k.data)+4))
	b = append(b, byte(k.track)|0x80)                                                 // one octet, RFC 9559 §10.2
	b = binary.BigEndian.AppendUint16(b, uint16(int16((k.at-c.at)/time.Millisecond))) //nolint:gosec // the owner keeps it in range
	c.blocks = append(append(b, flags), k.data...)
}

func (c *cluster) render() []byte {
	body := appendUint(nil, idTimestamp, uint64(c.at/time.Millisecond)) //nolint:gosec // not negative
	return appendElement(nil, idCluster, append(body, c.blocks...))
}

// cue says where a keyframe is.
type cue struct {
	at      time.Duration
	track   int
	cluster uint64 // position in the file
}

func renderCues(cues []cue, segment uint64) []byte {
	var b []byte
	for _, c := range cues {
		at := appendUint(appendUint(nil, idCueTrack, uint64(c.track)), idCueCluster, c.cluster-segment)                                //nolint:gosec // 1, 2, …
		b = appendElement(b, idCuePoint, appendElement(appendUint(nil, idCueTime, uint64(c.at/time.Millisecond)), idCuePositions, at)) //nolint:gosec // not negative
	}
	return appendElement(nil, idCues, b)
}
