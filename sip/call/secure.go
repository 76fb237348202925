package call

import (
	"errors"
	"log/slog"

	"linehall/internal/observe"
	"linehall/internal/site"
	"linehall/media/sdp"
	"linehall/sip/stack"
)

// SRTP as a policy (sites[].srtp, and that of a trunk). Keys and profiles pass end to end where
// both phones take them; the stricter policy of the two ends holds:
//
//	off       as the phones like
//	offered   as the phones like, but what was secured stays so
//	          (under both, a phone with SRTP reaches one without: it ends here, see terminate.go)
//	required  nothing in clear: not the media, nor the keys on the way (RFC 4568 §7)

// Why a description is refused. All three are 488 with their text in a Warning.
var (
	errClear     = errors.New("encrypted media is required here")
	errClearKeys = errors.New("the keys of encrypted media would travel in clear text: use TLS")
	errDowngrade = errors.New("an encrypted call stays encrypted")
)

// insecure reports whether a description was refused for its security.
func insecure(err error) bool {
	return errors.Is(err, errClear) || errors.Is(err, errClearKeys) || errors.Is(err, errDowngrade)
}

// protection is what a session description says about the security of its media.
type protection struct {
	Media  bool // it has media that go over datagrams
	Secure bool // each of them is SRTP or could be
	Some   bool // at least one is or could be
	Forced bool // each of them is SRTP and nothing else
	SDES   bool // keys stand in it
}

func protectionOf(body []byte) protection {
	doc, err := sdp.Parse(body)
	if err != nil {
		return protection{}
	}
	p := protection{Secure: true, Forced: true}
	for _, m := range doc.Media() {
		if m.Port() == 0 || !m.OverUDP() {
			continue
		}
		keyed := m.IsRTP() && (m.IsSecure() || m.Keyed())
		p.Media = true
		p.Secure = p.Secure && keyed
		p.Some = p.Some || keyed
		p.Forced = p.Forced && m.IsSecure()
		p.SDES = p.SDES || m.SDES()
	}
	p.Secure, p.Forced = p.Secure && p.Media, p.Forced && p.Media
	return p
}

// stricter is the policy of a call between two ends.
func stricter(a, b site.SRTP) site.SRTP {
	for _, p := range []site.SRTP{site.SRTPRequired, site.SRTPOffered} {
		if a == p || b == p {
			return p
		}
	}
	return site.SRTPOff
}

// srtpOf is the policy of a site; one that is not configured offers.
func (s *Service) srtpOf(id site.ID) site.SRTP {
	at, ok := s.o.Sites.Site(id)
	if !ok || at.SRTP == "" {
		return site.SRTPOffered
	}
	return at.SRTP
}

// private reports whether keys may travel over a flow.
func private(flow stack.Flow) bool { return flow.Transport == stack.TLS || flow.Transport == stack.WSS }

// secureOffer checks an offer under a policy; before says that the media is secured now.
func secureOffer(policy site.SRTP, before bool, p protection, flows ...stack.Flow) error {
	switch {
	case !p.Media || policy == site.SRTPOff:
		return nil
	case before && !p.Some: // a choice is settled by the answer
		return errDowngrade
	case policy != site.SRTPRequired:
		return nil
	case !p.Some:
		return errClear
	}
	return secureKeys(policy, p, flows)
}

// secureAnswer checks an answer in the same way.
func secureAnswer(policy site.SRTP, before bool, p protection, flows ...stack.Flow) error {
	switch {
	case !p.Media || policy == site.SRTPOff || p.Secure:
		return secureKeys(policy, p, flows)
	case before:
		return errDowngrade
	case policy == site.SRTPRequired:
		return errClear
	}
	return nil
}

func secureKeys(policy site.SRTP, p protection, flows []stack.Flow) error {
	if policy != site.SRTPRequired || !p.SDES {
		return nil
	}
	for _, f := range flows {
		if !private(f) {
			return errClearKeys
		}
	}
	return nil
}

// srtpPolicy is the policy of a fork.
func (c *call) srtpPolicy(f *fork) site.SRTP {
	if c.emergency() {
		return site.SRTPOff
	}
	return stricter(c.s.srtpOfLeg(f.caller), c.s.srtpOfLeg(f.callee))
}

// srtpOfLeg is the policy of one end: a trunk has its own.
func (s *Service) srtpOfLeg(l *leg) site.SRTP {
	switch {
	case l.Flow.Inside(): // nothing of it leaves the process
		return site.SRTPOff
	case l.Trunk == "":
		return s.srtpOf(l.Site)
	case l.TrunkSRTP == "optional":
		return site.SRTPOffered
	case l.TrunkSRTP == string(site.SRTPRequired):
		return site.SRTPRequired
	default:
		return site.SRTPOff
	}
}

// guardOffer refuses an offer in a dialog that its security forbids.
func (c *call) guardOffer(f *fork, from side, body []byte) error {
	p := protectionOf(body)
	before, flows := f.caller.Secure || f.callee.Secure, []stack.Flow{f.caller.Flow, f.callee.Flow}
	if f.branch.path.Ends() { // each side has its own
		before, flows = f.leg(from).Secure, []stack.Flow{f.leg(from).Flow}
	}
	var err error
	if !f.leg(from).Flow.Inside() { // of the focus: what it becomes for the phone is judged by the answer
		err = secureOffer(c.srtpPolicy(f), before, p, flows...)
	}
	if err != nil {
		c.log.Info("insecure offer refused", slog.Any(observe.Err, err))
		return err
	}
	f.offered = p
	return nil
}

// guardAnswer does the same with an answer, and notes whether the media is secured now.
func (c *call) guardAnswer(f *fork, from side, body []byte) error {
	p := protectionOf(body)
	if f.branch.path.Ends() {
		return c.guardEnd(f, from, p)
	}
	if err := secureAnswer(c.srtpPolicy(f), f.caller.Secure || f.callee.Secure, p, f.caller.Flow, f.callee.Flow); err != nil {
		c.log.Info("insecure answer refused", slog.Any(observe.Err, err))
		return err
	}
	// Keys under RTP/AVP secure the media only if both sides have some (RFC 8643 §3.1).
	secure := p.Secure && (p.Forced || f.offered.Some)
	f.caller.Secure, f.callee.Secure = secure, secure
	return nil
}

// guardEnd is guardAnswer where SRTP ends here: each side has what it says itself. That an answer has keys where keys were
// offered is the path's business.
func (c *call) guardEnd(f *fork, from side, p protection) error {
	here, there := f.leg(from), f.leg(from.Other())
	switch { // the focus has no SRTP and needs none: the other side's is what counts
	case here.Flow.Inside():
		p.Secure = f.offered.Secure
	case there.Flow.Inside():
		f.offered.Secure = p.Secure
	}
	switch policy := c.srtpPolicy(f); {
	case !p.Media: // every medium was rejected; what comes next is judged by what was before
		return nil
	case policy == site.SRTPRequired && (!p.Secure || !f.offered.Secure):
		return errClear
	case policy != site.SRTPOff && (here.Secure && !p.Secure || there.Secure && !f.offered.Secure):
		return errDowngrade
	}
	here.Secure, there.Secure = p.Secure, f.offered.Secure
	return nil
}

// guardBranch refuses to call a target where the call's media may not go.
func (c *call) guardBranch(b *branchLeg, l *leg) error {
	if c.late {
		return nil // its offer is judged when it comes
	}
	p := protectionOf(c.origin.offer())
	b.offered = p
	if c.emergency() { // nothing stops it
		return nil
	}
	flows := []stack.Flow{c.origin.flow(), l.Flow}
	switch {
	case c.origin.flow().Inside():
		return c.guardCalled(b, l)
	case l.Flow.Inside():
		flows = flows[:1]
	}
	return secureOffer(stricter(c.s.srtpOfLeg(c.callerEnd()), c.s.srtpOfLeg(l)), false, p, flows...)
}

// secured reports whether both legs of the call are encrypted; securedHere, whether SRTP of one or both ends here instead
// of going from phone to phone.
func (c *call) secured() bool { return c.pair != nil && c.pair.caller.Secure && c.pair.callee.Secure }

func (c *call) securedHere() bool {
	return c.pair != nil && c.pair.branch.path.Ends() && (c.pair.caller.Secure || c.pair.callee.Secure)
}
