// Package room is a meeting: who is in it, who sees and hears whom, and what of it the leased lines carry.
//
// A [Manager] holds the configured rooms. One goroutine owns each room; connections, peers and the line ledger send it work
// through a bounded mailbox and receive copies. Media does not pass through it: it only tells slots which layer to follow
// (package forward) and publishers what to send, from the budgets of the sites (package allocate).
package room
