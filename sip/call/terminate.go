package call

import (
	"bytes"
	"encoding/json"
	"fmt"
	"log/slog"
	"slices"
	"time"

	"github.com/emiago/sipgo/sip"

	"linehall/internal/observe"
	"linehall/internal/site"
	"linehall/media/anchor"
	"linehall/media/sdp"
	"linehall/media/srtp"
)

// A phone that refuses what another one offers may do so for its security alone: one has SRTP only, the other none, or
// they share no suite. Then it is offered the call again with SRTP that ends here: first with keys of ours, over a flow
// where nobody else can read them (RFC 4568 §7), then in clear. Where either end requires encryption neither is tried:
// there nothing runs in clear, and phones that share a suite keep it from end to end.

// refusedMedia are the responses that may mean so (RFC 3261 §13.3.1.3, §21.4.13, §21.6.4).
func refusedMedia(code int) bool { return code == 488 || code == 415 || code == 606 }

// redress offers the call to a branch again, protected in another way; false: there is none left.
func (c *call) redress(b *branchLeg, res *sip.Response) bool {
	if !refusedMedia(res.StatusCode) || c.late || c.lent != nil || b.path == nil || c.m.Phase != phaseRinging ||
		c.m.Branches[b.index].Progress != branchCalling || c.branchPolicy(b) == site.SRTPRequired {
		return false
	}
	keyed, usable := offeredKeys(c.origin.offer())
	next := b.dressed + 1
	if next == dressedKeyed && (!usable || !private(b.target.flow())) {
		next++
	}
	if next > dressedClear || next == dressedClear && !keyed || !usable {
		return false
	}
	b.dressed = next
	how := anchor.Keyed
	if next == dressedClear {
		how = anchor.Clear
	}
	b.path.Terminate(how)
	body, err := c.offerTo(b)
	if err != nil {
		c.log.Info("media of a branch cannot end here", slog.Any(observe.Err, err))
		return false
	}
	inv := b.invite.Clone()
	inv.CSeq().SeqNo++
	for inv.RemoveHeader("Via") { // there after a restart
	}
	setBody(inv, body)
	c.log.Info("branch offered again, SRTP ends here", slog.Bool("keyed", how == anchor.Keyed))
	c.sendBranch(b, b.out.leg, inv)
	return true
}

// How a branch was offered the call: as the caller wrote it, with keys of ours, in clear.
const (
	dressedKeyed = 1
	dressedClear = 2
)

// offeredKeys reports whether an offer has SRTP, and whether it can end here: RTP, or SDES with a suite that we know.
func offeredKeys(offer []byte) (keyed, usable bool) {
	doc, err := sdp.Parse(offer)
	if err != nil {
		return false, false
	}
	for _, m := range doc.Media() {
		if m.Port() == 0 || !m.IsRTP() {
			continue
		}
		usable = true
		if !m.IsSecure() && !m.Keyed() {
			continue
		}
		keyed = true
		known := false
		for _, v := range m.Attributes("crypto") {
			_, err := srtp.ParseCrypto(v)
			known = known || err == nil
		}
		if !known {
			return true, false
		}
	}
	return keyed, usable
}

// branchPolicy is the stricter policy of both ends of a branch.
func (c *call) branchPolicy(b *branchLeg) site.SRTP {
	if c.emergency() {
		return site.SRTPOff
	}
	from := &leg{Site: site.ID(c.rec.FromSite)}
	if c.incoming != nil {
		from.Trunk, from.TrunkSRTP = c.incoming.Trunk, c.incoming.SRTP
	}
	return stricter(c.s.srtpOfLeg(from), c.s.srtpOfLeg(c.calleeLeg(b)))
}

// rolloverPause is how often a call whose SRTP ends here looks whether its roll-over counters should be saved: a sender
// of a thousand packets a second must not come half a turn further meanwhile (RFC 3711 §3.3.1).
const rolloverPause = 15 * time.Second

// armRollover does so for as long as the call lasts.
func (c *call) armRollover() {
	c.arm(timerName{kind: "rollover"}, rolloverPause, func() {
		if c.m.Phase == phaseEnded || c.pair == nil {
			return
		}
		if c.pair.branch.path.Stale() {
			c.dirty()
		}
		c.armRollover()
	})
}

// Secrets encrypts at rest (internal/secret).
type Secrets interface {
	Seal(purpose string, plain []byte) ([]byte, error)
	Open(purpose string, sealed []byte) ([]byte, error)
}

// sealedState is a state that holds keys of SRTP, as the store keeps it.
type sealedState struct {
	Sealed []byte `json:"sealed"`
}

func statePurpose(id string) string { return "call state " + id }

// protect encrypts a state that holds keys; others stay as they are, it costs.
func (c *call) protect(state []byte) ([]byte, error) {
	if c.s.o.Secrets == nil || !c.endsSRTP() && !holdsKeys(state) {
		return state, nil
	}
	sealed, err := c.s.o.Secrets.Seal(statePurpose(c.id), state)
	if err != nil {
		return nil, fmt.Errorf("call state: %w", err)
	}
	return json.Marshal(sealedState{sealed})
}

// endsSRTP: the media plane's part of the state has keys.
func (c *call) endsSRTP() bool {
	for _, b := range c.branches {
		if b.path != nil && b.path.Ends() {
			return true
		}
	}
	return false
}

// keyMarks are "a=crypto:" as it looks in a state, whose messages and descriptions are base64: behind a multiple of three
// bytes, behind one byte more, and behind two.
var keyMarks = [][]byte{[]byte("YT1jcnlwdG86"), []byte("Y3J5cHRv"), []byte("PWNyeXB0")}

// holdsKeys finds keys in a state, wherever they are in it: what a phone offered, what we answered, what waits for its ACK.
func holdsKeys(state []byte) bool {
	return slices.ContainsFunc(keyMarks, func(mark []byte) bool { return bytes.Contains(state, mark) })
}

// unprotect undoes protect.
func (s *Service) unprotect(id string, raw []byte) ([]byte, error) {
	if !bytes.HasPrefix(raw, []byte(`{"sealed":`)) {
		return raw, nil
	}
	var state sealedState
	if err := json.Unmarshal(raw, &state); err != nil {
		return nil, err
	}
	if s.o.Secrets == nil {
		return nil, fmt.Errorf("call state %s is encrypted, and there is no key", id)
	}
	return s.o.Secrets.Open(statePurpose(id), state.Sealed)
}
