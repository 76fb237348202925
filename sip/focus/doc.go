// Package focus brings telephones into meetings: the focus of RFC 4353 and 4579 for those who dial a room's number, or are
// called into a meeting. It is a user agent within the process, with a stack of its own (stack.NewInside): to the call core a
// room is a phone that answers, so that holds, transfers, session timers, classes of service, trunks, records and recovery are
// those of every call.
//
//	telephone ── call core ── leg ─┬─ as it is ──► Seat.Voice ──► browsers decode G.711 and G.722
//	             (relay)           └─ decoded ───► mixer ◄─────── Rooms.Listen: the loudest venues, Opus
//	                     ◄── the mix without its own part ── mixer
//
// A room with a PIN asks for it before anything is heard of the meeting; three wrong ones end the call, and whoever goes on
// trying is refused for a while (pins.go). In the meeting keys raise the hand, mute, and lead the meeting (keys.go). What a
// leg is told it hears as short tones (tones.go).
//
// The package knows SIP and no rooms: Rooms is what it needs of them. It reads a telephone's number from what the call core
// asserts, and believes it.
//
//	accept.go     a telephone dials a room
//	dial.go       a telephone is called into a meeting
//	requests.go   requests inside the dialogs
//	leg.go        one telephone: its owner, what it may do and hear
//	sound.go      its packets; conference.go mixes them
//	store.go      legs outlive the process
//
// Concurrency: a leg has a goroutine that owns it; its mailbox is bounded. Service is safe for concurrent use.
//
//	f, err := focus.New(focus.Options{Packets: far, Domain: "linehall.test", Rooms: rooms, ...})
//	call, err := f.Dial("9000", "8001", func(p focus.Progress) { … })
//	err = f.Run(ctx)
package focus
