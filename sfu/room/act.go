package room

import (
	"time"

	throttle "golang.org/x/time/rate"

	"linehall/sfu/chair"
	"linehall/sfu/forward"
	"linehall/sfu/peer"
	"linehall/sfu/signal"
)

// How fast one participant may act: a chair with quick fingers, not a program.
const (
	actsPerSecond  = 5
	actsAtOnce     = 20
	chatsPerSecond = 1
	chatsAtOnce    = 5
)

// limits slow down who asks too much.
type limits struct{ acts, chats *throttle.Limiter }

func newLimits() limits {
	return limits{throttle.NewLimiter(actsPerSecond, actsAtOnce), throttle.NewLimiter(chatsPerSecond, chatsAtOnce)}
}

var errTooOften = &chair.Error{Code: signal.TooOften, Text: "too many requests; wait a moment"}

// act does what somebody wants done to the meeting.
func (p *participant) act(q signal.Request) error {
	r := p.room
	now := time.Now()
	limit := p.limits.acts
	if q.Act == chair.Chat {
		limit = p.limits.chats
	}
	if !limit.AllowN(now, 1) {
		r.manager.options.Dropped.Count("room", "too_often")
		return errTooOften
	}
	if r.meeting == nil {
		return peer.ErrState
	}
	if (q.Act == chair.RequestChair || q.Act == chair.RevokeChair) && q.PIN != "" {
		if err := r.checkChairPIN(p.who, q.PIN); err != nil {
			r.record([]chair.Minute{{At: now, Actor: p.member, ActorName: chair.Name(p.name), Action: chair.Refused, Detail: "PIN of the chair"}}, now)
			return err
		}
		p.knowsPIN = true
	}
	if err := r.possible(q, now); err != nil {
		return err
	}
	out, err := r.meeting.Do(chair.Act{
		Name: q.Act, Target: q.Target, On: q.On, Text: q.Text, Layout: chair.Layout(q.Layout), Order: q.Order, Seconds: q.Seconds,
	}, p.actor(), now)
	if err != nil {
		return err //nolint:wrapcheck // it carries its code to the page
	}
	r.nameGuest(&out, q.Target)
	if out.Dial != "" {
		if err := r.callPhone(out.Dial, chair.Minute{}, now); err != nil {
			return err
		}
	}
	r.settle(out, now)
	return nil
}

// nameGuest puts the name of who waits into the minutes: the meeting does not know it yet.
func (r *Room) nameGuest(out *chair.Outcome, id string) {
	for _, g := range r.guests {
		if g.id == id {
			out.Minutes[0].Target, out.Minutes[0].TargetName = g.person.Member, g.person.Name
		}
	}
}

// silent says whether nobody is to hear the participant.
func (p *participant) silent() bool { return p.audioMuted || p.chairMuted() }

func (p *participant) chairMuted() bool {
	return p.room.meeting != nil && p.room.meeting.State().Silent(p.member)
}

// dark says whether nobody is to see its camera.
func (p *participant) dark() bool { return p.videoMuted || p.chairDark() }

func (p *participant) chairDark() bool {
	return p.room.meeting != nil && p.room.meeting.State().Dark(p.member)
}

// shares says whether it shows content and may.
func (p *participant) shares() bool {
	return p.hasContent && (p.room.meeting == nil || p.room.meeting.State().MayShare(p.member))
}

// applyMute makes the tracks follow: what is muted is not forwarded, whatever the page sends.
func (p *participant) applyMute() {
	if p.uplink == nil {
		return
	}
	p.uplink.Track(forward.Microphone).SetMuted(p.silent())
	p.uplink.Track(forward.Camera).SetMuted(p.dark())
	p.uplink.Track(forward.Content).SetMuted(p.room.meeting != nil && !p.room.meeting.State().MayShare(p.member))
}

// unmute judges a participant's wish to be heard or seen again.
func (p *participant) unmute(media string) error {
	r := p.room
	switch {
	case r.meeting == nil:
	case media == "audio":
		minutes, err := r.meeting.Unmute(p.actor(), time.Now())
		if err != nil {
			return err //nolint:wrapcheck // it carries its code to the page
		}
		if len(minutes) > 0 {
			r.settle(chair.Outcome{Minutes: minutes}, time.Now())
		}
	case p.chairDark():
		return chair.ErrDark
	}
	return nil
}
