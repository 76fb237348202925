package call

import (
	"context"
	"log/slog"
	"time"

	"linehall/internal/observe"
	"linehall/internal/site"
	"linehall/media/anchor"
	"linehall/media/dtmf"
	"linehall/media/line"
	"linehall/media/prompt"
	"linehall/media/sdp"
	"linehall/media/served"
	"linehall/sip/dialog"
	"linehall/sip/stack"
)

// voice is what somebody hears of us in a notice: our own leg, which the relay joins to the phone. It books the phone's
// line like a call.
type voice struct {
	leg     *served.Leg
	media   *anchor.Call
	path    *anchor.Path
	program prompt.Program
	done    chan struct{} // closed when the program is over
}

// speak opens a voice and returns it with the answer to the offer. Without one (no room on the line, no format in common,
// keys that we do not know) it returns nil: silence instead of a refusal.
func (s *Service) speak(c *call, req *stack.Request, offer []byte, program prompt.Program) (*voice, []byte) {
	leg, err := served.Open()
	if err != nil {
		s.log.Error("no port for a leg of ours", slog.Any(observe.Err, err))
		return nil, nil
	}
	media := s.o.Anchor.Open(line.Holder{Class: c.class, Name: c.id, Since: c.rec.StartedAt, Preempted: func(line.Preemption) { leg.Close() }}, anchor.Party{
		Site: site.ID(c.rec.FromSite), Remote: req.Flow.Remote.Addr(), Local: req.Flow.Local.Addr(), Web: req.Flow.Web(),
	})
	v := &voice{leg: leg, media: media, program: program, done: make(chan struct{})}
	v.path = media.Branch("served", anchor.Party{Remote: served.Host, Local: served.Host, Outside: true}) // never direct
	answer, err := v.answer(offer)
	if err != nil {
		c.log.Info("nothing can be heard", slog.Any(observe.Err, err))
		v.close()
		return nil, nil
	}
	media.Keep(v.path)
	return v, answer
}

// answer leads the phone's media to the leg. Its SRTP ends before that.
func (v *voice) answer(offer []byte) ([]byte, error) {
	if protectionOf(offer).Some {
		v.path.Terminate(anchor.Callee, anchor.Clear)
	}
	toLeg, err := v.path.Offer(anchor.Caller, offer)
	if err != nil {
		return nil, err //nolint:wrapcheck // the anchor says what failed
	}
	answer, err := v.leg.Answer(toLeg)
	if err != nil {
		return nil, err //nolint:wrapcheck // so does the leg
	}
	return v.path.Answer(anchor.Callee, answer) //nolint:wrapcheck // and again
}

// run speaks until the program is over.
func (v *voice) run(ctx context.Context, n *notice) {
	defer close(v.done)
	defer observe.Recover(n.log, n.s.o.Panics, "voice")
	if err := v.leg.Run(ctx, v.program); err != nil {
		n.log.Debug("voice cut off", slog.Any(observe.Err, err))
	}
}

// close ends the media; its owner is the notice.
func (v *voice) close() [2]anchor.LegStats {
	v.leg.Close()
	return v.media.Close()
}

// over is closed when the program has ended by itself; nil without a voice, which nobody ever is.
func (n *notice) over() <-chan struct{} {
	if n.voice == nil {
		return nil
	}
	return n.voice.done
}

// press takes a key that came by INFO and reports whether the request was that.
func (n *notice) press(req *stack.Request) bool {
	if n.voice == nil || req.ContentType() == nil {
		return false
	}
	key, _, err := dtmf.ParseInfo(req.ContentType().Value(), req.Body())
	if err != nil {
		return false
	}
	n.voice.leg.Press(key)
	return true
}

// turn answers a later offer, as of a hold.
func (n *notice) turn(req *stack.Request) ([]byte, error) {
	in, err := n.dialog.Session.Receive(description(req.Request))
	if err != nil {
		return nil, err
	}
	body, err := n.voice.answer(in)
	if err != nil {
		n.voice.path.Rollback()
		return nil, err
	}
	return n.dialog.Session.Send(body, n.local)
}

// noticeAnswer answers the offer of a notice's INVITE: with a voice if there is something to say and it can be heard,
// else inactive. An INVITE without an offer gets one that is inactive.
func (s *Service) noticeAnswer(c *call, req *stack.Request, d *dialog.Dialog, program prompt.Program) (*voice, []byte, error) {
	offer, local := description(req.Request), c.localAddr(req.Flow)
	if len(offer) == 0 {
		body, err := d.Session.Send([]byte(quietOffer), local)
		return nil, body, err
	}
	in, err := d.Session.Receive(offer)
	if err != nil {
		return nil, nil, err
	}
	var v *voice
	var body []byte
	if program != nil {
		v, body = s.speak(c, req, in, program)
	}
	if v == nil {
		doc, err := sdp.Parse(in)
		if err != nil {
			return nil, nil, err
		}
		body = quietAnswer(doc, local)
	}
	if body, err = d.Session.Send(body, local); err != nil && v != nil {
		v.close()
	}
	return v, body, err
}

// stands is how long a notice stays: as long as its text is read, or as what is heard needs.
func stands(long time.Duration) time.Duration { return max(long, noticeTime) }
