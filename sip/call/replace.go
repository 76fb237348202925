package call

import (
	"github.com/emiago/sipgo/sip"

	"linehall/internal/directory"
	"linehall/sip/stack"
)

// named finds the call of a dialog. The to-tag ought to be ours (RFC 3891 §3); phones that pick
// up from a lamp's document write it from the other end's view.
func (s *Service) named(r replaces) (*call, replaces) {
	if c := s.find(r.CallID, r.ToTag); c != nil {
		return c, r
	}
	swapped := replaces{CallID: r.CallID, ToTag: r.FromTag, FromTag: r.ToTag, EarlyOnly: r.EarlyOnly}
	return s.find(r.CallID, r.FromTag), swapped
}

// legNamed finds the dialog itself.
func (c *call) legNamed(r replaces) (*fork, *leg) {
	id := dialogID{CallID: r.CallID, LocalTag: r.ToTag, RemoteTag: r.FromTag}
	for _, f := range c.forks {
		for _, l := range []*leg{f.caller, f.callee} {
			if l.Dialog.ID == id && l.successor == nil {
				return f, l
			}
		}
	}
	return nil, nil
}

// serveReplaces takes an INVITE that names a dialog to be replaced.
func (s *Service) serveReplaces(c *call, req *stack.Request, from directory.Terminal, headers []sip.Header) {
	refuse := func(r refusal) { s.refuseCall(c, r) }
	if len(headers) > 1 || len(req.GetHeaders("Join")) > 0 {
		refuse(refusal{code: 400, reason: "Bad Request", warn: 399, text: "one Replaces, and no Join beside it"}) // RFC 3891 §3, RFC 3911 §4
		return
	}
	named, err := parseReplaces(headers[0].Value())
	if err != nil {
		refuse(refusal{code: 400, reason: "Bad Request", warn: 399, text: err.Error()})
		return
	}
	target, named := s.named(named)
	if target == nil {
		refuse(refusal{code: 481})
		return
	}
	if !target.offer(msgReplace{c, req, from, named}) {
		refuse(refusal{code: 500, text: "the call is busy"})
	}
}

// onReplace is RFC 3891 §3 for a dialog of this call.
func (c *call) onReplace(m msgReplace) {
	f, near := c.legNamed(m.named)
	refuse := func(r refusal) { c.s.refuseCall(m.next, r) }
	switch {
	case near == nil, !m.ownTrunk(c, near):
		refuse(refusal{code: 481})
	case near.ended || c.m.Phase == phaseEnded:
		refuse(refusal{code: 603, text: "the dialog has ended"})
	case c.m.Phase == phaseRinging && near.Side == callee:
		c.pickUp(m.req, m.from, f.branch, refuse)
	case !c.talks() || f != c.pair:
		refuse(refusal{code: 481})
	case m.named.EarlyOnly:
		refuse(refusal{code: 486, text: "the dialog is not early any more"})
	case m.next.incoming == nil && !c.mayReplace(m.from.Extension, near, f.leg(near.Side.Other())):
		refuse(refusal{code: 403, warn: 399, text: "Only the parties of a call may replace one of its dialogs"})
	case c.transfer != nil:
		refuse(refusal{code: 491})
	default:
		m.next.rec.Linked = []string{c.id}
		if code := c.lend(m.next, f, near, "replaced"); code != 0 {
			refuse(refusal{code: code, warn: 399, text: "Too many calls"})
		}
	}
}

// ownTrunk: another network replaces its own dialogs only, and none that rings with somebody else (RFC 3891 §3). It hears no more
// of the others than that they are not there.
func (m msgReplace) ownTrunk(c *call, near *leg) bool {
	in := m.next.incoming
	return in == nil || near.Trunk == in.Trunk && c.m.Phase != phaseRinging
}

// mayReplace: a party of the call, which moves it to another phone of its own or comes back after
// a restart; or somebody who is in a call with the party that gave the dialog away (a transfer
// that a client makes by itself).
func (c *call) mayReplace(who string, near, far *leg) bool {
	if who == near.Extension || who == far.Extension {
		return true
	}
	for _, info := range c.s.Snapshot() {
		if info.State == StateRinging {
			continue
		}
		a, b := info.From.Extension, info.To.Extension
		if a == who && b == near.Extension || b == who && a == near.Extension {
			return true
		}
	}
	return false
}
