package program

import (
	"cmp"
	"slices"
	"strings"
	"time"

	"github.com/pion/webrtc/v4"
)

const (
	// writeEvery is the length of a cluster.
	writeEvery = 500 * time.Millisecond
	// settle is how long blocks wait for those of other tracks that belong before them.
	settle = 900 * time.Millisecond
	// firstPicture is how long a file waits for a picture before it begins without one.
	firstPicture = 4 * time.Second
	syncEvery    = 5 * time.Second
	maxBlocks    = 32 << 20 // octets that wait
)

// waiting is a frame or a packet of sound that is to be written, in real time.
type waiting struct {
	key  trackKey
	at   time.Time
	keyf bool // a keyframe
	data []byte
	w, h int // of its picture
}

// trackKey tells the tracks of a file apart: the picture, and each voice slot per codec.
type trackKey struct {
	slot int // -1: the picture
	mime string
}

func (k trackKey) video() bool { return strings.HasPrefix(strings.ToLower(k.mime), "video/") }

// mux collects what belongs in one file after the other, and writes it.
type mux struct {
	open  func(h *head) (*volume, error)     // begins another file
	close func(v *volume, h *head, x *index) // ends one

	voices int // slots of sound that every file has a track for
	queue  []waiting
	octets int
	first  time.Time // of what waits, before there is a file

	volume *volume
	head   head
	index  index
	keys   []trackKey // by track number - 1
	known  []trackKey // that any file had: the next one has them as well
	last   []time.Duration
	synced time.Time
	// picture is what the file's first track is; nil: it has none. blind: its first keyframe has not come.
	picture *waiting
	blind   bool
}

// add takes a frame or a packet of sound.
func (m *mux) add(w waiting) {
	if m.octets += len(w.data); m.octets > maxBlocks { // the disk hangs: better a gap than the memory
		m.queue, m.octets = nil, 0
		return
	}
	m.queue = append(m.queue, w)
}

// write writes what nothing can come before any more; all: everything.
func (m *mux) write(now time.Time, all bool) error {
	slices.SortStableFunc(m.queue, func(a, b waiting) int { return cmp.Compare(a.at.UnixNano(), b.at.UnixNano()) })
	n := len(m.queue)
	if !all {
		n, _ = slices.BinarySearchFunc(m.queue, now.Add(-settle), func(w waiting, t time.Time) int { return w.at.Compare(t) })
	}
	if n == 0 || m.volume == nil && !all && !m.ready(now) {
		return nil
	}
	ripe := m.queue[:n]
	var c cluster
	flush := func() error {
		if len(c.blocks) == 0 {
			return nil
		}
		m.note(&c)
		err := m.volume.Append(c.render())
		c = cluster{}
		return err
	}
	for i := range ripe {
		w := &ripe[i]
		m.octets -= len(w.data)
		if w.key.video() && !w.keyf && (m.blind || m.track(w.key) == 0) {
			continue // a picture begins with a keyframe, also in another file
		}
		if m.volume == nil || m.track(w.key) == 0 {
			if err := flush(); err != nil {
				return err
			}
			if err := m.next(w, m.queue[i:]); err != nil {
				return err
			}
		}
		m.blind = m.blind && !w.key.video()
		k := block{track: m.track(w.key), at: max(w.at.Sub(m.head.Start), 0).Truncate(time.Millisecond), key: w.keyf || !w.key.video(), data: w.data}
		if last := &m.last[k.track-1]; k.at <= *last { // a clock was set right: no time twice in a track
			k.at = *last + time.Millisecond
		}
		m.last[k.track-1] = k.at
		if len(c.blocks) > 0 && (w.keyf || k.at-c.at >= 2*writeEvery || k.at < c.at-time.Second) {
			if err := flush(); err != nil {
				return err
			}
		}
		c.add(k)
		m.index.count(k.track)
		c.key = c.key || w.keyf
	}
	m.queue = append(m.queue[:0], m.queue[n:]...)
	if err := flush(); err != nil {
		return err
	}
	if m.volume != nil && now.Sub(m.synced) >= syncEvery {
		m.synced = now
		return m.volume.Sync() //nolint:wrapcheck // the caller says what
	}
	return nil
}

// ready says whether a file can begin: with a picture, or when there seems to be none.
func (m *mux) ready(now time.Time) bool {
	if m.first.IsZero() {
		m.first = now
	}
	return slices.ContainsFunc(m.queue, func(w waiting) bool { return w.key.video() && w.keyf }) || now.Sub(m.first) >= firstPicture
}

func (m *mux) track(k trackKey) int { return slices.Index(m.keys, k) + 1 }

// next begins another file: the first, or one with a codec that the one before had no track for.
func (m *mux) next(w *waiting, ahead []waiting) error {
	m.end()
	m.head = head{Start: w.at}
	picture := m.picture
	m.blind = true
	if picture != nil && w.key.video() {
		picture = nil
	}
	for i := range ahead {
		if a := &ahead[i]; a.key.video() {
			if picture == nil && a.keyf && (!w.key.video() || a.key == w.key) {
				picture = &waiting{key: a.key, w: a.w, h: a.h}
			}
		} else if !slices.Contains(m.known, a.key) {
			m.known = append(m.known, a.key)
		}
	}
	for i := range m.voices {
		if k := (trackKey{i, webrtc.MimeTypeOpus}); !slices.Contains(m.known, k) {
			m.known = append(m.known, k)
		}
	}
	slices.SortFunc(m.known, func(a, b trackKey) int { return cmp.Or(cmp.Compare(a.slot, b.slot), strings.Compare(b.mime, a.mime)) })
	m.keys, m.picture = m.keys[:0], picture
	if picture != nil {
		m.keys = append(m.keys, picture.key)
		m.head.Tracks = append(m.head.Tracks, track{Number: 1, MIME: picture.key.mime, Name: "Programme", Width: picture.w, Height: picture.h})
	}
	for _, k := range m.known {
		m.keys = append(m.keys, k)
		m.head.Tracks = append(m.head.Tracks, track{Number: len(m.keys), MIME: k.mime, Name: voiceName(k)})
	}
	m.last = make([]time.Duration, len(m.keys))
	for i := range m.last {
		m.last[i] = -1
	}
	v, err := m.open(&m.head)
	if err != nil {
		return err
	}
	m.volume = v
	first := m.head.render(nil)
	m.index = index{head: int64(len(first))}
	return v.Append(first)
}

// note keeps where a cluster is about to be.
func (m *mux) note(c *cluster) {
	m.index.clusters = append(m.index.clusters, place{at: c.at, pos: m.volume.size, key: c.key, tracks: 1})
	m.index.duration = max(m.index.duration, c.last)
}

func voiceName(k trackKey) string {
	_, codec, _ := strings.Cut(k.mime, "/")
	return "Voice " + string(rune('1'+k.slot)) + " " + codec
}

// end finishes the file under way.
func (m *mux) end() {
	if m.volume == nil {
		return
	}
	m.index.tracks, m.index.end = m.head.Tracks, m.volume.size
	m.close(m.volume, &m.head, &m.index)
	m.volume, m.first = nil, time.Time{}
}
