package call

import (
	"errors"
	"log/slog"
	"time"

	"github.com/emiago/sipgo/sip"

	"linehall/internal/observe"
	"linehall/internal/site"
	"linehall/media/anchor"
	"linehall/sip/dialog"
	"linehall/sip/stack"
)

// branchLeg is one forked target: the INVITE sent to it and what came back.
type branchLeg struct {
	index  int
	target target
	of     *begun // its stage
	// reported says that the trunk knows how the attempt ended.
	reported bool
	site     site.ID
	path     *anchor.Path
	invite   *sip.Request // as sent, without Via; nil when it could not be sent
	out      *outgoing
	forks    map[string]*fork // by the phone's To-tag
	// session is what the phone saw in the INVITE; every fork of the branch continues it.
	session dialog.Session
	final   *sip.Response // its failure, if it was the phone's
	refuse  refusal       // its failure, if it was ours
	offered protection    // the caller's first offer
	timer   sessionTimer  // as asked for
	raises  int           // 422s so far
	dressed int           // how its SRTP is offered, see redress
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
	offered                protection // the last offer, of either side
	changed                bool       // the phone's 2xx differs from what the caller was told for good
}

func (f *fork) leg(s side) *leg {
	if s == caller {
		return f.caller
	}
	return f.callee
}

// sendInvite offers the call to one target.
func (c *call) sendInvite(b *branchLeg, callID, tag string) refusal {
	inv, r := c.inviteFor(b, tag)
	if r.code != 0 {
		return r
	}
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
	l, who := c.calleeLeg(b), c.callerIdentity()
	c.identify(inv, l, who, caller)
	c.origin.impart(c, inv)
	c.impartPriority(inv)
	who.anonymise(inv)
	if inv.GetHeader("User-Agent") == nil {
		inv.AppendHeader(sip.NewHeader("User-Agent", agent))
	}
	c.tell(b, l, inv)

	dressed, err := c.leadRecorded(b.path, l)
	if err == nil {
		if d := c.leadMeeting(b.path, l); d != 0 {
			dressed = d
		}
		b.dressed = dressed
		err = c.guardBranch(b, l)
	}
	var body []byte
	if err == nil {
		body, err = c.offerTo(b)
	}
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
	for _, name := range []string{"Session-Expires", "Min-SE", "Via"} { // a Via is there after a restart
		for inv.RemoveHeader(name) {
		}
	}
	timer.request(inv)
	c.sendBranch(b, b.out.leg, inv)
	return true
}

// calleeLeg is a target's side of the call, before it has a dialog.
func (c *call) calleeLeg(b *branchLeg) *leg {
	number, name := b.target.party()
	l := &leg{Side: callee, Flow: b.target.flow(), Extension: number, Display: name, Site: b.site}
	l.User, l.RemoteParty = c.callerIdentity().contactUser(), wantsRemoteParty(b.target.binding.UserAgent)
	if a := b.target.attempt; a != nil {
		l.User, l.Trunk, l.Gateway, l.Asserted, l.TrunkSRTP = a.Contact, a.Trunk, a.Gateway, a.asserted(), a.SRTP
	}
	return l
}

// offerTo is the caller's offer as this branch gets it; nil for an INVITE without one.
func (c *call) offerTo(b *branchLeg) ([]byte, error) {
	if o, ok := c.origin.(*summons); ok && o.blank {
		return b.session.Send([]byte(blankOffer), c.localAddr(b.target.flow()))
	}
	offer := c.origin.offer()
	if len(offer) == 0 {
		return nil, nil
	}
	if err := c.dressForDesk(b, offer); err != nil {
		return nil, err
	}
	body, err := b.path.Offer(caller, offer)
	if err != nil {
		return nil, err
	}
	return b.session.Send(body, c.localAddr(b.target.flow()))
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
		c.report(b, 200)
		c.step(evAnswer{b.index, tag})
	case res.StatusCode == 422 && c.raiseBranch(b, res):
	case c.redress(b, res):
	case res.StatusCode < 400 && b.target.outside(): // where else is not for our phones to try
		b.refuse = refusal{code: 480, text: "the gateway redirects the call"}
		c.branchFailed(b, b.refuse.code)
	default:
		if c.another(b, res.StatusCode) {
			return
		}
		b.final = res.Clone()
		c.branchFailed(b, res.StatusCode)
	}
}

func (c *call) onBranchEnd(b *branchLeg, err error) {
	code := 408
	if errors.Is(err, stack.ErrFlowGone) {
		code = 430
	}
	if c.another(b, code) {
		return
	}
	number, _ := b.target.party()
	c.log.Info("branch failed", slog.String(observe.Extension, number), slog.String(observe.Contact, b.target.contact()), slog.Any(observe.Err, err))
	c.branchFailed(b, code)
}

func (c *call) branchFailed(b *branchLeg, code int) {
	if c.rec.Legs[b.index].Code == 0 {
		c.rec.Legs[b.index].Code = code
	}
	c.report(b, code)
	if b.path != nil && c.m.Phase == phaseRinging { // at the end of the call all paths close
		b.path.Close()
	}
	if b.refuse.full {
		c.step(evFull{b.index})
		return
	}
	c.step(evFailure{b.index, code})
}

func (c *call) cancelBranch(b *branchLeg) {
	if b.out != nil {
		b.out.because = reasonHeaders(c.cancelReasons())
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
	f := &fork{branch: b, tag: tag, caller: towardsCaller, callee: c.calleeLeg(b), offered: b.offered}
	f.callee.Dialog, f.callee.Flow, f.callee.Timer = towardsCallee, b.out.leg.Flow, sessionTimer{MinSE: b.timer.MinSE}
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

// decorate adds what our responses to the caller carry about the callee; f is nil without an
// early dialog.
func (c *call) decorate(out *sip.Response, b *branchLeg, f *fork) {
	out.AppendHeader(&sip.ContactHeader{Address: c.s.stack.ContactURI(c.origin.flow(), c.dialled())})
	out.AppendHeader(sip.NewHeader("Allow", allowValue))
	out.AppendHeader(sip.NewHeader("Supported", supportedValue))
	var who identity
	who.Extension, who.Display = b.target.party()
	to := &leg{Side: caller}
	if f != nil {
		who, to = c.identityOf(f.callee), f.caller
	}
	c.identify(out, to, who, callee)
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
		c.rec.Reason = r.text
		c.origin.refuse(c, r)
		return
	}
	c.origin.fail(c, a.Code, b.final)
}

// watchCancel tells the owner when the peer cancels an INVITE.
func (c *call) watchCancel(req *stack.Request) {
	req.Tx.OnCancel(func() { c.post(msgCancelled{req}) })
}
