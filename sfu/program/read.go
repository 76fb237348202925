package program

import (
	"encoding/binary"
	"io"
	"time"
)

// index is where everything is in a file of ours.
type index struct {
	head     int64 // its length
	tracks   []track
	clusters []place
	end      int64 // of the last whole cluster
	finished bool  // it has its cues
	duration time.Duration
	counts   []int // blocks by track number
}

// count notes a block of a track.
func (x *index) count(track int) {
	for len(x.counts) <= track {
		x.counts = append(x.counts, 0)
	}
	x.counts[track]++
}

// heard lists the tracks of sound that have any, counted from 0 among those of sound.
func (x *index) heard() []int {
	list, n := []int{}, 0
	for i := range x.tracks {
		if t := &x.tracks[i]; !t.video() {
			if t.Number < len(x.counts) && x.counts[t.Number] > 0 {
				list = append(list, n)
			}
			n++
		}
	}
	return list
}

// place is a cluster's.
type place struct {
	at     time.Duration
	pos    int64
	size   int // with its head
	key    bool
	tracks int // of the keyframe
}

// maxCluster bounds what is read at once; ours are half a second.
const maxCluster = 48 << 20

// survey reads a file from its beginning up to where it was cut off.
func survey(r io.ReaderAt, size int64) (*index, error) {
	x := &index{}
	buf := make([]byte, min(size, 64<<10))
	if _, err := r.ReadAt(buf, 0); err != nil && err != io.EOF { //nolint:errorlint // of an io.ReaderAt
		return nil, err //nolint:wrapcheck // it says all
	}
	if err := x.readHead(buf); err != nil {
		return nil, err
	}
	x.end = x.head
	for x.end < size {
		var head [12]byte
		n, _ := r.ReadAt(head[:], x.end)
		id, length, m, ok := element(head[:n])
		if !ok {
			return x, nil
		}
		if id == idCues {
			x.finished = x.end+int64(m)+int64(length) <= size //nolint:gosec // a file's size
			return x, nil
		}
		if id != idCluster || length > maxCluster || x.end+int64(m)+int64(length) > size { //nolint:gosec // bounded
			return x, nil
		}
		b := make([]byte, int(length)+m) //nolint:gosec // bounded
		if n, _ := r.ReadAt(b, x.end); n < len(b) {
			return x, nil
		}
		p := place{pos: x.end, size: len(b)}
		whole := eachBlock(b, func(k block) {
			if k.key && !p.key && k.track <= len(x.tracks) && k.track > 0 && x.tracks[k.track-1].video() {
				p.key, p.tracks = true, k.track
			}
			x.duration = max(x.duration, k.at)
			x.count(k.track)
		}, &p.at)
		if !whole {
			return x, nil
		}
		x.clusters = append(x.clusters, p)
		x.end += int64(len(b))
	}
	return x, nil
}

func (x *index) readHead(b []byte) error {
	id, size, n, ok := element(b)
	if !ok || id != idEBML || uint64(len(b)) < uint64(n)+size+12 { //nolint:gosec // a few
		return ErrDamaged
	}
	x.head = int64(segmentAt(b)) //nolint:gosec // a few
	for {
		id, size, n, ok := element(b[x.head:])
		if !ok || size > uint64(int64(len(b))-x.head-int64(n)) { //nolint:gosec // checked by element
			return ErrDamaged
		}
		body := b[x.head+int64(n) : x.head+int64(n)+int64(size)] //nolint:gosec // bounded
		x.head += int64(n) + int64(size)                         //nolint:gosec // bounded
		if id != idTracks {
			continue
		}
		if !children(body, func(_ uint32, entry []byte) { x.tracks = append(x.tracks, readTrack(entry)) }) {
			return ErrDamaged
		}
		return nil
	}
}

func readTrack(b []byte) track {
	var t track
	var codec string
	var private []byte
	children(b, func(id uint32, body []byte) {
		switch id {
		case idTrackNumber:
			t.Number = int(number(body)) //nolint:gosec // ours
		case idTrackName:
			t.Name = string(body)
		case idCodec:
			codec = string(body)
		case idCodecPrivate:
			private = body
		case idVideo:
			children(body, func(id uint32, v []byte) {
				switch id {
				case idWidth:
					t.Width = int(number(v)) //nolint:gosec // ours
				case idHeight:
					t.Height = int(number(v)) //nolint:gosec // ours
				}
			})
		}
	})
	t.MIME = mimeOf(codec, private)
	if t.video() {
		t.private = private
	}
	return t
}

// mimeOf is the way back from codecOf.
func mimeOf(codec string, private []byte) string {
	switch codec {
	case "V_VP8":
		return "video/VP8"
	case "V_VP9":
		return "video/VP9"
	case "V_AV1":
		return "video/AV1"
	case "V_MPEG4/ISO/AVC":
		return "video/H264"
	case "A_OPUS":
		return "audio/opus"
	}
	if len(private) >= 2 {
		switch binary.LittleEndian.Uint16(private) {
		case 6:
			return "audio/PCMA"
		case 7:
			return "audio/PCMU"
		case 0x028F:
			return "audio/G722"
		}
	}
	return ""
}

// eachBlock walks the blocks of a whole cluster and tells its time; false: it is damaged.
func eachBlock(b []byte, each func(block), at *time.Duration) bool {
	_, _, n, ok := element(b)
	if !ok {
		return false
	}
	good := true
	return children(b[n:], func(id uint32, body []byte) {
		switch id {
		case idTimestamp:
			*at = time.Duration(number(body)) * time.Millisecond //nolint:gosec // ours
		case idSimpleBlock:
			if len(body) < 4 || body[0]&0x80 == 0 {
				good = false
				return
			}
			off := time.Duration(int16(binary.BigEndian.Uint16(body[1:]))) * time.Millisecond //nolint:gosec // two's complement on purpose
			each(block{track: int(body[0] & 0x7f), at: *at + off, key: body[3]&0x80 != 0, data: body[4:]})
		}
	}) && good
}

// finish gives a file its index: what a crash has cut off is taken away.
func finish(v *volume, h *head) (*index, error) {
	x, err := survey(v, v.size)
	if err != nil || x.finished {
		return x, err
	}
	if err := v.Truncate(x.end); err != nil {
		return nil, err
	}
	h.Tracks = x.tracks
	return x, seal(v, h, x)
}

// seal writes the index behind a file, and a head that knows of it.
func seal(v *volume, h *head, x *index) error {
	first := make([]byte, x.head)
	if _, err := v.ReadAt(first, 0); err != nil {
		return err
	}
	var cues []cue
	for _, p := range x.clusters {
		if p.key {
			cues = append(cues, cue{at: p.at, track: p.tracks, cluster: uint64(p.pos)}) //nolint:gosec // not negative
		}
	}
	if len(cues) == 0 { // sound alone
		for i := 0; i < len(x.clusters); i += 20 {
			cues = append(cues, cue{at: x.clusters[i].at, track: 1, cluster: uint64(x.clusters[i].pos)}) //nolint:gosec // not negative
		}
	}
	at := v.size
	if len(cues) == 0 {
		return v.Sync() //nolint:wrapcheck // it says all
	}
	if err := v.Append(renderCues(cues, segmentAt(first))); err != nil {
		return err
	}
	x.finished = true
	e := ending{duration: x.duration + 20*time.Millisecond, size: uint64(v.size), cues: uint64(at)} //nolint:gosec // not negative
	next := h.render(&e)
	if len(next) != len(first) {
		return ErrDamaged
	}
	if err := v.Sync(); err != nil {
		return err //nolint:wrapcheck // it says all
	}
	if err := v.Rewrite(next); err != nil {
		return err
	}
	return v.Sync() //nolint:wrapcheck // it says all
}
