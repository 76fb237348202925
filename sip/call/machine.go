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
	evFull       struct{ Branch int }        // it could not be called: a line has no room (488)
	evPassedOver struct{ Branch, Code int }  // a gateway that must not be tried for this call
	evOpened     struct{ Branches []branch } // the branches of the stage that acOpen asked for
	evDeflected  struct {                    // where a 3xx leads; no stage: nowhere that the call may go
		Branch int
		Stage  *route.Stage
	}
	evWaveTimeout   struct{}                // the present waves have rung long enough
	evSilence       struct{ Branch int }    // a gateway has not even said 100
	evStageTime     struct{}                // the present stage has rung long enough
	evAnswerTaken   struct{}                // media agreed, state stored, 2xx handed to the caller's transaction
	evAnswerRefused struct{ Code int }      // the answer cannot be used; Code is what the caller gets
	evCallerGone    struct{ Reason string } // CANCEL, BYE in an early dialog, or the transaction died
	evRingTimeout   struct{}                // nobody answered in time, whatever could still follow
	evAck           struct{}                // the caller acknowledged the 2xx
	evBye           struct{ From side }     // BYE from a party
	evPickUp        struct{ Group string }  // somebody else answers; the shell has added the branch
	evHandedOver    struct {                // another call has the peer of this party
		By     side
		Reason string // "": transferred
	}
	evHangup struct{ By, Reason string } // by an operator or by ourselves
	evGiveUp struct {                    // the set-up cannot go on; Code is what the caller gets
		Code   int
		Reason string
	}
	evPreempted struct { // another call took its place
		Code   int
		Reason string
	}
)

func (evProvisional) isEvent()   {}
func (evAnswer) isEvent()        {}
func (evFailure) isEvent()       {}
func (evAnswerTaken) isEvent()   {}
func (evAnswerRefused) isEvent() {}
func (evCallerGone) isEvent()    {}
func (evRingTimeout) isEvent()   {}
func (evFull) isEvent()          {}
func (evPassedOver) isEvent()    {}
func (evOpened) isEvent()        {}
func (evDeflected) isEvent()     {}
func (evWaveTimeout) isEvent()   {}
func (evSilence) isEvent()       {}
func (evStageTime) isEvent()     {}
func (evAck) isEvent()           {}
func (evBye) isEvent()           {}
func (evHangup) isEvent()        {}
func (evGiveUp) isEvent()        {}
func (evPreempted) isEvent()     {}
func (evHandedOver) isEvent()    {}
func (evPickUp) isEvent()        {}

// action is what the shell does for the machine.
type action interface{ isAction() }

type (
	acRelay struct { // provisional response to the caller, in the early dialog of this fork
		Branch int
		Tag    string
		Code   int
	}
	acOpen struct { // find out whom the stage rings; comes back as evOpened
		Stage   *route.Stage
		Outcome route.Outcome // of the stage before
	}
	acDeflect struct{ Branch int } // find out where its 3xx leads; comes back as evDeflected
	acCall    struct{ Branch int } // its turn: send its INVITE
	acCancel  struct{ Branch int }
	acAnswer  struct { // agree media, keep this branch, store, relay the 2xx; comes back as evAnswerTaken or evAnswerRefused
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

func (acRelay) isAction()   {}
func (acOpen) isAction()    {}
func (acCall) isAction()    {}
func (acDeflect) isAction() {}
func (acCancel) isAction()  {}
func (acAnswer) isAction()  {}
func (acDrop) isAction()    {}
func (acReject) isAction()  {}
func (acBye) isAction()     {}
func (acEnd) isAction()     {}

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

// triesNext tells failures of a gateway from answers of whoever is called: only the former have
// the next gateway tried (RFC 3263 §4.3, RFC 5390's lesson for the others).
func triesNext(code int) bool {
	return code == 408 || code == 430 || code >= 500 && code < 600
}

// opened takes the branches of the present stage. Those that nobody needs to call, because it is
// known what they would bring, come with their code.
func (m *machine) opened(ev evOpened) []action {
	if m.Phase != phaseRinging || !m.Opening {
		return nil
	}
	m.Opening = false
	for _, b := range ev.Branches {
		b.Stage = m.Stages
		m.Branches = append(m.Branches, b)
	}
	return m.settle()
}

// settle goes on when nothing more is to be expected of what rings: to the next wave of each
// group, else to the next stage, else to the end of the setup (RFC 3261 §16.7 step 6).
func (m *machine) settle() []action {
	if m.Opening {
		return nil
	}
	if calls := m.advance(); len(calls) > 0 {
		return calls
	}
	for _, b := range m.Branches {
		// A branch that is being cancelled (Timer C, or a 6xx of its group) still counts: its 2xx
		// may be under way.
		if b.Stage == m.Stages && b.Progress != branchDone && b.Progress != branchAbandoned {
			return nil
		}
	}
	if next := m.redirection(); next != nil {
		return next
	}
	if next := m.follow(m.outcome()); next != nil {
		return next
	}
	m.Phase = phaseEnded
	best := bestBranch(m.Branches)
	if best < 0 {
		return []action{acReject{480, -1}, acEnd{cause{480, "callee", ""}}}
	}
	code := relayedCode(m.Branches[best].Code)
	return []action{acReject{code, best}, acEnd{cause{code, "callee", ""}}}
}

// advance calls the next wave in each group of the present stage where nothing rings.
func (m *machine) advance() []action {
	turn := map[string]int{} // the wave whose turn it is; -1: the group is ringing
	for _, b := range m.Branches {
		if b.Stage != m.Stages {
			continue
		}
		wave, known := turn[b.Group]
		switch b.Progress {
		case branchCalling:
			turn[b.Group] = -1
		case branchWaiting:
			if !known || b.Wave < wave {
				turn[b.Group] = b.Wave
			}
		case branchCancelling, branchAnswered, branchDone, branchAbandoned:
		}
	}
	var actions []action
	for i := range m.Branches {
		b := &m.Branches[i]
		if b.Stage == m.Stages && b.Progress == branchWaiting && b.Wave == turn[b.Group] {
			b.Progress = branchCalling
			actions = append(actions, acCall{i})
		}
	}
	return actions
}

// follow goes to the stage that an outcome leads to, if there is one.
func (m *machine) follow(o route.Outcome) []action {
	next := m.Stage.Next(o)
	if next == nil || m.Stages >= mostStages {
		return nil
	}
	m.Stage, m.Opening = next, true
	m.Stages++
	return []action{acOpen{next, o}}
}

// redirection asks where the 3xx of a phone leads, if that is what its stage came to. A redirection
// counts when nobody else answers: the others of a group ring on. Gateways redirect nobody.
func (m *machine) redirection() []action {
	best := -1
	for i := range m.Branches {
		b := m.Branches[i]
		if b.Stage == m.Stages && b.Code >= 300 && (best < 0 || rank(b.Code) < rank(m.Branches[best].Code)) {
			best = i
		}
	}
	if best < 0 || m.Branches[best].Code >= 400 || m.Branches[best].Outside || m.Branches[best].Followed {
		return nil
	}
	m.Branches[best].Followed, m.Opening = true, true
	return []action{acDeflect{best}}
}

// deflected goes where a 3xx leads, or takes it for a failure.
func (m *machine) deflected(ev evDeflected) []action {
	if m.Phase != phaseRinging || !m.Opening || !m.Branches[ev.Branch].Followed {
		return nil
	}
	m.Opening = false
	if ev.Stage == nil || m.Stages >= mostStages {
		return m.settle()
	}
	m.Branches[ev.Branch].Code = 0 // it was dealt with: the caller will not hear of it
	m.Stage, m.Opening = ev.Stage, true
	m.Stages++
	return []action{acOpen{ev.Stage, route.OutcomeDeflected}}
}

// outcome says how the present stage ended, when all its branches have failed.
func (m *machine) outcome() route.Outcome {
	return outcomeOf(slices.DeleteFunc(slices.Clone(m.Branches), func(b branch) bool { return b.Stage != m.Stages }))
}

// outcomeOf says what the failures of a stage's branches amount to.
func outcomeOf(branches []branch) route.Outcome {
	best := bestBranch(branches)
	if best < 0 {
		return route.OutcomeUnreachable
	}
	switch b := branches[best]; {
	case b.Full:
		return route.OutcomeFull
	case b.Code == 486, b.Code == 600, b.Code == 603:
		return route.OutcomeBusy
	case b.Code == 480, b.Code == 408, b.Code == 430, b.Code == 487, b.Outside && triesNext(b.Code):
		if slices.ContainsFunc(branches, func(b branch) bool { return b.Rang }) {
			return route.OutcomeNoAnswer
		}
		return route.OutcomeUnreachable
	}
	return route.OutcomeFailed
}

// waveTimeout gives the less preferred phones of an extension their turn. Gateways do not take
// turns while one of them rings.
func (m *machine) waveTimeout() []action {
	if m.Phase != phaseRinging || m.Opening {
		return nil
	}
	waiting := map[string]bool{}
	for _, b := range m.Branches {
		if b.Stage == m.Stages && b.Progress == branchWaiting && !b.Outside {
			waiting[b.Group] = true
		}
	}
	var actions []action
	for i := range m.Branches {
		if b := m.Branches[i]; b.Stage == m.Stages && waiting[b.Group] {
			actions = append(actions, m.abandon(i)...)
		}
	}
	return append(actions, m.settle()...)
}

// silence gives a gateway up that has not answered at all, if there is another one. The last one
// has until the end of its transaction.
func (m *machine) silence(ev evSilence) []action {
	b := &m.Branches[ev.Branch]
	others := slices.ContainsFunc(m.Branches, func(o branch) bool {
		return o.Stage == b.Stage && o.Group == b.Group && o.Progress == branchWaiting
	})
	if m.Phase != phaseRinging || b.Stage != m.Stages || b.Progress != branchCalling || b.Code != 0 || !others {
		return nil
	}
	actions := m.abandon(ev.Branch)
	m.Branches[ev.Branch].Code = 408
	return append(actions, m.settle()...)
}

// stageTime ends a stage that has rung long enough.
func (m *machine) stageTime() []action {
	if m.Phase != phaseRinging || m.Opening {
		return nil
	}
	var actions []action
	outcome := route.OutcomeUnreachable
	for i := range m.Branches {
		if m.Branches[i].Stage != m.Stages {
			continue
		}
		if m.Branches[i].Rang {
			outcome = route.OutcomeNoAnswer
		}
		actions = append(actions, m.abandon(i)...)
	}
	m.dismissAll()
	if m.Stage.Next(outcome) == nil { // silent phones are not answered either
		outcome = route.OutcomeNoAnswer
	}
	next := m.follow(outcome)
	if next == nil {
		next = m.redirection()
	}
	if next != nil {
		return append(actions, next...)
	}
	m.Phase = phaseEnded
	return append(actions, acReject{480, -1}, acEnd{cause{480, "system", "no answer"}})
}

// abandon cancels a branch without waiting for its end. Its 2xx still counts while nobody else
// has answered: a person has lifted the handset.
func (m *machine) abandon(i int) []action {
	actions := m.cancel(i)
	if m.Branches[i].Progress == branchCancelling {
		m.Branches[i].Progress = branchAbandoned
	}
	return actions
}

// dismiss forgets the branches of a group whose turn has not come.
func (m *machine) dismiss(group string) {
	for i := range m.Branches {
		if b := &m.Branches[i]; b.Group == group && b.Stage == m.Stages && b.Progress == branchWaiting {
			b.Progress = branchDone
		}
	}
}

func (m *machine) dismissAll() {
	for i := range m.Branches {
		if b := &m.Branches[i]; b.Progress == branchWaiting {
			b.Progress = branchDone
		}
	}
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
