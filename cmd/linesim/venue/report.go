package venue

import (
	"context"
	"maps"
	"slices"
	"time"

	"linehall/cmd/linesim/media"
	"linehall/cmd/linesim/report"
)

// Seen is what one venue saw and heard of another.
type Seen struct {
	Venue       string  `json:"venue"`
	FrameRate   float64 `json:"frames_per_second"`     // from its first frame to the end
	WorstRate   float64 `json:"frames_per_second_min"` // of the worst ten seconds in a row
	FirstFrame  bool    `json:"seen"`
	Still       float64 `json:"longest_still_ms"`
	Bitrate     int     `json:"bitrate_bps"`
	LossPercent float64 `json:"loss_percent"`
	Voice       uint64  `json:"voice_packets"`
	Reason      string  `json:"reason"`
	TileStats
}

// Report is one venue's view of the room.
type Report struct {
	Venue       string   `json:"venue"`
	State       string   `json:"state"`
	Joins       int      `json:"joins"`
	Resumed     int      `json:"resumed"`
	JoinMS      float64  `json:"join_ms"`            // link to welcome
	FirstMS     float64  `json:"join_to_picture_ms"` // link to the first picture of anybody
	Seen        []Seen   `json:"seen"`
	WrongVoices uint64   `json:"wrong_voice_packets"`
	LostVoices  uint64   `json:"lost_voice_packets"`
	HeardVoices uint64   `json:"voice_packets"`
	Sent        Sent     `json:"sent"`
	Complaints  []string `json:"complaints"`
}

// Report returns what was measured so far.
func (v *Venue) Report() Report {
	now := time.Now()
	v.mu.Lock()
	defer v.mu.Unlock()
	r := Report{
		Venue: v.cfg.Link.Venue, State: v.state, Joins: v.joins, Resumed: v.resumed, WrongVoices: v.wrongVoices,
		JoinMS: report.Milliseconds(v.joined), FirstMS: report.Milliseconds(v.firstFrame), Complaints: slices.Clone(v.complaints), Sent: v.sent,
	}
	r.HeardVoices, r.LostVoices = v.heard.packets, v.heard.lost
	for _, name := range slices.Sorted(maps.Keys(v.tiles)) {
		t := v.tiles[name]
		s := Seen{Venue: name, TileStats: *t, Reason: v.reasons[name], Still: report.Milliseconds(t.LongestStill), FirstFrame: t.Frames > 0}
		s.LossPercent = report.Percent(t.LostPackets, t.LostPackets+t.Packets)
		if t.Frames > 0 {
			if seconds := now.Sub(t.First).Seconds(); seconds > 0 {
				s.FrameRate = float64(t.Frames) / seconds
				s.Bitrate = int(float64(t.Bytes*8) / seconds)
			}
			s.WorstRate = worst(t, now)
		}
		if voice := v.voices[name]; voice != nil {
			s.Voice = voice.Packets
		}
		r.Seen = append(r.Seen, s)
	}
	return r
}

// worst finds the ten whole seconds with the fewest frames; shorter views are judged as a whole.
func worst(t *TileStats, now time.Time) float64 {
	const window = 10
	first, last := t.First.Unix()+1, now.Unix()-1 // the first and the last second are cut
	if last-first+1 < window {
		if seconds := now.Sub(t.First).Seconds(); seconds > 0 {
			return float64(t.Frames) / seconds
		}
		return 0
	}
	sum := 0
	for s := first; s < first+window; s++ {
		sum += t.perSecond[s]
	}
	least := sum
	for s := first + window; s <= last; s++ {
		sum += t.perSecond[s] - t.perSecond[s-window]
		least = min(least, sum)
	}
	return float64(least) / window
}

// Forget starts all measurements of the others over; a run does so when everybody has joined.
func (v *Venue) Forget() {
	v.mu.Lock()
	defer v.mu.Unlock()
	for _, t := range v.tiles {
		height := t.Height
		*t = TileStats{Height: height}
	}
	for name := range v.voices {
		delete(v.voices, name)
	}
	v.wrongVoices, v.heard = 0, hearing{}
}

// tallySent keeps the publishing figures when a session ends.
func (v *Venue) tallySent(s *session) {
	if s.publisher == nil {
		return
	}
	sent := Sent{Keyframes: make(map[string]uint64), Requests: make(map[string]uint64), Layers: make(map[string]bool)}
	for i, layer := range s.publisher.layers {
		packets, asked, answered := layer.counters()
		sent.Packets += uint64(packets)
		sent.NACKed += asked
		sent.Resent += answered
		s.publisher.mu.Lock()
		rid := media.Layer(i).RID()
		sent.Keyframes[rid], sent.Requests[rid] = s.publisher.keys[i], s.publisher.requests[i]
		sent.Layers[rid] = s.publisher.orders[i].Active
		s.publisher.mu.Unlock()
	}
	packets, asked, answered := s.publisher.voice.counters()
	sent.Packets, sent.NACKed, sent.Resent = sent.Packets+uint64(packets), sent.NACKed+asked, sent.Resent+answered
	v.mu.Lock()
	defer v.mu.Unlock()
	sent.Stills = v.sent.Stills
	v.sent = sent
}

// sendStats tells the server every five seconds how it goes, for the console.
func (v *Venue) sendStats(ctx context.Context, s *session) error {
	r := v.Report()
	subscribe := figures{}
	for _, seen := range r.Seen {
		subscribe.Bitrate += seen.Bitrate
		subscribe.FrameRate = max(subscribe.FrameRate, seen.FrameRate)
		subscribe.Loss = max(subscribe.Loss, seen.LossPercent)
	}
	publish := figures{FrameRate: media.FramesPerSecond}
	if s.publisher != nil {
		s.publisher.mu.Lock()
		for i, order := range s.publisher.orders {
			if order.Active {
				publish.Bitrate += media.Camera(v.number, media.Layer(i)).BitrateBps
			}
		}
		s.publisher.mu.Unlock()
	}
	v.tallySent(s)
	return v.send(ctx, s, envelope{Type: "stats", Publish: &publish, Subscribe: &subscribe})
}
