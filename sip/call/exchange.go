package call

// exchange allows one offer/answer exchange at a time in a call (RFC 3261 §14, RFC 3311 §5.2,
// RFC 3264 §4). It is pure. The initial INVITE counts: until the caller's ACK arrived nobody
// may re-negotiate. Requests without an offer that start no exchange never ask.
//
// Besides the two parties we start exchanges of our own (link.go).
type exchange struct {
	Busy bool
	From side // who started it
	Ours bool // we did, towards both
}

// admit asks to start an exchange on behalf of a party. It returns 0 and takes the turn, or
// the code to refuse with: 491 when the other side (or we towards it) started one, 500 with a
// Retry-After when the same side is still waiting for its own.
func (x *exchange) admit(from side) int {
	switch {
	case !x.Busy:
		x.Busy, x.From = true, from
		return 0
	case x.From == from && !x.Ours:
		return 500
	default:
		return 491
	}
}

// done gives the turn back.
func (x *exchange) done() { x.Busy = false }
