package call

import (
	"math/rand/v2"
	"time"
)

// glareDelay is how long we wait after a 491 to an offer that we started (RFC 3261 §14.1): the
// owner of the Call-ID gives the other end the first chance. We own it towards phones that we
// called, on whichever side of the call they are now.
func glareDelay(l *leg) time.Duration {
	const step = 10 * time.Millisecond
	if l.Dialog.Initiator {
		return 2100*time.Millisecond + time.Duration(rand.IntN(191))*step //nolint:gosec // not a secret
	}
	return time.Duration(rand.IntN(201)) * step //nolint:gosec // not a secret
}
