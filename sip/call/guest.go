package call

import (
	"log/slog"
	"net/http"
	"slices"
	"time"

	"linehall/internal/observe"
	"linehall/media/anchor"
	"linehall/media/bridge"
	"linehall/media/record"
	"linehall/sip/cdr"
	"linehall/sip/dialplan"
)

// guest is somebody who has joined the owner's call. What it sends and hears is a path of its own to nobody, which is led
// into the call's mixer. Over a restart it is not kept: who joined gets a BYE and may join again.
type guest struct {
	c      *call
	leg    *leg
	near   side // whose call it joined
	mode   dialplan.Barge
	silent bool
	rec    cdr.Record
	media  *anchor.Call
	path   *anchor.Path
	ours   []byte // our side of its session, as it was agreed
	asked  []byte // an offer of ours that waits for its answer in an ACK
	way    *bridge.Way
	tape   *record.Session
	parted bool // it takes part no more; its ACK may be missing
	fails  int  // probes without an answer
}

// msgGuestOff has somebody leave who joined.
type msgGuestOff struct{ id, by, reason string }

func (msgGuestOff) isMessage() {}

// part ends a guest's part in the call; the BYE to it waits for its ACK.
func (c *call) part(g *guest, by, reason string) {
	if g.parted {
		return
	}
	g.parted = true
	c.disarm(guestProbeName(g))
	g.closeMedia()
	c.straightenUnlessJoined()
	l := g.leg
	switch {
	case l.ended:
		l.accept = nil
	case l.accept != nil:
		l.asked, l.reason = true, reason
	default:
		c.sendBye(l, reason)
	}
	c.s.unseat(c, g)
	now := time.Now().UTC()
	for i := range c.rec.Guests {
		if c.rec.Guests[i].Call == g.rec.ID {
			c.rec.Guests[i].Until = &now
		}
	}
	g.finish(now, by, reason)
	c.log.Info("who joined has left", slog.String("by", by), slog.String("guest", g.rec.ID), slog.String(observe.Reason, reason))
	c.forgetGone()
	c.dirty()
	if c.m.Phase != phaseEnded {
		c.publish()
	}
}

// finish writes the guest's record.
func (g *guest) finish(now time.Time, by, reason string) {
	c := g.c
	g.rec.EndedAt, g.rec.Result, g.rec.Code, g.rec.EndedBy, g.rec.Reason = &now, cdr.Answered, http.StatusOK, by, reason
	g.rec.Seconds = int64(now.Sub(*g.rec.AnsweredAt) / time.Second)
	g.rec.Media, g.rec.SRTP, g.rec.SRTPCaller, g.rec.SRTPHere = mediaVoice, g.leg.Secure, g.leg.Secure, g.leg.Secure
	c.s.o.Records.FinishSoon(g.rec, func(err error) {
		if err != nil {
			c.log.Error("call record not written", slog.Any(observe.Err, err))
		}
	})
	c.s.o.Trace.End(g.rec.ID)
}

// dismissGuests has all of them leave.
func (c *call) dismissGuests(reason string) {
	for _, g := range slices.Clone(c.guests) {
		c.part(g, "system", reason)
	}
}

// onGuestOff has one leave.
func (c *call) onGuestOff(m msgGuestOff) {
	for _, g := range slices.Clone(c.guests) {
		if g.rec.ID == m.id {
			c.part(g, m.by, m.reason)
		}
	}
}

// seat makes a guest known by its id; unseat forgets it, and its extension unless that talks in the call still.
func (s *Service) seat(g *guest) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.joined[g.rec.ID] = g.c
}

func (s *Service) unseat(c *call, g *guest) {
	s.mu.Lock()
	delete(s.joined, g.rec.ID)
	s.mu.Unlock()
	stay := []string{c.pair.caller.Extension, c.pair.callee.Extension}
	for _, o := range c.guests {
		if !o.parted {
			stay = append(stay, o.leg.Extension)
		}
	}
	s.vacate(c, stay...)
}

// savedGuests are the dialogs that the next process has to end.
func (c *call) savedGuests() []*leg {
	var legs []*leg
	for _, g := range c.guests {
		if !g.leg.ended {
			legs = append(legs, g.leg)
		}
	}
	return legs
}

// endRestored ends the dialogs of those who had joined before a restart: the mixer was the process's.
func (c *call) endRestored() {
	for _, l := range c.strangers {
		c.sendBye(l, "the appliance was restarted")
	}
	if len(c.strangers) > 0 {
		c.strangers = nil
		c.dirty()
	}
}
