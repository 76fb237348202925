package venue

import (
	"time"

	"github.com/pion/rtp"

	"linehall/cmd/linesim/media"
)

// encoder gives a layer's frames the sizes that an encoder at the commanded rate would: a keyframe as large as the picture is
// rich, and paid back by the frames after it, as libvpx does with a constant rate. The film's own frames are cut or filled up
// behind what is looked at; nobody decodes inter frames here.
type encoder struct {
	debt float64 // octets sent beyond the rate
}

const (
	smallestFrame = 60
	// memory is the encoder's buffer: what is too much is paid back within it.
	memory = time.Second
	// baseShare and upperShare are the sizes of a frame of the base, and of one that nobody refers to, beside the average.
	baseShare, upperShare = 1.2, 0.8
)

// size is how large a frame becomes.
func (e *encoder) size(frame media.Frame, loop *media.Loop, rateBps int) int {
	if rateBps <= 0 {
		rateBps = loop.BitrateBps
	}
	average := float64(rateBps) / 8 / media.FramesPerSecond
	var size float64
	switch {
	case frame.Key:
		size = float64(len(frame.Data)) * max(1, float64(rateBps)/float64(loop.BitrateBps))
	case frame.Temporal > 0:
		size = average * upperShare
	default:
		size = average * baseShare
	}
	if !frame.Key {
		owed := e.debt / (float64(rateBps) / 8 * memory.Seconds())
		size *= 1 - min(0.9, max(-0.1, 2*owed))
	}
	size = max(smallestFrame, size)
	e.debt = max(-average, e.debt+size-average)
	return int(size)
}

// next is the frame after this one in an endless film with keyframes on request only; temporal layers keep alternating.
func next(frame, frames int) int {
	if frame++; frame >= frames {
		return 2 // of the base, as the first one that is not a keyframe
	}
	return frame
}

// resize cuts a frame, or fills it up.
func resize(buffer, data []byte, size int) []byte {
	buffer = append(buffer[:0], data[:min(size, len(data))]...)
	for len(buffer) < size {
		buffer = append(buffer, make([]byte, min(size-len(buffer), payloadMax))...)
	}
	return buffer
}

// pacer holds back a venue's pictures as a browser does: somewhat faster than they are encoded, so that a keyframe does not fill
// the line at once. The voice is never held back.
type pacer struct {
	waiting []held
	credit  float64
	at      time.Time
}

type held struct {
	layer     *stream
	payload   []byte
	timestamp uint32
	marker    bool
}

const (
	// paceFactor is how much faster than encoded packets leave, and paceOverhead what headers add.
	paceFactor   = 1.15
	paceOverhead = 1.1
	paceTick     = 2 * time.Millisecond
)

// due sends what may leave at a rate, and says whether something waits.
func (p *pacer) due(now time.Time, rateBps int) bool {
	perSecond := float64(rateBps) / 8 * paceFactor * paceOverhead
	p.credit = min(payloadMax, p.credit+perSecond*min(time.Second, now.Sub(p.at)).Seconds())
	p.at = now
	n := 0
	for ; n < len(p.waiting) && p.credit > 0; n++ {
		h := &p.waiting[n]
		p.credit -= float64(len(h.payload))
		h.layer.write(h.payload, h.timestamp, h.marker, func(*rtp.Header, map[string]uint8) {})
	}
	p.waiting = append(p.waiting[:0], p.waiting[n:]...)
	return len(p.waiting) > 0
}
