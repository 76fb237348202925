// Package call is the call-stateful back-to-back core: it answers an INVITE as a UAS, forks it
// to the callee's phones as a UAC, joins the two dialogs and keeps them until somebody hangs
// up (RFC 3261 §13-§16 where a proxy's rules apply to a forking B2BUA, RFC 3264, RFC 3311).
//
// Bodies pass through the media plane (media/anchor) and otherwise verbatim; identity is ours:
// what a phone claims about itself is replaced by what the directory knows. What an INVITE
// requires and nobody serves is refused by the stack with 420. What we know ourselves (session
// timers of RFC 4028, reliable provisional responses of RFC 3262) is agreed with each phone by
// itself; option tags are not passed on.
//
// A call is split by concern:
//
//	machine.go    what happens to the call as a whole: pure (state, event) → actions, which are in machine_events.go;
//	              machine_stages.go has its way through the stages
//	exchange.go   one offer/answer exchange at a time: pure
//	best.go       which of several failures the caller hears: pure
//	connected.go  another origin: a party that is on the phone already
//	refer.go      REFER and the forms of its headers: pure but for the answer
//	transfer.go   handing a party over to the call that its transfer makes
//	referral.go   telling the transferor, by NOTIFY
//	borrow.go     a peer of another call as the target, and its way back; replace.go: INVITE with Replaces
//	pickup.go     an INVITE that answers a call which rings
//	originate.go  calls that we make ourselves
//	link.go       bringing two confirmed legs together by re-INVITEs of ours
//	invite.go     from an INVITE to a call, and every reason to refuse one
//	origin.go     the caller's side until the answer: an INVITE that we received
//	feature.go    what a feature code leads to; notice.go shows a text; voice.go lets it be heard
//	owner.go      the call, what its owner is told and does; mailbox.go who that is; its timers
//	fork.go       branches and their early dialogs
//	answer.go     taking a 2xx: media, commit, relay, retransmit until ACK
//	leg.go        one side: dialog, flow, identity, sending requests, dialling a phone that listens
//	indialog.go   requests inside the dialogs: BYE, INFO, OPTIONS, ...
//	reoffer.go    re-INVITE and UPDATE
//	timer.go      session timers, per leg: pure; session_timer.go refreshes
//	reliable.go   provisional responses with PRACK; early.go: new offers before the 2xx
//	identity.go   who the other party is, and what it withholds; reason.go: why something ends
//	secure.go     SRTP as a policy; modem.go: what a call carries
//	terminate.go  SRTP that ends here, for phones that share none; keys at rest
//	glare.go      how long to wait after a 491
//	finish.go     the end: BYE, record, media
//	dialogs.go    the phones' dialogs as busy lamps, Replaces and pickup name them
//	barge.go      joining a call; guest.go who has joined, guest_dialog.go what they send, guest_media.go the mixing
//	capture.go    the media in the capture file
//	probe.go      does the phone still exist
//	ringing.go    calls that ring when the process dies; origin_state.go, stage_state.go and
//	              target_state.go are parts of their state
//	state.go      what survives a restart; store.go keeps it, answer_state.go and
//	              transfer_state.go go on with what was interrupted
//
// Concurrency: a call has one owner at a time, whoever brings it a message while it has none
// (mailbox.go); the mailbox is bounded. Service is safe for concurrent use.
//
//	calls, err := call.New(call.Options{Stack: stack, ...}) // registers its SIP methods
//	n, err := calls.Restore(ctx)                            // calls of before the restart
//	err = calls.Run(ctx)
package call
