package room

import (
	"encoding/json"
	"errors"
	"fmt"
	"time"

	pion "github.com/pion/webrtc/v4"

	"linehall/sfu/chair"
	"linehall/sfu/peer"
	"linehall/sfu/signal"
)

var errRequest = errors.New("unknown or malformed request")

// seat is a participant as seen by one of its WebSockets.
type seat struct {
	room        *Room
	participant *participant
	client      signal.Client
	resumed     bool     // the participant was there before
	guest       *guest   // waits to be let in: there is no participant yet
	standby     *standby // waits to be called
}

// Handle passes a message on to the room.
func (s *seat) Handle(q signal.Request) {
	if !s.room.post(func() { s.handle(q) }) {
		s.client.Send(signal.Error{Type: "error", Code: signal.Internal, Message: peer.ErrBusy.Error(), Request: q.Type})
	}
}

// Lost tells the room that this WebSocket is gone.
func (s *seat) Lost() { s.insist(s.lost) }

func (s *seat) lost() {
	if s.standby != nil {
		s.room.standDown(s.standby)
		return
	}
	if s.guest != nil {
		s.giveUp()
		return
	}
	if p := s.participant; p.client == s.client {
		p.client, p.brokenAt = nil, time.Now()
	}
}

// Remove ends the participation, whether or not this WebSocket is gone meanwhile; not when another one has taken over.
func (s *seat) Remove() {
	s.insist(func() {
		if s.standby != nil {
			s.client.End(signal.Removed)
			s.room.standDown(s.standby)
			return
		}
		if s.guest != nil {
			s.guest.client.End(signal.Removed)
			s.giveUp()
			return
		}
		if p := s.participant; p.client == s.client || p.client == nil {
			s.room.remove(p, signal.Removed)
		}
	})
}

func (s *seat) insist(f func()) { s.room.insist(f) }

// vacate undoes an admission that nobody waited for.
func (s *seat) vacate() {
	if s.resumed || s.guest != nil || s.standby != nil {
		s.lost() // its page may try again
		return
	}
	s.room.remove(s.participant, "")
}

// giveUp ends the wait.
func (s *seat) giveUp() {
	if s.room.forget(s.guest) {
		s.room.tellMeeting()
	}
}

func (s *seat) handle(q signal.Request) {
	if s.standby != nil {
		s.room.handleStandby(s.standby, q)
		return
	}
	if s.guest != nil {
		if q.Type == "leave" {
			s.guest.client.End("")
			s.giveUp()
		}
		return
	}
	p := s.participant
	if p.client != s.client || s.room.find(p.id) != p {
		return // replaced or removed meanwhile
	}
	if err := s.apply(p, q); err != nil {
		p.refuseAct(q.Type, q.Act, err)
	}
}

func (s *seat) apply(p *participant, q signal.Request) error {
	switch q.Type {
	case "publish":
		return p.peer.PublishOffer(q.SDP)
	case "subscribe_answer":
		return p.peer.SubscribeAnswer(q.SDP)
	case "subscribe_restart":
		return p.peer.RestartSubscribe()
	case "candidate":
		return candidate(p, q)
	case "mute":
		return p.mute(q.Media, q.Muted)
	case "content":
		return p.setContent(q.Active)
	case "act":
		return p.act(q)
	case "want":
		p.want(q.Views)
	case "still":
		return p.takeStill(q.JPEG, time.Now())
	case "stats":
		p.figures = [2]*signal.Figures{q.Publish, q.Subscribe}
	case "leave":
		s.room.remove(p, "")
	case "join":
		return fmt.Errorf("%w: joined already", peer.ErrState)
	default:
		return fmt.Errorf("%w: %.32q", errRequest, q.Type)
	}
	return nil
}

func candidate(p *participant, q signal.Request) error {
	if q.Connection != peer.Publish && q.Connection != peer.Subscribe {
		return fmt.Errorf("%w: connection %.32q", errRequest, q.Connection)
	}
	if len(q.Candidate) == 0 || string(q.Candidate) == "null" {
		return nil // end of candidates
	}
	var init pion.ICECandidateInit
	if err := json.Unmarshal(q.Candidate, &init); err != nil {
		return fmt.Errorf("%w: candidate: %w", errRequest, err)
	}
	if init.Candidate == "" {
		return nil
	}
	return p.peer.Candidate(q.Connection, init)
}

func (p *participant) mute(media string, muted bool) error {
	if media != "audio" && media != "video" {
		return fmt.Errorf("%w: media %.32q", errRequest, media)
	}
	if !p.limits.acts.Allow() {
		return errTooOften
	}
	if !muted {
		if err := p.unmute(media); err != nil {
			return err
		}
	}
	if media == "audio" {
		p.audioMuted = muted
	} else {
		p.videoMuted = muted
	}
	p.applyMute()
	p.room.listChanged()
	return nil
}

func (p *participant) setContent(active bool) error {
	if active && p.room.meeting != nil && !p.room.meeting.State().MayShare(p.member) {
		return chair.ErrContent
	}
	if !p.limits.acts.Allow() {
		return errTooOften
	}
	p.hasContent = active
	p.room.listChanged()
	return nil
}

// want takes the list of visible pictures.
func (p *participant) want(views []signal.View) {
	p.views = p.views[:0]
	for _, v := range views {
		if v.Height > 0 && (v.Media == signal.MediaCamera || v.Media == signal.MediaContent) && v.Participant != p.id {
			p.views = append(p.views, v)
		}
	}
	p.room.dirty = true
}

func codeOf(err error) string {
	switch {
	case errors.Is(err, errRequest):
		return signal.BadMessage
	case errors.Is(err, peer.ErrState), errors.Is(err, peer.ErrBusy):
		return signal.BadState
	}
	if code := signal.CodeOf(err); code != signal.Internal {
		return code
	}
	return signal.BadMessage // of a description or candidate that pion does not take
}
