package forward

import (
	"sync"
	"sync/atomic"
	"time"
)

// Kind of a publisher's track; also the order of its m-lines.
type Kind uint8

// The three tracks of a publisher.
const (
	Microphone Kind = iota
	Camera
	Content
)

func (k Kind) String() string {
	switch k {
	case Microphone:
		return "microphone"
	case Camera:
		return "camera"
	case Content:
		return "content"
	}
	return "unknown"
}

// RIDs of the camera's layers, lowest first.
const (
	Low    = "l"
	Medium = "m"
	High   = "h"
)

const (
	audioClock = 48000
	videoClock = 90000
	// Octets of history per layer: half a second at the highest rate that is commanded, and no more than the packets of the index.
	historyAudio = 64 << 10
	historyLow   = 96 << 10
	historyHigh  = 512 << 10
)

// Track is one of the three things that a publisher sends.
type Track struct {
	uplink *Uplink
	kind   Kind

	mu sync.Mutex // guards layers and the layers' snapshots of slots

	layers []*Layer
	views  [maxSpatial]*Layer // spatial layers of the lowest stream; the first is unused

	// level is the smoothed loudness, 0 to 127 with 127 the loudest, in thousandths.
	level     atomic.Int64
	levelAt   atomic.Int64
	levelSeen atomic.Bool
	muted     atomic.Bool
}

func newTrack(u *Uplink, k Kind) *Track {
	t := &Track{uplink: u, kind: k}
	if k == Microphone {
		t.layers = []*Layer{newLayer(t, "", historyAudio)}
	}
	return t
}

// Kind says what the track is.
func (t *Track) Kind() Kind { return t.kind }

// Uplink is the connection that the track comes from.
func (t *Track) Uplink() *Uplink { return t.uplink }

// layer finds or makes the layer of a RID; nil: not one that we know.
func (t *Track) layer(rid string) *Layer {
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, l := range t.layers {
		if l.rid == rid {
			return l
		}
	}
	octets := historyHigh
	switch {
	case t.kind == Microphone:
		return nil
	case rid == Low:
		octets = historyLow
	case rid != "" && rid != Medium && rid != High:
		return nil
	}
	l := newLayer(t, rid, octets)
	t.layers = append(t.layers, l)
	for i := len(t.layers) - 1; i > 0 && rank(t.layers[i].rid) < rank(t.layers[i-1].rid); i-- {
		t.layers[i], t.layers[i-1] = t.layers[i-1], t.layers[i]
	}
	return l
}

func rank(rid string) int {
	switch rid {
	case Medium:
		return 1
	case High:
		return 2
	}
	return 0
}

// Layers lists what was received so far, lowest first: streams, or the spatial layers of one. The slice is the caller's.
func (t *Track) Layers() []*Layer {
	t.mu.Lock()
	defer t.mu.Unlock()
	if len(t.layers) > 0 {
		if upper := t.layers[0].upper.Load(); upper > 0 {
			return append([]*Layer{t.layers[0]}, t.views[1:1+upper]...)
		}
	}
	return append([]*Layer(nil), t.layers...)
}

// streams lists what is received in streams of its own.
func (t *Track) streams() []*Layer {
	t.mu.Lock()
	defer t.mu.Unlock()
	return append([]*Layer(nil), t.layers...)
}

// Layer finds a received layer by its RID; nil: not received yet.
func (t *Track) Layer(rid string) *Layer {
	for _, l := range t.Layers() {
		if l.rid == rid {
			return l
		}
	}
	return nil
}

// Live says whether any layer is being received.
func (t *Track) Live(now time.Time) bool {
	for _, l := range t.Layers() {
		if l.Live(now) {
			return true
		}
	}
	return false
}

// SetMuted stops or resumes forwarding of the track.
func (t *Track) SetMuted(m bool) { t.muted.Store(m) }

// noteLevel smooths the audio level of RFC 6464: one octet, voice activity and the distance from overload in dB.
func (t *Track) noteLevel(e []byte, now time.Time) {
	if len(e) < 1 {
		return
	}
	t.NoteLevel(e[0]&0x7f, now)
}

// NoteLevel takes how far below overload the voice is at the moment, in dB up to 127; it is called at a steady pace, by one
// goroutine at a time.
func (t *Track) NoteLevel(below uint8, now time.Time) {
	t.levelSeen.Store(true)
	loud := int64(127-min(below, 127)) * 1000
	old := t.level.Load()
	if loud > old {
		old += (loud - old) / 4 // a voice is heard within some 80 ms
	} else {
		old += (loud - old) / 25 // and held over the gaps between words
	}
	t.level.Store(old)
	t.levelAt.Store(now.UnixNano())
}

// Loudness is the smoothed level, 0 (silent, muted or not sending) to 127. A publisher that sends no levels counts as a quiet voice
// while it sends packets, so that it is heard when there is room.
func (t *Track) Loudness(now time.Time) float64 {
	if t.muted.Load() {
		return 0
	}
	if !t.levelSeen.Load() {
		if t.Live(now) {
			return quietVoice
		}
		return 0
	}
	if now.UnixNano()-t.levelAt.Load() > int64(time.Second) {
		return 0
	}
	return float64(t.level.Load()) / 1000
}

// quietVoice is -77 dBov: louder than a closed microphone, quieter than any voice.
const quietVoice = 50
