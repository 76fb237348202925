package call

import (
	"errors"
	"slices"

	"github.com/emiago/sipgo/sip"

	"linehall/internal/directory"
	"linehall/sip/dialplan"
	"linehall/sip/route"
	"linehall/sip/toll"
)

// Limits of calls outside. Whoever sends a call outside answers for it: the caller, else the last
// who forwarded it, else who transfers it. A call that is over a limit of theirs never looks for a
// way; one that is over a trunk's limit tries the next trunk. Emergency calls are not counted, and
// the way around a line is the organisation's, not the caller's.

// Tolls keeps calls outside within limits (sip/toll).
type Tolls interface {
	// Claim counts a call for an account, or says for people why it must not be made.
	Claim(call string, a toll.Account, class, number string) error
	// Forbid notes a call that the number plan forbids as too dear, and words its refusal.
	Forbid(call string, a toll.Account, number string) error
	// Leave ends a call's way over a trunk, Release the call.
	Leave(call, trunk string)
	Release(call string)
	// Move gives what a call holds to the one that goes on with its party.
	Move(from, to string)
	// Held is what a call holds, for its state; Resume takes it up after a restart.
	Held(call string) []toll.Account
	Resume(call string, accounts []toll.Account)
}

// freely limits nothing.
type freely struct{}

func (freely) Claim(string, toll.Account, string, string) error { return nil }
func (freely) Forbid(string, toll.Account, string) error {
	return errors.New("this number is forbidden")
}
func (freely) Leave(string, string)          {}
func (freely) Release(string)                {}
func (freely) Move(string, string)           {}
func (freely) Held(string) []toll.Account    { return nil }
func (freely) Resume(string, []toll.Account) {}

// payer is who answers for a call that goes outside.
func (c *call) payer() directory.Terminal {
	for _, d := range slices.Backward(c.history) {
		if t, ours := c.s.o.Directory.ByExtension(d.From); ours {
			return t
		}
	}
	if o, ok := c.origin.(*connected); ok && o.by != "" {
		if t, ours := c.s.o.Directory.ByExtension(o.by); ours {
			return t
		}
	}
	return c.terminal
}

// afford counts a call outside for its payer.
func (c *call) afford(out *route.Outside) refusal {
	if c.emergency() || out.Toll == "" {
		return refusal{}
	}
	t := c.payer()
	if err := c.s.o.Tolls.Claim(c.id, toll.Account{Kind: toll.Terminal, Name: t.Extension, Toll: out.Toll}, t.Class, out.Number); err != nil {
		return overLimit(err)
	}
	return refusal{}
}

// affordTrunk counts it for a trunk.
func (c *call) affordTrunk(trunk string, out *route.Outside) refusal {
	if c.emergency() || out == nil || out.Toll == "" {
		return refusal{}
	}
	if err := c.s.o.Tolls.Claim(c.id, toll.Account{Kind: toll.Trunk, Name: trunk, Toll: out.Toll}, "", out.Number); err != nil {
		return overLimit(err)
	}
	return refusal{}
}

// overLimit tells the caller which limit it is, on displays that show Warning and on those that show Reason.
func overLimit(err error) refusal {
	return refusal{code: sip.StatusForbidden, warn: 399, text: err.Error(), cause: `Q.850;cause=21;text="` + err.Error() + `"`}
}

// tooDear words the refusal of a number that the plan forbids for its price, or is none.
func (s *Service) tooDear(call string, d dialplan.Decision, who directory.Terminal) refusal {
	if d.Kind != dialplan.Forbidden || d.Denied != dialplan.RuleToll {
		return refusal{}
	}
	return overLimit(s.o.Tolls.Forbid(call, toll.Account{Kind: toll.Terminal, Name: who.Extension, Toll: d.Toll}, d.Number))
}
