package call

import (
	"slices"

	"github.com/emiago/sipgo/sip"

	"linehall/internal/directory"
	"linehall/internal/site"
	"linehall/sip/dialplan"
	"linehall/sip/location"
	"linehall/sip/route"
	"linehall/sip/stack"
)

// target is one destination of a stage: a phone, an attempt over a gateway, or neither when it is
// known without trying why it cannot be reached.
type target struct {
	terminal directory.Terminal
	binding  location.Binding
	others   []location.Binding // further flows of the same phone
	attempt  *Attempt           // over a gateway: terminal and binding are empty
	number   string             // outside: who is called
	wave     int                // its turn within its group
	refuse   refusal            // with a code: it is not tried
}

// group is what the machine takes together: the phones of an extension, the ways outside.
func (t *target) group() string {
	if t.outside() {
		return "outside " + t.number
	}
	return t.terminal.Extension
}

func (t *target) outside() bool { return t.number != "" }

// party is who is called, for people and for P-Asserted-Identity.
func (t *target) party() (number, name string) {
	if t.outside() {
		return t.number, ""
	}
	return t.terminal.Extension, t.terminal.DisplayName
}

// contact names the target in records and logs.
func (t *target) contact() string {
	if t.attempt != nil {
		return t.attempt.URI
	}
	return t.binding.Contact
}

// flow is where its INVITE leaves.
func (t *target) flow() stack.Flow {
	if t.attempt != nil {
		return t.attempt.Flow
	}
	return t.binding.Flow
}

func (t *target) trunk() string {
	if t.attempt != nil {
		return t.attempt.Trunk
	}
	return ""
}

// branch is the target as the machine sees it at the beginning of its stage.
func (t *target) branch() branch {
	b := branch{Group: t.group(), Outside: t.outside(), Wave: t.wave, Progress: branchWaiting}
	if t.refuse.code != 0 {
		b.Progress, b.Code = branchDone, t.refuse.code
	}
	return b
}

// siteOfTarget is where the target's media ends.
func (s *Service) siteOfTarget(t *target) site.ID {
	if t.attempt != nil {
		return s.siteOf(t.attempt.Flow, t.attempt.Site)
	}
	return s.siteOf(t.binding.Flow, t.terminal.Site)
}

// phones finds what rings for an extension: its phones, the most preferred ones first in turn
// (RFC 3261 §16.6), or the reason why none does. limit is how many calls it may have, 0: as many
// as the core allows.
func (s *Service) phones(c *call, extension string, limit int) []target {
	t, ok := s.o.Directory.ByExtension(extension)
	if !ok || !t.MayRegister() {
		return []target{absent(extension, refusal{code: 480, text: "not in use"})}
	}
	bindings := c.pin(s.o.Locations.Lookup(s.aor(extension)))
	if len(bindings) == 0 {
		return []target{{terminal: t, refuse: refusal{code: 480, text: "not registered"}}}
	}
	if !s.occupy(c, extension, limit) && !s.makeWay(c, extension, limit) {
		return []target{{terminal: t, refuse: refusal{code: 486, text: "the terminal has as many calls as it may have"}}}
	}
	groups := s.flows(bindings)
	found := make([]target, 0, len(groups))
	wave := 0
	for i, g := range groups { // the most preferred first
		if i > 0 && g[0].Q != groups[i-1][0].Q {
			wave++
		}
		found = append(found, target{terminal: t, binding: g[0], others: g[1:], wave: wave})
	}
	return found
}

// rings reports whether anything of the targets will be tried.
func rings(targets []target) bool {
	return slices.ContainsFunc(targets, func(t target) bool { return t.refuse.code == 0 })
}

// waves is how many turns the stage has at most; the ways outside take none.
func waves(targets []target) int {
	most := 1
	for i := range targets {
		if !targets[i].outside() {
			most = max(most, targets[i].wave+1)
		}
	}
	return most
}

// requestURI is the INVITE's Request-URI: a registered contact byte for byte (RFC 3261 §16.6), or
// what the trunk made of the number.
func (t *target) requestURI() (sip.Uri, refusal) {
	var uri sip.Uri
	if err := sip.ParseUri(t.contact(), &uri); err != nil {
		return uri, refusal{code: 430, reason: "Flow Failed", text: "the target's address cannot be used"}
	}
	return uri, refusal{}
}

// routes are the Route headers of its INVITE: the Path of a registration (RFC 3327 §5.3), or the
// trunk's own.
func (t *target) routes() []string {
	if t.attempt != nil {
		return t.attempt.Routes
	}
	return t.binding.Routes()
}

// decided is the plan without a router, and always that of emergency and duty calls, which no
// forward, do-not-disturb or limit may stop: what the number plan says, and nothing else.
func decided(d dialplan.Decision) route.Plan {
	var plan route.Plan
	if d.Kind == dialplan.Emergency && len(d.Reserve) > 0 {
		plan.First = &route.Stage{Extensions: d.Reserve}
	}
	if len(d.Targets) > 0 {
		plan.First = &route.Stage{Extensions: d.Targets, Unreachable: plan.First}
	}
	if len(d.Trunks) > 0 { // of an emergency call whatever keeps it from being answered leads to the desk
		desk := plan.First
		plan.First = &route.Stage{Outside: route.Out(d), Busy: desk, NoAnswer: desk, Failed: desk}
	}
	return plan
}
