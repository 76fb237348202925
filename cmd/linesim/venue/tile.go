package venue

import (
	"time"

	"github.com/pion/rtp"

	"linehall/cmd/linesim/media"
)

const (
	// freezeAfter is how long a picture may stand still before viewers call it frozen.
	freezeAfter = 500 * time.Millisecond
	// A gap is given up after repairTime: a retransmission over a leased line takes one round trip and the time it
	// waits behind other pictures. reorderWindow bounds the memory.
	repairTime    = 300 * time.Millisecond
	reorderWindow = 256
	// colourPause bounds the cost of looking at keyframes.
	colourPause = 2 * time.Second
)

// tile is one received picture: what a decoder would show of the stream in one m-line.
type tile struct {
	owner  string // venue shown, by the server's word
	width  int
	height int

	started bool
	next    uint16                 // next sequence number to be handed to assemble
	waiting map[uint16]*rtp.Packet // packets after a gap
	gapAt   time.Time              // since when there is one
	frame   []byte
	broken  bool // a packet of the current frame is missing
	inFrame bool
	desc    descriptor

	synced  bool // the decoder has everything since a keyframe
	lastTL0 uint8
	colour  time.Time

	stats      *TileStats
	askPicture func()
	lastAsk    time.Time
	missing    bool
}

// TileStats is what one venue saw of another.
type TileStats struct {
	Frames       uint64        `json:"frames"`
	Keyframes    uint64        `json:"keyframes"`
	Packets      uint64        `json:"packets"`
	Bytes        uint64        `json:"bytes"`
	LostPackets  uint64        `json:"lost_packets"`
	Undecodable  uint64        `json:"undecodable_frames"`
	Freezes      uint64        `json:"freezes"`
	LongestStill time.Duration `json:"-"`
	Requests     uint64        `json:"keyframe_requests"`
	Switches     uint64        `json:"height_switches"`
	Height       int           `json:"height"`
	Stills       uint64        `json:"stills"` // pictures over the signalling, where the line carries no other
	ColourRight  uint64        `json:"colour_right"`
	ColourWrong  uint64        `json:"colour_wrong"`
	First        time.Time     `json:"-"`
	last         time.Time     // latest frame, kept across connections: a restart of the server is a standstill too
	perSecond    map[int64]int
}

// packet takes one RTP packet in order of arrival; it runs under the venue's lock.
func (t *tile) packet(p *rtp.Packet, now time.Time) {
	t.stats.Packets++
	t.stats.Bytes += uint64(len(p.Payload))
	if !t.started {
		t.started, t.next = true, p.SequenceNumber
		t.waiting = make(map[uint16]*rtp.Packet)
	}
	switch ahead := int16(p.SequenceNumber - t.next); {
	case ahead < 0:
		return // too late, or a duplicate
	case ahead > 0:
		if len(t.waiting) == 0 {
			t.gapAt = now
		}
		t.waiting[p.SequenceNumber] = p
		for len(t.waiting) > reorderWindow || (len(t.waiting) > 0 && now.Sub(t.gapAt) > repairTime) {
			t.giveUp(now)
		}
		return
	}
	t.consume(p, now)
	t.drain(now)
}

func (t *tile) drain(now time.Time) {
	for {
		p, ok := t.waiting[t.next]
		if !ok {
			return
		}
		delete(t.waiting, t.next)
		t.consume(p, now)
	}
}

// giveUp skips to the oldest waiting packet.
func (t *tile) giveUp(now time.Time) {
	oldest, best := uint16(0), uint16(0xffff)
	for seq := range t.waiting {
		if distance := seq - t.next; distance < best {
			best, oldest = distance, seq
		}
	}
	t.stats.LostPackets += uint64(best)
	t.broken, t.missing = true, true
	t.next = oldest
	t.gapAt = now // of the next gap, if there is one
	t.drain(now)
}

// consume takes packets in sequence.
func (t *tile) consume(p *rtp.Packet, now time.Time) {
	t.next = p.SequenceNumber + 1
	if len(p.Payload) == 0 { // padding of a probe
		return
	}
	d, err := parseDescriptor(p.Payload)
	if err != nil {
		t.broken = true
		return
	}
	if d.start {
		t.frame, t.desc, t.broken, t.inFrame = t.frame[:0], d, false, true
	}
	if !t.inFrame {
		return
	}
	t.frame = append(t.frame, p.Payload[d.size:]...)
	if p.Marker {
		t.inFrame = false
		if t.broken {
			t.stats.Undecodable++
			t.lose(now)
			return
		}
		t.complete(now)
	}
}

// complete judges a whole frame as a decoder would.
func (t *tile) complete(now time.Time) {
	width, height, key := keyframeSize(t.frame)
	d := t.desc
	switch {
	case key:
		t.stats.Keyframes++
		if t.height != 0 && t.height != height {
			t.stats.Switches++
		}
		t.width, t.height, t.synced, t.missing = width, height, true, false
		t.stats.Height = height
		t.look(now)
	case !t.synced:
		t.lose(now)
		return
	case d.hasTL0 && d.temporal == 0 && d.tl0 != t.lastTL0+1,
		d.hasTL0 && d.temporal > 0 && d.tl0 != t.lastTL0,
		!d.hasTL0 && t.missing:
		t.stats.Undecodable++
		t.lose(now)
		return
	}
	if d.hasTL0 {
		t.lastTL0 = d.tl0
	}
	t.show(now)
}

func (t *tile) show(now time.Time) {
	s := t.stats
	if s.First.IsZero() {
		s.First = now
		s.perSecond = make(map[int64]int)
	}
	if !s.last.IsZero() {
		still := now.Sub(s.last)
		s.LongestStill = max(s.LongestStill, still)
		if still > freezeAfter {
			s.Freezes++
		}
	}
	s.last = now
	s.Frames++
	s.perSecond[now.Unix()]++
}

// lose notes that the decoder waits for a keyframe and asks for one, at most twice a second.
func (t *tile) lose(now time.Time) {
	t.synced = false
	const pause = 500 * time.Millisecond
	if now.Sub(t.lastAsk) >= pause {
		t.lastAsk = now
		t.stats.Requests++
		t.askPicture()
	}
}

// look compares the keyframe's colour with that of the venue the server says it is.
func (t *tile) look(now time.Time) {
	if now.Sub(t.colour) < colourPause {
		return
	}
	t.colour = now
	if who, ok := media.WhosePicture(t.frame); ok && who == media.Number(t.owner) {
		t.stats.ColourRight++
	} else {
		t.stats.ColourWrong++
	}
}

// reset begins a new stream in the same m-line.
func (t *tile) reset(owner string, stats *TileStats) {
	if t.owner == owner {
		return
	}
	t.owner, t.stats = owner, stats
	t.synced, t.missing, t.height, t.colour = false, false, 0, time.Time{}
}
