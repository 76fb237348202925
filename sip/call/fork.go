package call

import (
	"crypto/rand"
	"errors"
	"log/slog"
	"time"

	"github.com/emiago/sipgo/sip"

	"linehall/internal/observe"
	"linehall/internal/site"
	"linehall/media/anchor"
	"linehall/sip/cdr"
	"linehall/sip/dialog"
	"linehall/sip/stack"
)

// branchLeg is one forked target: the INVITE sent to it and what came back.
type branchLeg struct {
	index  int
	target target
	site   site.ID
	path   *anchor.Path
	invite *sip.Request // as sent, without Via; nil when it could not be sent
	out    *outgoing
	forks  map[string]*fork // by the phone's To-tag
	// session is what the phone saw in the INVITE; every fork of the branch continues it.
	session dialog.Session
	final   *sip.Response // its failure, if it was the phone's
	refuse  refusal       // its failure, if it was ours
	timer   sessionTimer  // as asked for
	raises  int           // 422s so far
}

// fork is one early dialog of a branch, joined to one early dialog towards the caller: the
// caller sees a To-tag for each (RFC 3261 §12.1, §13.2.2.4).
type fork struct {
	branch *branchLeg
	tag    string // the phone's
	caller *leg
	callee *leg

	rseq    uint32 // of the phone's last reliable response; 0: none
	unacked bool   // it waits for our PRACK
	given   []byte // the answer that the caller got in a provisional response
	// Offer and answer are complete with the phone, and with the caller, before the 2xx: they were
	// in a reliable response, or in its PRACK.
	calleeDone, callerDone bool
	changed                bool // the phone's 2xx differs from what the caller was told for good
}

func (f *fork) leg(s side) *leg {
	if s == caller {
		return f.caller
	}
	return f.callee
}

// start opens the media and sends the INVITEs. A branch that cannot be sent fails at once.
func (c *call) start() {
	groups := make([]string, len(c.targets))
	for i, t := range c.targets {
		groups[i] = t.terminal.Extension
	}
	c.m = newMachine(groups)
	c.s.o.Records.Begin(c.rec)
	c.ex.admit(caller) // until the ACK nobody may re-negotiate
	flow := c.origin.flow()
	c.media = c.s.o.Anchor.Open(c.holder(), anchor.Party{
		Site: site.ID(c.rec.FromSite), Remote: flow.Remote.Addr(), Local: flow.Local.Addr(),
	})
	c.origin.begin(c)
	c.arm(timerName{kind: "ring"}, c.s.limits.Ring, func() { c.step(evRingTimeout{}) })
	c.log.Info("call started", slog.String("from", c.rec.From), slog.String("to", c.rec.Dialled), slog.Int(observe.Count, len(c.targets)))

	callID, tag := rand.Text(), rand.Text()[:16]
	c.s.know(c, callID, tag)
	for i, t := range c.targets {
		b := &branchLeg{index: i, target: t, site: c.s.siteOf(t.binding.Flow, t.terminal.Site), forks: map[string]*fork{}, session: dialog.NewSession()}
		c.branches = append(c.branches, b)
		b.path = c.media.Branch(t.terminal.Extension+" "+t.binding.Contact, anchor.Party{
			Site: b.site, Remote: t.binding.Flow.Remote.Addr(), Local: t.binding.Flow.Local.Addr(),
		})
		c.rec.Legs = append(c.rec.Legs, cdr.Leg{Extension: t.terminal.Extension, Contact: t.binding.Contact})
	}
	c.publish()
	for _, b := range c.branches {
		if c.m.Phase != phaseRinging {
			return
		}
		if r := c.sendInvite(b, callID, tag); r.code != 0 {
			b.refuse = r
			c.branchFailed(b, r.code)
		}
	}
}

// sendInvite offers the call to one phone.
func (c *call) sendInvite(b *branchLeg, callID, tag string) refusal {
	var target sip.Uri
	if err := sip.ParseUri(b.target.binding.Contact, &target); err != nil {
		return refusal{code: 430, reason: "Flow Failed", text: "the registered contact cannot be used"}
	}
	inv := sip.NewRequest(sip.INVITE, target)
	for _, p := range b.target.binding.Path { // RFC 3327 §5.3
		var route sip.Uri
		if err := sip.ParseUri(p, &route); err == nil {
			inv.AppendHeader(&sip.RouteHeader{Address: route})
		}
	}
	domain := c.s.stack.Domain()
	inv.AppendHeader(&sip.FromHeader{
		DisplayName: display(c.fromName), Address: sip.Uri{Scheme: "sip", User: c.rec.From, Host: domain},
		Params: sip.HeaderParams{{K: "tag", V: tag}},
	})
	inv.AppendHeader(&sip.ToHeader{Address: sip.Uri{Scheme: "sip", User: b.target.terminal.Extension, Host: domain}})
	id := sip.CallIDHeader(callID)
	inv.AppendHeader(&id)
	inv.AppendHeader(&sip.CSeqHeader{SeqNo: 1, MethodName: sip.INVITE})
	inv.AppendHeader(sip.NewHeader("Allow", allowValue))
	if c.offersReliably() {
		inv.AppendHeader(sip.NewHeader("Supported", supportedValue))
	} else {
		inv.AppendHeader(sip.NewHeader("Supported", supportedInside))
	}
	b.timer = sessionTimer{Interval: c.s.limits.SessionExpires, Ours: true}
	b.timer.request(inv)
	inv.AppendHeader(c.s.assertedIdentity(c.rec.From, c.fromName))
	c.origin.impart(inv)
	c.impartPriority(inv)
	if inv.GetHeader("User-Agent") == nil {
		inv.AppendHeader(sip.NewHeader("User-Agent", agent))
	}

	l := &leg{Side: callee, Flow: b.target.binding.Flow, Extension: b.target.terminal.Extension, User: c.rec.From}
	body, err := c.offerTo(b)
	if err != nil {
		c.log.Info("branch refused", slog.String(observe.Extension, l.Extension), slog.Any(observe.Err, err))
		return mediaRefusal(err)
	}
	setBody(inv, body)
	c.sendBranch(b, l, inv)
	return refusal{}
}

func (c *call) sendBranch(b *branchLeg, l *leg, inv *sip.Request) {
	b.invite = inv
	b.out = c.sendNow(l, inv, func(res *sip.Response) { c.onBranch(b, res) }, func(err error) { c.onBranchEnd(b, err) })
}

// raiseBranch repeats an INVITE that got 422 with the session interval that the phone wants
// (RFC 4028 §7.3): a new transaction in the same call.
func (c *call) raiseBranch(b *branchLeg, res *sip.Response) bool {
	terms, err := readTimer(res)
	timer, ok := b.timer.raised(terms)
	if err != nil || !ok || b.raises >= mostRaises || c.m.Branches[b.index].Progress != branchCalling {
		return false
	}
	b.timer, b.raises = timer, b.raises+1
	inv := b.invite.Clone()
	inv.CSeq().SeqNo++
	for _, name := range []string{"Session-Expires", "Min-SE"} {
		for inv.RemoveHeader(name) {
		}
	}
	timer.request(inv)
	c.sendBranch(b, b.out.leg, inv)
	return true
}

// offerTo is the caller's offer as this branch gets it; nil for an INVITE without one.
func (c *call) offerTo(b *branchLeg) ([]byte, error) {
	offer := c.origin.offer()
	if len(offer) == 0 {
		return nil, nil
	}
	body, err := b.path.Offer(caller, offer)
	if err != nil {
		return nil, err
	}
	return b.session.Send(body, c.localAddr(b.target.binding.Flow))
}

// onBranch takes a response of a branch's INVITE.
func (c *call) onBranch(b *branchLeg, res *sip.Response) {
	c.current = res
	defer func() { c.current = nil }()
	tag := ""
	if to := res.To(); to != nil {
		tag = paramTag(to.Params)
	}
	switch {
	case res.StatusCode < 200:
		if c.takeReliable(b, res) {
			c.step(evProvisional{b.index, tag, res.StatusCode})
			c.ackReliable(b, res)
		}
	case res.StatusCode < 300:
		c.rec.Legs[b.index].Code = res.StatusCode
		c.step(evAnswer{b.index, tag})
	case res.StatusCode == 422 && c.raiseBranch(b, res):
	default:
		b.final = res.Clone()
		c.branchFailed(b, res.StatusCode)
	}
}

func (c *call) onBranchEnd(b *branchLeg, err error) {
	code := 408
	if errors.Is(err, stack.ErrFlowGone) {
		code = 430
	}
	c.log.Info("branch failed", slog.String(observe.Extension, b.target.terminal.Extension),
		slog.String(observe.Contact, b.target.binding.Contact), slog.Any(observe.Err, err))
	c.branchFailed(b, code)
}

func (c *call) branchFailed(b *branchLeg, code int) {
	if c.rec.Legs[b.index].Code == 0 {
		c.rec.Legs[b.index].Code = code
	}
	c.step(evFailure{b.index, code})
}

func (c *call) cancelBranch(b *branchLeg) {
	if b.out != nil {
		c.cancelOutgoing(b.out)
	}
}

// forkOf finds or opens the pair of dialogs for a response of a branch.
func (c *call) forkOf(b *branchLeg, res *sip.Response) (*fork, error) {
	tag := paramTag(res.To().Params)
	if f := b.forks[tag]; f != nil {
		f.callee.Dialog.Confirm(res)
		f.callee.learn(res)
		return f, nil
	}
	towardsCallee, err := dialog.Fork(b.invite, res)
	if err != nil {
		return nil, err
	}
	towardsCallee.Session = b.session.Clone()
	towardsCaller, err := c.origin.open(c)
	if err != nil {
		return nil, err
	}
	t := b.target
	f := &fork{
		branch: b, tag: tag, caller: towardsCaller,
		callee: &leg{
			Side: callee, Dialog: towardsCallee, Flow: b.out.leg.Flow, Extension: t.terminal.Extension,
			Display: t.terminal.DisplayName, Site: b.site, User: c.rec.From, Timer: sessionTimer{MinSE: b.timer.MinSE},
		},
	}
	f.callee.learn(res)
	b.forks[tag] = f
	c.forks = append(c.forks, f)
	return f, nil
}

// relayProvisional passes a 18x on in the early dialog of its fork.
func (c *call) relayProvisional(a acRelay) {
	b, res := c.branches[a.Branch], c.current
	var f *fork
	var body []byte
	if a.Tag != "" {
		var err error
		if f, err = c.forkOf(b, res); err != nil {
			c.log.Debug("early dialog not usable", slog.Any(observe.Err, err))
			return
		}
		body = c.earlyMedia(f, res)
	}
	if c.origin.provisional(c, b, f, res, body) {
		c.signOfLife()
	}
}

// earlyMedia is the answer that a provisional response carries. One that cannot be used is
// left out: the phone rings on, and the 2xx decides. Without an offer of the caller's it is an
// offer, which needs 100rel on both legs (RFC 3262 §5). What comes after offer and answer are
// complete tells nothing new (RFC 3261 §13.2.1).
func (c *call) earlyMedia(f *fork, res *sip.Response) []byte {
	body := description(res)
	if len(body) == 0 || f.calleeDone || c.late && !f.unacked {
		return nil
	}
	pass := c.passAnswer
	if c.late {
		pass = c.passOffer
	}
	out, err := pass(f, callee, body)
	if err != nil {
		c.log.Info("early media not usable", slog.Any(observe.Err, err))
		return nil
	}
	f.callee.agreed(body)
	if !c.late {
		f.given = out
	}
	if f.callerDone { // it has an answer for good; of an unreliable one's change it hears in a re-INVITE
		return nil
	}
	return out
}

// decorate adds what our responses to the caller carry about the callee.
func (c *call) decorate(out *sip.Response, b *branchLeg) {
	out.AppendHeader(&sip.ContactHeader{Address: c.s.stack.ContactURI(c.origin.flow(), c.decision.Number)})
	out.AppendHeader(sip.NewHeader("Allow", allowValue))
	out.AppendHeader(sip.NewHeader("Supported", supportedValue))
	out.AppendHeader(c.s.assertedIdentity(b.target.terminal.Extension, b.target.terminal.DisplayName))
}

// signOfLife measures call set-up: the first ringing or answer that the caller got.
func (c *call) signOfLife() {
	if !c.rang {
		c.rang = true
		c.s.metrics.setup.Observe(time.Since(c.rec.StartedAt).Seconds())
	}
}

// reject gives the caller the final response of a call that was not answered.
func (c *call) reject(a acReject) {
	if a.Branch < 0 {
		c.origin.refuse(c, c.ownRefusal(a.Code))
		return
	}
	b := c.branches[a.Branch]
	if b.final == nil {
		r := b.refuse
		if r.code != a.Code {
			r = refusal{code: a.Code}
		}
		c.origin.refuse(c, r)
		return
	}
	c.origin.fail(c, a.Code, b.final)
}

// watchCancel tells the owner when the peer cancels an INVITE.
func (c *call) watchCancel(req *stack.Request) {
	c.s.work.Go(func() {
		select {
		case <-req.Tx.Cancelled():
			c.post(msgCancelled{req})
		case <-req.Tx.Done():
		case <-c.done:
		}
	})
}
