package venue

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/pion/rtcp"
	"github.com/pion/rtp"
	"github.com/pion/webrtc/v4"

	"linehall/cmd/linesim/media"
)

// VoiceStats is what a venue heard of another.
type VoiceStats struct {
	Packets uint64    `json:"packets"` // recognised as this venue's voice
	First   time.Time `json:"-"`
}

// hearing is one received audio m-line.
type hearing struct {
	owner   string // by the server's word
	packets uint64
	silence uint64
	unknown uint64
	wrong   uint64 // somebody else's voice than the server says
	lost    uint64
	highest uint16
	started bool
}

// answerSubscribe answers the server's offer, on a new connection when the offer is for one.
func (v *Venue) answerSubscribe(ctx context.Context, s *session, sdp string) error {
	offer := webrtc.SessionDescription{Type: webrtc.SDPTypeOffer, SDP: sdp}
	if s.subscribe != nil && s.subscribe.SetRemoteDescription(offer) != nil {
		_ = s.subscribe.Close() // the offer is of another connection: begin anew
		s.subscribe = nil
	}
	if s.subscribe == nil {
		pc, err := s.subscribeAPI.NewPeerConnection(webrtc.Configuration{})
		if err != nil {
			return fmt.Errorf("subscribe connection: %w", err)
		}
		s.subscribe = pc
		pc.OnTrack(func(track *webrtc.TrackRemote, receiver *webrtc.RTPReceiver) { v.onTrack(s, pc, track, receiver) })
		if err := pc.SetRemoteDescription(offer); err != nil {
			return fmt.Errorf("subscribe offer: %w", err)
		}
	}
	answer, err := s.subscribe.CreateAnswer(nil)
	if err != nil {
		return fmt.Errorf("subscribe answer: %w", err)
	}
	text, err := describe(ctx, s.subscribe, answer)
	if err != nil {
		return err
	}
	return v.send(ctx, s, envelope{Type: "subscribe_answer", SDP: text})
}

// onTrack reads one m-line until its connection is closed. pion calls it on a goroutine of its own.
func (v *Venue) onTrack(s *session, pc *webrtc.PeerConnection, track *webrtc.TrackRemote, receiver *webrtc.RTPReceiver) {
	mid := ""
	for _, t := range pc.GetTransceivers() {
		if t.Receiver() == receiver {
			mid = t.Mid()
		}
	}
	ask := func() {
		ssrc := uint32(track.SSRC())
		_ = pc.WriteRTCP([]rtcp.Packet{&rtcp.PictureLossIndication{MediaSSRC: ssrc}}) // asked again if it gets lost
	}
	for {
		packet, _, err := track.ReadRTP()
		if err != nil {
			return
		}
		if track.Kind() == webrtc.RTPCodecTypeAudio {
			v.hear(s, mid, packet)
		} else {
			v.see(s, mid, packet, ask)
		}
	}
}

func (v *Venue) see(s *session, mid string, p *rtp.Packet, ask func()) {
	now := time.Now()
	v.mu.Lock()
	defer v.mu.Unlock()
	t := s.tile(mid)
	t.askPicture = ask
	if t.stats == nil { // nobody announced for this m-line yet
		t.stats = &TileStats{}
	}
	shown := t.stats.Frames
	t.packet(p, now)
	if shown == 0 && t.stats.Frames > 0 && v.firstFrame == 0 {
		v.firstFrame = now.Sub(s.joinedAt)
	}
}

func (v *Venue) hear(s *session, mid string, p *rtp.Packet) {
	v.mu.Lock()
	defer v.mu.Unlock()
	h := s.hearing(mid)
	if h.started {
		if ahead := p.SequenceNumber - h.highest; ahead > 1 && ahead < 1<<15 {
			h.lost += uint64(ahead) - 1
			v.heard.lost += uint64(ahead) - 1
		}
	}
	if ahead := p.SequenceNumber - h.highest; !h.started || ahead < 1<<15 {
		h.highest, h.started = p.SequenceNumber, true
	}
	h.packets++
	v.heard.packets++
	number, ok := media.WhoseVoice(p.Payload)
	switch {
	case ok && h.owner != "" && media.Number(h.owner) == number:
		stats := v.voices[h.owner]
		if stats == nil {
			stats = &VoiceStats{First: time.Now()}
			v.voices[h.owner] = stats
		}
		stats.Packets++
	case ok:
		h.wrong++
		v.wrongVoices++
	case len(p.Payload) > 0 && len(p.Payload) < 100:
		h.silence++
	default:
		h.unknown++
	}
}

// assign applies the server's word on who is in which m-line.
func (v *Venue) assign(s *session, video, audio []slot) {
	v.mu.Lock()
	defer v.mu.Unlock()
	s.videoSlots, s.audioSlots = video, audio
	v.reassign(s)
}

// reassign runs when slots or people have changed; the caller holds v.mu.
func (v *Venue) reassign(s *session) {
	for _, line := range s.videoSlots {
		owner := s.people[line.Participant].Venue
		if line.Participant == "" || line.Media == "content" {
			owner = ""
		}
		t := s.tile(line.MID)
		stats := v.tiles[owner]
		if stats == nil {
			stats = &TileStats{}
			if owner != "" {
				v.tiles[owner] = stats
			}
		}
		t.reset(owner, stats)
		v.reasons[owner] = line.Reason
	}
	for _, line := range s.audioSlots {
		s.hearing(line.MID).owner = s.people[line.Participant].Venue
	}
}

// closeAll ends the connections of a session.
func (s *session) closeAll() error {
	var err error
	if s.publisher != nil {
		err = s.publisher.pc.Close()
	}
	if s.subscribe != nil {
		err = errors.Join(err, s.subscribe.Close())
	}
	for _, socket := range s.sockets {
		err = errors.Join(err, socket.Close())
	}
	if err != nil {
		return fmt.Errorf("closing: %w", err)
	}
	return nil
}

func (s *session) tile(mid string) *tile {
	t := s.tiles[mid]
	if t == nil {
		t = &tile{askPicture: func() {}}
		s.tiles[mid] = t
	}
	return t
}

func (s *session) hearing(mid string) *hearing {
	h := s.voices[mid]
	if h == nil {
		h = &hearing{}
		s.voices[mid] = h
	}
	return h
}
