package call

import (
	"bytes"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/emiago/sipgo/sip"

	"linehall/internal/directory"
	"linehall/internal/observe"
	"linehall/internal/site"
	"linehall/media/anchor"
	"linehall/sip/dialog"
	"linehall/sip/dialplan"
	"linehall/sip/route"
	"linehall/sip/stack"
)

// Calls that ring when the process dies ring on after it. What the store keeps is the messages:
// the caller's INVITE as it came, ours as they went. After the restart their transactions are
// taken up again (stack.ResumeInvite, ResumeRequest): our INVITEs are repeated, the phones take
// that for a retransmission and say again what they said last, so their 180 reaches the caller,
// their 2xx is the answer, and the caller's CANCEL finds its INVITE. Where the caller's
// connection has gone with the process, the phones are told to stop ringing.

// ringingLag is how long the state of a ringing call waits to be written: calls that are
// answered at once cost nothing.
const ringingLag = 100 * time.Millisecond

// savedRinging is a ringing call as the store keeps it, or one whose 2xx has not reached its caller.
type savedRinging struct {
	savedInvited                    // the origin, unless it is one of the two that follow
	Connected    *savedConnected    `json:"connected,omitempty"`
	Summons      *savedSummons      `json:"summons,omitempty"`
	Late         bool               `json:"late,omitempty"`
	Stale        bool               `json:"stale,omitempty"`
	Priorities   []string           `json:"priorities,omitempty"`
	Decision     dialplan.Decision  `json:"decision"`
	Machine      *machine           `json:"machine"` // nil: whom to ring is looked for again
	Times        savedTimes         `json:"times"`
	Terminal     directory.Terminal `json:"terminal"` // the caller's
	Incoming     *Incoming          `json:"incoming,omitempty"`
	History      []route.Diversion  `json:"history,omitempty"`
	Branches     []savedBranch      `json:"branches"`
	Forks        []savedFork        `json:"forks,omitempty"`
	Media        []byte             `json:"media"`
}

type savedBranch struct {
	Target  savedTarget    `json:"target"`
	Site    site.ID        `json:"site"`
	Path    string         `json:"path,omitempty"`
	Invite  []byte         `json:"invite,omitempty"` // empty: it was never sent
	Flow    stack.Flow     `json:"flow"`
	Remote  bool           `json:"remote_party,omitempty"`
	Session dialog.Session `json:"session"`
	Timer   sessionTimer   `json:"timer,omitzero"`
	Offered protection     `json:"offered"`
	Dressed int            `json:"dressed,omitempty"`
}

type savedFork struct {
	Branch     int        `json:"branch"`
	Tag        string     `json:"tag"`
	Caller     *leg       `json:"caller"`
	Callee     *leg       `json:"callee"`
	RSeq       uint32     `json:"rseq,omitempty"`
	Unacked    bool       `json:"unacked,omitempty"`
	Given      []byte     `json:"given,omitempty"`
	CalleeDone bool       `json:"callee_done,omitempty"`
	CallerDone bool       `json:"caller_done,omitempty"`
	Offered    protection `json:"offered"`
}

// plain is a message as the store keeps it: without credentials, which are spent.
func plain(req *sip.Request) []byte {
	req = req.Clone()
	for _, name := range []string{"Authorization", "Proxy-Authorization"} {
		for req.RemoveHeader(name) {
		}
	}
	return []byte(req.String())
}

// touch asks for the state of a ringing call to be written soon.
func (c *call) touch() {
	name := timerName{kind: "ringing"}
	if c.m.Phase == phaseRinging && c.timers[name] == nil {
		c.arm(name, ringingLag, c.saveRinging)
	}
}

// saveRinging writes the state of a call that rings, if it has changed.
func (c *call) saveRinging() {
	if c.lent != nil || c.m.Phase != phaseRinging { // another call's leg cannot be taken up without that call
		return
	}
	if c.m.Opening { // whom it rings next is not known yet
		c.saveWaiting()
		return
	}
	r := c.waiting()
	err := c.ringing(r)
	if err != nil {
		c.log.Warn("ringing call not stored: a restart would cut it", slog.Any(observe.Err, err))
		return
	}
	c.write(r)
}

// write commits the state of a call that rings, or will.
func (c *call) write(r *savedRinging) {
	state, err := json.Marshal(saved{
		Version: savedVersion, ID: c.id, Class: c.class, Precedence: c.precedence, Record: c.rec, FromName: c.fromName, ToName: c.toName, Ringing: r,
		Tolls: c.s.o.Tolls.Held(c.id),
	})
	if err == nil && bytes.Equal(state, c.written) {
		return
	}
	if err == nil {
		c.aside()
		ctx, cancel := withoutCancel(c.ctx, storeTime)
		defer cancel()
		c.stored = true // it may be, also when Save fails
		var stored []byte
		if stored, err = c.protect(state); err == nil {
			err = c.s.o.Store.Save(ctx, c.id, stored)
		}
	}
	if err != nil {
		c.log.Warn("ringing call not stored: a restart would cut it", slog.Any(observe.Err, err))
		return
	}
	c.written = state
}

// waiting is what is known of a call before anybody rings.
func (c *call) waiting() *savedRinging {
	r := &savedRinging{
		Late: c.late, Stale: c.stale, Priorities: c.priorities, Decision: c.decision, Terminal: c.terminal, Incoming: c.incoming, History: c.history,
	}
	c.origin.keep(r)
	return r
}

// ringing adds who rings.
func (c *call) ringing(r *savedRinging) (err error) {
	r.Machine, r.Times = c.m, c.times()
	for _, b := range c.branches {
		r.Branches = append(r.Branches, b.saved())
	}
	for _, f := range c.forks {
		r.Forks = append(r.Forks, savedFork{
			Branch: f.branch.index, Tag: f.tag, Caller: f.caller, Callee: f.callee, RSeq: f.rseq, Unacked: f.unacked,
			Given: f.given, CalleeDone: f.calleeDone, CallerDone: f.callerDone, Offered: f.offered,
		})
	}
	r.Media, err = c.media.Ringing()
	return err
}

func (b *branchLeg) saved() savedBranch {
	s := savedBranch{Target: b.target.saved(), Site: b.site, Session: b.session, Timer: b.timer, Offered: b.offered, Dressed: b.dressed}
	if b.path != nil {
		s.Path = b.path.Key()
	}
	if b.out != nil && b.out.tx != nil {
		s.Invite, s.Flow, s.Remote = plain(b.out.tx.Origin()), b.out.tx.Flow(), b.out.leg.RemoteParty
	}
	return s
}

// restoreRinging rebuilds a ringing call; its transactions follow when the owner starts.
func (s *Service) restoreRinging(c *call, r *savedRinging) error {
	o, err := r.origin(s)
	if err != nil {
		return err
	}
	c.origin, c.m, c.decision, c.late = o, r.Machine, r.Decision, r.Late
	c.stale, c.priorities = r.Stale, r.Priorities
	c.terminal, c.incoming, c.history = r.Terminal, r.Incoming, r.History
	o.restored(c, r)
	if r.Machine == nil {
		return nil
	}
	c.resume = r
	if len(r.Machine.Branches) != len(r.Branches) {
		return errors.New("state of a ringing call is incomplete")
	}
	of := &begun{stage: r.Machine.Stage, callID: rand.Text(), tag: rand.Text()[:16], history: r.History}
	media, paths, err := s.o.Anchor.RestoreRinging(c.holder(), r.Media)
	if err != nil {
		return fmt.Errorf("media: %w", err)
	}
	c.media = media
	s.know(c, of.callID, of.tag)
	for i := range r.Branches {
		saved := &r.Branches[i]
		b := &branchLeg{
			index: i, target: saved.Target.restored(), of: of, site: saved.Site, path: paths[saved.Path], session: saved.Session,
			timer: saved.Timer, offered: saved.Offered, dressed: saved.Dressed, forks: map[string]*fork{},
		}
		c.branches = append(c.branches, b)
		if len(saved.Invite) == 0 {
			continue
		}
		b.invite, err = s.stack.ParseRequest(saved.Invite)
		if b.path == nil && r.Machine.Branches[i].Progress == branchDone {
			b.path = media.Branch(saved.Path, anchor.Party{Site: saved.Site})
			b.path.Close() // as it was
		} else if b.path == nil {
			err = errors.New("state of a ringing call lacks a path")
		}
		if err != nil {
			media.Close()
			return err
		}
		s.know(c, b.invite.CallID().Value(), paramTag(b.invite.From().Params))
	}
	for i := range r.Forks {
		saved := &r.Forks[i]
		if saved.Branch < 0 || saved.Branch >= len(c.branches) || saved.Caller == nil || saved.Callee == nil || saved.Caller.Dialog == nil || saved.Callee.Dialog == nil {
			media.Close()
			return errors.New("state of a ringing call has a fork of nowhere")
		}
		b := c.branches[saved.Branch]
		f := &fork{
			branch: b, tag: saved.Tag, caller: saved.Caller, callee: saved.Callee, rseq: saved.RSeq, unacked: saved.Unacked,
			given: saved.Given, calleeDone: saved.CalleeDone, callerDone: saved.CallerDone, offered: saved.Offered,
		}
		b.forks[f.tag] = f
		c.forks = append(c.forks, f)
		if id := f.caller.Dialog.ID; id.CallID != "" { // not that of a party which another call has
			s.know(c, id.CallID, id.LocalTag)
		}
	}
	return nil
}

// takeUp resumes the transactions of a ringing call.
func (c *call) takeUp() {
	r := c.resume
	c.resume = nil
	c.ex.admit(caller)
	here := c.origin.resume(c, r)
	c.takeUpTimers(r.Times)
	for i, b := range c.branches {
		switch c.m.Branches[i].Progress {
		case branchCalling, branchCancelling, branchAbandoned:
			c.takeUpBranch(b, r.Branches[i].Flow, r.Branches[i].Remote)
		default:
		}
	}
	if !here {
		c.log.Info("the caller is gone, its call ends")
		c.step(evCallerGone{"restart"})
	}
	c.publish()
}

func (c *call) takeUpBranch(b *branchLeg, flow stack.Flow, remoteParty bool) {
	if b.invite == nil {
		c.branchFailed(b, 430)
		return
	}
	l := c.calleeLeg(b)
	l.Flow, l.RemoteParty = flow, remoteParty
	out := &outgoing{leg: l, req: b.invite, respond: func(res *sip.Response) { c.onBranch(b, res) }, failed: func(err error) { c.onBranchEnd(b, err) }}
	c.pending++
	b.out = out
	tx, err := c.s.stack.ResumeRequest(c.ctx, b.invite.Clone(), flow, c.hears(out))
	c.attempted(out, tx, err)
	if err == nil && c.m.Branches[b.index].Progress != branchCalling {
		c.cancelBranch(b)
	}
}

// ringingLegs are the ends of a ringing call, for the limits.
func (c *call) ringingLegs() []*leg {
	from := &leg{Side: caller, Extension: c.rec.From}
	if c.incoming != nil {
		from.Trunk, from.Gateway = c.incoming.Trunk, c.incoming.Gateway
	} else if o, ok := c.origin.(*connected); ok && o.seat != nil {
		from = o.seat.caller
	}
	legs := []*leg{from}
	for i, b := range c.branches {
		if p := c.m.Branches[i].Progress; p == branchCalling || p == branchWaiting {
			legs = append(legs, c.calleeLeg(b))
		}
	}
	return legs
}
