package call

import (
	"slices"

	"linehall/sip/route"
)

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
