package room

import (
	"slices"
	"sync/atomic"
	"time"

	"linehall/sfu/forward"
	"linehall/sfu/signal"
)

// Snapshot is a room as the console shows it (docs/api-shapes.md, "room").
type Snapshot struct {
	Number       string                `json:"number"`
	Name         string                `json:"name"`
	State        string                `json:"state"` // open: somebody is in it; closed
	OpenedAt     *time.Time            `json:"opened_at"`
	Recording    bool                  `json:"recording"`
	Venues       []VenueSnapshot       `json:"venues"`
	Participants []ParticipantSnapshot `json:"participants"`
}

// VenueSnapshot is a venue that belongs to the room.
type VenueSnapshot struct {
	ID      string      `json:"id"`
	Name    signal.Text `json:"name"`
	Site    string      `json:"site"`
	Present bool        `json:"present"`
}

// ParticipantSnapshot is somebody in the room.
type ParticipantSnapshot struct {
	ID           string      `json:"id"`
	Venue        string      `json:"venue"`
	Name         signal.Text `json:"name"`
	Site         string      `json:"site"`
	Kind         string      `json:"kind"`
	JoinedAt     time.Time   `json:"joined_at"`
	AudioMuted   bool        `json:"audio_muted"`
	VideoMuted   bool        `json:"video_muted"`
	Speaking     bool        `json:"speaking"`
	HasContent   bool        `json:"has_content"`
	Address      string      `json:"address"`
	Transport    string      `json:"transport"`
	PublishBps   int64       `json:"publish_bps"`
	SubscribeBps int64       `json:"subscribe_bps"`
	LossPercent  float64     `json:"loss_percent"`
	RTTMs        float64     `json:"rtt_ms"`
	Layers       []string    `json:"layers"` // of the camera, being received
}

// The states of a room.
const (
	StateOpen   = "open"
	StateClosed = "closed"
)

type snapshots struct{ latest atomic.Pointer[Snapshot] }

func (s *snapshots) store(v Snapshot) { s.latest.Store(&v) }

// Snapshot returns all rooms by number. It takes no part in their work: figures are up to a second old.
func (m *Manager) Snapshot() []Snapshot {
	m.mu.Lock()
	list := make([]Snapshot, 0, len(m.byID))
	for _, c := range m.config.Rooms {
		if r := m.byID[c.Number]; r != nil {
			list = append(list, *r.snapshots.latest.Load())
		}
	}
	m.mu.Unlock()
	return list
}

// publishSnapshot renews what Snapshot returns and tells those who asked.
func (r *Room) publishSnapshot() {
	r.snapshots.store(r.snapshot())
	r.manager.notify()
}

func (r *Room) snapshot() Snapshot {
	s := Snapshot{
		Number: r.config.Number, Name: r.config.Name, State: StateClosed,
		Venues: make([]VenueSnapshot, len(r.venues)), Participants: make([]ParticipantSnapshot, 0, len(r.participants)),
	}
	for _, p := range r.participants {
		if !p.hidden() {
			s.Participants = append(s.Participants, p.snapshot())
		}
	}
	s.Recording = r.taping != nil
	if len(s.Participants) > 0 {
		opened := r.opened
		s.State, s.OpenedAt = StateOpen, &opened
	}
	for i, v := range r.venues {
		s.Venues[i] = VenueSnapshot{
			ID: v.ID, Name: signal.Text{Zh: v.Name.Zh, En: v.Name.En}, Site: string(v.Site),
			Present: slices.ContainsFunc(s.Participants, func(p ParticipantSnapshot) bool { return p.Venue == v.ID }),
		}
	}
	return s
}

func (p *participant) snapshot() ParticipantSnapshot {
	s := ParticipantSnapshot{
		ID: p.id, Venue: p.venueID(), Name: p.name, Site: string(p.site), Kind: p.kind, JoinedAt: p.joinedAt,
		AudioMuted: p.silent(), VideoMuted: p.dark(), Speaking: p.speaking, HasContent: p.shares(), Layers: []string{},
		Transport: p.stats.Transport, PublishBps: p.stats.PublishBps, SubscribeBps: p.stats.SubscribeBps,
		LossPercent: p.stats.LossFraction * 100, RTTMs: float64(p.stats.RTT.Microseconds()) / 1000,
	}
	if p.stats.Remote.IsValid() {
		s.Address = p.stats.Remote.String()
	}
	for _, l := range p.stats.Layers {
		if l.Kind == forward.Camera {
			s.Layers = append(s.Layers, l.RID)
		}
	}
	return s
}
