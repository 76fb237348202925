package call

import "slices"

// The setup machine: from the INVITE to the last BYE, what happens to the call as a whole.
// It is pure: step takes an event and the time and returns what the shell must do, in order.
// Re-negotiation inside an established call is exchange.go; SIP messages, sockets, media and
// storage are the shell's (leg.go, setup.go, indialog.go).
//
//	          provisional              answer          stored, 2xx sent       ACK
//	ringing ───────────────► ringing ─────────► answering ────────────► accepted ───► up
//	   │ cancel, BYE, time-out,                     │ media refused,       │ no ACK    │ BYE,
//	   │ all branches failed                        │ cancelled meanwhile  │           │ hang-up,
//	   ▼                                            ▼                      ▼           ▼ dead leg
//	 ended ◄───────────────────────────────────────────────────────────────────────────┘

// phase is where the call as a whole is.
type phase uint8

const (
	phaseRinging phase = iota
	phaseAnswering
	phaseAccepted
	phaseUp
	phaseEnded
)

// progress is where one branch is.
type progress uint8

const (
	branchCalling    progress = iota // INVITE sent, no final response
	branchCancelling                 // to be cancelled; the stack sends CANCEL when RFC 3261 §9.1 allows it
	branchAnswered                   // its 2xx is the call's
	branchDone                       // it ended without success
)

// branch is one forked target as the machine sees it.
type branch struct {
	Group    string // the extension it rings; a 6xx of one phone ends its own group only
	Progress progress
	Code     int
}

// event is something that happened to the call.
type event interface{ isEvent() }

type (
	evProvisional struct { // 101-199
		Branch int
		Tag    string
		Code   int
	}
	evAnswer struct { // 2xx
		Branch int
		Tag    string
	}
	evFailure struct { // 300-699, time-out (408), transport error (430)
		Branch, Code int
	}
	evAnswerTaken   struct{}                    // media agreed, state stored, 2xx handed to the caller's transaction
	evAnswerRefused struct{ Code int }          // the answer cannot be used; Code is what the caller gets
	evCallerGone    struct{ Reason string }     // CANCEL, BYE in an early dialog, or the transaction died
	evRingTimeout   struct{}                    // nobody answered in time
	evAck           struct{}                    // the caller acknowledged the 2xx
	evBye           struct{ From side }         // BYE from a party
	evHangup        struct{ By, Reason string } // by an operator or by ourselves
	evGiveUp        struct {                    // the set-up cannot go on; Code is what the caller gets
		Code   int
		Reason string
	}
	evPreempted struct{ Reason string } // another call took its place
)

func (evProvisional) isEvent()   {}
func (evAnswer) isEvent()        {}
func (evFailure) isEvent()       {}
func (evAnswerTaken) isEvent()   {}
func (evAnswerRefused) isEvent() {}
func (evCallerGone) isEvent()    {}
func (evRingTimeout) isEvent()   {}
func (evAck) isEvent()           {}
func (evBye) isEvent()           {}
func (evHangup) isEvent()        {}
func (evGiveUp) isEvent()        {}
func (evPreempted) isEvent()     {}

// action is what the shell does for the machine.
type action interface{ isAction() }

type (
	acRelay struct { // provisional response to the caller, in the early dialog of this fork
		Branch int
		Tag    string
		Code   int
	}
	acCancel struct{ Branch int }
	acAnswer struct { // agree media, keep this branch, store, relay the 2xx; comes back as evAnswerTaken or evAnswerRefused
		Branch int
		Tag    string
	}
	acDrop struct { // a 2xx that nobody wants any more: ACK it and BYE its dialog
		Branch int
		Tag    string
	}
	acReject struct { // final response to the caller: that of Branch, or our own when Branch is -1
		Code, Branch int
	}
	acBye struct { // end the dialog with one party
		To     side
		Reason string
	}
	acEnd struct{ Cause cause } // write the record, close the media, forget the state
)

func (acRelay) isAction()  {}
func (acCancel) isAction() {}
func (acAnswer) isAction() {}
func (acDrop) isAction()   {}
func (acReject) isAction() {}
func (acBye) isAction()    {}
func (acEnd) isAction()    {}

// cause says how a call ended, for its record.
type cause struct {
	Code   int
	By     string // "caller", "callee", "operator", "system"
	Reason string
}

// machine is the whole state; it holds nothing that cannot be compared in a test. Timer C and
// the guard of a silent cancelled branch are the stack's: both end as a branch's failure.
type machine struct {
	Phase    phase
	Branches []branch
	Winner   int // branch whose 2xx was taken; -1 before
}

// newMachine starts a call with one branch per target; groups names each branch's extension.
// A branch that could not even be tried is reported by evFailure afterwards.
func newMachine(groups []string) *machine {
	m := &machine{Winner: -1}
	for _, g := range groups {
		m.Branches = append(m.Branches, branch{Group: g})
	}
	return m
}

// restored is the machine of a call that was established before a restart.
func restored() *machine {
	return &machine{Phase: phaseUp, Branches: []branch{{Progress: branchAnswered, Code: 200}}}
}

// step applies one event.
func (m *machine) step(ev event) []action {
	switch ev := ev.(type) {
	case evProvisional:
		return m.provisional(ev)
	case evAnswer:
		return m.answer(ev)
	case evFailure:
		return m.failure(ev)
	case evAnswerTaken:
		if m.Phase == phaseAnswering {
			m.Phase = phaseAccepted
		}
		return nil
	case evAnswerRefused:
		return m.answerRefused(ev)
	case evCallerGone:
		return m.callerGone(ev)
	case evRingTimeout:
		return m.ringTimeout()
	case evAck:
		if m.Phase == phaseAccepted {
			m.Phase = phaseUp
		}
		return nil
	case evBye:
		return m.bye(ev)
	case evHangup:
		return m.hangup(480, ev)
	case evGiveUp:
		return m.giveUp(ev)
	case evPreempted: // a caller that still waits hears what it would have heard on a full line
		return m.hangup(488, evHangup{"system", ev.Reason})
	}
	return nil
}

func (m *machine) provisional(ev evProvisional) []action {
	if m.Phase != phaseRinging || m.Branches[ev.Branch].Progress != branchCalling || ev.Code <= 100 {
		return nil
	}
	m.Branches[ev.Branch].Code = ev.Code
	return []action{acRelay(ev)}
}

func (m *machine) answer(ev evAnswer) []action {
	b := &m.Branches[ev.Branch]
	if m.Phase != phaseRinging {
		// The lost race: the call ended or another branch (or another fork of this one) was faster.
		if b.Progress != branchAnswered {
			b.Progress = branchDone
		}
		return []action{acDrop(ev)}
	}
	b.Progress, b.Code = branchAnswered, 200
	m.Phase, m.Winner = phaseAnswering, ev.Branch
	return append(m.cancelAll(), acAnswer(ev))
}

func (m *machine) answerRefused(ev evAnswerRefused) []action {
	if m.Phase != phaseAnswering {
		return nil
	}
	m.Phase = phaseEnded
	actions := []action{acBye{callee, "media refused"}, acReject{ev.Code, m.Winner}}
	return append(actions, acEnd{cause{ev.Code, "system", "media refused"}})
}

func (m *machine) failure(ev evFailure) []action {
	b := &m.Branches[ev.Branch]
	if b.Progress == branchDone || b.Progress == branchAnswered {
		return nil
	}
	b.Progress, b.Code = branchDone, ev.Code
	if m.Phase != phaseRinging {
		return nil
	}
	var actions []action
	if ev.Code >= 600 { // RFC 3261 §16.7 step 5, within the extension that declined
		actions = append(actions, m.cancelGroup(b.Group)...)
	}
	return append(actions, m.settle()...)
}

// settle ends the setup when no branch can answer any more (RFC 3261 §16.7 step 6).
func (m *machine) settle() []action {
	for i := range m.Branches {
		// A branch that is being cancelled (Timer C, or a 6xx of its group) still counts: its 2xx
		// may be under way.
		if m.Branches[i].Progress != branchDone {
			return nil
		}
	}
	best := bestBranch(m.Branches)
	code := relayedCode(m.Branches[best].Code)
	m.Phase = phaseEnded
	return []action{acReject{code, best}, acEnd{cause{code, "callee", ""}}}
}

func (m *machine) callerGone(ev evCallerGone) []action {
	switch m.Phase {
	case phaseRinging:
		m.Phase = phaseEnded
		return append(m.cancelAll(), acReject{487, -1}, acEnd{cause{487, "caller", ev.Reason}})
	case phaseAnswering: // the 2xx came too late for the caller's transaction
		m.Phase = phaseEnded
		return []action{acBye{callee, "caller gone"}, acReject{487, -1}, acEnd{cause{487, "caller", ev.Reason}}}
	case phaseAccepted, phaseUp, phaseEnded: // RFC 3261 §9.2: no effect after the final response
	}
	return nil
}

func (m *machine) ringTimeout() []action {
	if m.Phase != phaseRinging {
		return nil
	}
	m.Phase = phaseEnded
	return append(m.cancelAll(), acReject{480, -1}, acEnd{cause{480, "system", "no answer"}})
}

func (m *machine) bye(ev evBye) []action {
	switch m.Phase {
	case phaseRinging, phaseAnswering:
		if ev.From == caller {
			return m.callerGone(evCallerGone{"bye"})
		}
		if m.Phase == phaseAnswering { // its 2xx waits for the caller's PRACK
			m.Phase = phaseEnded
			return []action{acReject{480, -1}, acEnd{cause{480, "callee", "hung up before the answer could go on"}}}
		}
		return nil
	case phaseAccepted, phaseUp:
		m.Phase = phaseEnded
		return []action{acBye{ev.From.Other(), ""}, acEnd{cause{200, ev.From.String(), ""}}}
	case phaseEnded:
	}
	return nil
}

// hangup ends the call by our own decision; code is for a caller who has no answer yet.
func (m *machine) hangup(code int, ev evHangup) []action {
	end := acEnd{cause{code, ev.By, ev.Reason}}
	switch m.Phase {
	case phaseRinging:
		m.Phase = phaseEnded
		actions := append(m.cancelAll(), acReject{code, -1})
		return append(actions, end)
	case phaseAnswering:
		m.Phase = phaseEnded
		return []action{acBye{callee, ev.Reason}, acReject{code, -1}, end}
	case phaseAccepted, phaseUp:
		m.Phase = phaseEnded
		end.Cause.Code = 200
		return []action{acBye{caller, ev.Reason}, acBye{callee, ev.Reason}, end}
	case phaseEnded:
	}
	return nil
}

func (m *machine) giveUp(ev evGiveUp) []action {
	var actions []action
	switch m.Phase {
	case phaseRinging:
		actions = m.cancelAll()
	case phaseAnswering:
		actions = []action{acBye{callee, ev.Reason}}
	case phaseAccepted, phaseUp, phaseEnded: // the caller has its final response
		return nil
	}
	m.Phase = phaseEnded
	return append(actions, acReject{ev.Code, -1}, acEnd{cause{ev.Code, "system", ev.Reason}})
}

// cancelAll cancels every branch that may still ring.
func (m *machine) cancelAll() []action {
	var actions []action
	for i := range m.Branches {
		actions = append(actions, m.cancel(i)...)
	}
	return actions
}

func (m *machine) cancelGroup(group string) []action {
	var actions []action
	for i := range m.Branches {
		if m.Branches[i].Group == group {
			actions = append(actions, m.cancel(i)...)
		}
	}
	return actions
}

func (m *machine) cancel(i int) []action {
	if m.Branches[i].Progress != branchCalling {
		return nil
	}
	m.Branches[i].Progress = branchCancelling
	return []action{acCancel{i}}
}

// quiet reports whether no branch can bring another response: the owner may end.
func (m *machine) quiet() bool {
	return m.Phase == phaseEnded && !slices.ContainsFunc(m.Branches, func(b branch) bool {
		return b.Progress != branchDone && b.Progress != branchAnswered
	})
}
