package call

import (
	"slices"

	"linehall/sip/route"
)

// The setup machine: from the INVITE to the last BYE, what happens to the call as a whole.
// It is pure: step takes an event and the time and returns what the shell must do, in order.
// Re-negotiation inside an established call is exchange.go; SIP messages, sockets, media and
// storage are the shell's (leg.go, stage.go, indialog.go).
//
//	          provisional              answer          stored, 2xx sent       ACK
//	ringing ───────────────► ringing ─────────► answering ────────────► accepted ───► up
//	   │ cancel, BYE, time-out,                     │ media refused,       │ no ACK    │ BYE,
//	   │ all branches failed                        │ cancelled meanwhile  │           │ hang-up,
//	   ▼                                            ▼                      ▼           ▼ dead leg
//	 ended ◄───────────────────────────────────────────────────────────────────────────┘
//
// While it rings, a call goes through stages (sip/route). The shell is asked for the branches of
// one (acOpen) and brings them (evOpened). Within a stage the branches of a group, which is an
// extension or the trunks, are called wave by wave: phones of equal preference together (RFC 3261
// §16.6), gateways one after the other. A stage ends when all its branches have failed or its time
// is up; then the next one begins, if the outcome leads to one, or the call ends.
//
//	waiting ──► calling ──► done            its wave's turn, its final response
//	               ├──► answered            its 2xx is the call's
//	               ├──► cancelling ──► done still counts: the stage waits for its end
//	               └──► abandoned ──► done  the stage goes on without it

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
	branchWaiting                    // an earlier wave of its group has its turn
	branchAbandoned                  // cancelled, and nobody waits for its end any more
)

// branch is one target as the machine sees it.
type branch struct {
	Group    string // the extension it rings; a 6xx of one phone ends its own group only
	Stage    int    // which of the call's stages it belongs to
	Wave     int    // its turn within the group
	Outside  bool   // an attempt over a gateway
	Progress progress
	Code     int
	Rang     bool // 180 to 199 came
	Full     bool // it failed for want of room on a line
	Followed bool // its 3xx was looked at
}

// machine is the whole state; it holds nothing that cannot be compared in a test. Timer C and
// the guard of a silent cancelled branch are the stack's: both end as a branch's failure.
type machine struct {
	Phase    phase
	Branches []branch
	Winner   int          // branch whose 2xx was taken; -1 before
	Stage    *route.Stage // the present one; nil in a call that was established before a restart
	Stages   int          // how many there were, the present one included
	Opening  bool         // its branches are not known yet
}

// mostStages bounds the stages of a call: a plan's own depth, and what deflections add.
const mostStages = 2 * route.MaxDepth

// newMachine starts a call with its first stage, whose branches follow in evOpened.
func newMachine(first *route.Stage) *machine {
	return &machine{Winner: -1, Stage: first, Stages: 1, Opening: true}
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
	case evFull:
		m.Branches[ev.Branch].Full = true
		return m.failure(evFailure{ev.Branch, 488})
	case evPassedOver:
		return m.failed(ev.Branch, ev.Code, true)
	case evOpened:
		return m.opened(ev)
	case evDeflected:
		return m.deflected(ev)
	case evWaveTimeout:
		return m.waveTimeout()
	case evSilence:
		return m.silence(ev)
	case evStageTime:
		return m.stageTime()
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
	case evPreempted: // a caller that still waits hears what it would have heard without room
		return m.hangup(ev.Code, evHangup{"system", ev.Reason})
	case evPickUp:
		return m.pickUp(ev)
	case evHandedOver:
		return m.handedOver(ev)
	}
	return nil
}

func (m *machine) provisional(ev evProvisional) []action {
	b := &m.Branches[ev.Branch]
	if m.Phase != phaseRinging || b.Progress != branchCalling {
		return nil
	}
	b.Code, b.Rang = ev.Code, b.Rang || ev.Code >= 180
	if ev.Code <= 100 {
		return nil
	}
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
	return m.failed(ev.Branch, ev.Code, triesNext(ev.Code))
}

// failed ends a branch; next says that it was no answer of the called, so that the next gateway may take the call.
func (m *machine) failed(branch, code int, next bool) []action {
	b := &m.Branches[branch]
	if b.Progress == branchDone || b.Progress == branchAnswered {
		return nil
	}
	late := b.Progress == branchAbandoned || b.Stage != m.Stages
	b.Progress, b.Code = branchDone, code
	if m.Phase != phaseRinging || late {
		return nil
	}
	var actions []action
	switch {
	case code >= 600, code < 400: // RFC 3261 §16.7 step 5, within the extension that declined or deflected
		actions = append(actions, m.cancelGroup(b.Group)...)
	case b.Outside && !next:
		m.dismiss(b.Group) // the far end has spoken; another way there would only repeat it
	}
	return append(actions, m.settle()...)
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
		if m.Phase == phaseAnswering { // its 2xx waits for the caller's PRACK, or its peer is being fetched
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

// pickUp makes an INVITE that came in the answer: it is a branch of its own, and has won.
func (m *machine) pickUp(ev evPickUp) []action {
	if m.Phase != phaseRinging {
		return nil
	}
	actions := m.cancelAll()
	m.Branches = append(m.Branches, branch{Group: ev.Group, Stage: m.Stages, Progress: branchAnswered, Code: 200})
	m.Phase, m.Winner = phaseAnswering, len(m.Branches)-1
	return actions
}

func (m *machine) handedOver(ev evHandedOver) []action {
	if m.Phase != phaseUp {
		return nil
	}
	m.Phase = phaseEnded
	reason := ev.Reason
	if reason == "" {
		reason = "transferred"
	}
	return []action{acBye{ev.By, reason}, acEnd{cause{200, ev.By.String(), reason}}}
}

// cancelAll cancels every branch that may still ring.
func (m *machine) cancelAll() []action {
	m.dismissAll()
	var actions []action
	for i := range m.Branches {
		actions = append(actions, m.cancel(i)...)
	}
	return actions
}

func (m *machine) cancelGroup(group string) []action {
	m.dismiss(group)
	var actions []action
	for i := range m.Branches {
		if m.Branches[i].Group == group && m.Branches[i].Stage == m.Stages {
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
