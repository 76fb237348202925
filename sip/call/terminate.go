package call

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"time"

	"github.com/emiago/sipgo/sip"

	"linehall/internal/observe"
	"linehall/internal/site"
	"linehall/media/anchor"
	"linehall/media/sdp"
	"linehall/media/srtp"
	"linehall/sip/stack"
)

// A phone that refuses what another one offers may do so for its security alone: one has SRTP only, the other none, or
// they share no suite. Then it is offered the call again with SRTP that ends here: first with keys of ours, over a flow
// where nobody else can read them (RFC 4568 §7), then in clear. Where either end requires encryption neither is tried:
// there nothing runs in clear, and phones that share a suite keep it from end to end.
//
//	an INVITE is refused                redress
//	a re-INVITE that links two parties  redressLink; what they talk is known, so fit often knows better at once
//	an INVITE without an offer          lateOffer chooses, and secondOffer mends what the ACK brings
//	two offers (pickup)                 each side gets a key of ours for its own

// refusedMedia are the responses that may mean so (RFC 3261 §13.3.1.3, §21.4.13, §21.6.4).
func refusedMedia(code int) bool { return code == 488 || code == 415 || code == 606 }

// How a side was offered media: as the other one wrote it, with keys of ours, in clear.
const (
	dressedKeyed = 1
	dressedClear = 2
)

// nextDress is another way to offer a side what the other one wrote; false: there is none left.
func nextDress(dressed int, offer []byte, to stack.Flow) (next int, ok bool) {
	keyed, usable := offeredKeys(offer)
	switch {
	case !usable:
	case dressed < dressedKeyed && private(to):
		return dressedKeyed, true
	case dressed < dressedClear && keyed:
		return dressedClear, true
	}
	return 0, false
}

// terminate has SRTP end here from the next offer on.
func (c *call) terminate(path *anchor.Path, to side, dressed int) {
	how := anchor.Keyed
	if dressed == dressedClear {
		how = anchor.Clear
	}
	path.Terminate(to, how)
	c.log.Info("offered again, SRTP ends here", slog.String(observe.Leg, to.String()), slog.Bool("keyed", how == anchor.Keyed))
}

// redress offers the call to a branch again, protected in another way; false: there is none left.
func (c *call) redress(b *branchLeg, res *sip.Response) bool {
	if !refusedMedia(res.StatusCode) || c.late || b.path == nil || c.m.Phase != phaseRinging ||
		c.m.Branches[b.index].Progress != branchCalling || c.lent != nil && c.lent.leg == nil || c.branchPolicy(b) == site.SRTPRequired {
		return false
	}
	next, ok := nextDress(b.dressed, c.origin.offer(), b.target.flow())
	if !ok {
		return false
	}
	b.dressed = next
	c.terminate(b.path, callee, next)
	if c.lent != nil { // in the dialog of a peer that is on the phone
		f := b.forks[c.lent.leg.Dialog.ID.RemoteTag]
		body, err := c.passOffer(f, caller, c.origin.offer())
		if err == nil {
			c.invitePeer(f, body)
		}
		return err == nil
	}
	body, err := c.offerTo(b)
	if err != nil {
		c.log.Info("media of a branch cannot end here", slog.Any(observe.Err, err))
		return false
	}
	inv := b.invite.Clone()
	inv.CSeq().SeqNo++
	for inv.RemoveHeader("Via") { // there after a restart
	}
	setBody(inv, body)
	c.sendBranch(b, b.out.leg, inv)
	return true
}

// fit has SRTP end here at once where one side, which is on the phone, talks it and the other one does not, or may not
// have it: offer is what the side from wrote. Two that have keys try to share them.
func (c *call) fit(f *fork, from side, offer []byte) {
	to := f.leg(from.Other())
	keyed, usable := offeredKeys(offer)
	if !usable || f.branch.path.Ends() || c.srtpPolicy(f) == site.SRTPRequired {
		return
	}
	switch has, wants := protectionOf(to.Agreed), protectionOf(offer); {
	case !has.Media:
	case wants.Forced && !has.Some:
		c.terminate(f.branch.path, to.Side, dressedClear)
	case !keyed && has.Forced && private(to.Flow):
		c.terminate(f.branch.path, to.Side, dressedKeyed)
	}
}

// redressLink is redress for a side that refused what the other one wrote, in a link, or answered it with nothing that
// can be used. It returns what to offer next.
func (c *call) redressLink(k *link, to side, res *sip.Response, offer []byte) ([]byte, bool) {
	if res == nil || !res.IsSuccess() && !refusedMedia(res.StatusCode) || c.srtpPolicy(k.f) == site.SRTPRequired {
		return nil, false
	}
	next, ok := nextDress(k.dressed[to], offer, k.f.leg(to).Flow)
	if !ok {
		return nil, false
	}
	k.dressed[to] = next
	c.terminate(k.f.branch.path, to, next)
	body, err := c.passOffer(k.f, to.Other(), offer)
	return body, err == nil && len(body) > 0
}

// lateOffer passes on the offer of a side to one that has made none and can only answer in its ACK. Over a flow on which
// it would have no keys of ours it is asked in clear, which most of such phones talk; others as the offer is.
func (c *call) lateOffer(f *fork, from side, body []byte) ([]byte, error) {
	to := f.leg(from.Other())
	if _, usable := offeredKeys(body); usable && protectionOf(body).Forced && !private(to.Flow) &&
		!f.branch.path.Ends() && c.srtpPolicy(f) != site.SRTPRequired {
		c.terminate(f.branch.path, to.Side, dressedClear)
	}
	return c.passOffer(f, from, body)
}

// secondOffer asks the caller once more, in a re-INVITE, who cannot use what it was offered late: the ACK of our 2xx
// rejects it, or answers SRTP with none. Its new answer is the callee's ACK. It reports whether there is another way.
func (c *call) secondOffer(ack *sip.Request, seq uint32) bool {
	f := c.pair
	offer, p := f.callee.Agreed, protectionOf(description(ack))
	if p.Some || p.Media && !protectionOf(offer).Forced || f.branch.path.Ends() || c.srtpPolicy(f) == site.SRTPRequired {
		return false
	}
	next, ok := nextDress(0, offer, f.caller.Flow)
	if ok && p.Media { // it said what it talks
		next = dressedClear
	}
	if !ok {
		return false
	}
	f.branch.path.Rollback()
	c.terminate(f.branch.path, caller, next)
	c.link = &savedLink{Late: true}
	c.linkLate(f, offer, seq, next)
	return true
}

// crossPaths makes two answers of two offers. Where one side talks SRTP and the other one does not, or they share no suite, it
// ends here, and each has a key of ours for its own.
func (c *call) crossPaths(f *fork, own, theirs []byte) (toCaller, toPicker []byte, pairs []int, err error) {
	path, a, b := f.branch.path, protectionOf(own), protectionOf(theirs)
	policy, flows := c.srtpPolicy(f), []stack.Flow{f.caller.Flow, f.callee.Flow}
	for _, p := range []protection{a, b} {
		if err := secureOffer(policy, false, p, flows...); err != nil {
			return nil, nil, nil, err
		}
	}
	_, canCaller := offeredKeys(own)
	_, canPicker := offeredKeys(theirs)
	may := canCaller && canPicker && policy != site.SRTPRequired
	if may && a.Forced != b.Forced {
		path.Terminate(callee, anchor.Clear)
	}
	toCaller, toPicker, pairs, err = path.Cross(own, theirs)
	if errors.Is(err, sdp.ErrNothingInCommon) && may && a.Some && b.Some && !path.Ends() {
		path.Terminate(callee, anchor.Clear)
		toCaller, toPicker, pairs, err = path.Cross(own, theirs)
	}
	if err != nil {
		return nil, nil, nil, err
	}
	f.offered = a
	f.caller.Secure, f.callee.Secure = protectionOf(toCaller).Secure, protectionOf(toPicker).Secure
	if policy == site.SRTPRequired && (!f.caller.Secure || !f.callee.Secure) {
		return nil, nil, nil, errClear
	}
	return toCaller, toPicker, pairs, nil
}

// offeredKeys reports whether an offer has SRTP, and whether it can end here: RTP, or SDES with a suite that we know.
func offeredKeys(offer []byte) (keyed, usable bool) {
	doc, err := sdp.Parse(offer)
	if err != nil {
		return false, false
	}
	for _, m := range doc.Media() {
		if m.Port() == 0 || !m.IsRTP() {
			continue
		}
		usable = true
		if !m.IsSecure() && !m.Keyed() {
			continue
		}
		keyed = true
		known := m.Web() // by media/gateway
		for _, v := range m.Attributes("crypto") {
			_, err := srtp.ParseCrypto(v)
			known = known || err == nil
		}
		if !known {
			return true, false
		}
	}
	return keyed, usable
}

// branchPolicy is the stricter policy of both ends of a branch.
func (c *call) branchPolicy(b *branchLeg) site.SRTP {
	if c.emergency() {
		return site.SRTPOff
	}
	if c.lent != nil { // a peer that is on the phone, perhaps behind a trunk
		return stricter(c.s.srtpOfLeg(c.callerEnd()), c.s.srtpOfLeg(c.lent.leg))
	}
	return stricter(c.s.srtpOfLeg(c.callerEnd()), c.s.srtpOfLeg(c.calleeLeg(b)))
}

// callerEnd is where the caller is, for policies, while it has no leg: at a site, behind a trunk, or on the phone already.
func (c *call) callerEnd() *leg {
	if o, ok := c.origin.(*connected); ok {
		return o.shadow
	}
	from := &leg{Site: site.ID(c.rec.FromSite), Flow: c.origin.flow()}
	if c.incoming != nil {
		from.Trunk, from.TrunkSRTP = c.incoming.Trunk, c.incoming.SRTP
	}
	return from
}

// rolloverPause is how often a call whose SRTP ends here looks whether its roll-over counters should be saved: a sender
// of a thousand packets a second must not come half a turn further meanwhile (RFC 3711 §3.3.1).
const rolloverPause = 15 * time.Second

// armRollover does so for as long as the call lasts.
func (c *call) armRollover() {
	c.arm(timerName{kind: "rollover"}, rolloverPause, func() {
		if c.m.Phase == phaseEnded || c.pair == nil {
			return
		}
		if why := c.pair.branch.path.Lost(); why != "" {
			c.step(evHangup{"system", why})
			return
		}
		if c.pair.branch.path.Stale() {
			c.dirty()
		}
		c.armRollover()
	})
}

// Secrets encrypts at rest (internal/secret).
type Secrets interface {
	Seal(purpose string, plain []byte) ([]byte, error)
	Open(purpose string, sealed []byte) ([]byte, error)
}

// sealedState is a state that holds keys of SRTP, as the store keeps it.
type sealedState struct {
	Sealed []byte `json:"sealed"`
}

func statePurpose(id string) string { return "call state " + id }

// protect encrypts a state that holds keys; others stay as they are, it costs.
func (c *call) protect(state []byte) ([]byte, error) {
	if c.s.o.Secrets == nil || !c.endsSRTP() && !holdsKeys(state) {
		return state, nil
	}
	sealed, err := c.s.o.Secrets.Seal(statePurpose(c.id), state)
	if err != nil {
		return nil, fmt.Errorf("call state: %w", err)
	}
	return json.Marshal(sealedState{sealed})
}

// endsSRTP: the media plane's part of the state has keys.
func (c *call) endsSRTP() bool {
	for _, b := range c.branches {
		if b.path != nil && b.path.Ends() {
			return true
		}
	}
	return false
}

// keyMarks are "a=crypto:" as it looks in a state, whose messages and descriptions are base64: behind a multiple of three
// bytes, behind one byte more, and behind two.
var keyMarks = [][]byte{[]byte("YT1jcnlwdG86"), []byte("Y3J5cHRv"), []byte("PWNyeXB0")}

// holdsKeys finds keys in a state, wherever they are in it: what a phone offered, what we answered, what waits for its ACK.
func holdsKeys(state []byte) bool {
	return slices.ContainsFunc(keyMarks, func(mark []byte) bool { return bytes.Contains(state, mark) })
}

// unprotect undoes protect.
func (s *Service) unprotect(id string, raw []byte) ([]byte, error) {
	if !bytes.HasPrefix(raw, []byte(`{"sealed":`)) {
		return raw, nil
	}
	var state sealedState
	if err := json.Unmarshal(raw, &state); err != nil {
		return nil, err
	}
	if s.o.Secrets == nil {
		return nil, fmt.Errorf("call state %s is encrypted, and there is no key", id)
	}
	return s.o.Secrets.Open(statePurpose(id), state.Sealed)
}
