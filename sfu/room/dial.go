package room

import (
	"context"
	"crypto/rand"
	"errors"
	"log/slog"
	"slices"
	"time"

	"linehall/internal/observe"
	"linehall/sfu/chair"
	"linehall/sfu/peer"
	"linehall/sfu/signal"
)

// Telephones that are called into a meeting: the room asks for it and shows how it goes; who answers joins as any telephone.

// Dialler calls telephones into meetings (sip/focus).
type Dialler interface {
	// Dial does not wait; progress is told how it goes, from another goroutine, until the end. cancel gives the call up while
	// it rings.
	Dial(room, number string, progress func(DialProgress)) (cancel func(), err error)
}

// DialProgress is how such a call goes.
type DialProgress struct {
	State  string // calling, ringing, answered, failed, cancelled
	Reason string // of the end, in words
	Name   string // of who is called, if the exchange knows it
}

// The states of a call into a meeting.
const (
	dialCalling   = "calling"
	dialAnswered  = "answered"
	dialFailed    = "failed"
	dialCancelled = "cancelled"
)

// errNoDialler means that there is no exchange.
var errNoDialler = errors.New("no telephone can be called")

const (
	// mostDials bounds the calls of a room that are shown, shownDial how long one that failed is.
	mostDials = 16
	shownDial = time.Minute
)

// dial is a telephone that is called.
type dial struct {
	signal.PhoneCall
	cancel  func()
	endedAt time.Time // zero: it rings
}

// DialWith says who calls telephones; before Run.
func (m *Manager) DialWith(d Dialler) { m.options.Dialler = d }

// CallPhone calls a telephone into a room's meeting on the word of somebody who is not in it.
func (m *Manager) CallPhone(ctx context.Context, number, phone, by string) error {
	r := m.room(number)
	if r == nil {
		return signal.ErrNotFound
	}
	reply := make(chan error, 1)
	if !r.post(func() {
		now := time.Now()
		r.openMeeting(now)
		reply <- r.callPhone(phone, chair.Minute{At: now, Actor: by, ActorName: chair.Name{Zh: by, En: by}, Action: chair.CallPhone, Detail: phone}, now)
	}) {
		return peer.ErrBusy
	}
	select {
	case err := <-reply:
		return err
	case <-r.done:
		return errClosed
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// callPhone calls a telephone; minute is what the minutes say about it, unless they do already.
func (r *Room) callPhone(number string, minute chair.Minute, now time.Time) error {
	d := r.manager.options.Dialler
	if d == nil {
		return errNoDialler
	}
	r.forgetDials(now)
	if len(r.dials) >= mostDials {
		return peer.ErrBusy
	}
	one := &dial{PhoneCall: signal.PhoneCall{ID: "d" + rand.Text()[:8], Number: number, State: dialCalling, At: now}}
	cancel, err := d.Dial(r.config.Number, number, func(p DialProgress) {
		r.post(func() { r.dialled(one, p, time.Now()) })
	})
	if err != nil {
		return err //nolint:wrapcheck // in words already
	}
	one.cancel = cancel
	r.dials = append(r.dials, one)
	if minute.Action != "" {
		r.record([]chair.Minute{minute}, now)
	}
	r.tellMeeting()
	return nil
}

// cancelPhone gives a call up that rings.
func (r *Room) cancelPhone(id string) {
	for _, d := range r.dials {
		if d.ID == id && d.endedAt.IsZero() {
			d.cancel()
		}
	}
}

// dialled follows a call.
func (r *Room) dialled(d *dial, p DialProgress, now time.Time) {
	if !slices.Contains(r.dials, d) {
		return
	}
	d.State, d.Reason = p.State, p.Reason
	if p.Name != "" {
		d.Name = p.Name
	}
	switch p.State {
	case dialAnswered:
		r.dials = slices.DeleteFunc(r.dials, func(o *dial) bool { return o == d }) // it is in the room
	case dialFailed, dialCancelled:
		d.endedAt = now
		r.log.Info("telephone not reached", slog.String("to", d.Number), slog.String(observe.Reason, p.Reason))
		if r.meeting != nil {
			r.record([]chair.Minute{{At: now, Action: chair.PhoneFailed, Detail: d.Number + ": " + p.Reason}}, now)
		}
	}
	r.tellMeeting()
}

// forgetDials drops what was shown long enough; it reports whether that changed anything.
func (r *Room) forgetDials(now time.Time) bool {
	before := len(r.dials)
	r.dials = slices.DeleteFunc(r.dials, func(d *dial) bool { return !d.endedAt.IsZero() && now.Sub(d.endedAt) > shownDial })
	return len(r.dials) < before
}

// endDials gives up what rings, at the end of a meeting.
func (r *Room) endDials() {
	for _, d := range r.dials {
		if d.endedAt.IsZero() {
			d.cancel()
		}
	}
	r.dials = nil
}

func (r *Room) shownDials() []signal.PhoneCall {
	list := make([]signal.PhoneCall, 0, len(r.dials))
	for _, d := range r.dials {
		list = append(list, d.PhoneCall)
	}
	return list
}
