package call

import "linehall/media/anchor"

// side is one party of a call.
type side = anchor.Side

const (
	caller = anchor.Caller
	callee = anchor.Callee
)
