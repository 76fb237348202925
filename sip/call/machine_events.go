package call

import (
	"linehall/sip/route"
)

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

func (evProvisional) isEvent() {}

func (evAnswer) isEvent() {}

func (evFailure) isEvent() {}

func (evAnswerTaken) isEvent() {}

func (evAnswerRefused) isEvent() {}

func (evCallerGone) isEvent() {}

func (evRingTimeout) isEvent() {}

func (evFull) isEvent() {}

func (evPassedOver) isEvent() {}

func (evOpened) isEvent() {}

func (evDeflected) isEvent() {}

func (evWaveTimeout) isEvent() {}

func (evSilence) isEvent() {}

func (evStageTime) isEvent() {}

func (evAck) isEvent() {}

func (evBye) isEvent() {}

func (evHangup) isEvent() {}

func (evGiveUp) isEvent() {}

func (evPreempted) isEvent() {}

func (evHandedOver) isEvent() {}

func (evPickUp) isEvent() {}

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

func (acRelay) isAction() {}

func (acOpen) isAction() {}

func (acCall) isAction() {}

func (acDeflect) isAction() {}

func (acCancel) isAction() {}

func (acAnswer) isAction() {}

func (acDrop) isAction() {}

func (acReject) isAction() {}

func (acBye) isAction() {}

func (acEnd) isAction() {}

// cause says how a call ended, for its record.
type cause struct {
	Code   int
	By     string // "caller", "callee", "operator", "system"
	Reason string
}
