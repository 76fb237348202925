package call

import (
	"slices"
	"strconv"

	"linehall/sip/dialplan"
	"linehall/sip/stack"
)

// DialogState is the state of a phone's dialog in the words of RFC 4235 §3.7.1. One that has
// ended is not listed any more.
type DialogState string

// The states of a dialog.
const (
	DialogTrying    DialogState = "trying"    // INVITE sent, nothing heard
	DialogEarly     DialogState = "early"     // ringing
	DialogConfirmed DialogState = "confirmed" // answered
)

// DialogInfo is the dialog between one phone and us, as the phone names it: its own tag is the
// local one. Busy lamps show it (RFC 4235), and Replaces (RFC 3891) and pickup name a call by it.
type DialogInfo struct {
	ID        string // unique, the same from the first INVITE to the end
	Extension string // the phone's
	CallID    string
	LocalTag  string // "" before the phone has sent one
	RemoteTag string // ours; "" before the phone has seen one
	Initiator bool   // the phone placed the call
	Held      bool   // the call is on hold, by whichever side
	State     DialogState
	// The other party, as the phone is shown it, and our Contact towards the phone. Of a caller who
	// withholds its identity nobody learns whom it calls: the called might watch it.
	RemoteExtension string
	RemoteDisplay   string
	RemoteTarget    string
}

// dialogs lists the dialogs of the call's phones that have not ended, the caller's first.
func (c *call) dialogs(held bool) []DialogInfo {
	if c.m == nil || c.m.Phase == phaseEnded {
		return nil
	}
	if c.pair != nil && c.rec.AnsweredAt != nil {
		var list []DialogInfo // a number outside is no phone of ours
		if c.pair.caller.Trunk == "" {
			list = append(list, c.established(c.pair.caller, 0, c.pair.callee, held))
		}
		if c.pair.callee.Trunk == "" {
			list = append(list, c.established(c.pair.callee, 1+c.pair.branch.index, c.pair.caller, held))
		}
		for _, g := range c.guests {
			if !g.parted {
				list = append(list, c.guestsDialog(g))
			}
		}
		return slices.DeleteFunc(list, func(d DialogInfo) bool { return d.CallID == "" }) // a party that has not been handed over yet
	}
	list := make([]DialogInfo, 0, 1+len(c.branches))
	if o, ok := c.origin.(*invited); ok && c.incoming == nil {
		list = append(list, c.callersDialog(o.req))
	}
	for _, b := range c.branches {
		if b.invite == nil || b.target.outside() || b.index < len(c.m.Branches) && c.m.Branches[b.index].Progress != branchCalling {
			continue
		}
		list = append(list, c.ringingDialog(b))
	}
	return list
}

// established is a leg of an answered call.
func (c *call) established(l *leg, index int, other *leg, held bool) DialogInfo {
	who, user := c.identityOf(other).shown(), l.User
	if l.Side == caller && c.identityOf(l).Private {
		who, user = hidden, anonymous
	}
	return DialogInfo{
		ID: c.dialogID(index), Extension: l.Extension, CallID: l.Dialog.ID.CallID,
		LocalTag: l.Dialog.ID.RemoteTag, RemoteTag: l.Dialog.ID.LocalTag, Initiator: l.Side == caller, State: DialogConfirmed, Held: held,
		RemoteExtension: who.Extension, RemoteDisplay: who.Display, RemoteTarget: c.contact(l.Flow, user),
	}
}

// guestsDialog is the side of somebody who has joined. Who watches one that only listens does not learn to whom.
func (c *call) guestsDialog(g *guest) DialogInfo {
	l, near := g.leg, c.pair.leg(g.near)
	who, user := c.identityOf(near).shown(), l.User
	if g.mode != dialplan.Full {
		who, user = hidden, anonymous
	}
	return DialogInfo{
		ID: g.rec.ID, Extension: l.Extension, CallID: l.Dialog.ID.CallID,
		LocalTag: l.Dialog.ID.RemoteTag, RemoteTag: l.Dialog.ID.LocalTag, Initiator: true, State: DialogConfirmed, Held: l.holds(),
		RemoteExtension: who.Extension, RemoteDisplay: who.Display, RemoteTarget: c.contact(l.Flow, user),
	}
}

// callersDialog is the caller's side of a call that rings. It has an early dialog per fork; the
// first one's tag is the INVITE's.
func (c *call) callersDialog(invite *stack.Request) DialogInfo {
	d := DialogInfo{
		ID: c.dialogID(0), Extension: c.rec.From, CallID: c.rec.CallID, LocalTag: paramTag(invite.From().Params), Initiator: true,
		State: DialogTrying, RemoteExtension: c.rec.To, RemoteDisplay: c.toName, RemoteTarget: c.contact(invite.Flow, c.decision.Number),
	}
	if c.callerIdentity().Private {
		d.RemoteExtension, d.RemoteDisplay, d.RemoteTarget = hidden.Extension, hidden.Display, c.contact(invite.Flow, anonymous)
	}
	if len(c.forks) > 0 {
		d.State, d.RemoteTag = DialogEarly, c.forks[0].caller.Dialog.ID.LocalTag
	}
	return d
}

// ringingDialog is the side of a phone that is being called; of several early dialogs of one
// contact (a proxy that forks) it shows the newest.
func (c *call) ringingDialog(b *branchLeg) DialogInfo {
	caller := c.callerIdentity()
	who := caller.shown()
	d := DialogInfo{
		ID: c.dialogID(1 + b.index), Extension: b.target.terminal.Extension, CallID: b.invite.CallID().Value(),
		RemoteTag: paramTag(b.invite.From().Params), State: DialogTrying,
		RemoteExtension: who.Extension, RemoteDisplay: who.Display, RemoteTarget: c.contact(b.target.flow(), caller.contactUser()),
	}
	for _, f := range slices.Backward(c.forks) {
		if f.branch == b {
			d.State, d.LocalTag = DialogEarly, f.tag
			break
		}
	}
	return d
}

func (c *call) dialogID(index int) string { return c.id + "-" + strconv.Itoa(index) }

func (c *call) contact(flow stack.Flow, user string) string {
	uri := c.s.stack.ContactURI(flow, user)
	return uri.String()
}

// announce publishes the call again when a dialog of one of its phones has begun, changed its
// state or ended since the last time.
func (c *call) announce() {
	shown := c.public.Load()
	if shown == nil || shown.info.State == StateEnded {
		return
	}
	// Whoever changes hold publishes it: asking again after each message would cost two parsed
	// descriptions each time.
	if !slices.Equal(shown.info.Dialogs, c.dialogs(shown.info.State == StateHeld)) {
		c.publish()
	}
}
