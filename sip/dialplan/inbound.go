package dialplan

import (
	"slices"
	"strings"
	"time"

	"linehall/internal/setting"
)

// Trunk is what the plan knows of a trunk; see sip/trunk for the rest of it.
type Trunk struct {
	Name string
	DIDs []DIDConfig
	// Unknown is the number of ours that rings for a number that no DID names; "" refuses it.
	Unknown string
	// Tolls limit all calls over the trunk together.
	Tolls TollsConfig
}

// DIDConfig says what rings for a number of ours in the public network.
type DIDConfig struct {
	// Number as the trunk sends it, in any form: 04715550000, +864715550000,
	// or a Pattern like 0471555XXXX.
	Number string `yaml:"number"`
	Name   string `yaml:"name"`
	// To is an extension, a group, a meeting room or the duty number; "" = the
	// last digits of the called number, see Digits.
	To string `yaml:"to"`
	// Digits is how many of the last digits of the called number are ours.
	Digits int `yaml:"digits"`
	// Calendar decides between To, Closed and Holiday; "" = always To.
	Calendar string `yaml:"calendar"`
	Closed   string `yaml:"closed"`  // rings when it is closed; "" = To
	Holiday  string `yaml:"holiday"` // rings on holidays; "" = like Closed
}

// Incoming is where a call from outside comes from.
type Incoming struct {
	Trunk  string
	Number string // of the caller, as the trunk gave it; "" when it is withheld
}

// Inbound decides what rings for a number that an outside caller dialled. Only extensions, groups,
// rooms and the duty desk can be reached: no feature code, and no way out over another trunk.
func (p *Plan) Inbound(from Incoming, called string, at time.Time) Decision {
	at = p.local(at)
	d := Decision{Number: Normalise(called), Kind: Unknown}
	if d.Number != called {
		d.step("normalise", "%q becomes %q", called, d.Number)
	}
	trunk, known := p.trunks[from.Trunk]
	if !known {
		d.step("trunk", "there is no trunk %q", from.Trunk)
		return d
	}
	if from.Number != "" {
		if pattern, blocked := matchAny(p.cfg.BlockedCallers, p.cfg.Numbering.forms(Normalise(from.Number))); blocked {
			d.forbid("blocked callers", "callers like %s are refused: %s", pattern, from.Number)
			return d
		}
	}
	did, ok := p.did(trunk, d.Number)
	if !ok {
		return p.unknownDID(d, trunk)
	}
	d.Rule = did.Name
	if d.Rule == "" {
		d.Rule = did.Number
	}
	return p.ours(d, p.opening(&d, did, at))
}

// did finds the entry that names the number: an exact one before a pattern, then the first.
func (p *Plan) did(trunk Trunk, number string) (DIDConfig, bool) {
	canonical, hasForm := p.cfg.Numbering.Canonical(number)
	for _, exact := range []bool{true, false} {
		for _, did := range trunk.DIDs {
			if strings.ContainsAny(did.Number, "XZN.") == exact {
				continue
			}
			named, _ := p.cfg.Numbering.Canonical(did.Number)
			if Pattern(Normalise(did.Number)).Match(number) || (hasForm && Pattern(named).Match(canonical)) {
				return did, true
			}
		}
	}
	return DIDConfig{}, false
}

// opening returns the number that a DID leads to at that moment.
func (p *Plan) opening(d *Decision, did DIDConfig, at time.Time) string {
	to := did.To
	if to == "" {
		to = d.Number[max(0, len(d.Number)-did.Digits):]
	}
	d.step("did "+d.Rule, "%s is a number of ours on this trunk, for %s", d.Number, to)
	if did.Calendar == "" {
		return to
	}
	calendar := p.calendars[did.Calendar]
	d.Hours = calendar.At(at)
	switch {
	case d.Hours == Holiday && did.Holiday != "":
		to = did.Holiday
	case d.Hours != Open && did.Closed != "":
		to = did.Closed
	}
	d.step("calendar "+did.Calendar, "%s is %s: %s rings", at.Format("Mon 2006-01-02 15:04"), d.Hours, to)
	return to
}

func (p *Plan) unknownDID(d Decision, trunk Trunk) Decision {
	if trunk.Unknown == "" {
		d.step("did", "trunk %s has no DID for %s, and no default", trunk.Name, d.Number)
		return d
	}
	d.step("did", "trunk %s has no DID for %s: its default %s rings", trunk.Name, d.Number, trunk.Unknown)
	return p.ours(d, trunk.Unknown)
}

// ours looks up a number that the configuration or a DID's last digits named.
func (p *Plan) ours(d Decision, number string) Decision {
	d.Number = number
	switch {
	case p.cfg.Duty != "" && number == p.cfg.Duty:
		p.duty(&d)
	case slices.Contains(p.cfg.Private, number):
		d.forbid("private", "%s is a private number: nobody outside reaches it", number)
	case p.listed(&d):
	default:
		d.step("unknown", "%s is no extension, group or room", number)
	}
	return d
}

// Validate reports what is wrong with the DID alone.
func (d DIDConfig) Validate() error {
	var found setting.Complaints
	if _, err := ParsePattern(Normalise(d.Number)); err != nil {
		found.Add("number", "%s", err)
	}
	switch {
	case d.To == "" && d.Digits == 0:
		found.Add("to", "the DID %s leads nowhere: set \"to\", or \"digits\" for its last digits", d.Number)
	case d.To != "" && d.Digits != 0:
		found.Add("digits", "\"to\" and \"digits\" say both where the DID %s leads; use one of the two", d.Number)
	case d.Digits < 0 || d.Digits > localMost:
		found.Add("digits", "%d is not between 1 and %d", d.Digits, localMost)
	}
	if d.Calendar == "" && (d.Closed != "" || d.Holiday != "") {
		found.Add("calendar", "the DID %s has hours but no calendar", d.Number)
	}
	return found.Err()
}
