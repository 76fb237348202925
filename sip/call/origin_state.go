package call

import (
	"errors"
	"time"

	"linehall/internal/directory"
	"linehall/sip/dialplan"
	"linehall/sip/stack"
)

// The origin of a ringing call across a restart: an INVITE is a transaction that is taken up again;
// a party that another call has is found by that call's id (state.go joins them); a party of our
// own waits in its dialog; nobody, who called the first party of a call of ours, needs nothing.

// errNoOrigin: the stored state does not say who calls.
var errNoOrigin = errors.New("state of a ringing call lacks its origin")

// savedInvited is an INVITE with its provisional responses.
type savedInvited struct {
	Invite   []byte          `json:"invite,omitempty"`
	Flow     stack.Flow      `json:"flow,omitzero"`
	Tag      string          `json:"tag,omitempty"` // ours
	Reliable []savedReliable `json:"reliable,omitempty"`
}

type savedReliable struct {
	Tag  string `json:"tag"`
	Next uint32 `json:"next"`
	Seq  uint32 `json:"seq,omitempty"`
	Sent []byte `json:"sent,omitempty"`
}

// savedConnected is a party that is on the phone.
type savedConnected struct {
	Holder string `json:"holder,omitempty"` // the call that has it
	By     string `json:"by,omitempty"`
	Shadow *leg   `json:"shadow"`
	Late   bool   `json:"late,omitempty"`
	Seat   *leg   `json:"seat,omitempty"` // the party itself, when this call has it
}

// savedSummons is the wish that the first half of a call of ours serves.
type savedSummons struct {
	Terminal   directory.Terminal `json:"terminal"`
	Decision   dialplan.Decision  `json:"decision"`
	AutoAnswer bool               `json:"auto_answer,omitempty"`
	Blank      bool               `json:"blank,omitempty"`
}

// origin reads who calls.
func (r *savedRinging) origin(s *Service) (origin, error) {
	switch {
	case r.Connected != nil:
		k := r.Connected
		if k.Shadow == nil || k.Shadow.Dialog == nil || k.Seat != nil && k.Seat.Dialog == nil || r.Machine == nil && k.Seat == nil {
			return nil, errNoOrigin
		}
		return &connected{by: k.By, shadow: k.Shadow, late: k.Late}, nil
	case r.Machine == nil:
		return nil, errNoOrigin
	case r.Summons != nil:
		return &summons{terminal: r.Summons.Terminal, decision: r.Summons.Decision, autoAnswer: r.Summons.AutoAnswer, blank: r.Summons.Blank}, nil
	}
	return r.invited(s)
}

func (r *savedInvited) invited(s *Service) (*invited, error) {
	invite, err := s.stack.ParseRequest(r.Invite)
	if err != nil {
		return nil, err
	}
	o := &invited{req: &stack.Request{Request: invite, Flow: r.Flow}, rel: map[string]*reliable{}}
	for i := range r.Reliable {
		rel := &reliable{next: r.Reliable[i].Next, seq: r.Reliable[i].Seq, wait: s.limits.T1, until: time.Now().Add(ackLimit * s.limits.T1)}
		if len(r.Reliable[i].Sent) > 0 {
			if rel.sent, err = s.stack.ParseResponse(r.Reliable[i].Sent); err != nil {
				return nil, err
			}
		}
		o.rel[r.Reliable[i].Tag] = rel
	}
	return o, nil
}

func (o *invited) keep(r *savedRinging) {
	r.Invite, r.Flow, r.Tag = plain(o.req.Request), o.req.Flow, o.req.Tx.Tag()
	for tag, rel := range o.rel {
		s := savedReliable{Tag: tag, Next: rel.next, Seq: rel.seq}
		if rel.sent != nil {
			s.Sent = []byte(rel.sent.String())
		}
		r.Reliable = append(r.Reliable, s)
	}
}

func (o *invited) restored(c *call, r *savedRinging) {
	c.late = len(o.offer()) == 0 // states of earlier versions do not say
	c.s.know(c, c.rec.CallID, r.Tag)
}

// resume takes up the INVITE's transaction. A connection has gone with the process.
func (o *invited) resume(c *call, r *savedRinging) bool {
	o.req = c.s.stack.ResumeInvite(o.req.Request, r.Flow, r.Tag)
	if c.incoming != nil {
		o.req.Tx.Alter(hideResponse)
	}
	c.watchCancel(o.req)
	for tag, rel := range o.rel {
		if rel.sent != nil {
			o.repeatReliably(c, tag, rel)
		}
	}
	return !r.Flow.Stream()
}

func (o *connected) keep(r *savedRinging) {
	r.Connected = &savedConnected{By: o.by, Shadow: o.shadow, Late: o.late}
	if o.holder != nil {
		r.Connected.Holder = o.holder.id
	}
	if o.seat != nil {
		r.Connected.Seat = o.seat.caller
	}
}

func (o *connected) restored(c *call, r *savedRinging) {
	if l := r.Connected.Seat; l != nil {
		c.seatParty(l)
	}
}

// resume: the party is ours, or in a call that came back and still wants this one.
func (o *connected) resume(*call, *savedRinging) bool {
	return o.holder != nil || o.seat != nil && !o.seat.caller.ended
}

func (o *summons) keep(r *savedRinging) {
	r.Summons = &savedSummons{o.terminal, o.decision, o.autoAnswer, o.blank}
}

func (o *summons) restored(*call, *savedRinging) {}

func (o *summons) resume(*call, *savedRinging) bool { return true }

// saveWaiting keeps a call whose party is ours although nobody rings yet: after a restart whom to
// ring is looked for again. A call of an INVITE is not kept so: its state is that of the stage before.
func (c *call) saveWaiting() {
	if o, ok := c.origin.(*connected); ok && o.seat != nil {
		c.write(c.waiting())
	}
}
