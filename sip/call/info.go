package call

import (
	"time"

	"linehall/internal/site"
	"linehall/media/anchor"
	"linehall/media/line"
	"linehall/media/record"
)

// State is what people call the state of a call.
type State string

// The states.
const (
	StateRinging     State = "ringing"
	StateEstablished State = "established"
	StateHeld        State = "held"
	StateEnded       State = "ended"
)

// Party is one side, for people.
type Party struct {
	Extension   string
	DisplayName string
	Site        site.ID
}

// Leg is the quality of what arrives from one side.
type Leg struct {
	anchor.LegStats
	Side      string // caller, callee
	Site      site.ID
	Transport string // of its signalling
	Address   string // of its media, or of its signalling on a direct path
	SRTP      bool   // encrypted between the phone and the next end of SRTP: the other phone, or us
}

// Guest is somebody who has joined a call.
type Guest struct {
	Party
	ID     string // of the guest's record, and for Hangup
	Mode   string // listen, whisper or full
	Silent bool   // no tone told the parties
	Since  time.Time
}

// Info is a call at one moment; the receiver owns it.
type Info struct {
	ID          string // ULID
	State       State
	Class       line.Class
	Precedence  line.Precedence
	StartedAt   time.Time
	AnsweredAt  time.Time // zero before the answer
	From, To    Party
	Dialled     string
	Path        anchor.Kind
	Codec       string
	Media       string  // voice, fax or modem; "" before the answer
	SRTP        bool    // both legs are encrypted
	SRTPHere    bool    // not from phone to phone: SRTP ends here, on one leg or on both
	MOS         float64 // the worse leg's; 0: unknown
	Legs        []Leg
	Recoverable bool // its state is in the store
	Recording   record.State
	// MayRecord says that somebody may begin to record the call; Unrecorded why it is not, if it should be.
	MayRecord  bool
	Unrecorded string
	Guests     []Guest // who has joined
	// Dialogs are the phones' own, ringing ones included, those that have ended left out. The
	// slice is shared: read only.
	Dialogs []DialogInfo
}

// published is what the owner shows to others: Info without quality, and the path to ask.
type published struct {
	info Info
	path *anchor.Path
	tape *record.Session
}

// snapshot may be called by anybody.
func (c *call) snapshot() (Info, bool) {
	p := c.public.Load()
	if p == nil || p.info.State == StateEnded {
		return Info{}, false
	}
	info := p.info
	info.Legs = append([]Leg(nil), p.info.Legs...)
	if p.path != nil && info.State != StateRinging {
		info.Path, info.Codec = p.path.Carrier(), p.path.Codec()
		info.measure(p.path.Stats())
	}
	if p.tape != nil {
		info.Recording = p.tape.State()
	}
	return info, true
}

func (i *Info) measure(stats [2]anchor.LegStats) {
	for n := range i.Legs {
		l := &i.Legs[n]
		l.LegStats = stats[n%len(stats)] // caller first, as in Legs
		if l.Remote.IsValid() {
			l.Address = l.Remote.String()
		}
		if l.MOS > 0 && (i.MOS == 0 || l.MOS < i.MOS) {
			i.MOS = l.MOS
		}
	}
}

// publish shows the call's present state.
func (c *call) publish() {
	info := Info{
		ID: c.id, Class: c.class, Precedence: c.precedence, StartedAt: c.rec.StartedAt, Dialled: c.rec.Dialled,
		From:  Party{c.rec.From, c.fromName, site.ID(c.rec.FromSite)},
		To:    Party{c.rec.To, c.toName, site.ID(c.rec.ToSite)},
		State: StateRinging, Recoverable: c.recoverable, Media: c.rec.Media, SRTP: c.secured(), SRTPHere: c.securedHere(),
	}
	if c.rec.AnsweredAt != nil {
		info.AnsweredAt, info.State = *c.rec.AnsweredAt, StateEstablished
		if c.held() {
			info.State = StateHeld
		}
	}
	if c.m.Phase == phaseEnded {
		info.State = StateEnded
	}
	for _, g := range c.guests {
		if !g.parted {
			info.Guests = append(info.Guests, Guest{Party{g.leg.Extension, g.leg.Display, g.leg.Site}, g.rec.ID, string(g.mode), g.silent, *g.rec.AnsweredAt})
		}
	}
	info.Dialogs = c.dialogs(info.State == StateHeld)
	var path *anchor.Path
	if c.pair != nil {
		path = c.pair.branch.path
		for _, l := range []*leg{c.pair.caller, c.pair.callee} {
			info.Legs = append(info.Legs, Leg{Side: l.Side.String(), Site: l.Site, Transport: l.Flow.Transport, Address: l.Flow.Remote.String(), SRTP: l.Secure})
		}
		info.Path, info.Codec = path.Kind(), path.Codec()
	} else {
		info.Legs = append(info.Legs, Leg{Side: caller.String(), Site: site.ID(c.rec.FromSite), Transport: c.origin.flow().Transport, Address: c.origin.flow().Remote.String()})
	}
	shown := &published{info: info, path: path}
	c.publishTape(shown)
	c.public.Store(shown)
	info = shown.info
	for _, f := range c.s.changed {
		f(info)
	}
}

// publishTape shows how the recording is.
func (c *call) publishTape(p *published) {
	p.info.Recording = record.Off
	if c.tape == nil || c.tape.session == nil {
		return
	}
	p.tape, p.info.MayRecord = c.tape.session, true
	p.info.Recording, p.info.Unrecorded = c.tape.session.State(), c.rec.Recording.Reason
}
