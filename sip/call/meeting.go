package call

import (
	"github.com/emiago/sipgo/sip"

	"linehall/internal/site"
	"linehall/media/anchor"
	"linehall/media/line"
	"linehall/media/served"
	"linehall/sip/dialplan"
	"linehall/sip/stack"
)

// Calls into meetings and out of them. A room is a number that rings like any other: its phone is the focus (sip/focus), a user
// agent within the process that is reached over a flow of its own (stack.InsideFlow). So holds, transfers, timers, records and
// recovery are those of every call. What differs is here: the media never runs directly, SRTP ends before it, and the line
// is booked as the voice of a meeting.

// What the INVITE to the focus says beside the caller's identity; none of it leaves the process.
const (
	HeaderCall = "X-Linehall-Call" // the id of the call's record
	HeaderSite = "X-Linehall-Site" // where the caller is
	HeaderPIN  = "X-Linehall-PIN"  // that was dialled behind the room's number
	// HeaderOutside says that the caller is behind a trunk: its number is what somebody else claims, also if it is like ours.
	HeaderOutside = "X-Linehall-Outside"
)

// partyAt is a party as the media plane sees it: the focus is on this machine, whatever its flow is called.
func partyAt(at site.ID, flow stack.Flow, outside bool) anchor.Party {
	if flow.Inside() {
		return anchor.Party{Site: at, Remote: served.Host, Local: served.Host, Outside: true} // never direct
	}
	return anchor.Party{Site: at, Remote: flow.Remote.Addr(), Local: flow.Local.Addr(), Outside: outside, Web: flow.Web()}
}

// meets reports whether the call is one to or from a meeting room.
func (c *call) meets() bool {
	return c.decision.Kind == dialplan.Room || c.origin != nil && c.origin.flow().Inside()
}

// convene books a call with a meeting as the voice of it, which has its floor on a line that calls cannot eat.
func (c *call) convene() {
	if c.meets() && c.class == line.Voice {
		c.class = line.ConferenceAudio
		c.rec.Class = c.class.String()
	}
}

// introduce tells the focus who calls.
func (c *call) introduce(l *leg, inv *sip.Request) {
	if !l.Flow.Inside() {
		return
	}
	inv.AppendHeader(sip.NewHeader(HeaderCall, c.id))
	if c.rec.FromSite != "" {
		inv.AppendHeader(sip.NewHeader(HeaderSite, c.rec.FromSite))
	}
	if c.behindTrunk() {
		inv.AppendHeader(sip.NewHeader(HeaderOutside, "yes"))
	}
	if c.decision.Kind == dialplan.Room && c.decision.Argument != "" {
		inv.AppendHeader(sip.NewHeader(HeaderPIN, c.decision.Argument))
	}
}

// leadMeeting has SRTP end before the focus, which has none: in clear towards it, with keys of ours towards a phone that it
// calls where encryption is required. It says how the callee is offered the media then, see redress; 0: as it is.
func (c *call) leadMeeting(path *anchor.Path, to *leg) (dressed int) {
	switch keyed, usable := offeredKeys(c.origin.offer()); {
	case to.Flow.Inside() && keyed && usable && !c.late && !fromBrowser(c.origin.offer()):
		dressed = dressedClear
	case c.origin.flow().Inside() && !to.Flow.Web() && private(to.Flow) && c.s.srtpOfLeg(to) == site.SRTPRequired:
		dressed = dressedKeyed
	default:
		return 0
	}
	c.terminate(path, callee, dressed)
	return dressed
}

// guardCalled refuses to call a phone into a meeting in clear where encryption is required.
func (c *call) guardCalled(b *branchLeg, l *leg) error {
	if c.s.srtpOfLeg(l) == site.SRTPRequired && !l.Flow.Web() && b.dressed != dressedKeyed {
		return errClear
	}
	return nil
}
