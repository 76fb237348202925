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
	"linehall/sip/dialog"
	"linehall/sip/dialplan"
	"linehall/sip/location"
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
	Invite   []byte             `json:"invite"`
	Flow     stack.Flow         `json:"flow"`
	Tag      string             `json:"tag"` // ours
	Decision dialplan.Decision  `json:"decision"`
	Machine  *machine           `json:"machine"`
	Times    savedTimes         `json:"times"`
	Terminal directory.Terminal `json:"terminal"` // the caller's
	Incoming *Incoming          `json:"incoming,omitempty"`
	History  []route.Diversion  `json:"history,omitempty"`
	Branches []savedBranch      `json:"branches"`
	Forks    []savedFork        `json:"forks,omitempty"`
	Reliable []savedReliable    `json:"reliable,omitempty"`
	Media    []byte             `json:"media"`
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

type savedReliable struct {
	Tag  string `json:"tag"`
	Next uint32 `json:"next"`
	Seq  uint32 `json:"seq,omitempty"`
	Sent []byte `json:"sent,omitempty"`
}

// savedAnswer is our 2xx that waits for the caller's ACK.
type savedAnswer struct {
	Invite   []byte     `json:"invite"`
	Flow     stack.Flow `json:"flow"`
	Tag      string     `json:"tag"`
	Response []byte     `json:"response"`
	Seq      uint32     `json:"seq"` // of our INVITE to the phone
	Late     bool       `json:"late,omitempty"`
	Settled  bool       `json:"settled,omitempty"`
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
	o, ok := c.origin.(*invited)
	if !ok || c.lent != nil || c.m.Phase != phaseRinging || c.m.Opening { // another call's leg cannot be taken up without that call
		return
	}
	state, err := c.ringing(o)
	if err == nil && bytes.Equal(state, c.written) {
		return
	}
	if err == nil {
		ctx, cancel := withoutCancel(c.ctx, storeTime)
		defer cancel()
		c.stored = true // it may be, also when Save fails
		err = c.s.o.Store.Save(ctx, c.id, state)
	}
	if err != nil {
		c.log.Warn("ringing call not stored: a restart would cut it", slog.Any(observe.Err, err))
		return
	}
	c.written = state
}

func (c *call) ringing(o *invited) ([]byte, error) {
	r := savedRinging{
		Invite: plain(o.req.Request), Flow: o.req.Flow, Tag: o.req.Tx.Tag(), Decision: c.decision, Machine: c.m, Times: c.times(),
		Terminal: c.terminal, Incoming: c.incoming, History: c.history,
	}
	for _, b := range c.branches {
		r.Branches = append(r.Branches, b.saved())
	}
	for _, f := range c.forks {
		r.Forks = append(r.Forks, savedFork{
			Branch: f.branch.index, Tag: f.tag, Caller: f.caller, Callee: f.callee, RSeq: f.rseq, Unacked: f.unacked,
			Given: f.given, CalleeDone: f.calleeDone, CallerDone: f.callerDone, Offered: f.offered,
		})
	}
	for tag, rel := range o.rel {
		s := savedReliable{Tag: tag, Next: rel.next, Seq: rel.seq}
		if rel.sent != nil {
			s.Sent = []byte(rel.sent.String())
		}
		r.Reliable = append(r.Reliable, s)
	}
	var err error
	if r.Media, err = c.media.Ringing(); err != nil {
		return nil, err
	}
	return json.Marshal(saved{
		Version: savedVersion, ID: c.id, Class: c.class, Precedence: c.precedence, Record: c.rec, FromName: c.fromName, ToName: c.toName, Ringing: &r, Tolls: c.s.o.Tolls.Held(c.id),
	})
}

func (b *branchLeg) saved() savedBranch {
	s := savedBranch{Target: b.target.saved(), Site: b.site, Session: b.session, Timer: b.timer, Offered: b.offered}
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
	invite, err := s.stack.ParseRequest(r.Invite)
	if err != nil {
		return err
	}
	if r.Machine == nil || len(r.Machine.Branches) != len(r.Branches) {
		return errors.New("state of a ringing call is incomplete")
	}
	o := &invited{req: &stack.Request{Request: invite, Flow: r.Flow}, rel: map[string]*reliable{}}
	c.origin, c.m, c.decision, c.late, c.resume = o, r.Machine, r.Decision, len(description(invite)) == 0, r
	c.terminal, c.incoming, c.history = r.Terminal, r.Incoming, r.History
	of := &begun{stage: r.Machine.Stage, callID: rand.Text(), tag: rand.Text()[:16], history: r.History}
	for i := range r.Reliable {
		rel := &reliable{next: r.Reliable[i].Next, seq: r.Reliable[i].Seq, wait: s.limits.T1, until: time.Now().Add(ackLimit * s.limits.T1)}
		if len(r.Reliable[i].Sent) > 0 {
			if rel.sent, err = s.stack.ParseResponse(r.Reliable[i].Sent); err != nil {
				return err
			}
		}
		o.rel[r.Reliable[i].Tag] = rel
	}
	media, paths, err := s.o.Anchor.RestoreRinging(c.holder(), r.Media)
	if err != nil {
		return fmt.Errorf("media: %w", err)
	}
	c.media = media
	s.know(c, c.rec.CallID, r.Tag)
	s.know(c, of.callID, of.tag)
	for i := range r.Branches {
		saved := &r.Branches[i]
		b := &branchLeg{
			index: i, target: saved.Target.restored(), of: of, site: saved.Site, path: paths[saved.Path], session: saved.Session,
			timer: saved.Timer, offered: saved.Offered, forks: map[string]*fork{},
		}
		c.branches = append(c.branches, b)
		if len(saved.Invite) == 0 {
			continue
		}
		if b.path == nil {
			err = errors.New("state of a ringing call lacks a path")
		} else {
			b.invite, err = s.stack.ParseRequest(saved.Invite)
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
		s.know(c, c.rec.CallID, f.caller.Dialog.ID.LocalTag)
	}
	return nil
}

// takeUp resumes the transactions of a ringing call.
func (c *call) takeUp() {
	r := c.resume
	c.resume = nil
	o := c.origin.(*invited) //nolint:errcheck,forcetypeassert // restoreRinging made it
	o.req = c.s.stack.ResumeInvite(o.req.Request, r.Flow, r.Tag)
	if c.incoming != nil {
		o.req.Tx.Alter(hideResponse)
	}
	c.ex.admit(caller)
	c.watchCancel(o.req)
	c.takeUpTimers(r.Times)
	for i, b := range c.branches {
		switch c.m.Branches[i].Progress {
		case branchCalling, branchCancelling, branchAbandoned:
			c.takeUpBranch(b, r.Branches[i].Flow, r.Branches[i].Remote)
		default:
		}
	}
	for tag, rel := range o.rel {
		if rel.sent != nil {
			o.repeatReliably(c, tag, rel)
		}
	}
	if r.Flow.Stream() {
		c.log.Info("the caller's connection is gone, its call ends")
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
	tx, err := c.s.stack.ResumeRequest(c.ctx, b.invite.Clone(), flow)
	c.attempted(out, tx, err)
	if err == nil && c.m.Branches[b.index].Progress != branchCalling {
		c.cancelBranch(b)
	}
}

// saveAnswer is what brings our 2xx back after a crash, until its ACK.
func (o *invited) saveAnswer(c *call, f *fork, out *sip.Response, seq uint32) *savedAnswer {
	return &savedAnswer{
		Invite: plain(o.req.Request), Flow: o.req.Flow, Tag: o.req.Tx.Tag(), Response: []byte(out.String()),
		Seq: seq, Late: c.late, Settled: f.settled(),
	}
}

// repeatStoredAnswer goes on repeating a 2xx that may never have left, and acknowledges the phone's.
func (c *call) repeatStoredAnswer() {
	a := c.answer
	req, err := c.s.stack.ParseRequest(a.Invite)
	var res *sip.Response
	if err == nil {
		res, err = c.s.stack.ParseResponse(a.Response)
	}
	if err != nil || a.Flow.Stream() { // the phone hears of the call from its next request
		c.answer = nil
		return
	}
	o := &invited{req: c.s.stack.ResumeInvite(req, a.Flow, a.Tag)}
	if c.pair.caller.Trunk != "" {
		o.req.Tx.Alter(hideResponse)
	}
	c.repeated = true
	c.late, c.pair.callerDone, c.pair.calleeDone = a.Late, a.Settled, a.Settled
	c.m.Phase = phaseAccepted
	c.ex.admit(caller)
	if !a.Late || a.Settled {
		c.sendAck(c.pair.callee, a.Seq, nil)
	}
	err = c.accept(c.pair.caller, o.req, res, func(ack *sip.Request) { c.firstAck(ack, a.Seq) }, func() {
		c.step(evHangup{"system", "no ACK"})
	})
	if err != nil {
		c.step(evHangup{"system", "the answer could not be repeated"})
	}
}

// impliedAck: a caller that goes on in its dialog has acknowledged the 2xx that we repeat after a
// restart; its ACK came while nobody was there. One that had to carry an answer is needed.
func (c *call) impliedAck(l *leg) {
	a := l.accept
	if a == nil || !c.repeated || l.Side != caller || c.late && !c.pair.settled() {
		return
	}
	l.accept = nil
	c.disarm(timerName{"2xx", int(l.Side)})
	a.acked(nil)
	c.byeWhenAcked(l)
}

// ringingLegs are the ends of a ringing call, for the limits.
func (c *call) ringingLegs() []*leg {
	from := &leg{Side: caller, Extension: c.rec.From}
	if c.incoming != nil {
		from.Trunk, from.Gateway = c.incoming.Trunk, c.incoming.Gateway
	}
	legs := []*leg{from}
	for i, b := range c.branches {
		if p := c.m.Branches[i].Progress; p == branchCalling || p == branchWaiting {
			legs = append(legs, c.calleeLeg(b))
		}
	}
	return legs
}

// savedTarget is a target of a stage.
type savedTarget struct {
	Terminal directory.Terminal `json:"terminal"`
	Binding  location.Binding   `json:"binding"`
	Attempt  *savedAttempt      `json:"attempt,omitempty"`
	Number   string             `json:"number,omitempty"`
	Wave     int                `json:"wave,omitempty"`
}

// savedAttempt is an Attempt without what cannot be written: its connection is there or gone.
type savedAttempt struct {
	Trunk    string        `json:"trunk"`
	Gateway  string        `json:"gateway"`
	URI      string        `json:"uri"`
	To       string        `json:"to,omitempty"`
	Routes   []string      `json:"routes,omitempty"`
	Flow     stack.Flow    `json:"flow"`
	Site     site.ID       `json:"site"`
	From     Identity      `json:"from"`
	Asserted Identity      `json:"asserted"`
	Contact  string        `json:"contact"`
	Headers  [][2]string   `json:"headers,omitempty"`
	Patience time.Duration `json:"patience,omitempty"`
	SRTP     string        `json:"srtp,omitempty"`
}

func (t *target) saved() savedTarget {
	s := savedTarget{Terminal: t.terminal, Binding: t.binding, Number: t.number, Wave: t.wave}
	if a := t.attempt; a != nil {
		s.Attempt = &savedAttempt{a.Trunk, a.Gateway, a.URI, a.To, a.Routes, a.Flow, a.Site, a.From, a.Asserted, a.Contact, a.Headers, a.Patience, a.SRTP}
	}
	return s
}

func (s *savedTarget) restored() target {
	t := target{terminal: s.Terminal, binding: s.Binding, number: s.Number, wave: s.Wave}
	if a := s.Attempt; a != nil {
		t.attempt = &Attempt{
			Trunk: a.Trunk, Gateway: a.Gateway, URI: a.URI, To: a.To, Routes: a.Routes, Flow: a.Flow, Site: a.Site,
			From: a.From, Asserted: a.Asserted, Contact: a.Contact, Headers: a.Headers, Patience: a.Patience, SRTP: a.SRTP,
		}
	}
	return t
}

// savedTimes is when the ringing ends: of the turn, of the stage, of the whole call.
type savedTimes struct {
	Wave  time.Time     `json:"wave,omitzero"`
	Every time.Duration `json:"every,omitempty"` // between two turns
	Stage time.Time     `json:"stage,omitzero"`
	Setup time.Time     `json:"setup,omitzero"`
}

func (c *call) times() savedTimes {
	at := func(kind string) time.Time {
		if t := c.timers[timerName{kind: kind}]; t != nil {
			return t.at
		}
		return time.Time{}
	}
	t := savedTimes{Wave: at("wave"), Stage: at("ring"), Setup: at("setup")}
	if c.m.Stage != nil && !t.Wave.IsZero() {
		ring := c.m.Stage.Ring
		if ring <= 0 {
			ring = c.s.limits.Ring
		}
		t.Every = ring / time.Duration(max(1, len(c.turns(0))))
	}
	return t
}

// turns are the waves of the present stage that have not begun before from.
func (c *call) turns(from progress) map[int]bool {
	waves := map[int]bool{}
	for i := range c.m.Branches {
		if b := &c.m.Branches[i]; b.Stage == c.m.Stages && (from == 0 || b.Progress == from) {
			waves[b.Wave] = true
		}
	}
	return waves
}

// takeUpTimers goes on with the time that is left.
func (c *call) takeUpTimers(t savedTimes) {
	if !t.Stage.IsZero() {
		c.arm(timerName{kind: "ring"}, time.Until(t.Stage), func() { c.step(evStageTime{}) })
	}
	if !t.Setup.IsZero() {
		c.arm(timerName{kind: "setup"}, time.Until(t.Setup), func() { c.step(evRingTimeout{}) })
	}
	if left := len(c.turns(branchWaiting)); left > 0 && !t.Wave.IsZero() && t.Every > 0 {
		c.arm(timerName{kind: "wave"}, time.Until(t.Wave), func() {
			if left > 1 {
				c.armWave(t.Every, left-1)
			}
			c.step(evWaveTimeout{})
		})
	}
}
