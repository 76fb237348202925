// Package room is a meeting: who is in it, who sees and hears whom, and what of it the leased lines carry.
//
// A [Manager] holds the configured rooms. One goroutine owns each room; connections, peers and the line ledger send it work
// through a bounded mailbox and receive copies. Media does not pass through it: it only tells slots which layer to follow
// (package forward) and publishers what to send, from the budgets of the sites (package allocate).
//
// Who leads the meeting, is muted, has the floor or is on air is decided by package chair; the room makes tracks and slots
// follow it, and keeps it with the minutes in a [Book], so that a restart carries the meeting on.
package room
