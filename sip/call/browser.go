package call

import (
	"linehall/internal/site"
	"linehall/media/anchor"
	"linehall/media/sdp"
)

// A browser speaks DTLS-SRTP with ICE and nothing else (RFC 8827 §6.5, RFC 8834 §4.1), desk phones do not. What passes
// between them ends here on both sides (media/gateway): with a desk phone's keys if its flow is private, else in clear.

// fromBrowser reports whether a description is a browser's.
func fromBrowser(body []byte) bool {
	doc, err := sdp.Parse(body)
	if err != nil {
		return false
	}
	for _, m := range doc.Media() {
		if m.Port() != 0 && m.Web() {
			return true
		}
	}
	return false
}

// nameBrowser notes which leg a party has in the media of this call, before it goes to another one: a browser that keeps it needs
// no ICE and no DTLS anew, which would take it seconds.
func (c *call) nameBrowser(l *leg) {
	if c.pair != nil && c.pair.leg(l.Side) == l {
		l.Browser = c.pair.branch.path.Browser(l.Side)
	}
}

// dressForDesk decides how a browser's offer is put to a phone that is none, at first; see redress for what follows.
func (c *call) dressForDesk(b *branchLeg, offer []byte) error {
	if b.dressed != 0 || b.target.flow().Web() || !fromBrowser(offer) {
		return nil
	}
	switch {
	case private(b.target.flow()):
		b.path.Terminate(callee, anchor.Keyed)
		b.dressed = dressedKeyed
	case c.branchPolicy(b) == site.SRTPRequired:
		return errClearKeys
	default:
		b.path.Terminate(callee, anchor.Clear)
		b.dressed = dressedClear
	}
	return nil
}
